//! Why a run can't begin or continue.

use std::path::PathBuf;

use fer_core::spec::Mismatch;
use fer_train::data::DataError;
use fer_train::export::CheckError;
use fer_train::model::{Architecture, WeightsError};
use fer_train::train::TrainError;
use fer_train::train::checkpoint::CheckpointError;
use fer_train::train::config::ConfigError;
use fer_train::train::distill::TeacherError;

use crate::LoadError;

/// A run that can't begin or continue.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The recipe names no data.
    #[error("the recipe names no images")]
    NoData,
    /// The data can't be read or divided.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The recipe has a factor for each emotion, and the data has other classes.
    #[error(
        "loss.class_weights lists factors of the seven emotions, and the classes of {data} are \
         others: it can be 'none' or 'balanced'"
    )]
    WeightsOfEmotions {
        /// The data.
        data: PathBuf,
    },
    /// No network can be trained on the images as they are.
    #[error(transparent)]
    Task(ConfigError),
    /// Training and validation images have different sizes.
    #[error("the training images of {data} have {training}, the validation images {validation}")]
    Sizes {
        /// The data.
        data: PathBuf,
        /// The size of the training images, and the first one.
        training: String,
        /// The size of the validation images, and the first one.
        validation: String,
    },
    /// No training image has votes that count.
    #[error("{file} gives no training image a target: a class counts from two votes on")]
    NoTargets {
        /// The file of votes.
        file: PathBuf,
    },
    /// The file to begin with can't be read as weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file predicts otherwise than a network with its weights.
    #[error("{file} predicts otherwise than {architecture} with its weights, by {difference:e}")]
    Differs {
        /// The file.
        file: PathBuf,
        /// The network's architecture.
        architecture: Architecture,
        /// The largest difference of a probability.
        difference: f32,
    },
    /// The file's predictions can't be compared with the network's.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The run to begin with is of another architecture.
    #[error("{file} is of architecture {found}, this run of {wanted}")]
    Architecture {
        /// The checkpoint.
        file: PathBuf,
        /// Its architecture.
        found: Architecture,
        /// The recipe's.
        wanted: Architecture,
    },
    /// The run to begin with has other images or classes.
    #[error("{file} does not fit the data: {mismatch}")]
    Mismatch {
        /// The checkpoint.
        file: PathBuf,
        /// The first difference.
        mismatch: Mismatch,
    },
    /// The run's weights don't fit the network.
    #[error("the weights of {file} can't be taken over: {reason}")]
    Transfer {
        /// The checkpoint.
        file: PathBuf,
        /// What Burn reported.
        reason: String,
    },
    /// The run folder can't be used.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// A checkpoint can't be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run's recipe is not the one that it began with.
    #[error("the run's config.toml was changed since it began")]
    RecipeChanged,
    /// The data is no longer where it was.
    #[error("the run's images are no longer at {data}")]
    DataMoved {
        /// Where they were.
        data: PathBuf,
    },
    /// The data is not the run's.
    #[error(
        "{path} is not the data that this run began with ({images} training images, SHA-256 \
         {sha256}…)"
    )]
    OtherData {
        /// Where data was found.
        path: String,
        /// The number of training images that the run began with.
        images: usize,
        /// The beginning of the SHA-256 of the run's data.
        sha256: String,
    },
    /// The votes are not the run's.
    #[error("{file} has other votes than when this run began; bring back the file as it was")]
    OtherVotes {
        /// The file of votes.
        file: PathBuf,
    },
    /// A teacher can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A teacher does not fit the network.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
}
