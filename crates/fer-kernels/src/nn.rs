//! Burn's layers, computed by the kernels where possible, and by Burn on other backends, under the
//! exporter's capture device, and for settings that the kernels do not support.
//!
//! A layer and the operation after it are one function if they are one pass over the memory.
//! `compiled.rs` has the layers of compiled-in models, whose weights are constant.

use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, Dropout, Linear, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::linear;
use burn::tensor::ops::ConvOptions as BurnConvOptions;
use burn::tensor::{DType, Distribution, FloatDType, Tensor};

use super::norm::Epilogue;
use super::ops::{self, ConvOptions};
use super::{elementwise, ops::takes, pointwise, sum};

/// A convolution, with a ReLU if requested.
pub fn conv2d(conv: &Conv2d, x: Tensor<4>, then_relu: bool) -> Tensor<4> {
    match padding(conv).filter(|_| takes(&x)) {
        Some(padding) => {
            let options = ConvOptions {
                stride: conv.stride,
                padding,
                relu: then_relu,
            };
            ops::conv2d(
                x,
                conv.weight.val(),
                conv.bias.as_ref().map(|b| b.val()),
                options,
            )
        }
        None if then_relu => relu(plain_conv2d(conv, x)),
        None => plain_conv2d(conv, x),
    }
}

/// Whether values have a type that weights are converted to, for mixed precision.
fn is_narrow<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.dtype(), DType::BF16 | DType::F16)
}

/// A convolution by Burn. The weights are converted to the type of the images, if the padding is
/// known.
fn plain_conv2d(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    match padding(conv) {
        Some([top, left, bottom, right]) if is_narrow(&x) => {
            let dtype = x.dtype();
            let pads = [(top, bottom), (left, right)];
            let options =
                BurnConvOptions::new_with_padding(conv.stride, pads, conv.dilation, conv.groups);
            let bias = conv.bias.as_ref().map(|bias| bias.val().cast(dtype));
            burn::tensor::module::conv2d(x, conv.weight.val().cast(dtype), bias, options)
        }
        _ => in_float32(x, |x| conv.forward(x)),
    }
}

/// A dense layer. Its weights are converted to the input's type.
pub fn dense(layer: &Linear, x: Tensor<2>) -> Tensor<2> {
    if !is_narrow(&x) {
        return layer.forward(x);
    }
    let dtype = x.dtype();
    linear(
        x,
        layer.weight.val().cast(dtype),
        layer.bias.as_ref().map(|b| b.val().cast(dtype)),
    )
}

/// A layer that is computed in float32 for an input of any type. The output has the type of the
/// input.
pub fn in_float32<const D: usize>(
    x: Tensor<D>,
    layer: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if !is_narrow(&x) {
        return layer(x);
    }
    let dtype = x.dtype();
    layer(x.cast(FloatDType::F32)).cast(dtype)
}

/// The padding of a convolution that the kernels support.
pub(super) fn padding(conv: &Conv2d) -> Option<[usize; 4]> {
    explicit_padding(conv).filter(|_| conv.groups == 1)
}

/// The padding of a depthwise convolution that the kernels support, in compiled-in models.
pub(super) fn depthwise_padding(conv: &Conv2d) -> Option<[usize; 4]> {
    let [outputs, inputs, _, _] = conv.weight.dims();
    explicit_padding(conv).filter(|_| conv.groups == outputs && inputs == 1)
}

/// Whether a convolution has kernels of one pixel and few channels, and is computed directly in
/// compiled-in models.
pub(super) fn is_pointwise(conv: &Conv2d) -> bool {
    let [outputs, inputs, ..] = conv.weight.dims();
    padding(conv) == Some([0; 4])
        && conv.kernel_size == [1, 1]
        && conv.stride == [1, 1]
        && inputs.max(outputs) <= pointwise::MOST
}

fn explicit_padding(conv: &Conv2d) -> Option<[usize; 4]> {
    if conv.dilation != [1, 1] {
        return None;
    }
    match conv.padding {
        PaddingConfig2d::Valid => Some([0; 4]),
        // Burn's order is top, left, bottom, right.
        PaddingConfig2d::Explicit(top, left, bottom, right) => Some([top, left, bottom, right]),
        PaddingConfig2d::Same => None,
    }
}

/// Batch normalization, and the operation after it.
pub fn batch_norm(norm: &BatchNorm, x: Tensor<4>, then: Epilogue) -> Tensor<4> {
    if is_narrow(&x) {
        return in_float32(x, |x| batch_norm(norm, x, then));
    }
    let learns = x.device().is_autodiff();
    let training = learns && norm.training.is_enabled();
    // Burn computes a frozen normalization in a network that trains.
    if !takes(&x) || learns && !training {
        return after(norm.forward(x), then);
    }
    if !training {
        return sum::batch_norms([(x, parameters(norm))], norm.epsilon, then);
    }
    let (y, mean, variance) =
        ops::batch_norm_train(x, norm.gamma.val(), norm.beta.val(), norm.epsilon, then);
    remember(norm, [mean, variance]);
    y
}

/// The sum of batch normalizations with the same ε, of inputs of one shape, and the operation after
/// the sum; `P` is `3 N`.
pub fn batch_norm_sum<const N: usize, const P: usize>(
    terms: [(&BatchNorm, Tensor<4>); N],
    then: Epilogue,
) -> Tensor<4> {
    let (norms, x) = (terms.each_ref().map(|(norm, _)| *norm), &terms[0].1);
    let learns = x.device().is_autodiff();
    let training = learns && norms.iter().all(|norm| norm.training.is_enabled());
    if !takes(x) || learns && !training {
        let normalized = terms
            .into_iter()
            .map(|(norm, x)| batch_norm(norm, x, Epilogue::Nothing));
        let Some(sum) = normalized.reduce(|a, b| a + b) else {
            unreachable!("there is a first one")
        };
        return after(sum, then);
    }
    let epsilon = norms[0].epsilon;
    if !training {
        return sum::batch_norms(terms.map(|(norm, x)| (x, parameters(norm))), epsilon, then);
    }
    let terms = terms.map(|(norm, x)| (x, norm.gamma.val(), norm.beta.val()));
    let (y, statistics) = sum::batch_norms_train::<N, P>(terms, epsilon, then);
    norms
        .into_iter()
        .zip(statistics)
        .for_each(|(norm, batch)| remember(norm, batch));
    y
}

/// The operation after a normalization, by Burn.
fn after(y: Tensor<4>, then: Epilogue) -> Tensor<4> {
    match then {
        Epilogue::Nothing => y,
        Epilogue::Relu => relu(y),
        Epilogue::MaxPool => MaxPool2dConfig::new([2, 2])
            .with_strides([2, 2])
            .init()
            .forward(y),
    }
}

/// γ, β, and the running mean and variance.
fn parameters(norm: &BatchNorm) -> [Tensor<1>; 4] {
    [
        norm.gamma.val(),
        norm.beta.val(),
        norm.running_mean.value(),
        norm.running_var.value(),
    ]
}

/// Moves the running mean and variance towards those of the batch.
fn remember(norm: &BatchNorm, batch: [Tensor<1>; 2]) {
    for (running, batch) in [&norm.running_mean, &norm.running_var]
        .into_iter()
        .zip(batch)
    {
        let moved = running
            .value_sync()
            .mul_scalar(1.0 - norm.momentum)
            .add(batch.mul_scalar(norm.momentum));
        running.update(moved.detach());
    }
}

/// Max pooling.
pub fn max_pool2d(pool: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
    if halves(pool) && ops::is_plain(&x) {
        ops::max_pool(x)
    } else {
        pool.forward(x)
    }
}

/// Whether max pooling has 2 × 2 windows with stride 2, leaving out an odd last row or column.
pub(super) fn halves(pool: &MaxPool2d) -> bool {
    let unpadded = matches!(
        pool.padding,
        PaddingConfig2d::Valid | PaddingConfig2d::Explicit(0, 0, 0, 0)
    );
    unpadded
        && pool.kernel_size == [2, 2]
        && pool.stride == [2, 2]
        && pool.dilation == [1, 1]
        && !pool.ceil_mode
}

/// Dropout, on a device with autodiff.
///
/// Its random numbers come from one number of the device's generator, so
/// [`burn::tensor::Device::seed`] decides.
pub fn dropout(dropout: &Dropout, x: Tensor<4>) -> Tensor<4> {
    if !takes(&x) {
        return dropout.forward(x);
    }
    if !dropout.training.is_enabled() || !x.device().is_autodiff() || dropout.prob == 0.0 {
        return x;
    }
    // Two integers that `f32` represents exactly.
    let limit = f64::from(1 << 24);
    let drawn = Tensor::<1>::random(
        [2],
        Distribution::Uniform(0.0, limit),
        &x.device().without_autodiff(),
    );
    let seed = drawn
        .into_data()
        .iter::<f32>()
        .fold(0, |seed, value| seed << 24 | u64::from(value as u32));
    ops::dropout(
        x,
        elementwise::Dropout {
            rate: dropout.prob,
            seed,
        },
    )
}

/// `max(a + b, 0)`.
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if takes(&a) {
        ops::add_relu(a, b)
    } else {
        relu(a + b)
    }
}

/// The same tensor twice, for two branches that join again. Both branches must lead to the loss.
pub fn branch(x: Tensor<4>) -> [Tensor<4>; 2] {
    if takes(&x) {
        ops::branch(x)
    } else {
        [x.clone(), x]
    }
}
