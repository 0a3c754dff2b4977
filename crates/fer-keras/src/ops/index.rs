//! Operations that take elements by their indices: `tensor[…]`, gathers, repetitions.

use super::arguments::{Arguments, integer, integers};
use super::axes::{one_axis, plain, reshaped, stored};
use super::elementwise::one;
use super::part::{Part, parts, position, slice_of};
use super::shape::MAX_AXES;
use super::{Argument, Outputs};
use crate::graph::{Graph, MAX_VALUES, Value, int};

/// Whether an index takes the whole of an axis.
fn takes_all(index: &Argument<Value>) -> bool {
    let Argument::Slice(slice) = index else {
        return false;
    };
    let [start, stop, step] = slice.as_ref();
    *stop == Argument::Null
        && (*start == Argument::Null || integer(start) == Some(0))
        && (*step == Argument::Null || integer(step) == Some(1))
}

/// `tensor[key]`: indices, slices, `...` and new axes.
pub(super) fn item(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let key = args.required(1, "key")?;
    if let Argument::List(list) = args.required(0, "x")?.as_ref() {
        return item_of_list(list, &key);
    }
    let value = plain(graph, &args.tensor()?);
    let key = match key.as_ref() {
        Argument::List(key) => key.clone(),
        one => vec![one.clone()],
    };
    let named = key
        .iter()
        .filter(|k| !matches!(k, Argument::Null | Argument::Ellipsis))
        .count();
    let all = || Argument::Slice(Box::new([Argument::Null, Argument::Null, Argument::Null]));
    let missing = (value.shape.len() + 1)
        .checked_sub(named)
        .ok_or("it has more indices than its input has axes")?;
    if key.iter().filter(|k| **k == Argument::Ellipsis).count() > 1 {
        return Err("it has several `...` among its indices".into());
    }
    let new = key.iter().filter(|k| **k == Argument::Null).count();
    if value.shape.len() + new > MAX_AXES {
        return Err(format!("its result has more than {MAX_AXES} axes"));
    }
    // An axis for each index, with those that `...` stands for.
    let mut indices = Vec::new();
    for index in &key {
        match index {
            Argument::Ellipsis => indices.extend((0..missing).map(|_| all())),
            other => indices.push(other.clone()),
        }
    }
    if !key.contains(&Argument::Ellipsis) {
        indices.extend((0..missing).map(|_| all()));
    }
    let (batch, indices) = indices.split_first().ok_or("it has no index")?;
    if !takes_all(batch) {
        return Err(
            "it takes images out of the batch, which a model of single images can't".into(),
        );
    }
    let mut taken = Vec::new();
    // The axes of the result: those of the tensor that remain, and new ones of 1.
    let mut shape = Vec::new();
    for index in indices {
        let axis = taken.len();
        match (index, value.shape.get(axis)) {
            (Argument::Null, _) => shape.push(1),
            (Argument::Slice(slice), Some(length)) => {
                let part = slice_of(slice, axis, *length)?;
                shape.push(part.length);
                taken.push(part);
            }
            (index, Some(length)) => taken.push(Part {
                axis,
                start: position(
                    integer(index).ok_or("one of its indices is not a constant integer")?,
                    *length,
                )?,
                length: 1,
                step: 1,
            }),
            _ => return Err("it has more indices than its input has axes".into()),
        }
    }
    let part = parts(graph, &value, &taken);
    Ok(one(if part.shape == shape {
        part
    } else {
        reshaped(graph, &part, shape)
    }))
}

/// A part of a list that is known without a graph, such as a shape.
fn item_of_list(list: &[Argument<Value>], key: &Argument<Value>) -> Result<Outputs, String> {
    let key = match key {
        Argument::List(keys) => match &keys[..] {
            [key] => key,
            _ => return Err("it has several indices for a list".into()),
        },
        key => key,
    };
    let get = |i: usize| list.get(i).cloned().ok_or("its index is beyond the list");
    if let Argument::Slice(slice) = key {
        let part = slice_of(slice, 0, list.len())?;
        let indices = (0..part.length).map(|i| part.start as i64 + i as i64 * part.step);
        let items = indices.map(|i| get(i as usize)).collect::<Result<_, _>>()?;
        return Ok(vec![Argument::List(items)]);
    }
    let index = integer(key).ok_or("its index is not a constant integer")?;
    Ok(vec![get(position(index, list.len())?)?])
}

/// The elements of an axis by their indices, in this order.
fn gather(graph: &mut Graph, value: &Value, axis: usize, indices: &[i64]) -> Result<Value, String> {
    let length = value.shape[axis];
    let found = indices
        .iter()
        .map(|i| position(*i, length).map(|i| i as i64))
        .collect::<Result<Vec<_>, _>>()?;
    let found = graph.integers("indices", &found);
    let place = stored(value, axis) as i64;
    let mut taken = graph.map("Gather", value, &[&found], vec![int("axis", place)]);
    taken.shape[axis] = indices.len();
    Ok(taken)
}

pub(super) fn take(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axis = one_axis(args, &value, None)?;
    if args.integer("batch_dims")?.is_some_and(|dims| dims != 0) {
        return Err("its indices for each image can't be converted".into());
    }
    let argument = args.required(1, "indices")?;
    let indices = integers(&argument).ok_or("its indices are not constant integers")?;
    let taken = gather(graph, &value, axis, &indices)?;
    if matches!(argument.as_ref(), Argument::List(_)) {
        return Ok(one(taken));
    }
    let mut shape = taken.shape.clone();
    shape.remove(axis);
    Ok(one(reshaped(graph, &taken, shape)))
}

/// The most elements of an axis after a repetition.
const MAX_REPEATS: i64 = 1 << 20;

/// Each element of an axis several times in a row.
pub(super) fn repeat(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axis = one_axis(args, &value, None)?;
    let length = value.shape[axis];
    let named = args.required(1, "repeats")?;
    let mut repeats = integers(&named).ok_or("its repeats are not constant integers")?;
    if let [every] = repeats[..] {
        repeats = vec![every; length];
    }
    let total: i64 = repeats.iter().fold(0, |n: i64, r| n.saturating_add(*r));
    if repeats.len() != length
        || repeats.iter().any(|r| *r < 0)
        || !(1..=MAX_REPEATS).contains(&total)
        || value.shape.iter().product::<usize>() / length * total as usize > MAX_VALUES
    {
        return Err(format!("its repeats do not fit an axis of {length}"));
    }
    let indices: Vec<i64> = (0..length as i64)
        .zip(&repeats)
        .flat_map(|(i, r)| std::iter::repeat_n(i, *r as usize))
        .collect();
    Ok(one(gather(graph, &value, axis, &indices)?))
}

/// A gray image three times, as the channels of a color image.
pub(super) fn color(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    match value.shape.last() {
        Some(1) => Ok(one(gather(
            graph,
            &value,
            value.shape.len() - 1,
            &[0, 0, 0],
        )?)),
        _ => Err(format!("its input {:?} is not a gray image", value.shape)),
    }
}
