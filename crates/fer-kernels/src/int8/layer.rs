//! Layers, and what they become once it is known what they take.

use super::super::conv as floats;
use super::conv::{Conv, Output, Prepared, Target};
use super::pass::{self, Threads};
use super::{Instructions, Quantization};

/// Height, width and channels of an image.
pub type Dims = [usize; 3];

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Numbers → bytes, or bytes → other bytes for the same numbers.
    Quantize(Quantization),
    /// Bytes → numbers.
    Dequantize,
    /// The convolution of bytes. If it takes one pixel with as many channels as the image has
    /// values, it is a dense layer.
    Conv {
        /// Its shape; the input's zero point is that of the input.
        conv: Conv,
        /// `[outputs, channels, height, width]`.
        kernel: Vec<i8>,
        /// The scales of the kernels, by output channel.
        scales: Vec<f32>,
        /// By output channel, in units of the input's scale times the kernel's.
        bias: Vec<i32>,
        /// What is added to numbers, by output channel.
        shift: Vec<f32>,
        /// Whether ReLU follows.
        relu: bool,
        /// What it becomes; `None` for numbers.
        to: Option<Quantization>,
    },
    /// The convolution of numbers, also as a dense layer.
    FloatConv {
        /// Its shape.
        conv: floats::Conv,
        /// `[outputs, channels, height, width]`.
        kernel: Vec<f32>,
        /// By output channel.
        bias: Vec<f32>,
        /// Whether ReLU follows.
        relu: bool,
    },
    /// The largest value of each window, without padding.
    MaxPool {
        /// Height and width of a window.
        kernel: [usize; 2],
        /// Vertical and horizontal.
        stride: [usize; 2],
    },
    /// The mean of all pixels; of bytes, as bytes of this quantization or as numbers.
    Mean(Option<Quantization>),
    /// The sum of two values: bytes as bytes of this quantization, or numbers.
    Add {
        /// Whether ReLU follows.
        relu: bool,
        /// What bytes become; `None` for numbers.
        to: Option<Quantization>,
    },
    /// Negative values become 0.
    Relu,
    /// The softmax of all values of an image of numbers.
    Softmax,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub dims: Dims,
    /// `None` for numbers.
    pub quantization: Option<Quantization>,
}

impl Kind {
    /// The values of an image.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

/// The content of a value.
pub enum Buffer {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Floats(Vec::new())
    }
}

/// A layer that takes a known kind of values.
pub enum Operation {
    Quantize(Quantization),
    Dequantize(Quantization),
    Table(Box<[u8; 256]>),
    Conv(Prepared),
    FloatConv(floats::Prepared, Vec<f32>, bool),
    MaxPool([usize; 2], [usize; 2]),
    Mean(Option<Quantization>, Option<Quantization>),
    AddBytes([Quantization; 2], Quantization, u8),
    AddFloats(bool),
    Relu,
    Softmax,
}

impl Layer {
    /// The operation on values of these kinds, of which most layers take the first alone, and the
    /// kind of what it computes.
    ///
    /// # Panics
    /// The layer does not take such values, or its weights do not fit.
    pub fn operation(self, inputs: [Kind; 2], instructions: Instructions) -> (Operation, Kind) {
        let [input, other] = inputs;
        let Kind { dims, quantization } = input;
        let kind = |dims, quantization| Kind { dims, quantization };
        match (self, quantization) {
            (Self::Quantize(to), None) => (Operation::Quantize(to), kind(dims, Some(to))),
            (Self::Quantize(to), Some(from)) => {
                let table = std::array::from_fn(|byte| to.byte(from.number(byte as u8)));
                (Operation::Table(Box::new(table)), kind(dims, Some(to)))
            }
            (Self::Dequantize, Some(from)) => (Operation::Dequantize(from), kind(dims, None)),
            (
                Self::Conv {
                    mut conv,
                    kernel,
                    scales,
                    bias,
                    shift,
                    relu,
                    to,
                },
                Some(from),
            ) => {
                assert_eq!(
                    conv.input.iter().product::<usize>(),
                    input.len(),
                    "{conv:?} of {dims:?}"
                );
                conv.zero = from.zero;
                let scale = |of: &f32| from.scale * of / to.map_or(1.0, |to| to.scale);
                let scale = scales.iter().map(scale).collect();
                let output = match to {
                    Some(Quantization { zero, .. }) => {
                        assert!(shift.iter().all(|s| *s == 0.0), "bytes with a shift");
                        let least = if relu { zero } else { 0 };
                        Output::Bytes { scale, zero, least }
                    }
                    None => Output::Floats { scale, shift, relu },
                };
                let prepared = Prepared::new(conv, &kernel, &bias, output, instructions);
                (Operation::Conv(prepared), kind(conv.output(), to))
            }
            (
                Self::FloatConv {
                    conv,
                    kernel,
                    bias,
                    relu,
                },
                None,
            ) => {
                assert_eq!(conv.input_len(), input.len(), "{conv:?} of {dims:?}");
                assert_eq!(bias.len(), conv.channels[1], "bias of {conv:?}");
                let [height, width] = conv.output();
                let prepared = floats::Prepared::new(conv, &kernel);
                let output = kind([height, width, conv.channels[1]], None);
                (Operation::FloatConv(prepared, bias, relu), output)
            }
            (Self::MaxPool { kernel, stride }, _) => {
                let [height, width, channels] = dims;
                let fits = kernel[0] <= height && kernel[1] <= width;
                let moves = kernel.iter().chain(&stride).all(|n| *n > 0);
                assert!(
                    fits && moves,
                    "windows of {kernel:?}, {stride:?} in {dims:?}"
                );
                let out = |side: usize, i: usize| (side - kernel[i]) / stride[i] + 1;
                let output = [out(height, 0), out(width, 1), channels];
                (
                    Operation::MaxPool(kernel, stride),
                    kind(output, quantization),
                )
            }
            (Self::Mean(to), from) if to.is_none() || from.is_some() => {
                (Operation::Mean(from, to), kind([1, 1, dims[2]], to))
            }
            (Self::Add { relu, to: Some(to) }, Some(a)) if other.dims == dims => {
                let Some(b) = other.quantization else {
                    panic!("the sum of bytes and numbers")
                };
                let least = if relu { to.zero } else { 0 };
                (Operation::AddBytes([a, b], to, least), kind(dims, Some(to)))
            }
            (Self::Add { relu, to: None }, None)
                if other.dims == dims && other.quantization.is_none() =>
            {
                (Operation::AddFloats(relu), kind(dims, None))
            }
            (Self::Relu, None) => (Operation::Relu, input),
            (Self::Relu, Some(of)) => {
                let table = std::array::from_fn(|byte| of.zero.max(byte as u8));
                (Operation::Table(Box::new(table)), input)
            }
            (Self::Softmax, None) => (Operation::Softmax, input),
            (layer, _) => panic!("{layer:?} of {inputs:?}"),
        }
    }
}

impl Operation {
    /// Computes the output for some images. `kinds` are those of the first input and of the output,
    /// `room` is a buffer for it.
    pub fn run(
        &self,
        inputs: [&Buffer; 2],
        kinds: [Kind; 2],
        mut room: Buffer,
        threads: Threads,
    ) -> Buffer {
        let [dims, _] = kinds.map(|kind| kind.dims);
        let [in_len, out_len] = kinds.map(|kind| kind.len());
        match (self, inputs[0], &mut room) {
            (Self::Quantize(to), Buffer::Floats(input), Buffer::Bytes(output)) => {
                let pairs = output.iter_mut().zip(input);
                pairs.for_each(|(to_byte, from)| *to_byte = to.byte(*from));
            }
            (Self::Dequantize(from), Buffer::Bytes(input), Buffer::Floats(output)) => {
                let pairs = output.iter_mut().zip(input);
                pairs.for_each(|(to, byte)| *to = from.number(*byte));
            }
            (Self::Table(table), Buffer::Bytes(input), Buffer::Bytes(output)) => {
                let pairs = output.iter_mut().zip(input);
                pairs.for_each(|(to, from)| *to = table[usize::from(*from)]);
            }
            (Self::Conv(prepared), Buffer::Bytes(input), Buffer::Bytes(output)) => {
                prepared.forward(input, Target::Bytes(output), threads);
            }
            (Self::Conv(prepared), Buffer::Bytes(input), Buffer::Floats(output)) => {
                prepared.forward(input, Target::Floats(output), threads);
            }
            (
                Self::FloatConv(prepared, bias, relu),
                Buffer::Floats(input),
                Buffer::Floats(output),
            ) => {
                *output = prepared.forward(input.len() / in_len, input, Some(bias), *relu);
            }
            (Self::MaxPool(kernel, stride), Buffer::Bytes(input), Buffer::Bytes(output)) => {
                for (image, output) in pairs(input, in_len, output, out_len) {
                    pass::max_pool(image, dims, *kernel, *stride, output, u8::max);
                }
            }
            (Self::MaxPool(kernel, stride), Buffer::Floats(input), Buffer::Floats(output)) => {
                for (image, output) in pairs(input, in_len, output, out_len) {
                    pass::max_pool(image, dims, *kernel, *stride, output, f32::max);
                }
            }
            (Self::Mean(Some(from), Some(to)), Buffer::Bytes(input), Buffer::Bytes(output)) => {
                for (image, output) in pairs(input, in_len, output, out_len) {
                    from.mean_bytes(image, *to, output);
                }
            }
            (Self::Mean(Some(from), None), Buffer::Bytes(input), Buffer::Floats(output)) => {
                for (image, output) in pairs(input, in_len, output, out_len) {
                    from.mean(image, output);
                }
            }
            (Self::Mean(None, _), Buffer::Floats(input), Buffer::Floats(output)) => {
                for (image, output) in pairs(input, in_len, output, out_len) {
                    pass::mean(image, output);
                }
            }
            (Self::AddBytes([a, b], to, least), Buffer::Bytes(input), Buffer::Bytes(output)) => {
                let Buffer::Bytes(other) = inputs[1] else {
                    unreachable!("`operation` looked at both");
                };
                to.add([(input, *a), (other, *b)], *least, output);
            }
            (Self::AddFloats(relu), Buffer::Floats(input), Buffer::Floats(output)) => {
                let Buffer::Floats(other) = inputs[1] else {
                    unreachable!("`operation` looked at both");
                };
                let least = if *relu { 0.0 } else { f32::NEG_INFINITY };
                let pairs = output.iter_mut().zip(input.iter().zip(other));
                pairs.for_each(|(to, (a, b))| *to = least.max(a + b));
            }
            (Self::Relu, Buffer::Floats(input), Buffer::Floats(output)) => {
                let pairs = output.iter_mut().zip(input);
                pairs.for_each(|(to, from)| *to = from.max(0.0));
            }
            (Self::Softmax, Buffer::Floats(input), Buffer::Floats(output)) => {
                output.copy_from_slice(input);
                output.chunks_exact_mut(out_len).for_each(pass::softmax);
            }
            _ => unreachable!("`operation` looked at what there is"),
        }
        room
    }
}

/// Each image and the part of the output for it.
fn pairs<'a, A, B>(
    input: &'a [A],
    in_len: usize,
    output: &'a mut [B],
    out_len: usize,
) -> impl Iterator<Item = (&'a [A], &'a mut [B])> {
    input
        .chunks_exact(in_len)
        .zip(output.chunks_exact_mut(out_len))
}
