//! Activations that are called as functions.

use super::Outputs;
use super::arguments::Arguments;
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

/// A parameter that is 0 or more.
fn parameter(args: &Arguments<'_>, name: &str, default: f32) -> Result<f32, String> {
    match args.number(name)?.unwrap_or(default) {
        number if number >= 0.0 => Ok(number),
        number => Err(format!("its {name} of {number} is negative")),
    }
}

pub(super) fn celu(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let alpha = parameter(args, "alpha", 1.0)?;
    apply(graph, args, Activation::Celu { alpha })
}

pub(super) fn soft_shrink(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let threshold = parameter(args, "threshold", 0.5)?;
    apply(graph, args, Activation::SoftShrink { threshold })
}

pub(super) fn hard_shrink(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let threshold = parameter(args, "threshold", 0.5)?;
    apply(graph, args, Activation::HardShrink { threshold })
}

pub(super) fn squareplus(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let b = parameter(args, "b", 4.0)?;
    apply(graph, args, Activation::Squareplus { b })
}
