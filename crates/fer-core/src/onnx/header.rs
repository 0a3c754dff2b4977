//! The header of an ONNX file: inputs, outputs, metadata, and the operators that compute the
//! outputs.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::onnx::proto::{ModelProto, NodeProto, ValueInfoProto};

/// `TensorProto.DataType.FLOAT`: float32, the type of the tensors that engines take and return.
pub const ELEM_FLOAT: i32 = 1;

/// `TensorProto.DataType`'s names, by number.
const ELEM_NAMES: [&str; 17] = [
    "no tensor",
    "float32",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "strings",
    "bool",
    "float16",
    "float64",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
];

/// The name of an element type.
pub fn elem_type_name(elem_type: i32) -> &'static str {
    let index = usize::try_from(elem_type).unwrap_or(usize::MAX);
    ELEM_NAMES
        .get(index)
        .copied()
        .unwrap_or("of an unknown type")
}

/// Whether an element type is of floating-point numbers: float32, float16, float64 or bfloat16.
pub fn is_float(elem_type: i32) -> bool {
    matches!(elem_type, ELEM_FLOAT | 10 | 11 | 16)
}

/// Whether an element type holds the whole numbers 0..=255: an integer's, but not int8.
pub fn is_whole(elem_type: i32) -> bool {
    matches!(elem_type, 2 | 4..=7 | 12 | 13)
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The tensor's name.
    pub name: String,
    /// The element type by ONNX's numbers (1 is float32).
    pub elem_type: i32,
    /// The dimensions; `None` for an open one. `None` as a whole if the file states no shape.
    pub dims: Option<Vec<Option<usize>>>,
    /// Of an output, the operator that computes it. Operators that only pass values on are skipped.
    pub operator: Option<String>,
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
    /// The version of the default operator set; 0 if the file states none.
    pub opset: i64,
}

impl Header {
    /// Reads the header of a parsed model.
    pub fn of(model: &ModelProto) -> Self {
        let graph = &model.graph;
        let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let nodes = &graph.node;
        let makers: HashMap<&str, &NodeProto> = nodes
            .iter()
            .flat_map(|n| n.output.iter().map(move |o| (o.as_str(), n)))
            .collect();
        let output = |info: &ValueInfoProto| Port {
            operator: operator(&makers, &info.name),
            ..port(info)
        };
        Self {
            inputs: graph
                .input
                .iter()
                .filter(|v| !weights.contains(v.name.as_str()))
                .map(port)
                .collect(),
            outputs: graph.output.iter().map(output).collect(),
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
        operator: None,
    }
}

/// The operator that computes a tensor, behind operators that keep the values.
fn operator(makers: &HashMap<&str, &NodeProto>, tensor: &str) -> Option<String> {
    const PASS_ON: [&str; 8] = [
        "Identity",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "QuantizeLinear",
        "DequantizeLinear",
    ];
    let mut name = tensor;
    // A hostile graph may contain a cycle: no chain is longer than the graph.
    for _ in 0..=makers.len() {
        let node = makers.get(name)?;
        if !PASS_ON.contains(&node.op_type.as_str()) {
            return Some(node.op_type.clone());
        }
        name = node.input.first()?;
    }
    None
}
