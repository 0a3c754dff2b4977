//! A graph's nodes and weights, looked up by the names of tensors.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use fer_core::onnx::ELEM_FLOAT;
use fer_core::onnx::graph::drop_unused;
use fer_core::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// `TensorProto.DataType`'s number of uint8.
pub(crate) const UINT8: i32 = 2;
/// Of int8.
pub(crate) const INT8: i32 = 3;
/// Of int32.
pub(crate) const INT32: i32 = 6;

/// Operators that only pass values on: their output has the values of their input, or some of them.
pub(crate) const PASS_ON: [&str; 8] = [
    "MaxPool",
    "Flatten",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Dropout",
];

/// Who makes and who takes each tensor.
pub(crate) struct Links {
    /// The node that makes a tensor.
    makers: HashMap<String, usize>,
    /// The nodes that take a tensor, once for each place.
    takers: HashMap<String, Vec<usize>>,
    /// The graph's outputs.
    outputs: HashSet<String>,
}

impl Links {
    pub fn of(graph: &GraphProto) -> Self {
        let (mut makers, mut takers) = (HashMap::new(), HashMap::<String, Vec<usize>>::new());
        for (index, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                makers.insert(output.clone(), index);
            }
            for input in node.input.iter().filter(|name| !name.is_empty()) {
                takers.entry(input.clone()).or_default().push(index);
            }
        }
        let outputs = graph.output.iter().map(|port| port.name.clone()).collect();
        Self {
            makers,
            takers,
            outputs,
        }
    }

    pub fn maker(&self, tensor: &str) -> Option<usize> {
        self.makers.get(tensor).copied()
    }

    pub fn takers(&self, tensor: &str) -> &[usize] {
        self.takers.get(tensor).map_or(&[], Vec::as_slice)
    }

    pub fn is_output(&self, tensor: &str) -> bool {
        self.outputs.contains(tensor)
    }

    /// The only node that takes a tensor, if nothing else uses it.
    pub fn only_taker(&self, tensor: &str) -> Option<usize> {
        match self.takers(tensor) {
            [only] if !self.is_output(tensor) => Some(*only),
            _ => None,
        }
    }
}

/// The place of each initializer.
pub(crate) fn weights(graph: &GraphProto) -> HashMap<String, usize> {
    let names = graph.initializer.iter().enumerate();
    names.map(|(i, t)| (t.name.clone(), i)).collect()
}

/// The values of a float32 tensor; `None` if it is of another type, or has another number of values
/// than its dimensions say.
pub(crate) fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != ELEM_FLOAT {
        return None;
    }
    let size = tensor.dims.iter().try_fold(1usize, |size, dim| {
        size.checked_mul(usize::try_from(*dim).ok()?)
    })?;
    let values: Vec<f32> = if tensor.raw_data.is_empty() {
        tensor.float_data.clone()
    } else {
        let bytes = tensor.raw_data.chunks_exact(4);
        bytes
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    (values.len() == size).then_some(values)
}

/// The dimensions of a tensor.
pub(crate) fn dims(tensor: &TensorProto) -> Option<Vec<usize>> {
    let dims = tensor.dims.iter();
    dims.map(|d| usize::try_from(*d).ok()).collect()
}

fn tensor(name: &str, dims: &[usize], data_type: i32, raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.iter().map(|d| *d as i64).collect(),
        data_type,
        raw_data: Bytes::from(raw),
        ..Default::default()
    }
}

pub(crate) fn float_tensor(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, dims, ELEM_FLOAT, raw)
}

pub(crate) fn int8_tensor(name: &str, dims: &[usize], values: &[i8]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, dims, INT8, raw)
}

pub(crate) fn uint8_scalar(name: &str, value: u8) -> TensorProto {
    tensor(name, &[], UINT8, vec![value])
}

pub(crate) fn int32_tensor(name: &str, values: &[i32]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, &[values.len()], INT32, raw)
}

pub(crate) fn node(
    op_type: &str,
    name: &str,
    inputs: &[&str],
    output: &str,
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        name: name.into(),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        attribute: attributes,
        ..Default::default()
    }
}

/// An output of the graph, float32 of any shape.
pub(crate) fn float_output(name: &str) -> ValueInfoProto {
    let mut info = ValueInfoProto {
        name: name.into(),
        ..Default::default()
    };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = ELEM_FLOAT;
    info
}

/// The attribute of that name.
pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// An attribute of integers, or what holds without it.
pub(crate) fn ints(node: &NodeProto, name: &str, default: &[i64]) -> Vec<i64> {
    attribute(node, name).map_or_else(|| default.to_vec(), |a| a.ints.clone())
}

/// An attribute of one integer, or what holds without it.
pub(crate) fn int_of(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

/// An attribute of one float, or what holds without it.
pub(crate) fn float_of(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |a| a.f)
}

/// Leaves out the nodes and weights that the outputs do not depend on.
pub(crate) fn prune(graph: &mut GraphProto) {
    let outputs = graph.output.iter().map(|port| port.name.clone());
    drop_unused(&mut graph.node, &mut graph.initializer, outputs);
}

/// New names for tensors.
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub fn of(graph: &GraphProto) -> Self {
        let nodes = graph.node.iter();
        let tensors = nodes.flat_map(|n| n.input.iter().chain(&n.output));
        let weights = graph.initializer.iter().map(|t| &t.name);
        let ports = graph.input.iter().chain(&graph.output).map(|p| &p.name);
        Self(tensors.chain(weights).chain(ports).cloned().collect())
    }

    /// `wish`, with a number if there is a tensor of that name.
    pub fn unused(&mut self, wish: &str) -> String {
        let mut name = wish.to_string();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            name = format!("{wish}_{number}");
            number += 1;
        }
        name
    }
}
