//! What the architectures are built of, and how much work each part is.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;

/// A square convolution, zero-padded by `padding` on every side.
pub fn conv(channels: [usize; 2], kernel: usize, stride: usize, padding: usize, bias: bool, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(bias)
        .with_initializer(burn::nn::Initializer::Zeros)
        .init(device)
}

/// A dense layer with a bias.
pub fn dense(input: usize, output: usize, device: &Device) -> Linear {
    LinearConfig::new(input, output).with_initializer(burn::nn::Initializer::Zeros).init(device)
}

/// Multiply-accumulate operations of a convolution whose output is `side × side`.
pub fn conv_macs(conv: &Conv2d, side: usize) -> u64 {
    (conv.weight.shape().num_elements() * side * side) as u64
}

/// Multiply-accumulate operations of a dense layer.
pub fn dense_macs(dense: &Linear) -> u64 {
    dense.weight.shape().num_elements() as u64
}
