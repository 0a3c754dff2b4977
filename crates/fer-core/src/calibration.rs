//! Calibrated confidences: among predictions with confidence 0.8, about 80 % are right.
//! [`Calibration`] computes them from a model's logits with two numbers, which [`fit`] fits to
//! labeled images.

use std::fmt;
use std::ops::RangeInclusive;

/// Temperatures outside this range make all predictions uniform or all of them certain.
pub const TEMPERATURES: RangeInclusive<f32> = 0.05..=20.0;

/// Exponents outside this range bend confidences more than any training does.
pub const EXPONENTS: RangeInclusive<f32> = 0.5..=3.0;

/// Fewer images than this are too few to fit a calibration.
pub const MIN_IMAGES: usize = 200;

/// The gain in log-likelihood that an exponent needs. Chance alone gains more one time in twenty
/// (half of the 95 % quantile of the χ² distribution with one degree of freedom; Wilks 1938).
const MIN_GAIN: f64 = 1.92;

/// Turns logits z into probabilities: `softmax(−((max z − z) / T)^γ)`.
///
/// With an exponent γ of 1 this is temperature scaling, `softmax(z / T)` (Guo, Pleiss, Sun &
/// Weinberger, "On Calibration of Modern Neural Networks", ICML 2017). An exponent above 1
/// separates sure predictions from unsure ones, which label smoothing and mixup push together. Like
/// every increasing function of the distance from the highest logit (Rahimi et al., "Intra
/// Order-Preserving Functions for Calibration of Multi-Class Neural Networks", NeurIPS 2020), it
/// keeps the highest class the highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// T, within [`TEMPERATURES`]: the distance that counts as 1. With γ = 1, it is above 1 for an
    /// overconfident model and below 1 for an underconfident one.
    pub temperature: f32,
    /// γ, within [`EXPONENTS`].
    pub exponent: f32,
}

impl Calibration {
    /// The plain softmax.
    pub const NONE: Self = Self {
        temperature: 1.0,
        exponent: 1.0,
    };

    /// Replaces logits by logits whose softmax is the calibrated probabilities: 0 for the highest,
    /// negative values for the others.
    pub fn apply(self, logits: &mut [f32]) {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for v in logits {
            let distance = ((max - *v) / self.temperature).powf(self.exponent);
            // The softmax treats smaller distances as equal to the highest.
            *v = if *v < max {
                -distance.max(f32::EPSILON)
            } else {
                -distance
            };
        }
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "temperature {} and exponent {}",
            self.temperature, self.exponent
        )
    }
}

/// The calibration that maximizes the likelihood of the labels. The exponent is 1 unless another is
/// clearly better. `None` for fewer than [`MIN_IMAGES`] images. `None` also if no temperature
/// within [`TEMPERATURES`] is the best for that exponent: all predictions are right, or carry no
/// information, or are NaN.
///
/// `logits` has one row for each of `labels`, with one value per class. For a fixed exponent, the
/// likelihood is concave in `T^-γ`, and bisection finds the zero of its slope. Golden-section
/// search finds the exponent.
pub fn fit(logits: &[f32], labels: &[u16]) -> Option<Calibration> {
    if labels.len() < MIN_IMAGES {
        return None;
    }
    let plain = Likelihood::new(logits, labels, 1.0).highest()?;
    let tried = |exponent: f64| {
        Likelihood::new(logits, labels, exponent)
            .highest()
            .map_or(f64::NEG_INFINITY, |(l, _)| l)
    };
    let [mut low, mut high] = [f64::from(*EXPONENTS.start()), f64::from(*EXPONENTS.end())];
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut left, mut right] = [high - golden * (high - low), low + golden * (high - low)];
    let [mut at_left, mut at_right] = [tried(left), tried(right)];
    while high - low > 5e-5 {
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = tried(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = tried(right);
        }
    }
    let exponent = (low + high) / 2.0;
    let bent = Likelihood::new(logits, labels, exponent)
        .highest()
        .filter(|bent| bent.0 > plain.0 + MIN_GAIN);
    let (exponent, (_, temperature)) = bent.map_or((1.0, plain), |bent| (exponent, bent));
    // No number of images justifies more digits.
    let rounded = |v: f64| ((v * 1e4).round() / 1e4) as f32;
    Some(Calibration {
        temperature: rounded(temperature),
        exponent: rounded(exponent),
    })
}

/// The likelihood of the labels for one exponent γ, as a function of the factor T^-γ.
struct Likelihood {
    exponent: f64,
    /// For each image, the label's distance from the highest logit, to the power γ.
    labels: Vec<f64>,
    /// The same for each class.
    distances: Vec<f64>,
}

impl Likelihood {
    fn new(logits: &[f32], labels: &[u16], exponent: f64) -> Self {
        let classes = logits.len() / labels.len();
        let mut distances = Vec::with_capacity(logits.len());
        for row in logits.chunks_exact(classes) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            distances.extend(
                row.iter()
                    .map(|v| (f64::from(max) - f64::from(*v)).powf(exponent)),
            );
        }
        let of_label = |(row, label): (&[f64], &u16)| row[usize::from(*label)];
        let labels = distances
            .chunks_exact(classes)
            .zip(labels)
            .map(of_label)
            .collect();
        Self {
            exponent,
            labels,
            distances,
        }
    }

    /// The log-likelihood and its slope: the expected distances minus those of the labels.
    fn at(&self, factor: f64) -> (f64, f64) {
        let classes = self.distances.len() / self.labels.len();
        self.distances.chunks_exact(classes).zip(&self.labels).fold(
            (0.0, 0.0),
            |(likelihood, slope), (row, label)| {
                let (sum, moment) = row.iter().fold((0.0, 0.0), |(sum, moment), distance| {
                    let weight = (-distance * factor).exp();
                    (sum + weight, moment + weight * distance)
                });
                (
                    likelihood - label * factor - sum.ln(),
                    slope + moment / sum - label,
                )
            },
        )
    }

    /// The highest log-likelihood, and its temperature.
    fn highest(&self) -> Option<(f64, f64)> {
        let factor = |temperature: f32| f64::from(temperature).powf(-self.exponent);
        let [mut low, mut high] = [factor(*TEMPERATURES.end()), factor(*TEMPERATURES.start())];
        if !(self.at(low).1 > 0.0 && self.at(high).1 < 0.0) {
            return None;
        }
        for _ in 0..50 {
            let middle = (low + high) / 2.0;
            if self.at(middle).1 > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let best = (low + high) / 2.0;
        Some((self.at(best).0, best.powf(-1.0 / self.exponent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::softmax;
    use crate::random::{Purpose, Random};

    /// Logits, and labels drawn from the probabilities that a calibration gives them.
    fn drawn(n: usize, calibration: Calibration) -> (Vec<f32>, Vec<u16>) {
        let mut random = Random::new(3, Purpose::Noise, 0, 0);
        let mut logits = Vec::new();
        let labels = (0..n)
            .map(|_| {
                let row: Vec<f32> = (0..7).map(|_| (6.0 * random.uniform()) as f32).collect();
                logits.extend(&row);
                let mut shares = row;
                calibration.apply(&mut shares);
                softmax(&mut shares);
                let mut left = random.uniform() as f32;
                let drawn = shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                drawn.unwrap_or(6) as u16
            })
            .collect();
        (logits, labels)
    }

    #[test]
    fn the_calibration_that_labels_were_drawn_by_is_found() {
        for (temperature, exponent) in [
            (0.25, 1.0),
            (1.0, 1.0),
            (2.5, 1.0),
            (1.4, 1.6),
            (1.5, 2.5),
            (0.5, 0.7),
        ] {
            let (logits, labels) = drawn(
                10_000,
                Calibration {
                    temperature,
                    exponent,
                },
            );
            let found = fit(&logits, &labels).expect("there are enough");
            let near = |a: f32, b: f32| (a / b - 1.0).abs() < 0.1;
            assert!(
                near(found.temperature, temperature) && near(found.exponent, exponent),
                "temperature {temperature} and exponent {exponent}: {found}"
            );
        }
    }

    #[test]
    fn few_images_that_no_exponent_suits_clearly_better_have_none() {
        let (logits, labels) = drawn(
            1_000,
            Calibration {
                temperature: 1.3,
                exponent: 1.0,
            },
        );
        let found = fit(&logits, &labels).expect("there are enough");
        assert_eq!(found.exponent, 1.0);
        assert!((found.temperature / 1.3 - 1.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn what_would_lie_out_of_range_ends_at_its_edge() {
        for (drawn_by, edge) in [(6.0, *EXPONENTS.end()), (0.2, *EXPONENTS.start())] {
            let (logits, labels) = drawn(
                4_000,
                Calibration {
                    temperature: 1.5,
                    exponent: drawn_by,
                },
            );
            let found = fit(&logits, &labels).expect("there are enough");
            assert!(
                EXPONENTS.contains(&found.exponent) && (found.exponent - edge).abs() < 1e-3,
                "{drawn_by}: {found}"
            );
            assert!(
                TEMPERATURES.contains(&found.temperature),
                "{drawn_by}: {found}"
            );
        }
    }

    #[test]
    fn no_calibration_near_the_one_that_was_fitted_is_likelier() {
        let (logits, labels) = drawn(
            2_000,
            Calibration {
                temperature: 1.4,
                exponent: 1.6,
            },
        );
        let loss = |calibration: Calibration| -> f64 {
            let rows = logits.chunks_exact(7).zip(&labels);
            rows.map(|(row, label)| {
                let mut row = row.to_vec();
                calibration.apply(&mut row);
                softmax(&mut row);
                -f64::from(row[usize::from(*label)]).ln()
            })
            .sum()
        };
        let found = fit(&logits, &labels).expect("there are enough");
        for (t, e) in [
            (0.97, 1.0),
            (1.03, 1.0),
            (1.0, 0.95),
            (1.0, 1.05),
            (0.97, 0.95),
            (1.03, 1.05),
        ] {
            let other = Calibration {
                temperature: found.temperature * t,
                exponent: found.exponent * e,
            };
            assert!(loss(other) > loss(found), "{found}, {other}");
        }
        assert!(loss(found) < loss(Calibration::NONE));
    }

    #[test]
    fn the_label_and_the_order_of_the_classes_stay() {
        let logits = [2.0f32, -1.0, 0.5, -30.0, 1.99];
        for temperature in [0.05, 0.7, 20.0] {
            for exponent in [0.5, 1.0, 3.0] {
                let mut row = logits;
                Calibration {
                    temperature,
                    exponent,
                }
                .apply(&mut row);
                softmax(&mut row);
                let what = format!("temperature {temperature}, exponent {exponent}: {row:?}");
                assert!(row[0] > row[4], "the highest stays alone: {what}");
                assert!(
                    row[4] >= row[2] && row[2] >= row[1] && row[1] >= row[3],
                    "{what}"
                );
            }
        }
    }

    #[test]
    fn there_is_none_where_nothing_tells_it() {
        let (logits, labels) = drawn(MIN_IMAGES, Calibration::NONE);
        assert!(fit(&logits, &labels).is_some());
        assert_eq!(fit(&logits[7..], &labels[1..]), None, "too few");
        let best: Vec<u16> = logits
            .chunks_exact(7)
            .map(|row| (0..7).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u16)
            .collect();
        assert_eq!(fit(&logits, &best), None, "all right");
        let least: Vec<u16> = logits
            .chunks_exact(7)
            .map(|row| {
                (0..7).fold(0, |least, i| if row[i] < row[least] { i } else { least }) as u16
            })
            .collect();
        assert_eq!(fit(&logits, &least), None, "always the last choice");
        assert_eq!(fit(&vec![0.5; logits.len()], &labels), None, "all alike");
        let mut broken = logits.clone();
        broken[12] = f32::NAN;
        assert_eq!(fit(&broken, &labels), None, "NaN");
        assert_eq!(fit(&[], &[]), None);
    }
}
