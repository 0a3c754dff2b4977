//! The layers of compiled-in models. Their weights are constant, so everything that depends on the
//! weights alone is computed once.
//!
//! The build script's `rewrite.rs` puts these calls in the place of Burn's in the code that
//! `burn-onnx` generates.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::module::ParamId;
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::conv::Prepared;
use super::depthwise;
use super::nn;
use super::norm::{Affine, Epilogue, Statistics};
use super::ops::{self, ConvOptions};
use super::pointwise;

/// Kernels are prepared again for a batch that is this many times as large as the last one.
const LARGER: usize = 4;

/// Values computed from a model's weights. Each model has its own.
#[derive(Default)]
pub struct Compiled {
    convolutions: RefCell<HashMap<ParamId, Convolution>>,
    direct: RefCell<HashMap<ParamId, Direct>>,
}

/// A convolution that is computed without matrices: its kernels as `depthwise` or `pointwise` take
/// them, and its bias.
struct Direct {
    kernel: Vec<f32>,
    bias: Option<Vec<f32>>,
}

struct Convolution {
    prepared: Prepared,
    bias: Option<Vec<f32>>,
    /// Height and width of the images that it was prepared for.
    dims: [usize; 4],
}

impl Compiled {
    /// A convolution, a batch normalization of its output, and a ReLU.
    pub fn conv2d(
        &self,
        conv: &Conv2d,
        norm: Option<&BatchNorm>,
        x: Tensor<4>,
        then_relu: bool,
    ) -> Tensor<4> {
        if ops::is_plain(&x) {
            if let Some(padding) = nn::depthwise_padding(conv) {
                return self.depthwise(conv, norm, x, padding, then_relu);
            }
            if nn::is_pointwise(conv) {
                return self.pointwise(conv, norm, x, then_relu);
            }
        }
        let Some(padding) = nn::padding(conv).filter(|_| ops::is_plain(&x)) else {
            let y = conv.forward(x);
            let y = norm.iter().fold(y, |y, norm| norm.forward(y));
            return if then_relu { relu(y) } else { y };
        };
        let [batch, channels, height, width] = x.dims();
        let mut convolutions = self.convolutions.borrow_mut();
        let prepared = convolutions.get(&conv.weight.id).filter(|c| {
            let [planned, _, planned_height, planned_width] = c.dims;
            [planned_height, planned_width] == [height, width] && batch < LARGER * planned
        });
        if prepared.is_none() {
            let options = ConvOptions {
                stride: conv.stride,
                padding,
                relu: then_relu,
            };
            let dims = [batch, channels, height, width];
            convolutions.insert(conv.weight.id, Convolution::new(conv, norm, dims, options));
        }
        match convolutions.get(&conv.weight.id) {
            Some(Convolution { prepared, bias, .. }) => {
                ops::conv2d_prepared(x, prepared, bias.as_deref(), then_relu)
            }
            None => unreachable!("it was just inserted"),
        }
    }

    fn depthwise(
        &self,
        conv: &Conv2d,
        norm: Option<&BatchNorm>,
        x: Tensor<4>,
        padding: [usize; 4],
        relu: bool,
    ) -> Tensor<4> {
        let mut direct = self.direct.borrow_mut();
        let Direct { kernel, bias } = direct.entry(conv.weight.id).or_insert_with(|| {
            Direct::new(conv, norm, |kernel, scale| {
                depthwise::prepare(kernel, conv.groups, scale)
            })
        });
        let options = ConvOptions {
            stride: conv.stride,
            padding,
            relu,
        };
        ops::depthwise(x, conv.kernel_size, kernel, bias.as_deref(), options)
    }

    fn pointwise(
        &self,
        conv: &Conv2d,
        norm: Option<&BatchNorm>,
        x: Tensor<4>,
        relu: bool,
    ) -> Tensor<4> {
        let [outputs, inputs, ..] = conv.weight.dims();
        let mut direct = self.direct.borrow_mut();
        let Direct { kernel, bias } = direct.entry(conv.weight.id).or_insert_with(|| {
            Direct::new(conv, norm, |kernel, scale| {
                pointwise::prepare(kernel, [inputs, outputs], scale)
            })
        });
        ops::pointwise(x, kernel, outputs, bias.as_deref(), relu)
    }
}

impl Direct {
    /// The normalization is folded into the kernels and the bias; `prepare` orders the kernels,
    /// multiplied by the factors of the output channels.
    fn new(
        conv: &Conv2d,
        norm: Option<&BatchNorm>,
        prepare: impl FnOnce(&[f32], Option<&[f32]>) -> Vec<f32>,
    ) -> Self {
        let (scale, bias) = folded(conv, norm);
        let kernel = ops::values(conv.weight.val().flatten(0, 3));
        Self {
            kernel: prepare(&kernel, scale.as_deref()),
            bias,
        }
    }
}

/// The factor of each output channel's kernels, and the bias, with the normalization folded in.
fn folded(conv: &Conv2d, norm: Option<&BatchNorm>) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
    let bias = conv.bias.as_ref().map(|b| ops::values(b.val()));
    let Some(Affine { scale, shift }) = norm.map(affine) else {
        return (None, bias);
    };
    let bias = match bias {
        None => shift,
        Some(bias) => bias
            .iter()
            .zip(&scale)
            .zip(&shift)
            .map(|((b, scale), shift)| b * scale + shift)
            .collect(),
    };
    (Some(scale), Some(bias))
}

impl Convolution {
    /// The normalization is folded into the kernels and the bias.
    fn new(
        conv: &Conv2d,
        norm: Option<&BatchNorm>,
        dims: [usize; 4],
        options: ConvOptions,
    ) -> Self {
        let [batch, channels, height, width] = dims;
        let (scale, bias) = folded(conv, norm);
        let prepared = ops::prepare(
            [batch, height, width, channels],
            conv.weight.val(),
            scale.as_deref(),
            options,
        );
        Self {
            prepared,
            bias,
            dims,
        }
    }
}

fn affine(norm: &BatchNorm) -> Affine {
    let statistics = Statistics {
        mean: ops::values(norm.running_mean.value()),
        variance: ops::values(norm.running_var.value()),
    };
    Affine::new(
        &statistics,
        &ops::values(norm.gamma.val()),
        &ops::values(norm.beta.val()),
        norm.epsilon,
    )
}

/// A batch normalization of a tensor of any rank, and a ReLU.
pub fn batch_norm<const D: usize>(norm: &BatchNorm, x: Tensor<D>, then_relu: bool) -> Tensor<D> {
    if D == 4 && ops::is_plain(&x) {
        let then = if then_relu {
            Epilogue::Relu
        } else {
            Epilogue::Nothing
        };
        return ops::as_rank(nn::batch_norm(norm, ops::as_rank(x), then));
    }
    let y = norm.forward(x);
    if then_relu { relu(y) } else { y }
}

/// A batch normalization, then max pooling.
pub fn batch_norm_max_pool2d(norm: &BatchNorm, pool: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
    if nn::halves(pool) {
        nn::batch_norm(norm, x, Epilogue::MaxPool)
    } else {
        pool.forward(nn::batch_norm(norm, x, Epilogue::Nothing))
    }
}

/// A sum, then ReLU.
pub fn add_relu<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if D == 4 && a.dims() == b.dims() && ops::is_plain(&a) {
        return ops::as_rank(ops::add_relu(ops::as_rank(a), ops::as_rank(b)));
    }
    relu(a + b)
}
