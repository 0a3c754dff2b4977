//! Layers that multiply by constants: rescaling, ConvNeXt's layer scale, and the scaled residual of
//! Inception-ResNet.

use super::merge::aligned;
use super::{Layer, only};
use crate::affine::{Affine, mean};
use crate::config::Fields;
use crate::graph::{Graph, Value};
use crate::tensor::Tensor;

/// `Rescaling`: input × scale + offset.
pub(crate) struct Rescaling {
    scale: Vec<f32>,
    offset: Vec<f32>,
}

impl Rescaling {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            scale: fields
                .numbers("scale")?
                .ok_or("its configuration lacks scale")?,
            offset: fields.numbers("offset")?.unwrap_or_else(|| vec![0.0]),
        })
    }
}

impl Layer for Rescaling {
    fn affine(&self, _: &[Tensor]) -> Option<Affine> {
        let mean = |numbers: &[f32]| mean(numbers.iter().map(|n| f64::from(*n)));
        Some(Affine {
            scale: mean(&self.scale),
            offset: mean(&self.offset),
        })
    }

    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let mut value = graph.keras_order(only(inputs)?);
        let width = value.shape.last().copied().unwrap_or(1);
        for (name, operator, numbers, nothing) in [
            ("scale", "Mul", &self.scale, 1.0),
            ("offset", "Add", &self.offset, 0.0),
        ] {
            let tensor = match numbers[..] {
                [one] if one == nothing => continue,
                [one] => Tensor::scalar(one),
                _ if numbers.len() == width => Tensor::vector(numbers.clone()),
                _ => {
                    return Err(format!(
                        "its {name} has {} numbers for {width} channels",
                        numbers.len()
                    ));
                }
            };
            let weight = graph.weight(name, &tensor);
            value = graph.map(operator, &value, &[&weight], Vec::new());
        }
        Ok(value)
    }
}

/// `LayerScale`, of `keras.applications`' ConvNeXt: input × gamma, along the last axis.
pub(crate) struct LayerScale {
    width: usize,
}

impl LayerScale {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            width: fields.count("projection_dim")?,
        })
    }
}

impl Layer for LayerScale {
    fn weights(&self) -> Vec<&'static str> {
        vec!["gamma"]
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let value = graph.keras_order(only(inputs)?);
        if value.shape.last() != Some(&self.width) {
            return Err(format!(
                "its projection_dim is {}, its input is {:?}",
                self.width, value.shape
            ));
        }
        weights[0].must_be("gamma", &[self.width])?;
        let gamma = graph.weight("gamma", &weights[0]);
        Ok(graph.map("Mul", &value, &[&gamma], Vec::new()))
    }
}

/// `CustomScaleLayer`, of `keras.applications`' Inception-ResNet: shortcut + residual × scale.
pub(crate) struct ScaledResidual {
    scale: f32,
}

impl ScaledResidual {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            scale: fields
                .optional_number("scale")?
                .ok_or("its configuration lacks scale")?,
        })
    }
}

impl Layer for ScaledResidual {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let values = aligned(graph, inputs);
        let [shortcut, residual] = &values[..] else {
            return Err(format!(
                "it is called with {} tensors; it takes two",
                values.len()
            ));
        };
        if shortcut.shape != residual.shape {
            return Err(format!(
                "its inputs of {:?} and {:?} do not match",
                shortcut.shape, residual.shape
            ));
        }
        let scale = graph.weight("scale", &Tensor::scalar(self.scale));
        let scaled = graph.node("Mul", &[&residual.name, &scale], Vec::new());
        Ok(graph.map("Add", shortcut, &[&scaled], Vec::new()))
    }
}
