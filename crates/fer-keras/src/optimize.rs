//! Makes the graph smaller without changing its outputs: batch normalizations are folded into the
//! preceding linear layer, unused nodes are removed, and weights are stored in the order of their
//! use.

use std::collections::HashMap;

use fer_core::onnx;
use fer_core::onnx::proto::{NodeProto, TensorProto};

use super::graph::Graph;

/// Optimizes a graph whose output is the tensor `output`.
pub(crate) fn optimize(graph: &mut Graph, output: &str) {
    drop_unused(graph, output);
    fold_batch_norms(graph, output);
    drop_unused(graph, output);
    let places = graph.nodes.iter().flat_map(|n| n.input.iter().cloned());
    let mut place = HashMap::new();
    for name in places {
        let next = place.len();
        place.entry(name).or_insert(next);
    }
    graph.weights.sort_by_key(|t| place.get(&t.name).copied());
}

fn drop_unused(graph: &mut Graph, output: &str) {
    onnx::graph::drop_unused(&mut graph.nodes, &mut graph.weights, [output.into()]);
}

/// If a convolution or dense layer is directly followed by a batch normalization, the two are one
/// linear map. If an activation or padding is between them, both stay.
fn fold_batch_norms(graph: &mut Graph, output: &str) {
    let mut uses: HashMap<&str, usize> = HashMap::from([(output, 1)]);
    for name in graph.nodes.iter().flat_map(|n| &n.input) {
        *uses.entry(name).or_default() += 1;
    }
    let makers: HashMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
        .collect();
    let alone = |name: &String| uses.get(name.as_str()) == Some(&1);
    let mut pairs = Vec::new();
    for (index, norm) in graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, n)| n.op_type == "BatchNormalization")
    {
        let Some(linear) = norm
            .input
            .first()
            .filter(|i| alone(i))
            .and_then(|i| makers.get(i.as_str()))
        else {
            continue;
        };
        let node = &graph.nodes[*linear];
        // A dense layer along the last of several axes is a MatMul. The normalization after it may
        // be along another axis.
        let known = matches!(node.op_type.as_str(), "Conv" | "Gemm");
        if known
            && node
                .input
                .iter()
                .skip(1)
                .chain(norm.input.iter().skip(1))
                .all(alone)
        {
            pairs.push((*linear, index));
        }
    }
    for (linear, norm) in pairs {
        // A node of another form stays unchanged.
        if let Some(folded) = fold(graph, linear, norm) {
            graph.nodes[linear] = folded;
            graph.nodes[norm].output.clear();
        }
    }
    graph.nodes.retain(|n| !n.output.is_empty());
}

/// The linear node with the normalization folded into its weights. The weights are changed in
/// place. A bias is added if there is none.
fn fold(graph: &mut Graph, linear: usize, norm: usize) -> Option<NodeProto> {
    let (mut node, norm) = (graph.nodes[linear].clone(), graph.nodes[norm].clone());
    let epsilon = f64::from(norm.attribute.iter().find(|a| a.name == "epsilon")?.f);
    let read = |name: Option<&String>| {
        Some(floats(
            graph.weights.iter().find(|t| Some(&t.name) == name)?,
        ))
    };
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| read(norm.input.get(i)));
    let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
    let channels = gamma.len();
    let old_bias = read(node.input.get(2)).unwrap_or_else(|| vec![0.0; channels]);
    let factors: Vec<f64> = gamma
        .iter()
        .zip(&variance)
        .map(|(g, v)| f64::from(*g) / (f64::from(*v) + epsilon).sqrt())
        .collect();
    let bias: Vec<f32> = (0..channels)
        .map(|c| {
            (f64::from(beta[c]) + (f64::from(old_bias[c]) - f64::from(mean[c])) * factors[c]) as f32
        })
        .collect();
    let kernel = graph
        .weights
        .iter_mut()
        .find(|t| Some(&t.name) == node.input.get(1))?;
    let values = floats(kernel);
    // The filters are the first axis of a convolution and the last axis of a dense layer.
    let filter = |i: usize| {
        if node.op_type == "Conv" {
            i / (values.len() / channels).max(1)
        } else {
            i % channels
        }
    };
    let scaled = values
        .iter()
        .enumerate()
        .map(|(i, w)| (f64::from(*w) * factors[filter(i)]) as f32);
    kernel.raw_data = bytes(scaled).into();
    match node.input.get(2) {
        Some(name) => {
            let stored = graph.weights.iter_mut().find(|t| t.name == *name)?;
            stored.raw_data = bytes(bias).into();
        }
        None => {
            // The normalization's own offset becomes the bias.
            let name = norm.input.get(2)?.clone();
            graph.weights.iter_mut().find(|t| t.name == name)?.raw_data = bytes(bias).into();
            node.input.push(name);
        }
    }
    node.output = norm.output;
    Some(node)
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    tensor
        .raw_data
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}
