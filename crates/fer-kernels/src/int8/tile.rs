//! A tile: some channels of a few pixels of a convolution's output, whose sums stay in registers.
//!
//! The weights of a tile are `[tap][step][vector][lane][group]`. A *tap* is a place of the kernel,
//! a *step* a group of neighboring input channels, whose products one instruction sums. All pixels
//! of a tile see the same weights, and a tap lies equally far from each of them.

/// Pixels of a tile.
pub const PIXELS: usize = 6;

/// The most channels of a tile.
pub const CHANNELS: usize = 64;

/// The sums of a tile: `[pixel][channel]`, without gaps.
#[repr(align(64))]
pub struct Sums(pub [i32; PIXELS * CHANNELS]);

/// What the channels of a tile become.
pub struct Finish<'a> {
    /// The number of channels summed, a multiple of the lanes.
    pub summed: usize,
    /// The number of them that exist.
    pub channels: usize,
    /// The number of pixels that exist.
    pub pixels: usize,
    /// Added to the sums; as many as are summed.
    pub bias: &'a [i32],
    /// What the result is multiplied by.
    pub scale: &'a [f32],
    /// Added last, to numbers.
    pub shift: &'a [f32],
    /// The limits of the numbers, or of the bytes before `zero` is added.
    pub limits: [f32; 2],
    /// The byte that stands for 0.
    pub zero: i32,
    /// The values between a pixel of the output and the next one.
    pub stride: usize,
}

/// Sums a tile's products. Takes where the pixels' first taps are, how many bytes farther each tap
/// is, the number of steps, and the weights.
///
/// # Safety
/// The processor has the instructions. The inputs of all steps of all taps of all pixels, and as
/// many weights, can be read.
pub type Sum = unsafe fn(&[*const u8; PIXELS], &[usize], usize, *const u8, &mut Sums);

/// Writes a tile's bytes or numbers, the first channel of the first pixel at the pointer.
///
/// # Safety
/// The processor has the instructions. The channels of all pixels can be written.
pub type Write<T> = unsafe fn(&Sums, &Finish, *mut T);

/// What computes tiles.
pub struct Kernels {
    /// Channels of a vector.
    pub lanes: usize,
    /// Input channels of a step.
    pub group: usize,
    /// The bytes of an input and of a weight: 1 or 2.
    pub bytes: usize,
    /// By the number of vectors, from 1 on.
    pub sum: &'static [Sum],
    /// Writes bytes.
    pub to_bytes: Write<u8>,
    /// Writes numbers.
    pub to_floats: Write<f32>,
}

/// The definition of [`Kernels::to_bytes`].
///
/// # Safety
/// As [`Write`].
#[inline(always)]
pub unsafe fn to_bytes<const LANES: usize>(sums: &Sums, finish: &Finish, output: *mut u8) {
    let [low, high] = finish.limits;
    let convert = |value: f32| {
        let value = if value < low { low } else { value };
        let value = if value > high { high } else { value };
        // SAFETY: the limits are within 255 of 0, and no value is NaN: a finite sum times a finite
        // scale.
        let rounded: i32 = unsafe { value.round_ties_even().to_int_unchecked() };
        (rounded + finish.zero) as u8
    };
    // SAFETY: as this function.
    unsafe { write::<LANES, u8>(sums, finish, output, convert) };
}

/// The definition of [`Kernels::to_floats`].
///
/// # Safety
/// As [`Write`].
#[inline(always)]
pub unsafe fn to_floats<const LANES: usize>(sums: &Sums, finish: &Finish, output: *mut f32) {
    let [low, high] = finish.limits;
    let convert = |value: f32| {
        let value = if value < low { low } else { value };
        if value > high { high } else { value }
    };
    // SAFETY: as this function.
    unsafe { write::<LANES, f32>(sums, finish, output, convert) };
}

#[inline(always)]
unsafe fn write<const LANES: usize, T: Copy + Default>(
    sums: &Sums,
    finish: &Finish,
    output: *mut T,
    convert: impl Fn(f32) -> T,
) {
    for pixel in 0..finish.pixels {
        let sums = &sums.0[pixel * finish.summed..][..finish.summed];
        // SAFETY: the pixel exists.
        let output = unsafe { output.add(pixel * finish.stride) };
        let vectors = sums.as_chunks::<LANES>().0.iter();
        let bias = finish.bias.as_chunks::<LANES>().0;
        let scale = finish.scale.as_chunks::<LANES>().0;
        let shift = finish.shift.as_chunks::<LANES>().0;
        let given = bias.iter().zip(scale).zip(shift);
        for (vector, (sums, ((bias, scale), shift))) in vectors.zip(given).enumerate() {
            let mut values = [T::default(); LANES];
            for lane in 0..LANES {
                let sum = sums[lane].wrapping_add(bias[lane]);
                values[lane] = convert(sum as f32 * scale[lane] + shift[lane]);
            }
            let first = vector * LANES;
            let count = finish.channels.saturating_sub(first).min(LANES);
            // SAFETY: the channels exist.
            unsafe {
                let output = output.add(first);
                if count == LANES {
                    output.cast::<[T; LANES]>().write_unaligned(values);
                } else {
                    output.copy_from_nonoverlapping(values.as_ptr(), count);
                }
            }
        }
    }
}
