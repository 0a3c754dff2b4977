//! Tiles for x86-64.
//!
//! Each step loads the weights of a few vectors once. For each pixel, it repeats the group of its
//! inputs in all lanes of a vector, and multiplies.

use std::arch::x86_64::*;

use super::tile::{Finish, Kernels, PIXELS, Sums, to_bytes, to_floats};

/// Up to 24 sums in 32 registers.
pub static AVX512_VNNI: Kernels = Kernels {
    lanes: 16,
    group: 4,
    bytes: 1,
    sum: &[
        avx512::sum::<1>,
        avx512::sum::<2>,
        avx512::sum::<3>,
        avx512::sum::<4>,
    ],
    to_bytes: avx512::bytes,
    to_floats: avx512::floats,
};

/// Up to 12 sums in 16 registers.
pub static AVX_VNNI: Kernels = Kernels {
    lanes: 8,
    group: 4,
    bytes: 1,
    sum: &[avx_vnni::sum::<1>, avx_vnni::sum::<2>],
    to_bytes: avx2::bytes,
    to_floats: avx2::floats,
};

/// Up to 12 sums in 16 registers. Two products of bytes are summed in a word, so it is for weights
/// that [`fit`].
pub static AVX2_BYTES: Kernels = Kernels {
    lanes: 8,
    group: 4,
    bytes: 1,
    sum: &[avx2_bytes::sum::<1>, avx2_bytes::sum::<2>],
    to_bytes: avx2::bytes,
    to_floats: avx2::floats,
};

/// Whether the products of any two of these weights with bytes sum to a word.
pub fn fit(weights: &[i8]) -> bool {
    weights.iter().all(|weight| weight.unsigned_abs() <= MOST)
}

/// Twice 64 × 255 fits into a word of 16 bits.
const MOST: u8 = 64;

/// Up to 12 sums in 16 registers.
pub static AVX2: Kernels = Kernels {
    lanes: 8,
    group: 2,
    bytes: 2,
    sum: &[avx2::sum::<1>, avx2::sum::<2>],
    to_bytes: avx2::bytes,
    to_floats: avx2::floats,
};

/// The functions for a set of instructions: `$sum(sums, inputs, weights)` adds the products of a
/// step.
macro_rules! sums {
    ($features:literal, $vector:ty, $zero:expr, $repeat:expr, $sum:expr) => {
        /// # Safety
        /// As [`super::super::tile::Sum`].
        #[target_feature(enable = $features)]
        pub unsafe fn sum<const VECTORS: usize>(
            pixels: &[*const u8; PIXELS],
            taps: &[usize],
            steps: usize,
            weights: *const u8,
            sums: &mut Sums,
        ) {
            let mut weights = weights.cast::<$vector>();
            let mut totals = [[$zero; VECTORS]; PIXELS];
            for tap in taps {
                let mut offset = *tap;
                for _ in 0..steps {
                    let mut of = [$zero; VECTORS];
                    for vector in 0..VECTORS {
                        // SAFETY: the weights can be read.
                        of[vector] = unsafe { weights.add(vector).read_unaligned() };
                    }
                    for pixel in 0..PIXELS {
                        // SAFETY: the inputs can be read.
                        let inputs =
                            unsafe { pixels[pixel].add(offset).cast::<i32>().read_unaligned() };
                        let inputs = $repeat(inputs);
                        for vector in 0..VECTORS {
                            let total = &mut totals[pixel][vector];
                            *total = $sum(*total, inputs, of[vector]);
                        }
                    }
                    offset += 4;
                    weights = weights.wrapping_add(VECTORS);
                }
            }
            let mut to = sums.0.as_mut_ptr().cast::<$vector>();
            for totals in totals {
                for total in totals {
                    // SAFETY: there is room for the vectors of all pixels.
                    unsafe { to.write_unaligned(total) };
                    to = to.wrapping_add(1);
                }
            }
        }
    };
}

/// The functions that write tiles.
macro_rules! writes {
    ($features:literal, $lanes:literal) => {
        /// # Safety
        /// As [`super::super::tile::Write`].
        #[target_feature(enable = $features)]
        pub unsafe fn bytes(sums: &Sums, finish: &Finish, output: *mut u8) {
            // SAFETY: as this function.
            unsafe { to_bytes::<$lanes>(sums, finish, output) };
        }

        /// # Safety
        /// As [`super::super::tile::Write`].
        #[target_feature(enable = $features)]
        pub unsafe fn floats(sums: &Sums, finish: &Finish, output: *mut f32) {
            // SAFETY: as this function.
            unsafe { to_floats::<$lanes>(sums, finish, output) };
        }
    };
}

mod avx512 {
    use super::*;

    sums!(
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
        __m512i,
        _mm512_setzero_si512(),
        _mm512_set1_epi32,
        _mm512_dpbusd_epi32
    );
    writes!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", 16);
}

mod avx_vnni {
    use super::*;

    sums!(
        "avx2,avxvnni",
        __m256i,
        _mm256_setzero_si256(),
        _mm256_set1_epi32,
        _mm256_dpbusd_avx_epi32
    );
}

mod avx2_bytes {
    use super::*;

    /// The sums of four products, added.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(total: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(inputs, weights);
        _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    sums!(
        "avx2",
        __m256i,
        _mm256_setzero_si256(),
        _mm256_set1_epi32,
        add
    );
}

mod avx2 {
    use super::*;

    /// The sums of pairs of products, added.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(total: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        _mm256_add_epi32(total, _mm256_madd_epi16(inputs, weights))
    }

    sums!(
        "avx2",
        __m256i,
        _mm256_setzero_si256(),
        _mm256_set1_epi32,
        add
    );
    writes!("avx2", 8);
}
