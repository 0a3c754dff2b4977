//! A small residual network: two convolutions, then blocks whose input is added to their output (He
//! et al. 2016), then the mean of each channel and one dense layer.
//!
//! A block that changes neither size nor channels has an identity shortcut; the others bring their
//! input to the new shape by a 1×1 convolution.

use burn::module::Module;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};

use super::Shape;
use super::layers::{ConvNorm, dense, dense_macs};
use fer_kernels::nn;
use fer_kernels::norm::Epilogue;

/// One residual block.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// Its channels.
    pub width: usize,
    /// 2 halves the image, 1 keeps it.
    pub stride: usize,
}

#[derive(Module, Debug)]
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(input: usize, stage: Stage, device: &Device) -> Self {
        let Stage { width, stride } = stage;
        let same = input == width && stride == 1;
        Self {
            first: ConvNorm::new([input, width], 3, stride, device),
            second: ConvNorm::new([width, width], 3, 1, device),
            shortcut: (!same).then(|| ConvNorm::new([input, width], 1, stride, device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [x, shortcut] = nn::branch(x);
        let residual = self
            .second
            .forward(self.first.forward(x, Epilogue::Relu), Epilogue::Nothing);
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(shortcut, Epilogue::Nothing),
            None => shortcut,
        };
        nn::add_relu(residual, shortcut)
    }
}

/// A residual network.
#[derive(Module, Debug)]
pub struct Residual {
    stem: ConvNorm,
    down: ConvNorm,
    blocks: Vec<Block>,
    mean: AdaptiveAvgPool2d,
    dropout: Dropout,
    pub(super) output: Linear,
    /// `[channels, height, width]` of an image.
    pub(super) input: [usize; 3],
}

impl Residual {
    /// The network with its kernels zero.
    ///
    /// `stem`: the channels of the two first convolutions, at full and at half size; `dropout`: the
    /// rate before the dense layer.
    pub fn new(
        shape: Shape,
        stem: [usize; 2],
        stages: &[Stage],
        dropout: f64,
        device: &Device,
    ) -> Self {
        let mut width = stem[1];
        let mut blocks = Vec::with_capacity(stages.len());
        for stage in stages {
            blocks.push(Block::new(width, *stage, device));
            width = stage.width;
        }
        Self {
            stem: ConvNorm::new([shape.channels, stem[0]], 3, 1, device),
            down: ConvNorm::new(stem, 3, 2, device),
            blocks,
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            dropout: DropoutConfig::new(dropout).init(),
            output: dense(width, shape.classes, device),
            input: shape.image(),
        }
    }

    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.stem.forward(images, Epilogue::Relu);
        let x = self.down.forward(x, Epilogue::Relu);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x: Tensor<2> = nn::in_float32(x, |x| self.mean.forward(x)).flatten(1, 3);
        nn::dense(&self.output, self.dropout.forward(x))
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.stem.norm.epsilon
    }

    pub(super) fn macs(&self) -> u64 {
        let [_, mut height, mut width] = self.input;
        let mut macs = self.stem.macs(height * width);
        (height, width) = (height.div_ceil(2), width.div_ceil(2));
        macs += self.down.macs(height * width);
        for block in &self.blocks {
            let stride = block.first.conv.stride[0];
            (height, width) = (height.div_ceil(stride), width.div_ceil(stride));
            let convs = [&block.first, &block.second]
                .into_iter()
                .chain(&block.shortcut);
            macs += convs.map(|c| c.macs(height * width)).sum::<u64>();
        }
        macs + dense_macs(&self.output)
    }
}
