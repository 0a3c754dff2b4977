//! Passes over one image, or over values: everything but convolutions.

use super::super::team::{on_pool, parallel};
use super::Quantization;

/// What does the tasks of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread.
    One,
    /// All threads, or those of the team that the calling thread leads.
    Team,
}

impl Threads {
    /// Calls `body` with 0..`count`.
    pub(super) fn each(self, count: usize, body: impl Fn(usize) + Sync + Send) {
        match self {
            Self::One => (0..count).for_each(body),
            Self::Team => on_pool(|| parallel(count, body)),
        }
    }
}

impl Quantization {
    /// The byte of a number, rounded half to even. NaN becomes the byte 0.
    #[inline(always)]
    pub fn byte(self, value: f32) -> u8 {
        rounded(value / self.scale, self.zero)
    }

    /// The number that a byte stands for.
    #[inline(always)]
    pub fn number(self, byte: u8) -> f32 {
        (i32::from(byte) - i32::from(self.zero)) as f32 * self.scale
    }

    /// The sum of the bytes of two tensors, as bytes of a third, `least` to 255. As ONNX Runtime,
    /// it multiplies by the ratios of the scales.
    pub(super) fn add(self, [a, b]: [(&[u8], Self); 2], least: u8, output: &mut [u8]) {
        let [ratio_a, ratio_b] = [a.1, b.1].map(|of| of.scale / self.scale);
        let fixed =
            f32::from(self.zero) - (ratio_a * f32::from(a.1.zero) + ratio_b * f32::from(b.1.zero));
        for (to, (a, b)) in output.iter_mut().zip(a.0.iter().zip(b.0)) {
            let sum = (fixed + f32::from(*a) * ratio_a) + f32::from(*b) * ratio_b;
            *to = rounded(sum, 0).max(least);
        }
    }

    /// What the sum of a channel, less the zero points, is multiplied by to get its mean, in units
    /// of the scale of `to`, or of 1.
    fn mean_factor(self, pixels: usize, to: Option<Self>) -> f32 {
        self.scale / (to.map_or(1.0, |to| to.scale) * pixels as f32)
    }

    /// The means of all pixels of an image of this quantization, as bytes of `to`.
    pub(super) fn mean_bytes(self, image: &[u8], to: Self, output: &mut [u8]) {
        let pixels = image.len() / output.len();
        let factor = self.mean_factor(pixels, Some(to));
        for (channel, mean) in output.iter_mut().enumerate() {
            *mean = rounded(self.sum(image, channel, pixels) * factor, to.zero);
        }
    }

    /// The means of all pixels of an image of this quantization.
    pub(super) fn mean(self, image: &[u8], output: &mut [f32]) {
        let pixels = image.len() / output.len();
        let factor = self.mean_factor(pixels, None);
        for (channel, mean) in output.iter_mut().enumerate() {
            *mean = self.sum(image, channel, pixels) * factor;
        }
    }

    /// The sum of a channel, less the zero points.
    fn sum(self, image: &[u8], channel: usize, pixels: usize) -> f32 {
        let of = image.iter().skip(channel).step_by(image.len() / pixels);
        let sum: i64 = of.map(|byte| i64::from(*byte)).sum();
        (sum - i64::from(self.zero) * pixels as i64) as f32
    }
}

/// `value` rounded half to even, plus `zero`, within 0..=255.
#[inline(always)]
fn rounded(value: f32, zero: u8) -> u8 {
    let zero = f32::from(zero);
    let value = value.max(-zero).min(255.0 - zero);
    // A cast of a float keeps to the limits.
    (value.round_ties_even() + zero) as u8
}

/// The means of all pixels of an image of numbers.
pub fn mean(image: &[f32], output: &mut [f32]) {
    let pixels = image.len() / output.len();
    output.fill(0.0);
    for pixel in image.chunks_exact(output.len()) {
        output.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
    }
    output.iter_mut().for_each(|sum| *sum /= pixels as f32);
}

/// The largest values of each window of an image, without padding.
pub fn max_pool<T: Copy>(
    image: &[T],
    [height, width, channels]: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    output: &mut [T],
    larger: impl Fn(T, T) -> T + Copy,
) {
    let out_width = (width - kernel[1]) / stride[1] + 1;
    debug_assert_eq!(image.len(), height * width * channels);
    for (place, to) in output.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (place / out_width * stride[0], place % out_width * stride[1]);
        let pixel = |y: usize, x: usize| &image[(y * width + x) * channels..][..channels];
        if kernel == [2, 2] {
            let rows = [y, y + 1].map(|y| pixel(y, x).iter().zip(pixel(y, x + 1)));
            let [above, below] = rows;
            for (to, ((a, b), (c, d))) in to.iter_mut().zip(above.zip(below)) {
                *to = larger(larger(*a, *b), larger(*c, *d));
            }
            continue;
        }
        to.copy_from_slice(pixel(y, x));
        for y in y..y + kernel[0] {
            for x in x..x + kernel[1] {
                for (to, value) in to.iter_mut().zip(pixel(y, x)) {
                    *to = larger(*to, *value);
                }
            }
        }
    }
}

/// The softmax of a row, in place.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}
