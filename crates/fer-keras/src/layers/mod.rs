//! One Keras layer → ONNX nodes.
//!
//! The configurations of all layers of a model are parsed first ([`parse`]), so one error can list
//! everything that is unsupported. Nodes are made after that.

pub(crate) mod activation;
mod attention;
mod conv;
mod conv_transpose;
mod dense;
mod dot;
mod group_norm;
mod int8;
pub(crate) mod lambda;
pub(crate) mod merge;
mod norm;
mod pool;
mod resample;
mod resize;
mod scale;
mod shape;
mod window;

pub(crate) use self::int8::INT8_KERNEL;
use self::shape::{crop, pad};
use super::affine::Affine;
use super::config::Fields;
use super::graph::{Graph, Value};
use super::tensor::Tensor;

/// A layer with its parsed configuration.
pub(crate) trait Layer {
    /// The names of its weights, in the order in which Keras stores them; `query/kernel` for the
    /// weight of a layer in it.
    fn weights(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The names of the tensors that `lower` takes, in its order; none if Keras calls the layer
    /// with tensors by position alone.
    fn arguments(&self) -> &'static [&'static str] {
        &[]
    }

    /// What it does to its input, on the average of all channels, if it only multiplies and adds
    /// constants.
    fn affine(&self, _weights: &[Tensor]) -> Option<Affine> {
        None
    }

    /// Adds its nodes to the graph, for one call.
    ///
    /// # Errors
    /// The inputs or weights do not have the shapes that the configuration requires.
    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String>;
}

/// Layers that only act in training and pass their input through in inference.
const TRAINING_ONLY: [&str; 36] = [
    "ActivityRegularization",
    "AlphaDropout",
    "AugMix",
    "CutMix",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "MaxNumBoundingBoxes",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHeight",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomWidth",
    "RandomZoom",
    "Solarization",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
];

/// Whether layers of a class pass their input through in inference.
pub(crate) fn passes_on(class: &str) -> bool {
    TRAINING_ONLY.contains(&class)
}

/// Whether layers of a class only move values, resample them and pad with zeros.
pub(crate) fn moves(class: &str) -> bool {
    [
        "CenterCrop",
        "Cropping2D",
        "Flatten",
        "Permute",
        "RandomCrop",
        "Reshape",
        "Resizing",
        "UpSampling2D",
        "ZeroPadding2D",
    ]
    .contains(&class)
}

/// Parses the configuration of a layer of a class.
///
/// # Errors
/// The layer or one of its options is not supported.
pub(crate) fn parse(class: &str, fields: &Fields<'_>) -> Result<Box<dyn Layer>, String> {
    if passes_on(class) {
        return Ok(Box::new(PassOn));
    }
    if let Some(mode) = fields.quantization().filter(|_| class != "Dense") {
        return Err(int8::quantized(mode));
    }
    Ok(match class {
        "Conv2D" | "Convolution2D" => Box::new(conv::Conv::parse(fields)?),
        "Conv2DTranspose" | "Convolution2DTranspose" | "Deconvolution2D" => {
            Box::new(conv_transpose::ConvTranspose::parse(fields)?)
        }
        "DepthwiseConv2D" => Box::new(conv::Depthwise::parse(fields)?),
        "SeparableConv2D" | "SeparableConvolution2D" => Box::new(conv::Separable::parse(fields)?),
        "Dense" => Box::new(dense::Dense::parse(fields)?),
        "BatchNormalization" => Box::new(norm::BatchNorm::parse(fields)?),
        "LayerNormalization" => Box::new(norm::LayerNorm::parse(fields)?),
        "GroupNormalization" => Box::new(group_norm::GroupNorm::parse(fields)?),
        "Normalization" => Box::new(norm::Normalization::parse(fields)?),
        "Rescaling" => Box::new(scale::Rescaling::parse(fields)?),
        "LayerScale" => Box::new(scale::LayerScale::parse(fields)?),
        "CustomScaleLayer" | "Custom>CustomScaleLayer" => {
            Box::new(scale::ScaledResidual::parse(fields)?)
        }
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
        "UpSampling2D" => Box::new(resize::UpSampling::parse(fields)?),
        "Resizing" => Box::new(resize::Resizing::parse(fields)?),
        "CenterCrop" => Box::new(resize::CenterCrop::parse(fields)?),
        "RandomCrop" if fields.keras < 3 => Box::new(resize::CenterCrop::random(fields)?),
        "RandomCrop" => {
            return Err(
                "what it does in inference depends on Keras's version; CenterCrop in its place \
                 converts"
                    .into(),
            );
        }
        "Flatten" => Box::new(shape::Flatten::parse(fields)?),
        "Reshape" => Box::new(shape::Reshape::parse(fields)?),
        "Permute" => Box::new(shape::Permute::parse(fields)?),
        "Add" | "Subtract" | "Multiply" | "Average" | "Maximum" | "Minimum" => {
            Box::new(merge::Merge::parse(class)?)
        }
        "Concatenate" => Box::new(merge::Concatenate::parse(fields)?),
        "Dot" => Box::new(dot::Dot::parse(fields)?),
        "MultiHeadAttention" => Box::new(attention::MultiHead::parse(fields)?),
        "Attention" => Box::new(attention::DotAttention::parse(fields)?),
        "Lambda" => return Err(lambda::reason(fields)),
        "PReLU" => Box::new(activation::PRelu::parse(fields)?),
        _ => match activation::layer(class, fields)? {
            Some(activation) => Box::new(activation),
            None => return Err("this layer is not supported".into()),
        },
    })
}

/// A layer that does nothing in inference.
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
