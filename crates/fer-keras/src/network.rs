//! A Keras model's configuration → a network: layers, and the input tensors of each call.
//!
//! Sequential, Functional and nested models of Keras 1, 2 and 3 get the same form. Keras numbers
//! the calls of a shared layer. It numbers the calls of a model from 1 in some versions and places
//! and from 0 in others ([`KerasNetwork::call_of`]).

use serde_json::{Map, Value};

use super::call::{Argument, Call, Raw};
use super::config::Fields;
use super::layers::lambda::affine;
use super::legacy_names;
use super::ops;
use super::weights::Place;

/// The most layers of one model.
const MAX_LAYERS: usize = 10_000;

/// A model.
#[derive(Debug)]
pub(crate) struct KerasNetwork {
    /// Its name.
    pub(crate) name: String,
    /// The layers in the configuration's order.
    pub(crate) layers: Vec<LayerEntry>,
    /// Indices of the input layers in order; none if a sequential model has no input layer.
    pub(crate) inputs: Vec<usize>,
    /// Its outputs, with their names in Keras.
    pub(crate) outputs: Vec<(String, Reference)>,
}

/// A layer in a model.
#[derive(Debug)]
pub(crate) struct LayerEntry {
    pub(crate) name: String,
    pub(crate) class: String,
    /// True for an operation (`keras.ops`, `TFOpLambda`) that is not a layer and has no weights.
    pub(crate) operation: bool,
    pub(crate) config: Map<String, Value>,
    /// Whether training changes its weights.
    pub(crate) trainable: bool,
    /// The group of its weights in a Keras 3 file: its class and a counter, `conv2d_1`.
    pub(crate) group: String,
    /// The arguments of each call. A layer that the outputs do not need has none.
    pub(crate) calls: Vec<Call<Reference>>,
    /// The model, if it is one.
    pub(crate) network: Option<KerasNetwork>,
}

/// An output of a call of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) layer: usize,
    pub(crate) call: usize,
    pub(crate) output: usize,
}

impl Reference {
    /// The first output of a layer's first call.
    fn first(layer: usize) -> Self {
        Self {
            layer,
            call: 0,
            output: 0,
        }
    }
}

impl KerasNetwork {
    /// Parses a model's configuration, `{"class_name": …, "config": …}`, of this major version of
    /// Keras.
    ///
    /// # Errors
    /// It does not have that form, or is not a Sequential or Functional model.
    pub(crate) fn parse(model: &Value, keras: u32) -> Result<Self, String> {
        let class = model["class_name"]
            .as_str()
            .ok_or("its configuration names no class")?;
        let config = &model["config"];
        match class {
            "Sequential" => Self::sequential(config, keras),
            "Functional" | "Model" if config["layers"].is_array() => {
                Self::functional(config, keras)
            }
            _ => Err(format!(
                "it is a model of class {class}, whose layers only its Python code knows; \
                 Sequential and Functional ones can be converted"
            )),
        }
    }

    fn sequential(config: &Value, keras: u32) -> Result<Self, String> {
        // Until Keras 2.2, the configuration was the list of layers itself.
        let list = config
            .as_array()
            .or_else(|| config["layers"].as_array())
            .ok_or("its configuration lists no layers")?;
        let mut layers = entries(list, keras)?;
        let first_is_input = layers.first().is_some_and(LayerEntry::is_input);
        for (index, layer) in layers
            .iter_mut()
            .enumerate()
            .skip(usize::from(first_is_input))
        {
            let before = index.checked_sub(1).map(Reference::first);
            layer.calls = vec![Call::of(before.into_iter().collect())];
        }
        let last = layers.len().checked_sub(1).ok_or("it has no layers")?;
        Ok(Self {
            name: config["name"].as_str().unwrap_or("sequential").to_string(),
            inputs: if first_is_input { vec![0] } else { Vec::new() },
            outputs: vec![(layers[last].name.clone(), Reference::first(last))],
            layers,
        })
    }

    fn functional(config: &Value, keras: u32) -> Result<Self, String> {
        let list = config["layers"]
            .as_array()
            .ok_or("its configuration lists no layers")?;
        let mut layers = entries(list, keras)?;
        let calls: Vec<Vec<Call<Raw>>> = list
            .iter()
            .map(|json| {
                let nodes = json["inbound_nodes"].as_array();
                nodes.into_iter().flatten().map(Call::parse).collect()
            })
            .collect();
        let index: std::collections::HashMap<&str, usize> = list
            .iter()
            .enumerate()
            .map(|(i, json)| (entry_name(json), i))
            .collect();
        let find = |name: &str| {
            index.get(name).copied().ok_or_else(|| {
                format!("its configuration refers to a layer '{name}' that does not exist")
            })
        };
        // The number of each layer's first call, as the calls of other layers refer to it.
        let mut first = vec![usize::MAX; layers.len()];
        let mut raws = Vec::new();
        for call in calls.iter().flatten() {
            call.each_tensor(&mut |raw| raws.push(raw));
        }
        for raw in raws {
            let layer = find(&raw.name)?;
            first[layer] = first[layer].min(raw.call);
        }
        let counts: Vec<usize> = calls.iter().map(Vec::len).collect();
        let resolve = |raw: &Raw| -> Result<Reference, String> {
            let layer = find(&raw.name)?;
            let call = Self::call_of(
                raw.call,
                counts[layer],
                layers[layer].network.is_some(),
                first[layer],
            )
            .ok_or_else(|| {
                format!(
                    "its configuration refers to a call of layer '{}' that does not exist",
                    raw.name
                )
            })?;
            Ok(Reference {
                layer,
                call,
                output: raw.output,
            })
        };
        let mut resolved = Vec::with_capacity(calls.len());
        for layer in &calls {
            let call = |call: &Call<Raw>| call.map(|raw| resolve(raw).map(Argument::Tensor));
            resolved.push(layer.iter().map(call).collect::<Result<Vec<_>, _>>()?);
        }
        let ends = |key: &str| -> Result<Vec<(String, Reference)>, String> {
            let ends = named_ends(&config[key]);
            if ends.is_empty() {
                return Err(format!("its configuration has no {key}"));
            }
            ends.into_iter()
                .map(|(name, raw)| Ok((name, resolve(&raw)?)))
                .collect()
        };
        let (inputs, outputs) = (ends("input_layers")?, ends("output_layers")?);
        for (layer, calls) in layers.iter_mut().zip(resolved) {
            layer.calls = calls;
        }
        let name = config["name"].as_str().unwrap_or("model").to_string();
        Ok(Self {
            name,
            layers,
            inputs: inputs.iter().map(|(_, r)| r.layer).collect(),
            outputs,
        })
    }

    /// Keeps one output, and drops the calls of layers that only other outputs need.
    pub(crate) fn keep_output(&mut self, index: usize) {
        self.outputs = vec![self.outputs.swap_remove(index)];
        let mut needed = vec![false; self.layers.len()];
        let mut open: Vec<usize> = self.outputs.iter().map(|(_, r)| r.layer).collect();
        while let Some(layer) = open.pop() {
            if !std::mem::replace(&mut needed[layer], true) {
                let calls = self.layers[layer].calls.iter();
                calls.for_each(|call| call.each_tensor(&mut |r| open.push(r.layer)));
            }
        }
        for (layer, needed) in self.layers.iter_mut().zip(needed) {
            if !needed {
                layer.calls.clear();
            }
        }
    }

    /// The call that a number in the configuration refers to, for a layer with `count` calls.
    ///
    /// A model has one additional call, its own building. Keras 2 counts it, Keras 3 only among the
    /// outputs. The configuration contains every call because something needs it, so the lowest
    /// number in use (`first`) is the first call.
    fn call_of(number: usize, count: usize, is_model: bool, first: usize) -> Option<usize> {
        if count <= 1 {
            // An input is not called.
            return Some(0);
        }
        let call = if is_model {
            number.checked_sub(first)?
        } else {
            number
        };
        if is_model && call == count {
            Some(count - 1)
        } else {
            (call < count).then_some(call)
        }
    }

    /// The input's shape without the batch, as far as the configuration states it: that of an input
    /// layer, or of the first layer of a sequential model.
    pub(crate) fn input_shape(&self) -> Option<Vec<Option<usize>>> {
        let first = self.inputs.first().copied().unwrap_or(0);
        let layer = self.layers.get(first)?;
        match &layer.network {
            Some(network) => network.input_shape(),
            None => {
                let shape = ["batch_shape", "batch_input_shape"]
                    .iter()
                    .find_map(|key| layer.config.get(*key)?.as_array());
                let dim = |d: &Value| d.as_u64().and_then(|d| usize::try_from(d).ok());
                shape.map(|dims| dims.iter().skip(1).map(dim).collect())
            }
        }
    }

    /// Leaves out the function that first takes the model's input, if it only multiplies by
    /// `scale`. Returns its name.
    pub(crate) fn leave_out_scaling(&mut self, scale: f64) -> Option<String> {
        let input = self.inputs.first().copied();
        let takes_input = |layer: &&mut LayerEntry| {
            let mut takes = false;
            for call in &layer.calls {
                call.each_tensor(&mut |r: &Reference| takes |= Some(r.layer) == input);
                takes |= input.is_none() && call.args.is_empty();
            }
            takes
        };
        let mut first = self.layers.iter_mut().filter(takes_input);
        let (Some(layer), None) = (first.next(), first.next()) else {
            return None;
        };
        let function =
            affine(&Fields::new(&layer.config, 3)).filter(|_| layer.class == "Lambda")?;
        let same = (function.scale / scale - 1.0).abs() < 1e-6 && function.offset == 0.0;
        same.then(|| {
            layer.class = "Identity".into();
            layer.name.clone()
        })
    }

    /// Calls `visit` in order with every layer that is called and is not a model, including those
    /// of nested models, and its place.
    pub(crate) fn each_layer<'a>(&'a self, visit: &mut dyn FnMut(&'a LayerEntry, &Place)) {
        self.each_layer_in(&Place::default(), visit);
    }

    fn each_layer_in<'a>(&'a self, at: &Place, visit: &mut dyn FnMut(&'a LayerEntry, &Place)) {
        for layer in self.layers.iter().filter(|l| !l.calls.is_empty()) {
            let place = at.within(&layer.group, &layer.name);
            match &layer.network {
                Some(network) => network.each_layer_in(&place, visit),
                None => visit(layer, &place),
            }
        }
    }
}

impl LayerEntry {
    /// Whether it is an input layer.
    pub(crate) fn is_input(&self) -> bool {
        self.class == "InputLayer"
    }
}

/// Whether an entry is an operation, which may have the class of a layer. In `.h5` files, Keras 3
/// does not state modules; there only layers have the option `trainable`.
fn is_operation(json: &Value, class: &str) -> bool {
    match json["module"].as_str() {
        Some(module) if ops::MODULES.iter().any(|m| module.starts_with(m)) => true,
        None if json["inbound_nodes"][0].is_object() => {
            json["config"]["trainable"].is_null() && ops::is_known(class)
        }
        _ => ops::CLASSES.contains(&class),
    }
}

fn entry_name(json: &Value) -> &str {
    json["name"]
        .as_str()
        .or_else(|| json["config"]["name"].as_str())
        .unwrap_or("")
}

fn entries(list: &[Value], keras: u32) -> Result<Vec<LayerEntry>, String> {
    if list.len() > MAX_LAYERS {
        return Err(format!(
            "it has {} layers; the limit is {MAX_LAYERS}",
            list.len()
        ));
    }
    let mut taken = std::collections::HashMap::<String, usize>::new();
    let mut layers = Vec::with_capacity(list.len());
    for json in list {
        let class = json["class_name"]
            .as_str()
            .ok_or("one of its layers names no class")?;
        let operation = is_operation(json, class);
        let network = match class {
            "Sequential" | "Functional" | "Model" => Some(KerasNetwork::parse(json, keras)?),
            _ => None,
        };
        let name = match (entry_name(json), &network) {
            ("", Some(network)) => network.name.clone(),
            (name, _) => name.to_string(),
        };
        let config = json["config"]
            .as_object()
            .filter(|_| network.is_none())
            .cloned()
            .unwrap_or_default();
        let (class, config) = if keras == 1 {
            legacy_names::translate(class, config)
        } else {
            (class.to_string(), config)
        };
        let snake = snake_case(&class);
        let count = taken.entry(snake.clone()).or_default();
        let group = if *count == 0 {
            snake
        } else {
            format!("{snake}_{count}")
        };
        *count += usize::from(!operation);
        layers.push(LayerEntry {
            name,
            class,
            operation,
            config,
            trainable: json["config"]["trainable"].as_bool().unwrap_or(true),
            group,
            calls: Vec::new(),
            network,
        });
    }
    Ok(layers)
}

/// The tensors that a model begins or ends with, and their names: the keys of a dictionary, or the
/// names of the layers.
fn named_ends(json: &Value) -> Vec<(String, Raw)> {
    let named = |key: Option<&String>, json: &Value| -> Vec<(String, Raw)> {
        let tensors = Argument::parse(json);
        let named = |raw: &&Raw| (key.unwrap_or(&raw.name).clone(), (*raw).clone());
        tensors.tensors().iter().map(named).collect()
    };
    let mut found = match json.as_object() {
        Some(map) => map.iter().flat_map(|(k, v)| named(Some(k), v)).collect(),
        None => named(None, json),
    };
    let mut taken = std::collections::HashMap::<String, usize>::new();
    for (name, _) in &mut found {
        let count = taken.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            *name = format!("{name}_{}", *count - 1);
        }
    }
    found
}

/// A class's name in Keras 3's group names: `BatchNormalization` → `batch_normalization`, `PReLU` →
/// `p_re_lu`.
fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let mut name = String::with_capacity(chars.len() + 4);
    for (i, c) in chars.iter().enumerate() {
        let next_is_lower = chars.get(i + 1).is_some_and(char::is_ascii_lowercase);
        let after_lower = i > 0 && chars[i - 1].is_ascii_lowercase();
        if i > 0 && c.is_ascii_uppercase() && (next_is_lower || after_lower) {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_as_keras_does() {
        let rows = [
            ("Conv2D", "conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("ReLU", "re_lu"),
            ("PReLU", "p_re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ELU", "elu"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("UpSampling2D", "up_sampling2d"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(class, name)| snake_case(class) != *name)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn calls_of_shared_layers_and_models_are_told_apart() {
        // (number, calls, is a model, lowest number named) → call
        let rows = [
            ((0, 1, false, 0), Some(0)),
            ((1, 1, true, 1), Some(0)),
            ((1, 2, false, 0), Some(1)),
            ((2, 2, false, 0), None),
            ((1, 2, true, 1), Some(0)),
            ((2, 2, true, 1), Some(1)),
            ((2, 2, true, 0), Some(1)),
            ((0, 2, true, 1), None),
        ];
        let call =
            |(number, count, model, first)| KerasNetwork::call_of(number, count, model, first);
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(row, expected)| call(*row) != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
