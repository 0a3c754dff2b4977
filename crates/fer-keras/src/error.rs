//! What keeps a model from being converted, and what is assumed of one that is.

use std::fmt;

use fer_core::model_file::FileKind;
use fer_core::spec::SpecError;

/// Layers of one class that can't be converted, for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsupported {
    /// Their class.
    pub class: String,
    /// Why.
    pub reason: String,
    /// The configuration of the first in one line.
    pub config: String,
    /// Their names, with those of the models that contain them, each once.
    pub layers: Vec<String>,
    /// The factor of a function that seems only to multiply its input.
    pub scale: Option<f64>,
}

/// The most layers of one class that an error names.
const NAMED: usize = 4;

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            class,
            reason,
            config,
            layers,
            scale: _,
        } = self;
        write!(f, "{class} ({reason}")?;
        if !config.is_empty() {
            write!(f, "; {config}")?;
        }
        let (named, others) = layers.split_at(layers.len().min(NAMED));
        write!(f, "): {}", named.join(", "))?;
        match others.len() {
            0 => Ok(()),
            n => write!(f, " and {n} more"),
        }
    }
}

/// A model that can't be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file could not be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file or folder is something else.
    #[error("{path} is {kind}")]
    OtherKind {
        /// The file.
        path: String,
        /// What it is.
        kind: FileKind,
    },
    /// A file is not a complete Keras file.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// A file holds only weights, and their configuration is missing.
    #[error("{path}: it holds weights without a configuration, and {config} does not exist")]
    NoConfig {
        /// The file.
        path: String,
        /// Where the configuration was expected.
        config: String,
    },
    /// The model has layers that can't be converted, by class and reason.
    #[error(
        "{path}: {} of its layers can't be converted: {}",
        layers.iter().map(|l| l.layers.len()).sum::<usize>(),
        layers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Unsupported {
        /// The file.
        path: String,
        /// The layers.
        layers: Vec<Unsupported>,
    },
    /// A layer's weights or shapes do not match its configuration.
    #[error("{path}: layer {layer}: {problem}")]
    Layer {
        /// The file.
        path: String,
        /// The layer, with its class.
        layer: String,
        /// What is wrong.
        problem: String,
    },
    /// The number of class names is not the model's number of classes.
    #[error("{path}: it has {classes} classes, and the given list names {names}")]
    Labels {
        /// The file.
        path: String,
        /// How many classes it has.
        classes: usize,
        /// How many names were given.
        names: usize,
    },
    /// The model has several outputs, and none of them or an unknown one was chosen.
    #[error("{path}: {}", several(.outputs, .chosen))]
    Outputs {
        /// The file.
        path: String,
        /// The names of its outputs.
        outputs: Vec<String>,
        /// The name that was given, if any.
        chosen: Option<String>,
    },
    /// The model takes images of any size, and none was chosen; or it takes others than the chosen
    /// size.
    #[error("{path}: it takes images of {}", sized(.stated, .chosen))]
    Size {
        /// The file.
        path: String,
        /// The width and height that the model states, as far as it does.
        stated: [Option<usize>; 2],
        /// The width and height that were given, if any.
        chosen: Option<[usize; 2]>,
    },
    /// The options contradict the model.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The model is not an image classifier.
    #[error("{path}: {problem}")]
    Classifier {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

fn several(outputs: &[String], chosen: &Option<String>) -> String {
    let names = outputs.join(", ");
    match chosen {
        Some(chosen) => format!("it has no output '{chosen}', but {names}"),
        None => format!("it has {} outputs: {names}", outputs.len()),
    }
}

fn sized(stated: &[Option<usize>; 2], chosen: &Option<[usize; 2]>) -> String {
    let [width, height] = stated.map(|side| side.map_or("?".into(), |side| side.to_string()));
    match (stated, chosen) {
        (_, Some([w, h])) => {
            format!("{width}x{height} pixels (width x height), not {w}x{h}")
        }
        ([None, None], None) => "any size".into(),
        (_, None) => format!("{width}x{height} pixels (width x height), so of any size"),
    }
}

/// Something to know about a converted model, besides its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A function that only scales the pixels is left out, because the given scale is its own.
    ScaledByFunction {
        /// Its layer.
        layer: String,
    },
    /// The model rescales values, but not first. Its pixels are multiplied by 1/255.
    RescalesLater,
    /// The model ends in a softmax over a single value.
    SoftmaxOfOne,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScaledByFunction { layer } => write!(
                f,
                "its layer {layer}, a Python function, seems to do the scaling and is left out"
            ),
            Self::RescalesLater => f.write_str(
                "the model rescales values, but not in its first layer: pixels are multiplied by \
                 1/255",
            ),
            Self::SoftmaxOfOne => f.write_str(
                "the model ends in a softmax over a single value, which is always 1: it predicts \
                 the second class for every image",
            ),
        }
    }
}
