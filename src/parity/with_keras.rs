//! Compares a model with Keras itself: what fer reports with what Keras's `predict` returns, on the
//! same images, turned into the same input.

use std::path::PathBuf;

use fer_core::calibration::Calibration;
use fer_core::classifier::{Classifier, Respecified, probabilities};
use fer_core::images::sources::Source;
use fer_core::session::{Session, SessionOptions};
use fer_core::spec::{ModelSpec, OutputKind};

use super::keras::KerasModel;
use super::{Comparison, Output, ParityError, Tolerance, outputs};

/// A value may be off by this many times the error of Keras's own float32 arithmetic: another order
/// of the same additions has an error of its own, of the same size.
pub const ROUNDING: f64 = 4.0;

/// Keras's own error counts up to this for outputs of 0..=1: a larger one hides real errors.
const MAX_ROUNDING: f64 = 1e-3;

/// The most images on which Keras's own error is measured.
const MEASURED: usize = 16;

/// Values of 0..=1 may be off by so much in float32.
const MARGIN: f32 = 1e-4;

/// A model and Keras, compared, with what it takes to compare their layers.
#[derive(Debug)]
pub struct WithKeras {
    /// The result.
    pub comparison: Comparison,
    /// Whether logits were compared, because Keras's model returns logits, and not the outputs that
    /// fer reports.
    pub logits: bool,
    /// Why the outputs can't mean the same, though they may be equal.
    pub conflict: Option<&'static str>,
    /// The largest error of Keras's float32 arithmetic, if it was needed; an error if it could not
    /// be measured.
    pub float32_error: Option<Result<f64, String>>,
    /// The images, by absolute paths.
    pub images: Vec<PathBuf>,
    /// Keras's outputs.
    pub reference: Vec<Output>,
    /// The model's outputs.
    pub candidate: Vec<Output>,
}

/// Compares a classifier with a Keras model, whose input and number of values are the classifier's;
/// `done` is called after each picture that the classifier has seen.
///
/// # Errors
/// Keras can't be run, can't read an image, or an engine failed.
pub fn with_keras(
    classifier: Box<dyn Classifier>,
    model: &KerasModel,
    pictures: &[Source],
    tolerance: Tolerance,
    done: &mut dyn FnMut(),
) -> Result<WithKeras, ParityError> {
    let images: Vec<PathBuf> = pictures.iter().map(absolute).collect::<Result<_, _>>()?;
    let spec = classifier.spec().clone();
    let raw = Box::new(Respecified::raw(classifier));
    let session = Session::start(raw, SessionOptions::default()).map_err(ParityError::Thread)?;
    let candidate = outputs(&session, pictures, |source| source.name(), done)?;
    let reference = model.predict(&images)?;

    let within = |output: &Output| {
        let values = output.values.iter().flatten();
        values
            .into_iter()
            .all(|v| (-MARGIN..=1.0 + MARGIN).contains(v))
    };
    let bounded = reference.iter().all(within);
    let of_logits = matches!(spec.output, OutputKind::Logits | OutputKind::Logit);
    let conflict = match (bounded, of_logits) {
        (true, true) => Some(
            "Keras's outputs lie in 0..1, and the model's file calls its own logits, to which a \
             softmax is applied",
        ),
        (false, false) => Some(
            "Keras's outputs do not lie in 0..1, and the model's file does not call its own logits",
        ),
        _ => None,
    };
    let logits = of_logits && !bounded;
    let reference = read(reference, &spec, logits, false);
    let candidate = read(candidate, &spec, logits, true);
    let labels = &spec.labels;
    let mut allowed = tolerance;
    if logits {
        allowed.absolute *= largest(&reference).max(1.0);
    }
    let compare = |allowed| Comparison::of(&reference, &candidate, labels, allowed);
    let mut comparison = compare(allowed)?;
    let mut float32_error = None;
    if conflict.is_none() && comparison.outside_tolerance > 0 {
        let worst = furthest(&reference, &candidate);
        let chosen: Vec<PathBuf> = worst.iter().map(|i| images[*i].clone()).collect();
        let of_keras: Vec<&Output> = worst.iter().map(|i| &reference[*i]).collect();
        let measured = model.float32_error(&chosen, &of_keras);
        if let Ok(error) = measured {
            let most = if logits { f64::INFINITY } else { MAX_ROUNDING };
            allowed.absolute += (ROUNDING * error).min(most);
            comparison = compare(allowed)?;
        }
        float32_error = Some(measured.map_err(|e| e.to_string()));
    }
    if logits {
        let shown = |outputs: &[Output]| softmax(outputs, spec.labels.len());
        let of = Comparison::of(&shown(&reference), &shown(&candidate), labels, tolerance)?;
        comparison.kl_divergence = of.kl_divergence;
    }
    Ok(WithKeras {
        comparison,
        logits,
        conflict,
        float32_error,
        images,
        reference,
        candidate,
    })
}

fn absolute(source: &Source) -> Result<PathBuf, ParityError> {
    match source {
        Source::File(path) => Ok(std::path::absolute(path)?),
        Source::Unusable { path, reason } => Err(ParityError::Image {
            image: path.clone(),
            reason: reason.clone(),
        }),
        Source::Stdin | Source::Stored { .. } | Source::Pixels { .. } => Err(ParityError::Image {
            image: source.name(),
            reason: "Keras reads files".into(),
        }),
    }
}

/// One value per class from a model's own outputs: logits as they are, else what is reported.
/// Keras's outputs are reported as they are; `fer` for those of fer.
fn read(outputs: Vec<Output>, spec: &ModelSpec, logits: bool, fer: bool) -> Vec<Output> {
    let classes = spec.labels.len();
    let kind = match (logits, spec.output, fer) {
        (true, OutputKind::Logit, _) => None,
        (true, ..) => Some(OutputKind::Scores),
        (false, kind, true) => Some(kind),
        (false, OutputKind::Logit | OutputKind::Probability, false) => {
            Some(OutputKind::Probability)
        }
        (false, _, false) => Some(OutputKind::Scores),
    };
    let row = |row: Vec<f32>| match kind {
        Some(kind) => probabilities(row, classes, kind, Calibration::NONE),
        // The difference of the two classes' logits.
        None => vec![0.0, row.first().copied().unwrap_or(f32::NAN)],
    };
    let output = |o: Output| Output {
        values: o.values.map(row),
        ..o
    };
    outputs.into_iter().map(output).collect()
}

fn softmax(outputs: &[Output], classes: usize) -> Vec<Output> {
    let row = |row: Vec<f32>| probabilities(row, classes, OutputKind::Logits, Calibration::NONE);
    let output = |o: &Output| Output {
        path: o.path.clone(),
        values: o.values.clone().map(row),
    };
    outputs.iter().map(output).collect()
}

fn largest(outputs: &[Output]) -> f64 {
    let values = outputs.iter().filter_map(|o| o.values.as_ref()).flatten();
    values.fold(0.0, |most, v| most.max(f64::from(v.abs())))
}

/// The images with the largest differences, at most [`MEASURED`].
fn furthest(reference: &[Output], candidate: &[Output]) -> Vec<usize> {
    let difference = |(a, b): (&Output, &Output)| {
        let pairs = a.values.iter().flatten().zip(b.values.iter().flatten());
        pairs.fold(0.0f32, |most, (a, b)| most.max((a - b).abs()))
    };
    let all: Vec<f32> = reference.iter().zip(candidate).map(difference).collect();
    let mut order: Vec<usize> = (0..all.len()).filter(|i| all[*i] > 0.0).collect();
    order.sort_by(|a, b| all[*b].total_cmp(&all[*a]));
    order.truncate(MEASURED);
    order
}
