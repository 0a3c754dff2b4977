//! Engines: what turns a batch of tensors into probabilities, behind one trait ([`Classifier`]).
//!
//! [`ort`] runs any ONNX file through ONNX Runtime; [`burn`] runs the models that were compiled in; [`trained`] runs
//! what `fer train` left. [`load`] chooses between them and says what it chose.

pub mod burn;
mod load;
pub mod ort;
#[cfg(test)]
mod rewrite;
pub mod trained;

pub use load::{EngineChoice, LoadOptions, load};

use crate::onnx::OnnxError;
use crate::spec::{ModelSpec, OutputKind, SpecError};

/// An engine that can't be started or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model file can't be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model is no image classifier that can be fed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// ONNX Runtime was needed and not found.
    #[error(transparent)]
    NotFound(#[from] crate::runtime::NotFound),
    /// Anything else: the text says what, where and what to do.
    #[error("{0}")]
    Unusable(String),
}

/// What was loaded, for the user's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `ort` or `burn`.
    pub engine: &'static str,
    /// What it runs on, e.g. `cpu` or `cuda:0`.
    pub provider: String,
    /// The model: a built-in one's name or a path.
    pub model: String,
    /// The library behind the engine, e.g. ONNX Runtime's path and version.
    pub library: String,
    /// What the user should know: assumptions, flushed weights, operators that run elsewhere.
    pub notes: Vec<String>,
}

/// A loaded model that classifies batches of preprocessed images.
pub trait Classifier: Send {
    /// What the model expects and answers.
    fn spec(&self) -> &ModelSpec;

    /// What was loaded.
    fn description(&self) -> &Description;

    /// Runs the model as it is on `n` images: `input` holds `n × image_len` values in the model's layout, the result
    /// `n × classes` raw outputs. If the model fixes its batch, `n` is that number.
    ///
    /// # Errors
    /// The engine failed.
    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError>;

    /// Probabilities of a batch of any size: `input` holds `n × image_len` values; the result `[n, classes]`, each row
    /// summing to 1.
    ///
    /// # Errors
    /// The engine failed or answered with another number of values.
    fn classify(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let (image_len, classes) = (self.spec().image_len(), self.spec().labels.len());
        let n = input.len() / image_len;
        let mut output = match self.spec().fixed_batch {
            None => self.forward(input, n)?,
            Some(size) => {
                let mut output = Vec::with_capacity(n * classes);
                for chunk in input.chunks(size * image_len) {
                    let used = chunk.len() / image_len;
                    let mut chunk = chunk.to_vec();
                    chunk.resize(size * image_len, 0.0);
                    let mut answer = self.forward(&chunk, size)?;
                    answer.truncate(used * classes);
                    output.append(&mut answer);
                }
                output
            }
        };
        if output.len() != n * classes {
            let model = &self.description().model;
            return Err(EngineError::Unusable(format!(
                "{model} answered {} values for {n} images; its {classes} classes make {}",
                output.len(),
                n * classes
            )));
        }
        if self.spec().output == OutputKind::Logits {
            output.chunks_exact_mut(classes).for_each(softmax);
        }
        Ok(output)
    }
}

/// Makes probabilities of logits, in place.
pub(crate) fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}
