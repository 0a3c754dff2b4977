//! The layers of a graph that can be quantized: convolutions of images, and dense layers.

use std::collections::HashMap;

use fer_core::onnx::proto::{GraphProto, NodeProto};

use crate::graph::{Links, attribute, dims, float_of, floats, int_of, ints, weights};

/// The most weights of an output channel: sums of their products with activations fit 32 bits.
const MAX_DEPTH: usize = 1 << 16;

/// The largest step, dilation and padding of a convolution, far above that of any image.
const MAX_STEP: usize = 1 << 16;

/// What a layer computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A convolution of `[N, channels, height, width]`.
    Conv(Conv),
    /// A dense layer of `[N, values]`.
    Dense,
}

/// The geometry of a convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Groups of channels that are convolved on their own; 1 for a plain convolution.
    pub groups: usize,
    /// Height and width of the kernels.
    pub kernel: [usize; 2],
    /// Steps between two outputs, down and right.
    pub strides: [usize; 2],
    /// Steps between two weights, down and right.
    pub dilations: [usize; 2],
    /// Pixels of zeros added above and to the left.
    pub pads: [usize; 2],
}

/// A layer with weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name: the node's, or its output's.
    pub name: String,
    /// What it computes.
    pub kind: Kind,
    /// The tensor that it takes.
    pub input: String,
    /// The tensor that it makes.
    pub sum: String,
    /// The tensor behind its ReLU; `sum` if it has none.
    pub output: String,
    /// The number of output channels.
    pub channels: usize,
    /// The number of weights of an output channel.
    pub depth: usize,
    /// `[channels, depth]`.
    pub weights: Vec<f32>,
    /// One value for each channel; zeros if it has none.
    pub bias: Vec<f32>,
    /// Whether no other layer follows it.
    pub is_last: bool,
    /// The dimensions of the weights, `channels` first.
    pub(crate) dims: Vec<usize>,
    /// Its place among the nodes.
    pub(crate) node: usize,
}

/// The layers of a graph, in the order of computation.
pub(crate) fn layers(graph: &GraphProto) -> Vec<Layer> {
    let (links, known) = (Links::of(graph), weights(graph));
    let nodes = graph.node.iter().enumerate();
    let found = nodes.filter_map(|(place, node)| layer(graph, &links, &known, place, node));
    let mut layers: Vec<Layer> = found.collect();
    mark_the_last(graph, &links, &mut layers);
    layers
}

fn layer(
    graph: &GraphProto,
    links: &Links,
    known: &HashMap<String, usize>,
    place: usize,
    node: &NodeProto,
) -> Option<Layer> {
    let initializer = |place: usize| Some(&graph.initializer[*known.get(node.input.get(place)?)?]);
    let (input, sum) = (node.input.first()?, node.output.first()?);
    if known.contains_key(input) || !node.domain.is_empty() {
        return None;
    }
    let weight = initializer(1)?;
    let (values, shape) = (floats(weight)?, dims(weight)?);
    let (kind, weights, shape) = match (node.op_type.as_str(), &shape[..]) {
        ("Conv", [_, _, height, width]) => {
            (Kind::Conv(conv(node, [*height, *width])?), values, shape)
        }
        ("Gemm", [rows, columns]) => {
            let plain = float_of(node, "alpha", 1.0) == 1.0
                && float_of(node, "beta", 1.0) == 1.0
                && int_of(node, "transA", 0) == 0;
            if !plain {
                return None;
            }
            if int_of(node, "transB", 0) == 0 {
                let turned = (0..*columns).flat_map(|c| (0..*rows).map(move |r| (r, c)));
                let turned = turned.map(|(r, c)| values[r * columns + c]).collect();
                (Kind::Dense, turned, vec![*columns, *rows])
            } else {
                (Kind::Dense, values, shape)
            }
        }
        _ => return None,
    };
    let channels = *shape.first()?;
    let depth = weights
        .len()
        .checked_div(channels)
        .filter(|d| (1..=MAX_DEPTH).contains(d))?;
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => vec![0.0; channels],
        Some(_) => floats(initializer(2)?).filter(|b| b.len() == channels)?,
    };
    if let Kind::Conv(conv) = &kind
        && (conv.groups == 0 || channels % conv.groups != 0)
    {
        return None;
    }
    let behind = links.only_taker(sum).map(|taker| &graph.node[taker]);
    let output = behind
        .filter(|next| clamps_at_zero(graph, known, next))
        .and_then(|next| next.output.first())
        .unwrap_or(sum);
    Some(Layer {
        name: if node.name.is_empty() {
            sum
        } else {
            &node.name
        }
        .clone(),
        kind,
        input: input.clone(),
        sum: sum.clone(),
        output: output.clone(),
        channels,
        depth,
        weights,
        bias,
        is_last: false,
        dims: shape,
        node: place,
    })
}

/// Whether a node is a ReLU, or a ReLU with an upper bound.
pub(crate) fn clamps_at_zero(
    graph: &GraphProto,
    known: &HashMap<String, usize>,
    node: &NodeProto,
) -> bool {
    node.op_type == "Relu" || upper_bound(graph, known, node).is_some()
}

/// The upper bound of a ReLU that has one: a Clip from 0 on.
pub(crate) fn upper_bound(
    graph: &GraphProto,
    known: &HashMap<String, usize>,
    node: &NodeProto,
) -> Option<f32> {
    let scalar = |place: usize| {
        let tensor = &graph.initializer[*known.get(node.input.get(place)?)?];
        match floats(tensor)?[..] {
            [value] => Some(value),
            _ => None,
        }
    };
    let is_clip = node.op_type == "Clip" && scalar(1) == Some(0.0);
    is_clip.then(|| scalar(2)).flatten()
}

/// A convolution's geometry; `None` if its attributes do not fit an image.
fn conv(node: &NodeProto, kernel: [usize; 2]) -> Option<Conv> {
    let size = |v: i64| usize::try_from(v).ok().filter(|v| *v <= MAX_STEP);
    let pair = |name: &str| -> Option<[usize; 2]> {
        match ints(node, name, &[1, 1])[..] {
            [a, b] => {
                let step = |v: i64| size(v).filter(|v| *v > 0);
                Some([step(a)?, step(b)?])
            }
            _ => None,
        }
    };
    let (strides, dilations) = (pair("strides")?, pair("dilations")?);
    let automatic = attribute(node, "auto_pad").map_or(&b"NOTSET"[..], |a| &a.s[..]);
    let pads = match automatic {
        b"VALID" => [0, 0],
        // Where the size is a multiple of the stride; what is sampled elsewhere is a pixel off.
        b"SAME_UPPER" | b"SAME_LOWER" => {
            let half = |axis: usize| {
                let reach = dilations[axis] * kernel[axis].saturating_sub(1) + 1;
                reach.saturating_sub(strides[axis]) / 2
            };
            [half(0), half(1)]
        }
        _ => match ints(node, "pads", &[0, 0, 0, 0])[..] {
            [top, left, bottom, right] if bottom >= 0 && right >= 0 => [size(top)?, size(left)?],
            _ => return None,
        },
    };
    Some(Conv {
        groups: usize::try_from(int_of(node, "group", 1)).ok()?,
        kernel,
        strides,
        dilations,
        pads,
    })
}

/// Marks the layers behind which no other layer comes.
fn mark_the_last(graph: &GraphProto, links: &Links, layers: &mut [Layer]) {
    let places: HashMap<usize, usize> = (0..layers.len()).map(|i| (layers[i].node, i)).collect();
    // Whether a layer comes at or behind a node, from the last node to the first.
    let mut behind = vec![false; graph.node.len()];
    let mut last = Vec::new();
    for (index, node) in graph.node.iter().enumerate().rev() {
        let takers = node.output.iter().flat_map(|o| links.takers(o));
        let follows = takers.into_iter().any(|t| *t > index && behind[*t]);
        if let Some(layer) = places.get(&index)
            && !follows
        {
            last.push(*layer);
        }
        behind[index] = follows || places.contains_key(&index);
    }
    for layer in last {
        layers[layer].is_last = true;
    }
}
