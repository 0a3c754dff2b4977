//! Facial-emotion classifiers, run and verified: images → tensors → model → probabilities →
//! records.
//!
//! This crate joins the others: it loads a model into an engine ([`load()`]), compiles models in
//! ([`compiled`]), and has the work of the program `fer` as functions. It builds on these crates:
//!
//! | crate | content |
//! |---|---|
//! | `fer-core` | images, preprocessing, specs, calibration, ONNX headers, the stream, records |
//! | `fer-kernels` | the CPU kernels, as operations on Burn's tensors |
//! | `fer-burn` | Burn's devices, and classifiers that Burn runs |
//! | `fer-ort` | ONNX Runtime: its library, sessions, providers (feature `ort`) |
//! | `fer-keras` | Keras models → ONNX files |
//! | `fer-quantize` | 8-bit integers: QDQ files, ranges, rounding of weights (features `ort` and `train`) |
//! | `fer-faces` | faces in pictures: a detector's outputs, passes, crops |
//! | `fer-serve` | a classifier and a detector behind HTTP (feature `serve`) |
//! | `fer-shards` | Parquet files and WebDataset's shards (feature `shards`) |
//! | `fer-train` | data, augmentation, networks, training, evaluation, export (feature `train`) |
//! | `fer-video` | frames of videos, streams and cameras, annotated videos (feature `video`) |
//!
//! Their modules are re-exported here. The library prints nothing, never exits, and reads the
//! environment only through [`host::Host`]. The program itself, hidden here, does.
//!
//! Classify a picture:
//!
//! ```
//! use fer::{LoadOptions, ModelRef, host::Host, images};
//!
//! let model = ModelRef::default_model()?;
//! let session = fer::open(&model, &LoadOptions::default(), &Host::from_env())?;
//! let prediction = session.predict(images::read("examples/faces/happy.png".as_ref())?)?;
//! assert_eq!(session.spec().labels[prediction.class], "happy");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Classify the faces of a photograph:
//!
//! ```
//! use fer::faces::{Crop, Detector, DetectorRef, FRAME, SearchOptions, find};
//! use fer::{Backend, LoadOptions, ModelRef, host::Host, images};
//!
//! let host = Host::from_env();
//! let session = fer::open(&ModelRef::default_model()?, &LoadOptions::default(), &host)?;
//! let spec = session.spec();
//! let detector = Detector::load(&DetectorRef::Builtin, &Backend::default(), None, &host)?;
//! let crop = Crop {
//!     frame: spec.crop.unwrap_or(FRAME),
//!     size: [spec.input.width, spec.input.height],
//! };
//! let photo = images::read("examples/photos/astronaut.jpg".as_ref())?;
//! let faces = find(&photo, &detector, &SearchOptions::default())?;
//! assert_eq!(faces.len(), 1);
//! for face in faces {
//!     let prediction = session.predict(crop.cut(&photo, &face))?;
//!     assert_eq!(spec.labels[prediction.class], "happy");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ONNX Runtime 1.29 and newer sends telemetry. The `fer` program turns that off by setting
//! `ORT_DISABLE_TELEMETRY=1` before its first thread starts. Another program that uses ONNX Runtime
//! has to do the same, because a library can't do it safely.

// The program, for `main` and for the Python module; not for other programs.
#[doc(hidden)]
pub mod cli;
pub mod compiled;
pub mod convert;
pub mod doctor;
#[cfg(feature = "train")]
pub mod export;
pub mod faces;
#[cfg(feature = "train")]
pub mod labeled;
mod load;
mod load_error;
mod outputs;
pub mod parity;
#[cfg(all(feature = "ort", feature = "train"))]
pub mod quantize;
#[cfg(feature = "train")]
pub mod training;
pub mod triton;
#[cfg(feature = "video")]
pub mod watch;

// The command line names the library as other programs do.
extern crate self as fer;

pub use fer_burn::device;
pub use fer_core::{
    calibration, classifier, cores, files, host, images, model_file, names, onnx, panics,
    prediction, preprocess, probe, random, report, session, spec, stream,
};
pub use fer_kernels as kernels;
#[cfg(feature = "ort")]
pub use fer_ort as ort;
#[cfg(feature = "ort")]
pub use fer_ort::runtime;
#[cfg(feature = "shards")]
pub use fer_shards as shards;
#[cfg(feature = "train")]
pub use fer_train::{augment, data, eval, model, plot, train, trained};
#[cfg(feature = "video")]
pub use fer_video as video;
pub use load::{Backend, LoadOptions, ModelRef, load, open, open_to_check};
pub use load_error::{LoadError, NoOnnxRuntime};
