//! The tests of the program and of what needs Burn or ONNX Runtime, as one program: each test
//! program links all of Burn and the weights of the compiled-in models.
//!
//! `cargo test --release --test all infer::` runs one file's. A test that has to have a process or
//! a build of its own is a file beside this folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod anyclass;
mod augment;
mod cards;
mod cli_completions;
mod convert;
mod corruptions;
mod crops;
mod csv;
mod data;
mod faces;
mod foreign;
mod foreign_files;
mod gradients;
mod infer;
mod int8;
mod keras_scripts;
mod layers;
mod layouts;
mod model_files;
mod onnx_files;
mod operations;
mod parity;
mod plot;
mod providers;
#[cfg(feature = "ort")]
mod quantize;
mod repvgg;
mod resume;
mod sam;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "shards")]
mod shards;
mod synth;
mod train;
mod votes;
#[cfg(feature = "video")]
mod watch;
mod words;
