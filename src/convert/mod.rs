//! Keras models as ONNX files (crate `fer-keras`), run before they are kept.

mod check;

pub use check::{CheckError, Checked, check};
pub use fer_keras::*;
