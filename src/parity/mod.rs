//! Compares the outputs of two models, engines or providers ([`Comparison`]), with Keras's recorded
//! outputs ([`golden`]) and with Keras itself ([`keras`]), at the end or layer by layer
//! ([`layers`]).

mod compare;
pub mod golden;
pub mod keras;
#[cfg(feature = "ort")]
pub mod layers;
mod with_keras;

pub use compare::{ParityError, between, outputs, with_recorded};
pub use with_keras::{ROUNDING, WithKeras, with_keras};

use serde::Serialize;

/// The tolerance for a probability: `|Δ| ≤ absolute + relative × |reference|`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// The absolute part.
    pub absolute: f64,
    /// The part relative to the reference's value.
    pub relative: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            absolute: 1e-5,
            relative: 1e-4,
        }
    }
}

/// Two sets of outputs on the same images, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Images for which both have an output.
    pub images: usize,
    /// Images for which only one has an output; one is a failure.
    pub unequal_reads: usize,
    /// Images for which neither has an output: unreadable, or an output that is not finite.
    pub unanswered: usize,
    /// The largest difference of a probability.
    pub max_difference: f64,
    /// The mean difference of a probability.
    pub mean_difference: f64,
    /// The mean over the images of the Kullback–Leibler divergence of the candidate from the
    /// reference, in nats: Σ p ln(p / q).
    pub kl_divergence: f64,
    /// Images for which both have the same label.
    pub equal_labels: usize,
    /// Values outside the tolerance.
    pub outside_tolerance: usize,
    /// The image with the largest difference.
    pub worst: Option<Worst>,
    /// The tolerance.
    pub tolerance: Tolerance,
}

/// The image with the largest difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    /// The image.
    pub path: String,
    /// The difference.
    pub difference: f64,
    /// The reference's label.
    pub reference: String,
    /// The candidate's label.
    pub candidate: String,
}

/// One image's output, or none if the image could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The image.
    pub path: String,
    /// One value per class: a probability, a score or a logit.
    pub values: Option<Vec<f32>>,
}

/// Outputs can't be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// They have different numbers of images.
    #[error("the reference has outputs for {reference} images, the candidate for {candidate}")]
    Images {
        /// The reference's number.
        reference: usize,
        /// The candidate's number.
        candidate: usize,
    },
    /// They have different numbers of classes, or a different number of labels.
    #[error(
        "the reference has {reference} classes, the candidate {candidate}; there are {labels} \
         labels"
    )]
    Classes {
        /// The reference's number.
        reference: usize,
        /// The candidate's number.
        candidate: usize,
        /// Number of labels.
        labels: usize,
    },
    /// No image could be read by both.
    #[error("no image could be read by both")]
    NothingRead,
}

impl Comparison {
    /// Compares a candidate's outputs with a reference's, image by image in the same order.
    ///
    /// # Errors
    /// They have different numbers of images or classes, or nothing to compare.
    pub fn of(
        reference: &[Output],
        candidate: &[Output],
        labels: &[String],
        tolerance: Tolerance,
    ) -> Result<Self, CompareError> {
        if reference.len() != candidate.len() {
            return Err(CompareError::Images {
                reference: reference.len(),
                candidate: candidate.len(),
            });
        }
        let mut result = Self {
            images: 0,
            unequal_reads: 0,
            unanswered: 0,
            max_difference: 0.0,
            mean_difference: 0.0,
            kl_divergence: 0.0,
            equal_labels: 0,
            outside_tolerance: 0,
            worst: None,
            tolerance,
        };
        for (r, c) in reference.iter().zip(candidate) {
            match (&r.values, &c.values) {
                (Some(p), Some(q)) if p.len() != q.len() || p.len() != labels.len() => {
                    return Err(CompareError::Classes {
                        reference: p.len(),
                        candidate: q.len(),
                        labels: labels.len(),
                    });
                }
                (Some(p), Some(q)) => result.add(&r.path, p, q, labels),
                (None, None) => result.unanswered += 1,
                _ => result.unequal_reads += 1,
            }
        }
        if result.images == 0 {
            return Err(CompareError::NothingRead);
        }
        let images = result.images as f64;
        result.mean_difference /= images * labels.len() as f64;
        result.kl_divergence /= images;
        Ok(result)
    }

    fn add(&mut self, path: &str, reference: &[f32], candidate: &[f32], labels: &[String]) {
        self.images += 1;
        let mut largest = 0.0f64;
        // Rows sum to 1 only within rounding, which is more than the divergence of equal outputs.
        let sum = |row: &[f32]| row.iter().map(|v| f64::from(*v)).sum::<f64>();
        let (p_sum, q_sum) = (sum(reference), sum(candidate));
        for (p, q) in reference.iter().zip(candidate) {
            let (p, q) = (f64::from(*p), f64::from(*q));
            // A value that is not finite counts as the largest difference.
            let difference = if p.is_finite() && q.is_finite() {
                (p - q).abs()
            } else {
                f64::INFINITY
            };
            largest = largest.max(difference);
            self.mean_difference += difference;
            if difference > self.tolerance.absolute + self.tolerance.relative * p.abs() {
                self.outside_tolerance += 1;
            }
            if p > 0.0 {
                let (p, q) = (p / p_sum, q.max(f64::from(f32::MIN_POSITIVE)) / q_sum);
                self.kl_divergence += p * (p / q).ln();
            }
        }
        let label = |row: &[f32]| {
            (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
        };
        let (r, c) = (label(reference), label(candidate));
        self.equal_labels += usize::from(r == c);
        if self.worst.is_none() || largest > self.max_difference {
            self.worst = Some(Worst {
                path: path.to_string(),
                difference: largest,
                reference: labels[r].clone(),
                candidate: labels[c].clone(),
            });
            self.max_difference = largest;
        }
    }

    /// Whether every value is within the tolerance and every label equal.
    pub fn holds(&self) -> bool {
        self.outside_tolerance == 0 && self.equal_labels == self.images && self.unequal_reads == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(rows: &[&[f32]]) -> Vec<Output> {
        let row = |(i, p): (usize, &&[f32])| Output {
            path: format!("{i}.png"),
            values: Some(p.to_vec()),
        };
        rows.iter().enumerate().map(row).collect()
    }

    fn labels() -> Vec<String> {
        ["a", "b"].map(String::from).to_vec()
    }

    #[test]
    fn equal_answers_hold() {
        let a = rows_of(&[&[0.25, 0.75], &[1.0, 0.0]]);
        let c = Comparison::of(&a, &a, &labels(), Tolerance::default()).unwrap();
        assert!(c.holds());
        assert_eq!((c.images, c.max_difference, c.kl_divergence), (2, 0.0, 0.0));
    }

    #[test]
    fn what_does_not_hold() {
        let reference = rows_of(&[&[0.4, 0.6]]);
        let unread = vec![Output {
            path: "0.png".into(),
            values: None,
        }];
        let rows = [
            ("within", rows_of(&[&[0.400_01, 0.599_99]]), true),
            ("off", rows_of(&[&[0.4001, 0.5999]]), false),
            ("other label", rows_of(&[&[0.6, 0.4]]), false),
            ("NaN", rows_of(&[&[f32::NAN, 0.6]]), false),
        ];
        let compare = |c: &[Output]| Comparison::of(&reference, c, &labels(), Tolerance::default());
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(_, c, holds)| compare(c).unwrap().holds() != *holds)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(compare(&unread).is_err());
        let mixed = [rows_of(&[&[0.4, 0.6]]), unread].concat();
        let read = rows_of(&[&[0.4, 0.6], &[0.4, 0.6]]);
        assert!(
            !Comparison::of(&mixed, &read, &labels(), Tolerance::default())
                .unwrap()
                .holds()
        );
    }

    #[test]
    fn divergence_is_that_of_the_formula() {
        let c = Comparison::of(
            &rows_of(&[&[0.5, 0.5]]),
            &rows_of(&[&[0.25, 0.75]]),
            &labels(),
            Tolerance::default(),
        );
        let expected = 0.5 * (2.0f64).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((c.unwrap().kl_divergence - expected).abs() < 1e-12);
    }
}
