//! A network in the manner of VGG (Simonyan & Zisserman 2015) with batch normalisation, at about
//! the size that Pramerdorfer & Kampel (2016) found to do well on FER-2013: pairs of 3×3
//! convolutions, the maximum of each 2×2 pixels between the pairs, then the mean of each channel
//! and one dense layer.
//!
//! Each convolution may be in its training form, [`Branches`]; that network is brought to the plain
//! one by [`Vgg::folded`].

use burn::module::Module;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::Shape;
use super::branches::Branches;
use super::layers::{ConvNorm, can_pool, dense, dense_macs, pooled};
use fer_kernels::nn;
use fer_kernels::norm::Epilogue;

/// A normalized 3×3 convolution that keeps height and width.
pub trait Layer: Module {
    /// With the kernels zero.
    fn new(channels: [usize; 2], device: &Device) -> Self;
    /// `[N, channels, height, width]`, and what follows.
    fn forward(&self, x: Tensor<4>, then: Epilogue) -> Tensor<4>;
    /// What is added to the variance.
    fn epsilon(&self) -> f64;
    /// Multiply-accumulate operations where the output has `pixels`.
    fn macs(&self, pixels: usize) -> u64;
}

impl Layer for ConvNorm {
    fn new(channels: [usize; 2], device: &Device) -> Self {
        ConvNorm::new(channels, 3, 1, device)
    }

    fn forward(&self, x: Tensor<4>, then: Epilogue) -> Tensor<4> {
        ConvNorm::forward(self, x, then)
    }

    fn epsilon(&self) -> f64 {
        self.norm.epsilon
    }

    fn macs(&self, pixels: usize) -> u64 {
        ConvNorm::macs(self, pixels)
    }
}

/// Two convolutions of the same width.
#[derive(Module, Debug)]
struct Pair<L> {
    first: L,
    second: L,
}

/// A network of pairs of convolutions.
#[derive(Module, Debug)]
pub struct Vgg<L> {
    pairs: Vec<Pair<L>>,
    mean: AdaptiveAvgPool2d,
    dropout: Dropout,
    pub(super) output: Linear,
    /// `[channels, height, width]` of an image.
    pub(super) input: [usize; 3],
}

impl<L: Layer> Vgg<L> {
    /// The network with its kernels zero.
    ///
    /// `widths`: the channels of each pair, the first at full size, each other at half of the one
    /// before, where that leaves a pixel; `dropout`: the rate before the dense layer.
    pub fn new(shape: Shape, widths: &[usize], dropout: f64, device: &Device) -> Self {
        let mut input = shape.channels;
        let mut pairs = Vec::with_capacity(widths.len());
        for width in widths {
            pairs.push(Pair {
                first: L::new([input, *width], device),
                second: L::new([*width, *width], device),
            });
            input = *width;
        }
        Self {
            pairs,
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            dropout: DropoutConfig::new(dropout).init(),
            output: dense(input, shape.classes, device),
            input: shape.image(),
        }
    }

    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = images;
        for (i, pair) in self.pairs.iter().enumerate() {
            x = pair.first.forward(x, Epilogue::Relu);
            // The largest of four is found before the ReLU, which leaves the ReLU a quarter of the
            // work.
            let [_, _, height, width] = x.dims();
            x = match i + 1 < self.pairs.len() && can_pool([height, width]) {
                true => relu(pair.second.forward(x, Epilogue::MaxPool)),
                false => pair.second.forward(x, Epilogue::Relu),
            };
        }
        let x: Tensor<2> = nn::in_float32(x, |x| self.mean.forward(x)).flatten(1, 3);
        nn::dense(&self.output, self.dropout.forward(x))
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.pairs[0].first.epsilon()
    }

    pub(super) fn macs(&self) -> u64 {
        let mut macs = dense_macs(&self.output);
        let [_, height, width] = self.input;
        let mut size = [height, width];
        for pair in &self.pairs {
            let pixels = size[0] * size[1];
            macs += pair.first.macs(pixels) + pair.second.macs(pixels);
            size = pooled(size);
        }
        macs
    }
}

impl Vgg<Branches> {
    /// The plain network that gives what this one gives with its running statistics, but for
    /// rounding.
    pub fn folded(&self) -> Vgg<ConvNorm> {
        let pairs = self.pairs.iter().map(|Pair { first, second }| Pair {
            first: first.folded(),
            second: second.folded(),
        });
        let Self {
            mean,
            dropout,
            output,
            input,
            ..
        } = self;
        Vgg {
            pairs: pairs.collect(),
            mean: mean.clone(),
            dropout: dropout.clone(),
            output: output.clone(),
            input: *input,
        }
    }

    /// This network with the weights of a plain one of the same widths, and giving what that gives.
    pub fn begin_with(self, plain: Vgg<ConvNorm>) -> Self {
        let pairs = self
            .pairs
            .into_iter()
            .zip(plain.pairs)
            .map(|(own, plain)| Pair {
                first: own.first.begin_with(plain.first),
                second: own.second.begin_with(plain.second),
            });
        Self {
            pairs: pairs.collect(),
            output: plain.output,
            ..self
        }
    }
}
