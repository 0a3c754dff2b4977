//! Why a run can't begin or go on.

use std::io;
use std::path::{Path, PathBuf};

use fer_core::classifier::EngineError;

use super::checkpoint::CheckpointError;
use super::config::ConfigError;

/// A run that can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The run folder can't be used.
    #[error("{0}")]
    Folder(String),
    /// A new run's folder can't be made.
    #[error("can't make the run folder {path} ({source})")]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A new run's folder holds something.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The run has no checkpoint.
    #[error("the run in {path} has saved nothing yet")]
    NothingSaved {
        /// The run's folder.
        path: PathBuf,
    },
    /// A file of the run can't be written.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint can't be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The loss is NaN or infinite.
    #[error("the loss is {loss} in epoch {epoch}, step {step}: the run diverged")]
    Diverged {
        /// NaN or infinite.
        loss: f64,
        /// From 1.
        epoch: u32,
        /// From 1; the first of those whose losses were read together.
        step: u32,
    },
    /// What Burn computes on failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// The network's outputs for the validation images are not finite.
    #[error("{reason}: the run diverged in epoch {epoch}")]
    DivergedEvaluation {
        /// What is wrong with them.
        reason: String,
        /// From 1.
        epoch: u32,
    },
    /// A teacher failed.
    #[error("a teacher gives no predictions: {0}")]
    Teacher(#[from] EngineError),
    /// The evaluation failed.
    #[error("{0}")]
    Evaluation(String),
    /// A picture can't be drawn or written.
    #[error("{0}")]
    Picture(String),
}

impl TrainError {
    /// `path` can't be written.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.into(),
            source,
        }
    }
}
