//! Convolution with kernels of one pixel, forward: a matrix product for each pixel, without the
//! packing of [`conv`](super::conv), which costs more than it saves for few channels.
//!
//! Images are `[height, width, channels]`, one after another. Kernels are `[inputs, outputs]`, the
//! outputs padded with zeros to a multiple of [`LANES`].

use pulp::{Simd, WithSimd};

use super::elementwise::above_zero;
use super::simd::{Shared, buffer, dispatch};
use super::team::{on_pool, parallel};

/// Outputs that are computed together: a vector of AVX-512, two of AVX2.
pub const LANES: usize = 16;

/// Pixels of one task.
const BLOCK: usize = 768;

/// The most input and output channels for which this is used: the kernels fit into the L1 cache.
pub const MOST: usize = 96;

/// The output for all pixels, plus the bias of each output, after ReLU if requested. `input` has
/// `inputs` channels, the output `outputs`; `kernel` is what [`prepare`] returned.
pub fn forward(
    input: &[f32],
    kernel: &[f32],
    [inputs, outputs]: [usize; 2],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let padded = outputs.next_multiple_of(LANES);
    let pixels = input.len() / inputs.max(1);
    assert_eq!(input.len(), pixels * inputs);
    assert!(inputs > 0 && outputs > 0 && kernel.len() == inputs * padded);
    let mut start = vec![0.0; padded];
    if let Some(bias) = bias {
        start[..outputs].copy_from_slice(bias);
    }
    // SAFETY: the blocks, each of them one task's, make up all of the buffer.
    unsafe {
        buffer(pixels * outputs, |target| {
            on_pool(|| {
                parallel(pixels.div_ceil(BLOCK), |block| {
                    let (first, end) = (block * BLOCK, pixels.min((block + 1) * BLOCK));
                    let output = target.section(first * outputs, (end - first) * outputs);
                    let input = &input[first * inputs..end * inputs];
                    dispatch(Block {
                        input,
                        kernel,
                        channels: [inputs, outputs],
                        start: &start,
                        relu,
                        output,
                        pixels: end - first,
                    });
                });
            });
        })
    }
}

/// Some pixels, one after another.
struct Block<'a> {
    input: &'a [f32],
    kernel: &'a [f32],
    channels: [usize; 2],
    /// The bias, padded.
    start: &'a [f32],
    relu: bool,
    /// The pixels' part of the output, which no other task writes.
    output: Shared,
    pixels: usize,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as there are registers for, besides a row of the kernels and a pixel.
        match S::F32_LANES {
            16 => self.run::<S, 1, 12>(simd),
            8 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 4>(simd),
            _ => self.run::<S, 16, 1>(simd),
        }
    }
}

impl Block<'_> {
    /// `P` pixels at a time; `V` vectors hold [`LANES`] values.
    #[inline(always)]
    fn run<S: Simd, const V: usize, const P: usize>(self, simd: S) {
        let (outputs, pixels) = (self.channels[1], self.pixels);
        for lanes in (0..outputs).step_by(LANES) {
            let whole = pixels / P * P;
            for pixel in (0..whole).step_by(P) {
                self.several::<S, V, P>(simd, lanes, pixel);
            }
            for pixel in whole..pixels {
                self.several::<S, V, 1>(simd, lanes, pixel);
            }
        }
    }

    /// [`LANES`] outputs of `P` pixels.
    #[inline(always)]
    fn several<S: Simd, const V: usize, const P: usize>(
        &self,
        simd: S,
        lanes: usize,
        pixel: usize,
    ) {
        let [inputs, outputs] = self.channels;
        let padded = self.start.len();
        let vectors = |values: &[f32]| -> [S::f32s; V] {
            let (vectors, _) = S::as_simd_f32s(&values[lanes..lanes + LANES]);
            std::array::from_fn(|v| vectors[v])
        };
        let mut sums = [vectors(self.start); P];
        let input = &self.input[pixel * inputs..(pixel + P) * inputs];
        for (i, row) in self.kernel.chunks_exact(padded).enumerate() {
            let weights = vectors(row);
            for (p, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the kernels have `inputs` rows, so that `i` is below `inputs`.
                let value = simd.splat_f32s(unsafe { *input.get_unchecked(p * inputs + i) });
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = simd.mul_add_f32s(value, weight, *sum);
                }
            }
        }
        let len = LANES.min(outputs - lanes);
        for (p, sum) in sums.iter().enumerate() {
            let mut values = [0.0; LANES];
            let (vectors, _) = S::as_mut_simd_f32s(&mut values);
            vectors.copy_from_slice(sum);
            if self.relu {
                values.iter_mut().for_each(|y| *y = above_zero(*y));
            }
            let output = self.output.at((pixel + p) * outputs + lanes);
            // SAFETY: the pixel and these of its outputs are within the part that this task alone
            // writes, and whose old contents it does not read.
            unsafe {
                match len {
                    // A known length is copied without a call.
                    LANES => output.copy_from_nonoverlapping(values.as_ptr(), LANES),
                    _ => output.copy_from_nonoverlapping(values.as_ptr(), len),
                }
            }
        }
    }
}

/// Kernels `[outputs, inputs]` in the order that [`forward`] takes, multiplied by `scale` for each
/// output.
pub fn prepare(kernel: &[f32], [inputs, outputs]: [usize; 2], scale: Option<&[f32]>) -> Vec<f32> {
    let padded = outputs.next_multiple_of(LANES);
    let mut prepared = vec![0.0; inputs * padded];
    for (row, values) in prepared.chunks_exact_mut(padded).enumerate() {
        for (output, value) in values.iter_mut().enumerate().take(outputs) {
            *value = kernel[output * inputs + row] * scale.map_or(1.0, |scale| scale[output]);
        }
    }
    prepared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_equals_the_definition() {
        let value = |i: usize| ((i * 7919 + 13) % 101) as f32 / 101.0 - 0.5;
        let mut wrong = Vec::new();
        for (pixels, inputs, outputs) in [
            (1, 1, 1),
            (13, 3, 16),
            (800, 16, 10),
            (1600, 64, 64),
            (7, 5, 35),
        ] {
            let x: Vec<f32> = (0..pixels * inputs).map(value).collect();
            let w: Vec<f32> = (0..inputs * outputs).map(|i| value(i + 3)).collect();
            let bias: Vec<f32> = (0..outputs).map(|i| value(i + 50)).collect();
            let scale: Vec<f32> = (0..outputs).map(|i| value(i + 9)).collect();
            let prepared = prepare(&w, [inputs, outputs], Some(&scale));
            for relu in [false, true] {
                let found = forward(&x, &prepared, [inputs, outputs], Some(&bias), relu);
                let expected = (0..pixels * outputs).map(|i| {
                    let (p, o) = (i / outputs, i % outputs);
                    let sum: f32 = (0..inputs)
                        .map(|c| x[p * inputs + c] * w[o * inputs + c])
                        .sum();
                    let y = sum * scale[o] + bias[o];
                    if relu { y.max(0.0) } else { y }
                });
                let near = found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-4);
                if found.len() != pixels * outputs || !near {
                    wrong.push(format!("{pixels} {inputs} {outputs} {relu}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
