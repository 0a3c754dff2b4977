//! Translates Keras 1's names of layers and options to those of Keras 2, as Keras 2 does when it
//! reads such files.

use serde_json::{Map, Value, json};

/// Classes that were renamed.
const CLASSES: [(&str, &str); 5] = [
    ("Convolution2D", "Conv2D"),
    ("AtrousConvolution2D", "Conv2D"),
    ("SeparableConvolution2D", "SeparableConv2D"),
    ("Merge", "Merge"),
    ("ThresholdedReLU", "ReLU"),
];

/// Options that were renamed.
const KEYS: [(&str, &str); 8] = [
    ("nb_filter", "filters"),
    ("output_dim", "units"),
    ("subsample", "strides"),
    ("border_mode", "padding"),
    ("atrous_rate", "dilation_rate"),
    ("bias", "use_bias"),
    ("dim_ordering", "data_format"),
    ("p", "rate"),
];

/// A layer's class and configuration in Keras 2's names.
pub(crate) fn translate(
    class: &str,
    mut config: Map<String, Value>,
) -> (String, Map<String, Value>) {
    for (old, new) in KEYS {
        if let Some(value) = config.remove(old) {
            config.insert(new.into(), value);
        }
    }
    if let Some(format) = config.get_mut("data_format") {
        *format = match format.as_str() {
            Some("th") => json!("channels_first"),
            Some("tf") => json!("channels_last"),
            _ => Value::Null,
        };
    }
    if let (Some(rows), Some(columns)) = (config.remove("nb_row"), config.remove("nb_col")) {
        config.insert("kernel_size".into(), json!([rows, columns]));
    }
    let class = match (class, config.get("mode").and_then(Value::as_str)) {
        ("Merge", Some("sum")) => "Add",
        ("Merge", Some("mul")) => "Multiply",
        ("Merge", Some("ave")) => "Average",
        ("Merge", Some("max")) => "Maximum",
        ("Merge", Some("concat")) => {
            if let Some(axis) = config.remove("concat_axis") {
                config.insert("axis".into(), axis);
            }
            "Concatenate"
        }
        ("ThresholdedReLU", _) => {
            let theta = config.remove("theta").unwrap_or(json!(1.0));
            config.insert("threshold".into(), theta);
            "ReLU"
        }
        _ => CLASSES
            .iter()
            .find(|(old, _)| *old == class)
            .map_or(class, |(_, new)| new),
    };
    (class.to_string(), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_of_keras_1() {
        let old = json!({"nb_filter": 8, "nb_row": 3, "nb_col": 5, "border_mode": "same",
            "subsample": [2, 2], "bias": false, "dim_ordering": "th", "activation": "relu"});
        let (class, config) = translate("Convolution2D", old.as_object().unwrap().clone());
        let new = json!({"filters": 8, "kernel_size": [3, 5], "padding": "same", "strides": [2, 2],
            "use_bias": false, "data_format": "channels_first", "activation": "relu"});
        assert_eq!((class.as_str(), Value::Object(config)), ("Conv2D", new));
    }

    #[test]
    fn merges_become_the_layers_of_their_mode() {
        for (mode, class) in [
            ("sum", "Add"),
            ("mul", "Multiply"),
            ("concat", "Concatenate"),
            ("dot", "Merge"),
        ] {
            assert_eq!(
                translate("Merge", json!({"mode": mode}).as_object().unwrap().clone()).0,
                class
            );
        }
    }
}
