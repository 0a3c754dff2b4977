//! A float32 classifier whose layers can be quantized ([`FloatNetwork`]).

use bytes::Bytes;
use fer_core::onnx;
use fer_core::onnx::proto::{GraphProto, Message, ModelProto, NodeProto};
use fer_core::onnx::{ELEM_FLOAT, OnnxError, elem_type_name, is_float};

use crate::QuantizeError;
use crate::fold::fold;
use crate::graph::{float_output, prune};
use crate::layer::{Layer, layers};

/// The operator set from which on scales may be given for each channel.
const OPSET: i64 = 13;

/// A float32 classifier: its graph, folded, and the layers in it.
pub struct FloatNetwork {
    pub(crate) model: ModelProto,
    /// What messages call it.
    pub name: String,
    /// The layers that can be quantized, in the order of computation.
    pub layers: Vec<Layer>,
}

impl FloatNetwork {
    /// Reads an ONNX file's bytes.
    ///
    /// # Errors
    /// They are not an ONNX model, or it can't be quantized.
    pub fn parse(bytes: &Bytes, name: &str) -> Result<Self, QuantizeError> {
        let mut model = onnx::parse_proto(bytes, name)?;
        let owned = || name.to_string();
        let graph = model.graph.mut_or_insert_default();
        if let Some(operator) = graph.node.iter().find_map(quantized) {
            let model = owned();
            return Err(QuantizeError::Quantized { model, operator });
        }
        let runs_a_graph = |node: &&NodeProto| {
            let mut attributes = node.attribute.iter();
            attributes.any(|a| a.g.is_some() || !a.graphs.is_empty())
        };
        if let Some(node) = graph.node.iter().find(runs_a_graph) {
            return Err(QuantizeError::ControlFlow {
                model: owned(),
                operator: node.op_type.clone(),
            });
        }
        if graph
            .initializer
            .iter()
            .any(|t| !t.external_data.is_empty())
        {
            return Err(QuantizeError::ExternalWeights { model: owned() });
        }
        check_names(graph, name)?;
        fold(graph);
        let layers = layers(graph);
        let other_floats = graph
            .initializer
            .iter()
            .find(|t| t.dims.len() >= 2 && t.data_type != ELEM_FLOAT && is_float(t.data_type));
        if let (Some(tensor), true) = (other_floats, layers.is_empty()) {
            return Err(QuantizeError::NotFloat32 {
                model: owned(),
                found: elem_type_name(tensor.data_type),
            });
        }
        if layers.iter().all(|l| l.is_last) {
            return Err(QuantizeError::NoLayers { model: owned() });
        }
        let finite = |l: &&Layer| l.weights.iter().chain(&l.bias).any(|w| !w.is_finite());
        if let Some(layer) = layers.iter().find(finite) {
            return Err(QuantizeError::NotFinite {
                model: owned(),
                layer: layer.name.clone(),
            });
        }
        let sets = model.opset_import.iter();
        let opset = sets
            .filter(|set| set.domain.is_empty() || set.domain == "ai.onnx")
            .map(|set| set.version)
            .max()
            .unwrap_or_default();
        if opset < OPSET {
            return Err(QuantizeError::Opset {
                model: owned(),
                opset,
                least: OPSET,
            });
        }
        Ok(Self {
            model,
            name: owned(),
            layers,
        })
    }

    /// The name of the network's input.
    pub fn input(&self) -> String {
        let graph = &self.model.graph;
        let weights = crate::graph::weights(graph);
        let mut inputs = graph.input.iter().map(|port| &port.name);
        let input = inputs.find(|name| !weights.contains_key(*name));
        input.cloned().unwrap_or_default()
    }

    /// The name of the network's first output.
    pub fn output(&self) -> String {
        let output = self.model.graph.output.first();
        output.map(|port| port.name.clone()).unwrap_or_default()
    }

    /// The float32 file that makes these tensors, and nothing else.
    ///
    /// # Errors
    /// The file would be over 2 GiB.
    pub fn with_outputs(&self, tensors: &[&str]) -> Result<Bytes, QuantizeError> {
        let mut model = self.model.clone();
        take_outputs(&mut model, tensors);
        bytes(&model, &self.name)
    }
}

/// Makes these tensors the graph's outputs, and leaves out what they do not depend on.
pub(crate) fn take_outputs(model: &mut ModelProto, tensors: &[&str]) {
    let graph = model.graph.mut_or_insert_default();
    graph.output = tensors.iter().map(|name| float_output(name)).collect();
    prune(graph);
}

/// A model's bytes.
pub(crate) fn bytes(model: &ModelProto, name: &str) -> Result<Bytes, QuantizeError> {
    let bytes = model.write_to_bytes().map_err(|e| OnnxError::Malformed {
        path: name.into(),
        reason: e.to_string(),
    });
    Ok(bytes?.into())
}

/// A node's operator, if it is one of quantized networks.
fn quantized(node: &NodeProto) -> Option<String> {
    let name = node.op_type.as_str();
    let is = name.contains("QuantizeLinear")
        || name.contains("DequantizeLinear")
        || name.starts_with("QLinear")
        || name.starts_with("QGemm")
        || matches!(name, "ConvInteger" | "MatMulInteger" | "MatMulNBits");
    is.then(|| name.to_string())
}

/// Fails if a tensor is made twice, or before its maker was run: nodes are in the order of
/// computation in every valid file, which the rest relies on.
fn check_names(graph: &GraphProto, name: &str) -> Result<(), QuantizeError> {
    let damaged = |reason: String| QuantizeError::Damaged {
        model: name.to_string(),
        reason,
    };
    let given = graph.input.iter().map(|p| &p.name);
    let weights = graph.initializer.iter().map(|t| &t.name);
    let mut known: std::collections::HashSet<&str> =
        given.chain(weights).map(String::as_str).collect();
    for node in &graph.node {
        let unknown = |input: &&String| !input.is_empty() && !known.contains(input.as_str());
        if let Some(input) = node.input.iter().find(unknown) {
            return Err(damaged(format!("nothing makes {input} before it is used")));
        }
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if !known.insert(output) {
                return Err(damaged(format!("{output} is made twice")));
            }
        }
    }
    Ok(())
}
