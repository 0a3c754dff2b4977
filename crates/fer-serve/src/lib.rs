//! An HTTP service for classifiers.
//!
//! | step | file |
//! |---|---|
//! | connections: their number, their times, the end of the service | `connections`, `patient` |
//! | who may ask: host, origin, token | `guard` |
//! | what waits: requests and bytes, bounded | `admission` |
//! | bodies, forms, arrays of JSON | `body`, `multipart`, `few` |
//! | a picture → faces → tensors → the model → a record | `see` |
//! | the models by name, and newer ones in their place | `models` |
//! | the interfaces: pictures, DeepFace's, the Open Inference Protocol, frames, the page | `routes` |
//! | counters for Prometheus | `metrics` |
//!
//! The crate depends on neither Burn nor ONNX Runtime: a model is a
//! [`Classifier`](fer_core::classifier::Classifier), a detector a
//! [`Network`](fer_faces::Network). It prints nothing; what an operator should know goes to
//! [`Settings::log`]. No answer contains a path of the machine, and nothing of a picture is stored
//! or logged.
//!
//! ```no_run
//! # fn sources() -> Vec<fer_serve::Source> { Vec::new() }
//! use fer_serve::{Service, Settings};
//!
//! let service = Service::open(Settings::default(), sources(), None)?;
//! let control = service.control();
//! // On a signal: `control.stop()`, or `control.reload()`.
//! service.run(std::net::TcpListener::bind("127.0.0.1:8080")?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod body;
mod connections;
mod few;
mod guard;
mod metrics;
mod models;
mod multipart;
mod patient;
mod problem;
mod routes;
mod see;
mod service;
mod settings;

pub use models::{LoadFailure, Reloaded, Source};
pub use service::{Control, Detector, ServeError, Service};
pub use settings::{Access, Limits, Log, Settings, Token};
