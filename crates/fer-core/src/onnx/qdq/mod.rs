//! Networks of 8-bit integers in ONNX files, in QDQ form, as a list of layers.
//!
//! In such a file, each tensor of bytes stands between a QuantizeLinear and a DequantizeLinear
//! node, and the nodes between two of these pairs are written as if they computed float32. [`read`]
//! joins each operator with the pairs around it into one [`Layer`]. Layers without such pairs
//! compute numbers.
//!
//! The build script compiles this folder too, and reads the models that it compiles in.

mod layer;
mod tensors;

use std::collections::{HashMap, HashSet};
use std::fmt;

pub use layer::{Conv, Layer, Operation, Quantization};
use layer::{Order, Tensor, What};
use tensors::{Weights, constants, find, int, ints, numbers};

use super::proto::{GraphProto, ModelProto, NodeProto};

/// The most values of an image, in any layer.
const MOST_VALUES: usize = 1 << 26;

/// The scales of activations. Products and quotients with those of weights, which are at most as
/// large, are finite.
const SCALES: std::ops::RangeInclusive<f32> = 1e-12..=1e12;

/// Height, width and channels.
pub type Dims = [usize; 3];

/// A network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Of the images.
    pub input: Dims,
    /// Whether the images are `[channels, height, width]`, not `[height, width, channels]`.
    pub channels_first: bool,
    /// In the order of computation. The last one's values are the output.
    pub layers: Vec<Layer>,
}

/// A graph that is not a network of known layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QdqError {
    /// The node, by its name or its output's, and its operator; empty for the whole graph.
    pub node: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for QdqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node.is_empty() {
            true => f.write_str(&self.problem),
            false => write!(f, "{}: {}", self.node, self.problem),
        }
    }
}

impl std::error::Error for QdqError {}

/// Whether a model is in QDQ form.
pub fn is_qdq(model: &ModelProto) -> bool {
    let mut nodes = model.graph.node.iter();
    nodes.any(|node| node.op_type == "QuantizeLinear")
}

/// Reads a network in QDQ form.
///
/// # Errors
/// The graph is not a chain of known layers with residual sums, or its weights are not whole.
pub fn read(model: &ModelProto) -> Result<Network, QdqError> {
    let mut reader = Reader::new(&model.graph).map_err(|problem| QdqError {
        node: String::new(),
        problem,
    })?;
    for node in &model.graph.node {
        reader.node(node).map_err(|problem| {
            let name = match node.name.is_empty() {
                true => node.output.first(),
                false => Some(&node.name),
            };
            let name = name.map(String::as_str).unwrap_or_default();
            QdqError {
                node: format!("{name} ({})", node.op_type),
                problem,
            }
        })?;
    }
    reader.finish().map_err(|problem| QdqError {
        node: String::new(),
        problem,
    })
}

/// What is known of a graph up to a node.
struct Reader<'a> {
    graph: &'a GraphProto,
    weights: HashMap<&'a str, Weights<'a>>,
    tensors: HashMap<&'a str, Tensor>,
    /// The nodes that take a tensor. The graph's output counts as one without an operator.
    takers: HashMap<&'a str, Vec<Option<&'a NodeProto>>>,
    network: Network,
    /// Of the images, and of what each layer computes.
    kinds: Vec<(Dims, Option<Quantization>)>,
}

impl<'a> Reader<'a> {
    fn new(graph: &'a GraphProto) -> Result<Self, String> {
        let weights = constants(graph);
        let stored: HashSet<&str> = weights.keys().copied().collect();
        let mut inputs = graph.input.iter().filter(|i| !stored.contains(&*i.name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return Err("it has not one input".into());
        };
        let shape = input.type_.tensor_type().shape.dim.iter();
        let sides: Vec<i64> = shape.map(|d| d.dim_value()).collect();
        let [_, sides @ ..] = &sides[..] else {
            return Err("its input has no shape".into());
        };
        let sides: Vec<usize> = sides.iter().flat_map(|d| usize::try_from(*d)).collect();
        let [a, b, c] = sides[..] else {
            return Err("its input is not a batch of images".into());
        };
        let takers = takers(graph);
        let last = channels_last(&takers, &input.name);
        let input_dims = if last { [a, b, c] } else { [b, c, a] };
        bounded(input_dims)?;
        let order = if last {
            Order::ChannelsLast
        } else {
            Order::ChannelsFirst
        };
        let what = What::Value(0);
        let images = Tensor {
            what,
            order,
            flat: false,
            shared: false,
        };
        Ok(Self {
            graph,
            weights,
            tensors: HashMap::from([(&*input.name, images)]),
            takers,
            network: Network {
                input: input_dims,
                channels_first: !last,
                layers: Vec::new(),
            },
            kinds: vec![(input_dims, None)],
        })
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), String> {
        let [output, ..] = &node.output[..] else {
            return Err("it has no output".into());
        };
        if self.tensors.contains_key(&**output) {
            return Err(format!("its output {output} is computed twice"));
        }
        match &*node.op_type {
            "Constant" => return Ok(()),
            "DequantizeLinear" if self.is_stored(node) => {
                let weights = self.dequantized_weights(node)?;
                self.weights.insert(output, weights);
                return Ok(());
            }
            _ => {}
        }
        if node.op_type == "Add" {
            let sum = self.add(node)?;
            self.tensors.insert(output, sum);
            return Ok(());
        }
        let x = self.tensor(node, 0)?;
        let bytes = self.are_bytes(x);
        let tensor = match &*node.op_type {
            "DequantizeLinear" => self.dequantize(node, x)?,
            "MaxPool" => self.max_pool(node, x)?,
            "Flatten" | "Reshape" | "Squeeze" => self.same(node, self.flatten(node, x)?),
            "Transpose" => self.same(node, self.transpose(node, x)?),
            "Identity" | "Dropout" => self.same(node, x),
            _ if bytes => return Err("it takes bytes".into()),
            "QuantizeLinear" => self.quantize(node, x)?,
            "Conv" => self.conv(node, x)?,
            "Gemm" | "MatMul" => self.dense(node, x)?,
            "Relu" => self.relu(node, x)?,
            "GlobalAveragePool" => self.mean(x)?,
            "ReduceMean" => {
                self.mean_of_sides(node)?;
                self.mean(x)?
            }
            "Softmax" => self.softmax(node, x)?,
            _ => return Err("this operator is not supported among 8-bit integers".into()),
        };
        self.tensors.insert(output, tensor);
        Ok(())
    }

    fn finish(mut self) -> Result<Network, String> {
        let [output] = &self.graph.output[..] else {
            return Err("it has not one output".into());
        };
        let Some(tensor) = self.tensors.get(&*output.name).copied() else {
            return Err(format!("nothing computes its output {}", output.name));
        };
        if self.are_bytes(tensor) {
            return Err("its output is not float32".into());
        }
        let value = self.numbers(tensor);
        match value == self.network.layers.len() && value > 0 {
            true => Ok(self.network),
            false => Err("its output is not what its last layer computes".into()),
        }
    }

    /// Whether a tensor holds bytes, not the numbers that they stand for.
    fn are_bytes(&self, x: Tensor) -> bool {
        matches!(x.what, What::Value(value) if self.kinds[value].1.is_some())
    }

    /// Whether a node takes weights.
    fn is_stored(&self, node: &NodeProto) -> bool {
        let input = node.input.first();
        input.is_some_and(|input| self.weights.contains_key(&**input))
    }

    fn tensor(&self, node: &NodeProto, index: usize) -> Result<Tensor, String> {
        let name = node
            .input
            .get(index)
            .map(String::as_str)
            .unwrap_or_default();
        let tensor = self.tensors.get(name).copied();
        tensor.ok_or_else(|| format!("its input '{name}' is not computed before it"))
    }

    /// The weights that a node takes; `None` if it takes none there.
    fn stored(&self, node: &NodeProto, index: usize) -> Result<Option<Weights<'a>>, String> {
        match node.input.get(index).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(name) => match self.weights.get(name) {
                Some(weights) => Ok(Some(weights.clone())),
                None => Err(format!("its input '{name}' is not stored in the file")),
            },
        }
    }

    /// Scale and zero point of a node for activations.
    fn quantization(&self, node: &NodeProto) -> Result<Quantization, String> {
        let missing = || "it has no scale and zero point for all channels together".to_string();
        let scale = self.stored(node, 1)?.ok_or_else(missing)?;
        let zero = self.stored(node, 2)?.ok_or_else(missing)?;
        let (scale, zero) = (numbers(&scale)?, ints(&zero, &[tensors::UINT8])?);
        match (&scale[..], &zero[..]) {
            ([scale], [zero]) if SCALES.contains(scale) => Ok(Quantization {
                scale: *scale,
                zero: u8::try_from(*zero).unwrap_or_default(),
            }),
            ([scale], [_]) => Err(format!("a scale of {scale:e} is not supported")),
            _ => Err(missing()),
        }
    }

    /// Weights with the scales by which they are dequantized.
    fn dequantized_weights(&self, node: &NodeProto) -> Result<Weights<'a>, String> {
        let Some(mut weights) = self.stored(node, 0)? else {
            return Err("it has no input".into());
        };
        let Some(scales) = self.stored(node, 1)? else {
            return Err("it has no scale".into());
        };
        if weights.scales.is_some() || int(node, "block_size").unwrap_or(0) != 0 {
            return Err("weights with scales of scales, or of blocks, are not supported".into());
        }
        let scales = numbers(&scales)?;
        let most = *SCALES.end();
        if let Some(scale) = scales.iter().find(|scale| !(0.0..=most).contains(*scale)) {
            return Err(format!("a scale of {scale:e} is not supported"));
        }
        if let Some(zero) = self.stored(node, 2)? {
            let zeros = ints(&zero, &[tensors::INT8, tensors::INT32, tensors::UINT8])?;
            if zeros.iter().any(|zero| *zero != 0) {
                return Err("weights with a zero point are not supported".into());
            }
        }
        weights.scales = Some((scales, int(node, "axis").unwrap_or(1)));
        Ok(weights)
    }

    fn push(
        &mut self,
        operation: Operation,
        inputs: [usize; 2],
        dims: Dims,
    ) -> Result<usize, String> {
        bounded(dims)?;
        let from = self.kinds[inputs[0]].1;
        let to = operation.output(from);
        self.network.layers.push(Layer { operation, inputs });
        self.kinds.push((dims, to));
        Ok(self.network.layers.len())
    }

    /// A tensor as numbers.
    fn numbers(&mut self, tensor: Tensor) -> usize {
        match tensor.what {
            What::Value(value) => value,
            What::Dequantized(value) => {
                let dims = self.kinds[value].0;
                self.network.layers.push(Layer {
                    operation: Operation::Dequantize,
                    inputs: [value; 2],
                });
                self.kinds.push((dims, None));
                self.network.layers.len()
            }
        }
    }

    /// The layer that computes a tensor of numbers, if the node alone takes it.
    fn maker(&mut self, node: &NodeProto, index: usize, tensor: Tensor) -> Option<&mut Operation> {
        match tensor.what {
            What::Value(value) if value > 0 && !tensor.shared && self.is_alone(node, index) => {
                let layer = self.network.layers.get_mut(value - 1);
                layer.map(|layer| &mut layer.operation)
            }
            _ => None,
        }
    }

    /// Whether nothing else takes what a node takes.
    fn is_alone(&self, node: &NodeProto, index: usize) -> bool {
        let takers = node
            .input
            .get(index)
            .and_then(|name| self.takers.get(&**name));
        takers.is_some_and(|nodes| nodes.len() == 1)
    }

    /// The values of a node's input under the name of its output.
    fn same(&self, node: &NodeProto, x: Tensor) -> Tensor {
        let shared = x.shared || !self.is_alone(node, 0);
        Tensor { shared, ..x }
    }

    /// Whether a layer takes bytes.
    fn takes_bytes(&self, layer: usize) -> bool {
        let inputs = self.network.layers[layer].inputs;
        inputs.iter().all(|value| self.kinds[*value].1.is_some())
    }

    fn quantize(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let to = self.quantization(node)?;
        let value = match x.what {
            What::Dequantized(value) if self.kinds[value].1 == Some(to) => value,
            What::Dequantized(value) => {
                self.push(Operation::Quantize(to), [value; 2], self.kinds[value].0)?
            }
            What::Value(value) => {
                let of_bytes = value > 0 && self.takes_bytes(value - 1);
                let maker = self.maker(node, 0, x);
                let joined = maker.is_some_and(|maker| maker.quantize(to, of_bytes));
                if joined {
                    self.kinds[value].1 = Some(to);
                    value
                } else {
                    self.push(Operation::Quantize(to), [value; 2], self.kinds[value].0)?
                }
            }
        };
        Ok(x.of(What::Value(value)))
    }

    fn dequantize(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let from = self.quantization(node)?;
        match x.what {
            What::Value(value) if self.kinds[value].1 == Some(from) => {
                Ok(x.of(What::Dequantized(value)))
            }
            _ => Err("its scale and zero point are not those of its input".into()),
        }
    }

    fn relu(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        if self.maker(node, 0, x).is_some_and(Operation::rectify) {
            return Ok(x);
        }
        let value = x.value();
        let value = self.push(Operation::Relu, [value; 2], self.kinds[value].0)?;
        Ok(x.with(value))
    }

    fn max_pool(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let [height, width, channels] = self.image(x)?;
        let [kernel, stride] = ["kernel_shape", "strides"].map(|name| sides(node, name));
        let (kernel, stride) = (kernel?.unwrap_or([1, 1]), stride?.unwrap_or([1, 1]));
        let padding = padding(node)?;
        if padding != [0; 4] || sides(node, "dilations")?.unwrap_or([1, 1]) != [1, 1] {
            return Err("max pooling with padding or dilation is not supported".into());
        }
        let out = |side: usize, i: usize| {
            let rest = side
                .checked_sub(kernel[i])
                .ok_or("its windows are larger than the image")?;
            let whole = rest.is_multiple_of(stride[i]) || int(node, "ceil_mode") != Some(1);
            let out = rest / stride[i] + 1;
            whole
                .then_some(out)
                .ok_or("windows that end outside of the image are not supported")
        };
        let dims = [out(height, 0)?, out(width, 1)?, channels];
        let value = self.push(Operation::MaxPool { kernel, stride }, [x.value(); 2], dims)?;
        Ok(x.with(value))
    }

    fn mean(&mut self, x: Tensor) -> Result<Tensor, String> {
        let [_, _, channels] = self.image(x)?;
        let value = self.push(Operation::Mean(None), [x.value(); 2], [1, 1, channels])?;
        Ok(x.of(What::Value(value)))
    }

    fn mean_of_sides(&self, node: &NodeProto) -> Result<(), String> {
        let axes = match self.stored(node, 1)? {
            Some(axes) => ints(&axes, &[tensors::INT64])?,
            None => find(node, "axes")
                .map(|a| a.ints.clone())
                .unwrap_or_default(),
        };
        let axes: HashSet<i64> = axes
            .into_iter()
            .map(|a| if a < 0 { a + 4 } else { a })
            .collect();
        match axes == HashSet::from([2, 3]) {
            true => Ok(()),
            false => Err("only the mean of all pixels is supported".into()),
        }
    }

    fn softmax(&mut self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let value = self.numbers(x);
        let dims = self.kinds[value].0;
        let flat = dims[0] * dims[1] == 1 && x.flat;
        if !flat || !matches!(int(node, "axis"), None | Some(1 | -1)) {
            return Err("only the softmax of all values of an image is supported".into());
        }
        let value = self.push(Operation::Softmax, [value; 2], dims)?;
        Ok(x.of(What::Value(value)))
    }

    fn flatten(&self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let [height, width, channels] = self.kinds[x.value()].0;
        let known = match &*node.op_type {
            "Flatten" => matches!(int(node, "axis"), None | Some(1)),
            "Squeeze" => height * width == 1,
            _ => {
                let Some(shape) = self.stored(node, 1)? else {
                    return Err("it has no shape".into());
                };
                let len = (height * width * channels) as i64;
                let shape = ints(&shape, &[tensors::INT64])?;
                matches!(shape[..], [_, last] if last == len || last == -1 && shape[0] != -1)
            }
        };
        match known {
            true => Ok(Tensor { flat: true, ..x }),
            false => Err("only reshaping to one row of values an image is supported".into()),
        }
    }

    fn transpose(&self, node: &NodeProto, x: Tensor) -> Result<Tensor, String> {
        let order = find(node, "perm")
            .map(|p| p.ints.clone())
            .unwrap_or_default();
        let order = match (x.order, &order[..]) {
            (Order::ChannelsFirst, [0, 2, 3, 1]) => Order::ChannelsLast,
            (Order::ChannelsLast, [0, 3, 1, 2]) => Order::ChannelsFirst,
            _ => return Err("only moving the channels to another place is supported".into()),
        };
        Ok(Tensor { order, ..x })
    }

    /// The dimensions of a tensor that has to be an image in ONNX's order.
    fn image(&self, x: Tensor) -> Result<Dims, String> {
        match x.order == Order::ChannelsFirst && !x.flat {
            true => Ok(self.kinds[x.value()].0),
            false => Err("its input is not [batch, channels, height, width]".into()),
        }
    }
}

/// The nodes that take each tensor.
fn takers(graph: &GraphProto) -> HashMap<&str, Vec<Option<&NodeProto>>> {
    let mut takers: HashMap<&str, Vec<Option<&NodeProto>>> = HashMap::new();
    for node in &graph.node {
        for input in &node.input {
            takers.entry(input).or_default().push(Some(node));
        }
    }
    for output in &graph.output {
        takers.entry(&output.name).or_default().push(None);
    }
    takers
}

/// Whether the images, or their bytes, are first brought from an order with the channels last into
/// ONNX's.
fn channels_last(takers: &HashMap<&str, Vec<Option<&NodeProto>>>, input: &str) -> bool {
    let mut name = input;
    for _ in 0..=takers.len() {
        let Some([Some(node)]) = takers.get(name).map(|nodes| &nodes[..]) else {
            return false;
        };
        match (&*node.op_type, node.output.first()) {
            ("QuantizeLinear" | "DequantizeLinear" | "Identity", Some(output)) => name = output,
            (operator, _) => return operator == "Transpose",
        }
    }
    false
}

/// An error if an image would have no values, or too many.
fn bounded(dims: Dims) -> Result<(), String> {
    let len = dims
        .iter()
        .try_fold(1usize, |len, side| len.checked_mul(*side));
    match len.is_some_and(|len| (1..=MOST_VALUES).contains(&len)) {
        true => Ok(()),
        false => Err(format!("images of {dims:?} values are not supported")),
    }
}

/// Two positive numbers.
fn sides(node: &NodeProto, name: &str) -> Result<Option<[usize; 2]>, String> {
    let Some(found) = find(node, name) else {
        return Ok(None);
    };
    let given = found.ints.iter().flat_map(|n| usize::try_from(*n));
    let given: Vec<usize> = given.filter(|n| (1..=MOST_VALUES).contains(n)).collect();
    match given[..] {
        [a, b] => Ok(Some([a, b])),
        _ => Err(format!("its {name} are not two positive numbers")),
    }
}

/// Above, left, below and right.
fn padding(node: &NodeProto) -> Result<[usize; 4], String> {
    let auto = find(node, "auto_pad").map(|a| String::from_utf8_lossy(&a.s).into_owned());
    if !matches!(auto.as_deref(), None | Some("" | "NOTSET" | "VALID")) {
        return Err("padding that the file does not state as numbers is not supported".into());
    }
    let Some(found) = find(node, "pads") else {
        return Ok([0; 4]);
    };
    let given = found.ints.iter().flat_map(|n| usize::try_from(*n));
    let given: Vec<usize> = given.filter(|n| *n <= MOST_VALUES).collect();
    given
        .try_into()
        .map_err(|_| "its pads are not four numbers".into())
}
