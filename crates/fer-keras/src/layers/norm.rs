//! Normalization layers: of batches (by their running statistics), of layers, and of inputs.

use super::{Layer, only};
use crate::affine::{self, Affine};
use crate::config::Fields;
use crate::graph::{Graph, Order, Value, float, int};
use crate::tensor::{Tensor, product};

/// `BatchNormalization`.
pub(crate) struct BatchNorm {
    axis: i64,
    epsilon: f32,
    scale: bool,
    center: bool,
}

impl BatchNorm {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        let axis = match fields.integers("axis")?.as_deref() {
            None => -1,
            Some([axis]) => *axis,
            Some(_) => return Err("its normalization of several axes can't be converted".into()),
        };
        if fields.count_or("mode", 0).is_ok_and(|mode| mode != 0) || fields.flag("renorm", false)? {
            return Err("its batch renormalization or mode of Keras 1 can't be converted".into());
        }
        Ok(Self {
            axis,
            epsilon: fields.number("epsilon", 1e-3)?,
            scale: fields.flag("scale", true)?,
            center: fields.flag("center", true)?,
        })
    }
}

/// The names of a normalization's factors and shifts, as far as it has them.
pub(super) fn gamma_and_beta(scale: bool, center: bool) -> Vec<&'static str> {
    let mut names = Vec::new();
    names.extend(scale.then_some("gamma"));
    names.extend(center.then_some("beta"));
    names
}

impl Layer for BatchNorm {
    fn weights(&self) -> Vec<&'static str> {
        let mut names = gamma_and_beta(self.scale, self.center);
        names.extend(["moving_mean", "moving_variance"]);
        names
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let input = only(inputs)?;
        let value = match (input.shape.len(), input.axis(self.axis)?, input.order) {
            (3, 3, Order::Keras) => graph.channels_first(input),
            _ => input.clone(),
        };
        let channels = value.shape[value.keras_axis(self.axis)? - 1];
        let constant = |fill: f32| Tensor::vector(vec![fill; channels]);
        let mut stored = weights.iter();
        let mut tensors = Vec::with_capacity(4);
        for (name, present, default) in [
            ("gamma", self.scale, 1.0),
            ("beta", self.center, 0.0),
            ("moving_mean", true, 0.0),
            ("moving_variance", true, 1.0),
        ] {
            let tensor = match stored.next_if_present(present) {
                Some(tensor) => tensor.clone(),
                None => constant(default),
            };
            tensor.must_be(name, &[channels])?;
            tensors.push((name, flat(tensor, value.order)?));
        }
        match value.axis(self.axis)? {
            // ONNX normalizes the axis after the batch.
            1 => {
                let names: Vec<String> = tensors
                    .iter()
                    .map(|(name, tensor)| graph.weight(name, tensor))
                    .collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let epsilon = vec![float("epsilon", self.epsilon)];
                Ok(graph.map("BatchNormalization", &value, &names, epsilon))
            }
            axis => {
                let [gamma, beta, mean, variance] =
                    [0, 1, 2, 3].map(|i| tensors[i].1.values.iter().copied());
                let factors: Vec<f32> = gamma
                    .zip(variance)
                    .map(|(gamma, variance)| gamma / (variance + self.epsilon).sqrt())
                    .collect();
                let shifts = beta.zip(mean).zip(&factors);
                let shifts = shifts
                    .map(|((beta, mean), factor)| beta - mean * factor)
                    .collect();
                let mut dims = vec![1; value.shape.len()];
                dims[axis - 1] = channels;
                let steps = [("Mul", "factor", factors), ("Add", "shift", shifts)];
                steps
                    .into_iter()
                    .try_fold(value, |value, (operator, name, numbers)| {
                        let weight = Tensor::vector(numbers).reshaped(&dims)?;
                        let weight = graph.weight(name, &weight);
                        Ok(graph.map(operator, &value, &[&weight], Vec::new()))
                    })
            }
        }
    }
}

/// Takes the next weight only if the layer has it.
pub(super) trait NextIfPresent<'a> {
    fn next_if_present(&mut self, present: bool) -> Option<&'a Tensor>;
}

impl<'a> NextIfPresent<'a> for std::slice::Iter<'a, Tensor> {
    fn next_if_present(&mut self, present: bool) -> Option<&'a Tensor> {
        if present { self.next() } else { None }
    }
}

/// A vector along the last axis, in the order of a flattened value.
fn flat(vector: Tensor, order: Order) -> Result<Tensor, String> {
    match order {
        Order::FlatChannelsFirst { channels, area } => {
            let length = vector.values.len();
            vector
                .reshaped(&[area, channels])?
                .transposed(&[1, 0])
                .reshaped(&[length])
        }
        _ => Ok(vector),
    }
}

/// `LayerNormalization`.
pub(crate) struct LayerNorm {
    axes: Vec<i64>,
    epsilon: f32,
    scale: bool,
    center: bool,
}

impl LayerNorm {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        if fields.flag("rms_scaling", false)? {
            return Err("its scaling by the root mean square can't be converted".into());
        }
        Ok(Self {
            axes: fields.integers("axis")?.unwrap_or_else(|| vec![-1]),
            epsilon: fields.number("epsilon", 1e-3)?,
            scale: fields.flag("scale", true)?,
            center: fields.flag("center", true)?,
        })
    }
}

impl Layer for LayerNorm {
    fn weights(&self) -> Vec<&'static str> {
        gamma_and_beta(self.scale, self.center)
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let value = graph.keras_order(only(inputs)?);
        let mut axes = self
            .axes
            .iter()
            .map(|a| value.axis(*a))
            .collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        axes.dedup();
        let (rank, first) = (value.shape.len(), *axes.first().ok_or("it names no axis")?);
        let dims: Vec<usize> = axes.iter().map(|a| value.shape[a - 1]).collect();
        let mut stored = weights.iter();
        let mut gamma = stored.next_if_present(self.scale).cloned();
        let mut beta = stored.next_if_present(self.center).cloned();
        for (name, weight) in [("gamma", &gamma), ("beta", &beta)] {
            weight.as_ref().map_or(Ok(()), |w| w.must_be(name, &dims))?;
        }
        if axes.iter().copied().eq(first..=rank) {
            let count = product(&dims).ok_or("its input is too large")?;
            let ones = || Tensor {
                dims: dims.clone(),
                values: vec![1.0; count],
            };
            let mut names = vec![graph.weight("gamma", &gamma.unwrap_or_else(ones))];
            names.extend(beta.map(|beta| graph.weight("beta", &beta)));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let attributes = vec![
                int("axis", first as i64 - rank as i64 - 1),
                float("epsilon", self.epsilon),
            ];
            return Ok(graph.map("LayerNormalization", &value, &names, attributes));
        }
        // ONNX has an operator only for the last axes.
        let mut spread = vec![1; rank];
        axes.iter().for_each(|a| spread[a - 1] = value.shape[a - 1]);
        for weight in [&mut gamma, &mut beta] {
            *weight = weight.take().map(|w| w.reshaped(&spread)).transpose()?;
        }
        let over: Vec<i64> = axes.iter().map(|a| *a as i64).collect();
        let over = graph.integers("axes", &over);
        let mean = graph.node(
            "ReduceMean",
            &[&value.name, &over],
            vec![int("keepdims", 1)],
        );
        let centered = graph.map("Sub", &value, &[&mean], Vec::new());
        let square = graph.node("Mul", &[&centered.name, &centered.name], Vec::new());
        let variance = graph.node("ReduceMean", &[&square, &over], vec![int("keepdims", 1)]);
        let epsilon = graph.weight("epsilon", &Tensor::scalar(self.epsilon));
        let variance = graph.node("Add", &[&variance, &epsilon], Vec::new());
        let deviation = graph.node("Sqrt", &[&variance], Vec::new());
        let mut result = graph.map("Div", &centered, &[&deviation], Vec::new());
        for (name, operator, weight) in [("gamma", "Mul", gamma), ("beta", "Add", beta)] {
            if let Some(weight) = weight {
                let weight = graph.weight(name, &weight);
                result = graph.map(operator, &result, &[&weight], Vec::new());
            }
        }
        Ok(result)
    }
}

/// Keras's smallest standard deviation.
const SMALLEST: f32 = 1e-7;

/// `Normalization`: (input − mean) / √variance, along some axes.
pub(crate) struct Normalization {
    axes: Vec<i64>,
    given: Option<(Vec<f32>, Vec<f32>)>,
    invert: bool,
}

impl Normalization {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        let given = match (fields.numbers("mean")?, fields.numbers("variance")?) {
            (Some(mean), Some(variance)) => Some((mean, variance)),
            _ => None,
        };
        // An axis of null means no axis: one mean for everything.
        let axes = if fields.get("axis").is_some() {
            fields.integers("axis")?
        } else {
            None
        };
        Ok(Self {
            axes: axes.unwrap_or_default(),
            given,
            invert: fields.flag("invert", false)?,
        })
    }

    /// One value for all, or one for each position along the axes, as a tensor that broadcasts over
    /// `value`.
    fn spread(&self, tensor: Tensor, value: &Value) -> Result<Tensor, String> {
        let mut dims = vec![1; value.shape.len()];
        let mut axes = self
            .axes
            .iter()
            .map(|a| value.keras_axis(*a))
            .collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        axes.iter().for_each(|a| dims[a - 1] = value.shape[a - 1]);
        match tensor.values[..] {
            [one] => Ok(Tensor::scalar(one)),
            _ => tensor.reshaped(&dims),
        }
    }

    /// The means and variances: given, or those of the training images.
    fn constants<'a>(&'a self, weights: &'a [Tensor]) -> Option<[&'a [f32]; 2]> {
        match (&self.given, weights) {
            (Some((mean, variance)), _) => Some([mean, variance]),
            (None, [mean, variance]) => Some([&mean.values, &variance.values]),
            (None, _) => None,
        }
    }
}

/// Keras's deviation for a variance.
fn deviation(variance: f32) -> f32 {
    variance.sqrt().max(SMALLEST)
}

impl Layer for Normalization {
    fn affine(&self, weights: &[Tensor]) -> Option<Affine> {
        let [mean, variance] = self.constants(weights)?;
        let mean = affine::mean(mean.iter().map(|m| f64::from(*m)));
        let deviation = affine::mean(variance.iter().map(|v| f64::from(deviation(*v))));
        Some(if self.invert {
            Affine {
                scale: deviation,
                offset: mean,
            }
        } else {
            Affine {
                scale: 1.0 / deviation,
                offset: -mean / deviation,
            }
        })
    }

    fn weights(&self) -> Vec<&'static str> {
        if self.given.is_some() {
            Vec::new()
        } else {
            vec!["mean", "variance"]
        }
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let value = graph.keras_order(only(inputs)?);
        let [mean, variance] = self
            .constants(weights)
            .ok_or("it has no mean and variance")?;
        let deviations = variance.iter().map(|v| deviation(*v)).collect();
        let mean = self.spread(Tensor::vector(mean.to_vec()), &value)?;
        let deviation = self.spread(Tensor::vector(deviations), &value)?;
        let mean = graph.weight("mean", &mean);
        let deviation = graph.weight("deviation", &deviation);
        let steps = if self.invert {
            [("Mul", deviation), ("Add", mean)]
        } else {
            [("Sub", mean), ("Div", deviation)]
        };
        Ok(steps.iter().fold(value, |value, (operator, weight)| {
            graph.map(operator, &value, &[weight], Vec::new())
        }))
    }
}
