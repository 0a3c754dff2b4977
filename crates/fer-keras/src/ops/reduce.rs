//! Operations that reduce axes: sums, means, extremes, and norms.

use super::arguments::Arguments;
use super::axes::{axis, plain, reshaped, stored};
use super::elementwise::{as_flags, one, with_number};
use super::{Argument, Outputs};
use crate::graph::{Graph, Value, int};

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i64 = 1;

/// The axes that an operation names, from 0 on after the batch.
fn axes(args: &Arguments<'_>, value: &Value, name: &str) -> Result<Vec<usize>, String> {
    let named = args
        .integers(name)?
        .ok_or("it reduces all axes, so it would mix the images of a batch")?;
    let rank = value.shape.len();
    let mut axes = named
        .iter()
        .map(|a| axis(rank, *a))
        .collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// An ONNX operator along axes, which become 1.
pub(super) fn along(graph: &mut Graph, operator: &str, value: &Value, axes: &[usize]) -> Value {
    if axes.is_empty() {
        return value.clone();
    }
    let places: Vec<i64> = axes.iter().map(|a| stored(value, *a) as i64).collect();
    let places = graph.integers("axes", &places);
    let mut reduced = graph.map(operator, value, &[&places], vec![int("keepdims", 1)]);
    axes.iter().for_each(|a| reduced.shape[*a] = 1);
    reduced
}

/// The tensor with its reduced axes, or without them.
fn kept(graph: &mut Graph, value: Value, axes: &[usize], keep: bool) -> Value {
    if keep {
        return value;
    }
    let rest = value.shape.iter().enumerate();
    let shape = rest
        .filter(|(i, _)| !axes.contains(i))
        .map(|(_, d)| *d)
        .collect();
    reshaped(graph, &value, shape)
}

pub(super) fn reduce(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    if args.named("initial").is_some() {
        return Err("its initial value can't be converted".into());
    }
    let axes = axes(args, &value, "axis")?;
    let reduced = along(graph, args.detail, &value, &axes);
    Ok(one(kept(graph, reduced, &axes, args.flag("keepdims")?)))
}

/// Whether any or all elements are not 0.
pub(super) fn flags(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let value = as_flags(graph, &value);
    let axes = axes(args, &value, "axis")?;
    let reduced = along(graph, args.detail, &value, &axes);
    Ok(one(kept(graph, reduced, &axes, args.flag("keepdims")?)))
}

/// Mean and variance, with their reduced axes.
fn mean_and_variance(graph: &mut Graph, value: &Value, axes: &[usize]) -> [Value; 2] {
    let mean = along(graph, "ReduceMean", value, axes);
    let centered = graph.map("Sub", value, &[&mean.name], Vec::new());
    let square = graph.map("Mul", &centered, &[&centered.name], Vec::new());
    let variance = along(graph, "ReduceMean", &square, axes);
    [mean, variance]
}

pub(super) fn variance(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axes = axes(args, &value, "axis")?;
    let [_, variance] = mean_and_variance(graph, &value, &axes);
    Ok(one(kept(graph, variance, &axes, args.flag("keepdims")?)))
}

pub(super) fn deviation(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axes = axes(args, &value, "axis")?;
    let [_, variance] = mean_and_variance(graph, &value, &axes);
    let deviation = graph.map("Sqrt", &variance, &[], Vec::new());
    Ok(one(kept(graph, deviation, &axes, args.flag("keepdims")?)))
}

/// Two outputs: mean and variance.
pub(super) fn moments(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axes = axes(args, &value, "axes")?;
    let keep = args.flag("keepdims")?;
    let both = mean_and_variance(graph, &value, &axes);
    let both = both.map(|value| Argument::Tensor(kept(graph, value, &axes, keep)));
    Ok(both.into())
}

/// The index of the largest or smallest element.
pub(super) fn position(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axes = axes(args, &value, "axis")?;
    let [axis] = axes[..] else {
        return Err("its axis is not one axis".into());
    };
    let attributes = vec![int("axis", stored(&value, axis) as i64), int("keepdims", 1)];
    let index = graph.map(args.detail, &value, &[], attributes);
    let mut index = graph.map("Cast", &index, &[], vec![int("to", FLOAT)]);
    index.shape[axis] = 1;
    Ok(one(kept(graph, index, &axes, args.flag("keepdims")?)))
}

/// The Euclidean norm.
pub(super) fn norm(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axes = axes(args, &value, "axis")?;
    let euclidean = match args.named("ord").as_deref() {
        None => true,
        Some(Argument::Number(2.0)) => axes.len() == 1,
        Some(Argument::Text(name)) => name == "euclidean" || name == "fro",
        Some(_) => false,
    };
    if !euclidean {
        return Err("its norm other than the Euclidean one can't be converted".into());
    }
    let norm = along(graph, "ReduceL2", &value, &axes);
    Ok(one(kept(graph, norm, &axes, args.flag("keepdims")?)))
}

/// The tensor divided by its Euclidean norm along axes, whose square is at least `smallest`.
fn divided_by_norm(
    graph: &mut Graph,
    args: &Arguments<'_>,
    default: i64,
    smallest: f32,
) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let rank = value.shape.len();
    let axes = args
        .integers("axis")?
        .unwrap_or_else(|| vec![default])
        .iter()
        .map(|a| axis(rank, *a))
        .collect::<Result<Vec<_>, _>>()?;
    let square = graph.map("Mul", &value, &[&value.name], Vec::new());
    let sum = along(graph, "ReduceSum", &square, &axes);
    let sum = with_number(graph, "Max", &sum, smallest);
    let norm = graph.map("Sqrt", &sum, &[], Vec::new());
    Ok(one(graph.map("Div", &value, &[&norm.name], Vec::new())))
}

/// Keras 3's `normalize`; its epsilon is for the norm.
pub(super) fn normalize(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if args.integer("order")?.is_some_and(|order| order != 2) {
        return Err("its norm other than the Euclidean one can't be converted".into());
    }
    let epsilon = args.number("epsilon")?.unwrap_or(1e-7);
    divided_by_norm(graph, args, -1, epsilon * epsilon)
}

/// TensorFlow's `l2_normalize`; its epsilon is for the square of the norm.
pub(super) fn l2_normalize(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if args.named("axis").is_none() {
        return Err("it has no axis, so it would mix the images of a batch".into());
    }
    let epsilon = args.number("epsilon")?.unwrap_or(1e-12);
    divided_by_norm(graph, args, -1, epsilon)
}
