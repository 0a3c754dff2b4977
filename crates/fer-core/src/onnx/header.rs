//! The header of an ONNX file: inputs, outputs, metadata, and the operator that computes the
//! output.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::onnx::proto::{ModelProto, NodeProto, ValueInfoProto};

/// `TensorProto.DataType.FLOAT`, the only input type that fer supports.
pub const ELEM_FLOAT: i32 = 1;

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The tensor's name.
    pub name: String,
    /// The element type by ONNX's numbers (1 is float32).
    pub elem_type: i32,
    /// The dimensions; `None` for an open one. `None` as a whole if the file states no shape.
    pub dims: Option<Vec<Option<usize>>>,
}

/// The part of an ONNX model that is not weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The graph's inputs, without weights.
    pub inputs: Vec<Port>,
    /// The graph's outputs.
    pub outputs: Vec<Port>,
    /// The file's `metadata_props`.
    pub metadata: BTreeMap<String, String>,
    /// The operator that computes the first output. Operators that only pass values on are skipped.
    pub final_operator: Option<String>,
    /// The version of the default operator set; 0 if the file states none.
    pub opset: i64,
}

impl Header {
    /// Reads the header of a parsed model.
    pub fn of(model: &ModelProto) -> Self {
        let graph = &model.graph;
        let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let outputs: Vec<Port> = graph.output.iter().map(port).collect();
        Self {
            inputs: graph
                .input
                .iter()
                .filter(|v| !weights.contains(v.name.as_str()))
                .map(port)
                .collect(),
            final_operator: outputs.first().and_then(|o| final_operator(model, &o.name)),
            outputs,
            metadata: model
                .metadata_props
                .iter()
                .map(|p| (p.key.clone(), p.value.clone()))
                .collect(),
            opset: model
                .opset_import
                .iter()
                .find(|o| o.domain.is_empty() || o.domain == "ai.onnx")
                .map_or(0, |o| o.version),
        }
    }
}

fn port(info: &ValueInfoProto) -> Port {
    let (mut elem_type, mut dims) = (0, None);
    if let Some(ty) = info.type_.as_ref().filter(|t| t.has_tensor_type()) {
        let tensor = ty.tensor_type();
        elem_type = tensor.elem_type;
        dims = tensor.shape.as_ref().map(|shape| {
            let known = |d: i64| usize::try_from(d).ok().filter(|d| *d > 0);
            shape
                .dim
                .iter()
                .map(|d| known(if d.has_dim_value() { d.dim_value() } else { 0 }))
                .collect()
        });
    }
    Port {
        name: info.name.clone(),
        elem_type,
        dims,
    }
}

/// Follows `output` back through operators that keep the values.
fn final_operator(model: &ModelProto, output: &str) -> Option<String> {
    const PASS_ON: [&str; 6] = [
        "Identity",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
    ];
    let nodes = &model.graph.node;
    let makers: HashMap<&str, &NodeProto> = nodes
        .iter()
        .flat_map(|n| n.output.iter().map(move |o| (o.as_str(), n)))
        .collect();
    let mut name = output;
    // A hostile graph may contain a cycle: no chain is longer than the graph.
    for _ in 0..=nodes.len() {
        let node = makers.get(name)?;
        if !PASS_ON.contains(&node.op_type.as_str()) {
            return Some(node.op_type.clone());
        }
        name = node.input.first()?;
    }
    None
}
