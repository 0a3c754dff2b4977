//! The arguments of a call, as a model's configuration states them: tensors, constants, and lists
//! of both.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// In Keras 2, a constant in the place of a layer's name.
const CONSTANT: &str = "_CONSTANT_VALUE";

/// An argument, or a part of one. `T` refers to a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Argument<T> {
    Tensor(T),
    List(Vec<Self>),
    Number(f64),
    Flag(bool),
    Text(String),
    /// `None`.
    Null,
    /// `start:stop:step`, as an index.
    Slice(Box<[Self; 3]>),
    /// `...`, as an index.
    Ellipsis,
    /// The size of the batch, which a graph leaves open.
    Batch,
}

/// The arguments of a call: by position and by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call<T> {
    pub(crate) args: Vec<Argument<T>>,
    pub(crate) named: BTreeMap<String, Argument<T>>,
}

/// A reference to a tensor, as in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    /// The layer.
    pub(crate) name: String,
    /// The number of its call.
    pub(crate) call: usize,
    /// The number of the call's output.
    pub(crate) output: usize,
}

impl<T> Argument<T> {
    /// The same argument with other tensors.
    ///
    /// # Errors
    /// That of `tensor`.
    pub(crate) fn map<U, E>(
        &self,
        tensor: &mut impl FnMut(&T) -> Result<Argument<U>, E>,
    ) -> Result<Argument<U>, E> {
        Ok(match self {
            Self::Tensor(t) => tensor(t)?,
            Self::List(list) => Argument::List(
                list.iter()
                    .map(|a| a.map(tensor))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Slice(parts) => {
                let [start, stop, step] = parts.as_ref();
                Argument::Slice(Box::new([
                    start.map(tensor)?,
                    stop.map(tensor)?,
                    step.map(tensor)?,
                ]))
            }
            Self::Number(n) => Argument::Number(*n),
            Self::Flag(flag) => Argument::Flag(*flag),
            Self::Text(text) => Argument::Text(text.clone()),
            Self::Null => Argument::Null,
            Self::Ellipsis => Argument::Ellipsis,
            Self::Batch => Argument::Batch,
        })
    }

    /// Calls `visit` with each tensor in order.
    pub(crate) fn each_tensor<'a>(&'a self, visit: &mut impl FnMut(&'a T)) {
        match self {
            Self::Tensor(t) => visit(t),
            Self::List(list) => list.iter().for_each(|a| a.each_tensor(visit)),
            Self::Slice(parts) => parts.iter().for_each(|a| a.each_tensor(visit)),
            _ => {}
        }
    }

    /// Calls `visit` with each number, in lists too.
    pub(crate) fn each_number(&self, visit: &mut impl FnMut(f64)) {
        match self {
            Self::Number(number) => visit(*number),
            Self::List(list) => list.iter().for_each(|a| a.each_number(visit)),
            _ => {}
        }
    }

    /// The number of its parts that are not lists.
    pub(crate) fn leaves(&self) -> usize {
        match self {
            Self::List(list) => list.iter().map(Self::leaves).sum(),
            _ => 1,
        }
    }

    /// All tensors in order.
    pub(crate) fn tensors(&self) -> Vec<&T> {
        let mut found = Vec::new();
        self.each_tensor(&mut |t| found.push(t));
        found
    }
}

impl<T> Call<T> {
    /// A call with tensors alone.
    pub(crate) fn of(tensors: Vec<T>) -> Self {
        Self {
            args: tensors.into_iter().map(Argument::Tensor).collect(),
            named: BTreeMap::new(),
        }
    }

    /// The same call with other tensors.
    ///
    /// # Errors
    /// That of `tensor`.
    pub(crate) fn map<U, E>(
        &self,
        mut tensor: impl FnMut(&T) -> Result<Argument<U>, E>,
    ) -> Result<Call<U>, E> {
        let mut args = Vec::with_capacity(self.args.len());
        for argument in &self.args {
            args.push(argument.map(&mut tensor)?);
        }
        let mut named = BTreeMap::new();
        for (name, argument) in &self.named {
            named.insert(name.clone(), argument.map(&mut tensor)?);
        }
        Ok(Call { args, named })
    }

    /// Calls `visit` with each tensor in order, those by position first.
    pub(crate) fn each_tensor<'a>(&'a self, visit: &mut impl FnMut(&'a T)) {
        self.args
            .iter()
            .chain(self.named.values())
            .for_each(|argument| argument.each_tensor(visit));
    }
}

impl Argument<Raw> {
    /// Reads an argument. Tensors are `["conv2d", 0, 0]` in Keras 2 and objects in Keras 3.
    pub(crate) fn parse(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Flag(*flag),
            Json::Number(number) => number.as_f64().map_or(Self::Null, Self::Number),
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(list) => match list.as_slice() {
                [Json::String(name), Json::Number(_), value, ..] if name == CONSTANT => {
                    Self::parse(value)
                }
                [Json::String(name), Json::Number(call), output @ ..] => Self::Tensor(Raw {
                    name: name.clone(),
                    call: index(call.as_u64()),
                    output: output.first().map_or(0, |o| index(o.as_u64())),
                }),
                _ => Self::List(list.iter().map(Self::parse).collect()),
            },
            Json::Object(map) => {
                let config = &json["config"];
                match map.get("class_name").and_then(Json::as_str) {
                    Some("__keras_tensor__") => Self::parse(&config["keras_history"]),
                    Some("__numpy__" | "__tensor__") => Self::parse(&config["value"]),
                    Some("__tuple__") => Self::parse(&config["items"]),
                    Some("__ellipsis__") => Self::Ellipsis,
                    Some("__slice__") => Self::slice(config),
                    None if map.len() == 3 && map.contains_key("step") => Self::slice(json),
                    _ => Self::List(map.values().map(Self::parse).collect()),
                }
            }
        }
    }

    fn slice(json: &Json) -> Self {
        let part = |key: &str| Self::parse(&json[key]);
        Self::Slice(Box::new([part("start"), part("stop"), part("step")]))
    }
}

impl Call<Raw> {
    /// Reads a call: `{"args": […], "kwargs": {…}}` in Keras 3. In Keras 2, the first argument is
    /// a list of tensors, `[["conv2d", 0, 0, {…}], …]`, with all other arguments behind each.
    pub(crate) fn parse(json: &Json) -> Self {
        let named = |json: Option<&Json>| {
            json.and_then(Json::as_object)
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), Argument::parse(value)))
                .collect()
        };
        if json.is_object() {
            let args = match Argument::parse(&json["args"]) {
                Argument::List(args) => args,
                Argument::Null => Vec::new(),
                one => vec![one],
            };
            return Self {
                args,
                named: named(json.get("kwargs")),
            };
        }
        let mut first = json;
        while let Some(inner) = first.get(0).filter(|inner| inner.is_array()) {
            first = inner;
        }
        Self {
            args: vec![Argument::parse(json)],
            named: named(first.get(3)),
        }
    }
}

fn index(number: Option<u64>) -> usize {
    number
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tensor(name: &str, output: usize) -> Argument<Raw> {
        Argument::Tensor(Raw {
            name: name.into(),
            call: 0,
            output,
        })
    }

    #[test]
    fn calls_of_both_kerases_are_read() {
        let call = |args, named: Vec<(&str, Argument<Raw>)>| Call {
            args,
            named: named.into_iter().map(|(n, a)| (n.into(), a)).collect(),
        };
        let kept = |name: &str| {
            json!({"class_name": "__keras_tensor__", "config": {"shape": [null, 3],
                "keras_history": [name, 0, 1]}})
        };
        let slice = |step| {
            Argument::Slice(Box::new([
                Argument::Null,
                Argument::Null,
                Argument::Number(step),
            ]))
        };
        let rows = [
            (
                json!([["a", 0, 0, {}], ["b", 0, 2, {}]]),
                call(
                    vec![Argument::List(vec![tensor("a", 0), tensor("b", 2)])],
                    vec![],
                ),
            ),
            (
                json!(["a", 0, 0, {"y": ["b", 0, 1], "name": null}]),
                call(
                    vec![tensor("a", 0)],
                    vec![("y", tensor("b", 1)), ("name", Argument::Null)],
                ),
            ),
            (
                json!(["_CONSTANT_VALUE", -1, 2.5, {"y": ["b", 0, 0]}]),
                call(vec![Argument::Number(2.5)], vec![("y", tensor("b", 0))]),
            ),
            (
                json!(["a", 0, 0, {"slice_spec": [{"class_name": "__ellipsis__"},
                    {"start": null, "stop": null, "step": -1}]}]),
                call(
                    vec![tensor("a", 0)],
                    vec![(
                        "slice_spec",
                        Argument::List(vec![Argument::Ellipsis, slice(-1.0)]),
                    )],
                ),
            ),
            (
                json!({"args": [[kept("a"), kept("b")], {"class_name": "__numpy__",
                    "config": {"value": [1.5], "dtype": "float32"}}], "kwargs": {"axis": -1}}),
                call(
                    vec![
                        Argument::List(vec![tensor("a", 1), tensor("b", 1)]),
                        Argument::List(vec![Argument::Number(1.5)]),
                    ],
                    vec![("axis", Argument::Number(-1.0))],
                ),
            ),
            (
                json!({"args": [kept("a"), {"class_name": "__slice__",
                    "config": {"start": null, "stop": null, "step": 2}}], "kwargs": {}}),
                call(vec![tensor("a", 1), slice(2.0)], vec![]),
            ),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(json, expected)| (json, Call::parse(json), expected))
            .filter(|(_, found, expected)| found != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
