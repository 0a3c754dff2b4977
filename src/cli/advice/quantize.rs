//! Advice about models that can't be quantized.

use fer::onnx::OnnxError;
use fer::quantize::{QuantizeError, QuantizeFileError};

pub(super) fn file(error: &QuantizeFileError) -> Option<String> {
    match error {
        QuantizeFileError::Load(error) => super::load(error),
        QuantizeFileError::Quantize(error) => model(error),
        QuantizeFileError::Ort(error) => super::ort::ort(error),
        QuantizeFileError::NotFinite { .. } => {
            Some("check the model's weights, and its scale with --meta scale=X".into())
        }
        QuantizeFileError::NoImages { .. } => {
            Some("name others with --data, or the model's classes with --meta labels=A,B,…".into())
        }
        QuantizeFileError::Engine(_)
        | QuantizeFileError::Stream(_)
        | QuantizeFileError::Scores { .. }
        | QuantizeFileError::Thread(_)
        | QuantizeFileError::Write { .. } => None,
    }
}

fn model(error: &QuantizeError) -> Option<String> {
    match error {
        QuantizeError::Onnx(error @ OnnxError::OtherKind { .. }) => super::onnx(error),
        QuantizeError::Quantized { .. } => {
            Some("quantize the float32 file that it was made of".into())
        }
        _ => None,
    }
}
