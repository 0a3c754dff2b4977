//! The CPU kernels of training and of compiled-in models, written for speed.
//!
//! `docs/kernels.md` explains them from the top. [`nn`] has Burn's layers. [`compiled`] has the
//! layers of compiled-in models. [`ops`] has the same as operations on Burn's tensors with backward
//! passes, and [`sum`] sums of batch normalizations. [`conv`], [`norm`] and [`elementwise`] compute
//! on slices. A convolution becomes matrix products (`gemm`), as written (`patches`) or with fewer
//! multiplications (`winograd`); in compiled-in models, [`depthwise`] convolutions and those of one
//! pixel and few channels ([`pointwise`]) are computed directly, and where they follow one another
//! ([`chain`]) row by row. [`int8`] has networks of 8-bit integers. [`simd`] chooses the
//! instructions, `team` divides the work among the threads of [`threads`], and keeps them
//! together for many short loops.
//!
//! ```
//! use burn::nn::conv::Conv2dConfig;
//! use burn::tensor::{Device, Tensor};
//! use fer_kernels::nn;
//!
//! let device = Device::flex();
//! let layer = Conv2dConfig::new([1, 8], [3, 3]).init(&device);
//! let images = Tensor::<4>::ones([2, 1, 48, 48], &device);
//! let features = nn::conv2d(&layer, images, true);
//! assert_eq!(features.dims(), [2, 8, 46, 46]);
//! ```

pub mod allocator;
pub mod chain;
pub mod compiled;
pub mod conv;
pub mod depthwise;
pub mod elementwise;
mod first;
mod gemm;
pub mod int8;
mod method;
pub mod nn;
pub mod norm;
pub mod ops;
mod patches;
pub mod pointwise;
pub mod simd;
pub mod sum;
mod team;
pub mod threads;
mod winograd;
