//! The ONNX graph under construction, and its tensors as Keras sees them.
//!
//! ONNX convolves with the channels first, Keras by default with the channels last. A [`Value`] has
//! Keras's shape and records in which [`Order`] its tensor holds the values. A layer requests the
//! order that it needs, and a node is added only if the order differs.

use std::collections::HashMap;

pub(crate) use fer_core::onnx::graph::int;
use fer_core::onnx::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};

use super::tensor::{Tensor, product};

/// The most nodes of a graph: nested models that are called again and again grow without bounds.
const MAX_NODES: usize = 20_000;

/// The most values of a layer's output for one image: 256 MiB.
pub(crate) const MAX_VALUES: usize = 1 << 26;

/// Bytes of weights that every graph may have.
const ALLOWANCE: usize = 64 << 20;

/// The order of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As in Keras.
    Keras,
    /// For a Keras tensor `[height, width, channels]`: channels, height, width.
    ChannelsFirst,
    /// For a Keras vector that flattens `[height, width, channels]`: channels, then the `area` of
    /// height × width.
    FlatChannelsFirst {
        /// The number of channels.
        channels: usize,
        /// Height × width.
        area: usize,
    },
}

/// A tensor of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// Its name.
    pub(crate) name: String,
    /// Keras's shape, without the batch.
    pub(crate) shape: Vec<usize>,
    /// The order of its values.
    pub(crate) order: Order,
}

impl Value {
    pub(crate) fn new(name: String, shape: Vec<usize>, order: Order) -> Self {
        Self { name, shape, order }
    }

    /// The tensor's axis (the batch is axis 0) for an axis of Keras's, which may count from the
    /// end.
    ///
    /// # Errors
    /// It is the batch, or there is no such axis.
    pub(crate) fn axis(&self, axis: i64) -> Result<usize, String> {
        Ok(match (self.order, self.keras_axis(axis)?) {
            (Order::ChannelsFirst, 3) => 1,
            (Order::ChannelsFirst, keras) => keras + 1,
            (_, keras) => keras,
        })
    }

    /// An axis of Keras's (the batch is axis 0), counted from the start.
    ///
    /// # Errors
    /// As [`Value::axis`].
    pub(crate) fn keras_axis(&self, axis: i64) -> Result<usize, String> {
        let rank = self.shape.len() as i64;
        let keras = if axis < 0 { axis + rank + 1 } else { axis };
        if !(1..=rank).contains(&keras) {
            return Err(format!("its input of rank {rank} has no axis {axis}"));
        }
        Ok(keras as usize)
    }
}

/// An image tensor with the channels first, whatever Keras's order is.
pub(crate) struct Planes {
    pub(crate) name: String,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Planes {
    /// As Keras's tensor again.
    pub(crate) fn value(self, channels_first: bool) -> Value {
        let Self {
            name,
            channels: c,
            height: h,
            width: w,
        } = self;
        if channels_first {
            Value::new(name, vec![c, h, w], Order::Keras)
        } else {
            Value::new(name, vec![h, w, c], Order::ChannelsFirst)
        }
    }
}

/// The graph so far.
#[derive(Default)]
pub(crate) struct Graph {
    /// The nodes, each after its inputs.
    pub(crate) nodes: Vec<NodeProto>,
    /// The weights.
    pub(crate) weights: Vec<TensorProto>,
    /// The names in use, and the last number appended to each.
    names: HashMap<String, usize>,
    /// The layer whose nodes are being added.
    scope: String,
    /// The number of layers begun.
    calls: usize,
    /// Bytes of all weights.
    bytes: usize,
    /// The most bytes of weights at the beginning of a layer.
    limit: usize,
    /// The length of the axis that each node of [`Graph::along`] works along.
    lengths: HashMap<String, usize>,
    /// Tensors with the values of another tensor in another order.
    reordered: HashMap<(String, bool), Value>,
}

impl Graph {
    /// A graph for layers with this many weights in the Keras file. The weights that ONNX needs in
    /// addition are few.
    pub(crate) fn new(values: usize) -> Self {
        Self {
            limit: values
                .saturating_mul(4 * size_of::<f32>())
                .saturating_add(ALLOWANCE),
            ..Self::default()
        }
    }

    /// Begins a layer, after which its nodes and weights are named. Returns the index of its first
    /// node.
    ///
    /// # Errors
    /// The graph has grown too large.
    pub(crate) fn begin(&mut self, layer: &str) -> Result<usize, String> {
        self.calls += 1;
        if self.nodes.len() > MAX_NODES || self.calls > MAX_NODES {
            return Err(format!(
                "with it, the graph has more than {MAX_NODES} nodes or calls of layers"
            ));
        }
        if self.bytes > self.limit {
            return Err(format!(
                "before it, the graph has {} MiB of weights that are not in the file",
                self.bytes >> 20
            ));
        }
        self.scope = layer.to_string();
        Ok(self.nodes.len())
    }

    /// Ends the layer whose nodes begin at `start`. Its output, if it is a new tensor, gets the
    /// layer's name.
    ///
    /// # Errors
    /// The output is too large for any image classifier.
    pub(crate) fn end(&mut self, start: usize, mut value: Value) -> Result<Value, String> {
        if product(&value.shape).is_none_or(|n| n > MAX_VALUES || n == 0) {
            return Err(format!("it returns {:?} values for an image", value.shape));
        }
        if self.nodes[start..]
            .iter()
            .any(|n| n.output.contains(&value.name))
        {
            let name = self.unique(self.scope.clone());
            self.rename(start, &value.name, &name);
            value.name = name;
        }
        Ok(value)
    }

    /// Reserves a name for an input or output.
    pub(crate) fn reserve(&mut self, name: &str) {
        self.names.insert(name.to_string(), 0);
    }

    /// Renames a tensor in the nodes from `start` on.
    pub(crate) fn rename(&mut self, start: usize, old: &str, new: &str) {
        for name in self.nodes[start..]
            .iter_mut()
            .flat_map(|n| n.input.iter_mut().chain(&mut n.output))
        {
            if name == old {
                *name = new.to_string();
            }
        }
        self.reordered
            .retain(|(from, _), to| from != old && to.name != old);
    }

    fn unique(&mut self, name: String) -> String {
        let mut chosen = name.clone();
        while self.names.contains_key(&chosen) {
            // If a name is in use, the numbers already appended to it are not tried again.
            let count = self.names.entry(name.clone()).or_default();
            *count += 1;
            chosen = format!("{name}_{count}");
        }
        self.names.insert(chosen.clone(), 0);
        chosen
    }

    /// Adds a node and returns the name of its output.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.unique(format!("{}/{operator}", self.scope));
        let output = format!("{name}/output");
        self.nodes.push(NodeProto {
            op_type: operator.into(),
            name,
            input: inputs.iter().map(|i| i.to_string()).collect(),
            output: vec![output.clone()],
            attribute: attributes,
            ..Default::default()
        });
        output
    }

    /// Adds a node that keeps shape and order.
    pub(crate) fn map(
        &mut self,
        operator: &str,
        value: &Value,
        more: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        let inputs: Vec<&str> = std::iter::once(value.name.as_str())
            .chain(more.iter().copied())
            .collect();
        Value {
            name: self.node(operator, &inputs, attributes),
            ..value.clone()
        }
    }

    /// Adds a node that keeps shape and order and works along an axis of Keras's.
    ///
    /// # Errors
    /// It is not an axis of the value.
    pub(crate) fn along(
        &mut self,
        operator: &str,
        value: &Value,
        axis: i64,
    ) -> Result<Value, String> {
        let length = value.shape[value.keras_axis(axis)? - 1];
        let axis = int("axis", value.axis(axis)? as i64);
        let result = self.map(operator, value, &[], vec![axis]);
        let node = self.nodes.last().map(|n| n.name.clone());
        self.lengths.extend(node.map(|name| (name, length)));
        Ok(result)
    }

    /// The length of the axis that a node works along, if [`Graph::along`] made it.
    pub(crate) fn length(&self, node: &NodeProto) -> Option<usize> {
        self.lengths.get(&node.name).copied()
    }

    /// Stores a weight and returns its name, which consists of the layer's name and its own.
    pub(crate) fn weight(&mut self, name: &str, tensor: &Tensor) -> String {
        let raw: Vec<u8> = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.store(
            name,
            &tensor.dims.iter().map(|d| *d as i64).collect::<Vec<_>>(),
            fer_core::onnx::ELEM_FLOAT,
            raw,
        )
    }

    /// Stores integers, such as a shape.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        /// `TensorProto.DataType.INT64`.
        const INT64: i32 = 7;
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.store(name, &[values.len() as i64], INT64, raw)
    }

    /// The node that outputs a tensor.
    pub(crate) fn maker(&self, tensor: &str) -> Option<&NodeProto> {
        self.nodes
            .iter()
            .find(|n| n.output.iter().any(|o| o == tensor))
    }

    /// A weight that is one float32 value.
    pub(crate) fn scalar(&self, name: &str) -> Option<f32> {
        let bytes = &self.weights.iter().find(|t| t.name == name)?.raw_data;
        Some(f32::from_le_bytes(bytes.as_ref().try_into().ok()?))
    }

    /// A layer that is called again finds its weights here.
    fn store(&mut self, name: &str, dims: &[i64], data_type: i32, raw: Vec<u8>) -> String {
        let name = format!("{}/{name}", self.scope);
        let same = |t: &&TensorProto| t.name == name && t.dims == dims && t.raw_data == raw;
        if let Some(stored) = self.weights.iter().rev().find(same) {
            return stored.name.clone();
        }
        let name = self.unique(name);
        let dims = dims.to_vec();
        self.bytes += raw.len();
        self.weights.push(TensorProto {
            name: name.clone(),
            dims,
            data_type,
            raw_data: raw.into(),
            ..Default::default()
        });
        name
    }

    /// The same values in another shape; the batch stays open.
    pub(crate) fn reshape(&mut self, name: &str, dims: &[usize]) -> String {
        let shape: Vec<i64> = std::iter::once(-1)
            .chain(dims.iter().map(|d| *d as i64))
            .collect();
        let shape = self.integers("shape", &shape);
        // Of two consecutive reshapes, only the second is needed.
        let from = self
            .nodes
            .iter()
            .rev()
            .find(|n| n.output.iter().any(|o| o == name) && n.op_type == "Reshape");
        let from = from
            .and_then(|n| n.input.first())
            .cloned()
            .unwrap_or_else(|| name.to_string());
        self.node("Reshape", &[&from, &shape], Vec::new())
    }

    /// The value with the order of Keras.
    pub(crate) fn keras_order(&mut self, value: &Value) -> Value {
        match (value.order, &value.shape[..]) {
            (Order::ChannelsFirst, &[h, w, c]) => {
                self.reorder(value, Order::Keras, [0, 2, 3, 1], [h, w, c])
            }
            (Order::FlatChannelsFirst { channels, area }, _) => {
                let planes = self.reshape(&value.name, &[channels, area]);
                let last = self.node("Transpose", &[&planes], vec![ints("perm", &[0, 2, 1])]);
                Value::new(
                    self.node("Flatten", &[&last], vec![int("axis", 1)]),
                    value.shape.clone(),
                    Order::Keras,
                )
            }
            _ => value.clone(),
        }
    }

    /// The value with the channels first. Only a Keras tensor `[height, width, channels]` can have
    /// this order.
    pub(crate) fn channels_first(&mut self, value: &Value) -> Value {
        match (value.order, &value.shape[..]) {
            (Order::Keras, &[h, w, c]) => {
                self.reorder(value, Order::ChannelsFirst, [0, 3, 1, 2], [c, h, w])
            }
            _ => value.clone(),
        }
    }

    fn reorder(&mut self, value: &Value, order: Order, axes: [i64; 4], dims: [usize; 3]) -> Value {
        let key = |name: &str, to: Order| (name.to_string(), to == Order::Keras);
        if let Some(known) = self.reordered.get(&key(&value.name, order)) {
            return known.clone();
        }
        // With one channel or one pixel, both orders are the same.
        let moved = if value.shape[2] == 1 || value.shape[0] * value.shape[1] == 1 {
            self.reshape(&value.name, &dims)
        } else {
            self.node("Transpose", &[&value.name], vec![ints("perm", &axes)])
        };
        let moved = Value {
            name: moved,
            shape: value.shape.clone(),
            order,
        };
        self.reordered
            .insert(key(&value.name, order), moved.clone());
        self.reordered
            .insert(key(&moved.name, value.order), value.clone());
        moved
    }

    /// The image tensor for a layer with `data_format`.
    ///
    /// # Errors
    /// It is not an image tensor.
    pub(crate) fn planes(&mut self, value: &Value, channels_first: bool) -> Result<Planes, String> {
        let value = if channels_first {
            self.keras_order(value)
        } else {
            self.channels_first(value)
        };
        let [a, b, c] = value.shape[..] else {
            return Err(format!(
                "its input is {:?}; it takes height, width and channels",
                value.shape
            ));
        };
        let (channels, height, width) = if channels_first { (a, b, c) } else { (c, a, b) };
        Ok(Planes {
            name: value.name,
            channels,
            height,
            width,
        })
    }
}

/// A float attribute.
pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::FLOAT.into(),
        f: value,
        ..Default::default()
    }
}

/// An attribute of several integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::INTS.into(),
        ints: values.to_vec(),
        ..Default::default()
    }
}

/// A string attribute.
pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::STRING.into(),
        s: value.as_bytes().to_vec().into(),
        ..Default::default()
    }
}
