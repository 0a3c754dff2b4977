//! What the user should know about a loaded model ([`Note`]).

use std::fmt;

use crate::onnx::flush::TINY;
use crate::spec::{Assumed, ModelSpec, OutputKind};

/// Something to know about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// What the model's own metadata does not state, and what was found out from elsewhere.
    Derived(Vec<Assumed>),
    /// What nothing states about the model, and what was guessed.
    Guessed(Vec<Assumed>),
    /// The outputs are independent scores.
    Scores,
    /// Tiny weights were set to zero for speed (see [`crate::onnx::flush`]).
    Flushed {
        /// How many.
        weights: usize,
    },
    /// The weights are in other files, so tiny ones were not set to zero.
    ExternalWeights,
    /// Some operators run on other providers than the requested one.
    Elsewhere {
        /// The requested provider.
        provider: String,
        /// How many operators the model has.
        total: usize,
        /// (operator, provider that runs it, how many of them).
        operators: Vec<(String, String, usize)>,
    },
    /// Layers of a compiled-in model that take time and that the kernels don't support. Burn
    /// computes them.
    Generic(&'static [&'static str]),
    /// A compiled-in model of 8-bit integers.
    Int8 {
        /// What sums their products, e.g. `AVX2`.
        instructions: String,
    },
    /// Burn may multiply float32 as TF32 on this device.
    Tf32,
    /// The model is an unfinished training run.
    Unfinished {
        /// The epoch of its weights, in words.
        progress: String,
        /// The number of epochs that the run is configured for.
        epochs: u32,
    },
}

impl Note {
    /// The notes about a spec: what was found out, what was guessed, and whether its outputs are no
    /// probabilities.
    pub fn about(spec: &ModelSpec) -> Vec<Self> {
        let (derived, guessed) = Assumed::divide(&spec.assumed);
        let mut notes = Vec::new();
        if !derived.is_empty() {
            notes.push(Self::Derived(derived));
        }
        if !guessed.is_empty() {
            notes.push(Self::Guessed(guessed));
        }
        if spec.output == OutputKind::Scores {
            notes.push(Self::Scores);
        }
        notes
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Derived(what) => write!(f, "found out: {}", joined(what)),
            Self::Guessed(what) => {
                write!(f, "guessed, because nothing states it: {}", joined(what))
            }
            Self::Scores => f.write_str(
                "its outputs are independent scores, which do not sum to 1: they are reported as \
                 they are, and the label is the class of the highest",
            ),
            Self::Flushed { weights } => {
                write!(f, "{weights} weights below {TINY:e} set to zero, for speed")
            }
            Self::Generic(layers) => {
                let layers = layers.join(", ");
                write!(
                    f,
                    "computed by Burn, because the kernels do not support it: {layers}"
                )
            }
            Self::ExternalWeights => f.write_str(
                "tiny weights are not set to zero, because the weights are in other files",
            ),
            Self::Elsewhere {
                provider,
                total,
                operators,
            } => {
                let count: usize = operators.iter().map(|(.., n)| n).sum();
                write!(f, "{count} of {total} operators are not on {provider}: ")?;
                for (i, (operator, on, n)) in operators.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{operator} ×{n} on {on}")?;
                }
                Ok(())
            }
            Self::Int8 { instructions } => {
                write!(f, "computed with 8-bit integers, by {instructions}")
            }
            Self::Tf32 => f.write_str("Burn may multiply float32 as TF32 on this device"),
            Self::Unfinished { progress, epochs } => {
                write!(f, "its weights are those of {progress} of {epochs}")
            }
        }
    }
}

fn joined(what: &[Assumed]) -> String {
    let phrases: Vec<String> = what.iter().map(ToString::to_string).collect();
    phrases.join("; ")
}
