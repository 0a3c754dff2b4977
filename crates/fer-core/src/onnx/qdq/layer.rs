//! Layers, and the operators with weights that become one.

use super::super::proto::NodeProto;
use super::tensors::{INT8, INT32, Weights, find, int, ints, numbers};
use super::{Dims, Reader, bounded, padding, sides};

/// What the bytes of a tensor stand for: `scale × (byte − zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Positive and finite.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

/// A layer, which computes a value of each image.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it computes.
    pub operation: Operation,
    /// What it takes: 0 is the image, `i + 1` what layer `i` computes. Both are the same for all
    /// but sums.
    pub inputs: [usize; 2],
}

/// The shape of a convolution. A dense layer is one of a single pixel, whose channels are all
/// values of the image, each pixel's side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Of the input.
    pub input: Dims,
    /// Output channels.
    pub outputs: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Zeros above, left, below and right.
    pub padding: [usize; 4],
}

/// What a layer computes. Values are bytes where a quantization is stated, else numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Numbers or bytes → bytes.
    Quantize(Quantization),
    /// Bytes → numbers.
    Dequantize,
    /// Of bytes.
    Conv {
        /// Its shape.
        conv: Conv,
        /// `[outputs, channels, height, width]`.
        kernel: Vec<i8>,
        /// By output channel.
        scales: Vec<f32>,
        /// By output channel, in units of the input's scale times the kernel's.
        bias: Vec<i32>,
        /// Numbers that are added, by output channel; zeros if it becomes bytes.
        shift: Vec<f32>,
        /// Whether ReLU follows.
        relu: bool,
        /// What it becomes.
        to: Option<Quantization>,
    },
    /// Of numbers.
    FloatConv {
        /// Its shape.
        conv: Conv,
        /// `[outputs, channels, height, width]`.
        kernel: Vec<f32>,
        /// By output channel.
        bias: Vec<f32>,
        /// Whether ReLU follows.
        relu: bool,
    },
    /// The largest values of windows; what they stand for stays.
    MaxPool {
        /// Height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal.
        stride: [usize; 2],
    },
    /// The mean of all pixels.
    Mean(Option<Quantization>),
    /// The sum of two values of the same kind.
    Add {
        /// Whether ReLU follows.
        relu: bool,
        /// What bytes become.
        to: Option<Quantization>,
    },
    /// Negative values become 0; what bytes stand for stays.
    Relu,
    /// Of all values of an image.
    Softmax,
}

impl Operation {
    /// What its values stand for, if those of its input stand for that.
    pub(super) fn output(&self, from: Option<Quantization>) -> Option<Quantization> {
        match self {
            Self::Quantize(to) => Some(*to),
            Self::Conv { to, .. } | Self::Mean(to) | Self::Add { to, .. } => *to,
            Self::MaxPool { .. } | Self::Relu => from,
            Self::Dequantize | Self::FloatConv { .. } | Self::Softmax => None,
        }
    }

    /// Makes bytes of its numbers, if it can.
    pub(super) fn quantize(&mut self, quantization: Quantization, of_bytes: bool) -> bool {
        let to = match self {
            Self::Conv { shift, to, .. } if shift.iter().all(|s| *s == 0.0) => to,
            Self::Mean(to) | Self::Add { to, .. } if of_bytes => to,
            _ => return false,
        };
        *to = Some(quantization);
        true
    }

    /// Lets ReLU follow, if it can.
    pub(super) fn rectify(&mut self) -> bool {
        match self {
            Self::Conv { relu, .. } | Self::FloatConv { relu, .. } | Self::Add { relu, .. } => {
                *relu = true;
                true
            }
            _ => false,
        }
    }
}

/// The order of an image's values in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    ChannelsFirst,
    ChannelsLast,
}

/// A tensor between two nodes.
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    pub what: What,
    pub order: Order,
    /// Whether it is one row of values an image, in that order.
    pub flat: bool,
    /// Whether other tensors hold the same value.
    pub shared: bool,
}

/// What a tensor holds.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A value.
    Value(usize),
    /// The numbers that a value's bytes stand for.
    Dequantized(usize),
}

impl Tensor {
    /// Its value.
    pub fn value(&self) -> usize {
        match self.what {
            What::Value(value) | What::Dequantized(value) => value,
        }
    }

    /// Another value of the same kind.
    pub fn with(self, value: usize) -> Self {
        self.of(match self.what {
            What::Value(_) => What::Value(value),
            What::Dequantized(_) => What::Dequantized(value),
        })
    }

    /// Another content in the same order.
    pub fn of(self, what: What) -> Self {
        Self {
            what,
            shared: false,
            ..self
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn conv(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let input = self.image(x)?;
        let Some(kernel) = self.stored(node, 1)? else {
            return Err("it has no kernels".into());
        };
        let [outputs, channels, height, width] = kernel.dims()[..] else {
            return Err("its kernels are not of two dimensions".into());
        };
        let given = sides(node, "kernel_shape")?.unwrap_or([height, width]);
        if int(node, "group").unwrap_or(1) != 1 || channels != input[2] {
            return Err("convolutions in groups are not supported".into());
        }
        if sides(node, "dilations")?.unwrap_or([1, 1]) != [1, 1] || given != [height, width] {
            return Err("dilated convolutions are not supported".into());
        }
        let conv = Conv {
            input,
            outputs,
            kernel: [height, width],
            stride: sides(node, "strides")?.unwrap_or([1, 1]),
            padding: padding(node)?,
        };
        let bias = self.stored(node, 2)?;
        self.placed(conv, kernel, 0, |at| at, bias, x)
    }

    pub(super) fn dense(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let ones = ["alpha", "beta"]
            .into_iter()
            .all(|a| find(node, a).is_none_or(|a| a.f == 1.0));
        if !ones || int(node, "transA").unwrap_or(0) != 0 {
            return Err("factors and transposed images are not supported".into());
        }
        let Some(kernel) = self.stored(node, 1)? else {
            return Err("it has no weights".into());
        };
        let dims = self.kinds[x.value()].0;
        let inputs = dims.iter().product::<usize>();
        let transposed = int(node, "transB").unwrap_or(0) == 1;
        let outputs = match (&kernel.dims()[..], transposed) {
            ([n, k], true) | ([k, n], false) if *k == inputs && x.flat => *n,
            _ => return Err("its weights do not fit its input".into()),
        };
        let conv = Conv {
            input: [1, 1, inputs],
            outputs,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0; 4],
        };
        // Where the file has the weight of each output and each value of an image, in fer's order.
        let [height, width, channels] = dims;
        let place = move |at: usize| {
            let (output, value) = (at / inputs, at % inputs);
            let (pixel, channel) = (value / channels, value % channels);
            let input = match x.order {
                Order::ChannelsFirst => channel * height * width + pixel,
                Order::ChannelsLast => value,
            };
            match transposed {
                true => output * inputs + input,
                false => input * outputs + output,
            }
        };
        let bias = self.stored(node, 2)?;
        let axis = usize::from(!transposed);
        let tensor = self.placed(conv, kernel, axis, place, bias, x)?;
        Ok(Tensor {
            flat: true,
            ..tensor
        })
    }

    /// A convolution. The outputs of its kernels are along `axis`; `place` says where the file has
    /// their values in fer's order.
    fn placed(
        &mut self,
        conv: Conv,
        kernel: Weights,
        axis: usize,
        place: impl Fn(usize) -> usize,
        bias: Option<Weights>,
        x: Tensor,
    ) -> Result<Tensor, String> {
        let outputs = conv.outputs;
        let dims = output(&conv)?;
        bounded(dims)?;
        if let What::Dequantized(value) = x.what
            && kernel.are(INT8)
        {
            let given = ints(&kernel, &[INT8])?;
            let given: Vec<i8> = given.iter().map(|n| *n as i8).collect();
            let scales = kernel.scales_along(axis, outputs)?;
            let from = self.kinds[value].1.map_or(1.0, |from| from.scale);
            let (bias, shift) = biases(bias, &scales, from)?;
            let operation = Operation::Conv {
                conv,
                kernel: ordered(&given, place),
                scales,
                bias,
                shift,
                relu: false,
                to: None,
            };
            let value = self.push(operation, [value; 2], dims)?;
            return Ok(x.of(What::Value(value)));
        }
        let value = self.numbers(x);
        let operation = Operation::FloatConv {
            conv,
            kernel: ordered(&numbers(&kernel)?, place),
            bias: match bias {
                Some(bias) => of_channels(numbers(&bias)?, outputs)?,
                None => vec![0.0; outputs],
            },
            relu: false,
        };
        let value = self.push(operation, [value; 2], dims)?;
        Ok(x.of(What::Value(value)))
    }

    pub(super) fn add(&mut self, node: &NodeProto) -> Result<Tensor, String> {
        let stored = (0..2).find(|i| {
            let name = node.input.get(*i).map(String::as_str).unwrap_or_default();
            self.weights.contains_key(name)
        });
        let Some(stored) = stored else {
            return self.sum(node);
        };
        let x = self.tensor(node, 1 - stored)?;
        let Some(bias) = self.stored(node, stored)? else {
            return Err("it has one input".into());
        };
        let channels = self.kinds[x.value()].0[2];
        let given = numbers(&bias)?;
        let fits = match (&bias.dims()[..], x.order) {
            ([n] | [1, n], _) if x.flat => *n == channels,
            ([n, 1, 1] | [1, n, 1, 1], Order::ChannelsFirst) if !x.flat => *n == channels,
            _ => false,
        };
        let fits = fits || given.len() == 1;
        let bias = of_channels(given, channels)?;
        let to = match self.maker(node, 1 - stored, x) {
            Some(Operation::Conv {
                shift: to,
                relu: false,
                to: None,
                ..
            }) if fits => to,
            Some(Operation::FloatConv {
                bias: to,
                relu: false,
                ..
            }) if fits => to,
            _ => {
                return Err(
                    "stored numbers are added only to what a convolution or a dense layer \
                             computes"
                        .into(),
                );
            }
        };
        to.iter_mut().zip(bias).for_each(|(to, bias)| *to += bias);
        Ok(x)
    }

    /// A sum of two tensors.
    fn sum(&mut self, node: &NodeProto) -> Result<Tensor, String> {
        let [a, b] = [self.tensor(node, 0)?, self.tensor(node, 1)?];
        if self.are_bytes(a) || self.are_bytes(b) {
            return Err("it takes bytes".into());
        }
        let dims = self.kinds[a.value()].0;
        if dims != self.kinds[b.value()].0 || a.order != b.order || a.flat != b.flat {
            return Err("its inputs differ in their dimensions".into());
        }
        let bytes = [a, b]
            .iter()
            .all(|t| matches!(t.what, What::Dequantized(_)));
        let inputs = match bytes && self.becomes_bytes(node) {
            true => [a.value(), b.value()],
            false => [self.numbers(a), self.numbers(b)],
        };
        let value = self.push(
            Operation::Add {
                relu: false,
                to: None,
            },
            inputs,
            dims,
        )?;
        Ok(a.of(What::Value(value)))
    }

    /// Whether QuantizeLinear alone, or behind Relu, takes what a node computes.
    fn becomes_bytes(&self, node: &NodeProto) -> bool {
        let taker = |node: &NodeProto| -> Option<&NodeProto> {
            let takers = self.takers.get(&**node.output.first()?)?;
            match takers[..] {
                [taker] => taker,
                _ => None,
            }
        };
        let next = taker(node);
        let next = match next {
            Some(next) if next.op_type == "Relu" => taker(next),
            next => next,
        };
        next.is_some_and(|next| next.op_type == "QuantizeLinear")
    }
}

/// Values in another order, of which each is at a place.
fn ordered<T: Copy>(values: &[T], place: impl Fn(usize) -> usize) -> Vec<T> {
    (0..values.len()).map(|at| values[place(at)]).collect()
}

/// The dimensions of the output.
fn output(conv: &Conv) -> Result<Dims, String> {
    let side = |i: usize| {
        let padded = conv.input[i] + conv.padding[i] + conv.padding[i + 2];
        let rest = padded.checked_sub(conv.kernel[i]);
        rest.map(|rest| rest / conv.stride[i] + 1)
            .ok_or("its kernels are larger than its input")
    };
    let padded = |i: usize| conv.input[i] + conv.padding[i] + conv.padding[i + 2];
    bounded([padded(0), padded(1), conv.input[2]])?;
    Ok([side(0)?, side(1)?, conv.outputs])
}

/// A bias as integers in units of the input's scale times the kernels', or as numbers if it is not
/// in those units.
fn biases(
    bias: Option<Weights>,
    scales: &[f32],
    from: f32,
) -> Result<(Vec<i32>, Vec<f32>), String> {
    let outputs = scales.len();
    let (mut whole, mut shift) = (vec![0; outputs], vec![0.0; outputs]);
    let Some(bias) = bias else {
        return Ok((whole, shift));
    };
    let units = match bias.are(INT32) {
        true => bias.scales_along(0, outputs)?,
        false => Vec::new(),
    };
    let same = |(unit, scale): (&f32, &f32)| (unit - from * scale).abs() <= 1e-6 * unit;
    if !units.is_empty() && units.iter().zip(scales).all(same) {
        let given = of_channels(ints(&bias, &[INT32])?, outputs)?;
        whole = given.iter().map(|n| *n as i32).collect();
    } else {
        shift = of_channels(numbers(&bias)?, outputs)?;
    }
    Ok((whole, shift))
}

/// One value for each channel.
fn of_channels<T: Copy>(values: Vec<T>, channels: usize) -> Result<Vec<T>, String> {
    match values.len() {
        1 => Ok(vec![values[0]; channels]),
        len if len == channels => Ok(values),
        len => Err(format!("its bias has {len} values, not {channels}")),
    }
}
