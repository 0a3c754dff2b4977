//! The numbers that a graph stores, and attributes of nodes.

use std::collections::HashMap;

use super::super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// `TensorProto.DataType`'s numbers.
pub const FLOAT: i32 = 1;
pub const UINT8: i32 = 2;
pub const INT8: i32 = 3;
pub const INT32: i32 = 6;
pub const INT64: i32 = 7;

/// A stored tensor.
#[derive(Clone)]
pub struct Weights<'a> {
    tensor: &'a TensorProto,
    /// The scales by which integers become numbers, and the axis that they belong to if they are
    /// several.
    pub scales: Option<(Vec<f32>, i64)>,
}

impl Weights<'_> {
    /// The sides.
    pub fn dims(&self) -> Vec<usize> {
        let sides = self.tensor.dims.iter();
        sides
            .map(|side| usize::try_from(*side).unwrap_or_default())
            .collect()
    }

    /// Whether they are integers of that type with scales.
    pub fn are(&self, data_type: i32) -> bool {
        self.scales.is_some() && self.tensor.data_type == data_type
    }

    /// The scale of each of `count` parts along an axis.
    pub fn scales_along(&self, axis: usize, count: usize) -> Result<Vec<f32>, String> {
        match &self.scales {
            Some((scales, _)) if scales.len() == 1 => Ok(vec![scales[0]; count]),
            Some((scales, along)) if scales.len() == count => match self.axis(*along) == Some(axis)
            {
                true => Ok(scales.clone()),
                false => Err("the scales of its weights belong to another axis".into()),
            },
            _ => Err("its weights have not one scale for each channel".into()),
        }
    }

    /// An axis that may count from the end; `None` if there is no such one.
    fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.tensor.dims.len();
        let axis = match axis < 0 {
            true => axis.checked_add(rank as i64)?,
            false => axis,
        };
        usize::try_from(axis).ok().filter(|axis| *axis < rank)
    }
}

/// The initializers and constants of a graph, by name.
pub fn constants(graph: &GraphProto) -> HashMap<&str, Weights<'_>> {
    let of = |tensor| Weights {
        tensor,
        scales: None,
    };
    let stored = graph.initializer.iter().map(|t| (&*t.name, of(t)));
    let constants = graph.node.iter().filter(|n| n.op_type == "Constant");
    let constants = constants.filter_map(|node| {
        let value = find(node, "value")?.t.as_ref()?;
        Some((&**node.output.first()?, of(value)))
    });
    stored.chain(constants).collect()
}

/// The whole numbers of a tensor of one of these types.
pub fn ints(weights: &Weights, types: &[i32]) -> Result<Vec<i64>, String> {
    let tensor = weights.tensor;
    if !types.contains(&tensor.data_type) {
        return Err(format!("the tensor {} has another type", tensor.name));
    }
    let raw = &tensor.raw_data[..];
    let range = match tensor.data_type {
        UINT8 => 0..=i64::from(u8::MAX),
        INT8 => i64::from(i8::MIN)..=i64::from(i8::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    let given: Vec<i64> = match tensor.data_type {
        _ if raw.is_empty() && tensor.data_type == INT64 => tensor.int64_data.clone(),
        _ if raw.is_empty() => tensor.int32_data.iter().map(|n| i64::from(*n)).collect(),
        UINT8 => raw.iter().map(|n| i64::from(*n)).collect(),
        INT8 => raw
            .iter()
            .map(|n| i64::from(i8::from_ne_bytes([*n])))
            .collect(),
        INT32 => {
            let words = raw.as_chunks().0.iter();
            words.map(|b| i64::from(i32::from_le_bytes(*b))).collect()
        }
        _ => raw
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b))
            .collect(),
    };
    match given.iter().find(|n| !range.contains(n)) {
        None => whole(weights, given),
        Some(n) => Err(format!("the tensor {} has a value {n}", tensor.name)),
    }
}

/// The numbers of a tensor, which it stores as they are or as integers with scales.
pub fn numbers(weights: &Weights) -> Result<Vec<f32>, String> {
    let tensor = weights.tensor;
    let Some((scales, axis)) = &weights.scales else {
        if tensor.data_type != FLOAT {
            return Err(format!("the tensor {} is not float32", tensor.name));
        }
        let raw = tensor.raw_data.as_chunks().0.iter();
        let given: Vec<f32> = match tensor.raw_data.is_empty() {
            true => tensor.float_data.clone(),
            false => raw.map(|b| f32::from_le_bytes(*b)).collect(),
        };
        return whole(weights, given);
    };
    let given = ints(weights, &[INT8, INT32, UINT8])?;
    let (scales, inner) = match (&scales[..], weights.axis(*axis)) {
        ([_], _) => (scales.clone(), usize::MAX),
        (_, Some(axis)) => {
            let dims = weights.dims();
            let inner = dims[axis + 1..].iter().product();
            (weights.scales_along(axis, dims[axis])?, inner)
        }
        (_, None) => return Err("the scales of its weights belong to no axis".into()),
    };
    let scale = |i: usize| scales[i / inner % scales.len()];
    let number = |(i, n): (usize, &i64)| *n as f32 * scale(i);
    Ok(given.iter().enumerate().map(number).collect())
}

/// The values, if they are as many as the tensor's dimensions say, and there are some.
fn whole<T>(weights: &Weights, given: Vec<T>) -> Result<Vec<T>, String> {
    let dims = weights.dims();
    let len = dims
        .iter()
        .try_fold(1usize, |len, side| len.checked_mul(*side));
    match len == Some(given.len()) && !given.is_empty() {
        true => Ok(given),
        false => Err(format!(
            "the tensor {} has {} values in the file, and {dims:?} by its dimensions",
            weights.tensor.name,
            given.len()
        )),
    }
}

/// An attribute.
pub fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// An attribute that is a whole number.
pub fn int(node: &NodeProto, name: &str) -> Option<i64> {
    find(node, name).map(|a| a.i)
}
