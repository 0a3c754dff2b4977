//! Weights from an ONNX file into a network of the same layers: a Keras model that was converted,
//! or a file that `fer export` wrote, to go on training with.
//!
//! Both the file's nodes and the network's layers stand in the order of the forward pass, so they
//! are matched one by one, by kind and shape. ONNX and Burn lay out convolutions alike; a dense
//! layer after Keras's flatten (height, width, channels) gets its rows reordered to Burn's
//! (channels, height, width).

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use fer_core::onnx::proto::{ModelProto, NodeProto, TensorProto};

use super::Network;
use fer_core::onnx::{self, Header, OnnxError, OnnxModel};
use fer_core::spec::{ModelSpec, SpecError};

/// Weights that can't be taken over.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file can't be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file is not an image classifier.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The file holds another network.
    #[error(
        "{file} does not fit the architecture: {problem}; choose the architecture that it was made \
         from"
    )]
    Other {
        /// The file.
        file: String,
        /// What is different.
        problem: String,
    },
}

/// Replaces all weights and running statistics of `network`, which takes and gives what `spec`
/// says, by those of an ONNX file of its exported form. What is folded there has the weights in its
/// first branch, and gives what the file gives.
///
/// # Errors
/// The file can't be read, expects other images or classes than the network, or does not have the
/// network's very layers.
pub fn load_onnx(network: Network, spec: &ModelSpec, path: &Path) -> Result<Network, WeightsError> {
    let filled = filled(network.folded(), spec, path)?;
    Ok(match (network, filled) {
        (Network::RepVgg(network), Network::Vgg(plain)) => {
            Network::RepVgg(network.begin_with(plain))
        }
        (_, filled) => filled,
    })
}

/// As [`load_onnx`], of a network that is as it is exported.
fn filled(network: Network, wanted: &ModelSpec, path: &Path) -> Result<Network, WeightsError> {
    let file = path.display().to_string();
    let other = |problem: String| WeightsError::Other {
        file: file.clone(),
        problem,
    };
    let model = OnnxModel::read(path)?;
    if model.external_data {
        return Err(other(
            "its weights lie in other files; save it as one file".into(),
        ));
    }
    let proto = onnx::parse_proto(&model.bytes, &file)?;
    // A file that wants other input would be wrong in silence. The order of its dimensions does not
    // count: the weights are stored alike.
    let mut spec = ModelSpec::resolve(&Header::of(&proto), &Default::default(), &file)?;
    spec.input.layout = wanted.input.layout;
    spec.accepts(wanted)
        .map_err(|mismatch| other(mismatch.to_string()))?;
    let tensors = parameters(&proto, network.epsilon()).map_err(other)?;
    let mut loader = Loader {
        tensors,
        layer: Vec::new(),
        problem: None,
    };
    let network = network.map(&mut loader);
    match loader.problem {
        Some(problem) => Err(other(problem)),
        None if loader.tensors.is_empty() => Ok(network),
        None => Err(other(format!(
            "it has {} more weights than the network",
            loader.tensors.len()
        ))),
    }
}

/// A weight as the network wants it, and the node it comes from.
struct Weight {
    node: String,
    dims: Vec<usize>,
    values: Vec<f32>,
}

/// All the weights of the graph in the order of its nodes: kernel and bias, or scale, offset, mean
/// and variance.
///
/// `epsilon` is the network's, which the file's batch normalisations must share.
fn parameters(proto: &ModelProto, epsilon: f64) -> Result<VecDeque<Weight>, String> {
    let initializers: HashMap<&str, &TensorProto> = proto
        .graph
        .initializer
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let mut weights = VecDeque::new();
    // The channels of the last convolution, and whether a Transpose has put them last since.
    let (mut channels, mut channels_last) = (1, false);
    for node in &proto.graph.node {
        let weight = |name: &String| -> Result<Option<Weight>, String> {
            initializers
                .get(name.as_str())
                .map(|t| read(t, &node.name))
                .transpose()
        };
        let fixed = |index: usize| -> Result<Weight, String> {
            let name = node
                .input
                .get(index)
                .ok_or_else(|| format!("its node {} lacks an input", node.name))?;
            weight(name)?.ok_or_else(|| {
                format!(
                    "input {name} of its node {} is not a stored weight",
                    node.name
                )
            })
        };
        match node.op_type.as_str() {
            "Conv" => {
                let kernel = fixed(1)?;
                channels = kernel.dims.first().copied().unwrap_or(1);
                weights.push_back(kernel);
                if node.input.get(2).is_some_and(|bias| !bias.is_empty()) {
                    weights.push_back(fixed(2)?);
                }
            }
            "BatchNormalization" => {
                let found = node
                    .attribute
                    .iter()
                    .find(|a| a.name == "epsilon")
                    .map_or(1e-5, |a| a.f);
                if (f64::from(found) / epsilon - 1.0).abs() > 1e-3 {
                    return Err(format!(
                        "its node {} has epsilon {found}, the network {epsilon}",
                        node.name
                    ));
                }
                for index in 1..5 {
                    weights.push_back(fixed(index)?);
                }
            }
            "MatMul" | "Gemm" => {
                let mut kernel = fixed(1)?;
                if node.op_type == "Gemm" && attribute(node, "transB") == Some(1) {
                    kernel = transposed(kernel)?;
                }
                if std::mem::take(&mut channels_last) {
                    kernel = channels_first(kernel, channels)?;
                }
                weights.push_back(kernel);
                if node.op_type == "Gemm" && node.input.len() > 2 {
                    weights.push_back(fixed(2)?);
                }
            }
            "Add" => {
                for name in &node.input {
                    if let Some(mut bias) = weight(name)? {
                        bias.dims = vec![bias.values.len()];
                        weights.push_back(bias);
                    }
                }
            }
            "Transpose" => {
                let perm = node
                    .attribute
                    .iter()
                    .find(|a| a.name == "perm")
                    .map(|a| a.ints.clone());
                channels_last = perm.is_some_and(|p| p == [0, 2, 3, 1]);
            }
            "Relu" | "MaxPool" | "GlobalAveragePool" | "AveragePool" | "ReduceMean" | "Reshape"
            | "Flatten" | "Softmax" | "Dropout" | "Identity" | "Constant" => {}
            other => {
                return Err(format!(
                    "it has an operator {other}, which the network has not"
                ));
            }
        }
    }
    Ok(weights)
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.i)
}

fn read(tensor: &TensorProto, node: &str) -> Result<Weight, String> {
    let dims: Vec<usize> = tensor
        .dims
        .iter()
        .filter_map(|d| usize::try_from(*d).ok())
        .collect();
    let values: Vec<f32> = if tensor.raw_data.is_empty() {
        tensor.float_data.clone()
    } else {
        tensor
            .raw_data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if tensor.data_type != onnx::ELEM_FLOAT || count != Some(values.len()) {
        return Err(format!(
            "its weight {} is not a whole float32 tensor",
            tensor.name
        ));
    }
    Ok(Weight {
        node: node.to_string(),
        dims,
        values,
    })
}

fn matrix(weight: &Weight) -> Result<(usize, usize), String> {
    match weight.dims[..] {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!(
            "the weight of its node {} is not a matrix",
            weight.node
        )),
    }
}

fn transposed(weight: Weight) -> Result<Weight, String> {
    let (rows, columns) = matrix(&weight)?;
    let values = (0..columns)
        .flat_map(|c| {
            weight
                .values
                .iter()
                .skip(c)
                .step_by(columns.max(1))
                .copied()
        })
        .collect();
    Ok(Weight {
        dims: vec![columns, rows],
        values,
        ..weight
    })
}

/// Reorders the rows of a dense kernel from (pixel, channel) to (channel, pixel).
fn channels_first(weight: Weight, channels: usize) -> Result<Weight, String> {
    let (rows, columns) = matrix(&weight)?;
    if channels == 0 || rows % channels != 0 {
        return Err(format!(
            "the {rows} rows of its node {} are not a multiple of {channels} channels",
            weight.node
        ));
    }
    let pixels = rows / channels;
    let row = |r: usize| &weight.values[r * columns..][..columns];
    let values = (0..channels)
        .flat_map(|c| (0..pixels).flat_map(move |p| row(p * channels + c).iter().copied()))
        .collect();
    Ok(Weight { values, ..weight })
}

struct Loader {
    tensors: VecDeque<Weight>,
    layer: Vec<String>,
    problem: Option<String>,
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.layer.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.layer.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let wanted = param.shape().as_slice().to_vec();
        let weight =
            match self.tensors.pop_front() {
                Some(weight) if self.problem.is_none() && weight.dims == wanted => weight,
                found => {
                    let layer = self.layer.join(".");
                    self.problem.get_or_insert_with(|| match found {
                    Some(weight) => format!(
                        "the network's {layer} is {wanted:?}, the weight of the file's node {} is \
                         {:?}",
                        weight.node, weight.dims
                    ),
                    None => format!("it has no more weights where the network's {layer} \
                        ({wanted:?}) begins"),
                });
                    return param;
                }
            };
        param.map(|old| {
            let data = TensorData::new(weight.values, weight.dims);
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }
}
