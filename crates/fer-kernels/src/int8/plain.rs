//! Tiles for any processor: products of words, which compilers turn into the vector instructions
//! that there are.

use super::tile::{Finish, Kernels, PIXELS, Sums, to_bytes, to_floats};

/// Channels of a vector.
const LANES: usize = 8;

/// The kernels in plain code.
pub static PLAIN: Kernels = Kernels {
    lanes: LANES,
    group: 1,
    bytes: 2,
    sum: &[sum::<LANES>, sum::<{ 2 * LANES }>],
    to_bytes: bytes,
    to_floats: floats,
};

/// # Safety
/// As [`super::tile::Sum`].
unsafe fn sum<const CHANNELS: usize>(
    pixels: &[*const u8; PIXELS],
    taps: &[usize],
    steps: usize,
    weights: *const u8,
    sums: &mut Sums,
) {
    for (pixel, sums) in pixels.iter().zip(sums.0.chunks_exact_mut(CHANNELS)) {
        let mut weights = weights.cast::<[i16; CHANNELS]>();
        let mut total = [0; CHANNELS];
        for tap in taps {
            let mut input = pixel.wrapping_add(*tap).cast::<i16>();
            for _ in 0..steps {
                // SAFETY: inputs and weights can be read.
                let (input_value, of) = unsafe { (input.read_unaligned(), *weights) };
                for lane in 0..CHANNELS {
                    // As the vector instructions, which wrap around too.
                    let product = i32::from(input_value) * i32::from(of[lane]);
                    total[lane] = i32::wrapping_add(total[lane], product);
                }
                input = input.wrapping_add(1);
                weights = weights.wrapping_add(1);
            }
        }
        sums.copy_from_slice(&total);
    }
}

/// # Safety
/// As [`super::tile::Write`].
unsafe fn bytes(sums: &Sums, finish: &Finish, output: *mut u8) {
    // SAFETY: as this function.
    unsafe { to_bytes::<LANES>(sums, finish, output) };
}

/// # Safety
/// As [`super::tile::Write`].
unsafe fn floats(sums: &Sums, finish: &Finish, output: *mut f32) {
    // SAFETY: as this function.
    unsafe { to_floats::<LANES>(sums, finish, output) };
}
