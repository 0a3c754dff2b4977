//! A network with its weights → an ONNX graph. Each call of a layer is converted when its inputs
//! exist.

use std::collections::HashMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::call::{Argument, Call};
use super::config::Fields;
use super::graph::{Graph, Order, Value};
use super::layers;
use super::network::{KerasNetwork, LayerEntry, Reference};
use super::ops;
use super::tensor::Tensor;
use super::weights::{Place, Slot, Weights};
use super::{Problem, Unsupported};

/// All weights of a model, by layer group.
pub(crate) struct Loaded {
    tensors: HashMap<String, Rc<[Tensor]>>,
    /// The SHA-256 of all names and values, the same for every form of file.
    pub(crate) digest: String,
}

/// The tensor that holds a layer's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerOutput {
    /// The layer, with the names of the models that contain it.
    pub(crate) layer: String,
    /// The tensor.
    pub(crate) tensor: String,
    /// Its order.
    pub(crate) order: Order,
}

/// What a call returns: mostly one tensor.
type Outputs = Vec<Argument<Value>>;

/// The layers of a network, including nested models, that can't be converted, by class and reason.
pub(crate) fn unsupported(network: &KerasNetwork, keras: u32) -> Vec<Unsupported> {
    let mut found: Vec<Unsupported> = Vec::new();
    network.each_layer(&mut |layer, place| {
        let fields = Fields::new(&layer.config, keras);
        let parsed = if layer.operation {
            ops::parse(layer).map(drop)
        } else {
            layers::parse(&layer.class, &fields).map(drop)
        };
        let Err(reason) = parsed else { return };
        let path = place.names.join("/");
        let class = &layer.class;
        match found
            .iter_mut()
            .find(|known| known.class == *class && known.reason == reason)
        {
            Some(known) if known.layers.contains(&path) => {}
            Some(known) => known.layers.push(path),
            None => found.push(Unsupported {
                class: class.clone(),
                reason,
                config: fields.shown(),
                layers: vec![path],
                scale: layers::lambda::affine(&fields)
                    .filter(|function| class == "Lambda" && function.offset == 0.0)
                    .map(|function| function.scale),
            }),
        }
    });
    found
}

/// Reads the weights of all layers.
///
/// # Errors
/// A layer's weights are not in the file.
pub(crate) fn load(
    network: &KerasNetwork,
    weights: &Weights,
    keras: u32,
) -> Result<Loaded, Problem> {
    let mut sha = Sha256::new();
    let mut tensors = HashMap::new();
    for layer in network.layers.iter().filter(|l| !l.calls.is_empty()) {
        let mut slots = Vec::new();
        let mut layers = Vec::new();
        let mut add = |slot, layer| {
            slots.push(slot);
            layers.push(layer);
        };
        add_slots(layer, &Place::default(), &[], keras, &mut add)?;
        let found = weights
            .of(&slots)
            .map_err(|(index, problem)| Problem::of(layers[index], problem))?;
        for ((slot, layer), found) in slots.into_iter().zip(layers).zip(found) {
            for (name, tensor) in slot.names.iter().zip(&found) {
                sha.update(format!("{}/{name}\0", layer.name));
                tensor
                    .values
                    .iter()
                    .for_each(|v| sha.update(v.to_le_bytes()));
            }
            tensors.insert(slot.place.group, found.into());
        }
    }
    let digest = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Loaded { tensors, digest })
}

/// Adds a layer, or the layers in it if it is a model, with the names of their weights.
fn add_slots<'a>(
    layer: &'a LayerEntry,
    place: &Place,
    models: &[bool],
    keras: u32,
    add: &mut dyn FnMut(Slot, &'a LayerEntry),
) -> Result<(), Problem> {
    let place = place.within(&layer.group, &layer.name);
    let trainable = [models, &[layer.trainable]].concat();
    if let Some(network) = &layer.network {
        let layers = network.layers.iter().filter(|l| !l.calls.is_empty());
        for layer in layers {
            add_slots(layer, &place, &trainable, keras, add)?;
        }
    } else if !layer.operation {
        let names = layers::parse(&layer.class, &Fields::new(&layer.config, keras))
            .map_err(|problem| Problem::of(layer, problem))?
            .weights();
        add(
            Slot {
                place,
                names,
                trainable,
            },
            layer,
        );
    }
    Ok(())
}

impl Loaded {
    /// The weights of the layer at a place.
    pub(crate) fn of(&self, place: &Place) -> &[Tensor] {
        self.tensors.get(&place.group).map_or(&[], |t| t)
    }

    /// The number of values of all weights.
    pub(crate) fn values(&self) -> usize {
        self.tensors
            .values()
            .flat_map(|tensors| tensors.iter())
            .map(|t| t.values.len())
            .sum()
    }
}

/// A network during its conversion to a graph.
pub(crate) struct Lowering<'a> {
    /// The graph so far.
    pub(crate) graph: Graph,
    /// The tensors of the layers' outputs.
    pub(crate) outputs: Vec<LayerOutput>,
    loaded: &'a Loaded,
    keras: u32,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(graph: Graph, loaded: &'a Loaded, keras: u32) -> Self {
        Self {
            graph,
            outputs: Vec::new(),
            loaded,
            keras,
        }
    }

    /// Adds the nodes of a network and returns its outputs.
    ///
    /// # Errors
    /// A layer can't be converted, or the layers depend on each other in a cycle.
    pub(crate) fn network(
        &mut self,
        network: &KerasNetwork,
        place: &Place,
        inputs: &[Value],
    ) -> Result<Outputs, Problem> {
        let wrong = |text: String| Problem {
            layer: place.names.join("/"),
            text,
        };
        if inputs.len() != network.inputs.len().max(1) {
            return Err(wrong(format!(
                "it has {} inputs and gets {}",
                network.inputs.len(),
                inputs.len()
            )));
        }
        let mut done: Vec<Vec<Option<Outputs>>> = network
            .layers
            .iter()
            .map(|l| vec![None; l.calls.len().max(1)])
            .collect();
        for (layer, input) in network.inputs.iter().zip(inputs) {
            done[*layer][0] = Some(vec![Argument::Tensor(input.clone())]);
        }
        loop {
            let mut progress = false;
            for (index, layer) in network.layers.iter().enumerate() {
                for (number, call) in layer.calls.iter().enumerate() {
                    if done[index][number].is_some() {
                        continue;
                    }
                    if let Ok(call) = call.map(|r| output(&done, r)) {
                        done[index][number] = Some(self.call(layer, place, &call, inputs)?);
                        progress = true;
                    }
                }
            }
            let outputs: Result<Outputs, ()> = network
                .outputs
                .iter()
                .map(|(_, r)| output(&done, r))
                .collect();
            if let Ok(outputs) = outputs {
                return Ok(outputs);
            }
            if !progress {
                return Err(wrong(
                    "its layers depend on each other in a cycle, or on a tensor that no layer \
                     outputs"
                        .into(),
                ));
            }
        }
    }

    /// Adds the nodes of one call. A call without arguments, of the first layer of a sequential
    /// model, gets the model's inputs.
    fn call(
        &mut self,
        layer: &LayerEntry,
        place: &Place,
        call: &Call<Value>,
        inputs: &[Value],
    ) -> Result<Outputs, Problem> {
        let at = place.within(&layer.group, &layer.name);
        let path = at.names.join("/");
        let in_layer = |problem: String| Problem::of(layer, problem);
        if layer.operation {
            let operation = ops::parse(layer).map_err(in_layer)?;
            let start = self.graph.begin(&path).map_err(in_layer)?;
            let outputs = operation.lower(&mut self.graph, call).map_err(in_layer)?;
            let end = |output| match output {
                Argument::Tensor(value) => self.graph.end(start, value).map(Argument::Tensor),
                constant => Ok(constant),
            };
            return outputs
                .into_iter()
                .map(end)
                .collect::<Result<_, _>>()
                .map_err(in_layer);
        }
        let parsed = match &layer.network {
            Some(_) => None,
            None => Some(
                layers::parse(&layer.class, &Fields::new(&layer.config, self.keras))
                    .map_err(in_layer)?,
            ),
        };
        let arguments = parsed.as_ref().map_or(&[][..], |layer| layer.arguments());
        let mut taken = inputs_of_layer(call, arguments, self.keras).map_err(in_layer)?;
        if taken.is_empty() {
            taken = inputs.to_vec();
        }
        let Some(parsed) = parsed else {
            let network = layer.network.as_ref();
            return network.map_or(Ok(Vec::new()), |n| self.network(n, &at, &taken));
        };
        let weights = self.loaded.of(&at);
        let start = self.graph.begin(&path).map_err(in_layer)?;
        let lowered = parsed
            .lower(&mut self.graph, &taken, weights)
            .map_err(in_layer)?;
        let value = self.graph.end(start, lowered).map_err(in_layer)?;
        if self.graph.nodes[start..]
            .iter()
            .any(|n| n.output.contains(&value.name))
        {
            self.outputs.push(LayerOutput {
                layer: path,
                tensor: value.name.clone(),
                order: value.order,
            });
        }
        Ok(vec![Argument::Tensor(value)])
    }
}

/// An output of a call, if the call is done.
fn output(done: &[Vec<Option<Outputs>>], r: &Reference) -> Result<Argument<Value>, ()> {
    let outputs = done
        .get(r.layer)
        .and_then(|calls| calls.get(r.call)?.as_ref());
    outputs.and_then(|o| o.get(r.output)).cloned().ok_or(())
}

/// The tensors that a layer is called with: those by position, then those by the names `arguments`.
///
/// # Errors
/// It is called with something else that may matter.
fn inputs_of_layer(
    call: &Call<Value>,
    arguments: &[&str],
    keras: u32,
) -> Result<Vec<Value>, String> {
    // What a layer that takes several tensors does with others, such as masks, is not converted.
    let more = call.args.iter().skip(arguments.len());
    let more = more.filter(|argument| matches!(argument, Argument::Tensor(_)));
    let flags = call.args.iter().filter(|a| **a == Argument::Flag(true));
    if !arguments.is_empty() && more.chain(flags).next().is_some() {
        return Err("it is called with more than its inputs, which can't be converted".into());
    }
    let mut taken = Vec::new();
    let mut open: Vec<&Argument<Value>> = call.args.iter().rev().collect();
    while let Some(argument) = open.pop() {
        match argument {
            Argument::Tensor(value) => taken.push(value.clone()),
            Argument::List(list) => open.extend(list.iter().rev()),
            Argument::Null | Argument::Flag(_) => {}
            _ => return Err("it is called with a constant, which can't be converted".into()),
        }
    }
    for name in arguments.iter().skip(taken.len()) {
        if let Some(Argument::Tensor(value)) = call.named.get(*name) {
            taken.push(value.clone());
        }
    }
    for (name, argument) in &call.named {
        match argument {
            Argument::Null | Argument::Flag(false) => {}
            // Keras 3 forgets it in inference; some of its layers have it without being told.
            Argument::Flag(true) if name == "training" && keras >= 3 => {}
            Argument::Flag(true) if name == "training" => {
                return Err(
                    "it is called with training=True, so its outputs depend on chance or on the \
                     batch, in inference too; call it without"
                        .into(),
                );
            }
            Argument::Tensor(_) if arguments.contains(&name.as_str()) => {}
            _ => {
                return Err(format!(
                    "it is called with the argument {name}, which can't be converted"
                ));
            }
        }
    }
    Ok(taken)
}
