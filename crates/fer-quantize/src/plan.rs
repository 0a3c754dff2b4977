//! What a network is quantized by: the ranges of its activations and the weights of its layers
//! ([`Plan`]), and which tensors that concerns ([`Group`]).

use std::collections::HashMap;

use fer_core::onnx::proto::GraphProto;

use crate::graph::{Links, PASS_ON, weights};
use crate::{FloatNetwork, Params, Rounded};

/// How a network is quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Scale and zero point of each of [`FloatNetwork::groups`].
    pub params: Vec<Params>,
    /// Of each of [`FloatNetwork::layers`]: its weights, or `None` if it stays in float32.
    pub layers: Vec<Option<Rounded>>,
}

/// Tensors that have one range, because each has the values of the one before, or some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The tensors' names, in the order of computation.
    pub tensors: Vec<String>,
    /// Whether the network's input is among them.
    pub is_input: bool,
}

impl FloatNetwork {
    /// The tensors that have 8 bits if every layer but the last is quantized, in groups of one
    /// range.
    pub fn groups(&self) -> Vec<Group> {
        let graph = &self.model.graph;
        let all: Vec<bool> = self.layers.iter().map(|layer| !layer.is_last).collect();
        let places = self.quantized_tensors(&all);
        let mut groups: Vec<Group> = Vec::new();
        let inputs = graph.input.iter().map(|port| (&port.name, true));
        let made = graph.node.iter().flat_map(|node| &node.output);
        for (name, is_input) in inputs.chain(made.map(|name| (name, false))) {
            let Some(place) = places.get(name) else {
                continue;
            };
            if *place >= groups.len() {
                groups.push(Group {
                    tensors: Vec::new(),
                    is_input: false,
                });
            }
            groups[*place].tensors.push(name.clone());
            groups[*place].is_input |= is_input;
        }
        groups
    }

    /// The tensors that have 8 bits if these layers are quantized, with their group's number.
    pub(crate) fn quantized_tensors(&self, quantized: &[bool]) -> HashMap<String, usize> {
        let graph = &self.model.graph;
        let all: Vec<bool> = self.layers.iter().map(|layer| !layer.is_last).collect();
        let numbers = numbered(graph, &self.needed(&all));
        let mut needed = self.needed(quantized);
        needed.retain(|name, _| numbers.contains_key(name));
        needed
            .iter_mut()
            .for_each(|(name, number)| *number = numbers[name]);
        needed
    }

    /// The inputs and outputs of these layers, and what passes its values on to them.
    fn needed(&self, quantized: &[bool]) -> HashMap<String, usize> {
        let graph = &self.model.graph;
        let (links, known) = (Links::of(graph), weights(graph));
        let mut needed = HashMap::new();
        let layers = self.layers.iter().zip(quantized);
        for (layer, _) in layers.filter(|(_, quantized)| **quantized) {
            needed.insert(layer.input.clone(), 0);
            if !links.takers(&layer.output).is_empty() {
                needed.insert(layer.output.clone(), 0);
            }
        }
        for node in graph.node.iter().rev() {
            let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
                continue;
            };
            let passes = PASS_ON.contains(&node.op_type.as_str());
            if passes && needed.contains_key(output) && !known.contains_key(input) {
                needed.insert(input.clone(), 0);
            }
        }
        needed
    }
}

/// The needed tensors with the number of their group: those that pass values on have the number of
/// what they are made of.
fn numbered(graph: &GraphProto, needed: &HashMap<String, usize>) -> HashMap<String, usize> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut count = 0;
    let mut next = || {
        count += 1;
        count - 1
    };
    for port in graph.input.iter().filter(|p| needed.contains_key(&p.name)) {
        numbers.insert(port.name.clone(), next());
    }
    for node in &graph.node {
        let source = node
            .input
            .first()
            .and_then(|input| numbers.get(input))
            .copied();
        let passed = source.filter(|_| PASS_ON.contains(&node.op_type.as_str()));
        for (place, output) in node.output.iter().enumerate() {
            if needed.contains_key(output) {
                let number = passed.filter(|_| place == 0).unwrap_or_else(&mut next);
                numbers.insert(output.clone(), number);
            }
        }
    }
    numbers
}
