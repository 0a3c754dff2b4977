//! A model's prediction for one image.

/// A model's prediction for one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// One probability per class, in the model's order.
    pub probabilities: Vec<f32>,
    /// The index of the largest probability.
    pub class: usize,
}

/// A model's output is empty or holds NaN or an infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's output is not finite; check its weights and its scale")]
pub struct NotFinite;

/// Scales values of at least 0 to a sum of 1; all alike, if all are 0.
pub fn normalize(values: &mut [f32]) {
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    let alike = 1.0 / values.len() as f32;
    for value in values {
        *value = match sum == 0.0 {
            true => alike,
            false => (f64::from(*value) / sum) as f32,
        };
    }
}

impl Prediction {
    /// Makes a prediction from one row of probabilities.
    ///
    /// # Errors
    /// The row is empty or holds a value that is not finite.
    pub fn new(probabilities: &[f32]) -> Result<Self, NotFinite> {
        if probabilities.is_empty() || probabilities.iter().any(|p| !p.is_finite()) {
            return Err(NotFinite);
        }
        let class = (0..probabilities.len()).fold(0, |best, i| {
            if probabilities[i] > probabilities[best] {
                i
            } else {
                best
            }
        });
        Ok(Self {
            probabilities: probabilities.to_vec(),
            class,
        })
    }

    /// The probability of the predicted class, 0..=1.
    pub fn confidence(&self) -> f32 {
        self.probabilities[self.class]
    }
}
