//! The extension in the wheel `fer-rs`: what the Python package `fer_rs` calls.
//!
//! Python prepares arguments and builds records; here a model is loaded ([`classifier`]), pictures
//! are taken from Python's objects ([`pictures`], [`array`](mod@array)), and the program `fer` runs
//! ([`program`]).

#![deny(clippy::unwrap_used, clippy::expect_used)]

mod array;
mod classifier;
mod pictures;
mod program;

use fer::kernels::allocator::Reuse;
use pyo3::prelude::*;

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

/// The functions and classes that `fer_rs` builds on.
#[pymodule]
mod _fer {
    #[pymodule_export]
    use super::classifier::{EngineError, FerError, ImageError, ModelError, NativeClassifier};
    #[pymodule_export]
    use super::program::run;
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("OLDEST_ONNXRUNTIME", (1, fer::ort::library::OLDEST_MINOR))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
