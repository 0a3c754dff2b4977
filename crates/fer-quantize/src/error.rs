//! Why a model can't be quantized.

use fer_core::onnx::OnnxError;

/// A model that can't be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The bytes are not an ONNX model.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model is quantized.
    #[error("{model} is quantized already: it has an operator {operator}")]
    Quantized {
        /// The model.
        model: String,
        /// The first operator that shows it.
        operator: String,
    },
    /// The operator set is too old for a scale per channel.
    #[error(
        "{model} has ONNX's operator set {opset}, and a scale per channel needs {least}; export it \
         again with a newer one"
    )]
    Opset {
        /// The model.
        model: String,
        /// Its operator set.
        opset: i64,
        /// The least.
        least: i64,
    },
    /// The graph has parts that are run on a condition or repeatedly.
    #[error("{model} has the operator {operator}, which runs a graph of its own")]
    ControlFlow {
        /// The model.
        model: String,
        /// The operator.
        operator: String,
    },
    /// The weights are in other files.
    #[error("{model} has its weights in other files; save it as one file")]
    ExternalWeights {
        /// The model.
        model: String,
    },
    /// The layers' weights are of another type.
    #[error("{model} has weights of {found}; quantize the float32 file that it was made of")]
    NotFloat32 {
        /// The model.
        model: String,
        /// The name of the type.
        found: &'static str,
    },
    /// There is nothing to quantize.
    #[error(
        "{model} has no layer to quantize: no convolution of images and no dense layer before its \
         last one"
    )]
    NoLayers {
        /// The model.
        model: String,
    },
    /// A weight is NaN or infinite.
    #[error("{model}: the weights of {layer} are not finite")]
    NotFinite {
        /// The model.
        model: String,
        /// The layer.
        layer: String,
    },
    /// The graph names a tensor that nothing makes, or makes one twice.
    #[error("{model} is damaged: {reason}")]
    Damaged {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
}
