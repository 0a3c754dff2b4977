//! Group normalization.

use super::dot::transpose;
use super::norm::{NextIfPresent, gamma_and_beta};
use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Value, float};
use crate::tensor::{Tensor, product};

/// `GroupNormalization`: the mean and variance of each group of channels, over all other axes.
pub(crate) struct GroupNorm {
    /// `None` for one group a channel.
    groups: Option<usize>,
    axis: i64,
    epsilon: f32,
    scale: bool,
    center: bool,
}

impl GroupNorm {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        let one = |key| match fields.integers(key)?.as_deref() {
            None => Ok(None),
            Some([one]) => Ok(Some(*one)),
            Some(_) => Err(format!("its {key} is not one number")),
        };
        let groups = match one("groups")? {
            Some(-1) => None,
            _ => Some(fields.count_or("groups", 32)?),
        };
        Ok(Self {
            groups,
            axis: one("axis")?.unwrap_or(-1),
            epsilon: fields.number("epsilon", 1e-3)?,
            scale: fields.flag("scale", true)?,
            center: fields.flag("center", true)?,
        })
    }
}

/// The value with one of its axes, in Keras's order, after the batch.
fn axis_first(graph: &mut Graph, value: &Value, axis: usize) -> (String, Vec<usize>) {
    let mut order: Vec<usize> = (0..value.shape.len()).collect();
    order.remove(axis);
    order.insert(0, axis);
    let shape = order.iter().map(|i| value.shape[*i]).collect();
    if axis == 2 && order.len() == 3 {
        return (graph.channels_first(value).name, shape);
    }
    let keras = graph.keras_order(value);
    (transpose(graph, &keras.name, &order), shape)
}

impl Layer for GroupNorm {
    fn weights(&self) -> Vec<&'static str> {
        gamma_and_beta(self.scale, self.center)
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let input = only(inputs)?;
        let axis =
            Value::new(String::new(), input.shape.clone(), Order::Keras).axis(self.axis)? - 1;
        let channels = input.shape[axis];
        let groups = self.groups.unwrap_or(channels);
        let values = product(&input.shape).ok_or("its input is too large")?;
        if !channels.is_multiple_of(groups) {
            return Err(format!(
                "its {groups} groups do not divide the {channels} channels of its input evenly"
            ));
        }
        let (name, shape) = axis_first(graph, input, axis);
        // ONNX's instance normalization has one group a channel.
        let grouped = graph.reshape(&name, &[groups, values / groups]);
        let ones = graph.weight("ones", &Tensor::vector(vec![1.0; groups]));
        let zeros = graph.weight("zeros", &Tensor::vector(vec![0.0; groups]));
        let mut name = graph.node(
            "InstanceNormalization",
            &[&grouped, &ones, &zeros],
            vec![float("epsilon", self.epsilon)],
        );
        name = graph.reshape(&name, &shape);
        let mut spread = vec![1; shape.len()];
        spread[0] = channels;
        let mut stored = weights.iter();
        for (weight, operator, present) in
            [("gamma", "Mul", self.scale), ("beta", "Add", self.center)]
        {
            if let Some(tensor) = stored.next_if_present(present) {
                tensor.must_be(weight, &[channels])?;
                let tensor = graph.weight(weight, &tensor.clone().reshaped(&spread)?);
                name = graph.node(operator, &[&name, &tensor], Vec::new());
            }
        }
        if axis == 2 && shape.len() == 3 {
            return Ok(Value::new(name, input.shape.clone(), Order::ChannelsFirst));
        }
        let mut back: Vec<usize> = (1..shape.len()).collect();
        back.insert(axis, 0);
        let name = transpose(graph, &name, &back);
        Ok(Value::new(name, input.shape.clone(), Order::Keras))
    }
}
