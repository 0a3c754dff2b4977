//! The tests of this crate on files, as one program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod decode;
mod onnx_files;
mod properties;
mod qdq;
mod specs;
