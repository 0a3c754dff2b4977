//! Which instructions sum the products, chosen when the program starts.

use std::fmt;

use super::super::simd;
use super::plain;
use super::tile::Kernels;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// The instructions that sum products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// `vpdpbusd` on 512 bits: 64 products of bytes.
    Avx512Vnni,
    /// `vpdpbusd` on 256 bits: 32 products of bytes.
    AvxVnni,
    /// `vpmaddubsw` on 256 bits, 32 products of bytes, where the weights are so small that the sum
    /// of two products fits into a word; else `vpmaddwd`, 16 products of words.
    Avx2,
    /// Code for any processor: products of words.
    Plain,
}

impl Instructions {
    /// All of them, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512Vnni, Self::AvxVnni, Self::Avx2, Self::Plain];

    /// The fastest that this processor has, within [`simd::limit`].
    pub fn best() -> Self {
        let least = match simd::limited() {
            512.. => Self::Avx512Vnni,
            256.. => Self::Avx2,
            _ => Self::Plain,
        };
        let within = Self::ALL.into_iter().skip_while(|i| *i != least);
        let mut supported = within.filter(|i| i.is_supported());
        supported.next().unwrap_or(Self::Plain)
    }

    /// Whether this processor has them.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Vnni | Self::AvxVnni | Self::Avx2 => false,
            Self::Plain => true,
        }
    }

    /// The functions for them and these weights.
    ///
    /// # Panics
    /// This processor does not have them.
    pub(super) fn kernels(self, weights: &[i8]) -> &'static Kernels {
        assert!(self.is_supported(), "this processor has no {self}");
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => &x86::AVX512_VNNI,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => &x86::AVX_VNNI,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if x86::fit(weights) => &x86::AVX2_BYTES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => &x86::AVX2,
            #[allow(unreachable_patterns, reason = "others are for one kind of processor")]
            _ => &plain::PLAIN,
        }
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx2 => "AVX2",
            Self::Plain => "plain code",
        })
    }
}
