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
mod tests {
    use super::*;

    fn labels(n: usize) -> Vec<String> {
        ["a", "b", "c", "d"][..n]
            .iter()
            .map(|l| l.to_string())
            .collect()
    }

    fn answer(name: &str, label: usize, probabilities: &[f32]) -> Predicted {
        Predicted {
            name: name.into(),
            label,
            probabilities: probabilities.to_vec(),
        }
    }

    /// Five images of three classes; `c` is never predicted. Binary fractions, so that sums are
    /// exact.
    fn five() -> Evaluation {
        let answers = [
            answer("1", 0, &[0.75, 0.25, 0.0]),    // right
            answer("2", 0, &[0.25, 0.625, 0.125]), // wrong, second
            answer("3", 1, &[0.125, 0.875, 0.0]),  // right
            answer("4", 1, &[0.0, 1.0, 0.0]),      // right
            answer("5", 2, &[0.5, 0.375, 0.125]),  // wrong, third
        ];
        Evaluation::new(&labels(3), &answers).unwrap()
    }

    #[track_caller]
    fn near(what: &str, actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() < 1e-9,
            "{what}: {actual}, not {expected}"
        );
    }

    #[test]
    fn the_figures_of_a_small_table_by_hand() {
        let e = five();
        assert_eq!((e.images, e.correct), (5, 3));
        assert_eq!(e.confusion, [[1, 1, 0], [0, 2, 0], [1, 0, 0]]);
        near("accuracy", e.accuracy, 3.0 / 5.0);
        near("top 2", e.top2_accuracy, 4.0 / 5.0);
        near(
            "confidence",
            e.mean_confidence,
            (0.75 + 0.625 + 0.875 + 1.0 + 0.5) / 5.0,
        );
        // 1 − 1e-7 is Keras's largest probability.
        let loss =
            -(0.75f64.ln() + 0.25f64.ln() + 0.875f64.ln() + (1.0 - 1e-7f64).ln() + 0.125f64.ln())
                / 5.0;
        near("loss", e.loss, loss);
        let scores: Vec<_> = e
            .classes
            .iter()
            .map(|c| (c.precision, c.recall, c.f1, c.support, c.predicted))
            .collect();
        assert_eq!(
            scores,
            [
                (0.5, 0.5, 0.5, 2, 2),
                (2.0 / 3.0, 1.0, 0.8, 2, 3),
                (0.0, 0.0, 0.0, 1, 0)
            ],
            "precision, recall, F1, support, predicted"
        );
        near("macro F1", e.macro_f1, (0.5 + 0.8 + 0.0) / 3.0);
        // One prediction a bin: right ones are off by 1 − p, wrong ones by p.
        near(
            "ECE",
            e.calibration_error,
            (0.25 + 0.625 + 0.125 + 0.0 + 0.5) / 5.0,
        );
        let mistakes: Vec<_> = e
            .worst
            .iter()
            .map(|m| (m.name.as_str(), m.label, m.predicted, m.confidence))
            .collect();
        assert_eq!(mistakes, [("2", 0, 1, 0.625), ("5", 2, 0, 0.5)]);
    }

    #[test]
    fn answers_of_one_bin_are_averaged_before_they_are_compared() {
        // Confidence .75 both, one right: |1/2 − .75|, where two bins would give (.25 + .75)/2.
        let answers = [
            answer("1", 0, &[0.75, 0.25]),
            answer("2", 1, &[0.75, 0.25]),
            answer("3", 1, &[0.125, 0.875]),
        ];
        let e = Evaluation::new(&labels(2), &answers).unwrap();
        near(
            "ECE",
            e.calibration_error,
            2.0 / 3.0 * 0.25 + 1.0 / 3.0 * 0.125,
        );
        assert_eq!(e.calibration.len(), 15);
        let full: Vec<_> = e.calibration.iter().filter(|b| b.count > 0).collect();
        assert_eq!(full.len(), 2);
        let bin = CalibrationBin {
            low: 11.0 / 15.0,
            high: 12.0 / 15.0,
            count: 2,
            mean_confidence: 0.75,
            accuracy: 0.5,
        };
        assert_eq!(*full[0], bin);
        let empty = CalibrationBin {
            low: 0.0,
            high: 1.0 / 15.0,
            count: 0,
            mean_confidence: 0.0,
            accuracy: 0.0,
        };
        assert_eq!(e.calibration[0], empty);
    }

    #[test]
    fn a_bin_holds_its_upper_end() {
        let rows = [
            (0.0, 0),
            (0.01, 0),
            (0.2, 2),
            (0.21, 3),
            (0.4, 5),
            (0.6, 8),
            (0.99, 14),
            (1.0, 14),
            (1.0001, 14),
        ];
        let wrong: Vec<_> = rows.iter().filter(|(c, bin)| bin_of(*c) != *bin).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn wilson_intervals() {
        // 8 of 10, 0 of 10, 1 of 29 and 81 of 263 as in R. G. Newcombe, Statistics in Medicine 17
        // (1998), table I, and others, to four digits; 2240 of 3589 is 62.41 %, worked out apart.
        let rows = [
            (8, 10, 0.4902, 0.9433),
            (0, 10, 0.0, 0.2775),
            (10, 10, 0.7225, 1.0),
            (1, 29, 0.0061, 0.1718),
            (15, 148, 0.0624, 0.1605),
            (81, 263, 0.2553, 0.3662),
            (2240, 3589, 0.6082, 0.6398),
            (0, 0, 0.0, 1.0),
        ];
        let off = |(k, n, low, high): &(u64, u64, f64, f64)| {
            let [l, h] = wilson(*k, *n);
            (l - low).abs() > 5.1e-5 || (h - high).abs() > 5.1e-5
        };
        let wrong: Vec<_> = rows
            .iter()
            .filter(|r| off(r))
            .map(|r| (r, wilson(r.0, r.1)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_class_that_is_nowhere_does_not_count_in_the_mean() {
        let answers = [
            answer("1", 0, &[0.75, 0.25, 0.0]),
            answer("2", 1, &[0.25, 0.75, 0.0]),
        ];
        let e = Evaluation::new(&labels(3), &answers).unwrap();
        near("macro F1", e.macro_f1, 1.0);
        assert_eq!(
            (
                e.classes[2].support,
                e.classes[2].predicted,
                e.classes[2].f1
            ),
            (0, 0, 0.0)
        );
    }

    #[test]
    fn one_class_only() {
        let e = Evaluation::new(&labels(1), &[answer("1", 0, &[1.0])]).unwrap();
        assert_eq!(
            (e.accuracy, e.macro_f1, e.top2_accuracy, e.calibration_error),
            (1.0, 1.0, 1.0, 0.0)
        );
        assert!(e.worst.is_empty() && e.loss < 2e-7);
    }

    #[test]
    fn all_wrong() {
        let answers: Vec<_> = (0..100)
            .map(|i| answer(&i.to_string(), 1, &[1.0, 0.0]))
            .collect();
        let e = Evaluation::new(&labels(2), &answers).unwrap();
        assert_eq!(
            (e.accuracy, e.macro_f1, e.top2_accuracy, e.calibration_error),
            (0.0, 0.0, 1.0, 1.0)
        );
        near("loss", e.loss, -1e-7f64.ln());
        let names: Vec<_> = e.worst.iter().map(|m| m.name.clone()).collect();
        let first: Vec<_> = (0..WORST).map(|i| i.to_string()).collect();
        assert_eq!(names, first, "equal ones keep their order");
    }

    #[test]
    fn of_equal_probabilities_the_first_wins() {
        let tie = [0.25; 4];
        let answers: Vec<_> = (0..4).map(|i| answer(&i.to_string(), i, &tie)).collect();
        let e = Evaluation::new(&labels(4), &answers).unwrap();
        assert!(
            e.confusion.iter().all(|row| *row == [1, 0, 0, 0]),
            "{:?}",
            e.confusion
        );
        assert_eq!(e.top2_accuracy, 0.5, "ties go by index there, too");
    }

    #[test]
    fn unusable_answers_are_errors_with_the_image() {
        assert_eq!(Evaluation::new(&labels(2), &[]), Err(EvalError::Empty));
        let rows: [(usize, &[f32], &str); 7] = [
            (0, &[f32::NAN, 1.0], "not finite"),
            (0, &[0.0, f32::INFINITY], "not finite"),
            (0, &[3.0, -2.0], "logits"),
            (0, &[0.25, 0.25], "logits"),
            (0, &[1.0], "1 values for 2 classes"),
            (0, &[], "0 values for 2 classes"),
            (2, &[0.5, 0.5], "class 2 is none of the model's 2"),
        ];
        for (label, probabilities, expected) in rows {
            let answers = [
                answer("good.png", 0, &[1.0, 0.0]),
                answer("bad.png", label, probabilities),
            ];
            let text = Evaluation::new(&labels(2), &answers)
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(
                text.starts_with("bad.png: ") && text.contains(expected),
                "{probabilities:?}: {text}"
            );
        }
    }
}
