//! A layer's configuration, read value by value. A missing value is Keras's default. A value of the
//! wrong kind is an error.

use serde_json::{Map, Value};

/// Keys that do not affect the outputs of a trained layer, and a function, which may be bytecode.
const SILENT: [&str; 9] = [
    "function",
    "name",
    "trainable",
    "dtype",
    "seed",
    "_initializer",
    "_regularizer",
    "_constraint",
    "batch_input_shape",
];

/// The most characters of a configuration that an error shows.
const SHOWN: usize = 300;

/// The most characters of a text that is not code.
const LONGEST_TEXT: usize = 80;

/// The `config` of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// The major version of Keras that wrote it: some defaults and functions have changed.
    pub(crate) keras: u32,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Map<String, Value>, keras: u32) -> Self {
        Self { map, keras }
    }

    /// The value of a key, unless it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub(crate) fn text(&self, key: &str, default: &'static str) -> Result<&'a str, String> {
        self.get(key).map_or(Ok(default), |v| {
            v.as_str().ok_or_else(|| wrong(key, v, "a text"))
        })
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        self.get(key).map_or(Ok(default), |v| {
            v.as_bool().ok_or_else(|| wrong(key, v, "true or false"))
        })
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str, default: f32) -> Result<f32, String> {
        Ok(self.optional_number(key)?.unwrap_or(default))
    }

    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<f32>, String> {
        self.get(key)
            .map(|v| number(v).ok_or_else(|| wrong(key, v, "a number")))
            .transpose()
    }

    /// One number, or nested lists of numbers.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>, String> {
        self.get(key)
            .map(|v| {
                let mut all = Vec::new();
                flatten(v, &mut all)
                    .then_some(all)
                    .ok_or_else(|| wrong(key, v, "numbers"))
            })
            .transpose()
    }

    /// A count of 1 or more.
    pub(crate) fn count(&self, key: &str) -> Result<usize, String> {
        let value = self
            .get(key)
            .ok_or_else(|| format!("its configuration lacks {key}"))?;
        size(value)
            .filter(|n| *n > 0)
            .ok_or_else(|| wrong(key, value, "an integer of 1 or more"))
    }

    /// As [`Fields::count`], with a default.
    pub(crate) fn count_or(&self, key: &str, default: usize) -> Result<usize, String> {
        if self.get(key).is_some() {
            self.count(key)
        } else {
            Ok(default)
        }
    }

    /// Integers of 1 or more for height and width, or one for both.
    pub(crate) fn pair(&self, key: &str, default: [usize; 2]) -> Result<[usize; 2], String> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let pair = match value.as_array().map(Vec::as_slice) {
            Some([h, w]) => size(h).zip(size(w)),
            Some([both]) => size(both).map(|n| (n, n)),
            Some(_) => None,
            None => size(value).map(|n| (n, n)),
        };
        match pair {
            Some((h, w)) if h > 0 && w > 0 => Ok([h, w]),
            _ => Err(wrong(key, value, "two integers of 1 or more")),
        }
    }

    /// Integers before and after the height and the width: one number, two, or two pairs.
    pub(crate) fn sides(&self, key: &str, default: usize) -> Result<[[usize; 2]; 2], String> {
        let Some(value) = self.get(key) else {
            return Ok([[default; 2]; 2]);
        };
        let side = |v: &Value| match v.as_array().map(Vec::as_slice) {
            Some([before, after]) => Some([size(before)?, size(after)?]),
            Some(_) => None,
            None => size(v).map(|n| [n, n]),
        };
        let sides = match value.as_array().map(Vec::as_slice) {
            Some([h, w]) => side(h).zip(side(w)).map(|(h, w)| [h, w]),
            Some(_) => None,
            None => side(value).map(|s| [s, s]),
        };
        sides.ok_or_else(|| wrong(key, value, "integers for height and width"))
    }

    /// One integer or several: axes, shapes.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let list = match value.as_array() {
            Some(list) => list.iter().map(integer).collect(),
            None => integer(value).map(|i| vec![i]),
        };
        list.map(Some)
            .ok_or_else(|| wrong(key, value, "whole numbers"))
    }

    /// Whether the channels come before height and width.
    pub(crate) fn channels_first(&self) -> Result<bool, String> {
        self.choice(
            "data_format",
            "channels_last",
            &["channels_last", "channels_first"],
        )
        .map(|c| c == "channels_first")
    }

    /// One of the given words.
    pub(crate) fn choice(
        &self,
        key: &str,
        default: &'static str,
        words: &[&str],
    ) -> Result<&'a str, String> {
        let word = self.text(key, default)?;
        if words.contains(&word) {
            return Ok(word);
        }
        Err(format!(
            "its {key} is '{word}'; the supported values are {}",
            words.join(", ")
        ))
    }

    /// The mode in which the layer's weights are quantized, such as `int8`.
    pub(crate) fn quantization(&self) -> Option<&'a str> {
        let mode = match self.get("dtype")? {
            Value::String(name) => name.split_once("_from_")?.0,
            policy => {
                policy["config"].get("source_name")?;
                policy["config"]["mode"].as_str()?
            }
        };
        mode.split('/').next()
    }

    /// The configuration in one line, truncated if long, without what does not affect the outputs.
    pub(crate) fn shown(&self) -> String {
        let told = |key: &&String| {
            !SILENT
                .iter()
                .any(|s| key == s || (s.starts_with('_') && key.ends_with(s)))
        };
        let rows = self
            .map
            .keys()
            .filter(told)
            .map(|key| match &self.map[key] {
                value if holds_code(value) => format!("{key}=(a Python function)"),
                value => format!("{key}={value}"),
            });
        let line = rows.collect::<Vec<_>>().join(", ");
        let line: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// Whether a value holds the compiled code of a Python function.
fn holds_code(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > LONGEST_TEXT,
        Value::Array(list) => list.iter().any(holds_code),
        Value::Object(map) => map.values().any(holds_code),
        _ => false,
    }
}

fn wrong(key: &str, value: &Value, wanted: &str) -> String {
    let mut found = value.to_string();
    if let Some((end, _)) = found.char_indices().nth(60) {
        found = format!("{}…", &found[..end]);
    }
    format!("its {key} is {found}, not {wanted}")
}

fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|n| n as f32).filter(|n| n.is_finite())
}

/// An integer; Keras 1 and NumPy write some as floats.
fn integer(value: &Value) -> Option<i64> {
    let whole = |f: f64| (f.fract() == 0.0 && f.abs() < 1e15).then_some(f as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

fn size(value: &Value) -> Option<usize> {
    integer(value).and_then(|i| usize::try_from(i).ok())
}

fn flatten(value: &Value, all: &mut Vec<f32>) -> bool {
    match value.as_array() {
        Some(list) => list.iter().all(|v| flatten(v, all)),
        None => number(value).map(|n| all.push(n)).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_the_wrong_kind_are_told() {
        let json = json!({"strides": [2, 0], "size": 3, "padding": [[1, 2], [0, 3]], "rate": "x",
            "axis": [3.0], "kernel_initializer": {}, "name": "n"});
        let fields = Fields::new(json.as_object().unwrap(), 3);
        assert_eq!(fields.pair("size", [1, 1]), Ok([3, 3]));
        assert_eq!(fields.pair("none", [1, 2]), Ok([1, 2]));
        assert_eq!(fields.sides("padding", 0), Ok([[1, 2], [0, 3]]));
        assert_eq!(fields.integers("axis"), Ok(Some(vec![3])));
        assert_eq!(
            fields.pair("strides", [1, 1]),
            Err("its strides is [2,0], not two integers of 1 or more".into())
        );
        assert_eq!(
            fields.number("rate", 0.0),
            Err("its rate is \"x\", not a number".into())
        );
        assert_eq!(
            fields.shown(),
            r#"strides=[2,0], size=3, padding=[[1,2],[0,3]], rate="x", axis=[3.0]"#
        );
    }
}
