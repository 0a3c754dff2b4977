//! The tests of this crate on files, as one program.

#[path = "../common/mod.rs"]
mod common;

mod decode;
mod onnx_files;
mod properties;
