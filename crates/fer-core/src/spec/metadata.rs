//! The metadata of an ONNX file: its keys, a user's `KEY=VALUE`, and a spec as metadata
//! ([`ModelSpec::to_metadata`]).

use serde_json::json;

use super::ModelSpec;
use crate::calibration::Calibration;

/// The keys, without `fer.`.
const KEYS: [&str; 11] = [
    "labels",
    "layout",
    "size",
    "channels",
    "scale",
    "mean",
    "std",
    "resize",
    "output",
    "temperature",
    "exponent",
];

/// Parses one `KEY=VALUE` of the user.
///
/// # Errors
/// It does not have that form, or the key is unknown.
pub fn parse_override(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is not KEY=VALUE"))?;
    let key = key.trim().trim_start_matches("fer.");
    if KEYS.contains(&key) {
        Ok((key.to_string(), value.trim().to_string()))
    } else {
        Err(format!(
            "'{key}' is not a metadata key; the keys are {}",
            KEYS.join(", ")
        ))
    }
}

impl ModelSpec {
    /// The metadata from which [`resolve`](ModelSpec::resolve) reads this spec without assuming
    /// anything: keys with their `fer.`, and values, in the order of the table above. A `mean` of
    /// zeros, a `std` of ones and a calibration without effect are left out.
    pub fn to_metadata(&self) -> Vec<(String, String)> {
        let input = &self.input;
        let mut rows = vec![
            ("labels", json!(self.labels).to_string()),
            ("layout", input.layout.to_string()),
            ("size", format!("{}x{}", input.width, input.height)),
            ("channels", input.channels.to_string()),
            ("scale", input.scale.to_string()),
        ];
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
        rows.into_iter()
            .map(|(key, value)| (format!("fer.{key}"), value))
            .collect()
    }
}

/// Parses class names: a JSON array, or a list separated by commas.
pub(super) fn parse_labels(text: &str) -> Result<Vec<String>, String> {
    let labels: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|e| format!("its metadata 'labels' is not a JSON array of names: {e}"))?
    } else {
        text.split(',').map(|l| l.trim().to_string()).collect()
    };
    let distinct: std::collections::HashSet<&String> = labels.iter().collect();
    if labels.len() < 2 || distinct.len() != labels.len() || labels.iter().any(String::is_empty) {
        return Err(format!(
            "its class names '{text}' are not two or more different names"
        ));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::{InputSpec, Layout, OutputKind, Resize};
    use super::*;
    use crate::onnx::{self, Header, Port};

    #[test]
    fn a_spec_is_read_from_what_it_writes() {
        let plain = ModelSpec {
            labels: vec!["a, \"b\"".into(), "c".into(), "d".into()],
            input: InputSpec::new(Layout::Nchw, 32, 24, 3),
            output: OutputKind::Logits,
            calibration: Calibration::NONE,
            fixed_batch: None,
            assumed: Vec::new(),
        };
        let full = ModelSpec {
            input: InputSpec {
                layout: Layout::Nhwc,
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
            ..plain.clone()
        };
        for spec in [plain, full] {
            let port = |name: &str, dims: Vec<Option<usize>>| Port {
                name: name.into(),
                elem_type: onnx::ELEM_FLOAT,
                dims: Some(dims),
            };
            let header = Header {
                inputs: vec![port("in", vec![None; 4])],
                outputs: vec![port("out", vec![None, Some(3)])],
                metadata: spec.to_metadata().into_iter().collect(),
                final_operator: None,
                opset: 18,
            };
            let read = ModelSpec::resolve(&header, &Default::default(), "m");
            assert_eq!(read, Ok(spec));
        }
    }
}
