//! Temperature scaling: one number that makes a model's confidences shares of right answers (Guo, Pleiss, Sun & Weinberger,
//! "On Calibration of Modern Neural Networks", ICML 2017).

use crate::spec::TEMPERATURES;

/// Fewer images than this say too little of a temperature.
pub const MIN_IMAGES: usize = 200;

/// The temperature T at which `softmax(logits / T)` gives the labels the highest likelihood; `None` for fewer than
/// [`MIN_IMAGES`] images, or where the best T is none of [`TEMPERATURES`]: all answers are right, or tell nothing, or are no
/// numbers.
///
/// `logits`: a row of one value a class for each of `labels`. The likelihood is concave in 1/T, so the zero of its slope
/// is found by halving.
pub fn temperature(logits: &[f32], labels: &[u8]) -> Option<f32> {
    if labels.len() < MIN_IMAGES {
        return None;
    }
    let classes = logits.len() / labels.len();
    let rows = || logits.chunks_exact(classes).zip(labels.iter().map(|l| usize::from(*l)));
    // d(log-likelihood)/d(1/T): the label's logit less the mean logit under the softmax at T.
    let slope = |inverse: f64| -> f64 {
        rows()
            .map(|(row, label)| {
                let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let gap = |v: f32| f64::from(v) - f64::from(max);
                let weights = row.iter().map(|v| (gap(*v) * inverse).exp());
                let (sum, moment) =
                    weights.zip(row).fold((0.0, 0.0), |(sum, moment), (w, v)| (sum + w, moment + w * gap(*v)));
                gap(row[label]) - moment / sum
            })
            .sum()
    };
    let [mut low, mut high] = [1.0 / f64::from(*TEMPERATURES.end()), 1.0 / f64::from(*TEMPERATURES.start())];
    if !(slope(low) > 0.0 && slope(high) < 0.0) {
        return None;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some((2.0 / (low + high)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Random};

    /// Logits and labels drawn from their softmax.
    fn drawn(n: usize) -> (Vec<f32>, Vec<u8>) {
        let mut random = Random::new(3, Purpose::Noise, 0, 0);
        let mut logits = Vec::new();
        let labels = (0..n)
            .map(|_| {
                let row: Vec<f64> = (0..7).map(|_| 6.0 * random.uniform()).collect();
                logits.extend(row.iter().map(|v| *v as f32));
                let weights: Vec<f64> = row.iter().map(|v| v.exp()).collect();
                let mut left = random.uniform() * weights.iter().sum::<f64>();
                let drawn = weights.iter().position(|w| {
                    left -= w;
                    left < 0.0
                });
                drawn.unwrap_or(6) as u8
            })
            .collect();
        (logits, labels)
    }

    #[test]
    fn the_temperature_of_answers_that_are_too_sure_or_not_sure_enough_is_found() {
        let (logits, labels) = drawn(20_000);
        for factor in [0.25, 1.0, 2.5] {
            let stretched: Vec<f32> = logits.iter().map(|v| v * factor).collect();
            let found = temperature(&stretched, &labels).expect("there are enough");
            assert!((found / factor - 1.0).abs() < 0.03, "{factor}: {found}");
        }
    }

    #[test]
    fn there_is_none_where_nothing_tells_it() {
        let (logits, labels) = drawn(MIN_IMAGES);
        assert!(temperature(&logits, &labels).is_some());
        assert_eq!(temperature(&logits[7..], &labels[1..]), None, "too few");
        let best: Vec<u8> = logits
            .chunks_exact(7)
            .map(|row| (0..7).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u8)
            .collect();
        assert_eq!(temperature(&logits, &best), None, "all right");
        let least: Vec<u8> = logits
            .chunks_exact(7)
            .map(|row| (0..7).fold(0, |least, i| if row[i] < row[least] { i } else { least }) as u8)
            .collect();
        assert_eq!(temperature(&logits, &least), None, "always the last choice");
        assert_eq!(temperature(&vec![0.5; logits.len()], &labels), None, "all alike");
        let mut broken = logits.clone();
        broken[12] = f32::NAN;
        assert_eq!(temperature(&broken, &labels), None, "no number");
        assert_eq!(temperature(&[], &[]), None);
    }
}
