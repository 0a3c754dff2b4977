//! Converts Keras models to ONNX files (crate `fer-keras`) and runs them before they are kept.

mod check;

pub use check::{CheckError, Checked, check};
pub use fer_keras::*;
