//! Operations → ONNX nodes: functions of tensors that are called between the layers and have no
//! weights.
//!
//! Keras 3 has a class for each (`keras.ops`). Keras 2 has one layer for all functions of
//! TensorFlow, `TFOpLambda`; [`tensorflow`] translates these into Keras 3's classes. Axis 0 is the
//! batch, which every operation must leave as it is: the ONNX model classifies each image on its
//! own.
//!
//! A tensor of numbers that are not float32 is one of float32 in the graph: integers are whole
//! numbers, and flags are 0 or 1.

mod activation;
mod arguments;
mod axes;
mod elementwise;
mod index;
mod join;
mod layer;
mod matrix;
mod part;
mod reduce;
mod shape;
mod tensorflow;

use super::affine::{Affine, mean};
use super::call::{Argument, Call};
use super::graph::{Graph, Value};
use super::network::LayerEntry;
use arguments::Arguments;

/// The modules of operations' classes.
pub(crate) const MODULES: [&str; 3] = ["keras.src.ops", "keras.ops", "keras.src.activations"];

/// The layers that call a function of TensorFlow.
pub(crate) const CLASSES: [&str; 2] = ["TFOpLambda", "SlicingOpLambda"];

/// What an operation returns: tensors, or numbers that are known without a graph.
type Outputs = Vec<Argument<Value>>;

/// Adds an operation's nodes to the graph.
type Lower = fn(&mut Graph, &Arguments<'_>) -> Result<Outputs, String>;

/// An operation with its configuration.
pub(crate) struct Operation<'a> {
    class: &'static str,
    lower: Lower,
    detail: &'static str,
    /// Other names of arguments, with those of Keras 3.
    names: &'static [(&'static str, &'static str)],
    layer: &'a LayerEntry,
}

/// Finds a layer's operation.
///
/// # Errors
/// The operation is not supported.
pub(crate) fn parse(layer: &LayerEntry) -> Result<Operation<'_>, String> {
    let (class, names) = match layer.config.get("function").and_then(|f| f.as_str()) {
        Some(function) if CLASSES.contains(&layer.class.as_str()) => {
            tensorflow::translate(function)
                .ok_or_else(|| format!("the function {function} is not supported"))?
        }
        _ => (layer.class.as_str(), &[][..]),
    };
    let (class, lower, detail) = row(class).ok_or("this operation is not supported")?;
    Ok(Operation {
        class,
        lower: *lower,
        detail,
        names,
        layer,
    })
}

/// Whether a class of Keras 3 is a supported operation.
pub(crate) fn is_known(class: &str) -> bool {
    row(class).is_some()
}

fn row(class: &str) -> Option<&'static (&'static str, Lower, &'static str)> {
    TABLE.iter().find(|(known, ..)| *known == class)
}

impl Operation<'_> {
    /// Adds its nodes for one call.
    ///
    /// # Errors
    /// The arguments do not fit the operation, or it would mix the images of a batch.
    pub(crate) fn lower(&self, graph: &mut Graph, call: &Call<Value>) -> Result<Outputs, String> {
        let arguments = Arguments::new(call, &self.layer.config, self.names, self.detail);
        let outputs = (self.lower)(graph, &arguments)?;
        arguments.all_read()?;
        if !outputs
            .iter()
            .all(|output| output.leaves() <= MAX_CONSTANTS)
        {
            return Err(format!(
                "it returns a list of more than {MAX_CONSTANTS} constants"
            ));
        }
        Ok(outputs)
    }
}

/// What an operation does to pixels that go through it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// It moves values only.
    Moves,
    /// It multiplies by constants or adds them, on average so.
    Maps(Affine),
    Other,
}

impl Operation<'_> {
    /// What it does to pixels that go through it.
    pub(crate) fn effect(&self) -> Effect {
        let mut constants = Vec::new();
        let call = self.layer.calls.first();
        let arguments = call.map(|call| call.args.iter().chain(call.named.values()));
        for argument in arguments.into_iter().flatten() {
            argument.each_number(&mut |n| constants.push(n));
        }
        let constant = (!constants.is_empty()).then(|| mean(constants));
        let scales = |scale| Effect::Maps(Affine { scale, offset: 0.0 });
        let shifts = |offset| Effect::Maps(Affine { scale: 1.0, offset });
        match (self.class, constant) {
            ("TrueDivide" | "Divide", Some(by)) if by != 0.0 => scales(1.0 / by),
            ("Multiply", Some(by)) => scales(by),
            ("Add" | "BiasAdd", Some(by)) => shifts(by),
            ("Subtract", Some(by)) => shifts(-by),
            _ if MOVING.contains(&self.class) => Effect::Moves,
            _ => Effect::Other,
        }
    }
}

/// The most constants in a list that operations make of others: those of a shape, or of an image's
/// means.
const MAX_CONSTANTS: usize = 1024;

/// Operations that move values, or know them without a graph.
const MOVING: [&str; 22] = [
    "Cast",
    "Concatenate",
    "ConvertToTensor",
    "Copy",
    "ExpandDims",
    "Flip",
    "GetItem",
    "GrayscaleToRGB",
    "Moveaxis",
    "Pad",
    "RGBToGrayscale",
    "Repeat",
    "Reshape",
    "Resize",
    "Shape",
    "Split",
    "Squeeze",
    "Stack",
    "Swapaxes",
    "Take",
    "Transpose",
    "Unstack",
];

/// Keras 3's operations: class, function, and what it needs to know, mostly an ONNX operator.
const TABLE: &[(&str, Lower, &str)] = &[
    // Two tensors, element by element.
    ("Add", elementwise::arithmetic, "Add"),
    ("Subtract", elementwise::arithmetic, "Sub"),
    ("Multiply", elementwise::arithmetic, "Mul"),
    ("Divide", elementwise::arithmetic, "Div"),
    ("TrueDivide", elementwise::arithmetic, "Div"),
    ("Power", elementwise::arithmetic, "Pow"),
    ("Maximum", elementwise::arithmetic, "Max"),
    ("Minimum", elementwise::arithmetic, "Min"),
    ("FloorDivide", elementwise::floor_divide, ""),
    ("Mod", elementwise::modulo, ""),
    ("DivideNoNan", elementwise::divide_no_nan, ""),
    ("SquaredDifference", elementwise::squared_difference, ""),
    ("BiasAdd", elementwise::bias_add, ""),
    ("Greater", elementwise::compare, "Greater"),
    ("GreaterEqual", elementwise::compare, "GreaterOrEqual"),
    ("Less", elementwise::compare, "Less"),
    ("LessEqual", elementwise::compare, "LessOrEqual"),
    ("Equal", elementwise::compare, "Equal"),
    ("NotEqual", elementwise::not_equal, ""),
    ("LogicalAnd", elementwise::logical, "And"),
    ("LogicalOr", elementwise::logical, "Or"),
    ("LogicalXor", elementwise::logical, "Xor"),
    ("Where", elementwise::choose, ""),
    ("AddN", elementwise::add_n, ""),
    ("Clip", elementwise::clip, ""),
    // One tensor, element by element.
    ("Absolute", elementwise::unary, "Abs"),
    ("Negative", elementwise::unary, "Neg"),
    ("Exp", elementwise::unary, "Exp"),
    ("Log", elementwise::unary, "Log"),
    ("Sqrt", elementwise::unary, "Sqrt"),
    ("Reciprocal", elementwise::unary, "Reciprocal"),
    ("Sign", elementwise::unary, "Sign"),
    ("Floor", elementwise::unary, "Floor"),
    ("Ceil", elementwise::unary, "Ceil"),
    ("Sin", elementwise::unary, "Sin"),
    ("Cos", elementwise::unary, "Cos"),
    ("Tan", elementwise::unary, "Tan"),
    ("Arcsin", elementwise::unary, "Asin"),
    ("Arccos", elementwise::unary, "Acos"),
    ("Arctan", elementwise::unary, "Atan"),
    ("Sinh", elementwise::unary, "Sinh"),
    ("Cosh", elementwise::unary, "Cosh"),
    ("Erf", elementwise::unary, "Erf"),
    ("Round", elementwise::round, ""),
    ("Square", elementwise::square, ""),
    ("Rsqrt", elementwise::rsqrt, ""),
    ("Log1p", elementwise::log1p, ""),
    ("Expm1", elementwise::expm1, ""),
    ("LogicalNot", elementwise::logical_not, ""),
    ("Cast", elementwise::cast, ""),
    ("ConvertToTensor", elementwise::pass_on, ""),
    ("Array", elementwise::pass_on, ""),
    ("Copy", elementwise::pass_on, ""),
    ("StopGradient", elementwise::pass_on, ""),
    // Activations.
    ("Relu", activation::named, "relu"),
    ("Relu6", activation::named, "relu6"),
    ("Selu", activation::named, "selu"),
    ("Sigmoid", activation::named, "sigmoid"),
    ("Tanh", activation::named, "tanh"),
    ("Softplus", activation::named, "softplus"),
    ("Softsign", activation::named, "softsign"),
    ("Silu", activation::named, "silu"),
    ("Mish", activation::named, "mish"),
    ("HardSilu", activation::named, "hard_silu"),
    ("HardSigmoid", activation::named, "hard_sigmoid"),
    ("ReLU", activation::relu, ""),
    ("LeakyRelu", activation::leaky_relu, ""),
    ("Elu", activation::elu, ""),
    ("Gelu", activation::gelu, ""),
    ("Softmax", activation::softmax, ""),
    ("LogSoftmax", activation::log_softmax, ""),
    ("LogSigmoid", activation::named, "log_sigmoid"),
    ("HardTanh", activation::named, "hard_tanh"),
    ("TanhShrink", activation::named, "tanh_shrink"),
    ("SparsePlus", activation::named, "sparse_plus"),
    ("SparseSigmoid", activation::named, "sparse_sigmoid"),
    ("Celu", activation::celu, ""),
    ("SoftShrink", activation::soft_shrink, ""),
    ("HardShrink", activation::hard_shrink, ""),
    ("Squareplus", activation::squareplus, ""),
    // Along axes.
    ("Mean", reduce::reduce, "ReduceMean"),
    ("Sum", reduce::reduce, "ReduceSum"),
    ("Max", reduce::reduce, "ReduceMax"),
    ("Amax", reduce::reduce, "ReduceMax"),
    ("Min", reduce::reduce, "ReduceMin"),
    ("Amin", reduce::reduce, "ReduceMin"),
    ("Prod", reduce::reduce, "ReduceProd"),
    ("Logsumexp", reduce::reduce, "ReduceLogSumExp"),
    ("Any", reduce::flags, "ReduceMax"),
    ("All", reduce::flags, "ReduceMin"),
    ("Norm", reduce::norm, ""),
    ("Var", reduce::variance, ""),
    ("Std", reduce::deviation, ""),
    ("Moments", reduce::moments, ""),
    ("Argmax", reduce::position, "ArgMax"),
    ("Argmin", reduce::position, "ArgMin"),
    ("Normalize", reduce::normalize, ""),
    ("L2Normalize", reduce::l2_normalize, ""),
    // Matrices.
    ("Matmul", matrix::matmul, ""),
    ("Einsum", matrix::einsum, ""),
    ("RGBToGrayscale", matrix::gray, ""),
    // Parts of a tensor.
    ("GetItem", index::item, ""),
    ("Take", index::take, ""),
    ("Split", part::split, ""),
    ("Unstack", part::unstack, ""),
    ("Flip", part::flip, ""),
    ("Slice", part::slice, ""),
    ("Repeat", index::repeat, ""),
    ("GrayscaleToRGB", index::color, ""),
    // As layers.
    ("MaxPool", layer::pool, "MaxPooling2D"),
    ("AveragePool", layer::pool, "AveragePooling2D"),
    ("Resize", layer::resize, ""),
    // Shapes.
    ("Reshape", shape::reshape, ""),
    ("Transpose", shape::transpose, ""),
    ("Swapaxes", shape::swap_axes, ""),
    ("Moveaxis", shape::move_axis, ""),
    ("ExpandDims", shape::expand_dims, ""),
    ("Squeeze", shape::squeeze, ""),
    ("Flatten", shape::flatten, ""),
    ("Concatenate", join::concatenate, ""),
    ("Stack", join::stack, ""),
    ("Pad", join::pad, ""),
    ("Tile", join::tile, ""),
    ("BroadcastTo", join::broadcast_to, ""),
    ("Shape", shape::shape, ""),
];
