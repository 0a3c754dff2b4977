//! Depthwise convolution, forward: each channel has a kernel of its own.
//!
//! Images are `[height, width, channels]`, one after another. Kernels are `[height, width,
//! channels]`, so that the channels of a pixel and of a tap lie side by side and are computed
//! together.

use pulp::{Simd, WithSimd};

use super::elementwise::above_zero;
use super::simd::{Shared, buffer, dispatch};
use super::team::{on_pool, parallel};

/// Channels that are computed together: a vector of AVX-512, two of AVX2.
const LANES: usize = 16;

/// Neighboring outputs that are computed together, so that a tap's kernel is read once for them.
const OUTPUTS: usize = 4;

/// The shape of a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// Images.
    pub batch: usize,
    /// Height and width.
    pub input: [usize; 2],
    /// Input and output channels.
    pub channels: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Zeros above, left, below and right.
    pub padding: [usize; 4],
}

impl Depthwise {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        let [top, left, bottom, right] = self.padding;
        let padded = [self.input[0] + top + bottom, self.input[1] + left + right];
        std::array::from_fn(|i| (padded[i].saturating_sub(self.kernel[i])) / self.stride[i] + 1)
    }

    /// The output of all images, plus the bias of each channel, after ReLU if requested.
    pub fn forward(
        &self,
        input: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Vec<f32> {
        let [rows, columns] = self.output();
        let image = self.input[0] * self.input[1] * self.channels;
        let line = columns * self.channels;
        assert_eq!(input.len(), self.batch * image);
        assert_eq!(
            kernel.len(),
            self.kernel[0] * self.kernel[1] * self.channels
        );
        assert!(bias.is_none_or(|bias| bias.len() == self.channels));
        // SAFETY: the rows, each of them one task's, make up all of the buffer.
        unsafe {
            buffer(self.batch * rows * line, |target| {
                on_pool(|| {
                    parallel(self.batch * rows, |row| {
                        let output = target.section(row * line, line);
                        let image = &input[row / rows * image..][..image];
                        self.row(row % rows, image, kernel, bias, relu, output);
                    });
                });
            })
        }
    }

    /// One row of the output of one image.
    fn row(
        &self,
        row: usize,
        image: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
        output: Shared,
    ) {
        let line = self.input[1] * self.channels;
        let first = row * self.stride[0];
        // The rows of the kernel that lie on the image.
        let taps: Vec<(&[f32], &[f32])> = (0..self.kernel[0])
            .filter_map(|k| {
                let y = (first + k).checked_sub(self.padding[0])?;
                let source = image.get(y * line..(y + 1) * line)?;
                let width = self.kernel[1] * self.channels;
                Some((source, &kernel[k * width..][..width]))
            })
            .collect();
        dispatch(Row {
            shape: self,
            taps: &taps,
            bias,
            relu,
            output,
        });
    }
}

/// One row of the output.
struct Row<'a> {
    shape: &'a Depthwise,
    /// The rows of the image, and of the kernel that lie on them.
    taps: &'a [(&'a [f32], &'a [f32])],
    bias: Option<&'a [f32]>,
    relu: bool,
    /// The row, which no other task writes.
    output: Shared,
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let blocks = self.shape.channels / LANES * LANES;
        for channel in (0..blocks).step_by(LANES) {
            match S::F32_LANES {
                16 => self.block::<S, 1>(simd, channel),
                8 => self.block::<S, 2>(simd, channel),
                4 => self.block::<S, 4>(simd, channel),
                _ => self.block::<S, 16>(simd, channel),
            }
        }
        for channel in blocks..self.shape.channels {
            let columns = self.shape.output()[1];
            for column in 0..columns {
                self.edge::<1>(channel, column);
            }
        }
    }
}

impl Row<'_> {
    /// [`LANES`] channels, which are `V` vectors.
    #[inline(always)]
    fn block<S: Simd, const V: usize>(&self, simd: S, channel: usize) {
        let shape = self.shape;
        let channels = shape.channels;
        let columns = shape.output()[1];
        let (stride, left) = (shape.stride[1], shape.padding[1]);
        // Outputs whose kernel lies on the image: from `inner`, before `end`.
        let inner = left.div_ceil(stride).min(columns);
        let end = (shape.input[1] + left).saturating_sub(shape.kernel[1] - 1);
        let end = end.div_ceil(stride).clamp(inner, columns);
        let whole = inner + (end - inner) / OUTPUTS * OUTPUTS;
        let vectors = |values: &[f32], at: usize| -> [S::f32s; V] {
            let (vectors, _) = S::as_simd_f32s(&values[at..at + LANES]);
            std::array::from_fn(|v| vectors[v])
        };
        let start = match self.bias {
            Some(bias) => vectors(bias, channel),
            None => [simd.splat_f32s(0.0); V],
        };
        for column in (inner..whole).step_by(OUTPUTS) {
            let mut sums = [start; OUTPUTS];
            for (source, kernel) in self.taps {
                for k in 0..shape.kernel[1] {
                    let weights = vectors(kernel, k * channels + channel);
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let x = (column + i) * stride + k - left;
                        let values = vectors(source, x * channels + channel);
                        for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
                            *sum = simd.mul_add_f32s(value, weight, *sum);
                        }
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let mut values = [0.0; LANES];
                let (vectors, _) = S::as_mut_simd_f32s(&mut values);
                vectors.copy_from_slice(sums);
                self.write(values, channel, column + i);
            }
        }
        for column in (0..inner).chain(whole..columns) {
            self.edge::<LANES>(channel, column);
        }
    }

    /// `L` channels of one output, whose kernel may lie beyond the image.
    #[inline(always)]
    fn edge<const L: usize>(&self, channel: usize, column: usize) {
        let shape = self.shape;
        let mut sums = [0.0; L];
        if let Some(bias) = self.bias {
            sums.copy_from_slice(&bias[channel..channel + L]);
        }
        for (source, kernel) in self.taps {
            for k in 0..shape.kernel[1] {
                let x = (column * shape.stride[1] + k).checked_sub(shape.padding[1]);
                let Some(x) = x.filter(|x| *x < shape.input[1]) else {
                    continue;
                };
                let values = &source[x * shape.channels + channel..][..L];
                let weights = &kernel[k * shape.channels + channel..][..L];
                for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
                    *sum += value * weight;
                }
            }
        }
        self.write(sums, channel, column);
    }

    /// Writes `L` channels of one output.
    #[inline(always)]
    fn write<const L: usize>(&self, mut values: [f32; L], channel: usize, column: usize) {
        if self.relu {
            values.iter_mut().for_each(|y| *y = above_zero(*y));
        }
        let output = self.output.at(column * self.shape.channels + channel);
        // SAFETY: the output is within the row that this task alone writes, and whose old contents
        // it does not read.
        unsafe { output.copy_from_nonoverlapping(values.as_ptr(), L) };
    }
}

/// Kernels `[channels, 1, height, width]` in the order `[height, width, channels]`, multiplied by
/// `scale` for each channel.
pub fn prepare(kernel: &[f32], channels: usize, scale: Option<&[f32]>) -> Vec<f32> {
    let taps = kernel.len() / channels.max(1);
    let value = |i: usize| {
        let (tap, channel) = (i / channels, i % channels);
        kernel[channel * taps + tap] * scale.map_or(1.0, |scale| scale[channel])
    };
    (0..taps * channels).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn plain(shape: &Depthwise, input: &[f32], kernel: &[f32], bias: &[f32]) -> Vec<f32> {
        let [rows, columns] = shape.output();
        let c = shape.channels;
        let mut output = Vec::new();
        for n in 0..shape.batch {
            for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                for (channel, bias) in bias.iter().enumerate() {
                    let mut sum = f64::from(*bias);
                    for (i, j) in
                        (0..shape.kernel[0]).flat_map(|i| (0..shape.kernel[1]).map(move |j| (i, j)))
                    {
                        let y = (row * shape.stride[0] + i) as isize - shape.padding[0] as isize;
                        let x = (column * shape.stride[1] + j) as isize - shape.padding[1] as isize;
                        let [h, w] = shape.input.map(|v| v as isize);
                        if (0..h).contains(&y) && (0..w).contains(&x) {
                            let at = ((n as isize * h + y) * w + x) as usize * c + channel;
                            let tap = (i * shape.kernel[1] + j) * c + channel;
                            sum += f64::from(input[at]) * f64::from(kernel[tap]);
                        }
                    }
                    output.push(sum as f32);
                }
            }
        }
        output
    }

    #[test]
    fn every_shape_equals_the_definition() {
        let mut state = 1u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut wrong = Vec::new();
        for (batch, input, channels) in [
            (1, [7, 9], 16),
            (2, [5, 4], 35),
            (1, [1, 1], 10),
            (1, [3, 17], 4),
        ] {
            for (kernel, stride, padding) in [
                ([3, 3], [1, 1], [1, 1, 1, 1]),
                ([3, 3], [2, 2], [0, 0, 1, 1]),
                ([1, 1], [1, 1], [0; 4]),
                ([5, 3], [1, 2], [2, 3, 2, 0]),
            ] {
                let shape = Depthwise {
                    batch,
                    input,
                    channels,
                    kernel,
                    stride,
                    padding,
                };
                let values = |random: &mut dyn FnMut() -> f32, len| {
                    (0..len).map(|_| random()).collect::<Vec<f32>>()
                };
                let x = values(&mut random, batch * input[0] * input[1] * channels);
                let w = values(&mut random, kernel[0] * kernel[1] * channels);
                let b = values(&mut random, channels);
                let expected = plain(&shape, &x, &w, &b);
                for relu in [false, true] {
                    let found = shape.forward(&x, &w, Some(&b), relu);
                    let cut = |v: f32| if relu { v.max(0.0) } else { v };
                    let near = found
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| (a - cut(*b)).abs() < 1e-5);
                    if found.len() != expected.len() || !near {
                        wrong.push(format!("{shape:?} {relu}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(
            prepare(&[1.0, 2.0, 3.0, 4.0], 2, Some(&[1.0, 10.0])),
            [1.0, 30.0, 2.0, 40.0]
        );
    }
}
