//! One row of each kind of layer, in vector instructions. Rows are `[width, channels]`, channels in
//! multiples of [`LANES`].

use pulp::{Simd, WithSimd};

use super::LANES;

/// Neighboring outputs of a depthwise convolution that are computed together.
const OUTPUTS: usize = 4;

/// The values at a place.
///
/// # Safety
/// A vector's values can be read there.
#[inline(always)]
unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: by the caller's promise; a vector of `f32` has any bits.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Writes a vector.
///
/// # Safety
/// A vector's values can be written there.
#[inline(always)]
unsafe fn store<S: Simd>(to: *mut f32, values: S::f32s) {
    // SAFETY: by the caller's promise.
    unsafe { to.cast::<S::f32s>().write_unaligned(values) }
}

/// Where tiles of `tile` outputs begin that cover `count`: the last one overlaps with the one
/// before it. Fewer than `tile` are covered one by one (`false`).
#[inline(always)]
fn tiles(count: usize, tile: usize, mut each: impl FnMut(usize, bool)) {
    if count < tile {
        (0..count).for_each(|at| each(at, false));
        return;
    }
    let mut at = 0;
    while at + tile < count {
        each(at, true);
        at += tile;
    }
    each(count - tile, true);
}

/// Kernels of one pixel: each output channel is a sum over the input channels.
pub(super) struct Pointwise<'a> {
    /// `[width, inputs]`.
    pub input: &'a [f32],
    /// `[inputs, outputs]`.
    pub kernel: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
    /// `[width, outputs]`.
    pub output: &'a mut [f32],
}

impl WithSimd for Pointwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Known strides are part of the instructions.
        match self.input.len() / (self.output.len() / self.bias.len()) {
            16 => self.by_inputs::<S, 16>(simd),
            32 => self.by_inputs::<S, 32>(simd),
            64 => self.by_inputs::<S, 64>(simd),
            _ => self.by_inputs::<S, 0>(simd),
        }
    }
}

impl Pointwise<'_> {
    /// `I` is the number of inputs, or 0 for any.
    #[inline(always)]
    fn by_inputs<S: Simd, const I: usize>(&mut self, simd: S) {
        let outputs = self.bias.len();
        // As many sums as there are registers for, besides the kernels and a value.
        match S::F32_LANES {
            16 if outputs.is_multiple_of(4 * LANES) => self.run::<S, I, 4, 6>(simd),
            16 if outputs.is_multiple_of(2 * LANES) => self.run::<S, I, 2, 12>(simd),
            16 => self.run::<S, I, 1, 16>(simd),
            8 => self.run::<S, I, 2, 6>(simd),
            4 => self.run::<S, I, 4, 5>(simd),
            _ => self.run::<S, I, LANES, 1>(simd),
        }
    }

    /// `N` vectors of outputs of `P` pixels at a time.
    #[inline(always)]
    fn run<S: Simd, const I: usize, const N: usize, const P: usize>(&mut self, simd: S) {
        let outputs = self.bias.len();
        let width = self.output.len() / outputs;
        let inputs = if I > 0 { I } else { self.input.len() / width };
        assert_eq!(self.input.len(), width * inputs);
        assert_eq!(self.kernel.len(), inputs * outputs);
        assert!(outputs.is_multiple_of(N * S::F32_LANES));
        for block in (0..outputs).step_by(N * S::F32_LANES) {
            tiles(
                width,
                P,
                #[inline(always)]
                |x, whole| {
                    // SAFETY: the pixels from x, and the outputs from `block`, are within the
                    // slices, by the assertions.
                    unsafe {
                        let input = self.input.as_ptr().add(x * inputs);
                        let kernel = self.kernel.as_ptr().add(block);
                        let bias = self.bias.as_ptr().add(block);
                        let output = self.output.as_mut_ptr().add(x * outputs + block);
                        let size = [inputs, outputs];
                        if whole {
                            products::<S, N, P>(simd, input, kernel, bias, output, size);
                        } else {
                            products::<S, N, 1>(simd, input, kernel, bias, output, size);
                        }
                    }
                },
            );
        }
    }
}

/// `N` vectors of outputs of `P` pixels.
///
/// # Safety
/// `input` has `P` pixels, `kernel` a row of `outputs` for each of the `inputs`, and `output` has
/// room for `P` pixels.
#[inline(always)]
unsafe fn products<S: Simd, const N: usize, const P: usize>(
    simd: S,
    input: *const f32,
    kernel: *const f32,
    bias: *const f32,
    output: *mut f32,
    [inputs, outputs]: [usize; 2],
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let row = |from: *const f32| -> [S::f32s; N] {
            std::array::from_fn(
                #[inline(always)]
                |n| load::<S>(from.add(n * S::F32_LANES)),
            )
        };
        let mut sums = [row(bias); P];
        for k in 0..inputs {
            let weights = row(kernel.add(k * outputs));
            for (p, sums) in sums.iter_mut().enumerate() {
                let value = simd.splat_f32s(*input.add(p * inputs + k));
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = simd.mul_add_f32s(value, weight, *sum);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                store::<S>(output.add(p * outputs + n * S::F32_LANES), *sum);
            }
        }
    }
}

/// A 3×3 convolution of stride 2 on three planes, padded by one pixel, and ReLU.
pub(super) struct First<'a> {
    /// The rows above, at and below the output's middle, of each plane: `[planes, rows]`, of the
    /// image's width.
    pub input: [&'a [f32]; 9],
    /// `[planes, rows, columns, outputs]`.
    pub kernel: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
    /// `[width, outputs]`.
    pub output: &'a mut [f32],
}

impl WithSimd for First<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 1, 14>(simd),
            8 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 5>(simd),
            _ => self.run::<S, LANES, 1>(simd),
        }
    }
}

impl First<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize, const P: usize>(&mut self, simd: S) {
        let outputs = self.bias.len();
        let width = self.output.len() / outputs;
        let columns = self.input[0].len();
        assert_eq!(width, columns.div_ceil(2));
        assert!(self.input.iter().all(|row| row.len() == columns));
        assert_eq!(self.kernel.len(), 27 * outputs);
        assert!(outputs.is_multiple_of(N * S::F32_LANES));
        // Outputs whose kernel lies within the rows: after the first, before `end`.
        let end = (columns - 1).div_ceil(2).max(1);
        for block in (0..outputs).step_by(N * S::F32_LANES) {
            // SAFETY: outputs 1..end see columns 1..=2 end - 1 of the input, `edge` three of its
            // own; the outputs from `block` are within the slices, by the assertions.
            unsafe {
                let kernel = self.kernel.as_ptr().add(block);
                let bias = self.bias.as_ptr().add(block);
                let output = self.output.as_mut_ptr().add(block);
                for x in (0..1).chain(end..width) {
                    let edge = self.input.map(|row| {
                        let value = |i: usize| {
                            let column = (2 * x + i).checked_sub(1);
                            let value = column.and_then(|column| row.get(column));
                            value.copied().unwrap_or(0.0)
                        };
                        [value(0), value(1), value(2)]
                    });
                    let rows = edge.each_ref().map(|row| row.as_ptr());
                    let output = output.add(x * outputs);
                    strided::<S, N, 1>(simd, rows, kernel, bias, output, outputs);
                }
                tiles(
                    end - 1,
                    P,
                    #[inline(always)]
                    |x, whole| {
                        let rows = self.input.map(|row| row.as_ptr().add(2 * x + 1));
                        let output = output.add((x + 1) * outputs);
                        if whole {
                            strided::<S, N, P>(simd, rows, kernel, bias, output, outputs);
                        } else {
                            strided::<S, N, 1>(simd, rows, kernel, bias, output, outputs);
                        }
                    },
                );
            }
        }
    }
}

/// `N` vectors of outputs of `P` pixels.
///
/// # Safety
/// The rows have `2 P + 1` values, `kernel` 27 rows of `outputs`, and `output` has room for `P`
/// pixels.
#[inline(always)]
unsafe fn strided<S: Simd, const N: usize, const P: usize>(
    simd: S,
    rows: [*const f32; 9],
    kernel: *const f32,
    bias: *const f32,
    output: *mut f32,
    outputs: usize,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let row = |from: *const f32| -> [S::f32s; N] {
            std::array::from_fn(
                #[inline(always)]
                |n| load::<S>(from.add(n * S::F32_LANES)),
            )
        };
        let mut sums = [row(bias); P];
        for (r, input) in rows.into_iter().enumerate() {
            for k in 0..3 {
                let weights = row(kernel.add((3 * r + k) * outputs));
                for (p, sums) in sums.iter_mut().enumerate() {
                    let value = simd.splat_f32s(*input.add(2 * p + k));
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(value, weight, *sum);
                    }
                }
            }
        }
        let zero = simd.splat_f32s(0.0);
        for (p, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                let to = output.add(p * outputs + n * S::F32_LANES);
                store::<S>(to, simd.max_f32s(zero, *sum));
            }
        }
    }
}

/// A 3×3 depthwise convolution, with ReLU if wanted; of `R` rows, whose `R`×`R` maxima are the
/// output.
pub(super) struct Depthwise<'a, const ROWS: usize, const R: usize> {
    /// The `R + 2` neighboring rows of the input, with a pixel of zeros at both ends.
    pub input: [&'a [f32]; ROWS],
    /// `[rows, columns, channels]`.
    pub kernel: &'a [f32],
    /// `[channels]`.
    pub bias: &'a [f32],
    /// Whether ReLU follows.
    pub relu: bool,
    /// `[width / R, channels]`.
    pub output: &'a mut [f32],
}

impl<const ROWS: usize, const R: usize> WithSimd for Depthwise<'_, ROWS, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.bias.len() {
            16 => self.run::<S, 16>(simd),
            32 => self.run::<S, 32>(simd),
            64 => self.run::<S, 64>(simd),
            _ => self.run::<S, 0>(simd),
        }
    }
}

impl<const ROWS: usize, const R: usize> Depthwise<'_, ROWS, R> {
    /// `C` is the number of channels, or 0 for any.
    #[inline(always)]
    fn run<S: Simd, const C: usize>(self, simd: S) {
        const { assert!(ROWS == R + 2 && OUTPUTS.is_multiple_of(R)) }
        let channels = if C > 0 { C } else { self.bias.len() };
        let width = self.output.len() / channels;
        assert!(
            self.input
                .iter()
                .all(|row| row.len() >= (R * width + 2) * channels)
        );
        assert_eq!(self.kernel.len(), 9 * channels);
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: the channels are a multiple of a vector's length, and the pixels and taps of
            // these channels are within the slices, by the assertions.
            unsafe {
                let taps = taps::<S>(self.kernel.as_ptr().add(channel), channels);
                let bias = load::<S>(self.bias.as_ptr().add(channel));
                let output = self.output.as_mut_ptr().add(channel);
                let least = simd.splat_f32s(if self.relu { 0.0 } else { f32::NEG_INFINITY });
                tiles(
                    width,
                    OUTPUTS / R,
                    #[inline(always)]
                    |x, whole| {
                        let at = R * x * channels + channel;
                        let input = self.input.map(|row| row.as_ptr().add(at));
                        let output = output.add(x * channels);
                        if whole {
                            let sums =
                                sums::<S, ROWS, R, OUTPUTS>(simd, input, channels, &taps, bias);
                            maxima(simd, &sums, least, output, channels);
                        } else {
                            let sums = sums::<S, ROWS, R, R>(simd, input, channels, &taps, bias);
                            maxima(simd, &sums, least, output, channels);
                        }
                    },
                );
            }
        }
    }
}

/// Writes the `R`×`R` maxima of `R` rows of `N` sums, each of them at least `least`.
///
/// # Safety
/// `output` has room for `N / R` pixels.
#[inline(always)]
unsafe fn maxima<S: Simd, const R: usize, const N: usize>(
    simd: S,
    sums: &[[S::f32s; N]; R],
    least: S::f32s,
    output: *mut f32,
    channels: usize,
) {
    for i in 0..N / R {
        let mut most = least;
        for row in sums {
            for sum in &row[i * R..][..R] {
                most = simd.max_f32s(most, *sum);
            }
        }
        // SAFETY: by the caller's promise.
        unsafe { store::<S>(output.add(i * channels), most) };
    }
}

/// The nine taps of a vector of channels.
///
/// # Safety
/// Nine times `channels` values can be read.
#[inline(always)]
unsafe fn taps<S: Simd>(kernel: *const f32, channels: usize) -> [S::f32s; 9] {
    std::array::from_fn(
        #[inline(always)]
        // SAFETY: by the caller's promise.
        |tap| unsafe { load::<S>(kernel.add(tap * channels)) },
    )
}

/// `N` outputs of `R` rows, of a vector of channels.
///
/// # Safety
/// The rows of the input have `N + 2` pixels.
#[inline(always)]
unsafe fn sums<S: Simd, const ROWS: usize, const R: usize, const N: usize>(
    simd: S,
    input: [*const f32; ROWS],
    channels: usize,
    taps: &[S::f32s; 9],
    bias: S::f32s,
) -> [[S::f32s; N]; R] {
    let mut sums = [[bias; N]; R];
    for column in 0..N + 2 {
        for (row, input) in input.iter().enumerate() {
            // SAFETY: by the caller's promise.
            let value = unsafe { load::<S>(input.add(column * channels)) };
            for (r, sums) in sums.iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    // The tap of this output at this pixel, if there is one.
                    if (r..r + 3).contains(&row) && (n..n + 3).contains(&column) {
                        let tap = taps[(row - r) * 3 + column - n];
                        *sum = simd.mul_add_f32s(value, tap, *sum);
                    }
                }
            }
        }
    }
    sums
}

/// The 2×2 maxima of two rows; an odd last pixel is left out.
pub(super) struct Pool<'a> {
    /// `[width, channels]` each.
    pub input: [&'a [f32]; 2],
    /// The number of channels.
    pub channels: usize,
    /// `[width / 2, channels]`.
    pub output: &'a mut [f32],
}

impl WithSimd for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let channels = self.channels;
        for (x, output) in self.output.chunks_exact_mut(channels).enumerate() {
            let [a, b] = self
                .input
                .map(|row| &row[2 * x * channels..][..2 * channels]);
            for (c, output) in output.iter_mut().enumerate() {
                let most = |a: f32, b: f32| if a > b { a } else { b };
                let (a, b) = (most(a[c], a[channels + c]), most(b[c], b[channels + c]));
                *output = most(a, b);
            }
        }
    }
}

/// A row plus one of half the width, each of whose pixels counts twice.
pub(super) struct Sum<'a> {
    /// `[width, channels]`.
    pub input: &'a [f32],
    /// `[width / 2, channels]`.
    pub half: &'a [f32],
    /// The number of channels.
    pub channels: usize,
    /// `[width, channels]`.
    pub output: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let pixels = self.input.chunks_exact(self.channels);
        let outputs = self.output.chunks_exact_mut(self.channels);
        for (x, (output, input)) in outputs.zip(pixels).enumerate() {
            let half = &self.half[x / 2 * self.channels..][..self.channels];
            for ((output, a), b) in output.iter_mut().zip(input).zip(half) {
                *output = a + b;
            }
        }
    }
}
