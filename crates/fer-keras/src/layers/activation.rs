//! Activations, as options of other layers and as layers.

use serde_json::Value as Json;

use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Value, float};
use crate::tensor::Tensor;

/// A function of single values, or of rows of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    Linear,
    /// The value above `threshold`, `slope` × (value − threshold) below it, and at most `max`.
    Relu {
        slope: f32,
        threshold: f32,
        max: Option<f32>,
    },
    Elu {
        alpha: f32,
    },
    /// alpha × elu(x / alpha)
    Celu {
        alpha: f32,
    },
    HardSigmoid {
        slope: f32,
    },
    /// x × sigmoid(x)
    Swish,
    /// x × hard sigmoid(x), of slope 1/6
    HardSwish,
    /// x × the cumulative normal distribution at x, or its approximation by tanh
    Gelu {
        approximate: bool,
    },
    Softmax {
        axis: i64,
        log: bool,
    },
    /// −softplus(−x)
    LogSigmoid,
    /// At least −1 and at most 1
    HardTanh,
    /// x − tanh(x)
    TanhShrink,
    /// The part of x beyond ±threshold
    SoftShrink {
        threshold: f32,
    },
    /// x beyond ±threshold, else 0
    HardShrink {
        threshold: f32,
    },
    /// (x + √(x² + b)) / 2
    Squareplus {
        b: f32,
    },
    /// x above 1, 0 below −1, and (x + 1)² / 4 between them
    SparsePlus,
    /// An ONNX operator of this name with its defaults: `Sigmoid`, `Tanh` and others.
    Operator(&'static str),
}

const RELU: Activation = Activation::Relu {
    slope: 0.0,
    threshold: 0.0,
    max: None,
};

impl Activation {
    /// A layer's option `activation`: a name, or a layer or function as an object.
    ///
    /// # Errors
    /// It is not supported.
    pub(crate) fn option(fields: &Fields<'_>) -> Result<Self, String> {
        match fields.get("activation") {
            None => Ok(Self::Linear),
            Some(Json::String(name)) => Self::named(name, fields.keras),
            Some(Json::Object(object)) => {
                let class = object
                    .get("class_name")
                    .and_then(Json::as_str)
                    .unwrap_or("");
                match object.get("config") {
                    Some(Json::String(name)) => Self::named(name, fields.keras),
                    Some(Json::Object(config)) => layer(class, &Fields::new(config, fields.keras))?
                        .ok_or_else(|| format!("its activation {class} can't be converted")),
                    _ => Err(format!("its activation {class} can't be converted")),
                }
            }
            Some(other) => Err(format!("its activation {other} is not a name")),
        }
    }

    /// The activation of a name, in a major version of Keras.
    ///
    /// # Errors
    /// It is not supported.
    pub(crate) fn named(name: &str, keras: u32) -> Result<Self, String> {
        Ok(match name {
            "linear" => Self::Linear,
            "relu" => RELU,
            "relu6" => Self::Relu {
                slope: 0.0,
                threshold: 0.0,
                max: Some(6.0),
            },
            "leaky_relu" => Self::Relu {
                slope: 0.2,
                threshold: 0.0,
                max: None,
            },
            "elu" => Self::Elu { alpha: 1.0 },
            "celu" => Self::Celu { alpha: 1.0 },
            "selu" => Self::Operator("Selu"),
            "sigmoid" => Self::Operator("Sigmoid"),
            "tanh" => Self::Operator("Tanh"),
            "softplus" => Self::Operator("Softplus"),
            "softsign" => Self::Operator("Softsign"),
            "exponential" => Self::Operator("Exp"),
            "mish" => Self::Operator("Mish"),
            "swish" | "silu" => Self::Swish,
            "hard_swish" | "hard_silu" => Self::HardSwish,
            "hard_sigmoid" => Self::HardSigmoid {
                slope: if keras >= 3 { 1.0 / 6.0 } else { 0.2 },
            },
            "sparse_sigmoid" => Self::HardSigmoid { slope: 0.5 },
            "log_sigmoid" => Self::LogSigmoid,
            "hard_tanh" => Self::HardTanh,
            "tanh_shrink" => Self::TanhShrink,
            "soft_shrink" => Self::SoftShrink { threshold: 0.5 },
            "hard_shrink" => Self::HardShrink { threshold: 0.5 },
            "squareplus" => Self::Squareplus { b: 4.0 },
            "sparse_plus" => Self::SparsePlus,
            "gelu" => Self::Gelu { approximate: false },
            // TensorFlow's own name for its softmax.
            "softmax" | "softmax_v2" => Self::Softmax {
                axis: -1,
                log: false,
            },
            "log_softmax" => Self::Softmax {
                axis: -1,
                log: true,
            },
            _ => return Err(format!("its activation {name} can't be converted")),
        })
    }

    /// Adds its nodes.
    ///
    /// # Errors
    /// A softmax's axis is not an axis of the value.
    pub(crate) fn apply(self, graph: &mut Graph, value: &Value) -> Result<Value, String> {
        Ok(match self {
            Self::Linear => value.clone(),
            Self::Operator(name) => graph.map(name, value, &[], Vec::new()),
            Self::Relu {
                slope,
                threshold,
                max,
            } => relu(graph, value, slope, threshold, max),
            Self::Elu { alpha } => graph.map("Elu", value, &[], vec![float("alpha", alpha)]),
            Self::Celu { alpha: 1.0 } => Self::Elu { alpha: 1.0 }.apply(graph, value)?,
            Self::Celu { alpha } => {
                let alpha = graph.weight("alpha", &Tensor::scalar(alpha));
                let scaled = graph.map("Div", value, &[&alpha], Vec::new());
                let bent = Self::Elu { alpha: 1.0 }.apply(graph, &scaled)?;
                graph.map("Mul", &bent, &[&alpha], Vec::new())
            }
            Self::HardSigmoid { slope } => graph.map(
                "HardSigmoid",
                value,
                &[],
                vec![float("alpha", slope), float("beta", 0.5)],
            ),
            Self::HardSwish => graph.map("HardSwish", value, &[], Vec::new()),
            Self::Swish => {
                let gate = graph.map("Sigmoid", value, &[], Vec::new());
                graph.map("Mul", value, &[&gate.name], Vec::new())
            }
            Self::Gelu { approximate } => gelu(graph, value, approximate),
            Self::Softmax { axis, log } => {
                let value = match value.order {
                    Order::FlatChannelsFirst { .. } => graph.keras_order(value),
                    _ => value.clone(),
                };
                let operator = if log { "LogSoftmax" } else { "Softmax" };
                graph.along(operator, &value, axis)?
            }
            Self::LogSigmoid => ["Neg", "Softplus", "Neg"]
                .iter()
                .fold(value.clone(), |value, operator| {
                    graph.map(operator, &value, &[], Vec::new())
                }),
            Self::HardTanh => within(graph, value, 1.0),
            Self::TanhShrink => {
                let bent = graph.map("Tanh", value, &[], Vec::new());
                graph.map("Sub", value, &[&bent.name], Vec::new())
            }
            Self::SoftShrink { threshold } => {
                let inner = within(graph, value, threshold);
                graph.map("Sub", value, &[&inner.name], Vec::new())
            }
            Self::HardShrink { threshold } => {
                let beyond = || vec![float("alpha", threshold)];
                let above = graph.map("ThresholdedRelu", value, &[], beyond());
                let negative = graph.node("Neg", &[&value.name], Vec::new());
                let below = graph.node("ThresholdedRelu", &[&negative], beyond());
                graph.map("Sub", &above, &[&below], Vec::new())
            }
            Self::Squareplus { b } => {
                let square = graph.node("Mul", &[&value.name, &value.name], Vec::new());
                let b = graph.weight("b", &Tensor::scalar(b));
                let sum = graph.node("Add", &[&square, &b], Vec::new());
                let root = graph.node("Sqrt", &[&sum], Vec::new());
                let sum = graph.map("Add", value, &[&root], Vec::new());
                let half = graph.weight("half", &Tensor::scalar(0.5));
                graph.map("Mul", &sum, &[&half], Vec::new())
            }
            Self::SparsePlus => {
                // (c + 1)² / 4 for the part c of x in −1..1, and the part above 1.
                let inner = within(graph, value, 1.0);
                let one = graph.weight("one", &Tensor::scalar(1.0));
                let half = graph.weight("half", &Tensor::scalar(0.5));
                let curve = graph.node("Add", &[&inner.name, &one], Vec::new());
                let curve = graph.node("Mul", &[&curve, &half], Vec::new());
                let curve = graph.node("Mul", &[&curve, &curve], Vec::new());
                let above = graph.node("Sub", &[&value.name, &one], Vec::new());
                let above = graph.node("Relu", &[&above], Vec::new());
                let curve = Value {
                    name: curve,
                    ..inner
                };
                graph.map("Add", &curve, &[&above], Vec::new())
            }
        })
    }
}

/// The values, at least −`limit` and at most `limit`.
fn within(graph: &mut Graph, value: &Value, limit: f32) -> Value {
    let [low, high] = [("x_min", -limit), ("x_max", limit)]
        .map(|(name, limit)| graph.weight(name, &Tensor::scalar(limit)));
    graph.map("Clip", value, &[&low, &high], Vec::new())
}

fn relu(graph: &mut Graph, value: &Value, slope: f32, threshold: f32, max: Option<f32>) -> Value {
    let bent = match (slope, threshold) {
        (0.0, 0.0) if max.is_some() => value.clone(),
        (0.0, 0.0) => graph.map("Relu", value, &[], Vec::new()),
        (_, 0.0) => graph.map("LeakyRelu", value, &[], vec![float("alpha", slope)]),
        (0.0, _) => graph.map(
            "ThresholdedRelu",
            value,
            &[],
            vec![float("alpha", threshold)],
        ),
        (..) => {
            let above = graph.map(
                "ThresholdedRelu",
                value,
                &[],
                vec![float("alpha", threshold)],
            );
            let at = graph.weight("threshold", &Tensor::scalar(threshold));
            let under = graph.node("Sub", &[&at, &value.name], Vec::new());
            let under = graph.node("Relu", &[&under], Vec::new());
            let slope = graph.weight("negative_slope", &Tensor::scalar(slope));
            let under = graph.node("Mul", &[&under, &slope], Vec::new());
            graph.map("Sub", &above, &[&under], Vec::new())
        }
    };
    let Some(max) = max else { return bent };
    let top = graph.weight("max_value", &Tensor::scalar(max));
    if (slope, threshold) == (0.0, 0.0) {
        let bottom = graph.weight("min_value", &Tensor::scalar(0.0));
        graph.map("Clip", &bent, &[&bottom, &top], Vec::new())
    } else {
        graph.map("Min", &bent, &[&top], Vec::new())
    }
}

/// ONNX has an operator for it only from opset 20 on.
fn gelu(graph: &mut Graph, value: &Value, approximate: bool) -> Value {
    let scaled = |graph: &mut Graph, name: &str, of: &str, by: f32| {
        let factor = graph.weight(name, &Tensor::scalar(by));
        graph.node("Mul", &[of, &factor], Vec::new())
    };
    let bent = if approximate {
        // tanh(√(2/π) × (x + 0.044715 x³))
        let square = graph.node("Mul", &[&value.name, &value.name], Vec::new());
        let cube = graph.node("Mul", &[&square, &value.name], Vec::new());
        let cube = scaled(graph, "cubic", &cube, 0.044_715);
        let sum = graph.node("Add", &[&value.name, &cube], Vec::new());
        let sum = scaled(graph, "sqrt_2_over_pi", &sum, 0.797_884_6);
        graph.node("Tanh", &[&sum], Vec::new())
    } else {
        let x = scaled(
            graph,
            "sqrt_half",
            &value.name,
            std::f32::consts::FRAC_1_SQRT_2,
        );
        graph.node("Erf", &[&x], Vec::new())
    };
    let one = graph.weight("one", &Tensor::scalar(1.0));
    let gate = graph.node("Add", &[&bent, &one], Vec::new());
    let gate = scaled(graph, "half", &gate, 0.5);
    graph.map("Mul", value, &[&gate], Vec::new())
}

/// The activation of a layer class, if the class is an activation.
///
/// # Errors
/// One of its options can't be converted.
pub(crate) fn layer(class: &str, fields: &Fields<'_>) -> Result<Option<Activation>, String> {
    let relu = |slope, threshold, max| Activation::Relu {
        slope,
        threshold,
        max,
    };
    Ok(Some(match class {
        "Activation" => Activation::option(fields)?,
        "ReLU" => relu(
            fields.number("negative_slope", 0.0)?,
            fields.number("threshold", 0.0)?,
            fields.optional_number("max_value")?,
        ),
        "ThresholdedReLU" => relu(0.0, fields.number("theta", 1.0)?, None),
        "LeakyReLU" => {
            let old = fields.optional_number("alpha")?;
            relu(
                fields
                    .optional_number("negative_slope")?
                    .or(old)
                    .unwrap_or(0.3),
                0.0,
                None,
            )
        }
        "ELU" => Activation::Elu {
            alpha: fields.number("alpha", 1.0)?,
        },
        "Softmax" => {
            let axis = fields.integers("axis")?.unwrap_or_else(|| vec![-1]);
            let [axis] = axis[..] else {
                return Err("its softmax over several axes can't be converted".into());
            };
            Activation::Softmax { axis, log: false }
        }
        // Keras has these as functions. Some projects made layers of them.
        "Swish" | "SiLU" => Activation::Swish,
        "GELU" => Activation::Gelu {
            approximate: fields.flag("approximate", false)?,
        },
        _ => return Ok(None),
    }))
}

impl Layer for Activation {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        self.apply(graph, only(inputs)?)
    }
}

/// `PReLU`: a learned slope for negative values, one for each position except along the shared
/// axes.
pub(crate) struct PRelu {
    shared: Vec<i64>,
}

impl PRelu {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            shared: fields.integers("shared_axes")?.unwrap_or_default(),
        })
    }
}

impl Layer for PRelu {
    fn weights(&self) -> Vec<&'static str> {
        vec!["alpha"]
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let mut value = only(inputs)?.clone();
        if matches!(value.order, Order::FlatChannelsFirst { .. }) {
            value = graph.keras_order(&value);
        }
        let mut dims = value.shape.clone();
        for axis in &self.shared {
            let axis = if *axis < 0 {
                axis + dims.len() as i64 + 1
            } else {
                *axis
            };
            let dim = usize::try_from(axis - 1).ok().and_then(|i| dims.get_mut(i));
            *dim.ok_or_else(|| format!("its input has no shared axis {axis}"))? = 1;
        }
        weights[0].must_be("alpha", &dims)?;
        if dims.is_empty() {
            return Err("its input has no axis".into());
        }
        let alpha = match value.order {
            Order::ChannelsFirst => weights[0].transposed(&[2, 0, 1]),
            _ => weights[0].clone(),
        };
        let of_channels = alpha.dims[1..].iter().all(|d| *d == 1);
        let alpha = graph.weight("alpha", &alpha);
        if of_channels {
            return Ok(graph.map("PRelu", &value, &[&alpha], Vec::new()));
        }
        // Not every engine supports slopes that differ between positions.
        let above = graph.map("Relu", &value, &[], Vec::new());
        let under = graph.node("Neg", &[&value.name], Vec::new());
        let under = graph.node("Relu", &[&under], Vec::new());
        let under = graph.node("Mul", &[&under, &alpha], Vec::new());
        Ok(graph.map("Sub", &above, &[&under], Vec::new()))
    }
}
