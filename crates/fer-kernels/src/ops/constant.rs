//! Convolutions whose weights are constant, as in compiled-in models: forward only, with kernels
//! that were brought into their order once.

use burn::backend::Flex;
use burn::tensor::Tensor;

use super::{ConvOptions, Image, image, plain, slice};
use crate::chain::{Chain, First, Link, Source};
use crate::conv::Prepared;
use crate::depthwise::Depthwise;
use crate::pointwise;

/// Convolution with kernels that were prepared for the height and width of `x`; not on an autodiff
/// device.
pub fn conv2d_prepared(
    x: Tensor<4>,
    prepared: &Prepared,
    bias: Option<&[f32]>,
    relu: bool,
) -> Tensor<4> {
    let input = Image::new(plain(x));
    let conv = prepared.conv(input.dims()[0]);
    let [height, width] = conv.output();
    let output = prepared.forward(conv.batch, input.values(), bias, relu);
    Tensor::from_primitive::<Flex>(image([conv.batch, height, width, conv.channels[1]], output))
}

/// Depthwise convolution with kernels that [`depthwise::prepare`](crate::depthwise::prepare) made;
/// not on an autodiff device.
pub fn depthwise(
    x: Tensor<4>,
    size: [usize; 2],
    kernel: &[f32],
    bias: Option<&[f32]>,
    options: ConvOptions,
) -> Tensor<4> {
    let input = Image::new(plain(x));
    let [batch, height, width, channels] = input.dims();
    let shape = Depthwise {
        batch,
        input: [height, width],
        channels,
        kernel: size,
        stride: options.stride,
        padding: options.padding,
    };
    let output = shape.forward(input.values(), kernel, bias, options.relu);
    let [height, width] = shape.output();
    Tensor::from_primitive::<Flex>(image([batch, height, width, channels], output))
}

/// Convolution with kernels of one pixel that [`pointwise::prepare`] made; not on an autodiff
/// device.
pub fn pointwise(
    x: Tensor<4>,
    kernel: &[f32],
    outputs: usize,
    bias: Option<&[f32]>,
    relu: bool,
) -> Tensor<4> {
    let input = Image::new(plain(x));
    let [batch, height, width, channels] = input.dims();
    let output = pointwise::forward(input.values(), kernel, [channels, outputs], bias, relu);
    Tensor::from_primitive::<Flex>(image([batch, height, width, outputs], output))
}

/// A chain on an image as it is, or on its 2×2 maxima; not on an autodiff device.
pub fn chain(x: Tensor<4>, pool: bool, links: &[Link]) -> Tensor<4> {
    let input = Image::new(plain(x));
    let source = match pool {
        true => Source::Pool(input.values()),
        false => Source::Image(input.values()),
    };
    forward(input.dims(), source, links)
}

/// A chain on the sum of an image and one of half its height and width; not on an autodiff device.
pub fn chain_of_sum(x: Tensor<4>, half: Tensor<4>, links: &[Link]) -> Tensor<4> {
    let (input, half) = (Image::new(plain(x)), Image::new(plain(half)));
    forward(
        input.dims(),
        Source::Sum(input.values(), half.values()),
        links,
    )
}

/// A chain on three planes, by a first convolution; not on an autodiff device.
pub fn chain_of_planes(x: Tensor<4>, first: &First, links: &[Link]) -> Tensor<4> {
    let [batch, planes, height, width] = x.dims();
    let input = plain(x).to_contiguous();
    let dims = [batch, height, width, planes];
    forward(dims, Source::Planes(slice(&input), first), links)
}

fn forward([batch, height, width, _]: [usize; 4], source: Source, links: &[Link]) -> Tensor<4> {
    let chain = Chain {
        batch,
        size: [height, width],
        source,
        links,
    };
    let [height, width, channels] = chain.output();
    Tensor::from_primitive::<Flex>(image([batch, height, width, channels], chain.forward()))
}

/// The prepared kernels of a layer for images of this height and width, multiplied by `scale` for
/// each output channel.
pub fn prepare(
    input: [usize; 4],
    kernel: Tensor<4>,
    scale: Option<&[f32]>,
    options: ConvOptions,
) -> Prepared {
    let kernel = plain(kernel).to_contiguous();
    let conv = options.conv(input, &kernel);
    let mut values = slice(&kernel).to_vec();
    if let Some(scale) = scale {
        let each = (values.len() / scale.len().max(1)).max(1);
        for (values, scale) in values.chunks_exact_mut(each).zip(scale) {
            values.iter_mut().for_each(|v| *v *= scale);
        }
    }
    Prepared::new(conv, &values)
}

/// The values of a vector; not on an autodiff device.
pub fn values(tensor: Tensor<1>) -> Vec<f32> {
    slice(&plain(tensor).to_contiguous()).to_vec()
}
