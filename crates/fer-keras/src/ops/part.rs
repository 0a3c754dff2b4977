//! Operations that take contiguous or regular parts of a tensor: slices, splits, reversals.

use std::collections::BTreeSet;

use super::arguments::{Arguments, integer, integers};
use super::axes::{axis, one_axis, plain, reshaped, stored};
use super::elementwise::one;
use super::{Argument, Outputs};
use crate::graph::{Graph, Value};

/// The most outputs of an operation.
const MAX_OUTPUTS: usize = 1024;

/// Every `step`th element from `start` on, `length` of them, along an axis from 0 on after the
/// batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) step: i64,
}

/// The parts of a tensor along several axes. The tensor is not a flattened image.
pub(super) fn parts(graph: &mut Graph, value: &Value, parts: &[Part]) -> Value {
    let parts: Vec<&Part> = parts
        .iter()
        .filter(|p| p.step != 1 || p.length != value.shape[p.axis])
        .collect();
    if parts.is_empty() {
        return value.clone();
    }
    // ONNX has no index for one element before the first: −1 is the last element.
    let end = |p: &Part| match p.start as i64 + p.length as i64 * p.step {
        end if end < 0 => i64::MIN,
        end => end,
    };
    let each = |number: &dyn Fn(&Part) -> i64| parts.iter().map(|p| number(p)).collect::<Vec<_>>();
    let starts = graph.integers("starts", &each(&|p| p.start as i64));
    let ends = graph.integers("ends", &each(&end));
    let axes = graph.integers("axes", &each(&|p| stored(value, p.axis) as i64));
    let mut inputs = vec![starts, ends, axes];
    if parts.iter().any(|p| p.step != 1) {
        inputs.push(graph.integers("steps", &each(&|p| p.step)));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let mut taken = graph.map("Slice", value, &inputs, Vec::new());
    parts.iter().for_each(|p| taken.shape[p.axis] = p.length);
    taken
}

/// An index that may count from the end.
pub(super) fn position(index: i64, length: usize) -> Result<usize, String> {
    let from_start = if index < 0 {
        index.saturating_add(length as i64)
    } else {
        index
    };
    usize::try_from(from_start)
        .ok()
        .filter(|i| *i < length)
        .ok_or_else(|| format!("its index {index} is beyond an axis of {length}"))
}

/// `start:stop:step` of an axis, as Python counts it.
pub(super) fn slice_of(
    slice: &[Argument<Value>; 3],
    axis: usize,
    length: usize,
) -> Result<Part, String> {
    let number = |argument: &Argument<Value>| match argument {
        Argument::Null => Ok(None),
        other => integer(other)
            .map(Some)
            .ok_or("its slice is not of constant integers"),
    };
    let [start, stop, step] = slice;
    let step = number(step)?.unwrap_or(1);
    if step == 0 {
        return Err("the step of its slice is 0".into());
    }
    let whole = length as i64;
    let (lowest, highest) = if step > 0 {
        (0, whole)
    } else {
        (-1, whole - 1)
    };
    let bound = |n: i64| (if n < 0 { n + whole } else { n }).clamp(lowest, highest);
    let (first, last) = if step > 0 {
        (lowest, highest)
    } else {
        (highest, lowest)
    };
    let start = number(start)?.map_or(first, bound);
    let stop = number(stop)?.map_or(last, bound);
    let span = (stop - start) * step.signum();
    if span <= 0 {
        return Err("its slice is empty".into());
    }
    Ok(Part {
        axis,
        start: usize::try_from(start).map_err(|_| "its slice is empty")?,
        length: ((span - 1) / step.abs() + 1) as usize,
        step,
    })
}

/// Several outputs: equal parts, or parts of given sizes or between given indices.
pub(super) fn split(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axis = one_axis(args, &value, Some(0))?;
    let length = value.shape[axis];
    let (named, are_sizes) = match args.named("sizes") {
        Some(sizes) => (sizes, true),
        None => (args.required(1, "indices_or_sections")?, false),
    };
    let numbers = integers(&named).ok_or("its parts are not constant integers")?;
    let wrong = || format!("its {} parts do not fit an axis of {length}", numbers.len());
    let sizes: Vec<usize> = match (named.as_ref(), are_sizes) {
        (Argument::List(_), true) => {
            let mut sizes = numbers.iter().filter(|n| **n >= 0);
            let known = sizes.try_fold(0i64, |sum, n| sum.checked_add(*n));
            let open = length as i64 - known.ok_or_else(wrong)?;
            let size = |n: &i64| if *n < 0 { open } else { *n };
            let sizes = numbers.iter().map(|n| usize::try_from(size(n)));
            sizes.collect::<Result<_, _>>().map_err(|_| wrong())?
        }
        (Argument::List(_), false) => {
            let mut ends: Vec<i64> = numbers.clone();
            ends.push(length as i64);
            let starts = std::iter::once(&0).chain(&numbers);
            let sizes = starts.zip(&ends).map(|(a, b)| usize::try_from(b - a));
            sizes.collect::<Result<_, _>>().map_err(|_| wrong())?
        }
        _ => {
            let count = numbers.first().and_then(|n| usize::try_from(*n).ok());
            let count =
                count.filter(|n| (1..=MAX_OUTPUTS).contains(n) && length.is_multiple_of(*n));
            let count = count.ok_or_else(wrong)?;
            vec![length / count; count]
        }
    };
    let total = sizes
        .iter()
        .try_fold(0usize, |n, size| n.checked_add(*size));
    if sizes.len() > MAX_OUTPUTS || sizes.contains(&0) || total != Some(length) {
        return Err(wrong());
    }
    let mut start = 0;
    let mut outputs = Vec::with_capacity(sizes.len());
    for length in sizes {
        let part = Part {
            axis,
            start,
            length,
            step: 1,
        };
        outputs.push(Argument::Tensor(parts(graph, &value, &[part])));
        start += length;
    }
    Ok(outputs)
}

/// Several outputs: the elements of an axis.
pub(super) fn unstack(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if let Argument::List(list) = args.required(0, "x")?.as_ref() {
        return Ok(list.clone());
    }
    let value = plain(graph, &args.tensor()?);
    let axis = one_axis(args, &value, Some(0))?;
    let length = value.shape[axis];
    if length > MAX_OUTPUTS {
        return Err(format!(
            "it has {length} outputs; the limit is {MAX_OUTPUTS}"
        ));
    }
    let mut shape = value.shape.clone();
    shape.remove(axis);
    let output = |start| {
        let part = Part {
            axis,
            start,
            length: 1,
            step: 1,
        };
        let part = parts(graph, &value, &[part]);
        Argument::Tensor(reshaped(graph, &part, shape.clone()))
    };
    Ok((0..length).map(output).collect())
}

pub(super) fn flip(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let axes = args
        .integers("axis")?
        .ok_or("it turns the batch around, which a model of single images can't")?;
    let axes = axes.iter().map(|named| axis(value.shape.len(), *named));
    let mut turned = Vec::new();
    // ONNX takes each axis once.
    for axis in axes.collect::<Result<BTreeSet<_>, _>>()? {
        let length = value.shape[axis];
        turned.push(Part {
            axis,
            start: length - 1,
            length,
            step: -1,
        });
    }
    Ok(one(parts(graph, &value, &turned)))
}

/// A block of given starts and sizes; a size of −1 is the rest.
pub(super) fn slice(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = plain(graph, &args.tensor()?);
    let starts = integers(args.required(1, "start_indices")?.as_ref())
        .ok_or("its starts are not constant integers")?;
    let sizes = args.required(2, "shape")?;
    let Argument::List(sizes) = sizes.as_ref() else {
        return Err("its sizes are not a list".into());
    };
    if starts.len() != sizes.len() || starts.len() != value.shape.len() + 1 || starts[0] != 0 {
        return Err(format!(
            "its starts {starts:?} are not one for each axis, with 0 for the batch"
        ));
    }
    let mut taken = Vec::new();
    for (axis, (start, size)) in starts.iter().zip(sizes).enumerate().skip(1) {
        let length = value.shape[axis - 1];
        let start = position(*start, length)?;
        let rest = length - start;
        let size = match integer(size).ok_or("its sizes are not constant integers")? {
            -1 => rest,
            size => usize::try_from(size).unwrap_or(0),
        };
        if size == 0 || size > rest {
            return Err(format!("its sizes do not fit its input {:?}", value.shape));
        }
        taken.push(Part {
            axis: axis - 1,
            start,
            length: size,
            step: 1,
        });
    }
    match sizes.first() {
        Some(Argument::Null | Argument::Batch | Argument::Number(-1.0)) => {
            Ok(one(parts(graph, &value, &taken)))
        }
        _ => Err("it takes images out of the batch, which a model of single images can't".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_as_in_python() {
        let number = |n: Option<i64>| n.map_or(Argument::Null, |n| Argument::Number(n as f64));
        // start, stop, step of an axis of 5 → start, length; from Python's slice.indices
        let rows = [
            ((None, None, None), Some((0, 5))),
            ((Some(1), Some(-1), None), Some((1, 3))),
            ((None, None, Some(2)), Some((0, 3))),
            ((Some(-3), None, Some(2)), Some((2, 2))),
            ((None, None, Some(-1)), Some((4, 5))),
            ((None, None, Some(-2)), Some((4, 3))),
            ((Some(3), Some(0), Some(-1)), Some((3, 3))),
            ((Some(-2), Some(-9), Some(-2)), Some((3, 2))),
            ((Some(-9), Some(9), None), Some((0, 5))),
            ((Some(9), None, Some(-4)), Some((4, 2))),
            ((Some(3), Some(3), None), None),
            ((Some(4), Some(1), None), None),
            ((Some(-9), None, Some(-1)), None),
            ((None, None, Some(0)), None),
        ];
        for ((start, stop, step), expected) in rows {
            let slice = [number(start), number(stop), number(step)];
            let found = slice_of(&slice, 0, 5).ok();
            assert_eq!(found.map(|p| (p.start, p.length)), expected, "{slice:?}");
        }
    }
}
