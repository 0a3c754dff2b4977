//! What a training run does ([`Config`]): a TOML file, some of which are embedded as presets.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use super::task::SIDES;
use crate::augment::Augmentation;
use crate::data::{Split, check_classes};
use crate::model::Architecture;
use fer_core::spec::{EMOTIONS, FaceCrop, Resize};

/// The embedded presets: name and TOML text.
pub const PRESETS: [(&str, &str); 3] = [
    ("vgg", include_str!("presets/vgg.toml")),
    ("notebook", include_str!("presets/notebook.toml")),
    ("tiny", include_str!("presets/tiny.toml")),
];

/// More is not read of a configuration.
const MAX_BYTES: u64 = 1 << 20;

/// A configuration that can't be read or makes no sense; one line that names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Everything that a run depends on but the images themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network's name.
    pub architecture: Architecture,
    /// Replaces the architecture's dropout rate, 0..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// An ONNX file whose weights the run starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// How often the training images are gone through.
    pub epochs: u32,
    /// Images a step.
    pub batch_size: usize,
    /// Where all random numbers come from.
    #[serde(default)]
    pub seed: u64,
    /// The run ends after this many epochs without a better one; 0 for never.
    #[serde(default)]
    pub early_stopping: u32,
    /// What makes an epoch the best.
    #[serde(default)]
    pub best: Best,
    /// Share that the moving average of the weights keeps at each step, 0..1; 0 for none. Where
    /// there is an average, it is what is evaluated and kept.
    #[serde(default)]
    pub ema: f64,
    /// Which images.
    #[serde(default)]
    pub data: Data,
    /// What the network takes.
    #[serde(default, skip_serializing_if = "Input::is_open")]
    pub input: Input,
    /// What is minimised.
    #[serde(default)]
    pub loss: Loss,
    /// How the weights follow the gradients.
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// How training images are varied.
    #[serde(default)]
    pub augment: Augmentation,
}

/// The images of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// The folder or CSV file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The names of the classes, in the order of their labels
    /// ([`Catalog::open_as`](crate::data::Catalog::open_as)); none where the data says them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How it is divided: `keras`, `official`, `fold:K/N` or `list:FILE`.
    pub split: Split,
    /// A list of images to leave out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<PathBuf>,
}

impl Data {
    /// The classes as [`Catalog::open_as`](crate::data::Catalog::open_as) takes them.
    pub fn named_classes(&self) -> Option<&[String]> {
        Some(self.classes.as_slice()).filter(|classes| !classes.is_empty())
    }
}

/// What the network takes; what is left open follows from the data
/// ([`pixel_form`](super::task::pixel_form)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// The size that images of other sizes are resized to; without it, all have to be of one size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// 1 for gray, 3 for RGB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// `nearest` or `antialias`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// How the images were cut out of pictures, if they are faces: the model carries it, and
    /// training does not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<FaceCrop>,
}

impl Input {
    /// Whether all of it follows from the data.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// The size of an image: one number for a square, or `[width, height]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "size can be a number of pixels or [width, height]"
)]
pub enum Size {
    /// Width and height are the same.
    Square(usize),
    /// Width and height.
    Sides([usize; 2]),
}

impl Size {
    /// Width and height in pixels.
    pub fn sides(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Sides(sides) => sides,
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let side = |text: &str| text.trim().parse().ok();
        let size = match s.split_once(['x', 'X', '×']) {
            None => side(s).map(Self::Square),
            Some((width, height)) => side(width)
                .zip(side(height))
                .map(|(width, height)| Self::Sides([width, height])),
        };
        size.filter(|size| size.sides().iter().all(|side| SIDES.contains(side)))
            .ok_or_else(|| {
                let (least, most) = (SIDES.start(), SIDES.end());
                format!(
                    "'{s}' is not a size; it can be N or WIDTHxHEIGHT, from {least} to {most} \
                     pixels"
                )
            })
    }
}

/// The validation figure that makes an epoch the best.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Best {
    /// The highest accuracy; of equals, the lowest loss.
    #[default]
    Accuracy,
    /// The lowest loss.
    Loss,
}

/// The loss: cross-entropy of the softmax, averaged over the batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loss {
    /// Share of the target that is spread evenly over all classes, 0..1 (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// A factor for each image by its class.
    pub class_weights: ClassWeights,
    /// Models whose predictions for the varied image are learnt beside its label, batch by batch in
    /// turns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<String>,
    /// The teachers' share of the target, 0..=1.
    pub teachers_share: f64,
    /// A file of people's votes ([`Votes`](crate::data::Votes)), which are learnt beside the
    /// labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<PathBuf>,
    /// The votes' share of the target, 0..=1, of images that have some.
    pub votes_share: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self {
            label_smoothing: 0.0,
            class_weights: ClassWeights::default(),
            teachers: Vec::new(),
            teachers_share: 0.5,
            votes: None,
            votes_share: 1.0,
        }
    }
}

/// Factors of the loss by class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "class_weights can be 'none', 'balanced' or seven numbers"
)]
pub enum ClassWeights {
    /// By name: `none` or `balanced`.
    Named(Named),
    /// Seven factors in the order of the seven emotions, which the classes have to be.
    Listed(Vec<f64>),
}

impl Default for ClassWeights {
    fn default() -> Self {
        Self::Named(Named::None)
    }
}

/// Class weights by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// All 1.
    None,
    /// Images ÷ (classes × images of the class), so that every class counts the same.
    Balanced,
}

impl ClassWeights {
    /// The factor of each of `classes` classes, for training images with these labels.
    pub fn factors(&self, labels: &[u16], classes: usize) -> Vec<f32> {
        match self {
            Self::Named(Named::None) => vec![1.0; classes],
            Self::Listed(factors) => factors.iter().map(|f| *f as f32).collect(),
            Self::Named(Named::Balanced) => {
                let mut counts = vec![0; classes];
                labels.iter().for_each(|l| counts[usize::from(*l)] += 1);
                let factor = |count: usize| labels.len() as f32 / (classes * count.max(1)) as f32;
                counts.into_iter().map(factor).collect()
            }
        }
    }
}

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Kingma & Ba 2015.
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
    /// Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013).
    Sgd,
}

/// How the weights follow the gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// `adam`, `adamw` or `sgd`.
    pub name: Method,
    /// The highest learning rate of the schedule.
    pub learning_rate: f64,
    /// Decay of the gradients' mean (Adam), or momentum (SGD), 0..1.
    #[serde(default = "default_momentum")]
    pub momentum: f64,
    /// Decay of the squared gradients' mean (Adam), 0..1.
    #[serde(default = "default_beta_2")]
    pub beta_2: f64,
    /// What Adam adds to the root of the squared gradients' mean, as Keras does (see
    /// [`super::adam`]).
    #[serde(default = "default_epsilon")]
    pub epsilon: f64,
    /// Weight decay of the kernels; biases and normalisations have none.
    #[serde(default)]
    pub weight_decay: f64,
    /// The gradients' global L2 norm is cut to this; 0 for no limit.
    #[serde(default)]
    pub clip_norm: f64,
    /// How far [`super::sam`] moves the weights for the gradients, in their L2 norm: the paper's ρ;
    /// 0 for not at all.
    #[serde(default)]
    pub sam: f64,
}

fn default_momentum() -> f64 {
    0.9
}

fn default_beta_2() -> f64 {
    0.999
}

fn default_epsilon() -> f64 {
    1e-7
}

impl Config {
    /// The preset of that name.
    ///
    /// # Errors
    /// There is none; the text lists those there are.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let (_, text) = PRESETS.iter().find(|(n, _)| *n == name).ok_or_else(|| {
            let names = PRESETS.map(|(n, _)| n).join(", ");
            ConfigError(format!("'{name}' is not a preset; there are {names}"))
        })?;
        Self::parse(text, &format!("preset {name}"))
    }

    /// Reads a TOML file of at most 1 MiB.
    ///
    /// # Errors
    /// It can't be read, or as [`Config::parse`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        read.map_err(|e| {
            ConfigError(format!(
                "can't read the configuration {}: {e}",
                path.display()
            ))
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a TOML text; `origin` is what errors call it.
    ///
    /// # Errors
    /// It is not TOML, has an unknown key, lacks one, or a value is out of its range.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(String::new(), |s| {
                format!(":{}", text[..s.start].matches('\n').count() + 1)
            });
            ConfigError(format!(
                "{origin}{line}: {}",
                e.message().replace('\n', " ")
            ))
        })?;
        config
            .validate()
            .map_err(|e| ConfigError(format!("{origin}: {e}")))?;
        Ok(config)
    }

    /// The configuration as TOML, which [`Config::parse`] takes back.
    ///
    /// # Errors
    /// A path in it is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self)
            .map_err(|e| ConfigError(format!("the configuration can't be written as TOML: {e}")))
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the key and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let o = &self.optimizer;
        let factors = match &self.loss.class_weights {
            ClassWeights::Listed(factors) => factors.as_slice(),
            _ => &[1.0; EMOTIONS.len()],
        };
        let rows: [(&str, bool, &str); 21] = [
            (
                "data.classes",
                self.data
                    .named_classes()
                    .is_none_or(|classes| check_classes(classes).is_ok()),
                "2 to 1000 names, all different",
            ),
            (
                "epochs",
                (1..=100_000).contains(&self.epochs),
                "1 to 100000",
            ),
            (
                "batch_size",
                (1..=65_536).contains(&self.batch_size),
                "1 to 65536",
            ),
            // TOML's integers are signed.
            (
                "seed",
                i64::try_from(self.seed).is_ok(),
                "0 to 9223372036854775807",
            ),
            (
                "dropout",
                self.dropout.is_none_or(share),
                "at least 0 and below 1",
            ),
            ("ema", share(self.ema), "at least 0 and below 1"),
            (
                "input.size",
                self.input
                    .size
                    .is_none_or(|size| size.sides().iter().all(|side| SIDES.contains(side))),
                "of 8 to 512 pixels each way",
            ),
            (
                "input.channels",
                self.input.channels.is_none_or(|n| n == 1 || n == 3),
                "1 (gray) or 3 (RGB)",
            ),
            (
                "loss.label_smoothing",
                share(self.loss.label_smoothing),
                "at least 0 and below 1",
            ),
            (
                "loss.teachers_share",
                (0.0..=1.0).contains(&self.loss.teachers_share),
                "0 to 1",
            ),
            (
                "loss.votes_share",
                (0.0..=1.0).contains(&self.loss.votes_share),
                "0 to 1",
            ),
            (
                "loss.class_weights",
                factors.len() == EMOTIONS.len(),
                "'none', 'balanced' or seven numbers",
            ),
            (
                "loss.class_weights",
                factors.iter().all(|f| f.is_finite() && *f >= 0.0),
                "numbers from 0 on",
            ),
            (
                "loss.class_weights",
                factors.iter().any(|f| *f > 0.0),
                "above 0 for one class at least",
            ),
            (
                "optimizer.learning_rate",
                o.learning_rate.is_finite() && o.learning_rate > 0.0,
                "above 0",
            ),
            (
                "optimizer.momentum",
                share(o.momentum),
                "at least 0 and below 1",
            ),
            (
                "optimizer.beta_2",
                share(o.beta_2),
                "at least 0 and below 1",
            ),
            (
                "optimizer.epsilon",
                o.epsilon.is_finite() && o.epsilon > 0.0,
                "above 0",
            ),
            (
                "optimizer.weight_decay",
                (0.0..10.0).contains(&o.weight_decay),
                "at least 0 and below 10",
            ),
            (
                "optimizer.clip_norm",
                o.clip_norm.is_finite() && o.clip_norm >= 0.0,
                "0 or above",
            ),
            ("optimizer.sam", (0.0..=10.0).contains(&o.sam), "0 to 10"),
        ];
        if let Some((key, _, range)) = rows.iter().find(|(_, right, _)| !right) {
            return Err(ConfigError(format!("{key} must be {range}")));
        }
        self.schedule.validate().map_err(ConfigError)?;
        self.augment.validate().map_err(ConfigError)
    }
}

#[cfg(test)]
mod tests;
