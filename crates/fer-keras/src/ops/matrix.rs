//! Operations that multiply matrices.

use std::collections::BTreeMap;

use super::Outputs;
use super::arguments::{Arguments, Operand};
use super::axes::plain;
use super::elementwise::{combine, one};
use super::reduce::along;
use crate::graph::{Graph, Order, Value, ints, text};
use crate::layers::merge;
use crate::tensor::Tensor;

/// A factor in Keras's order: its name, its shape without the batch, and whether it has a batch.
struct Factor {
    name: String,
    shape: Vec<usize>,
    batch: bool,
}

fn factor(graph: &mut Graph, operand: Operand, transposed: bool) -> Result<Factor, String> {
    let too_few = "one of its inputs is a vector; it takes matrices";
    match operand {
        Operand::Tensor(value) => {
            let value = graph.keras_order(&value);
            let mut shape = value.shape.clone();
            let rank = shape.len();
            if !transposed {
                return Ok(Factor {
                    name: value.name,
                    shape,
                    batch: true,
                });
            }
            if rank < 2 {
                return Err(too_few.into());
            }
            shape.swap(rank - 2, rank - 1);
            let mut order: Vec<i64> = (0..=rank as i64).collect();
            order.swap(rank - 1, rank);
            let name = graph.node("Transpose", &[&value.name], vec![ints("perm", &order)]);
            Ok(Factor {
                name,
                shape,
                batch: true,
            })
        }
        Operand::Constant(mut constant) => {
            if constant.dims.len() == 3 && constant.dims[0] == 1 {
                let dims = constant.dims[1..].to_vec();
                constant = constant.reshaped(&dims)?;
            }
            if constant.dims.len() != 2 {
                return Err("its constant factor is not a matrix".into());
            }
            if transposed {
                constant = constant.transposed(&[1, 0]);
            }
            Ok(Factor {
                name: graph.weight("factor", &constant),
                shape: constant.dims,
                batch: false,
            })
        }
    }
}

pub(super) fn matmul(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let (first, second) = (args.operand(0, "x1")?, args.operand(1, "x2")?);
    let a = factor(graph, first, args.flag("transpose_a")?)?;
    let b = factor(graph, second, args.flag("transpose_b")?)?;
    let wrong = || format!("its inputs of {:?} and {:?} do not match", a.shape, b.shape);
    // A tensor `[batch, n]` is a matrix in which each image is a row.
    let row = a.batch && a.shape.len() == 1 && !b.batch;
    let shape = if row {
        let [rows, columns] = b.shape[..] else {
            return Err(wrong());
        };
        if rows != a.shape[0] {
            return Err(wrong());
        }
        vec![columns]
    } else {
        let ([outer_a @ .., n, inner_a], [outer_b @ .., inner_b, m]) = (&a.shape[..], &b.shape[..])
        else {
            return Err("it would mix the images of a batch".into());
        };
        let outer = match (outer_a.is_empty(), outer_b.is_empty()) {
            (_, true) if !b.batch => Some(outer_a.to_vec()),
            (true, _) if !a.batch => Some(outer_b.to_vec()),
            _ if outer_a.len() == outer_b.len() => merge::broadcast(outer_a, outer_b),
            _ => None,
        };
        if inner_a != inner_b {
            return Err(wrong());
        }
        let mut shape = outer.ok_or_else(wrong)?;
        shape.extend([*n, *m]);
        shape
    };
    let name = graph.node("MatMul", &[&a.name, &b.name], Vec::new());
    Ok(one(Value::new(name, shape, Order::Keras)))
}

/// A sum of products by labels of axes: `bij,bjk->bik`. The batch is the first axis of each.
pub(super) fn einsum(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let equation = args.text("subscripts")?.ok_or("it has no subscripts")?;
    let equation: String = equation.split_whitespace().collect();
    let (inputs, output) = equation
        .split_once("->")
        .filter(|(inputs, output)| {
            let labels = inputs.split(',').chain([*output]);
            let batch = output.chars().next();
            labels.into_iter().all(|labels| {
                labels.chars().all(|c| c.is_ascii_alphabetic())
                    && labels.chars().next() == batch
                    && labels.chars().filter(|c| Some(*c) == batch).count() == 1
            })
        })
        .ok_or_else(|| format!("its subscripts {equation} do not begin with the batch each"))?;
    let mut sizes = BTreeMap::new();
    let mut names = Vec::new();
    for (position, labels) in inputs.split(',').enumerate() {
        let Operand::Tensor(value) = args.operand(position, "operands")? else {
            return Err("one of its inputs is a constant, which can't be converted".into());
        };
        let value = graph.keras_order(&value);
        if labels.len() != value.shape.len() + 1 {
            return Err(format!(
                "its subscripts {labels} do not fit {:?}",
                value.shape
            ));
        }
        for (label, size) in labels.chars().skip(1).zip(&value.shape) {
            if *sizes.entry(label).or_insert(*size) != *size {
                return Err(format!("its axes {label} have different sizes"));
            }
        }
        names.push(value.name);
    }
    let shape = output
        .chars()
        .skip(1)
        .map(|label| sizes.get(&label).copied());
    let shape: Option<Vec<usize>> = shape.collect();
    let shape = shape.ok_or_else(|| format!("its subscripts {equation} lack an axis"))?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = graph.node("Einsum", &names, vec![text("equation", &equation)]);
    Ok(one(Value::new(name, shape, Order::Keras)))
}

/// A color image's brightness, by TensorFlow's weights of the channels.
pub(super) fn gray(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    if value.shape.last() != Some(&3) {
        return Err(format!("its input {:?} is not a color image", value.shape));
    }
    let weights = Tensor::vector(vec![0.2989, 0.587, 0.114]);
    let kernel = Operand::Constant(weights);
    let weighted = combine(graph, "Mul", &[Operand::Tensor(value), kernel])?;
    let last = weighted.shape.len() - 1;
    Ok(one(along(graph, "ReduceSum", &weighted, &[last])))
}
