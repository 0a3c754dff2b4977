//! Batch normalization (Ioffe & Szegedy 2015), with the ReLU or 2 × 2 max pooling after it in the
//! same pass.
//!
//! Images are `[height, width, channels]`, one after another. The statistics are those of the
//! batch. Sums are taken in blocks of a fixed size in `f32`, and over the blocks in `f64`, so they
//! do not depend on the number of threads.

mod pixel;

use std::ops::Range;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use self::pixel::Slopes;
use super::simd::{Shared, buffer, inlined, vectorized};
use super::team::{on_pool, parallel};

/// The number of pixels that one task sums.
const BLOCK: usize = 512;

/// The number of pixels that are summed in `f32`.
const RUN: usize = 32;

/// The operation after the normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// 2 × 2 max pooling; an odd last row or column is left out.
    MaxPool,
}

/// A batch normalization.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Images.
    pub batch: usize,
    /// Height and width.
    pub side: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// The operation after it.
    pub then: Epilogue,
}

/// Mean and variance of each channel. The variance is biased (divided by the number of pixels).
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Variances.
    pub variance: Vec<f32>,
}

/// A factor and a term for each channel.
#[derive(Clone, Debug)]
pub struct Affine {
    /// The factors.
    pub scale: Vec<f32>,
    /// The terms.
    pub shift: Vec<f32>,
}

/// The output, and what the backward pass needs.
pub struct Normed {
    /// `[batch, height, width, channels]`; halved by [`Epilogue::MaxPool`].
    pub output: Vec<f32>,
    /// With [`Epilogue::MaxPool`], which of the four pixels was the largest.
    pub largest: Vec<u8>,
}

/// The result of [`Norm::backward`].
pub struct Gradients {
    /// The gradient of the input.
    pub input: Vec<f32>,
    /// The gradient of γ.
    pub gamma: Vec<f32>,
    /// The gradient of β.
    pub beta: Vec<f32>,
}

impl Affine {
    /// `γ (x − mean) / √(variance + ε) + β`.
    pub fn new(statistics: &Statistics, gamma: &[f32], beta: &[f32], epsilon: f64) -> Self {
        let Statistics { mean, variance } = statistics;
        let scale: Vec<f32> = gamma
            .iter()
            .zip(variance)
            .map(|(g, v)| g * inverse_deviation(*v, epsilon))
            .collect();
        let shift = beta
            .iter()
            .zip(&scale)
            .zip(mean)
            .map(|((b, s), m)| b - s * m)
            .collect();
        Self { scale, shift }
    }
}

fn inverse_deviation(variance: f32, epsilon: f64) -> f32 {
    (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32
}

impl Norm {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        if self.then == Epilogue::MaxPool {
            self.side.map(|s| s / 2)
        } else {
            self.side
        }
    }

    fn pixels(&self) -> usize {
        self.batch * self.side[0] * self.side[1]
    }

    fn output_len(&self) -> usize {
        self.output_dims().iter().product()
    }

    /// Batch, height, width and channels of the output.
    pub fn output_dims(&self) -> [usize; 4] {
        let [height, width] = self.output();
        [self.batch, height, width, self.channels]
    }

    /// Mean and variance of each channel.
    pub fn statistics(&self, input: &[f32]) -> Statistics {
        let channels = self.channels;
        assert_eq!(input.len(), self.pixels() * channels);
        // Sums are taken of the differences from the first pixel: with a large mean, the variance
        // would lose digits.
        let first = &input[..channels.min(input.len())];
        let add = |pixels: Range<usize>, [sum, squares]: [&mut [f32]; 2]| {
            for x in input[pixels.start * channels..pixels.end * channels].chunks_exact(channels) {
                pixel::add_moments(x, first, sum, squares);
            }
        };
        let [sum, squares] = sums(self.pixels(), channels, add);
        let count = self.pixels() as f64;
        let mean = sum
            .iter()
            .zip(first)
            .map(|(s, first)| (s / count + f64::from(*first)) as f32)
            .collect();
        let variance = sum
            .iter()
            .zip(&squares)
            .map(|(s, q)| (q / count - (s / count).powi(2)).max(0.0) as f32)
            .collect();
        Statistics { mean, variance }
    }

    /// Applies `affine` to the input, then the epilogue.
    pub fn forward(&self, input: &[f32], affine: &Affine) -> Normed {
        self.forward_sum([input], [affine])
    }

    /// The sum of several inputs, each with its `affine` applied, then the epilogue.
    pub fn forward_sum<const N: usize>(
        &self,
        inputs: [&[f32]; N],
        affines: [&Affine; N],
    ) -> Normed {
        assert!(
            inputs
                .iter()
                .all(|input| input.len() == self.pixels() * self.channels)
        );
        let scales = affines.map(|affine| &affine.scale[..]);
        let mut shift = affines[0].shift.clone();
        for affine in &affines[1..] {
            shift
                .iter_mut()
                .zip(&affine.shift)
                .for_each(|(sum, shift)| *sum += shift);
        }
        let output = match self.then {
            Epilogue::Nothing => self.normalized::<N, false>(inputs, scales, &shift),
            Epilogue::Relu => self.normalized::<N, true>(inputs, scales, &shift),
            Epilogue::MaxPool => return self.forward_pooled(inputs, scales, &shift),
        };
        Normed {
            output,
            largest: Vec::new(),
        }
    }

    fn normalized<const N: usize, const RELU: bool>(
        &self,
        inputs: [&[f32]; N],
        scales: [&[f32]; N],
        shift: &[f32],
    ) -> Vec<f32> {
        self.made_of_pixels(inlined!(|at: Range<usize>, output: &mut [f32]| {
            pixel::normalize::<N, RELU>(
                inputs.map(|input| &input[at.clone()]),
                scales,
                shift,
                output,
            );
        }))
    }

    fn forward_pooled<const N: usize>(
        &self,
        inputs: [&[f32]; N],
        scales: [&[f32]; N],
        shift: &[f32],
    ) -> Normed {
        let channels = self.channels;
        let [height, width] = self.output();
        let row = width * channels;
        let mut largest = vec![0u8; self.output_len()];
        let rows: Vec<_> = largest.chunks_mut(row.max(1)).collect();
        let fill = |output: Shared| {
            rows.into_par_iter()
                .enumerate()
                .for_each(|(number, largest)| {
                    // SAFETY: each row of the output is one task's.
                    let output = unsafe { output.fresh(number * row, row) };
                    vectorized!({
                        for x in 0..width {
                            let at = x * channels..(x + 1) * channels;
                            let four = self.four(inputs, number / height, [number % height, x]);
                            pixel::pool(
                                four,
                                scales,
                                shift,
                                &mut output[at.clone()],
                                &mut largest[at],
                            );
                        }
                    });
                });
        };
        // SAFETY: there is a row of `largest` for each of the output.
        let output = unsafe { buffer(self.output_len(), |output| on_pool(|| fill(output))) };
        Normed { output, largest }
    }

    /// The gradients of a function of the output, where `gradient` is its gradient with respect to
    /// the output. They include the paths through the statistics.
    #[allow(
        clippy::too_many_arguments,
        reason = "all that the forward pass had, and what it left"
    )]
    pub fn backward(
        &self,
        input: &[f32],
        gamma: &[f32],
        statistics: &Statistics,
        affine: &Affine,
        epsilon: f64,
        largest: &[u8],
        gradient: &[f32],
    ) -> Gradients {
        let (channels, mean) = (self.channels, &statistics.mean);
        assert_eq!(input.len(), self.pixels() * channels);
        assert_eq!(gradient.len(), self.output_len());
        // Σ g and Σ g (x − mean), over the pixels that the output came from.
        let [plain, centered] = match self.then {
            Epilogue::Nothing => self.gradient_sums::<false>(input, gradient, affine, mean),
            Epilogue::Relu => self.gradient_sums::<true>(input, gradient, affine, mean),
            Epilogue::MaxPool => self.pooled_gradient_sums(input, gradient, largest, mean),
        };
        let count = self.pixels() as f64;
        let beta = plain.iter().map(|s| *s as f32).collect();
        let mut by_gamma = Vec::with_capacity(channels);
        // dx = scale · (g − Σg / n − x̂ · Σ(g x̂) / n) = scale · g + slope · x + level
        let mut slopes = Slopes {
            slope: Vec::with_capacity(channels),
            level: Vec::with_capacity(channels),
        };
        for c in 0..channels {
            let inverse = 1.0 / (f64::from(statistics.variance[c]) + epsilon).sqrt();
            let of_gamma = centered[c] * inverse;
            let scale = f64::from(gamma[c]) * inverse;
            let slope = -scale * inverse * of_gamma / count;
            by_gamma.push(of_gamma as f32);
            slopes.slope.push(slope as f32);
            slopes
                .level
                .push((-scale * plain[c] / count - slope * f64::from(mean[c])) as f32);
        }
        let input = match self.then {
            Epilogue::Nothing => self.input_gradient::<false>(input, gradient, affine, &slopes),
            Epilogue::Relu => self.input_gradient::<true>(input, gradient, affine, &slopes),
            Epilogue::MaxPool => {
                self.pooled_input_gradient(input, gradient, largest, affine, &slopes)
            }
        };
        Gradients {
            input,
            gamma: by_gamma,
            beta,
        }
    }

    fn gradient_sums<const RELU: bool>(
        &self,
        input: &[f32],
        gradient: &[f32],
        affine: &Affine,
        mean: &[f32],
    ) -> [Vec<f64>; 2] {
        let channels = self.channels;
        let add = |pixels: Range<usize>, [plain, centered]: [&mut [f32]; 2]| {
            let range = pixels.start * channels..pixels.end * channels;
            let pixels = input[range.clone()].chunks_exact(channels);
            for (x, g) in pixels.zip(gradient[range].chunks_exact(channels)) {
                pixel::add_gradient::<RELU>(x, g, affine, mean, plain, centered);
            }
        };
        sums(self.pixels(), channels, add)
    }

    fn pooled_gradient_sums(
        &self,
        input: &[f32],
        gradient: &[f32],
        largest: &[u8],
        mean: &[f32],
    ) -> [Vec<f64>; 2] {
        let channels = self.channels;
        let [height, width] = self.output();
        let add = |pixels: Range<usize>, [plain, centered]: [&mut [f32]; 2]| {
            for number in pixels {
                let four = self.four(
                    [input],
                    number / (height * width),
                    [number / width % height, number % width],
                );
                let at = number * channels..(number + 1) * channels;
                pixel::add_pooled_gradient(
                    four.map(|[x]| x),
                    &largest[at.clone()],
                    &gradient[at],
                    mean,
                    plain,
                    centered,
                );
            }
        };
        sums(self.batch * height * width, channels, add)
    }

    fn input_gradient<const RELU: bool>(
        &self,
        input: &[f32],
        gradient: &[f32],
        affine: &Affine,
        slopes: &Slopes,
    ) -> Vec<f32> {
        self.made_of_pixels(inlined!(|at: Range<usize>, output: &mut [f32]| {
            pixel::input_gradient::<RELU>(
                &input[at.clone()],
                &gradient[at],
                affine,
                slopes,
                output,
            );
        }))
    }

    fn pooled_input_gradient(
        &self,
        input: &[f32],
        gradient: &[f32],
        largest: &[u8],
        affine: &Affine,
        slopes: &Slopes,
    ) -> Vec<f32> {
        self.made_of_pooled(inlined!(
            |at: Range<usize>, from: Option<(Range<usize>, u8)>, output: &mut [f32]| {
                match from {
                    Some((from, place)) => {
                        let largest = (&largest[from.clone()], place);
                        pixel::pooled_input_gradient(
                            &input[at],
                            &gradient[from],
                            largest,
                            affine,
                            slopes,
                            output,
                        );
                    }
                    None => pixel::left_out_gradient(&input[at], slopes, output),
                }
            }
        ))
    }

    /// The gradient of the input of [`Epilogue::MaxPool`].
    pub fn unpooled(&self, gradient: &[f32], largest: &[u8]) -> Vec<f32> {
        assert_eq!([gradient.len(), largest.len()], [self.output_len(); 2]);
        self.made_of_pooled(inlined!(
            |_: Range<usize>, from: Option<(Range<usize>, u8)>, output: &mut [f32]| {
                if let Some((from, place)) = from {
                    pixel::unpool(&gradient[from.clone()], (&largest[from], place), output);
                }
            }
        ))
    }

    /// Makes values in the shape of the input from the output of [`Epilogue::MaxPool`], pixel by
    /// pixel. `body` gets the position of the pixel's values, the pooled output that it belongs to
    /// and its number among the four (if there is one), and the zeroed values to write.
    fn made_of_pooled(
        &self,
        body: impl Fn(Range<usize>, Option<(Range<usize>, u8)>, &mut [f32]) + Sync + Send,
    ) -> Vec<f32> {
        let channels = self.channels;
        let [height, width] = self.output();
        let row = self.side[1] * channels;
        let task = |number: usize, output: &mut [f32]| {
            let (image, y) = (number / self.side[0], number % self.side[0]);
            vectorized!({
                for (x, output) in output.chunks_exact_mut(channels).enumerate() {
                    let at = number * row + x * channels;
                    let from = ((image * height + y / 2) * width + x / 2) * channels;
                    let place = (y % 2 * 2 + x % 2) as u8;
                    let inside = y / 2 < height && x / 2 < width;
                    body(
                        at..at + channels,
                        inside.then_some((from..from + channels, place)),
                        output,
                    );
                }
            });
        };
        let fill = |target: Shared| {
            // SAFETY: each row is one task's.
            parallel(self.batch * self.side[0], |number| {
                task(number, unsafe { target.fresh(number * row, row) })
            });
        };
        // SAFETY: the rows are all of it.
        unsafe { buffer(self.pixels() * channels, |target| on_pool(|| fill(target))) }
    }

    /// Makes values in the shape of the input, pixel by pixel. `body` gets the position of the
    /// pixel's values, and the values to write.
    fn made_of_pixels(&self, body: impl Fn(Range<usize>, &mut [f32]) + Sync + Send) -> Vec<f32> {
        let channels = self.channels;
        let fill = |target: Shared| {
            let pixels = self.pixels();
            parallel(pixels.div_ceil(BLOCK), |block| {
                let range = block * BLOCK * channels..pixels.min((block + 1) * BLOCK) * channels;
                // SAFETY: each block of pixels is one task's.
                let output = unsafe { target.fresh(range.start, range.len()) };
                vectorized!({
                    for (number, output) in output.chunks_exact_mut(channels).enumerate() {
                        let start = range.start + number * channels;
                        body(start..start + channels, output);
                    }
                });
            });
        };
        // SAFETY: the blocks are all of it.
        unsafe { buffer(self.pixels() * channels, |target| on_pool(|| fill(target))) }
    }

    /// The four input pixels of a pooled pixel.
    #[inline(always)]
    fn four<'a, const N: usize>(
        &self,
        inputs: [&'a [f32]; N],
        image: usize,
        [y, x]: [usize; 2],
    ) -> [[&'a [f32]; N]; 4] {
        let corner = ((image * self.side[0] + 2 * y) * self.side[1] + 2 * x) * self.channels;
        let below = corner + self.side[1] * self.channels;
        [corner, corner + self.channels, below, below + self.channels]
            .map(|at| inputs.map(|input| &input[at..at + self.channels]))
    }
}

/// Two sums per channel over `pixels`: `add` adds those of a range to its argument.
fn sums(
    pixels: usize,
    channels: usize,
    add: impl Fn(Range<usize>, [&mut [f32]; 2]) + Sync + Send,
) -> [Vec<f64>; 2] {
    let both = (2 * channels).max(1);
    let mut partial = vec![0.0f64; pixels.div_ceil(BLOCK) * both];
    let task = |(block, total): (usize, &mut [f64])| {
        let end = pixels.min((block + 1) * BLOCK);
        let mut sums = vec![0.0f32; both];
        vectorized!({
            for start in (block * BLOCK..end).step_by(RUN) {
                sums.fill(0.0);
                let (first, second) = sums.split_at_mut(channels);
                add(start..end.min(start + RUN), [first, second]);
                for (total, sum) in total.iter_mut().zip(&sums) {
                    *total += f64::from(*sum);
                }
            }
        });
    };
    on_pool(|| partial.par_chunks_mut(both).enumerate().for_each(task));
    let mut total = vec![0.0; both];
    for block in partial.chunks_exact(both) {
        for (total, sum) in total.iter_mut().zip(block) {
            *total += sum;
        }
    }
    let second = total.split_off(channels.min(total.len()));
    [total, second]
}
