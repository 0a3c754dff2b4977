//! A network and a plan → a graph in QDQ form.
//!
//! Each quantized tensor goes through QuantizeLinear and DequantizeLinear, and everything that took
//! it takes what comes back. A layer's weights and bias come from DequantizeLinear. Where a
//! tensor's zero point is 0, its smallest value is 0, so that the ReLU that made it is left out:
//! the quantization clamps as it did. ONNX Runtime's own tool writes the same form, and its graph
//! optimizer makes an integer operator of each layer.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use fer_core::onnx::graph::int;
use fer_core::onnx::proto::{
    GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
};

use crate::graph::{
    Links, Names, float_tensor, int8_tensor, int32_tensor, node, prune, uint8_scalar, weights,
};
use crate::layer::{Kind, Layer, clamps_at_zero, upper_bound};
use crate::network::{bytes, take_outputs};
use crate::round::LEVELS;
use crate::{FloatNetwork, Params, Plan, QuantizeError, Rounded};

/// The largest bias, so that it and a sum of products fit 32 bits together.
const MAX_BIAS: f32 = (1 << 28) as f32;

impl FloatNetwork {
    /// The file of a quantized network, with these `metadata_props` instead of the model's.
    ///
    /// # Errors
    /// The file would be over 2 GiB.
    pub fn quantized(
        &self,
        plan: &Plan,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Bytes, QuantizeError> {
        let mut model = self.rewritten(plan);
        let entry = |(key, value): (&String, &String)| StringStringEntryProto {
            key: key.clone(),
            value: value.clone(),
            ..Default::default()
        };
        model.metadata_props = metadata.iter().map(entry).collect();
        model.producer_name = "fer".into();
        model.producer_version = env!("CARGO_PKG_VERSION").into();
        bytes(&model, &self.name)
    }

    /// The file that computes these tensors of the quantized network, and nothing else. A tensor
    /// that a quantization makes unnecessary ([`crate::Layer::output`] of a ReLU) is not there.
    ///
    /// # Errors
    /// The file would be over 2 GiB.
    pub fn quantized_with_outputs(
        &self,
        plan: &Plan,
        tensors: &[&str],
    ) -> Result<Bytes, QuantizeError> {
        let mut model = self.rewritten(plan);
        take_outputs(&mut model, tensors);
        bytes(&model, &self.name)
    }

    fn rewritten(&self, plan: &Plan) -> ModelProto {
        let mut model = self.model.clone();
        let quantized: Vec<bool> = plan.layers.iter().map(Option::is_some).collect();
        let tensors = self.quantized_tensors(&quantized);
        let graph = model.graph.mut_or_insert_default();
        let mut rewriter = Rewriter {
            network: self,
            plan,
            links: Links::of(graph),
            known: weights(graph),
            names: Names::of(graph),
            tensors,
            returned: HashMap::new(),
            nodes: Vec::with_capacity(graph.node.len() * 4),
            weights: Vec::new(),
            scales: HashMap::new(),
        };
        rewriter.run(graph);
        let Rewriter { nodes, weights, .. } = rewriter;
        graph.node = nodes;
        graph.initializer.extend(weights);
        graph.value_info.clear();
        prune(graph);
        model
    }
}

struct Rewriter<'a> {
    network: &'a FloatNetwork,
    plan: &'a Plan,
    links: Links,
    known: HashMap<String, usize>,
    names: Names,
    /// The tensors that have 8 bits, with their group.
    tensors: HashMap<String, usize>,
    /// What is taken in place of a tensor.
    returned: HashMap<String, String>,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    /// The names of the scale and zero point of a group.
    scales: HashMap<usize, [String; 2]>,
}

impl Rewriter<'_> {
    fn run(&mut self, graph: &GraphProto) {
        let layers: HashMap<usize, usize> = self
            .network
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| (layer.node, i))
            .collect();
        for port in &graph.input {
            self.round_trip(&port.name, &port.name);
        }
        for (place, old) in graph.node.iter().enumerate() {
            if let Some(output) = self.left_out(graph, old) {
                let source = self.now(&old.input[0]);
                self.round_trip(&source, &output);
                continue;
            }
            let mut new = old.clone();
            for input in &mut new.input {
                *input = self.now(input);
            }
            if let Some(i) = layers.get(&place) {
                let layer = &self.network.layers[*i];
                match &self.plan.layers[*i] {
                    Some(rounded) => self.layer(layer, rounded, &mut new),
                    None => self.float_layer(layer, &mut new),
                }
            }
            self.nodes.push(new);
            for output in &old.output {
                self.round_trip(output, output);
            }
        }
    }

    /// What a node is given in place of a tensor.
    fn now(&self, tensor: &str) -> String {
        let returned = self.returned.get(tensor);
        returned.map_or_else(|| tensor.to_string(), Clone::clone)
    }

    /// The output of a ReLU that its output's quantization replaces.
    fn left_out(&self, graph: &GraphProto, node: &NodeProto) -> Option<String> {
        let (input, output) = (node.input.first()?, node.output.first()?);
        let params = self.plan.params.get(*self.tensors.get(output)?)?;
        let [low, high] = params.ends();
        let clamps = clamps_at_zero(graph, &self.known, node) && low == 0.0;
        let bound = upper_bound(graph, &self.known, node).unwrap_or(f32::INFINITY);
        let quantized = self.tensors.contains_key(input);
        let replaced = clamps && high <= bound * 1.000_01 && !quantized;
        (replaced && !self.links.is_output(output)).then(|| output.clone())
    }

    /// The names of the scale and zero point of a group.
    fn scale_of(&mut self, group: usize, tensor: &str) -> [String; 2] {
        if let Some(names) = self.scales.get(&group) {
            return names.clone();
        }
        let params = self.plan.params[group];
        let scale = self.names.unused(&format!("{tensor}_scale"));
        let zero_point = self.names.unused(&format!("{tensor}_zero_point"));
        self.weights
            .push(float_tensor(&scale, &[], &[params.scale]));
        self.weights
            .push(uint8_scalar(&zero_point, params.zero_point));
        let names = [scale, zero_point];
        self.scales.insert(group, names.clone());
        names
    }

    /// Brings a tensor to 8 bits and back, if it is one that has 8 bits. `source` is where its
    /// values are.
    fn round_trip(&mut self, source: &str, tensor: &str) {
        let Some(group) = self.tensors.get(tensor).copied() else {
            return;
        };
        let [scale, zero_point] = self.scale_of(group, tensor);
        let quantized = self.names.unused(&format!("{tensor}_quantized"));
        let returned = self.names.unused(&format!("{tensor}_dequantized"));
        self.nodes.push(node(
            "QuantizeLinear",
            &format!("{tensor}/QuantizeLinear"),
            &[source, &scale, &zero_point],
            &quantized,
            Vec::new(),
        ));
        self.nodes.push(node(
            "DequantizeLinear",
            &format!("{tensor}/DequantizeLinear"),
            &[&quantized, &scale, &zero_point],
            &returned,
            Vec::new(),
        ));
        self.returned.insert(tensor.to_string(), returned);
    }

    /// Gives a layer's node rounded weights and an integer bias.
    fn layer(&mut self, layer: &Layer, rounded: &Rounded, new: &mut NodeProto) {
        let input = self
            .tensors
            .get(&layer.input)
            .map(|group| self.plan.params[*group]);
        let input = input.unwrap_or(Params {
            scale: 1.0,
            zero_point: 0,
        });
        let Integers {
            weights,
            scales,
            bias,
            bias_scales,
        } = integers(layer, rounded, input);
        let base = new.input.get(1).unwrap_or(&layer.name).clone();
        let [weight_name, weight_zeros, bias_name, bias_zeros] = [
            "_quantized",
            "_zero_point",
            "_bias_quantized",
            "_bias_zero_point",
        ]
        .map(|end| self.names.unused(&format!("{base}{end}")));
        let channels = layer.channels;
        let weight = self.constant(
            int8_tensor(&weight_name, &layer.dims, &weights),
            int8_tensor(&weight_zeros, &[channels], &vec![0; channels]),
            &scales,
        );
        let bias = self.constant(
            int32_tensor(&bias_name, &bias),
            int32_tensor(&bias_zeros, &vec![0; channels]),
            &bias_scales,
        );
        new.input.truncate(1);
        new.input.extend([weight, bias]);
        if layer.kind == Kind::Dense {
            new.attribute = vec![int("transB", 1)];
        }
    }

    /// Keeps ONNX Runtime from quantizing the weights of a layer that stays in float32. It does so
    /// to 8 bits with one scale, between bytes on both sides, unless the bias is made by a node. So
    /// the bias becomes integers that stand for the same numbers.
    fn float_layer(&mut self, layer: &Layer, new: &mut NodeProto) {
        let is_bytes = |tensor: &String| self.tensors.contains_key(tensor);
        if !is_bytes(&layer.input) || !is_bytes(&layer.output) {
            return;
        }
        let scales = layer.bias.iter().map(|bias| bias.abs() / MAX_BIAS);
        let scales: Vec<f32> = scales.map(|s| s.max(f32::MIN_POSITIVE)).collect();
        let bias = layer.bias.iter().zip(&scales);
        let bias: Vec<i32> = bias
            .map(|(b, s)| (b / s).round_ties_even() as i32)
            .collect();
        let base = new.input.get(1).unwrap_or(&layer.name).clone();
        let [name, zeros] = ["_bias_quantized", "_bias_zero_point"]
            .map(|end| self.names.unused(&format!("{base}{end}")));
        let bias = self.constant(
            int32_tensor(&name, &bias),
            int32_tensor(&zeros, &vec![0; layer.channels]),
            &scales,
        );
        new.input.truncate(2);
        new.input.push(bias);
    }

    /// Adds integers with a scale for each channel, and returns the name of what they stand for.
    fn constant(&mut self, integers: TensorProto, zeros: TensorProto, scales: &[f32]) -> String {
        let name = integers.name.trim_end_matches("_quantized").to_string();
        let scale = self.names.unused(&format!("{name}_scale"));
        let returned = self.names.unused(&format!("{name}_dequantized"));
        self.nodes.push(node(
            "DequantizeLinear",
            &format!("{name}/DequantizeLinear"),
            &[&integers.name, &scale, &zeros.name],
            &returned,
            vec![int("axis", 0)],
        ));
        let scale = float_tensor(&scale, &[scales.len()], scales);
        self.weights.extend([scale, integers, zeros]);
        returned
    }
}

/// A layer's numbers as the file has them.
struct Integers {
    weights: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
    bias_scales: Vec<f32>,
}

/// Where a bias is so much larger than the weights that it does not fit 32 bits at their scale, the
/// channel gets a larger scale.
fn integers(layer: &Layer, rounded: &Rounded, input: Params) -> Integers {
    let mut weights = rounded.weights.clone();
    let mut scales = rounded.scales.clone();
    let channels = weights.chunks_mut(layer.depth).zip(&mut scales);
    for ((weights, scale), bias) in channels.zip(&rounded.bias) {
        let least = (bias.abs() / input.scale / MAX_BIAS).max(f32::MIN_POSITIVE);
        if *scale < least || *scale * input.scale < f32::MIN_POSITIVE {
            let larger = least.max(*scale).max(f32::MIN_POSITIVE / input.scale);
            let most = f32::from(LEVELS);
            for q in weights {
                *q = (f32::from(*q) * *scale / larger).round().clamp(-most, most) as i8;
            }
            *scale = larger;
        }
    }
    let bias_scales: Vec<f32> = scales.iter().map(|scale| scale * input.scale).collect();
    let bias = rounded.bias.iter().zip(&bias_scales);
    let bias = bias.map(|(bias, scale)| (bias / scale).round_ties_even() as i32);
    Integers {
        bias: bias.collect(),
        weights,
        scales,
        bias_scales,
    }
}
