//! Dense layers that Keras 3 quantized to 8-bit integers.
//!
//! Keras rounds the kernel when it quantizes a model, and the inputs when it runs the model. Here,
//! both are integers as float32. Their products and sums are as good as exact.

use serde_json::Value as Json;

use crate::config::Fields;
use crate::graph::{Graph, int};
use crate::tensor::Tensor;

/// The name of a kernel of 8-bit integers.
pub(crate) const INT8_KERNEL: &str = "int8_kernel";

/// How a layer's inputs are rounded; `None` if they are not.
pub(super) struct Int8(Option<Rounding>);

/// To integers between `lowest` and `highest`, by the largest magnitude along the last axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rounding {
    lowest: f32,
    highest: f32,
    epsilon: f32,
}

/// Keras's.
const ROUNDING: Rounding = Rounding {
    lowest: -127.0,
    highest: 127.0,
    epsilon: 1e-7,
};

impl Int8 {
    /// How a layer is quantized; `None` if it is not.
    ///
    /// # Errors
    /// It is quantized in another way than to 8-bit integers.
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Option<Self>, String> {
        match fields.quantization() {
            None => return Ok(None),
            Some("int8") => {}
            Some(mode) => return Err(quantized(mode)),
        }
        let Some(config) = fields.get("quantization_config") else {
            return Ok(Some(Self(Some(ROUNDING))));
        };
        let quantizer = &config["config"]["activation_quantizer"];
        if quantizer.is_null() {
            return Ok(Some(Self(None)));
        }
        let rounding = Rounding::of(quantizer).ok_or("its activation_quantizer is unknown")?;
        Ok(Some(Self(Some(rounding))))
    }

    /// The inputs × the kernel / its scale.
    pub(super) fn multiply(
        &self,
        graph: &mut Graph,
        input: &str,
        kernel: &Tensor,
        scale: &Tensor,
    ) -> String {
        let kernel = graph.weight("kernel", kernel);
        let mut scale = graph.weight("kernel_scale", scale);
        let mut input = input.to_string();
        if let Some(rounding) = self.0 {
            let (rounded, factor) = rounding.apply(graph, &input);
            input = rounded;
            scale = graph.node("Mul", &[&scale, &factor], Vec::new());
        }
        let sums = graph.node("MatMul", &[&input, &kernel], Vec::new());
        graph.node("Div", &[&sums, &scale], Vec::new())
    }
}

impl Rounding {
    fn of(quantizer: &Json) -> Option<Self> {
        let config = &quantizer["config"];
        let number = |value: &Json| value.as_f64().map(|n| n as f32);
        let rounding = Self {
            lowest: number(&config["value_range"][0])?,
            highest: number(&config["value_range"][1])?,
            epsilon: number(&config["epsilon"])?,
        };
        (quantizer["class_name"] == "AbsMaxQuantizer").then_some(rounding)
    }

    /// The rounded values, and the factor that they have.
    fn apply(self, graph: &mut Graph, input: &str) -> (String, String) {
        let mut constant = |name, value| graph.weight(name, &Tensor::scalar(value));
        let [lowest, highest, epsilon] = [
            constant("lowest", self.lowest),
            constant("highest", self.highest),
            constant("epsilon", self.epsilon),
        ];
        let axis = graph.integers("axis", &[-1]);
        let size = graph.node("Abs", &[input], Vec::new());
        let size = graph.node("ReduceMax", &[&size, &axis], vec![int("keepdims", 1)]);
        let size = graph.node("Add", &[&size, &epsilon], Vec::new());
        let factor = graph.node("Div", &[&highest, &size], Vec::new());
        let scaled = graph.node("Mul", &[input, &factor], Vec::new());
        let rounded = graph.node("Round", &[&scaled], Vec::new());
        let rounded = graph.node("Clip", &[&rounded, &lowest, &highest], Vec::new());
        (rounded, factor)
    }
}

/// Why a layer that is quantized in this mode can't be converted.
pub(super) fn quantized(mode: &str) -> String {
    format!(
        "it is quantized to {mode}, and only Dense layers of int8 can be converted; save the model \
         before model.quantize()"
    )
}
