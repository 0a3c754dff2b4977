//! A network with its weights → an ONNX graph. Each call of a layer is converted when its inputs
//! exist.

use std::collections::HashMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::config::Fields;
use super::graph::{Graph, Order, Value};
use super::layers;
use super::network::{KerasNetwork, LayerEntry, Reference};
use super::tensor::Tensor;
use super::weights::{Place, Weights};
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

/// The layers of a network, including nested models, that can't be converted, with the reason.
pub(crate) fn unsupported(network: &KerasNetwork, keras: u32) -> Vec<Unsupported> {
    let mut found = Vec::new();
    network.each_layer(&mut |layer| {
        let fields = Fields::new(&layer.config, keras);
        let reason = match layer.operation {
            true => Some("it is an operation, not a layer".to_string()),
            false if layer.is_input() => None,
            false => layers::parse(&layer.class, &fields).err(),
        };
        if let Some(reason) = reason {
            let (name, class) = (layer.name.clone(), layer.class.clone());
            found.push(Unsupported {
                name,
                class,
                reason,
                config: fields.shown(),
            });
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
    load_into(
        network,
        &Place::default(),
        weights,
        keras,
        &mut tensors,
        &mut sha,
    )?;
    let digest = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Loaded { tensors, digest })
}

fn load_into(
    network: &KerasNetwork,
    place: &Place,
    weights: &Weights,
    keras: u32,
    tensors: &mut HashMap<String, Rc<[Tensor]>>,
    sha: &mut Sha256,
) -> Result<(), Problem> {
    for layer in &network.layers {
        let at = place.within(&layer.group, &layer.name);
        if let Some(network) = &layer.network {
            load_into(network, &at, weights, keras, tensors, sha)?;
            continue;
        }
        if layer.is_input() {
            continue;
        }
        let in_layer = |problem: String| Problem::of(layer, problem);
        let names = layers::parse(&layer.class, &Fields::new(&layer.config, keras))
            .map_err(in_layer)?
            .weights();
        let found = weights.of(&at, &names).map_err(in_layer)?;
        for (name, tensor) in names.iter().zip(&found) {
            sha.update(format!("{}/{name}\0", layer.name));
            tensor
                .values
                .iter()
                .for_each(|v| sha.update(v.to_le_bytes()));
        }
        tensors.insert(at.group, found.into());
    }
    Ok(())
}

impl Loaded {
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

    /// Adds the nodes of a network and returns its output.
    ///
    /// # Errors
    /// A layer can't be converted, or the layers depend on each other in a cycle.
    pub(crate) fn network(
        &mut self,
        network: &KerasNetwork,
        place: &Place,
        inputs: &[Value],
    ) -> Result<Value, Problem> {
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
        let [output] = network.outputs[..] else {
            return Err(wrong(format!(
                "it has {} outputs; a classifier has one",
                network.outputs.len()
            )));
        };
        let mut done: Vec<Vec<Option<Value>>> = network
            .layers
            .iter()
            .map(|l| vec![None; l.calls.len().max(1)])
            .collect();
        for (layer, input) in network.inputs.iter().zip(inputs) {
            done[*layer][0] = Some(input.clone());
        }
        loop {
            let mut progress = false;
            for (index, layer) in network.layers.iter().enumerate() {
                for (call, references) in layer.calls.iter().enumerate() {
                    if done[index][call].is_some() {
                        continue;
                    }
                    let get = |r: &Reference| done.get(r.layer)?.get(r.call)?.clone();
                    let taken: Option<Vec<Value>> = match references.is_empty() {
                        true => Some(inputs.to_vec()),
                        false => references.iter().map(get).collect(),
                    };
                    if let Some(taken) = taken {
                        done[index][call] = Some(self.call(layer, place, &taken)?);
                        progress = true;
                    }
                }
            }
            if let Some(Some(value)) = done
                .get(output.layer)
                .and_then(|calls| calls.get(output.call))
            {
                return Ok(value.clone());
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

    fn call(
        &mut self,
        layer: &LayerEntry,
        place: &Place,
        inputs: &[Value],
    ) -> Result<Value, Problem> {
        let at = place.within(&layer.group, &layer.name);
        if let Some(network) = &layer.network {
            return self.network(network, &at, inputs);
        }
        let in_layer = |problem: String| Problem::of(layer, problem);
        let path = at.names.join("/");
        let parsed = layers::parse(&layer.class, &Fields::new(&layer.config, self.keras))
            .map_err(in_layer)?;
        let none: Rc<[Tensor]> = Rc::new([]);
        let weights = self.loaded.tensors.get(&at.group).unwrap_or(&none);
        let start = self.graph.begin(&path).map_err(in_layer)?;
        let lowered = parsed
            .lower(&mut self.graph, inputs, weights)
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
        Ok(value)
    }
}
