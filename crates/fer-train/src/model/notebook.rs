//! The network of the Keras notebook, layer by layer: 3,841,543 parameters, of which 3,837,575 are
//! trained.
//!
//! ReLU comes before batch normalisation, whose ε is 1e-3 and momentum 0.99, as Keras's. The
//! flatten order is Burn's (channels, height, width); weights that come from Keras (height, width,
//! channels) are brought into it where they are read.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::Shape;
use super::layers::{can_pool, conv, conv_macs, dense, dense_macs, pooled};
use fer_kernels::nn;
use fer_kernels::norm::Epilogue;

/// Keras adds `0.01 · Σw²` for each of the two 512-channel kernels.
const L2: f64 = 0.01;

/// The notebook's network.
#[derive(Module, Debug)]
pub struct Notebook {
    /// Image → 32, 3×3, not padded: 48 → 46 pixels.
    pub conv1: Conv2d,
    /// 32 → 64, 3×3.
    pub conv2: Conv2d,
    /// After `conv2`.
    pub norm2: BatchNorm,
    /// 64 → 128, 5×5.
    pub conv3: Conv2d,
    /// After `conv3`.
    pub norm3: BatchNorm,
    /// 128 → 512, 3×3, L2.
    pub conv4: Conv2d,
    /// After `conv4`.
    pub norm4: BatchNorm,
    /// 512 → 512, 3×3, L2.
    pub conv5: Conv2d,
    /// After `conv5`.
    pub norm5: BatchNorm,
    /// 512 channels of 2×2 pixels (of an image of 48×48) → 256.
    pub dense1: Linear,
    /// After `dense1`.
    pub norm6: BatchNorm,
    /// 256 → 512.
    pub dense2: Linear,
    /// After `dense2`.
    pub norm7: BatchNorm,
    /// 512 → classes.
    pub output: Linear,
    dropout: Dropout,
    /// `[channels, height, width]` of an image.
    pub(super) input: [usize; 3],
}

impl Notebook {
    /// The network with its kernels zero; `dropout` is the rate of all six dropout layers, 0.25 in
    /// the notebook.
    pub fn new(shape: Shape, dropout: f64, device: &Device) -> Self {
        let [height, width] = Self::sizes(shape.image())[4];
        let norm = |features| {
            BatchNormConfig::new(features)
                .with_epsilon(1e-3)
                .with_momentum(0.01)
                .init(device)
        };
        Self {
            conv1: conv([shape.channels, 32], 3, 1, 0, true, device),
            conv2: conv([32, 64], 3, 1, 1, true, device),
            norm2: norm(64),
            conv3: conv([64, 128], 5, 1, 2, true, device),
            norm3: norm(128),
            conv4: conv([128, 512], 3, 1, 1, true, device),
            norm4: norm(512),
            conv5: conv([512, 512], 3, 1, 1, true, device),
            norm5: norm(512),
            dense1: dense(512 * height * width, 256, device),
            norm6: norm(256),
            dense2: dense(256, 512, device),
            norm7: norm(512),
            output: dense(512, shape.classes, device),
            dropout: DropoutConfig::new(dropout).init(),
            input: shape.image(),
        }
    }

    /// Height and width after the first convolution and after each of the four poolings, for an
    /// image of `[channels, height, width]`, at least 3 pixels each way.
    fn sizes([_, height, width]: [usize; 3]) -> [[usize; 2]; 5] {
        let mut size = [height - 2, width - 2];
        std::array::from_fn(|i| {
            if i > 0 {
                size = pooled(size);
            }
            size
        })
    }

    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let block = |x: Tensor<4>, conv: &Conv2d, norm: &BatchNorm| {
            let [_, _, height, width] = x.dims();
            let then = match can_pool([height, width]) {
                true => Epilogue::MaxPool,
                false => Epilogue::Nothing,
            };
            nn::dropout(
                &self.dropout,
                nn::batch_norm(norm, nn::conv2d(conv, x, true), then),
            )
        };
        let x = nn::conv2d(&self.conv1, images, true);
        let x = block(x, &self.conv2, &self.norm2);
        let x = block(x, &self.conv3, &self.norm3);
        let x = block(x, &self.conv4, &self.norm4);
        let x = block(x, &self.conv5, &self.norm5);
        let x: Tensor<2> = x.flatten(1, 3);
        let block = |x: Tensor<2>, dense: &Linear, norm: &BatchNorm| {
            self.dropout
                .forward(nn::in_float32(relu(nn::dense(dense, x)), |x| {
                    norm.forward(x)
                }))
        };
        let x = block(x, &self.dense1, &self.norm6);
        let x = block(x, &self.dense2, &self.norm7);
        nn::dense(&self.output, x)
    }

    pub(super) fn penalties(&self) -> Vec<(Param<Tensor<4>>, f64)> {
        vec![
            (self.conv4.weight.clone(), L2),
            (self.conv5.weight.clone(), L2),
        ]
    }

    pub(super) fn macs(&self) -> u64 {
        let [first, second, third, fourth, _] =
            Self::sizes(self.input).map(|[height, width]| height * width);
        let convs = [
            (&self.conv1, first),
            (&self.conv2, first),
            (&self.conv3, second),
            (&self.conv4, third),
            (&self.conv5, fourth),
        ];
        let convs: u64 = convs
            .iter()
            .map(|(conv, pixels)| conv_macs(conv, *pixels))
            .sum();
        convs
            + [&self.dense1, &self.dense2, &self.output]
                .into_iter()
                .map(dense_macs)
                .sum::<u64>()
    }
}
