//! An operation's arguments, read value by value. In Keras 3, some are in the configuration of the
//! operation and some in the call.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::call::{Argument, Call};
use crate::graph::Value;
use crate::tensor::Tensor;

/// The arguments of one call.
pub(super) struct Arguments<'a> {
    pub(super) call: &'a Call<Value>,
    pub(super) config: &'a Map<String, Json>,
    /// Other names of arguments, with those of Keras 3.
    pub(super) names: &'static [(&'static str, &'static str)],
    /// What the table of operations has for this one.
    pub(super) detail: &'static str,
    /// The names of the call's arguments that were asked for.
    read: RefCell<BTreeSet<&'a str>>,
}

/// A tensor with the batch first, or a constant without a batch.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Tensor(Value),
    Constant(Tensor),
}

impl<'a> Arguments<'a> {
    pub(super) fn new(
        call: &'a Call<Value>,
        config: &'a Map<String, Json>,
        names: &'static [(&'static str, &'static str)],
        detail: &'static str,
    ) -> Self {
        Self {
            call,
            config,
            names,
            detail,
            read: RefCell::default(),
        }
    }

    /// Checks that every argument of the call was asked for, or does not change the outputs.
    ///
    /// # Errors
    /// One was not: the operation does not know it.
    pub(super) fn all_read(&self) -> Result<(), String> {
        let read = self.read.borrow();
        let matters = |(name, argument): &(&String, &Argument<Value>)| match argument {
            _ if *name == "name" || read.contains(name.as_str()) => false,
            Argument::Null | Argument::Flag(false) => false,
            Argument::Text(text) if *name == "dtype" => !text.starts_with("float"),
            _ => true,
        };
        match self.call.named.iter().find(matters) {
            Some((name, _)) => Err(format!("its argument {name} can't be converted")),
            None => Ok(()),
        }
    }

    /// An argument that is given by name, unless it is null.
    pub(super) fn named(&self, name: &str) -> Option<Cow<'a, Argument<Value>>> {
        let old = self.names.iter().filter(|(_, new)| *new == name);
        let found = std::iter::once(name)
            .chain(old.map(|(old, _)| *old))
            .find_map(|name| match self.call.named.get_key_value(name) {
                Some((name, argument)) => {
                    self.read.borrow_mut().insert(name);
                    Some(Cow::Borrowed(argument))
                }
                None => self.config.get(name).map(|json| Cow::Owned(constant(json))),
            });
        found.filter(|argument| **argument != Argument::Null)
    }

    /// An argument that is given by position or by name.
    ///
    /// # Errors
    /// It is missing.
    pub(super) fn required(
        &self,
        position: usize,
        name: &str,
    ) -> Result<Cow<'a, Argument<Value>>, String> {
        match self.call.args.get(position) {
            Some(argument) => Ok(Cow::Borrowed(argument)),
            None => self
                .named(name)
                .ok_or_else(|| format!("it is called without {name}")),
        }
    }

    /// The tensor that the operation is called with.
    ///
    /// # Errors
    /// It is missing, or is a constant.
    pub(super) fn tensor(&self) -> Result<Value, String> {
        match self.required(0, "x")?.as_ref() {
            Argument::Tensor(value) => Ok(value.clone()),
            _ => Err("it is called with a constant, which can't be converted".into()),
        }
    }

    /// An argument that may be a tensor or a constant.
    ///
    /// # Errors
    /// It is missing or is neither.
    pub(super) fn operand(&self, position: usize, name: &str) -> Result<Operand, String> {
        operand(self.required(position, name)?.as_ref())
    }

    /// A finite number.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn number(&self, name: &str) -> Result<Option<f32>, String> {
        match self.named(name).as_deref() {
            None => Ok(None),
            Some(Argument::Number(n)) if (*n as f32).is_finite() => Ok(Some(*n as f32)),
            Some(_) => Err(format!("its {name} is not a number")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.named(name).as_deref() {
            None => Ok(false),
            Some(Argument::Flag(flag)) => Ok(*flag),
            Some(_) => Err(format!("its {name} is not true or false")),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.named(name).as_deref() {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("its {name} is not a text")),
        }
    }

    /// One integer or several.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        self.named(name)
            .map(|argument| {
                integers(&argument).ok_or_else(|| format!("its {name} is not constant integers"))
            })
            .transpose()
    }

    /// # Errors
    /// It is something else than one integer.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        match self.integers(name)?.as_deref() {
            None => Ok(None),
            Some([one]) => Ok(Some(*one)),
            Some(_) => Err(format!("its {name} is not one integer")),
        }
    }
}

/// A constant in an operation's configuration.
fn constant(json: &Json) -> Argument<Value> {
    Argument::parse(json)
        .map(&mut |_| Ok::<_, std::convert::Infallible>(Argument::Null))
        .unwrap_or_else(|never| match never {})
}

/// An integer.
pub(super) fn integer(argument: &Argument<Value>) -> Option<i64> {
    match argument {
        Argument::Number(n) if n.fract() == 0.0 && n.abs() < 1e15 => Some(*n as i64),
        _ => None,
    }
}

/// One integer or a list of some.
pub(super) fn integers(argument: &Argument<Value>) -> Option<Vec<i64>> {
    match argument {
        Argument::List(list) => list.iter().map(integer).collect(),
        one => integer(one).map(|n| vec![n]),
    }
}

/// A tensor, or a constant.
///
/// # Errors
/// It is neither.
pub(super) fn operand(argument: &Argument<Value>) -> Result<Operand, String> {
    if let Argument::Tensor(value) = argument {
        return Ok(Operand::Tensor(value.clone()));
    }
    let mut tensor = Tensor {
        dims: Vec::new(),
        values: Vec::new(),
    };
    if !collect(argument, 0, &mut tensor) || !tensor.values.iter().all(|v| v.is_finite()) {
        return Err("one of its arguments is neither a tensor nor finite numbers".into());
    }
    Ok(Operand::Constant(tensor))
}

/// Adds the numbers of a nested list to a tensor; false if it is not a regular one.
fn collect(argument: &Argument<Value>, depth: usize, tensor: &mut Tensor) -> bool {
    // The first number shows the number of axes.
    let complete = !tensor.values.is_empty();
    match argument {
        Argument::List(list) => {
            if depth == tensor.dims.len() && !complete {
                tensor.dims.push(list.len());
            }
            tensor.dims.get(depth) == Some(&list.len())
                && list.iter().all(|a| collect(a, depth + 1, tensor))
        }
        Argument::Number(_) | Argument::Flag(_) if depth != tensor.dims.len() => false,
        Argument::Number(n) => {
            tensor.values.push(*n as f32);
            true
        }
        Argument::Flag(flag) => {
            tensor.values.push(f32::from(u8::from(*flag)));
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_argument_that_nothing_asked_for_is_refused_if_it_matters() {
        let rows = [
            (
                json!({"name": "x", "dtype": "float32", "keepdims": false, "axis": null}),
                true,
            ),
            (json!({"asked": 1}), true),
            (json!({"old": 1}), true),
            (json!({"adjoint_b": true}), false),
            (json!({"dim": 1}), false),
            (json!({"dtype": "int32"}), false),
        ];
        let mut wrong = Vec::new();
        for (named, fine) in rows {
            let named = named.as_object().unwrap().iter();
            let call = Call {
                args: Vec::new(),
                named: named
                    .map(|(name, json)| (name.clone(), constant(json)))
                    .collect(),
            };
            let config = Map::new();
            let arguments = Arguments::new(&call, &config, &[("old", "new")], "");
            assert!(arguments.integer("asked").is_ok() && arguments.integer("new").is_ok());
            if arguments.all_read().is_ok() != fine {
                wrong.push(format!("{:?}", call.named));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn constants_are_numbers_or_regular_lists() {
        let rows = [
            (json!(2), Some((vec![], vec![2.0]))),
            (json!([true, false]), Some((vec![2], vec![1.0, 0.0]))),
            (
                json!([[1, 2, 3], [4, 5, 6]]),
                Some((vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
            ),
            (json!([[1, 2], [3]]), None),
            (json!([1, [2]]), None),
            (json!([[1], 2]), None),
            (json!([[], []]), Some((vec![2, 0], vec![]))),
            (json!(["a"]), None),
            (json!(1e300), None),
        ];
        for (json, expected) in rows {
            let found = match operand(&constant(&json)) {
                Ok(Operand::Constant(tensor)) => Some((tensor.dims, tensor.values)),
                _ => None,
            };
            assert_eq!(found, expected, "{json}");
        }
    }
}
