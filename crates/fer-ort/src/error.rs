//! What keeps a model from running in ONNX Runtime, as a type with fields. The texts say what is
//! wrong; what a user can do about it depends on the program around this crate.

use std::fmt;
use std::path::PathBuf;

use fer_core::onnx::OnnxError;

use crate::Provider;
use crate::runtime::Origin;

/// A model that can't be loaded into ONNX Runtime, or a library that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OrtError {
    /// The library can't be used: no library, not ONNX Runtime, or too old.
    #[error("{} (from {origin}) can't be used: {reason}", path.display())]
    Library {
        /// The library's file.
        path: PathBuf,
        /// Where it was found.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// Another library is open in this process.
    #[error("{open} is in use already; one process runs one library")]
    InUse {
        /// The library that is open, with its version and path.
        open: String,
    },
    /// ONNX Runtime refuses the options of a session.
    #[error("ONNX Runtime refuses its session options: {reason}")]
    Options {
        /// What ONNX Runtime said.
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
        /// What ONNX Runtime said.
        reason: String,
    },
    /// ONNX Runtime failed on the model.
    #[error("{model} failed in ONNX Runtime: {reason}")]
    Run {
        /// The model: a built-in one's name or a path.
        model: String,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// The model has no tensor of this name.
    #[error("{model} has no tensor {tensor}")]
    NoTensor {
        /// The model: a built-in one's name or a path.
        model: String,
        /// The tensor that was asked for.
        tensor: String,
    },
    /// The provider that was asked for can't run the model.
    #[error("provider {provider} can't run: {problem}")]
    Provider {
        /// The provider.
        provider: Provider,
        /// Why it can't.
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
        /// What ONNX Runtime said.
        reason: String,
        /// What the machine lacks, where that is known.
        missing: Option<Missing>,
    },
    /// The provider took none of the model's operators.
    TookNothing {
        /// The model: a built-in one's name or a path.
        model: String,
        /// What ONNX Runtime said of it, where it said something.
        warning: Option<String>,
        /// What the machine lacks, where that is known.
        missing: Option<Missing>,
    },
    /// Where the operators ran can't be determined.
    Unproven {
        /// What went wrong with the profile.
        reason: String,
    },
}

impl ProviderProblem {
    /// What the machine lacks, where that is known.
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
                write!(f, "it took none of the operators of {model}")?;
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

/// What a machine lacks for one of NVIDIA's providers, as ONNX Runtime's messages show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// NVIDIA's driver.
    Driver,
    /// A driver that is new enough for the CUDA that the library was built for.
    NewerDriver,
    /// cuDNN 9.
    Cudnn,
    /// CUDA's runtime libraries.
    CudaLibraries,
    /// TensorRT.
    TensorRt,
    /// The device of the number that was asked for, or any.
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
