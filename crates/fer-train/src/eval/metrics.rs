//! The figures of an evaluation, from the probabilities that a model gave for labelled images.
//!
//! Sums are taken in float64 in the order of the predictions, so that equal predictions give equal
//! figures. Of equal probabilities the first class wins, as in
//! [`fer_core::prediction::Prediction`]. Shares are 0..=1.

use serde::Serialize;

/// The number of equal-width bins of confidence of the calibration error.
pub const CALIBRATION_BINS: usize = 15;

/// The most mistakes that are kept in [`Evaluation::worst`].
pub const WORST: usize = 32;

/// Probabilities are kept this far from 0 and 1 in the loss, Keras's `epsilon()`.
pub(super) const EPSILON: f64 = 1e-7;

/// How far a row of probabilities may be from a sum of 1: a quantised model's is off by a few
/// hundredths.
const SUM_TOLERANCE: f64 = 0.05;

/// The 97.5th percentile of the normal distribution: 95 % lie within ± this.
const Z: f64 = 1.959963984540054;

/// Predictions that can't be evaluated, and why.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvalError {
    /// There are no predictions.
    #[error("there is no image to evaluate on; check the data's path and split")]
    Empty,
    /// One prediction is unusable.
    #[error("{name}: {reason}")]
    Predicted {
        /// The image's name.
        name: String,
        /// What is wrong with its prediction.
        reason: String,
    },
}

/// A model's prediction for one labelled image.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// The image, as it is named in reports.
    pub name: String,
    /// The index of its true class.
    pub label: usize,
    /// One probability a class, in the model's order.
    pub probabilities: Vec<f32>,
}

/// The figures of a model on a set of images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The number of images, at least 1.
    pub images: u64,
    /// How many were classified right.
    pub correct: u64,
    /// The share of right predictions.
    pub accuracy: f64,
    /// Its 95 % interval, `[low, high]`; see [`wilson`].
    pub accuracy_interval: [f64; 2],
    /// The share of images whose true class is among the two most probable.
    pub top2_accuracy: f64,
    /// The mean cross-entropy in nats: `−ln p` of the true class, `p` clipped to 1e-7..=1 − 1e-7 as
    /// Keras does.
    pub loss: f64,
    /// The mean F1 of the classes, each counted alike; a class that neither occurs nor is predicted
    /// is left out.
    pub macro_f1: f64,
    /// The mean probability of the predicted class.
    pub mean_confidence: f64,
    /// The expected calibration error: `Σ n_b/n · |accuracy_b − confidence_b|` over
    /// [`Evaluation::calibration`] (Guo et al., "On Calibration of Modern Neural Networks", 2017,
    /// equation 3).
    pub calibration_error: f64,
    /// One entry a class, in the model's order.
    pub classes: Vec<ClassScores>,
    /// `confusion[true class][predicted class]`: numbers of images.
    pub confusion: Vec<Vec<u64>>,
    /// [`CALIBRATION_BINS`] bins of equal width, from confidence 0 to 1.
    pub calibration: Vec<CalibrationBin>,
    /// Wrong predictions, the most confident first, at most [`WORST`]; equal ones in the order of
    /// the predictions.
    pub worst: Vec<Mistake>,
    /// What the figures leave out, where model and data share some of their classes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Unshared>,
    /// The number of pictures that are not counted, as no face was found in them; `None` where
    /// whole pictures were classified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_face: Option<u64>,
}

/// Classes that either the model or the data has, and that figures leave out: their images are not
/// counted, and the probabilities of the other classes are scaled to a sum of 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unshared {
    /// The number of images of the data's classes that the model lacks.
    pub images: u64,
    /// These classes.
    pub data_classes: Vec<String>,
    /// The model's classes that the data lacks.
    pub model_classes: Vec<String>,
}

/// The figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    /// The class's name.
    pub label: String,
    /// Right among those predicted to be of this class; 0 if it was never predicted (`predicted` is
    /// 0 then).
    pub precision: f64,
    /// Right among those of this class; 0 if there are none (`support` is 0 then).
    pub recall: f64,
    /// The harmonic mean of the two: `2 · right / (support + predicted)`, 0 if both are 0.
    pub f1: f64,
    /// The number of images of this class.
    pub support: u64,
    /// The number of images predicted to be of this class.
    pub predicted: u64,
}

/// The predictions whose confidence is in one range: `low < confidence <= high`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// The range's lower end.
    pub low: f64,
    /// The range's upper end.
    pub high: f64,
    /// The number of predictions in it.
    pub count: u64,
    /// Their mean confidence; 0 if there are none.
    pub mean_confidence: f64,
    /// The share of right ones; 0 if there are none.
    pub accuracy: f64,
}

/// A wrong prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mistake {
    /// The image's name.
    pub name: String,
    /// The index of its true class.
    #[serde(rename = "true")]
    pub label: usize,
    /// The index of the predicted class.
    pub predicted: usize,
    /// The predicted class's probability.
    pub confidence: f32,
}

impl Evaluation {
    /// The classes' names, in the model's order.
    pub fn labels(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.label.clone()).collect()
    }

    /// The labels and the confusion matrix of at most `most` classes, in the model's order: where
    /// there are more, those that take part in the most mistakes.
    pub fn confused(&self, most: usize) -> (Vec<String>, Vec<Vec<u64>>) {
        let mistakes = |class: usize| {
            let ClassScores {
                support, predicted, ..
            } = self.classes[class];
            support + predicted - 2 * self.confusion[class][class]
        };
        let mut chosen: Vec<usize> = (0..self.classes.len()).collect();
        if chosen.len() > most {
            chosen.sort_by_key(|class| std::cmp::Reverse(mistakes(*class)));
            chosen.truncate(most);
            chosen.sort_unstable();
        }
        let row = |class: &usize| chosen.iter().map(|c| self.confusion[*class][*c]).collect();
        (
            chosen
                .iter()
                .map(|c| self.classes[*c].label.clone())
                .collect(),
            chosen.iter().map(row).collect(),
        )
    }

    /// Computes the figures of a model with the classes `labels`.
    ///
    /// # Errors
    /// There are no predictions, or one has a class or a number of probabilities that does not fit
    /// `labels`, or holds values that are not probabilities (not finite, outside 0..=1, or with a
    /// sum far from 1).
    pub fn new(labels: &[String], answers: &[Predicted]) -> Result<Self, EvalError> {
        if answers.is_empty() {
            return Err(EvalError::Empty);
        }
        let classes = labels.len();
        let mut confusion = vec![vec![0u64; classes]; classes];
        let mut bins = vec![Bin::default(); CALIBRATION_BINS];
        let (mut top2, mut loss, mut confidences) = (0u64, 0.0, 0.0);
        let mut worst = Vec::new();
        for answer in answers {
            check(answer, classes).map_err(|reason| EvalError::Predicted {
                name: answer.name.clone(),
                reason,
            })?;
            let (p, label) = (&answer.probabilities, answer.label);
            let predicted = super::top(p);
            let before = (0..classes)
                .filter(|i| p[*i] > p[label] || (p[*i] == p[label] && *i < label))
                .count();
            let confidence = f64::from(p[predicted]);
            confusion[label][predicted] += 1;
            top2 += u64::from(before < 2);
            loss -= f64::from(p[label]).clamp(EPSILON, 1.0 - EPSILON).ln();
            confidences += confidence;
            bins[bin_of(confidence)].add(confidence, predicted == label);
            if predicted != label {
                worst.push(Mistake {
                    name: answer.name.clone(),
                    label,
                    predicted,
                    confidence: p[predicted],
                });
            }
        }
        worst.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        worst.truncate(WORST);

        let images = answers.len() as u64;
        let correct = (0..classes).map(|c| confusion[c][c]).sum();
        let scores = scores(labels, &confusion);
        let counted = || scores.iter().filter(|c| c.support + c.predicted > 0);
        let macro_f1 = counted().map(|c| c.f1).sum::<f64>() / counted().count() as f64;
        Ok(Self {
            images,
            correct,
            accuracy: share(correct, images),
            accuracy_interval: wilson(correct, images),
            top2_accuracy: share(top2, images),
            loss: loss / images as f64,
            macro_f1,
            mean_confidence: confidences / images as f64,
            calibration_error: bins
                .iter()
                .map(|b| (b.correct as f64 - b.confidences).abs())
                .sum::<f64>()
                / images as f64,
            classes: scores,
            confusion,
            calibration: bins.iter().enumerate().map(|(i, b)| b.figures(i)).collect(),
            worst,
            left_out: None,
            without_face: None,
        })
    }
}

/// The 95 % interval of a share of `correct` among `n`, by E. B. Wilson's score ("Probable
/// inference, the law of succession, and statistical inference", JASA 22, 1927):
/// `(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)`. `[0, 1]` if `n` is 0.
pub fn wilson(correct: u64, n: u64) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let p = share(correct, n);
    let n = n as f64;
    let middle = p + Z * Z / (2.0 * n);
    let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    [middle - reach, middle + reach].map(|end| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

/// `part / whole`, 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Why a prediction can't be evaluated.
fn check(answer: &Predicted, classes: usize) -> Result<(), String> {
    let p = &answer.probabilities;
    if answer.label >= classes {
        return Err(format!(
            "its class {} is none of the model's {classes}",
            answer.label
        ));
    }
    if p.len() != classes {
        return Err(format!(
            "the model's output for it has {} values for {classes} classes",
            p.len()
        ));
    }
    if p.iter().any(|p| !p.is_finite()) {
        return Err("the model's output is not finite; check its weights and its scale".into());
    }
    let sum: f64 = p.iter().map(|p| f64::from(*p)).sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE || p.iter().any(|p| !(0.0..=1.0).contains(p)) {
        return Err(
            "the model's outputs are not probabilities; check whether they are logits".into(),
        );
    }
    Ok(())
}

fn scores(labels: &[String], confusion: &[Vec<u64>]) -> Vec<ClassScores> {
    let class = |(c, label): (usize, &String)| {
        let right = confusion[c][c];
        let support = confusion[c].iter().sum();
        let predicted = confusion.iter().map(|row| row[c]).sum();
        ClassScores {
            label: label.clone(),
            precision: share(right, predicted),
            recall: share(right, support),
            f1: share(2 * right, support + predicted),
            support,
            predicted,
        }
    };
    labels.iter().enumerate().map(class).collect()
}

/// What is summed up of the predictions in one range of confidence.
#[derive(Debug, Clone, Default)]
struct Bin {
    count: u64,
    correct: u64,
    confidences: f64,
}

/// The bin of a confidence; its range holds its upper end, not its lower.
fn bin_of(confidence: f64) -> usize {
    let bins = CALIBRATION_BINS as f64;
    (confidence * bins).ceil().clamp(1.0, bins) as usize - 1
}

impl Bin {
    fn add(&mut self, confidence: f64, correct: bool) {
        self.count += 1;
        self.correct += u64::from(correct);
        self.confidences += confidence;
    }

    fn figures(&self, index: usize) -> CalibrationBin {
        let bins = CALIBRATION_BINS as f64;
        CalibrationBin {
            low: index as f64 / bins,
            high: (index + 1) as f64 / bins,
            count: self.count,
            mean_confidence: if self.count == 0 {
                0.0
            } else {
                self.confidences / self.count as f64
            },
            accuracy: share(self.correct, self.count),
        }
    }
}

#[cfg(test)]
mod tests;
