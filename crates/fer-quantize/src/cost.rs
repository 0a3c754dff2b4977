//! What a quantization costs: the answers of two networks for the same images, compared.

use fer_core::calibration::Calibration;
use fer_core::classifier::softmax;

/// Probabilities are kept this far from 0 and 1 in the cross-entropy, as in evaluations.
const EPSILON: f64 = 1e-7;

/// Bins of confidence of the calibration error.
const BINS: usize = 15;

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The mean Kullback–Leibler divergence, in nats, of the probabilities `found` from `expected`,
/// both `[n, classes]`: how much of what the expected ones say is lost.
pub fn divergence(expected: &[f32], found: &[f32], classes: usize) -> f64 {
    let rows = expected.len() / classes.max(1);
    let lost = expected.iter().zip(found).map(|(p, q)| {
        let (p, q) = (f64::from(*p), f64::from(*q));
        if q.is_nan() {
            f64::INFINITY
        } else if p > 0.0 {
            p * (p.max(EPSILON) / q.max(EPSILON)).ln()
        } else {
            0.0
        }
    });
    let sum: f64 = lost.sum();
    sum / rows.max(1) as f64
}

/// The figures of one network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The share of right labels; `None` without labels.
    pub accuracy: Option<f64>,
    /// The mean cross-entropy in nats: of the labels, or without them of the float32 network's
    /// probabilities.
    pub loss: f64,
    /// The expected calibration error over 15 bins; `None` without labels.
    pub calibration_error: Option<f64>,
}

/// The float32 network and the quantized one on the same images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The number of images.
    pub images: usize,
    /// The float32 network.
    pub float: Figures,
    /// The quantized one.
    pub quantized: Figures,
    /// How many images have another label.
    pub changed: usize,
    /// How many labels only the float32 network has right, and only the quantized one; `None`
    /// without labels.
    pub only_right: Option<[usize; 2]>,
}

/// One network's answers: `[n, classes]` probabilities as the network gives them, and how they are
/// calibrated.
pub type Answers<'a> = (&'a [f32], Calibration);

impl Comparison {
    /// Compares answers; `labels` has the class of each image, or is `None` where nothing says it.
    pub fn of(
        float: Answers<'_>,
        quantized: Answers<'_>,
        classes: usize,
        labels: Option<&[usize]>,
    ) -> Self {
        let (float, quantized) = (calibrated(float, classes), calibrated(quantized, classes));
        let tops = |rows: &[f32]| rows.chunks(classes).map(top).collect::<Vec<_>>();
        let (float_tops, quantized_tops) = (tops(&float), tops(&quantized));
        let pairs = || float_tops.iter().zip(&quantized_tops);
        let only_right = labels.map(|labels| {
            let rights = pairs().zip(labels).map(|((a, b), l)| (a == l, b == l));
            rights.fold([0, 0], |[float, quantized], right| match right {
                (true, false) => [float + 1, quantized],
                (false, true) => [float, quantized + 1],
                _ => [float, quantized],
            })
        });
        Self {
            images: float_tops.len(),
            changed: pairs().filter(|(a, b)| a != b).count(),
            only_right,
            float: figures(&float, &float, classes, labels),
            quantized: figures(&quantized, &float, classes, labels),
        }
    }

    /// The share of images that keep their label.
    pub fn kept(&self) -> f64 {
        1.0 - self.changed as f64 / self.images.max(1) as f64
    }

    /// By how much the cross-entropy rises.
    pub fn loss_rise(&self) -> f64 {
        self.quantized.loss - self.float.loss
    }

    /// By how much the accuracy changes, with its 95 % interval: `(b − c) / n ± z √(b + c − (b −
    /// c)² / n) / n`, where b images are right in the quantized network alone and c in the float32
    /// one alone (the interval of a difference of paired shares; Fleiss, "Statistical Methods for
    /// Rates and Proportions", 1981). `None` without labels.
    pub fn accuracy_change(&self) -> Option<[f64; 3]> {
        let [lost, won] = self.only_right?.map(|n| n as f64);
        let n = self.images.max(1) as f64;
        let change = (won - lost) / n;
        let reach = Z * (won + lost - (won - lost).powi(2) / n).max(0.0).sqrt() / n;
        Some([change, change - reach, change + reach])
    }
}

fn top(row: &[f32]) -> usize {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better)
}

/// The calibrated probabilities.
fn calibrated((rows, calibration): Answers<'_>, classes: usize) -> Vec<f32> {
    let mut rows = rows.to_vec();
    if calibration != Calibration::NONE {
        for row in rows.chunks_exact_mut(classes) {
            row.iter_mut().for_each(|p| *p = p.ln());
            calibration.apply(row);
            softmax(row);
        }
    }
    rows
}

fn figures(rows: &[f32], reference: &[f32], classes: usize, labels: Option<&[usize]>) -> Figures {
    let n = rows.len() / classes.max(1);
    let log = |p: f32| f64::from(p).clamp(EPSILON, 1.0 - EPSILON).ln();
    let Some(labels) = labels else {
        let products = rows.iter().zip(reference);
        let loss: f64 = products.map(|(q, p)| -f64::from(*p) * log(*q)).sum();
        return Figures {
            accuracy: None,
            loss: loss / n.max(1) as f64,
            calibration_error: None,
        };
    };
    let (mut right, mut loss) = (0usize, 0.0);
    // The right ones minus the confidences of each bin.
    let mut bins = [0.0f64; BINS];
    for (row, label) in rows.chunks_exact(classes).zip(labels) {
        let top = top(row);
        let confidence = f64::from(row[top]);
        let is_right = top == *label;
        right += usize::from(is_right);
        loss -= row.get(*label).map_or(0.0, |p| log(*p));
        let bin = (confidence * BINS as f64).ceil().clamp(1.0, BINS as f64) as usize - 1;
        bins[bin] += f64::from(u8::from(is_right)) - confidence;
    }
    let n = n.max(1) as f64;
    Figures {
        accuracy: Some(right as f64 / n),
        loss: loss / n,
        calibration_error: Some(bins.iter().map(|bin| bin.abs()).sum::<f64>() / n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static A: [f32; 6] = [0.9, 0.1, 0.2, 0.8, 0.6, 0.4];
    static B: [f32; 6] = [0.8, 0.2, 0.3, 0.7, 0.4, 0.6];

    #[test]
    fn labels_and_losses_are_compared() {
        let answers = |rows: &'static [f32]| (rows, Calibration::NONE);
        let found = Comparison::of(answers(&A), answers(&B), 2, Some(&[0, 1, 1]));
        assert_eq!((found.images, found.changed), (3, 1));
        assert_eq!(found.only_right, Some([0, 1]));
        assert_eq!(found.float.accuracy, Some(2.0 / 3.0));
        assert_eq!(found.quantized.accuracy, Some(1.0));
        let loss = -(0.8f64.ln() + 0.7f64.ln() + 0.6f64.ln()) / 3.0;
        assert!((found.quantized.loss - loss).abs() < 1e-6);
        // Means of (1 − 0.8), (1 − 0.7) and (1 − 0.6), each in a bin of its own.
        let error = found.quantized.calibration_error.unwrap();
        assert!((error - 0.3).abs() < 1e-6, "{error}");
        let [change, low, high] = found.accuracy_change().unwrap();
        assert!(low < change && change < high && (change - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn without_labels_the_float_network_is_the_reference() {
        let answers = |rows: &'static [f32]| (rows, Calibration::NONE);
        let found = Comparison::of(answers(&A), answers(&B), 2, None);
        assert_eq!(found.accuracy_change(), None);
        let lost = divergence(&A, &B, 2);
        assert!((found.loss_rise() - lost).abs() < 1e-6 && lost > 0.0);
        assert_eq!(divergence(&A, &A, 2), 0.0);
        assert_eq!(divergence(&A, &[f32::NAN; 6], 2), f64::INFINITY);
    }

    #[test]
    fn answers_are_calibrated_first() {
        let hot = Calibration {
            temperature: 2.0,
            exponent: 1.0,
        };
        let found = Comparison::of((&A, Calibration::NONE), (&A, hot), 2, Some(&[0, 1, 0]));
        assert_eq!(found.changed, 0);
        assert!(found.quantized.loss > found.float.loss);
    }
}
