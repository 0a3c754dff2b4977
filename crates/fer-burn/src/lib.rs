//! Burn's devices ([`device`]), and classifiers that Burn runs ([`BurnClassifier`]).

mod classifier;
pub mod device;

pub use classifier::{BurnClassifier, Forward, describe, values};
