//! Networks of 8-bit integers: activations of 0..=255 with a scale and a zero point, weights of
//! -128..=127 with a scale of each output channel, sums of 32 bits.
//!
//! [`Network`] runs a list of layers. A convolution ([`Conv`]) multiplies and adds integers only.
//! Its sums become the next layer's activations in one multiplication in `f32`, rounded half to
//! even as ONNX Runtime does it. Everything else is a pass over bytes (`pass`).
//!
//! `instructions` chooses what sums products: AVX-512 VNNI, AVX-VNNI, AVX2, or plain code. All of
//! them give the same bits, with any number of threads.
//!
//! Images are `[height, width, channels]`, one after another.

mod conv;
mod instructions;
mod layer;
mod network;
mod pass;
mod plain;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use conv::{Conv, Output, Prepared, Target};
pub use instructions::Instructions;
pub use layer::{Dims, Layer};
pub use network::{Network, Value};
pub use pass::Threads;

/// What the bytes of a tensor stand for: `scale × (byte − zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// A positive number.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}
