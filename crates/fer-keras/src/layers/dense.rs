//! The dense layer.

use super::activation::Activation;
use super::int8::{INT8_KERNEL, Int8};
use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Value};
use crate::tensor::Tensor;

/// `Dense`: kernel `[inputs, units]`, along the last axis.
pub(crate) struct Dense {
    units: usize,
    bias: bool,
    activation: Activation,
    int8: Option<Int8>,
}

impl Dense {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            units: fields.count("units")?,
            bias: fields.flag("use_bias", true)?,
            activation: Activation::option(fields)?,
            int8: Int8::parse(fields)?,
        })
    }
}

impl Layer for Dense {
    fn weights(&self) -> Vec<&'static str> {
        let int8 = self.int8.is_some();
        let mut names = vec![if int8 { INT8_KERNEL } else { "kernel" }];
        names.extend(self.bias.then_some("bias"));
        names.extend(int8.then_some("kernel_scale"));
        names
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
        let bias = weights.get(1).filter(|_| self.bias);
        if let Some(bias) = bias {
            bias.must_be("bias", &[self.units])?;
        }
        let name = match &self.int8 {
            Some(int8) => {
                let scale = weights.last().ok_or("it has too few weights")?;
                scale.must_be("kernel_scale", &[self.units])?;
                let input = graph.keras_order(input);
                let product = int8.multiply(graph, &input.name, &weights[0], scale);
                plus(graph, product, bias)
            }
            None if input.shape.len() == 1 => {
                let kernel = match input.order {
                    // The kernel's rows are reordered instead of the values.
                    Order::FlatChannelsFirst { channels, area } => {
                        let rows = weights[0].clone().reshaped(&[area, channels, self.units])?;
                        &rows.transposed(&[1, 0, 2]).reshaped(&[width, self.units])?
                    }
                    _ => &weights[0],
                };
                let mut names = vec![input.name.clone(), graph.weight("kernel", kernel)];
                names.extend(bias.map(|bias| graph.weight("bias", bias)));
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                graph.node("Gemm", &names, Vec::new())
            }
            None => {
                let input = graph.keras_order(input);
                let kernel = graph.weight("kernel", &weights[0]);
                let product = graph.node("MatMul", &[&input.name, &kernel], Vec::new());
                plus(graph, product, bias)
            }
        };
        let mut shape = input.shape.clone();
        shape.pop();
        shape.push(self.units);
        self.activation
            .apply(graph, &Value::new(name, shape, Order::Keras))
    }
}

fn plus(graph: &mut Graph, product: String, bias: Option<&Tensor>) -> String {
    match bias {
        Some(bias) => {
            let bias = graph.weight("bias", bias);
            graph.node("Add", &[&product, &bias], Vec::new())
        }
        None => product,
    }
}
