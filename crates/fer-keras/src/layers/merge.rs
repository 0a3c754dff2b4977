//! Layers that combine several tensors into one.

use super::Layer;
use crate::config::Fields;
use crate::graph::{Graph, Order, Value, int};
use crate::tensor::Tensor;

/// `Add`, `Subtract`, `Multiply`, `Average`, `Maximum`, `Minimum`.
pub(crate) struct Merge {
    operator: &'static str,
    average: bool,
}

impl Merge {
    pub(crate) fn parse(class: &str) -> Result<Self, String> {
        let operator = match class {
            "Add" | "Average" => "Add",
            "Subtract" => "Sub",
            "Multiply" => "Mul",
            "Maximum" => "Max",
            _ => "Min",
        };
        Ok(Self {
            operator,
            average: class == "Average",
        })
    }
}

impl Layer for Merge {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let inputs = aligned(graph, inputs);
        let (first, others) = inputs.split_first().ok_or("it is called without inputs")?;
        let mut result = first.clone();
        for other in others {
            let shape = broadcast(&result.shape, &other.shape).ok_or_else(|| {
                format!(
                    "its inputs of {:?} and {:?} do not match",
                    result.shape, other.shape
                )
            })?;
            result = Value {
                shape,
                ..graph.map(self.operator, &result, &[&other.name], Vec::new())
            };
        }
        if self.average {
            let share = graph.weight("share", &Tensor::scalar(1.0 / inputs.len() as f32));
            result = graph.map("Mul", &result, &[&share], Vec::new());
        }
        Ok(result)
    }
}

/// The values with the same rank and order.
pub(crate) fn aligned(graph: &mut Graph, inputs: &[Value]) -> Vec<Value> {
    let rank = inputs.iter().map(|v| v.shape.len()).max().unwrap_or(0);
    let mut values: Vec<Value> = inputs.iter().map(|v| expanded(graph, v, rank)).collect();
    if values.iter().any(|v| v.order != values[0].order) {
        let planes = rank == 3 && values.iter().any(|v| v.order == Order::ChannelsFirst);
        let same = |v: &Value| {
            if planes {
                graph.channels_first(v)
            } else {
                graph.keras_order(v)
            }
        };
        values = values.iter().map(same).collect();
    }
    values
}

/// The value with axes of 1 after the batch, as Keras adds them to tensors of lower rank.
fn expanded(graph: &mut Graph, value: &Value, rank: usize) -> Value {
    if value.shape.len() == rank {
        return value.clone();
    }
    let value = graph.keras_order(value);
    let mut shape = vec![1; rank - value.shape.len()];
    shape.extend(&value.shape);
    Value::new(graph.reshape(&value.name, &shape), shape, Order::Keras)
}

/// The shape of two tensors of one rank together, where 1 stretches.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let dim = |(a, b): (&usize, &usize)| match (*a, *b) {
        (1, n) | (n, 1) => Some(n),
        (a, b) => (a == b).then_some(a),
    };
    a.iter().zip(b).map(dim).collect()
}

/// `Concatenate`.
pub(crate) struct Concatenate {
    pub(crate) axis: i64,
}

impl Concatenate {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        match fields.integers("axis")?.as_deref() {
            None => Ok(Self { axis: -1 }),
            Some([axis]) => Ok(Self { axis: *axis }),
            Some(_) => Err("its axis is not one axis".into()),
        }
    }
}

impl Layer for Concatenate {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let plain: Vec<Value> = inputs
            .iter()
            .map(|v| {
                if v.shape.len() == 1 {
                    graph.keras_order(v)
                } else {
                    v.clone()
                }
            })
            .collect();
        let values = aligned(graph, &plain);
        let first = values.first().ok_or("it is called without inputs")?;
        let axis = first.axis(self.axis)?;
        let keras = Value {
            order: Order::Keras,
            ..first.clone()
        }
        .axis(self.axis)?
            - 1;
        let mut shape = first.shape.clone();
        shape[keras] = 0;
        for value in &values {
            let fits = value
                .shape
                .iter()
                .zip(&first.shape)
                .enumerate()
                .all(|(i, (a, b))| i == keras || a == b);
            if !fits || inputs.iter().any(|v| v.shape.len() != first.shape.len()) {
                return Err(format!(
                    "its inputs of {:?} and {:?} do not match",
                    first.shape, value.shape
                ));
            }
            shape[keras] = value.shape[keras]
                .checked_add(shape[keras])
                .ok_or("its inputs are too large")?;
        }
        let names: Vec<&str> = values.iter().map(|v| v.name.as_str()).collect();
        let name = graph.node("Concat", &names, vec![int("axis", axis as i64)]);
        Ok(Value::new(name, shape, first.order))
    }
}
