//! What a model expects as input ([`InputSpec`]) and what its outputs mean ([`ModelSpec`]). The
//! spec is read from an ONNX file's metadata, else from its shapes. What neither of them states is
//! assumed and reported.
//!
//! # Metadata
//! `fer` writes and reads these `metadata_props`. The prefix `fer.` may be left out in the
//! overrides of [`ModelSpec::resolve`].
//!
//! | key | value | default |
//! |---|---|---|
//! | `fer.labels` | JSON array of class names in output order | the seven classes if there are seven outputs |
//! | `fer.layout` | `NHWC` or `NCHW` | from the shape |
//! | `fer.size` | `WIDTHxHEIGHT` in pixels | from the shape |
//! | `fer.channels` | `1` (gray) or `3` (RGB) | from the shape |
//! | `fer.scale` | the factor for pixels of 0..255 | 1/255 |
//! | `fer.mean`, `fer.std` | JSON array, one number per channel: `(scaled − mean) / std` | 0 and 1 |
//! | `fer.resize` | `nearest` or `antialias` | `nearest`, as Keras |
//! | `fer.output` | `probabilities` or `logits` | from the last operator |
//! | `fer.temperature`, `fer.exponent` | the calibration of the confidences, see [`Calibration`] | 1 each; overriding one overrides both |

mod emotion;
mod input;
mod metadata;
mod resolve;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use emotion::{CONTEMPT, emotion};
pub use input::{Field, InputSpec, Mismatch};
pub use metadata::parse_override;

use crate::calibration::Calibration;
use crate::onnx::Header;
use resolve::Resolver;

/// The seven classes of FER-2013 in the order of the notebook (sorted folder names).
pub const EMOTIONS: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
];

/// A model that `fer` can't use, and why.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{model}: {problem}")]
pub struct SpecError {
    /// The model.
    pub model: String,
    /// What is wrong with it.
    pub problem: String,
    /// What neither the file nor the user says, if that is the problem.
    pub missing: Option<Field>,
}

/// The order of a batch's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[N, height, width, channels]`, Keras's order.
    Nhwc,
    /// `[N, channels, height, width]`, Burn's and PyTorch's order.
    Nchw,
}

/// How an image is resized to the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// The nearest pixel, as Keras's `load_img` does by default.
    Nearest,
    /// Area-weighted linear interpolation, which does not alias when it shrinks images.
    Antialias,
}

/// What the model's output values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// They sum to 1.
    Probabilities,
    /// A softmax turns them into probabilities.
    Logits,
}

macro_rules! named {
    ($type:ty, $($variant:path => $name:literal),+) => {
        impl FromStr for $type {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                $(if s.eq_ignore_ascii_case($name) { return Ok($variant); })+
                Err(format!("is '{s}'; it can be {}", [$($name),+].join(" or ")))
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($variant => $name),+ })
            }
        }
    };
}
named!(Layout, Layout::Nhwc => "NHWC", Layout::Nchw => "NCHW");
named!(Resize, Resize::Nearest => "nearest", Resize::Antialias => "antialias");
named!(OutputKind, OutputKind::Probabilities => "probabilities", OutputKind::Logits => "logits");

/// What a model expects as input and what its outputs mean.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Class names in output order.
    pub labels: Vec<String>,
    /// What it takes.
    pub input: InputSpec,
    /// What the output values are.
    pub output: OutputKind,
    /// How the logits become calibrated confidences. It changes no label.
    pub calibration: Calibration,
    /// The batch size, if the file fixes it.
    pub fixed_batch: Option<usize>,
    /// What was taken from the file's shapes or by default, because its metadata does not state it;
    /// each a phrase for the user.
    pub assumed: Vec<String>,
}

impl ModelSpec {
    /// Makes the spec of the model called `model` from its header. `overrides` is the user's
    /// metadata, which overrides the file's.
    ///
    /// # Errors
    /// The model is not an image classifier with one float32 input of rank 4 and one output, or its
    /// metadata contradicts its shapes or can't be understood.
    pub fn resolve(
        header: &Header,
        overrides: &BTreeMap<String, String>,
        model: &str,
    ) -> Result<Self, SpecError> {
        let mut resolver = Resolver::new(header, overrides);
        resolver.resolve().map_err(|problem| SpecError {
            model: model.to_string(),
            problem,
            missing: resolver.missing,
        })
    }

    /// Checks that tensors prepared for `other` mean the same to this model
    /// ([`InputSpec::accepts`]), and that both have the same classes in the same order.
    ///
    /// # Errors
    /// The first difference.
    pub fn accepts(&self, other: &Self) -> Result<(), Mismatch> {
        self.input.accepts(&other.input)?;
        Mismatch::check(
            Field::Labels,
            self.labels == other.labels,
            || other.labels.join(", "),
            || self.labels.join(", "),
        )
    }

    /// See [`InputSpec::image_len`].
    pub fn image_len(&self) -> usize {
        self.input.image_len()
    }

    /// See [`InputSpec::shape`].
    pub fn input_shape(&self, n: usize) -> [usize; 4] {
        self.input.shape(n)
    }
}
