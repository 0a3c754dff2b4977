//! What `burn-onnx` leaves to be done on the protobuf: a softmax, names that stay the same, shapes
//! that are known folded away, metadata, and tiny weights set to zero.

use std::collections::{BTreeMap, HashMap, HashSet};

use fer_core::onnx::proto::{GraphProto, Message, ModelProto, NodeProto};

use fer_core::onnx::graph::int;
use fer_core::onnx::{self, flush};

/// The names of the file's input and output.
const INPUT: &str = "input";
const OUTPUT: &str = "probabilities";

/// The operators that are left.
const OPERATORS: [&str; 9] = [
    "Conv",
    "BatchNormalization",
    "Relu",
    "MaxPool",
    "GlobalAveragePool",
    "Flatten",
    "MatMul",
    "Add",
    "Softmax",
];

/// Finishes an exported model; `name` is the graph's.
///
/// # Errors
/// The graph has another form than the networks of this project give.
pub fn postprocess(
    bytes: &[u8],
    name: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let mut model =
        ModelProto::parse_from_bytes(bytes).map_err(|e| format!("burn-onnx wrote no ONNX: {e}"))?;
    let graph = model.graph.as_mut().ok_or("burn-onnx wrote no graph")?;
    graph.name = name.into();
    fold_biases(graph)?;
    fold_flatten(graph);
    add_softmax(graph)?;
    drop_unused(graph);
    rename(graph)?;
    if let Some(node) = graph
        .node
        .iter()
        .find(|n| !OPERATORS.contains(&n.op_type.as_str()))
    {
        return Err(format!(
            "the exported graph has an operator {} that is not meant to be there",
            node.op_type
        ));
    }
    model.producer_name = "fer".into();
    model.producer_version = env!("CARGO_PKG_VERSION").into();
    for (key, value) in metadata {
        model.metadata_props.push(Default::default());
        if let Some(entry) = model.metadata_props.last_mut() {
            (entry.key, entry.value) = (key.clone(), value.clone());
        }
    }
    flush::flush_tiny_weights(&mut model);
    model
        .write_to_bytes()
        .map_err(|e| format!("can't write the ONNX file: {e}"))
}

/// A dense layer's bias is stored as `[n]` and brought to `[1, n]` by a Reshape: both add alike.
fn fold_biases(graph: &mut GraphProto) -> Result<(), String> {
    let stored: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let mut same: HashMap<String, String> = HashMap::new();
    graph.node.retain(|node| {
        let bias =
            node.op_type == "Reshape" && node.input.first().is_some_and(|i| stored.contains(i));
        if bias && let ([from, ..], [to, ..]) = (&node.input[..], &node.output[..]) {
            same.insert(to.clone(), from.clone());
        }
        !bias
    });
    for name in same.values() {
        let tensor = graph.initializer.iter().find(|t| t.name == *name);
        if tensor.is_none_or(|t| t.dims.len() != 1) {
            return Err(format!(
                "the exported graph reshapes {name}, which is not a bias"
            ));
        }
    }
    for input in graph.node.iter_mut().flat_map(|n| n.input.iter_mut()) {
        if let Some(name) = same.get(input) {
            *input = name.clone();
        }
    }
    Ok(())
}

/// What is left of Reshape is the flattening before the first dense layer, its batch size computed
/// by Shape, Gather and Concat.
fn fold_flatten(graph: &mut GraphProto) {
    for node in graph.node.iter_mut().filter(|n| n.op_type == "Reshape") {
        node.op_type = "Flatten".into();
        node.input.truncate(1);
        node.attribute = vec![int("axis", 1)];
    }
}

fn add_softmax(graph: &mut GraphProto) -> Result<(), String> {
    let [output] = &mut graph.output[..] else {
        return Err("the exported graph has not one output".into());
    };
    let logits = std::mem::replace(&mut output.name, OUTPUT.into());
    graph.node.push(NodeProto {
        op_type: "Softmax".into(),
        input: vec![logits],
        output: vec![OUTPUT.into()],
        attribute: vec![int("axis", 1)],
        ..Default::default()
    });
    Ok(())
}

fn drop_unused(graph: &mut GraphProto) {
    onnx::graph::drop_unused(&mut graph.node, &mut graph.initializer, [OUTPUT.into()]);
    graph.value_info.clear();
}

/// Names weights after the network's layers, and nodes and tensors after the layer whose weights
/// they use, or after their operator.
fn rename(graph: &mut GraphProto) -> Result<(), String> {
    let [input] = &mut graph.input[..] else {
        return Err("the exported graph has not one input".into());
    };
    let mut names: HashMap<String, String> = HashMap::new();
    names.insert(
        std::mem::replace(&mut input.name, INPUT.into()),
        INPUT.into(),
    );
    names.insert(OUTPUT.into(), OUTPUT.into());
    for tensor in &mut graph.initializer {
        // The first part is the name of the Rust type.
        let short = tensor
            .name
            .split_once('.')
            .map_or(tensor.name.as_str(), |(_, rest)| rest)
            .to_string();
        names.insert(std::mem::replace(&mut tensor.name, short.clone()), short);
    }
    // Weights in the order of the layers, which is that of their names' first use.
    let order = graph
        .node
        .iter()
        .flat_map(|n| &n.input)
        .filter_map(|i| names.get(i))
        .filter(|n| n.contains('.'));
    let place: HashMap<String, usize> = order.cloned().enumerate().map(|(i, n)| (n, i)).collect();
    graph
        .initializer
        .sort_by_key(|t| place.get(&t.name).copied());
    let mut counts: HashMap<String, usize> = HashMap::new();
    for node in &mut graph.node {
        let weights = node
            .input
            .iter()
            .skip(1)
            .filter_map(|i| names.get(i))
            .filter(|n| place.contains_key(*n));
        let weight = weights.filter_map(|n| n.rsplit_once('.')).next();
        let base = match weight {
            Some((layer, _)) if node.op_type != "Add" => layer.to_string(),
            Some((layer, _)) => format!("{layer}.add"),
            None => node.op_type.to_lowercase(),
        };
        let count = counts.entry(base.clone()).or_default();
        *count += 1;
        node.name = if weight.is_some() {
            base
        } else {
            format!("{base}{count}")
        };
        for output in &node.output {
            names
                .entry(output.clone())
                .or_insert_with(|| node.name.clone());
        }
        for name in node.input.iter_mut().chain(&mut node.output) {
            if let Some(new) = names.get(name) {
                *name = new.clone();
            }
        }
    }
    Ok(())
}
