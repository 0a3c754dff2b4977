//! Operations that change a tensor's shape or the order of its axes.

use super::arguments::{Arguments, integer};
use super::axes::{axis, plain, reshaped, stored};
use super::elementwise::one;
use super::{Argument, Outputs};
use crate::graph::{Graph, Order, Value, ints};
use crate::tensor::product;

/// The most axes of a tensor.
pub(super) const MAX_AXES: usize = 8;

/// The batch is stated as such, as null, or as −1 if the rest is an image.
pub(super) fn reshape(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
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

pub(super) fn flatten(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
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

pub(super) fn transpose(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
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

pub(super) fn swap_axes(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let rank = value.shape.len();
    let named = |name: &str| args.integer(name)?.ok_or(format!("it has no {name}"));
    let (a, b) = (axis(rank, named("axis1")?)?, axis(rank, named("axis2")?)?);
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(a, b);
    Ok(one(moved(graph, &value, &order)))
}

pub(super) fn move_axis(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
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

pub(super) fn expand_dims(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
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

pub(super) fn squeeze(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
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

/// A list that is known without a graph.
pub(super) fn shape(_: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = args.tensor()?;
    // int32 or int64: the sizes are the same.
    args.text("out_type")?;
    let dims = value.shape.iter().map(|d| Argument::Number(*d as f64));
    let shape = std::iter::once(Argument::Batch).chain(dims).collect();
    Ok(vec![Argument::List(shape)])
}
