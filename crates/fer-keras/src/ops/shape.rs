//! Operations that change a tensor's shape, move its axes, or join and pad tensors.

use super::arguments::{Arguments, integer, integers};
use super::axes::{axis, in_order, plain, reshaped, stored};
use super::elementwise::one;
use super::{Argument, Outputs};
use crate::graph::{Graph, Order, Value, int, ints, text};
use crate::layers::{Layer, merge};
use crate::tensor::{Tensor, product};

/// The most axes of a tensor.
const MAX_AXES: usize = 8;

/// The batch is stated as such, as null, or as −1 if the rest is an image.
pub(super) fn reshape(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let target = args.required(1, "newshape")?;
    let Argument::List(target) = target.as_ref() else {
        return Err("its target is not a list of constant integers".into());
    };
    let length = product(&value.shape).ok_or("its input is too large")?;
    let (batch, rest) = target.split_first().ok_or("its target has no axes")?;
    let rest = rest
        .iter()
        .map(|d| integer(d).ok_or("its target is not of constant integers"))
        .collect::<Result<Vec<_>, _>>()?;
    let known: Vec<usize> = rest
        .iter()
        .filter_map(|d| usize::try_from(*d).ok())
        .collect();
    let known = product(&known).ok_or("its target is too large")?;
    let open = rest.len() - rest.iter().filter(|d| **d >= 0).count();
    let stays = match batch {
        Argument::Batch | Argument::Null => true,
        other => integer(other) == Some(-1) && known == length,
    };
    if !stays {
        return Err(format!(
            "its target {rest:?} behind the batch does not hold one image of {:?}, so it would mix \
             the images of a batch",
            value.shape
        ));
    }
    let filled = length.checked_div(known).unwrap_or(0);
    let shape: Vec<usize> = rest
        .iter()
        .map(|d| usize::try_from(*d).unwrap_or(filled))
        .collect();
    if open > 1 || shape.len() > MAX_AXES || product(&shape) != Some(length) {
        return Err(format!(
            "its target {rest:?} does not have the size of its input {:?}",
            value.shape
        ));
    }
    Ok(one(reshaped(graph, &value, shape)))
}

pub(super) fn flatten(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let length = product(&value.shape).ok_or("its input is too large")?;
    Ok(one(reshaped(graph, &value, vec![length])))
}

/// The tensor with its axes in another order; the batch stays first.
fn moved(graph: &mut Graph, value: &Value, order: &[usize]) -> Value {
    let shape: Vec<usize> = order.iter().map(|axis| value.shape[*axis]).collect();
    let places: Vec<usize> = order.iter().map(|axis| stored(value, *axis)).collect();
    let stays = |places: &[usize]| places.iter().copied().eq(1..=places.len());
    if stays(&places) {
        return Value::new(value.name.clone(), shape, Order::Keras);
    }
    if let [h, w, c] = places[..]
        && stays(&[c, h, w])
    {
        return Value::new(value.name.clone(), shape, Order::ChannelsFirst);
    }
    let places: Vec<i64> = std::iter::once(0)
        .chain(places.iter().map(|p| *p as i64))
        .collect();
    let name = graph.node("Transpose", &[&value.name], vec![ints("perm", &places)]);
    Value::new(name, shape, Order::Keras)
}

pub(super) fn transpose(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let rank = value.shape.len() as i64;
    let named = args
        .integers("axes")?
        .ok_or("it turns the batch too, which a model of single images can't")?;
    let order: Vec<i64> = named
        .iter()
        .map(|a| if *a < 0 { *a + rank + 1 } else { *a })
        .collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..=rank) || order[0] != 0 {
        return Err(format!(
            "its axes {named:?} are not a permutation of its input's with the batch first"
        ));
    }
    let order: Vec<usize> = order[1..].iter().map(|a| *a as usize - 1).collect();
    Ok(one(moved(graph, &value, &order)))
}

pub(super) fn swap_axes(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let rank = value.shape.len();
    let named = |name: &str| args.integer(name)?.ok_or(format!("it has no {name}"));
    let (a, b) = (axis(rank, named("axis1")?)?, axis(rank, named("axis2")?)?);
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(a, b);
    Ok(one(moved(graph, &value, &order)))
}

pub(super) fn move_axis(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let rank = value.shape.len();
    let axes = |name: &str| -> Result<Vec<usize>, String> {
        let named = args.integers(name)?.ok_or(format!("it has no {name}"))?;
        named.iter().map(|a| axis(rank, *a)).collect()
    };
    let (from, to) = (axes("source")?, axes("destination")?);
    let mut pairs: Vec<(usize, usize)> = to.iter().copied().zip(from.iter().copied()).collect();
    pairs.sort_unstable();
    let mut order: Vec<usize> = (0..rank).filter(|a| !from.contains(a)).collect();
    for (to, from) in pairs {
        order.insert(to.min(order.len()), from);
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if from.len() != to.len() || !sorted.into_iter().eq(0..rank) {
        return Err(format!("its axes {from:?} and {to:?} do not match"));
    }
    Ok(one(moved(graph, &value, &order)))
}

pub(super) fn expand_dims(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let mut named = args.integers("axis")?.ok_or("it has no axis")?;
    let rank = value.shape.len() + named.len();
    let mut places = Vec::with_capacity(named.len());
    for named in named.drain(..) {
        places.push(axis(rank, named)?);
    }
    places.sort_unstable();
    let mut shape = value.shape.clone();
    for place in places {
        shape.insert(place.min(shape.len()), 1);
    }
    if shape.len() > MAX_AXES {
        return Err("it has too many axes".into());
    }
    Ok(one(reshaped(graph, &value, shape)))
}

pub(super) fn squeeze(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let rank = value.shape.len();
    // TensorFlow's empty list stands for all axes, too.
    let named = args.integers("axis")?.filter(|axes| !axes.is_empty());
    let axes: Vec<usize> = match named {
        Some(named) => named
            .iter()
            .map(|a| axis(rank, *a))
            .collect::<Result<_, _>>()?,
        None => (0..rank).filter(|a| value.shape[*a] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|a| value.shape[**a] != 1) {
        return Err(format!(
            "it drops an axis of {}, not of 1",
            value.shape[*axis]
        ));
    }
    let rest = value.shape.iter().enumerate();
    let shape = rest
        .filter(|(i, _)| !axes.contains(i))
        .map(|(_, d)| *d)
        .collect();
    Ok(one(reshaped(graph, &value, shape)))
}

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

pub(super) fn concatenate(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
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

pub(super) fn stack(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let list = args.required(0, "x")?;
    let tensors = tensors(&list)?;
    let Some(first) = tensors.first() else {
        return Ok(vec![list.into_owned()]);
    };
    let named = args.integer("axis")?.unwrap_or(0);
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

pub(super) fn pad(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
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
pub(super) fn tile(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
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

pub(super) fn broadcast_to(
    graph: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
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

/// A list that is known without a graph.
pub(super) fn shape(
    _: &mut Graph,
    args: &Arguments<'_>,
    _: &'static str,
) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let dims = value.shape.iter().map(|d| Argument::Number(*d as f64));
    let shape = std::iter::once(Argument::Batch).chain(dims).collect();
    Ok(vec![Argument::List(shape)])
}
