//! Weights → integers: the nearest ones ([`nearest`]), or those whose outputs are nearest to the
//! layer's ([`rounded`]).

use rayon::prelude::*;

use crate::layer::Layer;
use crate::moments::Moments;

/// Rounded weights are in `-LEVELS..=LEVELS`. The sum of two products of such a weight with an
/// activation of 0..=255 is at most 2 · 255 · 64 = 32,640, which 16 bits hold: the instruction of
/// processors without VNNI never saturates, and all processors give the same.
pub const LEVELS: i8 = 64;

/// The scales that are tried for a channel, as shares of the one that leaves no weight out.
const SHARES: [f32; 5] = [1.0, 0.92, 0.84, 0.76, 0.68];

/// What is added to the diagonal of the moments, as a share of its mean: an input that is always
/// nearly the same, or was never seen, must not allow any weight.
const DAMPING: f64 = 0.01;

/// Channels that are rounded together, which read the factor once.
const TOGETHER: usize = 4;

/// The weights of a layer in integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    /// `[channels, depth]`, in `-LEVELS..=LEVELS`.
    pub weights: Vec<i8>,
    /// The scale of each channel, positive: a weight is `scale · integer`.
    pub scales: Vec<f32>,
    /// The bias of each channel, in float32.
    pub bias: Vec<f32>,
}

impl Rounded {
    /// The weights as they come back, `[channels, depth]`.
    pub fn weights(&self) -> Vec<f32> {
        let depth = self.weights.len() / self.scales.len().max(1);
        let rows = self.weights.chunks(depth.max(1)).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |q| f32::from(*q) * scale))
            .collect()
    }
}

/// The scale of a channel that leaves no weight out.
fn scale_of(weights: &[f32]) -> f32 {
    let largest = weights.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let scale = largest / f32::from(LEVELS);
    // A channel of zeros, or of numbers whose steps would be subnormal.
    if scale < f32::MIN_POSITIVE {
        1.0
    } else {
        scale
    }
}

fn level(value: f32, scale: f32) -> i8 {
    let most = f32::from(LEVELS);
    (value / scale).round_ties_even().clamp(-most, most) as i8
}

/// Rounds each weight to the nearest level, with the scale of least squared error for each channel.
pub fn nearest(layer: &Layer) -> Rounded {
    let channel = |weights: &[f32]| {
        let full = scale_of(weights);
        let error = |scale: f32| -> f64 {
            let off = |w: &f32| f64::from(w - f32::from(level(*w, scale)) * scale);
            weights.iter().map(|w| off(w).powi(2)).sum()
        };
        let scales = SHARES.map(|share| full * share);
        let best = scales
            .into_iter()
            .map(|scale| (error(scale), scale))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let scale = best.map_or(full, |(_, scale)| scale);
        let levels: Vec<i8> = weights.iter().map(|w| level(*w, scale)).collect();
        (levels, scale)
    };
    let rows = layer.weights.par_chunks(layer.depth).map(channel);
    let (weights, scales): (Vec<Vec<i8>>, Vec<f32>) = rows.unzip();
    Rounded {
        weights: weights.concat(),
        scales,
        bias: layer.bias.clone(),
    }
}

/// Rounds the weights of each channel so that the outputs for the inputs of `moments` change least,
/// one weight after the other, each making up for the errors of those before it, and moves the bias
/// by the mean of what is left. `noise` is the variance of the error of an input value.
///
/// This is GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
/// Pre-trained Transformers", ICLR 2023), in the form of Babai's nearest plane (Chen et al., "The
/// Geometry of LLM Quantization", 2025): with `H = L Lᵀ`, the error is `‖Lᵀ (w − q)‖²`, and from
/// the last weight to the first each q is the nearest level to what makes its row zero.
pub fn rounded(layer: &Layer, moments: &Moments, noise: f64) -> Rounded {
    let depth = layer.depth;
    let mut matrix = moments.matrix();
    let diagonal = |matrix: &[f64], i: usize| matrix[i * depth + i];
    let mean = (0..depth).map(|i| diagonal(&matrix, i)).sum::<f64>() / depth as f64;
    let added = (DAMPING * mean).max(noise);
    if moments.patches() == 0 || !(added.is_finite() && added > 0.0) {
        return nearest(layer);
    }
    // The weights that matter most are decided first, from the end.
    let mut order: Vec<usize> = (0..depth).collect();
    order.sort_by(|a, b| diagonal(&matrix, *a).total_cmp(&diagonal(&matrix, *b)));
    matrix = permuted(&matrix, &order, depth);
    (0..depth).for_each(|i| matrix[i * depth + i] += added);
    if !factorize(&mut matrix, depth) {
        return nearest(layer);
    }
    let factor: Vec<f32> = matrix.iter().map(|v| *v as f32).collect();
    let means = moments.means();
    let channels: Vec<&[f32]> = layer.weights.chunks(depth).collect();
    let found: Vec<(Vec<i8>, f32)> = channels
        .par_chunks(TOGETHER)
        .flat_map_iter(|channels| {
            let ordered: Vec<Vec<f32>> = channels
                .iter()
                .map(|weights| order.iter().map(|i| weights[*i]).collect())
                .collect();
            nearest_planes(&ordered, &factor)
                .into_iter()
                .map(|(levels, scale)| (reordered(&levels, &order), scale))
                .collect::<Vec<_>>()
        })
        .collect();
    let bias = found.iter().zip(&channels).zip(&layer.bias);
    let bias = bias.map(|(((levels, scale), weights), bias)| {
        let lost = weights.iter().zip(levels).zip(&means);
        let lost = lost.map(|((w, q), mean)| f64::from(w - f32::from(*q) * scale) * mean);
        bias + lost.sum::<f64>() as f32
    });
    Rounded {
        bias: bias.collect(),
        scales: found.iter().map(|(_, scale)| *scale).collect(),
        weights: found.into_iter().flat_map(|(levels, _)| levels).collect(),
    }
}

fn reordered(levels: &[i8], order: &[usize]) -> Vec<i8> {
    let mut weights = vec![0; levels.len()];
    order.iter().zip(levels).for_each(|(i, q)| weights[*i] = *q);
    weights
}

/// The lower triangle of a symmetric matrix whose rows and columns are in another order.
fn permuted(matrix: &[f64], order: &[usize], n: usize) -> Vec<f64> {
    let mut found = vec![0.0; n * n];
    found.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
        for (j, value) in row[..=i].iter_mut().enumerate() {
            let (a, b) = (order[i].max(order[j]), order[i].min(order[j]));
            *value = matrix[a * n + b];
        }
    });
    found
}

/// Replaces the lower triangle of a symmetric matrix by its Cholesky factor L, `L Lᵀ` being the
/// matrix. False if it is not positive definite.
fn factorize(matrix: &mut [f64], n: usize) -> bool {
    for j in 0..n {
        let (done, rest) = matrix.split_at_mut((j + 1) * n);
        let pivot_row = &mut done[j * n..];
        let rest_of_pivot = pivot_row[j] - dot(&pivot_row[..j], &pivot_row[..j]);
        if !(rest_of_pivot.is_finite() && rest_of_pivot > 0.0) {
            return false;
        }
        let pivot = rest_of_pivot.sqrt();
        pivot_row[j] = pivot;
        let pivot_row = &pivot_row[..j];
        rest.par_chunks_mut(n).with_min_len(64).for_each(|row| {
            row[j] = (row[j] - dot(&row[..j], pivot_row)) / pivot;
        });
    }
    true
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_parts.remainder().iter().zip(b_parts.remainder());
    let rest: f64 = rest.map(|(x, y)| x * y).sum();
    for (x, y) in a_parts.zip(b_parts) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// One channel with one scale, being rounded.
struct Attempt<'a> {
    weights: &'a [f32],
    scale: f32,
    levels: Vec<i8>,
    /// Of each weight that is not decided: what the errors of the others add to its row, divided by
    /// nothing yet.
    carried: Vec<f32>,
    error: f64,
}

/// The levels and the scale of each of some channels, by the factor L of their moments.
fn nearest_planes(channels: &[Vec<f32>], factor: &[f32]) -> Vec<(Vec<i8>, f32)> {
    let depth = channels.first().map_or(0, Vec::len);
    let mut attempts: Vec<Attempt<'_>> = channels
        .iter()
        .flat_map(|weights| {
            let full = scale_of(weights);
            SHARES.map(|share| Attempt {
                weights,
                scale: full * share,
                levels: vec![0; depth],
                carried: vec![0.0; depth],
                error: 0.0,
            })
        })
        .collect();
    for i in (0..depth).rev() {
        let row = &factor[i * depth..i * depth + i];
        let pivot = factor[i * depth + i];
        for attempt in &mut attempts {
            let weight = attempt.weights[i];
            let q = level(weight + attempt.carried[i] / pivot, attempt.scale);
            attempt.levels[i] = q;
            let off = weight - f32::from(q) * attempt.scale;
            attempt.error += f64::from(pivot * off + attempt.carried[i]).powi(2);
            for (carried, l) in attempt.carried[..i].iter_mut().zip(row) {
                *carried += off * l;
            }
        }
    }
    attempts
        .chunks_mut(SHARES.len())
        .filter_map(|attempts| {
            let best = attempts
                .iter_mut()
                .min_by(|a, b| a.error.total_cmp(&b.error))?;
            Some((std::mem::take(&mut best.levels), best.scale))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Kind;
    use proptest::prelude::*;

    fn dense(weights: Vec<f32>, depth: usize) -> Layer {
        let channels = weights.len() / depth;
        Layer {
            name: "l".into(),
            kind: Kind::Dense,
            input: "x".into(),
            sum: "y".into(),
            output: "y".into(),
            channels,
            depth,
            weights,
            bias: vec![0.5; channels],
            is_last: false,
            dims: vec![channels, depth],
            node: 0,
        }
    }

    /// Numbers of -1..1, always the same.
    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// The mean squared error of the outputs for inputs `[n, depth]`.
    fn error(layer: &Layer, found: &Rounded, inputs: &[f32]) -> f64 {
        let back = found.weights();
        let mut sum = 0.0;
        for x in inputs.chunks(layer.depth) {
            for channel in 0..layer.channels {
                let range = channel * layer.depth..(channel + 1) * layer.depth;
                let product = |w: &[f32]| -> f32 { w.iter().zip(x).map(|(w, x)| w * x).sum() };
                let expected = product(&layer.weights[range.clone()]) + layer.bias[channel];
                let found = product(&back[range]) + found.bias[channel];
                sum += f64::from(expected - found).powi(2);
            }
        }
        sum / (inputs.len() / layer.depth * layer.channels) as f64
    }

    #[test]
    fn rounding_by_the_inputs_loses_less() {
        let depth = 40;
        let layer = dense(numbers(6 * depth, 1), depth);
        // Inputs that hang together, as neighboring pixels do.
        let noise = numbers(400 * depth, 2);
        let inputs: Vec<f32> = noise
            .chunks(depth)
            .flat_map(|row| {
                let mut last = 0.0;
                row.iter()
                    .map(|v| {
                        last = 0.9 * last + 0.3 * v;
                        last + 0.5
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut moments = Moments::new(&layer).unwrap();
        moments.add(&layer, &[400, depth], &inputs, 1);
        let (plain, by_inputs) = (nearest(&layer), rounded(&layer, &moments, 0.0));
        let (plain, by_inputs) = (
            error(&layer, &plain, &inputs),
            error(&layer, &by_inputs, &inputs),
        );
        assert!(by_inputs < plain / 3.0, "{by_inputs} {plain}");
    }

    #[test]
    fn channels_of_zeros_stay_zero() {
        let layer = dense(vec![0.0; 8], 4);
        let mut moments = Moments::new(&layer).unwrap();
        moments.add(&layer, &[2, 4], &numbers(8, 3), 1);
        for found in [nearest(&layer), rounded(&layer, &moments, 0.0)] {
            assert_eq!(found.weights, [0; 8]);
            assert_eq!(found.scales, [1.0; 2]);
            assert_eq!(found.bias, [0.5; 2]);
        }
    }

    #[test]
    fn inputs_that_were_never_seen_leave_the_nearest() {
        let layer = dense(numbers(12, 4), 6);
        let moments = Moments::new(&layer).unwrap();
        assert_eq!(rounded(&layer, &moments, 0.0), nearest(&layer));
        let mut zeros = moments;
        zeros.add(&layer, &[3, 6], &[0.0; 18], 1);
        assert_eq!(rounded(&layer, &zeros, 0.0), nearest(&layer));
    }

    proptest! {
        #[test]
        fn levels_and_scales_are_in_their_ranges(
            channels in 1usize..5, depth in 1usize..20, n in 1usize..30, seed in 1u64..500,
            size in prop::sample::select(vec![1e-30f32, 1e-6, 1.0, 1e6]),
        ) {
            let weights = numbers(channels * depth, seed).iter().map(|w| w * size).collect();
            let layer = dense(weights, depth);
            let mut moments = Moments::new(&layer).unwrap();
            moments.add(&layer, &[n, depth], &numbers(n * depth, seed + 1), 1);
            for found in [nearest(&layer), rounded(&layer, &moments, 1e-4)] {
                prop_assert!(found.weights.iter().all(|q| (-LEVELS..=LEVELS).contains(q)));
                prop_assert!(found.scales.iter().all(|s| s.is_finite() && *s > 0.0));
                prop_assert_eq!(found.weights.len(), channels * depth);
                prop_assert!(found.bias.iter().all(|b| b.is_finite()));
            }
        }

        #[test]
        fn a_factor_times_itself_is_the_matrix(n in 1usize..12, seed in 1u64..200) {
            let a = numbers(n * n, seed);
            let product = |i: usize, j: usize| -> f64 {
                let sum: f64 = (0..n).map(|k| f64::from(a[i * n + k] * a[j * n + k])).sum();
                sum + if i == j { 0.1 } else { 0.0 }
            };
            let mut matrix: Vec<f64> =
                (0..n * n).map(|p| product(p / n, p % n)).collect();
            prop_assert!(factorize(&mut matrix, n));
            for i in 0..n {
                for j in 0..=i {
                    let sum: f64 = (0..=j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
                    prop_assert!((sum - product(i, j)).abs() < 1e-9);
                }
            }
        }
    }
}
