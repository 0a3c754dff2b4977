//! A network in the manner of VGG (Simonyan & Zisserman 2015) with batch normalisation, at about the size that Pramerdorfer
//! & Kampel (2016) found to do well on FER-2013: pairs of 3×3 convolutions, the maximum of each 2×2 pixels between the
//! pairs, then the mean of each channel and one dense layer.

use burn::module::Module;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::layers::{ConvNorm, dense, dense_macs};
use super::{CLASSES, SIDE};
use crate::kernels::nn;
use crate::kernels::norm::Then;

/// Two convolutions of the same width.
#[derive(Module, Debug)]
struct Pair {
    first: ConvNorm,
    second: ConvNorm,
}

/// A network of pairs of convolutions.
#[derive(Module, Debug)]
pub struct Vgg {
    pairs: Vec<Pair>,
    mean: AdaptiveAvgPool2d,
    dropout: Dropout,
    output: Linear,
}

impl Vgg {
    /// The network with its kernels zero.
    ///
    /// `widths`: the channels of each pair, the first at full size, each other at half of the one before; `dropout`: the
    /// rate before the dense layer.
    pub fn new(widths: &[usize], dropout: f64, device: &Device) -> Self {
        let mut input = 1;
        let mut pairs = Vec::with_capacity(widths.len());
        for width in widths {
            pairs.push(Pair {
                first: ConvNorm::new([input, *width], 3, 1, device),
                second: ConvNorm::new([*width, *width], 3, 1, device),
            });
            input = *width;
        }
        Self {
            pairs,
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            dropout: DropoutConfig::new(dropout).init(),
            output: dense(input, CLASSES, device),
        }
    }

    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = images;
        for (i, pair) in self.pairs.iter().enumerate() {
            x = pair.first.forward(x, Then::Relu);
            // The largest of four is found before the ReLU, which leaves the ReLU a quarter of the work.
            x = match i + 1 == self.pairs.len() {
                true => pair.second.forward(x, Then::Relu),
                false => relu(pair.second.forward(x, Then::MaxPool)),
            };
        }
        let x: Tensor<2> = nn::in_float32(x, |x| self.mean.forward(x)).flatten(1, 3);
        nn::dense(&self.output, self.dropout.forward(x))
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.pairs[0].first.norm.epsilon
    }

    pub(super) fn macs(&self) -> u64 {
        let mut macs = dense_macs(&self.output);
        for (i, pair) in self.pairs.iter().enumerate() {
            let side = SIDE >> i;
            macs += pair.first.macs(side) + pair.second.macs(side);
        }
        macs
    }
}
