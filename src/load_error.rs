//! Why a model can't be loaded, as a type with fields.

use fer_burn::device::{DeviceError, DeviceSpec};
use fer_core::onnx::OnnxError;
use fer_core::spec::SpecError;
#[cfg(feature = "ort")]
use fer_ort::{OrtError, runtime::NotFound};
#[cfg(feature = "train")]
use fer_train::trained::TrainedError;

use crate::compiled;

/// A model can't be loaded as requested.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This program has no compiled-in model.
    #[error("no model is compiled in")]
    NoneCompiledIn,
    /// There is neither a file nor a compiled-in model of that name.
    #[error(
        "{name} is neither a file nor a built-in model (built-in models: {})",
        known()
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// The folder is not a training run.
    #[error(
        "{name} is a folder, but not a training run (it has no config.toml); a model is \
         an ONNX file, a run folder or a built-in model ({})",
        known()
    )]
    Folder {
        /// The folder.
        name: String,
    },
    /// A training run, in a program that was built without them.
    #[error(
        "{name} is a training run, and this program was built without training (Cargo feature \
         train)"
    )]
    TrainNotBuiltIn {
        /// The run.
        name: String,
    },
    /// Burn runs compiled-in models, and this file is not one of them.
    #[error(
        "{model} is not one of the compiled-in models ({}), and Burn runs only those",
        known()
    )]
    NotCompiledIn {
        /// The file.
        model: String,
    },
    /// A model of 8-bit integers was requested on a GPU.
    #[error(
        "{model} computes with 8-bit integers, which Burn does only on the CPU, not on {device}"
    )]
    Int8OnDevice {
        /// The model.
        model: String,
        /// The device.
        device: DeviceSpec,
    },
    /// ONNX Runtime was requested for a training run.
    #[error("{model} is a training run and not an ONNX file; only Burn runs it")]
    TrainedNotOnnx {
        /// The run.
        model: String,
    },
    /// Metadata was given for a training run.
    #[error("metadata is for ONNX files; {model} is a training run, which has its own")]
    TrainedMetadata {
        /// The run.
        model: String,
    },
    /// Only ONNX Runtime runs this model, and it can't be used.
    #[error("{model} is not compiled in, so it needs ONNX Runtime: {reason}")]
    NeedsOnnxRuntime {
        /// The model.
        model: String,
        /// Why ONNX Runtime can't be used.
        reason: NoOnnxRuntime,
    },
    /// ONNX Runtime was requested and can't be used.
    #[error(transparent)]
    NoOnnxRuntime(#[from] NoOnnxRuntime),
    /// The model file can't be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model's graph has to be changed, and its weights are in other files.
    #[error(
        "{model} has several outputs, or an input or output that is not float32, and its weights \
         are in other files; save it as one file"
    )]
    ExternalWeights {
        /// The model.
        model: String,
    },
    /// The model is not an image classifier that fer can use.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The file is not a face detector that fer can use.
    #[error("{model} is not a detector that fer can use: {problem}")]
    Detector {
        /// The file.
        model: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The system can't start a thread for the model.
    #[error("can't start a thread for the model: {0}")]
    Thread(#[source] std::io::Error),
    /// ONNX Runtime can't run the model.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Ort(OrtError),
    /// Burn's device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The training run can't be loaded.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Trained(#[from] TrainedError),
}

#[cfg(feature = "ort")]
impl From<OrtError> for LoadError {
    fn from(error: OrtError) -> Self {
        match error {
            OrtError::Library { .. } | OrtError::InUse { .. } => {
                Self::NoOnnxRuntime(NoOnnxRuntime::Library(error))
            }
            OrtError::Onnx(error) => Self::Onnx(error),
            _ => Self::Ort(error),
        }
    }
}

/// Why ONNX Runtime can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NoOnnxRuntime {
    /// This program was built without it.
    #[error("this program was built without ONNX Runtime (Cargo feature ort)")]
    NotBuiltIn,
    /// Its library was not found, or a path that was given is not its library's.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Its library was found and can't be opened.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Library(OrtError),
}

/// The names of the compiled-in models.
fn known() -> String {
    let names: Vec<&str> = compiled::models().iter().map(|m| m.name).collect();
    names.join(", ")
}
