//! Activations that are called as functions.

use super::Outputs;
use super::arguments::Arguments;
use super::axes::plain;
use super::elementwise::one;
use crate::graph::Graph;
use crate::layers::activation::Activation;

fn apply(
    graph: &mut Graph,
    args: &Arguments<'_>,
    activation: Activation,
) -> Result<Outputs, String> {
    Ok(one(activation.apply(graph, &args.tensor()?)?))
}

/// An activation of a layer by its name, as Keras 3 has it.
pub(super) fn named(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    apply(graph, args, Activation::named(args.detail, 3)?)
}

pub(super) fn relu(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let activation = Activation::Relu {
        slope: args.number("negative_slope")?.unwrap_or(0.0),
        threshold: args.number("threshold")?.unwrap_or(0.0),
        max: args.number("max_value")?,
    };
    apply(graph, args, activation)
}

pub(super) fn leaky_relu(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let activation = Activation::Relu {
        slope: args.number("negative_slope")?.unwrap_or(0.2),
        threshold: 0.0,
        max: None,
    };
    apply(graph, args, activation)
}

pub(super) fn elu(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let alpha = args.number("alpha")?.unwrap_or(1.0);
    apply(graph, args, Activation::Elu { alpha })
}

pub(super) fn gelu(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let approximate = args.flag("approximate")?;
    apply(graph, args, Activation::Gelu { approximate })
}

fn over_axis(graph: &mut Graph, args: &Arguments<'_>, log: bool) -> Result<Outputs, String> {
    let axis = args.integer("axis")?.unwrap_or(-1);
    apply(graph, args, Activation::Softmax { axis, log })
}

pub(super) fn softmax(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    over_axis(graph, args, false)
}

pub(super) fn log_softmax(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    over_axis(graph, args, true)
}

/// −softplus(−x)
pub(super) fn log_sigmoid(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let steps = ["Neg", "Softplus", "Neg"];
    let value = steps.iter().fold(value, |value, operator| {
        graph.map(operator, &value, &[], Vec::new())
    });
    Ok(one(value))
}

/// At least −1 and at most 1.
pub(super) fn hard_tanh(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let limits = [("x_min", -1.0), ("x_max", 1.0)]
        .map(|(name, limit)| graph.weight(name, &crate::tensor::Tensor::scalar(limit)));
    let [low, high] = &limits;
    Ok(one(graph.map("Clip", &value, &[low, high], Vec::new())))
}
