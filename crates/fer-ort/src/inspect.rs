//! Reads tensors inside a model, as ONNX Runtime computes them: the output of each layer, not only
//! of the last.

use bytes::Bytes;
use fer_core::onnx::proto::{Message, ValueInfoProto};
use ort::value::TensorRef;

use fer_core::onnx::{self, ELEM_FLOAT};

use crate::classifier::{ModelSource, SessionOptions, builder, commit, one_line};
use crate::error::OrtError;
use crate::library::Library;
use crate::{Provider, ProviderOptions};

/// A tensor of float32, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its dimensions, the batch first.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Runs an ONNX model, called `name` in errors, on a batch of `shape` and returns the float32
/// tensors of these names.
///
/// # Errors
/// The bytes are not a model, it has no such tensors, or ONNX Runtime fails on it.
pub fn tensors(
    library: &'static Library,
    model: &Bytes,
    name: &str,
    wanted: &[&str],
    input: &[f32],
    shape: [usize; 4],
) -> Result<Vec<Tensor>, OrtError> {
    let failed = |e: &dyn std::fmt::Display| OrtError::Run {
        model: name.to_string(),
        reason: one_line(&e.to_string()),
    };
    let mut proto = onnx::parse_proto(model, name)?;
    let graph = proto.graph.mut_or_insert_default();
    for tensor in wanted {
        if !graph.output.iter().any(|o| o.name == *tensor) {
            let mut output = ValueInfoProto {
                name: tensor.to_string(),
                ..Default::default()
            };
            output
                .type_
                .mut_or_insert_default()
                .mut_tensor_type()
                .elem_type = ELEM_FLOAT;
            graph.output.push(output);
        }
    }
    let bytes = proto.write_to_bytes().map_err(|e| failed(&e))?;
    let none = ProviderOptions::default();
    let options = SessionOptions {
        provider: Provider::Cpu,
        provider_options: &none,
        threads: None,
        images: Some(1),
    };
    let mut session = commit(
        &mut builder(library, &options)?,
        &ModelSource::Bytes(bytes.into()),
        name,
    )?;
    let input = TensorRef::from_array_view((shape, input)).map_err(|e| failed(&e))?;
    let outputs = session.run(ort::inputs![input]).map_err(|e| failed(&e))?;
    let extract = |tensor: &&str| -> Result<Tensor, OrtError> {
        let value = outputs.get(*tensor).ok_or_else(|| OrtError::NoTensor {
            model: name.to_string(),
            tensor: tensor.to_string(),
        })?;
        let (dims, values) = value.try_extract_tensor::<f32>().map_err(|e| failed(&e))?;
        let dims = dims
            .iter()
            .map(|d| usize::try_from(*d).unwrap_or(0))
            .collect();
        Ok(Tensor {
            dims,
            values: values.to_vec(),
        })
    };
    wanted.iter().map(extract).collect()
}
