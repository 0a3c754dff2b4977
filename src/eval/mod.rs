//! How good a model is: the figures ([`metrics`]), their report ([`report`]), the views of an image that are asked for one
//! answer ([`views`]), and a classifier's answers to a data set ([`answer`]).

pub mod metrics;
pub mod report;
mod run;
pub mod views;

pub use metrics::{Answer, CalibrationBin, ClassScores, EvalError, Evaluation, Mistake};
pub use run::{Answers, answer};
pub use views::{Tta, mean};
