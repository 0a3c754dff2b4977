//! Batch normalization of one pixel, forward and backward: loops over its channels with one known
//! length, which the compiler vectorizes.

use super::Affine;
use crate::elementwise::above_zero;

/// The same slice of each of `N`, all `count` long, so that no index has to be checked.
#[inline(always)]
fn of<const N: usize>(count: usize, slices: [&[f32]; N]) -> [&[f32]; N] {
    slices.map(|s| &s[..count])
}

/// Adds the differences from `first`, and their squares.
#[inline(always)]
pub fn add_moments(x: &[f32], first: &[f32], sum: &mut [f32], squares: &mut [f32]) {
    let count = x.len();
    let [first] = of(count, [first]);
    let (sum, squares) = (&mut sum[..count], &mut squares[..count]);
    for c in 0..count {
        let x = x[c] - first[c];
        sum[c] += x;
        squares[c] += x * x;
    }
}

/// The sum of `x · scale`, plus `shift`, then ReLU.
#[inline(always)]
pub fn normalize<const N: usize, const RELU: bool>(
    x: [&[f32]; N],
    scale: [&[f32]; N],
    shift: &[f32],
    output: &mut [f32],
) {
    let count = output.len();
    let (x, scale, [shift]) = (of(count, x), of(count, scale), of(count, [shift]));
    for c in 0..count {
        let value = sum(x, scale, c) + shift[c];
        output[c] = if RELU { above_zero(value) } else { value };
    }
}

/// The sum of `x · scale` in channel `c`.
#[inline(always)]
fn sum<const N: usize>(x: [&[f32]; N], scale: [&[f32]; N], c: usize) -> f32 {
    let mut sum = x[0][c] * scale[0][c];
    for i in 1..N {
        sum += x[i][c] * scale[i][c];
    }
    sum
}

/// The largest of four normalized pixels, each the sum of `N`, and its index (the first, if equal).
#[inline(always)]
pub fn pool<const N: usize>(
    four: [[&[f32]; N]; 4],
    scale: [&[f32]; N],
    shift: &[f32],
    output: &mut [f32],
    largest: &mut [u8],
) {
    let count = output.len();
    let (scale, [shift]) = (of(count, scale), of(count, [shift]));
    let four = four.map(|x| of(count, x));
    let largest = &mut largest[..count];
    for c in 0..count {
        let value = |i: usize| sum(four[i], scale, c) + shift[c];
        let (mut best, mut at) = (value(0), 0u8);
        for i in 1..4 {
            let value = value(i);
            // NaN counts as the largest.
            let more = value > best || value.is_nan();
            best = if more { value } else { best };
            at = if more { i as u8 } else { at };
        }
        output[c] = best;
        largest[c] = at;
    }
}

/// Adds the gradient, and the gradient times the input's difference from its mean. Both are zero
/// where a ReLU (if there is one) was inactive.
#[inline(always)]
pub fn add_gradient<const RELU: bool>(
    x: &[f32],
    gradient: &[f32],
    affine: &Affine,
    mean: &[f32],
    sum: &mut [f32],
    centered: &mut [f32],
) {
    let count = x.len();
    let [gradient, mean, scale, shift] = of(count, [gradient, mean, &affine.scale, &affine.shift]);
    let (sum, centered) = (&mut sum[..count], &mut centered[..count]);
    for c in 0..count {
        let on = !RELU || x[c] * scale[c] + shift[c] > 0.0;
        let g = if on { gradient[c] } else { 0.0 };
        sum[c] += g;
        centered[c] += g * (x[c] - mean[c]);
    }
}

/// The same for max pooling over four pixels.
#[inline(always)]
pub fn add_pooled_gradient(
    four: [&[f32]; 4],
    largest: &[u8],
    gradient: &[f32],
    mean: &[f32],
    sum: &mut [f32],
    centered: &mut [f32],
) {
    let count = gradient.len();
    let [mean] = of(count, [mean]);
    let four = of(count, four);
    let (largest, sum, centered) = (&largest[..count], &mut sum[..count], &mut centered[..count]);
    for c in 0..count {
        // Selections instead of a branch on the pixel's index: they work on many channels at once.
        let q = largest[c];
        let upper = if q == 0 { four[0][c] } else { four[1][c] };
        let lower = if q == 2 { four[2][c] } else { four[3][c] };
        let x = if q < 2 { upper } else { lower };
        sum[c] += gradient[c];
        centered[c] += gradient[c] * (x - mean[c]);
    }
}

/// The input's gradient is the output's gradient times `scale`, plus `x · slope + level`.
pub struct Slopes {
    /// For each channel.
    pub slope: Vec<f32>,
    /// For each channel.
    pub level: Vec<f32>,
}

/// The gradient of the input, with a ReLU (if there is one).
#[inline(always)]
pub fn input_gradient<const RELU: bool>(
    x: &[f32],
    gradient: &[f32],
    affine: &Affine,
    slopes: &Slopes,
    output: &mut [f32],
) {
    let count = output.len();
    let [x, gradient, scale, shift] = of(count, [x, gradient, &affine.scale, &affine.shift]);
    let [slope, level] = of(count, [&slopes.slope, &slopes.level]);
    for c in 0..count {
        let on = !RELU || x[c] * scale[c] + shift[c] > 0.0;
        let g = if on { gradient[c] } else { 0.0 };
        output[c] = g * scale[c] + (x[c] * slope[c] + level[c]);
    }
}

/// The gradient of the input pixel with the number `place` of the four.
#[inline(always)]
pub fn pooled_input_gradient(
    x: &[f32],
    gradient: &[f32],
    (largest, place): (&[u8], u8),
    affine: &Affine,
    slopes: &Slopes,
    output: &mut [f32],
) {
    let count = output.len();
    let [x, gradient, scale] = of(count, [x, gradient, &affine.scale]);
    let [slope, level] = of(count, [&slopes.slope, &slopes.level]);
    let largest = &largest[..count];
    for c in 0..count {
        let g = if largest[c] == place {
            gradient[c]
        } else {
            0.0
        };
        output[c] = g * scale[c] + (x[c] * slope[c] + level[c]);
    }
}

/// The gradient of the pixel with the number `place` of the four.
#[inline(always)]
pub fn unpool(gradient: &[f32], (largest, place): (&[u8], u8), output: &mut [f32]) {
    let count = output.len();
    let ([gradient], largest) = (of(count, [gradient]), &largest[..count]);
    for c in 0..count {
        output[c] = if largest[c] == place {
            gradient[c]
        } else {
            0.0
        };
    }
}

/// The gradient of an input pixel without a pooled output.
#[inline(always)]
pub fn left_out_gradient(x: &[f32], slopes: &Slopes, output: &mut [f32]) {
    let count = output.len();
    let [x, slope, level] = of(count, [x, &slopes.slope, &slopes.level]);
    for c in 0..count {
        output[c] = x[c] * slope[c] + level[c];
    }
}
