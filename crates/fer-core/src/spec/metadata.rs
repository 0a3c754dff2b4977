//! The metadata of an ONNX file: its keys, a user's `KEY=VALUE`, and a spec as metadata
//! ([`ModelSpec::to_metadata`]).

use serde_json::json;

use super::{ChannelOrder, Field, ModelSpec};
use crate::calibration::Calibration;

/// The keys that a user may set, without `fer.`.
const KEYS: [&str; 15] = [
    "labels",
    "layout",
    "size",
    "channels",
    "channel_order",
    "scale",
    "mean",
    "std",
    "preprocess",
    "resize",
    "output",
    "output_name",
    "temperature",
    "exponent",
    "crop",
];

/// The keys of a field that a file may have guessed.
pub(super) const GUESSABLE: [(Field, &str); 4] = [
    (Field::Labels, "labels"),
    (Field::Values, "scale"),
    (Field::Resize, "resize"),
    (Field::Output, "output"),
];

/// Parses one `KEY=VALUE` of the user.
///
/// # Errors
/// It does not have that form, or the key is unknown.
pub fn parse_override(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is not KEY=VALUE"))?;
    let key = key.trim().trim_start_matches("fer.").replace('-', "_");
    if KEYS.contains(&key.as_str()) {
        Ok((key, value.trim().to_string()))
    } else {
        Err(format!(
            "'{key}' is not a metadata key; the keys are {}",
            KEYS.join(", ")
        ))
    }
}

impl ModelSpec {
    /// The metadata from which [`resolve`](ModelSpec::resolve) reads this spec: keys with their
    /// `fer.`, and values, in the order of the table above. RGB, a `mean` of zeros, a `std` of
    /// ones, a calibration without effect and an unknown crop are left out. What is a guess in this
    /// spec is one in the spec that is read.
    pub fn to_metadata(&self) -> Vec<(String, String)> {
        let input = &self.input;
        let mut rows = vec![
            ("labels", json!(self.labels).to_string()),
            ("layout", input.layout.to_string()),
            ("size", format!("{}x{}", input.width, input.height)),
            ("channels", input.channels.to_string()),
        ];
        if input.order == ChannelOrder::Bgr {
            rows.push(("channel_order", input.order.to_string()));
        }
        rows.push(("scale", input.scale.to_string()));
        for (key, values) in [("mean", &input.mean), ("std", &input.std)] {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                rows.push((key, format!("[{}]", values.join(","))));
            }
        }
        rows.push(("resize", input.resize.to_string()));
        rows.push(("output", self.output.to_string()));
        if self.calibration != Calibration::NONE {
            rows.push(("temperature", self.calibration.temperature.to_string()));
            rows.push(("exponent", self.calibration.exponent.to_string()));
        }
        if let Some(crop) = self.crop {
            rows.push(("crop", crop.to_string()));
        }
        let guessed = |field| {
            self.assumed
                .iter()
                .any(|a| a.field == field && a.is_guess())
        };
        let guesses = GUESSABLE.iter().filter(|(field, _)| guessed(*field));
        let guesses: Vec<&str> = guesses.map(|(_, key)| *key).collect();
        if !guesses.is_empty() {
            rows.push(("guessed", guesses.join(",")));
        }
        rows.into_iter()
            .map(|(key, value)| (format!("fer.{key}"), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Assumed, Basis, ChannelOrder, FaceCrop, InputSpec, Layout, OutputKind, Resize,
    };
    use super::*;
    use crate::onnx::{self, Header, Port};

    #[test]
    fn a_spec_is_read_from_what_it_writes() {
        let plain = ModelSpec {
            labels: vec!["a, \"b\"".into(), "c".into(), "d".into()],
            input: InputSpec::new(Layout::Nchw, 32, 24, 3),
            output: OutputKind::Logits,
            calibration: Calibration::NONE,
            crop: None,
            fixed_batch: None,
            assumed: Vec::new(),
        };
        let full = ModelSpec {
            input: InputSpec {
                layout: Layout::Nhwc,
                order: ChannelOrder::Bgr,
                scale: 0.1,
                mean: vec![0.485, 0.456, 0.406],
                std: vec![0.229, 0.224, 0.225],
                resize: Resize::Antialias,
                ..plain.input.clone()
            },
            output: OutputKind::Probabilities,
            calibration: Calibration {
                temperature: 1.4321,
                exponent: 1.0,
            },
            crop: Some(FaceCrop::FER2013),
            ..plain.clone()
        };
        let guess = |field| Assumed {
            field,
            value: String::new(),
            basis: Basis::Guess,
        };
        let guessed = ModelSpec {
            assumed: [Field::Labels, Field::Values, Field::Resize, Field::Output]
                .map(guess)
                .to_vec(),
            ..full.clone()
        };
        for spec in [plain, full, guessed] {
            let port = |name: &str, dims: Vec<Option<usize>>| Port {
                name: name.into(),
                elem_type: onnx::ELEM_FLOAT,
                dims: Some(dims),
                operator: None,
            };
            let header = Header {
                inputs: vec![port("in", vec![None; 4])],
                outputs: vec![port("out", vec![None, Some(3)])],
                metadata: spec.to_metadata().into_iter().collect(),
                opset: 18,
            };
            let mut read = ModelSpec::resolve(&header, &Default::default(), "m").unwrap();
            assert!(
                read.assumed
                    .iter()
                    .all(|a| a.is_guess() && !a.value.is_empty())
            );
            read.assumed
                .sort_by_key(|a| spec.assumed.iter().position(|b| a.field == b.field));
            read.assumed.iter_mut().for_each(|a| a.value.clear());
            assert_eq!(read, spec);
        }
    }
}
