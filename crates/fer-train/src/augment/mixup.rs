//! Mixup (Zhang et al. 2018, <https://arxiv.org/abs/1710.09412>): a batch is mixed with itself in
//! another order.

use fer_core::random::Random;

/// How one batch is mixed. With `p = partner[i]`, image `i` becomes
/// `lambda · image[i] + (1 − lambda) · image[p]`, and so do the targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixup {
    /// The share of an image itself, 0..=1.
    pub lambda: f32,
    /// The image that each one is mixed with: every index of the batch once.
    pub partner: Vec<usize>,
}

/// Draws the mix of a batch: one `lambda` of Beta(`alpha`, `alpha`) and one order, as in the paper.
pub(super) fn mixup(alpha: f64, batch: usize, random: &mut Random) -> Mixup {
    let lambda = beta(alpha, random) as f32;
    let mut partner: Vec<usize> = (0..batch).collect();
    random.shuffle(&mut partner);
    Mixup { lambda, partner }
}

/// A number of Beta(`alpha`, `alpha`) by Jöhnk's method: `X / (X + Y)` where `X + Y ≤ 1`, with `X`
/// and `Y` uniform numbers to the power of `1 / alpha`, held as logarithms, as a small `alpha`
/// makes them smaller than any number but 0.
///
/// A try succeeds with probability Γ(alpha + 1)² / Γ(2 alpha + 1): 0.95 for 0.2, 0.5 for 1, 0.014
/// for 4.
fn beta(alpha: f64, random: &mut Random) -> f64 {
    loop {
        // 1 − u is never 0.
        let [x, y] = [(); 2].map(|()| (1.0 - random.uniform()).ln() / alpha);
        if x.exp() + y.exp() <= 1.0 {
            return 1.0 / (1.0 + (y - x).exp());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_core::random::Purpose;

    /// Mean 1/2 and variance 1 / (4 (2 alpha + 1)).
    #[test]
    fn lambda_has_the_moments_of_beta() {
        let n = 20_000;
        let mut wrong = Vec::new();
        for alpha in [1e-6, 0.05, 0.2, 1.0, 4.0] {
            let mut random = Random::new(3, Purpose::Mixup, 0, 0);
            let drawn: Vec<f64> = (0..n).map(|_| beta(alpha, &mut random)).collect();
            let mean = drawn.iter().sum::<f64>() / n as f64;
            let variance = drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            let fits = (mean - 0.5).abs() < 0.02 && (variance / expected - 1.0).abs() < 0.05;
            if !fits || !drawn.iter().all(|v| (0.0..=1.0).contains(v)) {
                wrong.push(format!(
                    "alpha {alpha}: mean {mean}, variance {variance} of {expected}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
