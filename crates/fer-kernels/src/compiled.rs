//! The layers of compiled-in models. Their weights are constant, so everything that depends on the
//! weights alone is computed once.
//!
//! The build script's `rewrite.rs` puts these calls in the place of Burn's in the code that
//! `burn-onnx` generates.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::ParamId;
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::interpolate::Interpolate2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::chain::{First, Link};
use super::conv::Prepared;
use super::depthwise;
use super::nn;
use super::norm::{Affine, Epilogue, Statistics};
use super::ops::{self, ConvOptions};
use super::pointwise;
use super::team::together;

/// The most images that are few: to read a layer's kernels takes as long as to compute with them.
const FEW: usize = 2;

/// The most images with whose layers, which are short, the threads stay together.
const TOGETHER: usize = 8;

/// For how many images kernels are prepared: few, or many.
const PREPARED_FOR: [usize; 2] = [1, 64];

/// Values computed from a model's weights. Each model has its own. Several threads may use them at
/// once.
#[derive(Default)]
pub struct Compiled {
    /// For few images (false) and for many.
    convolutions: Kept<(ParamId, bool), Convolution>,
    direct: Kept<ParamId, Direct>,
    /// By the first layer.
    chains: Kept<ParamId, Chain>,
}

/// What is computed at the first use of a key, and kept.
struct Kept<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Kept<K, V> {
    /// The value of this key, made anew if `fits` refuses the one that is kept.
    ///
    /// No thread waits while another makes a value: a thread of the pool that makes one may be
    /// given work that wants it too. Such threads make it each for itself, and the last one's is
    /// kept.
    fn get(&self, key: K, fits: impl FnOnce(&V) -> bool, make: impl FnOnce() -> V) -> Arc<V> {
        let kept = self.values().get(&key).cloned();
        kept.filter(|value| fits(value)).unwrap_or_else(|| {
            let value = Arc::new(make());
            self.values().insert(key, value.clone());
            value
        })
    }

    fn values(&self) -> MutexGuard<'_, HashMap<K, Arc<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the first link of a chain takes.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives at a time, on the stack"
)]
pub enum Input<'a> {
    /// Images as they are.
    Image(Tensor<4>),
    /// Their 2×2 maxima.
    Pool(&'a MaxPool2d, Tensor<4>),
    /// Their sum with images of half the height and width, doubled by the layer.
    Sum(Tensor<4>, &'a Interpolate2d, Tensor<4>),
    /// A 3×3 convolution of stride 2 on three channels, and ReLU.
    Planes(&'a Conv2d, Tensor<4>),
}

/// The layers of a link: a convolution of one pixel, a depthwise one, whether ReLU follows, and max
/// pooling.
pub type Layers<'a> = (&'a Conv2d, &'a Conv2d, bool, Option<&'a MaxPool2d>);

/// A chain's kernels.
struct Chain {
    first: Option<First>,
    links: Vec<Link>,
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
    /// Of the images that it was prepared for.
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
        let many = batch > FEW;
        let dims = [PREPARED_FOR[usize::from(many)], channels, height, width];
        let prepare = || {
            let options = ConvOptions {
                stride: conv.stride,
                padding,
                relu: then_relu,
            };
            Convolution::new(conv, norm, dims, options)
        };
        let key = (conv.weight.id, many);
        let convolution = self.convolutions.get(key, |c| c.dims == dims, prepare);
        let Convolution { prepared, bias, .. } = &*convolution;
        ops::conv2d_prepared(x, prepared, bias.as_deref(), then_relu)
    }

    /// A forward pass of a model whose layers are all the kernels'. For few images, the threads
    /// stay together for all layers.
    pub fn pass<R>(&self, input: Tensor<4>, forward: impl FnOnce(Tensor<4>) -> R) -> R {
        if ops::is_plain(&input) && input.dims()[0] <= TOGETHER {
            together(|| forward(input))
        } else {
            forward(input)
        }
    }

    /// A chain of at least one link. The build script takes layers of the settings that
    /// [`chain`](super::chain) has.
    pub fn chain(&self, from: Input, layers: &[Layers]) -> Tensor<4> {
        let x = match &from {
            Input::Image(x) | Input::Pool(_, x) | Input::Sum(x, ..) | Input::Planes(_, x) => x,
        };
        let doubled = match &from {
            Input::Sum(x, _, half) => {
                let ([n, c, height, width], half) = (x.dims(), half.dims());
                half == [n, c, height / 2, width / 2] && height % 2 + width % 2 == 0
            }
            _ => true,
        };
        let Some((head, ..)) = layers.first().filter(|_| ops::is_plain(x) && doubled) else {
            return self.one_by_one(from, layers);
        };
        let make = || Chain::new(&from, layers);
        let chain = self.chains.get(head.weight.id, |_| true, make);
        let Chain { first, links } = &*chain;
        match (from, first) {
            (Input::Planes(_, x), Some(first)) => ops::chain_of_planes(x, first, links),
            (Input::Pool(_, x), _) => ops::chain(x, true, links),
            (Input::Sum(x, _, half), _) => ops::chain_of_sum(x, half, links),
            (Input::Image(x) | Input::Planes(_, x), _) => ops::chain(x, false, links),
        }
    }

    /// A chain's layers on devices that the kernels do not support.
    fn one_by_one(&self, from: Input, layers: &[Layers]) -> Tensor<4> {
        let x = match from {
            Input::Image(x) => x,
            Input::Pool(pool, x) => nn::max_pool2d(pool, x),
            Input::Sum(x, double, half) => x + double.forward(half),
            Input::Planes(conv, x) => self.conv2d(conv, None, x, true),
        };
        layers
            .iter()
            .fold(x, |x, (pointwise, depthwise, relu, pool)| {
                let x = self.conv2d(pointwise, None, x, false);
                let x = self.conv2d(depthwise, None, x, *relu);
                match pool {
                    Some(pool) => nn::max_pool2d(pool, x),
                    None => x,
                }
            })
    }

    fn depthwise(
        &self,
        conv: &Conv2d,
        norm: Option<&BatchNorm>,
        x: Tensor<4>,
        padding: [usize; 4],
        relu: bool,
    ) -> Tensor<4> {
        let prepare =
            |kernel: &[f32], scale: Option<&[f32]>| depthwise::prepare(kernel, conv.groups, scale);
        let make = || Direct::new(conv, norm, prepare);
        let direct = self.direct.get(conv.weight.id, |_| true, make);
        let Direct { kernel, bias } = &*direct;
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
        let prepare = |kernel: &[f32], scale: Option<&[f32]>| {
            pointwise::prepare(kernel, [inputs, outputs], scale)
        };
        let make = || Direct::new(conv, norm, prepare);
        let direct = self.direct.get(conv.weight.id, |_| true, make);
        let Direct { kernel, bias } = &*direct;
        ops::pointwise(x, kernel, outputs, bias.as_deref(), relu)
    }
}

impl Chain {
    fn new(from: &Input, layers: &[Layers]) -> Self {
        let weights = |conv: &Conv2d| {
            let bias = conv.bias.as_ref().map(|bias| ops::values(bias.val()));
            (ops::values(conv.weight.val().flatten(0, 3)), bias)
        };
        let first = match from {
            Input::Planes(conv, _) => {
                let (kernel, bias) = weights(conv);
                let outputs = conv.weight.dims()[0];
                Some(First::new(outputs, (&kernel, bias.as_deref())))
            }
            _ => None,
        };
        let links = layers.iter().map(|(pointwise, depthwise, relu, pool)| {
            let [outputs, inputs, ..] = pointwise.weight.dims();
            let (pointwise, depthwise) = (weights(pointwise), weights(depthwise));
            Link::new(
                [inputs, outputs],
                (&pointwise.0, pointwise.1.as_deref()),
                (&depthwise.0, depthwise.1.as_deref()),
                *relu,
                pool.is_some(),
            )
        });
        Self {
            first,
            links: links.collect(),
        }
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
