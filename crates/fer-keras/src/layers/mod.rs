//! One Keras layer → ONNX nodes.
//!
//! A layer's configuration is read first ([`parse`]), for all layers of a model, so that all that
//! can't be converted is told at once; only then nodes are made.

mod activation;
mod conv;
mod dense;
mod merge;
mod norm;
mod pool;
mod shape;
mod window;

use super::config::Fields;
use super::graph::{Graph, Value};
use super::tensor::Tensor;

/// A layer whose configuration has been understood.
pub(crate) trait Layer {
    /// The names of its weights, in the order in which Keras stores them.
    fn weights(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Adds its nodes to the graph, for one call.
    ///
    /// # Errors
    /// The inputs or weights have not the shapes that the configuration makes.
    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String>;
}

/// Layers that pass their input on when a model answers: they act in training alone.
const TRAINING_ONLY: [&str; 13] = [
    "Dropout",
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomTranslation",
    "RandomContrast",
    "RandomBrightness",
];

/// Whether layers of a class pass their input on when a model answers.
pub(crate) fn passes_on(class: &str) -> bool {
    TRAINING_ONLY.contains(&class)
}

/// Whether layers of a class move values, and pad them with zeros, without changing them.
pub(crate) fn moves(class: &str) -> bool {
    [
        "ZeroPadding2D",
        "Cropping2D",
        "Reshape",
        "Permute",
        "Flatten",
    ]
    .contains(&class)
}

/// Reads the configuration of a layer of a class.
///
/// # Errors
/// The layer, or one of its options, can't be converted.
pub(crate) fn parse(class: &str, fields: &Fields<'_>) -> Result<Box<dyn Layer>, String> {
    if passes_on(class) {
        return Ok(Box::new(PassOn));
    }
    Ok(match class {
        "Conv2D" | "Convolution2D" => Box::new(conv::Conv::parse(fields)?),
        "DepthwiseConv2D" => Box::new(conv::Depthwise::parse(fields)?),
        "SeparableConv2D" | "SeparableConvolution2D" => Box::new(conv::Separable::parse(fields)?),
        "Dense" => Box::new(dense::Dense::parse(fields)?),
        "BatchNormalization" => Box::new(norm::BatchNorm::parse(fields)?),
        "LayerNormalization" => Box::new(norm::LayerNorm::parse(fields)?),
        "Normalization" => Box::new(norm::Normalization::parse(fields)?),
        "Rescaling" => Box::new(norm::Rescaling::parse(fields)?),
        "MaxPooling2D" | "MaxPool2D" => Box::new(pool::Pool::parse(fields, pool::Kind::Max)?),
        "AveragePooling2D" | "AvgPool2D" => {
            Box::new(pool::Pool::parse(fields, pool::Kind::Average)?)
        }
        "GlobalMaxPooling2D" | "GlobalMaxPool2D" => {
            Box::new(pool::GlobalPool::parse(fields, pool::Kind::Max)?)
        }
        "GlobalAveragePooling2D" | "GlobalAvgPool2D" => {
            Box::new(pool::GlobalPool::parse(fields, pool::Kind::Average)?)
        }
        "ZeroPadding2D" => Box::new(shape::ZeroPadding::parse(fields)?),
        "Cropping2D" => Box::new(shape::Cropping::parse(fields)?),
        "UpSampling2D" => Box::new(shape::UpSampling::parse(fields)?),
        "Flatten" => Box::new(shape::Flatten::parse(fields)?),
        "Reshape" => Box::new(shape::Reshape::parse(fields)?),
        "Permute" => Box::new(shape::Permute::parse(fields)?),
        "Add" | "Subtract" | "Multiply" | "Average" | "Maximum" | "Minimum" => {
            Box::new(merge::Merge::parse(class)?)
        }
        "Concatenate" => Box::new(merge::Concatenate::parse(fields)?),
        "PReLU" => Box::new(activation::PRelu::parse(fields)?),
        _ => match activation::layer(class, fields)? {
            Some(activation) => Box::new(activation),
            None => return Err("no conversion of this layer is known".into()),
        },
    })
}

/// A layer that does nothing when a model answers.
struct PassOn;

impl Layer for PassOn {
    fn lower(&self, _: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        only(inputs).cloned()
    }
}

/// The one input of a layer.
fn only(inputs: &[Value]) -> Result<&Value, String> {
    match inputs {
        [input] => Ok(input),
        _ => Err(format!(
            "it is called with {} tensors; it takes one",
            inputs.len()
        )),
    }
}
