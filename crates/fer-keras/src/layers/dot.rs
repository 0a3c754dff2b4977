//! Products of two tensors along an axis of each.

use super::Layer;
use crate::config::Fields;
use crate::graph::{Graph, Order, Value, int, ints};
use crate::tensor::{Tensor, product};

/// `Dot`: the sums of products along an axis of each input, from the batch's on.
pub(crate) struct Dot {
    axes: [i64; 2],
    /// The smallest length by which vectors are divided, if they are.
    shortest: Option<f32>,
}

impl Dot {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        let axes = match fields.integers("axes")?.as_deref() {
            Some([both]) => [*both; 2],
            Some([a, b]) => [*a, *b],
            _ => return Err("its axes are not one or two numbers".into()),
        };
        let shortest = if fields.keras >= 3 { 1e-7 } else { 1e-6 };
        Ok(Self {
            axes,
            shortest: fields.flag("normalize", false)?.then_some(shortest),
        })
    }

    /// The value with the axis `from` of those after the batch at the place `to`, as a matrix
    /// `[rows, columns]`. Returns the other axes, and the length of this one.
    fn matrix(
        &self,
        graph: &mut Graph,
        value: &Value,
        axis: i64,
        last: bool,
    ) -> Result<(String, Vec<usize>, usize), String> {
        let value = graph.keras_order(value);
        let axis = value.axis(axis)? - 1;
        let mut others: Vec<usize> = (0..value.shape.len()).collect();
        others.remove(axis);
        let (mut name, length) = (value.name.clone(), value.shape[axis]);
        if let Some(shortest) = self.shortest {
            let axes = graph.integers("axis", &[axis as i64 + 1]);
            let sums = graph.node("ReduceL2", &[&name, &axes], vec![int("keepdims", 1)]);
            let shortest = graph.weight("shortest", &Tensor::scalar(shortest));
            let sums = graph.node("Max", &[&sums, &shortest], Vec::new());
            name = graph.node("Div", &[&name, &sums], Vec::new());
        }
        let order = match last {
            true => [&others[..], &[axis]].concat(),
            false => [&[axis], &others[..]].concat(),
        };
        let shape: Vec<usize> = others.iter().map(|i| value.shape[*i]).collect();
        let count = product(&shape).ok_or("its input is too large")?;
        let dims = if last {
            [count, length]
        } else {
            [length, count]
        };
        name = transpose(graph, &name, &order);
        Ok((graph.reshape(&name, &dims), shape, length))
    }
}

impl Layer for Dot {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let [a, b] = inputs else {
            return Err(format!(
                "it is called with {} tensors; it takes two",
                inputs.len()
            ));
        };
        let (rows, mut shape, length) = self.matrix(graph, a, self.axes[0], true)?;
        let (columns, others, other) = self.matrix(graph, b, self.axes[1], false)?;
        if length != other {
            return Err(format!(
                "its inputs of {:?} and {:?} do not match",
                a.shape, b.shape
            ));
        }
        shape.extend(others);
        if shape.is_empty() {
            shape.push(1);
        }
        let name = graph.node("MatMul", &[&rows, &columns], Vec::new());
        let name = graph.reshape(&name, &shape);
        Ok(Value::new(name, shape, Order::Keras))
    }
}

/// Transposes the axes after the batch: axis `i` of the result is axis `order[i]`, from 0 on.
pub(super) fn transpose(graph: &mut Graph, name: &str, order: &[usize]) -> String {
    if order.is_sorted() {
        return name.to_string();
    }
    let order = order.iter().map(|i| *i as i64 + 1);
    let order: Vec<i64> = std::iter::once(0).chain(order).collect();
    graph.node("Transpose", &[name], vec![ints("perm", &order)])
}
