//! What a model expects as input ([`InputSpec`]) and what its outputs mean ([`ModelSpec`]). The
//! spec is read from an ONNX file's metadata, else from its shapes, else from what other tools
//! write ([`Hints`]). What none of them states is guessed and reported.
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
//! | `fer.channel_order` | `rgb` or `bgr` | `rgb` |
//! | `fer.scale` | the factor for pixels of 0..255, e.g. `0.5` or `1/255` | 1/255; 1 for an input of integers |
//! | `fer.mean`, `fer.std` | JSON array, one number for all channels or one per channel in the model's order: `(scaled − mean) / std` | 0 and 1 |
//! | `fer.resize` | `nearest` or `antialias` | `nearest`, as Keras |
//! | `fer.output` | an [`OutputKind`] | from the last operator |
//! | `fer.output_name` | which of several outputs | the only one that can be a classifier's |
//! | `fer.temperature`, `fer.exponent` | the calibration of the confidences, see [`Calibration`] | 1 each; overriding one overrides both |
//! | `fer.crop` | a [`FaceCrop`]: how faces are cut out of pictures | none: the model may read faces or anything |
//! | `fer.guessed` | which of the keys above hold a guess of the tool that wrote them, separated by commas | none |
//!
//! An override may also be `preprocess`, a [`KerasMode`]: it stands for scale, mean, std and
//! channel order.

mod assumed;
mod crop;
mod emotion;
mod hints;
mod input;
mod keras_mode;
mod labels;
mod metadata;
mod numbers;
mod pixels;
mod ports;
mod python;
mod resolve;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use assumed::{Assumed, Basis};
pub use crop::{FaceCrop, Frame};
pub use emotion::{CONTEMPT, emotion};
pub use hints::{Hint, Hints};
pub use input::{Field, InputSpec, Mismatch};
pub use keras_mode::KerasMode;
pub use metadata::parse_override;
pub use numbers::{parse_factor, parse_number, parse_numbers};
pub use pixels::NOT_CALIBRATED;

use crate::calibration::Calibration;
use crate::onnx::Header;
use resolve::Resolver;

/// The seven classes of FER-2013 in the order of the notebook (sorted folder names).
pub const EMOTIONS: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
];

/// The same classes in the order of the numbers in `fer2013.csv`.
pub const CSV_EMOTIONS: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
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

/// The order of a color image's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV reads images.
    Bgr,
}

/// What the model's output values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// One per class; they sum to 1.
    Probabilities,
    /// One per class; a softmax turns them into probabilities.
    Logits,
    /// One per class, each in 0..=1 by itself, as sigmoids give them: they do not sum to 1.
    Scores,
    /// One for two classes: p of the second class; the first has 1 − p.
    Probability,
    /// One for two classes: a sigmoid turns it into the probability of the second class.
    Logit,
}

impl OutputKind {
    /// The number of output values for an image.
    pub fn values(self, classes: usize) -> usize {
        match self {
            Self::Probability | Self::Logit => 1,
            Self::Probabilities | Self::Logits | Self::Scores => classes,
        }
    }
}

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

macro_rules! named {
    ($type:ty, $($variant:path => $name:literal),+) => {
        impl FromStr for $type {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                $(if s.eq_ignore_ascii_case($name) { return Ok($variant); })+
                Err(format!("is '{s}'; it can be {}", one_of(&[$($name),+])))
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
named!(ChannelOrder, ChannelOrder::Rgb => "rgb", ChannelOrder::Bgr => "bgr");
named!(KerasMode, KerasMode::Tf => "tf", KerasMode::Caffe => "caffe", KerasMode::Torch => "torch");
named!(OutputKind,
    OutputKind::Probabilities => "probabilities",
    OutputKind::Logits => "logits",
    OutputKind::Scores => "scores",
    OutputKind::Probability => "probability",
    OutputKind::Logit => "logit");

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
    /// How faces are cut out of pictures for it; `None` if nothing states it.
    pub crop: Option<FaceCrop>,
    /// The batch size, if the file fixes it.
    pub fixed_batch: Option<usize>,
    /// What the file's own metadata does not state, with the reason for its value.
    pub assumed: Vec<Assumed>,
}

/// A spec, and what has to be done to a file for an engine that takes and returns float32.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The spec.
    pub spec: ModelSpec,
    /// The name of the classifier's output.
    pub output: String,
    /// Whether the input is of whole numbers, so that it can't take other values than pixels.
    pub whole: bool,
    /// Whether the file has outputs besides that one, or takes or returns another type than
    /// float32: [`crate::onnx::adapt`] changes that.
    pub adapt: bool,
}

impl ModelSpec {
    /// Whether the model reads faces: it names how they are cut out, or its classes are emotions.
    pub fn reads_faces(&self) -> bool {
        self.crop.is_some() || self.labels.iter().all(|label| emotion(label).is_some())
    }

    /// Makes the spec of the model called `model` from its header. `overrides` is the user's
    /// metadata, which overrides the file's.
    ///
    /// # Errors
    /// The model is not an image classifier with one input of rank 4 and a recognizable output, or
    /// its metadata contradicts its shapes or can't be understood.
    pub fn resolve(
        header: &Header,
        overrides: &BTreeMap<String, String>,
        model: &str,
    ) -> Result<Self, SpecError> {
        Self::resolve_with(header, overrides, &Hints::default(), model).map(|r| r.spec)
    }

    /// As [`resolve`](Self::resolve), with hints for what neither metadata nor shapes state.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_with(
        header: &Header,
        overrides: &BTreeMap<String, String>,
        hints: &Hints,
        model: &str,
    ) -> Result<Resolved, SpecError> {
        let mut resolver = Resolver::new(header, overrides, hints);
        resolver.resolve().map_err(|problem| SpecError {
            model: model.to_string(),
            problem,
            missing: resolver.missing,
        })
    }

    /// What is known of the output only by its last operator or not at all, so that running the
    /// model may show something else.
    pub fn output_is_uncertain(&self) -> bool {
        let mut assumed = self.assumed.iter();
        assumed.any(|a| a.field == Field::Output && a.is_guess())
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
