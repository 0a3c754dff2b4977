//! The dense layer.

use super::activation::Activation;
use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Value};
use crate::tensor::Tensor;

/// `Dense`: kernel `[inputs, units]`, along the last axis.
pub(crate) struct Dense {
    units: usize,
    bias: bool,
    activation: Activation,
}

impl Dense {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            units: fields.count("units")?,
            bias: fields.flag("use_bias", true)?,
            activation: Activation::option(fields)?,
        })
    }
}

impl Layer for Dense {
    fn weights(&self) -> Vec<&'static str> {
        if self.bias {
            vec!["kernel", "bias"]
        } else {
            vec!["kernel"]
        }
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let input = only(inputs)?;
        let width = *input.shape.last().ok_or("its input has no axis")?;
        weights[0].must_be("kernel", &[width, self.units])?;
        if let Some(bias) = weights.get(1) {
            bias.must_be("bias", &[self.units])?;
        }
        let sums = match input.shape.len() {
            1 => {
                let kernel = match input.order {
                    // The kernel's rows are reordered instead of the values.
                    Order::FlatChannelsFirst { channels, area } => {
                        let rows = weights[0].clone().reshaped(&[area, channels, self.units])?;
                        &rows.transposed(&[1, 0, 2]).reshaped(&[width, self.units])?
                    }
                    _ => &weights[0],
                };
                let mut names = vec![input.name.clone(), graph.weight("kernel", kernel)];
                names.extend(weights.get(1).map(|bias| graph.weight("bias", bias)));
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                graph.node("Gemm", &names, Vec::new())
            }
            _ => {
                let input = graph.keras_order(input);
                let kernel = graph.weight("kernel", &weights[0]);
                let product = graph.node("MatMul", &[&input.name, &kernel], Vec::new());
                match weights.get(1) {
                    Some(bias) => {
                        let bias = graph.weight("bias", bias);
                        graph.node("Add", &[&product, &bias], Vec::new())
                    }
                    None => product,
                }
            }
        };
        let mut shape = input.shape.clone();
        shape.pop();
        shape.push(self.units);
        self.activation
            .apply(graph, &Value::new(sums, shape, Order::Keras))
    }
}
