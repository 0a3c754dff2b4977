//! Runs models on the same images and compares their outputs: two sessions with each other, or one
//! with Keras's recorded outputs.

use std::borrow::Cow;
use std::io;

use fer_core::images::Pixels;
use fer_core::images::sources::Source;
use fer_core::session::{Session, SessionError};
use fer_core::spec::Mismatch;
use fer_core::stream::{Item, Stream, StreamError, StreamOptions};

use super::golden::{self, Damaged, Golden};
use super::keras::KerasError;
use super::{CompareError, Comparison, Output, Tolerance};

/// Models that can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// The recorded outputs can't be read.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The model is not the one whose outputs were recorded.
    #[error(
        "it is not compatible with the {} model of the recorded predictions: {mismatch}",
        golden::MODEL
    )]
    Recorded {
        /// The first difference.
        mismatch: Mismatch,
    },
    /// The models have other classes.
    #[error("they have different classes or orders of classes")]
    Classes,
    /// Keras can't read an image.
    #[error("{image}: {reason}")]
    Image {
        /// The image.
        image: String,
        /// The reason.
        reason: String,
    },
    /// The current folder can't be read.
    #[error("can't find the current folder: {0}")]
    Folder(#[from] io::Error),
    /// The system can't start a thread for the model.
    #[error("can't start a thread for the model: {0}")]
    Thread(io::Error),
    /// An engine failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An engine failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Keras failed.
    #[error(transparent)]
    Keras(#[from] KerasError),
    /// The outputs can't be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

/// A model's outputs for items, by name; `done` is called after each.
///
/// # Errors
/// The engine failed.
pub fn outputs<I: Item + Send>(
    session: &Session,
    items: impl IntoIterator<Item = I, IntoIter: Send>,
    name: impl Fn(&I) -> String,
    done: &mut dyn FnMut(),
) -> Result<Vec<Output>, StreamError> {
    let mut outputs = Vec::new();
    Stream::whole(session, StreamOptions::default()).run(items, &mut |seen| {
        outputs.push(Output {
            path: name(&seen.item),
            values: seen.prediction().ok().map(|p| p.probabilities),
        });
        done();
        Ok(())
    })?;
    Ok(outputs)
}

/// Compares a model with Keras's recorded outputs of the notebook's model.
///
/// # Errors
/// It is another model, or the engine failed.
pub fn with_recorded(session: &Session, tolerance: Tolerance) -> Result<Comparison, ParityError> {
    let recorded = golden::read()?;
    let spec = session.spec();
    spec.accepts(&Golden::spec())
        .map_err(|mismatch| ParityError::Recorded { mismatch })?;
    let output = session.classify(recorded.input.clone())?;
    let rows = |values: &[f32]| -> Vec<Output> {
        let rows = values.chunks_exact(spec.labels.len()).enumerate();
        rows.map(|(i, p)| Output {
            path: format!("recorded input {i}"),
            values: Some(p.to_vec()),
        })
        .collect()
    };
    let (reference, candidate) = (rows(&recorded.probabilities), rows(&output));
    Ok(Comparison::of(
        &reference,
        &candidate,
        &spec.labels,
        tolerance,
    )?)
}

/// Compares two models on pictures, or on 64 generated images if there are none; `pictures` lists
/// them for each model, and `done` is called after each picture of each model.
///
/// # Errors
/// They have other classes, or an engine failed.
pub fn between<'a, P: Iterator<Item = Cow<'a, Source>> + Send>(
    reference: &Session,
    candidate: &Session,
    pictures: impl Fn() -> P,
    tolerance: Tolerance,
    done: &mut dyn FnMut(),
) -> Result<Comparison, ParityError> {
    let labels = &reference.spec().labels;
    if *labels != candidate.spec().labels {
        return Err(ParityError::Classes);
    }
    let generated = match pictures().next() {
        None => generated_images(),
        Some(_) => Vec::new(),
    };
    let mut outputs_of = |session: &Session| -> Result<Vec<Output>, StreamError> {
        if generated.is_empty() {
            return outputs(session, pictures(), |source| source.name(), done);
        }
        let mut found = outputs(session, &generated, |_| String::new(), done)?;
        for (i, output) in found.iter_mut().enumerate() {
            output.path = format!("generated image {i}");
            // Only the model can be the reason that there is none.
            output
                .values
                .get_or_insert_with(|| vec![f32::NAN; labels.len()]);
        }
        Ok(found)
    };
    let (reference, candidate) = (outputs_of(reference)?, outputs_of(candidate)?);
    Ok(Comparison::of(&reference, &candidate, labels, tolerance)?)
}

/// 64 RGB images of noise over slopes, always the same.
fn generated_images() -> Vec<Pixels> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut noise = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    let side = 64;
    (0..64)
        .map(|i| {
            let value = |p: usize| ((p * (i + 1) / 97) as u32 % 256 * 3 + noise() % 256) / 4;
            let data = (0..side * side * 3).map(value).map(|v| v as u8).collect();
            Pixels {
                width: side,
                height: side,
                channels: 3,
                data,
            }
        })
        .collect()
}
