//! The core of fer: from images to records, independent of the engine.
//!
//! | step | module |
//! |---|---|
//! | which images, and their pixels | [`images`] |
//! | pixels → tensor | [`preprocess`], by the model's [`spec`] |
//! | the ONNX file | [`onnx`] |
//! | tensor → probabilities | [`classifier`], a trait |
//! | what an unknown model's outputs are | [`probe`] |
//! | logits → calibrated confidences | [`calibration`] |
//! | a model that many threads can use | [`session`] |
//! | many images, in order, in bounded memory | [`stream`] |
//! | records for people and programs | [`report`] |
//!
//! A picture's pixels become a model's input:
//!
//! ```
//! use fer_core::images::Pixels;
//! use fer_core::preprocess::Preprocessor;
//! use fer_core::spec::{InputSpec, Layout};
//!
//! let white = Pixels { width: 96, height: 64, channels: 3, data: vec![255; 96 * 64 * 3] };
//! let input = InputSpec::new(Layout::Nhwc, 48, 48, 1);
//! let tensor = Preprocessor::new(&input).tensor(white);
//! assert_eq!(tensor, [1.0; 48 * 48]);
//! ```
//!
//! The crate depends on neither Burn nor ONNX Runtime. It prints nothing, never exits, and reads
//! the environment only in [`host::Host::from_env`].

use std::sync::OnceLock;

pub mod calibration;
pub mod classifier;
pub mod files;
pub mod host;
pub mod images;
pub mod model_file;
pub mod names;
pub mod onnx;
pub mod panics;
pub mod prediction;
pub mod preprocess;
pub mod probe;
pub mod random;
pub mod report;
pub mod session;
pub mod spec;
pub mod stream;
#[cfg(test)]
mod testing;

/// The number of cores this process may use, at least 1, as it was when first asked: each time, it
/// would be read from the files of control groups.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}
