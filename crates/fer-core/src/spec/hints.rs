//! What other tools write about a model ([`Hints`]): metadata of Ultralytics, and files beside the
//! model of Hugging Face and of Keras's image generators.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::python;
use crate::onnx::Header;

/// A file beside a model is not read beyond this.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A part of a spec by another tool's convention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The key of fer's metadata, without `fer.`.
    pub key: &'static str,
    /// The value, as fer's metadata would have it.
    pub value: String,
    /// Where it is from, as a phrase for the user.
    pub source: String,
}

/// Hints, the weightiest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints(pub Vec<Hint>);

impl Hints {
    /// What the files beside a model say: `config.json` with `id2label` and
    /// `preprocessor_config.json` (Hugging Face; also in the folder above `onnx/`), and
    /// `class_indices.json` (Keras's image generators). Files that say nothing of that kind are
    /// passed over.
    pub fn beside(model: &Path) -> Self {
        let mut hints = Self::default();
        let folder = model.parent().unwrap_or(Path::new(""));
        let above = folder
            .file_name()
            .filter(|name| *name == "onnx")
            .and_then(|_| folder.parent());
        for folder in [Some(folder), above].into_iter().flatten() {
            let json = |name: &str| json(&folder.join(name));
            if let Some(config) = json("config.json").filter(|c| c["id2label"].is_object()) {
                hints.hugging_face(&config);
                if let Some(pixels) = json("preprocessor_config.json") {
                    hints.preprocessor(&pixels);
                }
            }
            if let Some(indices) = json("class_indices.json")
                && let Some(labels) = by_index(&indices)
            {
                hints.labels(&labels, "class_indices.json");
            }
        }
        hints
    }

    /// What Ultralytics writes into an ONNX file's metadata: `names` and `imgsz`.
    pub(super) fn in_metadata(header: &Header) -> Self {
        const SOURCE: &str = "Ultralytics' metadata";
        let mut hints = Self::default();
        let said = |key: &str| header.metadata.get(key);
        let Some(names) = said("names").and_then(|text| python::names(text)) else {
            return hints;
        };
        hints.labels(&names, "the metadata `names`");
        if said("task").is_none() && said("stride").is_none() {
            return hints;
        }
        let size = said("imgsz").and_then(|text| super::numbers::parse_numbers(text).ok());
        if let Some([height, width] | [height, width, ..]) = size.as_deref() {
            hints.add("size", format!("{width}x{height}"), SOURCE);
        } else if let Some([side]) = size.as_deref() {
            hints.add("size", format!("{side}x{side}"), SOURCE);
        }
        for (key, value) in [
            ("layout", "NCHW"),
            ("scale", "1/255"),
            ("resize", "antialias"),
        ] {
            hints.add(key, value.into(), SOURCE);
        }
        hints
    }

    fn add(&mut self, key: &'static str, value: String, source: &str) {
        let source = source.to_string();
        self.0.push(Hint { key, value, source });
    }

    fn labels(&mut self, names: &[String], source: &str) {
        self.add("labels", serde_json::json!(names).to_string(), source);
    }

    /// A model's configuration as `transformers` writes it.
    fn hugging_face(&mut self, config: &Value) {
        const SOURCE: &str = "config.json";
        if let Some(labels) = by_index(&config["id2label"]) {
            self.labels(&labels, "`id2label` of config.json");
        }
        if let Some(size) = size(&config["image_size"]) {
            self.add("size", size, SOURCE);
        }
        self.add("layout", "NCHW".into(), SOURCE);
        let channels = config["num_channels"].as_u64().unwrap_or(3);
        self.add("channels", channels.to_string(), SOURCE);
    }

    /// How `transformers` turns images into the model's input.
    fn preprocessor(&mut self, config: &Value) {
        const SOURCE: &str = "preprocessor_config.json";
        let on = |key: &str| config[key].as_bool().unwrap_or(true);
        let cropped = config["do_center_crop"].as_bool().unwrap_or(false);
        let sizes = [&config["crop_size"], &config["size"]];
        if let Some(size) = sizes[usize::from(!cropped)..].iter().find_map(|s| size(s)) {
            // Before the size in config.json.
            let source = SOURCE.into();
            self.0.insert(
                0,
                Hint {
                    key: "size",
                    value: size,
                    source,
                },
            );
        }
        let factor = config["rescale_factor"].as_f64().unwrap_or(1.0 / 255.0);
        let scale = if on("do_rescale") { factor } else { 1.0 };
        self.add("scale", scale.to_string(), SOURCE);
        if on("do_normalize") {
            for (key, of) in [("mean", "image_mean"), ("std", "image_std")] {
                if config[of].is_array() || config[of].is_number() {
                    self.add(key, config[of].to_string(), SOURCE);
                }
            }
        }
        // Pillow's numbers: 0 is the nearest pixel.
        let nearest = config["resample"].as_u64() == Some(0);
        let resize = if nearest { "nearest" } else { "antialias" };
        self.add("resize", resize.into(), SOURCE);
    }
}

/// A JSON file; `None` if there is none, or it is too long or not JSON.
fn json(path: &Path) -> Option<Value> {
    if !path.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).ok()?;
    // Editors on Windows begin a text with a mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    (text.len() as u64 <= MAX_FILE_BYTES)
        .then(|| serde_json::from_slice(text).ok())
        .flatten()
}

/// Names in the order of their indices, from `{"0": "angry", …}` or `{"angry": 0, …}`, counted from
/// 0 or from 1. A number may be a text.
fn by_index(object: &Value) -> Option<Vec<String>> {
    let entry = |(key, value): (&String, &Value)| match value {
        Value::String(text) => match (key.parse(), text.parse()) {
            (Ok(index), _) => Some((index, text.clone())),
            (Err(_), Ok(index)) => Some((index, key.clone())),
            (Err(_), Err(_)) => None,
        },
        Value::Number(index) => Some((usize::try_from(index.as_u64()?).ok()?, key.clone())),
        _ => None,
    };
    let entries = object.as_object()?.iter().map(entry);
    let mut entries = entries.collect::<Option<Vec<(usize, String)>>>()?;
    let first = entries.iter().map(|(index, _)| *index).min()?;
    if first == 1 {
        entries.iter_mut().for_each(|(index, _)| *index -= 1);
    }
    python::in_order(entries)
}

/// `WIDTHxHEIGHT`, from a number, `[height, width]`, or an object of `height` and `width` or of
/// `shortest_edge`.
fn size(value: &Value) -> Option<String> {
    let edge = value.as_u64().or_else(|| value["shortest_edge"].as_u64());
    let (height, width) = match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => (height.as_u64()?, width.as_u64()?),
        _ => match edge {
            Some(edge) => (edge, edge),
            None => (value["height"].as_u64()?, value["width"].as_u64()?),
        },
    };
    Some(format!("{width}x{height}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_a_model_are_read_and_others_passed_over() {
        let config = r#"{"id2label": {"1": "b", "0": "a"}, "image_size": [20, 30]}"#;
        let pixels = r#"{"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "resample": 2,
            "size": {"height": 24, "width": 32}, "rescale_factor": 0.25}"#;
        // The model, the files beside it, and the hints.
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);
        let rows: [Row; 10] = [
            (
                "model.onnx",
                &[
                    ("config.json", config),
                    ("preprocessor_config.json", pixels),
                ],
                &[
                    ("size", "32x24"),
                    ("labels", r#"["a","b"]"#),
                    ("size", "30x20"),
                    ("layout", "NCHW"),
                    ("channels", "3"),
                    ("scale", "0.25"),
                    ("mean", "[0.5,0.5,0.5]"),
                    ("resize", "antialias"),
                ],
            ),
            (
                "onnx/model.onnx",
                &[("class_indices.json", r#"{"sad": 1, "angry": 0}"#)],
                &[("labels", r#"["angry","sad"]"#)],
            ),
            (
                "m.onnx",
                &[("class_indices.json", r#"{"a": 0, "b": 2}"#)],
                &[],
            ),
            (
                "m.onnx",
                &[("class_indices.json", "\u{feff}{\"b\": 1, \"a\": 0}")],
                &[("labels", r#"["a","b"]"#)],
            ),
            (
                "m.onnx",
                &[("class_indices.json", r#"{"b": "1", "a": "0"}"#)],
                &[("labels", r#"["a","b"]"#)],
            ),
            (
                "m.onnx",
                &[("class_indices.json", r#"{"b": 2, "a": 1}"#)],
                &[("labels", r#"["a","b"]"#)],
            ),
            (
                "m.onnx",
                &[
                    ("config.json", r#"{"id2label": {"0": "a", "1": "b"}}"#),
                    (
                        "preprocessor_config.json",
                        r#"{"image_mean": 0.5, "image_std": [0.25]}"#,
                    ),
                ],
                &[
                    ("labels", r#"["a","b"]"#),
                    ("layout", "NCHW"),
                    ("channels", "3"),
                    ("scale", "0.00392156862745098"),
                    ("mean", "0.5"),
                    ("std", "[0.25]"),
                    ("resize", "antialias"),
                ],
            ),
            ("m.onnx", &[("class_indices.json", "no JSON")], &[]),
            (
                "m.onnx",
                &[("config.json", r#"{"class_name": "Sequential"}"#)],
                &[],
            ),
            ("m.onnx", &[("preprocessor_config.json", pixels)], &[]),
        ];
        let mut wrong = Vec::new();
        for (model, files, expected) in rows {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let found = Hints::beside(&folder.path().join(model));
            let found: Vec<_> = found.0.iter().map(|h| (h.key, h.value.as_str())).collect();
            if found != expected {
                wrong.push(format!("{files:?}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
