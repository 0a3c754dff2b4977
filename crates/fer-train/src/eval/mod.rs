//! How good a model is: the figures by labels ([`metrics`]) and by people's votes ([`votes`]),
//! their report ([`report`]), the views of an image that are asked for one prediction ([`views`]),
//! images made worse on purpose ([`corruptions`]) and what they cost ([`robustness`]), and the
//! evaluation of a model on a data set ([`Request`]).

pub mod corruptions;
pub mod metrics;
pub mod report;
pub mod robustness;
mod run;
mod shared;
pub mod views;
pub mod votes;

pub use corruptions::{Condition, Corruption, Severity};
pub use metrics::{
    CalibrationBin, ClassScores, EvalError, Evaluation, Mistake, Predicted, Unshared,
};
pub use robustness::Robustness;
pub use run::{EvaluateError, Evaluated, FindFace, Predictions, Request};
pub use shared::outputs_of;
pub use views::Tta;
pub use votes::Agreement;

/// The class of the highest probability, of equal ones the first.
fn top(probabilities: &[f32]) -> usize {
    (0..probabilities.len()).fold(0, |best, i| {
        if probabilities[i] > probabilities[best] {
            i
        } else {
            best
        }
    })
}
