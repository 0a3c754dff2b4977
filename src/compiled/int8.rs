//! Models of 8-bit integers: the layers of a QDQ file, on fer's kernels.

use burn::tensor::{Device, Tensor, TensorData};
use bytes::Bytes;
use fer_burn::Forward;
use fer_core::onnx::qdq::{self, Operation};
use fer_core::onnx::{OnnxError, parse_proto};
use fer_kernels::conv as floats;
use fer_kernels::int8::{Conv, Instructions, Layer, Network, Quantization};

/// The forward pass of a model that the build script has read without an error.
pub(super) fn load(onnx: &'static [u8], device: &Device) -> Forward {
    let network = match network(&Bytes::from_static(onnx), Instructions::best()) {
        Ok(network) => network,
        Err(problem) => panic!("a model that the build script has read: {problem}"),
    };
    let device = device.clone();
    Box::new(move |input| {
        let n = input.dims()[0];
        let outputs = match input.try_into_data().map(|data| data.try_into_vec::<f32>()) {
            Ok(Ok(values)) => network.forward(&values),
            Ok(Err(e)) => panic!("images of another type: {e:?}"),
            Err(e) => panic!("images that can't be read: {e:?}"),
        };
        let classes = outputs.len() / n.max(1);
        Tensor::from_data(TensorData::new(outputs, [n, classes]), &device)
    })
}

/// A QDQ file's network.
///
/// # Errors
/// The file is not an ONNX file, or has layers that the kernels do not support.
pub fn network(onnx: &Bytes, instructions: Instructions) -> Result<Network, Int8Error> {
    let model = parse_proto(onnx, "the model")?;
    let read = qdq::read(&model)?;
    let (mut network, images) = Network::new(read.input, read.channels_first, instructions);
    let mut values = vec![images];
    for qdq::Layer { operation, inputs } in read.layers {
        let [input, other] = inputs.map(|value| values[value]);
        values.push(network.add_with(layer(operation), input, other));
    }
    Ok(network)
}

/// A file that is not a network of 8-bit integers.
#[derive(Debug, thiserror::Error)]
pub enum Int8Error {
    /// It is not an ONNX file.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// It has layers that the kernels do not support.
    #[error(transparent)]
    Layers(#[from] qdq::QdqError),
}

fn layer(operation: Operation) -> Layer {
    let quantization = |of: qdq::Quantization| Quantization {
        scale: of.scale,
        zero: of.zero,
    };
    match operation {
        Operation::Quantize(to) => Layer::Quantize(quantization(to)),
        Operation::Dequantize => Layer::Dequantize,
        Operation::Conv {
            conv,
            kernel,
            scales,
            bias,
            shift,
            relu,
            to,
        } => Layer::Conv {
            conv: Conv {
                input: conv.input,
                outputs: conv.outputs,
                kernel: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                zero: 0,
            },
            kernel,
            scales,
            bias,
            shift,
            relu,
            to: to.map(quantization),
        },
        Operation::FloatConv {
            conv,
            kernel,
            bias,
            relu,
        } => {
            let [height, width, channels] = conv.input;
            Layer::FloatConv {
                conv: floats::Conv {
                    batch: 1,
                    input: [height, width],
                    channels: [channels, conv.outputs],
                    kernel: conv.kernel,
                    stride: conv.stride,
                    padding: conv.padding,
                },
                kernel,
                bias,
                relu,
            }
        }
        Operation::MaxPool { kernel, stride } => Layer::MaxPool { kernel, stride },
        Operation::Mean(to) => Layer::Mean(to.map(quantization)),
        Operation::Add { relu, to } => Layer::Add {
            relu,
            to: to.map(quantization),
        },
        Operation::Relu => Layer::Relu,
        Operation::Softmax => Layer::Softmax,
    }
}
