//! Operations that join tensors, pad them, or repeat them as a whole.

use super::arguments::{Arguments, integer, integers};
use super::axes::{axis, in_order, plain, reshaped};
use super::elementwise::one;
use super::shape::MAX_AXES;
use super::{Argument, Outputs};
use crate::graph::{Graph, Order, Value, int, text};
use crate::layers::{Layer, merge};
use crate::tensor::Tensor;

/// The tensors in a list; none if all are constants.
fn tensors(list: &Argument<Value>) -> Result<Vec<Value>, String> {
    let Argument::List(list) = list else {
        return Err("it is not called with a list of tensors".into());
    };
    let tensor = |argument: &Argument<Value>| match argument {
        Argument::Tensor(value) => Some(value.clone()),
        _ => None,
    };
    let found: Vec<Value> = list.iter().filter_map(tensor).collect();
    if found.len() != list.len() && !found.is_empty() {
        return Err("it joins tensors and constants, which can't be converted".into());
    }
    Ok(found)
}

pub(super) fn concatenate(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let list = args.required(0, "xs")?;
    let tensors = tensors(&list)?;
    if tensors.is_empty() {
        let Argument::List(lists) = list.as_ref() else {
            return Err("it is not called with a list of tensors".into());
        };
        let items = lists.iter().flat_map(|list| match list {
            Argument::List(items) => items.clone(),
            one => vec![one.clone()],
        });
        return Ok(vec![Argument::List(items.collect())]);
    }
    let named = args.integer("axis")?.unwrap_or(0);
    let axis = axis(tensors[0].shape.len(), named)?;
    let layer = merge::Concatenate {
        axis: axis as i64 + 1,
    };
    Ok(one(layer.lower(graph, &tensors, &[])?))
}

pub(super) fn stack(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let list = args.required(0, "x")?;
    let tensors = tensors(&list)?;
    let Some(first) = tensors.first() else {
        return Ok(vec![list.into_owned()]);
    };
    let named = args.integer("axis")?.unwrap_or(0);
    if first.shape.len() >= MAX_AXES {
        return Err(format!("its result has more than {MAX_AXES} axes"));
    }
    let place = axis(first.shape.len() + 1, named)?;
    let mut grown = Vec::with_capacity(tensors.len());
    for value in &tensors {
        if value.shape != first.shape {
            return Err(format!(
                "its inputs of {:?} and {:?} do not match",
                first.shape, value.shape
            ));
        }
        let mut shape = value.shape.clone();
        shape.insert(place, 1);
        grown.push(reshaped(graph, value, shape));
    }
    let names: Vec<&str> = grown.iter().map(|v| v.name.as_str()).collect();
    let name = graph.node("Concat", &names, vec![int("axis", place as i64 + 1)]);
    let mut shape = first.shape.clone();
    shape.insert(place, grown.len());
    Ok(one(Value::new(name, shape, Order::Keras)))
}

pub(super) fn pad(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let widths = args.required(1, "pad_width")?;
    let wrong = "its padding is not a pair of integers for each axis, with 0 for the batch";
    let Argument::List(widths) = widths.as_ref() else {
        return Err(wrong.into());
    };
    let mut pairs = Vec::with_capacity(widths.len());
    for pair in widths {
        match integers(pair).as_deref() {
            Some(&[before, after]) if before >= 0 && after >= 0 => pairs.push([before, after]),
            _ => return Err(wrong.into()),
        }
    }
    if pairs.len() != value.shape.len() + 1 || pairs[0] != [0, 0] {
        return Err(wrong.into());
    }
    let pairs = &pairs[1..];
    let mode = args.text("mode")?.map(|mode| mode.to_lowercase());
    let attributes = match mode.as_deref() {
        None | Some("constant") => Vec::new(),
        Some("reflect") => vec![text("mode", "reflect")],
        Some(other) => return Err(format!("its padding '{other}' can't be converted")),
    };
    let mut shape = value.shape.clone();
    for (size, [before, after]) in shape.iter_mut().zip(pairs) {
        let grown = before.checked_add(*after).map(|n| n as usize);
        *size = grown
            .and_then(|n| size.checked_add(n))
            .ok_or("its padding is too large")?;
    }
    let sides = |side: usize| {
        let each: Vec<i64> = pairs.iter().map(|pair| pair[side]).collect();
        std::iter::once(0).chain(in_order(&value, &each))
    };
    let pads: Vec<i64> = sides(0).chain(sides(1)).collect();
    let mut inputs = vec![graph.integers("pads", &pads)];
    if let Some(fill) = args.number("constant_values")?.filter(|fill| *fill != 0.0) {
        inputs.push(graph.weight("fill", &Tensor::scalar(fill)));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let padded = graph.map("Pad", &value, &inputs, attributes);
    Ok(one(Value { shape, ..padded }))
}

/// The tensor several times along each axis.
pub(super) fn tile(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let named = args.required(1, "repeats")?;
    let named = integers(&named).ok_or("its repeats are not constant integers")?;
    let rank = value.shape.len();
    // Fewer repeats than axes are those of the last axes.
    let missing = (rank + 1).checked_sub(named.len());
    let mut repeats = vec![1; missing.ok_or("it repeats more axes than its input has")?];
    repeats.extend(named);
    if repeats[0] != 1 {
        return Err("it repeats the batch, which a model of single images can't".into());
    }
    let mut shape = value.shape.clone();
    for (size, repeat) in shape.iter_mut().zip(&repeats[1..]) {
        let grown = usize::try_from(*repeat)
            .ok()
            .and_then(|r| size.checked_mul(r));
        *size = grown.ok_or("its repeats are too large")?;
    }
    let each: Vec<i64> = std::iter::once(1)
        .chain(in_order(&value, &repeats[1..]))
        .collect();
    let each = graph.integers("repeats", &each);
    let tiled = graph.map("Tile", &value, &[&each], Vec::new());
    Ok(one(Value { shape, ..tiled }))
}

pub(super) fn broadcast_to(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let target = args.required(1, "shape")?;
    let Argument::List(target) = target.as_ref() else {
        return Err("its shape is not a list of constant integers".into());
    };
    let Some((Argument::Batch | Argument::Null, rest)) = target.split_first() else {
        return Err("its shape states the size of the batch, which stays open".into());
    };
    let shape = rest
        .iter()
        .map(|d| integer(d).and_then(|d| usize::try_from(d).ok()))
        .collect::<Option<Vec<_>>>()
        .ok_or("its shape is not of constant integers")?;
    if shape.len() != value.shape.len()
        || merge::broadcast(&value.shape, &shape).as_ref() != Some(&shape)
    {
        return Err(format!(
            "its input {:?} does not broadcast to {shape:?}",
            value.shape
        ));
    }
    let each: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
    let each: Vec<i64> = std::iter::once(1).chain(in_order(&value, &each)).collect();
    let each = graph.integers("shape", &each);
    let spread = graph.map("Expand", &value, &[&each], Vec::new());
    Ok(one(Value { shape, ..spread }))
}
