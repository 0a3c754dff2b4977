//! Operations that act on each element: arithmetic, comparisons, limits, conversions of types.

use super::arguments::{Arguments, Operand, operand};
use super::axes::align;
use super::{Argument, Outputs};
use crate::graph::{Graph, Value, int};
use crate::tensor::Tensor;

/// `TensorProto.DataType`: the type of flags, of 32-bit integers, and of all other tensors.
const BOOL: i64 = 9;
const INT32: i64 = 6;
const FLOAT: i64 = 1;

pub(super) fn one(value: Value) -> Outputs {
    vec![Argument::Tensor(value)]
}

/// An ONNX operator that broadcasts its inputs.
pub(super) fn combine(
    graph: &mut Graph,
    operator: &str,
    operands: &[Operand],
) -> Result<Value, String> {
    let aligned = align(graph, operands)?;
    let names: Vec<&str> = aligned.names.iter().map(String::as_str).collect();
    let name = graph.node(operator, &names, Vec::new());
    Ok(Value::new(name, aligned.shape, aligned.order))
}

/// As [`combine`], for one tensor and one number.
pub(super) fn with_number(graph: &mut Graph, operator: &str, value: &Value, number: f32) -> Value {
    let constant = graph.weight("constant", &Tensor::scalar(number));
    graph.map(operator, value, &[&constant], Vec::new())
}

/// The tensor with another type and back, so that float32 holds what the type can hold.
fn through(graph: &mut Graph, value: &Value, to: i64) -> Value {
    let value = graph.map("Cast", value, &[], vec![int("to", to)]);
    graph.map("Cast", &value, &[], vec![int("to", FLOAT)])
}

/// The tensor as flags: 1 where it is not 0.
pub(super) fn as_flags(graph: &mut Graph, value: &Value) -> Value {
    through(graph, value, BOOL)
}

fn pair(args: &Arguments<'_>) -> Result<[Operand; 2], String> {
    Ok([args.operand(0, "x1")?, args.operand(1, "x2")?])
}

/// Two numbers that are known without a graph, such as parts of a shape.
fn known(args: &Arguments<'_>, operator: &str) -> Result<Option<Outputs>, String> {
    let (first, second) = (args.required(0, "x1")?, args.required(1, "x2")?);
    let (Argument::Number(a), Argument::Number(b)) = (first.as_ref(), second.as_ref()) else {
        return Ok(None);
    };
    let result = match operator {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "FloorDiv" => (a / b).floor(),
        "Max" => a.max(*b),
        "Min" => a.min(*b),
        _ => a.powf(*b),
    };
    Ok(Some(vec![Argument::Number(result)]))
}

/// A sum, difference, product, quotient, power, maximum or minimum.
pub(super) fn arithmetic(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if let Some(number) = known(args, args.detail)? {
        return Ok(number);
    }
    Ok(one(combine(graph, args.detail, &pair(args)?)?))
}

fn floor_of_quotient(graph: &mut Graph, pair: &[Operand; 2]) -> Result<Value, String> {
    let quotient = combine(graph, "Div", pair)?;
    Ok(graph.map("Floor", &quotient, &[], Vec::new()))
}

pub(super) fn floor_divide(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if let Some(number) = known(args, "FloorDiv")? {
        return Ok(number);
    }
    Ok(one(floor_of_quotient(graph, &pair(args)?)?))
}

/// The remainder, with the sign of the divisor.
pub(super) fn modulo(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let [dividend, divisor] = pair(args)?;
    let whole = floor_of_quotient(graph, &[dividend.clone(), divisor.clone()])?;
    let covered = combine(graph, "Mul", &[Operand::Tensor(whole), divisor])?;
    let rest = combine(graph, "Sub", &[dividend, Operand::Tensor(covered)])?;
    Ok(one(rest))
}

/// A quotient, and 0 where the divisor is 0.
pub(super) fn divide_no_nan(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let [dividend, divisor] = pair(args)?;
    let zero = Operand::Constant(Tensor::scalar(0.0));
    let quotient = Operand::Tensor(combine(graph, "Div", &[dividend, divisor.clone()])?);
    Ok(one(select(graph, [divisor, quotient, zero])?))
}

pub(super) fn squared_difference(
    graph: &mut Graph,
    args: &Arguments<'_>,
) -> Result<Outputs, String> {
    let difference = combine(graph, "Sub", &pair(args)?)?;
    let square = graph.map("Mul", &difference, &[&difference.name], Vec::new());
    Ok(one(square))
}

/// A sum with one number for each channel.
pub(super) fn bias_add(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = args.tensor()?;
    let Operand::Constant(mut bias) = args.operand(1, "bias")? else {
        return Err("its bias is not constant".into());
    };
    if args
        .text("data_format")?
        .is_some_and(|f| f.starts_with("NC"))
    {
        let behind = value.shape.len().saturating_sub(1);
        bias.dims.extend(std::iter::repeat_n(1, behind));
    }
    let operands = [Operand::Tensor(value), Operand::Constant(bias)];
    Ok(one(combine(graph, "Add", &operands)?))
}

pub(super) fn compare(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let flags = combine(graph, args.detail, &pair(args)?)?;
    Ok(one(graph.map("Cast", &flags, &[], vec![int("to", FLOAT)])))
}

pub(super) fn not_equal(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let equal = combine(graph, "Equal", &pair(args)?)?;
    let flags = graph.map("Not", &equal, &[], Vec::new());
    Ok(one(graph.map("Cast", &flags, &[], vec![int("to", FLOAT)])))
}

pub(super) fn logical(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let mut aligned = align(graph, &pair(args)?)?;
    for name in &mut aligned.names {
        *name = graph.node("Cast", &[name], vec![int("to", BOOL)]);
    }
    let names: Vec<&str> = aligned.names.iter().map(String::as_str).collect();
    let flags = graph.node(args.detail, &names, Vec::new());
    let name = graph.node("Cast", &[&flags], vec![int("to", FLOAT)]);
    Ok(one(Value::new(name, aligned.shape, aligned.order)))
}

pub(super) fn logical_not(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let flags = as_flags(graph, &args.tensor()?);
    let one_less = graph.map("Neg", &flags, &[], Vec::new());
    Ok(one(with_number(graph, "Add", &one_less, 1.0)))
}

/// The second where the first is not 0, and the third elsewhere.
fn select(graph: &mut Graph, operands: [Operand; 3]) -> Result<Value, String> {
    let aligned = align(graph, &operands)?;
    let [condition, yes, no] = &aligned.names[..] else {
        return Err("it takes a condition and two tensors".into());
    };
    let condition = graph.node("Cast", &[condition], vec![int("to", BOOL)]);
    let name = graph.node("Where", &[&condition, yes, no], Vec::new());
    Ok(Value::new(name, aligned.shape, aligned.order))
}

pub(super) fn choose(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let operands = [
        args.operand(0, "condition")?,
        args.operand(1, "x1")?,
        args.operand(2, "x2")?,
    ];
    Ok(one(select(graph, operands)?))
}

pub(super) fn clip(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let mut value = args.tensor()?;
    let limit = |position, name| match args.required(position, name) {
        Ok(argument) if *argument != Argument::Null => args.operand(position, name).map(Some),
        _ => Ok(None),
    };
    let (low, high) = (limit(1, "x_min")?, limit(2, "x_max")?);
    let number = |limit: &Option<Operand>| match limit {
        None => Some(None),
        Some(Operand::Constant(c)) if c.values.len() == 1 => Some(c.values.first().copied()),
        Some(_) => None,
    };
    if let Some((low, high)) = number(&low).zip(number(&high)) {
        let mut stored = |name, number: Option<f32>| {
            number.map_or(String::new(), |n| graph.weight(name, &Tensor::scalar(n)))
        };
        let (low, high) = (stored("x_min", low), stored("x_max", high));
        return Ok(one(graph.map("Clip", &value, &[&low, &high], Vec::new())));
    }
    for (operator, limit) in [("Max", low), ("Min", high)] {
        if let Some(limit) = limit {
            value = combine(graph, operator, &[Operand::Tensor(value), limit])?;
        }
    }
    Ok(one(value))
}

/// The sum of a list of tensors.
pub(super) fn add_n(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let list = args.required(0, "inputs")?;
    let Argument::List(list) = list.as_ref() else {
        return Ok(vec![list.into_owned()]);
    };
    let operands: Vec<Operand> = list.iter().map(operand).collect::<Result<_, _>>()?;
    Ok(one(combine(graph, "Sum", &operands)?))
}

/// An ONNX operator without options.
pub(super) fn unary(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    Ok(one(graph.map(
        args.detail,
        &args.tensor()?,
        &[],
        Vec::new(),
    )))
}

/// To the nearest integer, and to an even one from the middle.
pub(super) fn round(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if args.integer("decimals")?.is_some_and(|d| d != 0) {
        return Err("its rounding to decimals can't be converted".into());
    }
    Ok(one(graph.map("Round", &args.tensor()?, &[], Vec::new())))
}

pub(super) fn square(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let value = args.tensor()?;
    Ok(one(graph.map("Mul", &value, &[&value.name], Vec::new())))
}

pub(super) fn rsqrt(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let root = graph.map("Sqrt", &args.tensor()?, &[], Vec::new());
    Ok(one(graph.map("Reciprocal", &root, &[], Vec::new())))
}

pub(super) fn log1p(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let sum = with_number(graph, "Add", &args.tensor()?, 1.0);
    Ok(one(graph.map("Log", &sum, &[], Vec::new())))
}

pub(super) fn expm1(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let power = graph.map("Exp", &args.tensor()?, &[], Vec::new());
    Ok(one(with_number(graph, "Sub", &power, 1.0)))
}

pub(super) fn cast(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let Ok(value) = args.tensor() else {
        return pass_on(graph, args);
    };
    let dtype = args.text("dtype")?.ok_or("it has no dtype")?;
    Ok(one(match dtype.as_str() {
        "float16" | "bfloat16" | "float32" | "float64" => value,
        "bool" => as_flags(graph, &value),
        "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64" => {
            through(graph, &value, INT32)
        }
        other => return Err(format!("its conversion to {other} is not supported")),
    }))
}

/// What it is called with.
pub(super) fn pass_on(_: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    Ok(vec![args.required(0, "x")?.into_owned()])
}
