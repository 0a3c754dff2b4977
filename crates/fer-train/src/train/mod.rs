//! Training: a [`Config`] and a [`Dataset`](crate::data::Dataset) → a run folder with the best
//! weights.
//!
//! | step | module |
//! |---|---|
//! | what to do, presets | [`config`] |
//! | what the network takes and gives | [`task`] |
//! | images → batches | [`batch`] |
//! | batch → loss → gradients → new weights | [`step`], by [`optimizer`] ([`adam`]) and [`schedule`] |
//! | where the gradients are taken, if not at the weights | [`sam`] |
//! | in which number format, on how many devices | [`precision`], [`parallel`] |
//! | average of the weights | [`ema`] |
//! | everything that a run needs to go on | [`checkpoint`] |
//! | the files of a run | [`run`] |
//! | the loop over all of these | [`trainer`] |
//!
//! A run is a function of its configuration and data: every random number is drawn from (seed,
//! epoch, image) or (seed, step), so that a run that was killed ends as one that was not.

pub mod adam;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod distill;
pub mod ema;
mod error;
mod learner;
pub mod optimizer;
pub mod parallel;
pub mod precision;
pub mod run;
pub mod sam;
pub mod schedule;
pub mod step;
pub mod task;
pub mod trainer;

pub use config::Config;
pub use error::TrainError;
pub use precision::Precision;
pub use run::RunFolder;
pub use trainer::{Compute, Observer, Progress, StopReason, TrainingData, train};
