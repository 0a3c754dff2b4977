//! A graph → one that computes the same with fewer operators: constants as weights, matrix products
//! with their biases as Gemm, batch normalizations folded, ReLU before max pooling.

use std::collections::{HashMap, HashSet};

use fer_core::onnx::proto::{GraphProto, NodeProto, TensorProto};

use crate::graph::{Links, Names, dims, float_of, float_tensor, floats, int_of, weights};

/// Brings a graph into the form that the layers are looked for in.
pub(crate) fn fold(graph: &mut GraphProto) {
    constants(graph);
    identities(graph);
    dense_layers(graph);
    batch_norms(graph);
    relu_before_pooling(graph);
    crate::graph::prune(graph);
}

/// Constant nodes become weights.
fn constants(graph: &mut GraphProto) {
    let mut found = Vec::new();
    graph.node.retain_mut(|node| {
        if node.op_type != "Constant" || node.output.len() != 1 {
            return true;
        }
        let value = node.attribute.iter_mut().find(|a| a.name == "value");
        match value.and_then(|a| a.t.take()) {
            Some(mut tensor) => {
                tensor.name = node.output[0].clone();
                found.push(tensor);
                false
            }
            None => true,
        }
    });
    graph.initializer.extend(found);
}

/// Identity and Dropout, which does nothing outside of training, are passed over.
fn identities(graph: &mut GraphProto) {
    let links = Links::of(graph);
    let mut same: HashMap<String, String> = HashMap::new();
    graph.node.retain(|node| {
        let passes = matches!(node.op_type.as_str(), "Identity" | "Dropout");
        let mask_is_used = node
            .output
            .iter()
            .skip(1)
            .any(|o| !links.takers(o).is_empty());
        let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
            return true;
        };
        if !passes || mask_is_used || links.is_output(output) {
            return true;
        }
        let source = same.get(input).unwrap_or(input).clone();
        same.insert(output.clone(), source);
        false
    });
    for input in graph.node.iter_mut().flat_map(|n| n.input.iter_mut()) {
        if let Some(source) = same.get(input) {
            *input = source.clone();
        }
    }
}

/// Whether a tensor is known to be of rank 2, `[n, values]`.
fn is_matrix(
    graph: &GraphProto,
    links: &Links,
    weights: &HashMap<String, usize>,
    at: &str,
) -> bool {
    const KEEP_THE_RANK: [&str; 9] = [
        "Relu",
        "BatchNormalization",
        "Clip",
        "Sigmoid",
        "Tanh",
        "Elu",
        "LeakyRelu",
        "Selu",
        "Cast",
    ];
    let mut tensor = at;
    // No chain is longer than the graph.
    for _ in 0..=graph.node.len() {
        let Some(node) = links.maker(tensor).map(|i| &graph.node[i]) else {
            return false;
        };
        let weight = |place: usize| {
            let name = node.input.get(place)?;
            weights.get(name).map(|i| &graph.initializer[*i])
        };
        let next = match node.op_type.as_str() {
            "Flatten" | "Gemm" => return true,
            "Reshape" => return weight(1).is_some_and(|shape| shape.dims == [2]),
            "MatMul" if weight(1).is_some_and(|w| w.dims.len() == 2) => node.input.first(),
            "Add" | "Mul" | "Sub" | "Div" => {
                let small = |place| weight(place).is_some_and(|w| w.dims.len() <= 2);
                if small(1) {
                    node.input.first()
                } else if small(0) {
                    node.input.get(1)
                } else {
                    return false;
                }
            }
            op if KEEP_THE_RANK.contains(&op) => node.input.first(),
            _ => return false,
        };
        match next {
            Some(next) => tensor = next,
            None => return false,
        }
    }
    false
}

/// A matrix product with weights, and the bias that is added to it, become a Gemm.
fn dense_layers(graph: &mut GraphProto) {
    let (links, known) = (Links::of(graph), weights(graph));
    let mut replaced: HashMap<usize, NodeProto> = HashMap::new();
    let mut removed = HashSet::new();
    for (index, node) in graph.node.iter().enumerate() {
        let [x, b] = &node.input[..] else { continue };
        let weight = known.get(b).map(|i| &graph.initializer[*i]);
        let Some(weight) = weight.filter(|w| node.op_type == "MatMul" && w.dims.len() == 2) else {
            continue;
        };
        if !is_matrix(graph, &links, &known, x) {
            continue;
        }
        let Some(output) = node.output.first() else {
            continue;
        };
        let mut gemm = NodeProto {
            op_type: "Gemm".into(),
            attribute: Vec::new(),
            ..node.clone()
        };
        // A bias of one value for each output.
        let bias = links.only_taker(output).and_then(|taker| {
            let add = &graph.node[taker];
            let other = add.input.iter().find(|i| *i != output)?;
            let tensor = &graph.initializer[*known.get(other)?];
            let of_outputs = match tensor.dims[..] {
                [n] | [1, n] => n == weight.dims[1],
                _ => false,
            };
            (add.op_type == "Add" && add.input.len() == 2 && of_outputs).then(|| {
                let output = add.output.first().cloned().unwrap_or_default();
                (taker, other.clone(), output)
            })
        });
        if let Some((taker, bias, sum)) = bias {
            gemm.input.push(bias);
            gemm.output = vec![sum];
            removed.insert(index);
            replaced.insert(taker, gemm);
        } else {
            replaced.insert(index, gemm);
        }
    }
    for (index, node) in replaced {
        graph.node[index] = node;
    }
    without(graph, &removed);
}

/// What a batch normalization does to each channel: `factor · x + offset`.
fn affine(
    graph: &GraphProto,
    known: &HashMap<String, usize>,
    node: &NodeProto,
) -> Option<[Vec<f32>; 2]> {
    let parameter = |place: usize| floats(&graph.initializer[*known.get(node.input.get(place)?)?]);
    let [gamma, beta] = [parameter(1)?, parameter(2)?];
    let [mean, variance] = [parameter(3)?, parameter(4)?];
    let n = gamma.len();
    if [&beta, &mean, &variance].iter().any(|p| p.len() != n)
        || int_of(node, "training_mode", 0) != 0
    {
        return None;
    }
    let epsilon = f64::from(float_of(node, "epsilon", 1e-5));
    let factor: Vec<f64> = gamma
        .iter()
        .zip(&variance)
        .map(|(gamma, v)| f64::from(*gamma) / (f64::from(*v) + epsilon).sqrt())
        .collect();
    let offset = (0..n).map(|i| (f64::from(beta[i]) - f64::from(mean[i]) * factor[i]) as f32);
    let offset = offset.collect();
    Some([factor.into_iter().map(|f| f as f32).collect(), offset])
}

/// A batch normalization directly behind a convolution or dense layer becomes a part of its
/// weights.
fn batch_norms(graph: &mut GraphProto) {
    loop {
        let (links, known) = (Links::of(graph), weights(graph));
        let mut names = Names::of(graph);
        let mut folded = HashMap::new();
        let (mut removed, mut tensors) = (HashSet::new(), Vec::new());
        for (index, norm) in graph.node.iter().enumerate() {
            let fold = || {
                let is_norm = norm.op_type == "BatchNormalization" && norm.output.len() == 1;
                let made = norm.input.first().filter(|_| is_norm)?;
                let layer = links.maker(made)?;
                (links.only_taker(made)? == index).then_some(())?;
                let change = affine(graph, &known, norm)?;
                Some((layer, change))
            };
            let Some((layer, change)) = fold() else {
                continue;
            };
            // One after the other, where two follow one layer.
            if removed.contains(&layer) || folded.contains_key(&layer) {
                continue;
            }
            let old = &graph.node[layer];
            if let Some((node, new)) = scaled(graph, &known, &mut names, old, &change) {
                let output = norm.output.clone();
                folded.insert(layer, NodeProto { output, ..node });
                removed.insert(index);
                tensors.extend(new);
            }
        }
        if folded.is_empty() {
            return;
        }
        for (layer, node) in folded {
            graph.node[layer] = node;
        }
        without(graph, &removed);
        graph.initializer.extend(tensors);
    }
}

/// Removes the nodes at these places.
fn without(graph: &mut GraphProto, removed: &HashSet<usize>) {
    let mut index = 0;
    graph.node.retain(|_| {
        index += 1;
        !removed.contains(&(index - 1))
    });
}

/// A layer whose outputs are multiplied and moved channel by channel: its node, and its new
/// weights.
fn scaled(
    graph: &GraphProto,
    known: &HashMap<String, usize>,
    names: &mut Names,
    node: &NodeProto,
    [factor, offset]: &[Vec<f32>; 2],
) -> Option<(NodeProto, Vec<TensorProto>)> {
    let weight = &graph.initializer[*known.get(node.input.get(1)?)?];
    let (mut values, shape) = (floats(weight)?, dims(weight)?);
    // Whether a channel's weights lie together.
    let rows = match node.op_type.as_str() {
        "Conv" => true,
        "Gemm" if float_of(node, "alpha", 1.0) == 1.0 && float_of(node, "beta", 1.0) == 1.0 => {
            int_of(node, "transB", 0) != 0
        }
        _ => return None,
    };
    let channels = factor.len();
    if (rows && shape.first() != Some(&channels)) || (!rows && shape.get(1) != Some(&channels)) {
        return None;
    }
    let depth = values.len().checked_div(channels)?;
    for (i, v) in values.iter_mut().enumerate() {
        *v *= factor[if rows { i / depth.max(1) } else { i % channels }];
    }
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => vec![0.0; channels],
        Some(name) => floats(&graph.initializer[*known.get(name)?])?,
    };
    if bias.len() != channels {
        return None;
    }
    let bias: Vec<f32> = (0..channels)
        .map(|i| bias[i] * factor[i] + offset[i])
        .collect();
    let weight_name = names.unused(&format!("{}_folded", weight.name));
    let bias_name = names.unused(&format!("{}_bias", weight.name));
    let mut node = node.clone();
    node.input.truncate(1);
    node.input.extend([weight_name.clone(), bias_name.clone()]);
    let tensors = vec![
        float_tensor(&weight_name, &shape, &values),
        float_tensor(&bias_name, &[channels], &bias),
    ];
    Some((node, tensors))
}

/// A ReLU behind a max pooling comes before it: the largest value is the same, and the layer before
/// is followed by its ReLU.
fn relu_before_pooling(graph: &mut GraphProto) {
    let links = Links::of(graph);
    let pairs: Vec<(usize, usize)> = graph
        .node
        .iter()
        .enumerate()
        .filter_map(|(index, pool)| {
            if pool.op_type != "MaxPool" || pool.output.len() != 1 {
                return None;
            }
            let relu = links.only_taker(pool.output.first()?)?;
            let is_relu = graph.node[relu].op_type == "Relu";
            is_relu.then_some((index, relu))
        })
        .collect();
    for (pool, relu) in pairs {
        // x → pool → a → relu → b becomes x → relu → a → pool → b. The nodes stay in their places,
        // so that the order of the graph stays one of computation.
        let (first, second) = (graph.node[pool].clone(), graph.node[relu].clone());
        let with = |node: &NodeProto, places: &NodeProto| NodeProto {
            input: places.input.clone(),
            output: places.output.clone(),
            ..node.clone()
        };
        graph.node[pool] = with(&second, &first);
        graph.node[relu] = with(&first, &second);
    }
}
