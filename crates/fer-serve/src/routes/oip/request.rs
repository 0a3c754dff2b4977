//! The body of an inference request → tensors, and which outputs are wanted in which form.

use std::fmt;

use fer_core::spec::ModelSpec;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::{INPUT, OUTPUT, dims};
use crate::few::Few;
use crate::problem::Problem;

/// An inference request, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Infer {
    /// Given back with the response.
    pub(super) id: Option<String>,
    /// The images one after the other, in the model's layout.
    pub(super) tensors: Vec<f32>,
    pub(super) outputs: Vec<Wanted>,
}

/// An output that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Whether it follows the JSON as bytes.
    pub(super) binary: bool,
    /// If not 0, the best so many classes as text.
    pub(super) classes: usize,
}

/// The most tensors of a request, and dimensions of a tensor, that are read to be refused.
const MOST: usize = 16;

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    inputs: Few<Tensor, MOST>,
    outputs: Option<Few<Output, MOST>>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Few<i64, MOST>,
    data: Option<Values>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// The parameters that mean something here; a server ignores others.
#[derive(Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
    classification: Option<usize>,
}

/// The numbers of a tensor, which may be nested in arrays.
#[derive(Debug, Default)]
struct Values(Vec<f32>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = Vec::new();
        deserializer.deserialize_seq(Rows(&mut values))?;
        Ok(Self(values))
    }
}

/// Appends the numbers of an array, whose elements are numbers or arrays.
struct Rows<'a>(&'a mut Vec<f32>);

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, in arrays")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

/// Appends a number, or those of an array.
struct Element<'a>(&'a mut Vec<f32>);

impl<'de> serde::de::DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or an array")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, rows: A) -> Result<(), A::Error> {
        Rows(self.0).visit_seq(rows)
    }
}

impl Infer {
    /// Reads a body. `json` is the number of its bytes that are JSON, if tensors follow them.
    pub(super) fn read(
        body: &[u8],
        json: Option<usize>,
        spec: &ModelSpec,
    ) -> Result<Self, Problem> {
        let short = || Problem::bad("the body is shorter than its header of JSON");
        let (json, binary) = match json {
            None => (body, &[][..]),
            Some(length) => body.split_at_checked(length).ok_or_else(short)?,
        };
        let body: Body =
            serde_json::from_slice(json).map_err(|e| Problem::json("an inference request", &e))?;
        let Ok([tensor]) = <[Tensor; 1]>::try_from(body.inputs.0) else {
            return Err(Problem::bad(format!(
                "the request has not one input, {INPUT}"
            )));
        };
        let tensors = tensor.values(binary, spec)?;
        let all = body.parameters.binary_data_output.unwrap_or_default();
        let outputs = body.outputs.map(|outputs| outputs.0);
        let outputs = match outputs.filter(|outputs| !outputs.is_empty()) {
            None => vec![Wanted {
                binary: all,
                classes: 0,
            }],
            Some(outputs) => outputs
                .iter()
                .map(|output| output.wanted(all))
                .collect::<Result<_, _>>()?,
        };
        if outputs.len() > 1 {
            return Err(Problem::bad(format!("the model has one output, {OUTPUT}")));
        }
        Ok(Self {
            id: body.id,
            tensors,
            outputs,
        })
    }
}

impl Output {
    fn wanted(&self, all_binary: bool) -> Result<Wanted, Problem> {
        if self.name != OUTPUT {
            return Err(Problem::bad(format!("the model's only output is {OUTPUT}")));
        }
        Ok(Wanted {
            binary: self.parameters.binary_data.unwrap_or(all_binary),
            classes: self.parameters.classification.unwrap_or_default(),
        })
    }
}

impl Tensor {
    /// The numbers: those in JSON, or all of `binary`, little-endian float32.
    fn values(self, binary: &[u8], spec: &ModelSpec) -> Result<Vec<f32>, Problem> {
        if self.name != INPUT {
            return Err(Problem::bad(format!("the model's only input is {INPUT}")));
        }
        if self.datatype != "FP32" {
            return Err(Problem::bad(format!("the datatype of {INPUT} is FP32")));
        }
        let Few(shape) = self.shape;
        let images = shape.first().copied().unwrap_or_default();
        if images < 1 || shape != dims(spec, Some(images)) {
            let wanted = dims(spec, None);
            let reason = format!("the shape of {INPUT} is {wanted:?}, with at least one image");
            return Err(Problem::bad(reason));
        }
        let images = usize::try_from(images).unwrap_or(usize::MAX);
        let wanted = images.checked_mul(spec.image_len());
        let wanted = wanted.ok_or_else(|| Problem::bad("the shape has too many values"))?;
        let values = match (self.data, self.parameters.binary_data_size) {
            (Some(Values(values)), None) if binary.is_empty() => values,
            (None, Some(size)) if size == binary.len() && size % 4 == 0 => {
                let (words, _) = binary.as_chunks::<4>();
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
            (None, Some(_)) => {
                let reason = "binary_data_size is not the number of bytes after the JSON";
                return Err(Problem::bad(reason));
            }
            _ => {
                let reason = "the input has neither data nor binary_data_size, or both";
                return Err(Problem::bad(reason));
            }
        };
        if values.len() != wanted {
            let reason = format!("the input has {} values, not {wanted}", values.len());
            return Err(Problem::bad(reason));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Problem::bad("the input has values that are not finite"));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use fer_core::calibration::Calibration;
    use fer_core::spec::{InputSpec, Layout, OutputKind};
    use proptest::prelude::*;

    use super::*;

    fn spec() -> ModelSpec {
        ModelSpec {
            labels: vec!["dark".into(), "light".into()],
            input: InputSpec::new(Layout::Nhwc, 2, 1, 1),
            output: OutputKind::Probabilities,
            calibration: Calibration::NONE,
            fixed_batch: None,
            crop: None,
            assumed: Vec::new(),
        }
    }

    fn read(json: &str, binary: &[u8], length: Option<usize>) -> Result<Infer, Problem> {
        Infer::read(&[json.as_bytes(), binary].concat(), length, &spec())
    }

    fn input(fields: &str) -> String {
        format!(r#"{{"inputs": [{{"name": "input", "datatype": "FP32", {fields}}}]}}"#)
    }

    #[test]
    fn json_is_flat_or_nested() {
        for data in ["[1, 0.5, -2, 3]", "[[[[1], [0.5]]], [[[-2], [3]]]]"] {
            let json = input(&format!(r#""shape": [2, 1, 2, 1], "data": {data}"#));
            assert_eq!(
                read(&json, b"", None).unwrap().tensors,
                [1.0, 0.5, -2.0, 3.0]
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rows = [
            r#""shape": [1, 1, 2, 1]"#,
            r#""shape": [1, 1, 2, 1], "data": [1]"#,
            r#""shape": [1, 1, 2, 1], "data": [1, 2, 3]"#,
            r#""shape": [1, 1, 2, 1], "data": [1, 1e60]"#,
            r#""shape": [1, 1, 2, 1], "data": [1, "2"]"#,
            r#""shape": [1, 1, 2, 1], "data": [1, null]"#,
            r#""shape": [0, 1, 2, 1], "data": []"#,
            r#""shape": [-1, 1, 2, 1], "data": [1, 2]"#,
            r#""shape": [1, 2, 1, 1], "data": [1, 2]"#,
            r#""shape": [2], "data": [1, 2]"#,
            r#""shape": [], "data": []"#,
            r#""shape": [9223372036854775807, 1, 2, 1], "data": [1, 2]"#,
            r#""shape": [1, 1, 2, 1], "data": [1, 2], "parameters": {"binary_data_size": 8}"#,
            r#""shape": [1, 1, 2, 1], "parameters": {"binary_data_size": 8}"#,
            r#""shape": [1, 1, 2, 1], "parameters": {"binary_data_size": -8}"#,
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|row| read(&input(row), b"", None).is_ok())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn bytes_follow_json_exactly() {
        let json = input(r#""shape": [1, 1, 2, 1], "parameters": {"binary_data_size": 8}"#);
        let values = [0.25f32, 0.5];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let length = Some(json.len());
        assert_eq!(read(&json, &bytes, length).unwrap().tensors, values);
        for (bytes, length) in [
            (&bytes[..7], length),
            (&[&bytes[..], &[0]].concat(), length),
            (&bytes, None),
            (&bytes, Some(json.len() - 1)),
            (&bytes, Some(usize::MAX)),
            (&[], length),
        ] {
            assert!(read(&json, bytes, length).is_err(), "{bytes:?} {length:?}");
        }
        let nan = [f32::NAN, 0.0].map(f32::to_le_bytes).concat();
        assert!(read(&json, &nan, length).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            length in prop::option::of(0usize..200),
        ) {
            prop_assert!(Infer::read(&bytes, length, &spec()).is_err());
        }

        #[test]
        fn any_shape_is_read_or_refused(shape in prop::collection::vec(any::<i64>(), 0..6)) {
            let json = input(&format!(r#""shape": {shape:?}, "data": [1, 2]"#));
            prop_assert!(read(&json, b"", None).is_err());
        }
    }
}
