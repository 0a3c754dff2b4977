//! Converts Keras models to ONNX files (crate `fer-keras`) and runs them before they are kept.

mod check;
mod file;

pub use check::{CheckError, Checked, check};
pub use fer_keras::*;
pub use file::{ConvertFileError, convert_file};
