//! What the architectures are built of, and how much work each part is.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use fer_kernels::nn;
use fer_kernels::norm::Epilogue;

/// A square convolution, zero-padded by `padding` on every side.
pub fn conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
    bias: bool,
    device: &Device,
) -> Conv2d {
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .with_bias(bias)
        .with_initializer(burn::nn::Initializer::Zeros)
        .init(device)
}

/// A dense layer with a bias.
pub fn dense(input: usize, output: usize, device: &Device) -> Linear {
    LinearConfig::new(input, output)
        .with_initializer(burn::nn::Initializer::Zeros)
        .init(device)
}

/// Multiply-accumulate operations of a convolution whose output has `pixels`.
pub fn conv_macs(conv: &Conv2d, pixels: usize) -> u64 {
    (conv.weight.shape().num_elements() * pixels) as u64
}

/// Whether an image is large enough for a pooling of 2×2 pixels to leave something of it.
pub fn can_pool([height, width]: [usize; 2]) -> bool {
    height > 1 && width > 1
}

/// Height and width after a pooling of 2×2 pixels, where the image is large enough.
pub fn pooled([height, width]: [usize; 2]) -> [usize; 2] {
    if can_pool([height, width]) {
        [height / 2, width / 2]
    } else {
        [height, width]
    }
}

/// Multiply-accumulate operations of a dense layer.
pub fn dense_macs(dense: &Linear) -> u64 {
    dense.weight.shape().num_elements() as u64
}

/// A convolution without bias and its batch normalisation.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// Zero-padded, so that a stride of 1 keeps the size.
    pub conv: Conv2d,
    /// Of the convolution's output.
    pub norm: BatchNorm,
}

impl ConvNorm {
    /// The layers with the kernel zero.
    pub fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        Self {
            conv: conv(channels, kernel, stride, kernel / 2, false, device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    /// `[N, channels, height, width]` through both, and what follows.
    pub fn forward(&self, x: Tensor<4>, then: Epilogue) -> Tensor<4> {
        nn::batch_norm(&self.norm, nn::conv2d(&self.conv, x, false), then)
    }

    /// Multiply-accumulate operations where the output has `pixels`.
    pub fn macs(&self, pixels: usize) -> u64 {
        conv_macs(&self.conv, pixels)
    }
}
