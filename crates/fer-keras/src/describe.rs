//! What a converted model expects and returns: a spec, from the graph, the user's options and
//! hints, and the metadata that states it.

use fer_core::onnx::Header;
use fer_core::onnx::proto::ModelProto;
use fer_core::spec::{Hint, Hints, ModelSpec, OutputKind, SpecError};
use serde_json::json;

use super::graph::Graph;
use super::image::{Image, Scaling};
use super::{ConvertOptions, Note};

/// What an output of `values` values for an image is, as far as the graph shows it: a softmax, a
/// mean of softmaxes, sigmoids, or one of them in another shape.
pub(crate) fn output_kind(graph: &Graph, output: &str, values: usize) -> Option<OutputKind> {
    let sigmoid = || {
        matches!(
            last_operator(graph, output),
            Some("Sigmoid" | "HardSigmoid")
        )
    };
    match (sums_to_one(graph, output, values), values) {
        (true, 1) => Some(OutputKind::Probability),
        (true, _) => Some(OutputKind::Probabilities),
        (false, 1) if sigmoid() => Some(OutputKind::Probability),
        (false, _) if sigmoid() => Some(OutputKind::Scores),
        (false, _) => None,
    }
}

/// The operator that computes a tensor's values, whatever their shape.
fn last_operator<'a>(graph: &'a Graph, tensor: &str) -> Option<&'a str> {
    let node = graph.maker(tensor)?;
    match (node.op_type.as_str(), node.input.first()) {
        ("Reshape" | "Flatten" | "Identity" | "Transpose", Some(input)) => {
            last_operator(graph, input)
        }
        (operator, _) => Some(operator),
    }
}

/// The spec of a converted model, which is called `name`.
///
/// # Errors
/// The user's options contradict the model.
pub(crate) fn spec(
    model: &ModelProto,
    scaling: &Scaling,
    image: &Image,
    kind: Option<OutputKind>,
    options: &ConvertOptions,
    notes: &mut Vec<Note>,
    name: &str,
) -> Result<ModelSpec, SpecError> {
    let mut overrides = options.pixels.clone();
    let mut set = |key: &str, value: Option<String>| {
        overrides.extend(value.map(|value| (key.to_string(), value)));
    };
    set(
        "labels",
        options
            .labels
            .as_ref()
            .map(|labels| json!(labels).to_string()),
    );
    set("layout", Some(image.layout.to_string()));
    set("size", Some(format!("{}x{}", image.width, image.height)));
    set("channels", Some(image.channels.to_string()));
    set("resize", options.resize.map(|resize| resize.to_string()));
    set("crop", options.crop.map(|crop| crop.to_string()));
    set("output", kind.map(|kind| kind.to_string()));
    let mut hints = Hints::default();
    match scaling.factor {
        Some(factor) => hints.0.push(Hint {
            key: "scale",
            value: factor.into(),
            source: "the constants with which the model itself scales them first".into(),
        }),
        None if scaling.later && options.pixels.is_empty() => notes.push(Note::RescalesLater),
        None => {}
    }
    hints.0.extend(options.hints.0.iter().cloned());
    let mut header = Header::of(model);
    if kind.is_none() {
        // The graph has shown that the last operator does not tell.
        let guess = [("fer.output", "logits"), ("fer.guessed", "output")];
        let guess = guess.map(|(key, value)| (key.to_string(), value.to_string()));
        header.metadata.extend(guess);
    }
    ModelSpec::resolve_with(&header, &overrides, &hints, name).map(|found| found.spec)
}

/// Whether the `values` values of a tensor are probabilities: it is a softmax over all of them, a
/// mean of such softmaxes, or one of them in another shape.
fn sums_to_one(graph: &Graph, tensor: &str, values: usize) -> bool {
    let Some(node) = graph.maker(tensor) else {
        return false;
    };
    let input = |i: usize| node.input.get(i).map_or("", String::as_str);
    match node.op_type.as_str() {
        "Softmax" => graph.length(node) == Some(values),
        "Reshape" | "Flatten" | "Identity" => sums_to_one(graph, input(0), values),
        "Mul" => match summands(graph, input(0), values) {
            Some(number) => graph
                .scalar(input(1))
                .is_some_and(|share| (share * number as f32 - 1.0).abs() < 1e-6),
            None => false,
        },
        _ => false,
    }
}

/// The number of tensors of probabilities that a tensor is the sum of, if it is such a sum.
fn summands(graph: &Graph, tensor: &str, values: usize) -> Option<usize> {
    match graph.maker(tensor) {
        Some(node) if node.op_type == "Add" => {
            let [first, second] = &node.input[..] else {
                return None;
            };
            let number = summands(graph, first, values)?;
            sums_to_one(graph, second, values).then_some(number + 1)
        }
        _ => sums_to_one(graph, tensor, values).then_some(1),
    }
}
