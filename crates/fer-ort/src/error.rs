//! Errors of ONNX Runtime, as types with fields. The messages say what is wrong. What the user can
//! do depends on the program that uses this crate.

use std::fmt;
use std::path::PathBuf;

use fer_core::onnx::OnnxError;

use crate::Provider;
use crate::runtime::Origin;

/// A model can't be loaded into ONNX Runtime, or a library can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OrtError {
    /// The library can't be used: no library, not ONNX Runtime, or too old.
    #[error("{} (from {origin}) can't be used: {reason}", path.display())]
    Library {
        /// The library's file.
        path: PathBuf,
        /// Where it was found.
        origin: Origin,
        /// The reason.
        reason: String,
    },
    /// Another library is already open in this process.
    #[error("{open} is already in use; a process can use only one library")]
    InUse {
        /// The library that is open, with its version and path.
        open: String,
    },
    /// ONNX Runtime rejects a session's options.
    #[error("ONNX Runtime rejects the session options: {reason}")]
    Options {
        /// ONNX Runtime's message.
        reason: String,
    },
    /// The bytes are not an ONNX model.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// ONNX Runtime can't load the model.
    #[error("ONNX Runtime can't load {model}: {reason}")]
    Session {
        /// The model: a built-in one's name or a path.
        model: String,
        /// ONNX Runtime's message.
        reason: String,
    },
    /// ONNX Runtime failed on the model.
    #[error("{model} failed in ONNX Runtime: {reason}")]
    Run {
        /// The model: a built-in one's name or a path.
        model: String,
        /// ONNX Runtime's message.
        reason: String,
    },
    /// The model has no tensor of this name.
    #[error("{model} has no tensor {tensor}")]
    NoTensor {
        /// The model: a built-in one's name or a path.
        model: String,
        /// The requested tensor.
        tensor: String,
    },
    /// The requested provider can't run the model.
    #[error("provider {provider} can't run: {problem}")]
    Provider {
        /// The provider.
        provider: Provider,
        /// The reason.
        problem: ProviderProblem,
    },
}

/// Why a provider can't run a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderProblem {
    /// The library was built without the provider.
    NotBuiltIn {
        /// The library, with its version and path.
        library: String,
        /// The providers that it was built with.
        has: Vec<Provider>,
    },
    /// The provider does not start, or it failed on the first run.
    DoesNotStart {
        /// ONNX Runtime's message.
        reason: String,
        /// What the machine lacks, if known.
        missing: Option<Missing>,
    },
    /// The provider ran none of the model's operators.
    TookNothing {
        /// The model: a built-in one's name or a path.
        model: String,
        /// ONNX Runtime's warning, if there was one.
        warning: Option<String>,
        /// What the machine lacks, if known.
        missing: Option<Missing>,
    },
    /// Where the operators ran can't be determined.
    Unproven {
        /// The problem with the profile.
        reason: String,
    },
}

impl ProviderProblem {
    /// What the machine lacks, if known.
    pub fn missing(&self) -> Option<Missing> {
        match self {
            Self::DoesNotStart { missing, .. } | Self::TookNothing { missing, .. } => *missing,
            Self::NotBuiltIn { .. } | Self::Unproven { .. } => None,
        }
    }
}

impl fmt::Display for ProviderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn { library, has } => {
                let has: Vec<String> = has.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{library} is built without it (it has {})",
                    has.join(", ")
                )?;
            }
            Self::DoesNotStart { reason, .. } => f.write_str(reason)?,
            Self::TookNothing { model, warning, .. } => {
                write!(f, "it ran none of the operators of {model}")?;
                if let Some(warning) = warning {
                    write!(f, " ({warning})")?;
                }
            }
            Self::Unproven { reason } => {
                write!(f, "where its operators ran can't be determined: {reason}")?;
            }
        }
        self.missing().map_or(Ok(()), |it| write!(f, "; {it}"))
    }
}

/// What a machine lacks for one of NVIDIA's providers, recognized by ONNX Runtime's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// NVIDIA's driver.
    Driver,
    /// A driver that is new enough for the library's CUDA version.
    NewerDriver,
    /// cuDNN 9.
    Cudnn,
    /// CUDA's runtime libraries.
    CudaLibraries,
    /// TensorRT.
    TensorRt,
    /// The requested device, or any.
    Device,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "the NVIDIA driver is not installed",
            Self::NewerDriver => "the NVIDIA driver is too old for this CUDA",
            Self::Cudnn => "cuDNN 9 is missing",
            Self::CudaLibraries => "the CUDA runtime libraries are missing",
            Self::TensorRt => "TensorRT is missing",
            Self::Device => "there is no such NVIDIA device",
        })
    }
}
