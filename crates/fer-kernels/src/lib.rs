//! The layers that training and compiled-in models spend their time in, written for speed on the
//! CPU.
//!
//! `docs/kernels.md` explains them from the top. From the outside in: [`nn`] has Burn's layers, and
//! [`compiled`] those of compiled-in models; [`ops`] the same as operations on Burn's tensors, with
//! backward passes, and [`sum`] those of normalizations that are added up; [`conv`], [`norm`] and
//! [`elementwise`] compute on slices; a convolution becomes matrix products (`gemm`) as it is
//! written (`patches`) or with fewer multiplications (`winograd`); [`simd`] chooses the
//! instructions and divides the work among the threads of [`threads`].

pub mod allocator;
pub mod compiled;
pub mod conv;
pub mod elementwise;
mod gemm;
pub mod nn;
pub mod norm;
pub mod ops;
mod patches;
pub mod simd;
pub mod sum;
pub mod threads;
mod winograd;
