//! Convolutions whose weights are constant, as in compiled-in models: forward only, with kernels
//! that were brought into their order once.

use burn::backend::Flex;
use burn::tensor::Tensor;

use super::{ConvOptions, Image, image, plain, slice};
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
