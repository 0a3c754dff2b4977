//! TensorFlow's functions, as Keras 2 names them in `TFOpLambda`, as Keras 3's operations.

/// Other names of arguments, with those of Keras 3. The first argument needs none: it is always
/// given by position.
type Names = &'static [(&'static str, &'static str)];

const NONE: Names = &[];
const BINARY: Names = &[("y", "x2")];
const REDUCTION: Names = &[("keep_dims", "keepdims"), ("reduction_indices", "axis")];

/// A function's operation in Keras 3, and the names of its arguments.
pub(super) fn translate(function: &str) -> Option<(&'static str, Names)> {
    // `compat.v1` has the same functions, some with arguments of more names.
    let function = function.strip_prefix("compat.v1.").unwrap_or(function);
    let found = |rows: &'static [(&str, &str)]| {
        rows.iter()
            .find(|(name, _)| *name == function)
            .map(|(_, class)| *class)
    };
    if let Some(class) = found(UNARY) {
        return Some((class, NONE));
    }
    if let Some(class) = found(PAIRS) {
        return Some((class, BINARY));
    }
    if let Some(class) = found(REDUCTIONS) {
        return Some((class, REDUCTION));
    }
    OTHERS
        .iter()
        .find(|(name, ..)| *name == function)
        .map(|(_, class, names)| (*class, *names))
}

const UNARY: &[(&str, &str)] = &[
    ("math.negative", "Negative"),
    ("math.abs", "Absolute"),
    ("math.exp", "Exp"),
    ("math.log", "Log"),
    ("math.log1p", "Log1p"),
    ("math.expm1", "Expm1"),
    ("math.sqrt", "Sqrt"),
    ("math.rsqrt", "Rsqrt"),
    ("math.square", "Square"),
    ("math.reciprocal", "Reciprocal"),
    ("math.sign", "Sign"),
    ("math.floor", "Floor"),
    ("math.ceil", "Ceil"),
    ("math.round", "Round"),
    ("math.sin", "Sin"),
    ("math.cos", "Cos"),
    ("math.tan", "Tan"),
    ("math.asin", "Arcsin"),
    ("math.acos", "Arccos"),
    ("math.atan", "Arctan"),
    ("math.sinh", "Sinh"),
    ("math.cosh", "Cosh"),
    ("math.erf", "Erf"),
    ("math.logical_not", "LogicalNot"),
    ("math.tanh", "Tanh"),
    ("nn.tanh", "Tanh"),
    ("math.sigmoid", "Sigmoid"),
    ("nn.sigmoid", "Sigmoid"),
    ("math.log_sigmoid", "LogSigmoid"),
    ("math.softplus", "Softplus"),
    ("nn.softplus", "Softplus"),
    ("nn.softsign", "Softsign"),
    ("nn.relu", "Relu"),
    ("nn.relu6", "Relu6"),
    ("nn.selu", "Selu"),
    ("nn.elu", "Elu"),
    ("nn.silu", "Silu"),
    ("nn.swish", "Silu"),
    ("nn.gelu", "Gelu"),
    ("nn.softmax", "Softmax"),
    ("math.softmax", "Softmax"),
    ("nn.log_softmax", "LogSoftmax"),
    ("math.log_softmax", "LogSoftmax"),
    ("identity", "Copy"),
    ("stop_gradient", "StopGradient"),
    ("convert_to_tensor", "ConvertToTensor"),
    ("constant", "ConvertToTensor"),
    ("cast", "Cast"),
    ("shape", "Shape"),
    ("unstack", "Unstack"),
    ("stack", "Stack"),
    ("concat", "Concatenate"),
    ("expand_dims", "ExpandDims"),
    ("repeat", "Repeat"),
    ("broadcast_to", "BroadcastTo"),
    ("image.grayscale_to_rgb", "GrayscaleToRGB"),
    ("image.rgb_to_grayscale", "RGBToGrayscale"),
    ("math.l2_normalize", "L2Normalize"),
    ("linalg.l2_normalize", "L2Normalize"),
    ("nn.l2_normalize", "L2Normalize"),
    ("nn.bias_add", "BiasAdd"),
    ("norm", "Norm"),
    ("math.add_n", "AddN"),
    ("keras.backend.batch_flatten", "Flatten"),
];

const PAIRS: &[(&str, &str)] = &[
    ("__operators__.add", "Add"),
    ("math.add", "Add"),
    ("math.subtract", "Subtract"),
    ("math.multiply", "Multiply"),
    ("math.truediv", "TrueDivide"),
    ("math.divide", "Divide"),
    ("realdiv", "Divide"),
    ("div", "Divide"),
    ("math.divide_no_nan", "DivideNoNan"),
    ("math.floordiv", "FloorDivide"),
    ("floor_div", "FloorDivide"),
    ("math.floormod", "Mod"),
    ("math.mod", "Mod"),
    ("math.pow", "Power"),
    ("math.maximum", "Maximum"),
    ("math.minimum", "Minimum"),
    ("math.squared_difference", "SquaredDifference"),
    ("math.greater", "Greater"),
    ("math.greater_equal", "GreaterEqual"),
    ("math.less", "Less"),
    ("math.less_equal", "LessEqual"),
    ("math.equal", "Equal"),
    ("__operators__.eq", "Equal"),
    ("math.not_equal", "NotEqual"),
    ("__operators__.ne", "NotEqual"),
    ("math.logical_and", "LogicalAnd"),
    ("math.logical_or", "LogicalOr"),
    ("math.logical_xor", "LogicalXor"),
];

const REDUCTIONS: &[(&str, &str)] = &[
    ("math.reduce_mean", "Mean"),
    ("reduce_mean", "Mean"),
    ("math.reduce_sum", "Sum"),
    ("reduce_sum", "Sum"),
    ("math.reduce_max", "Max"),
    ("reduce_max", "Max"),
    ("math.reduce_min", "Min"),
    ("reduce_min", "Min"),
    ("math.reduce_prod", "Prod"),
    ("reduce_prod", "Prod"),
    ("math.reduce_any", "Any"),
    ("reduce_any", "Any"),
    ("math.reduce_all", "All"),
    ("reduce_all", "All"),
    ("math.reduce_std", "Std"),
    ("math.reduce_variance", "Var"),
    ("math.reduce_logsumexp", "Logsumexp"),
    ("math.argmax", "Argmax"),
    ("argmax", "Argmax"),
    ("math.argmin", "Argmin"),
    ("argmin", "Argmin"),
    ("nn.moments", "Moments"),
];

const POOL: Names = &[("ksize", "pool_size")];

const OTHERS: &[(&str, &str, Names)] = &[
    ("__operators__.getitem", "GetItem", &[("slice_spec", "key")]),
    ("where", "Where", &[("x", "x1"), ("y", "x2")]),
    (
        "clip_by_value",
        "Clip",
        &[("clip_value_min", "x_min"), ("clip_value_max", "x_max")],
    ),
    ("nn.leaky_relu", "LeakyRelu", &[("alpha", "negative_slope")]),
    ("reshape", "Reshape", &[("shape", "newshape")]),
    ("transpose", "Transpose", &[("perm", "axes")]),
    ("squeeze", "Squeeze", &[("squeeze_dims", "axis")]),
    ("split", "Split", &[("num_or_size_splits", "sizes")]),
    ("gather", "Take", &[]),
    ("reverse", "Flip", &[]),
    ("tile", "Tile", &[("multiples", "repeats")]),
    ("pad", "Pad", &[("paddings", "pad_width")]),
    (
        "slice",
        "Slice",
        &[("begin", "start_indices"), ("size", "shape")],
    ),
    ("linalg.matmul", "Matmul", &[("b", "x2")]),
    ("nn.max_pool", "MaxPool", POOL),
    ("nn.max_pool2d", "MaxPool", POOL),
    ("nn.avg_pool", "AveragePool", POOL),
    ("nn.avg_pool2d", "AveragePool", POOL),
    ("image.resize", "Resize", &[("method", "interpolation")]),
];
