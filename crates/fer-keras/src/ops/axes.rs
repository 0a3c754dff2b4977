//! Axes and orders: tensors and constants that are combined, and the axes that operations name.

use super::arguments::{Arguments, Operand};
use crate::graph::{Graph, Order, Value};
use crate::layers::merge;
use crate::tensor::Tensor;

/// Several tensors and constants, ready for one ONNX operator that broadcasts them.
pub(super) struct Aligned {
    /// Their names in the graph.
    pub(super) names: Vec<String>,
    /// The shape of the result.
    pub(super) shape: Vec<usize>,
    /// Its order.
    pub(super) order: Order,
}

/// Brings tensors and constants into one order.
///
/// # Errors
/// No tensor is among them, or their shapes do not broadcast.
pub(super) fn align(graph: &mut Graph, operands: &[Operand]) -> Result<Aligned, String> {
    let tensors: Vec<Value> = operands
        .iter()
        .filter_map(|o| match o {
            Operand::Tensor(value) => Some(value.clone()),
            Operand::Constant(_) => None,
        })
        .collect();
    let first = tensors
        .first()
        .ok_or("it is called with constants only, which can't be converted")?;
    let rank = first.shape.len();
    if let Some(other) = tensors.iter().find(|t| t.shape.len() != rank) {
        return Err(format!(
            "its inputs of {:?} and {:?} have different numbers of axes, so it would mix the \
             images of a batch",
            first.shape, other.shape
        ));
    }
    let single = |o: &Operand| !matches!(o, Operand::Constant(c) if c.values.len() != 1);
    let mut tensors = merge::aligned(graph, &tensors);
    if !operands.iter().all(single) {
        tensors = tensors.iter().map(|t| plain(graph, t)).collect();
    }
    let order = tensors[0].order;
    let mut shape = tensors[0].shape.clone();
    let mut tensors = tensors.into_iter();
    let mut names = Vec::with_capacity(operands.len());
    for operand in operands {
        let (name, dims) = match operand {
            Operand::Tensor(_) => {
                let value = tensors.next().ok_or("its inputs do not match")?;
                (value.name, value.shape)
            }
            Operand::Constant(constant) => {
                let constant = without_batch(constant, rank)?;
                let dims = constant.dims.clone();
                let stored = match order {
                    _ if constant.values.len() == 1 => constant.reshaped(&[])?,
                    Order::ChannelsFirst => constant.transposed(&[2, 0, 1]),
                    _ => constant,
                };
                (graph.weight("constant", &stored), dims)
            }
        };
        shape = merge::broadcast(&shape, &dims)
            .ok_or_else(|| format!("its inputs of {shape:?} and {dims:?} do not match"))?;
        names.push(name);
    }
    Ok(Aligned {
        names,
        shape,
        order,
    })
}

/// A constant with as many axes as a tensor of a rank has without the batch.
fn without_batch(constant: &Tensor, rank: usize) -> Result<Tensor, String> {
    let mut dims = constant.dims.clone();
    if dims.len() == rank + 1 && dims[0] == 1 {
        dims.remove(0);
    }
    let missing = rank.checked_sub(dims.len()).ok_or_else(|| {
        format!(
            "its constant of {:?} has more axes than its input",
            constant.dims
        )
    })?;
    dims.splice(0..0, std::iter::repeat_n(1, missing));
    constant.clone().reshaped(&dims)
}

/// The value, unless it is a flattened image with the channels first: then in Keras's order.
pub(super) fn plain(graph: &mut Graph, value: &Value) -> Value {
    match value.order {
        Order::FlatChannelsFirst { .. } => graph.keras_order(value),
        _ => value.clone(),
    }
}

/// An axis of Keras's, which may count from the end, as one of `rank` axes after the batch: from 0
/// on.
///
/// # Errors
/// It is the batch, or there is no such axis.
pub(super) fn axis(rank: usize, axis: i64) -> Result<usize, String> {
    let from_start = if axis < 0 {
        axis + rank as i64 + 1
    } else {
        axis
    };
    match from_start {
        0 => Err("its axis is the batch, so it would mix the images of a batch".into()),
        n if (1..=rank as i64).contains(&n) => Ok(n as usize - 1),
        _ => Err(format!("its input of rank {} has no axis {axis}", rank + 1)),
    }
}

/// The tensor's axis, after the batch at 0, for one of Keras's from 0 on.
pub(super) fn stored(value: &Value, axis: usize) -> usize {
    match (value.order, axis) {
        (Order::ChannelsFirst, 2) => 1,
        (Order::ChannelsFirst, axis) => axis + 2,
        (_, axis) => axis + 1,
    }
}

/// One number for each axis of Keras's → one for each axis of the tensor, after that of the batch.
pub(super) fn in_order<T: Copy>(value: &Value, each: &[T]) -> Vec<T> {
    match (value.order, each) {
        (Order::ChannelsFirst, &[h, w, c]) => vec![c, h, w],
        _ => each.to_vec(),
    }
}

/// The value in another shape, in Keras's order.
pub(super) fn reshaped(graph: &mut Graph, value: &Value, shape: Vec<usize>) -> Value {
    let value = graph.keras_order(value);
    if value.shape == shape {
        return value;
    }
    let name = graph.reshape(&value.name, &shape);
    Value::new(name, shape, Order::Keras)
}

/// The axis that an operation must name, from 0 on after the batch.
pub(super) fn one_axis(
    args: &Arguments<'_>,
    value: &Value,
    default: Option<i64>,
) -> Result<usize, String> {
    let named = args.integer("axis")?.or(default);
    axis(
        value.shape.len(),
        named.ok_or("it has no axis, so it would mix the images of a batch")?,
    )
}
