//! The training form of a 3×3 convolution (RepVGG; Ding et al. 2021,
//! <https://arxiv.org/abs/2101.03697>): beside it stand a 1×1 convolution and, where the width
//! stays, the input itself, each with a batch normalization of its own, and the three are added.
//!
//! With fixed statistics a normalization is a factor and a term for each channel, so that the sum
//! is one 3×3 convolution: [`Branches::folded`].

use burn::module::{Module, RunningState};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};

use super::layers::ConvNorm;
use super::vgg::Layer;
use fer_kernels::nn;
use fer_kernels::norm::Epilogue;

/// A 3×3 convolution in its training form.
#[derive(Module, Debug)]
pub struct Branches {
    wide: ConvNorm,
    point: ConvNorm,
    /// Of the input, where it has the channels of the output.
    identity: Option<BatchNorm>,
}

impl Branches {
    /// The convolution and normalization that give what the branches give with their running
    /// statistics, but for rounding.
    ///
    /// The running mean is that of the sum; the running variance is the sum's if the branches do
    /// not depend on each other.
    pub fn folded(&self) -> ConvNorm {
        let [outputs, inputs, ..] = self.wide.conv.weight.dims();
        let device = self.wide.conv.weight.device();
        let mut plain = ConvNorm::new([inputs, outputs], 3, 1, &device);
        let zeros = Tensor::zeros([outputs], &device);
        let mut sum = Sum {
            beta: zeros.clone(),
            mean: zeros.clone(),
            variance: zeros,
        };
        let wide = self.wide.conv.weight.val() * sum.add(&self.wide.norm);
        let mut center = self.point.conv.weight.val() * sum.add(&self.point.norm);
        if let Some(norm) = &self.identity {
            center = center
                + Tensor::<2>::eye(inputs, &device).reshape([inputs, inputs, 1, 1]) * sum.add(norm);
        }
        let kernel = wide + center.pad((1, 1, 1, 1), PadMode::Constant(0.0));
        // What the kernels are multiplied with by the normalization is 1.
        let gamma = sum.variance.clone().add_scalar(plain.norm.epsilon).sqrt();
        plain.conv.weight = plain.conv.weight.map(|_| kernel);
        plain.norm.gamma = plain.norm.gamma.map(|_| gamma);
        plain.norm.beta = plain.norm.beta.map(|_| sum.beta);
        plain.norm.running_mean = RunningState::new(sum.mean);
        plain.norm.running_var = RunningState::new(sum.variance);
        plain
    }

    /// A convolution and its normalization as the first branch; the others begin at a factor of 0,
    /// so that the sum is what that gives.
    pub fn begin_with(mut self, plain: ConvNorm) -> Self {
        self.wide = plain;
        for norm in [Some(&mut self.point.norm), self.identity.as_mut()]
            .into_iter()
            .flatten()
        {
            norm.gamma = norm.gamma.clone().map(|gamma| gamma.zeros_like());
        }
        self
    }
}

/// What is known of a sum of normalized inputs, `[channels]` each.
struct Sum {
    beta: Tensor<1>,
    /// Of the inputs times their factors.
    mean: Tensor<1>,
    variance: Tensor<1>,
}

impl Sum {
    /// Adds a normalization and returns the factors of its input, `[channels, 1, 1, 1]`.
    fn add(&mut self, norm: &BatchNorm) -> Tensor<4> {
        let (mean, variance) = (norm.running_mean.value(), norm.running_var.value());
        let factor = norm.gamma.val() / variance.clone().add_scalar(norm.epsilon).sqrt();
        self.beta = self.beta.clone() + norm.beta.val();
        self.mean = self.mean.clone() + mean * factor.clone();
        self.variance = self.variance.clone() + variance * factor.clone().square();
        let [channels] = factor.dims();
        factor.reshape([channels, 1, 1, 1])
    }
}

impl Layer for Branches {
    fn new(channels: [usize; 2], device: &Device) -> Self {
        Self {
            wide: ConvNorm::new(channels, 3, 1, device),
            point: ConvNorm::new(channels, 1, 1, device),
            identity: (channels[0] == channels[1])
                .then(|| BatchNormConfig::new(channels[0]).init(device)),
        }
    }

    fn forward(&self, x: Tensor<4>, then: Epilogue) -> Tensor<4> {
        let Self {
            wide,
            point,
            identity,
        } = self;
        let [x, y] = nn::branch(x);
        let first = nn::conv2d(&wide.conv, x, false);
        match identity {
            None => {
                let second = nn::conv2d(&point.conv, y, false);
                nn::batch_norm_sum::<2, 6>([(&wide.norm, first), (&point.norm, second)], then)
            }
            Some(identity) => {
                let [y, third] = nn::branch(y);
                let second = nn::conv2d(&point.conv, y, false);
                let terms = [
                    (&wide.norm, first),
                    (&point.norm, second),
                    (identity, third),
                ];
                nn::batch_norm_sum::<3, 9>(terms, then)
            }
        }
    }

    fn epsilon(&self) -> f64 {
        self.wide.norm.epsilon
    }

    fn macs(&self, pixels: usize) -> u64 {
        self.wide.macs(pixels) + self.point.macs(pixels)
    }
}
