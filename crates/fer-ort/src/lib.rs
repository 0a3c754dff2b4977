//! ONNX Runtime for fer: any ONNX image classifier, on the requested provider or not at all.
//!
//! [`runtime`] finds the library or installs it. [`library`] opens it. [`OrtClassifier`] runs a
//! model and proves where it runs. [`inspect`] reads tensors inside a model.
//!
//! ```no_run
//! use fer_core::host::Host;
//! use fer_ort::{Provider, library, runtime};
//!
//! let found = runtime::locate(None, &Host::from_env())?;
//! println!("{}", library::open(&found)?);
//! println!("CUDA is built in: {}", Provider::Cuda.is_built_in());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ONNX Runtime 1.29 and newer sends telemetry. The `fer` program turns that off by setting
//! `ORT_DISABLE_TELEMETRY=1` before its first thread starts. Another program that uses this crate
//! has to do the same, because a library can't do it safely.

mod classifier;
mod cut_off;
mod error;
pub mod inspect;
pub mod library;
mod network;
mod options;
mod placement;
mod provider;
pub mod runtime;

pub use classifier::{ModelSource, OrtClassifier, SessionOptions};
pub use error::{Missing, OrtError, ProviderProblem};
pub use network::{OrtNetwork, Output};
pub use options::{OptionError, ProviderOption, ProviderOptions};
pub use provider::{Provider, UnknownProvider};
