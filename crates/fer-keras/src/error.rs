//! What keeps a model from being converted, and what is assumed of one that is.

use std::fmt;

use fer_core::spec::SpecError;

/// A layer that can't be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Why.
    pub reason: String,
    /// Its configuration in one line.
    pub config: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            class,
            reason,
            config,
        } = self;
        write!(
            f,
            "{name} ({class}: {reason}; {})",
            if config.is_empty() {
                "no options"
            } else {
                config
            }
        )
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
    /// The model has layers that can't be converted; all are listed.
    #[error(
        "{path}: {} of its layers can't be converted: {}",
        layers.len(),
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

/// Something to know about a converted model, besides its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The model rescales values, but not first. Its pixels are multiplied by 1/255.
    RescalesLater,
    /// The model ends in a softmax over a single value.
    SoftmaxOfOne,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RescalesLater => {
                "the model rescales values, but not in its first layer: pixels are multiplied by \
                 1/255"
            }
            Self::SoftmaxOfOne => {
                "the model ends in a softmax over a single value, which is always 1: it predicts \
                 the second class for every image"
            }
        })
    }
}
