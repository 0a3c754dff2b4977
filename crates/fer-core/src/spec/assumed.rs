//! What a spec has from elsewhere than the metadata that fer writes, and on what basis
//! ([`Assumed`]).

use std::fmt;

use super::Field;

/// A part of a spec that the file's own metadata does not state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumed {
    /// The part.
    pub field: Field,
    /// Its value, as a phrase for the user: `layout NCHW`.
    pub value: String,
    /// Why this value.
    pub basis: Basis,
}

/// Why a part of a spec has its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// The shapes and types of the file's input and output state it.
    Shape,
    /// The operator that computes the output states it.
    Operator(String),
    /// Another tool's metadata or file states it, or the user's, in the words of this text.
    Convention(String),
    /// The model was run on this many images of noise, and its outputs show it.
    Run {
        /// The number of images.
        images: usize,
    },
    /// Nothing states it.
    Guess,
}

impl Assumed {
    /// Whether nothing states it.
    pub fn is_guess(&self) -> bool {
        self.basis == Basis::Guess
    }

    /// Separates what follows from something from what is guessed.
    pub fn divide(all: &[Self]) -> (Vec<Self>, Vec<Self>) {
        all.iter().cloned().partition(|a| !a.is_guess())
    }
}

impl fmt::Display for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)?;
        match &self.basis {
            Basis::Shape => f.write_str(" (from the shape)"),
            Basis::Operator(operator) => write!(f, " (its last operator is {operator})"),
            Basis::Convention(source) => write!(f, " ({source})"),
            Basis::Run { images } => {
                write!(f, " (found by running it on {images} images of noise)")
            }
            Basis::Guess => Ok(()),
        }
    }
}
