//! Facial-emotion classifiers, run and verified: images → tensors → model → probabilities → report.
//!
//! | step | module |
//! |---|---|
//! | which images, and their pixels | [`image`] |
//! | pixels → tensor | [`preprocess`], by the model's [`spec`] |
//! | the ONNX file | [`onnx`] |
//! | tensor → probabilities | [`engine`]: ONNX Runtime (its library: [`runtime`]), compiled-in code or a trained network on Burn |
//! | logits → confidences that mean something | [`calibration`] |
//! | many images, in order, in bounded memory | [`pipeline`] |
//! | records for people and programs | [`report`] |
//! | two engines, or an engine and Keras, compared | [`parity`] |
//! | what Burn computes on | [`device`] |
//! | what this machine can do | [`doctor`] |
//! | labelled images, checked and divided | [`data`] |
//! | training images varied | [`augment`] |
//! | networks and their training | [`model`], [`train`] |
//! | a trained network as an ONNX file | [`export`] |
//! | a Keras model as an ONNX file | [`convert`] |
//! | how good a model is | [`eval`], with pictures by [`plot`] |
//!
//! The library prints nothing, never exits, and takes its settings from the environment only
//! through [`runtime::Host`].
//!
//! ONNX Runtime 1.29 and newer reports its use over the network. The `fer` program turns that off
//! by setting `ORT_DISABLE_TELEMETRY=1` before its first thread starts; a program of your own that
//! uses [`engine::ort`] has to do the same, as a library can't do it safely.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod augment;
pub mod calibration;
pub mod convert;
pub mod data;
pub mod device;
pub mod doctor;
pub mod engine;
pub mod eval;
pub mod export;
pub mod files;
pub mod image;
pub mod kernels;
pub mod model;
pub mod onnx;
pub mod panics;
pub mod parity;
pub mod pipeline;
pub mod plot;
pub mod preprocess;
pub mod random;
pub mod report;
pub mod runtime;
pub mod spec;
pub mod train;

/// The number of cores this process may use, at least 1.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
