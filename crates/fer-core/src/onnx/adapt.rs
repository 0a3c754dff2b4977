//! Files whose input or output is not float32, or that have several outputs → files with one
//! float32 input and one float32 output.

use std::collections::HashSet;

use bytes::Bytes;

use super::graph::int;
use super::header::ELEM_FLOAT;
use super::proto::{GraphProto, Message, NodeProto};
use super::{OnnxError, malformed, parse_proto};

/// Puts casts before the input and behind the output `output` of the model called `name`, where
/// they are not float32, and removes the other outputs. Tensors inside the graph keep their names.
///
/// # Errors
/// The bytes are not an ONNX model.
pub fn adapt(bytes: &Bytes, output: &str, name: &str) -> Result<Bytes, OnnxError> {
    let mut model = parse_proto(bytes, name)?;
    let graph = model.graph.mut_or_insert_default();
    graph.output.retain(|port| port.name == output);
    cast_input(graph);
    cast_output(graph);
    let bytes = model.write_to_bytes();
    Ok(bytes.map_err(|e| malformed(name, &e.to_string()))?.into())
}

/// The graph takes float32 under a new name, and a cast makes the tensor of the old one.
fn cast_input(graph: &mut GraphProto) {
    let weights: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let renamed = unused(graph, "float32_input");
    let ports = graph.input.iter_mut();
    let Some(port) = ports.into_iter().find(|p| !weights.contains(&p.name)) else {
        return;
    };
    let tensor = port.type_.mut_or_insert_default().mut_tensor_type();
    if tensor.elem_type != ELEM_FLOAT {
        let elem_type = std::mem::replace(&mut tensor.elem_type, ELEM_FLOAT);
        let old = std::mem::replace(&mut port.name, renamed.clone());
        graph.node.insert(0, cast(&renamed, &old, elem_type));
    }
}

/// A cast makes the graph's output of the tensor that was it.
fn cast_output(graph: &mut GraphProto) {
    let renamed = unused(graph, "float32_output");
    let Some(port) = graph.output.first_mut() else {
        return;
    };
    let tensor = port.type_.mut_or_insert_default().mut_tensor_type();
    if tensor.elem_type != ELEM_FLOAT {
        tensor.elem_type = ELEM_FLOAT;
        let old = std::mem::replace(&mut port.name, renamed.clone());
        graph.node.push(cast(&old, &renamed, ELEM_FLOAT));
    }
}

fn cast(from: &str, to: &str, elem_type: i32) -> NodeProto {
    NodeProto {
        op_type: "Cast".into(),
        name: format!("{to}/Cast"),
        input: vec![from.into()],
        output: vec![to.into()],
        attribute: vec![int("to", elem_type.into())],
        ..Default::default()
    }
}

/// `wish`, with a number if the graph has a tensor of that name.
fn unused(graph: &GraphProto, wish: &str) -> String {
    let nodes = graph
        .node
        .iter()
        .flat_map(|n| n.input.iter().chain(&n.output));
    let weights = graph.initializer.iter().map(|t| &t.name);
    let taken: HashSet<&str> = nodes.chain(weights).map(String::as_str).collect();
    let numbered = (1..).map(|i| format!("{wish}_{i}"));
    std::iter::once(wish.to_string())
        .chain(numbered)
        .find(|name| !taken.contains(name.as_str()))
        .unwrap_or_default()
}
