"""Writes small Keras models of operations between layers, and what Keras predicts for them, for the tests of `fer convert`.

    python3 scripts/keras/operation_goldens.py [-o tests/golden/operations]

`NAME.k3.keras` are models of Keras 3 with its operations, `NAME.k2.keras` and `NAME.k2.h5` those of tf-keras with
TensorFlow's functions. Most return the results of many operations side by side, so that no difference can hide.
`operations.safetensors` has for each model `FILE/images`, float32 `[2, H, W, C]`, and `FILE/OUTPUT`, float32 `[2, values]`,
for each output. Weights are drawn at random, the same on every run.
"""

import env

env.enter()

import argparse
import importlib.metadata
import os
import warnings
import zlib
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# One thread adds up in one order.
os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")

from files import compress, write
from load import UserError

import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf
import tf_keras
from keras import ops

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (6, 5, 3)
CONSTANT = np.array([0.5, 0.25, 1, 2], np.float32)


class Build:
    """What both versions of Keras share: `L`, their layers."""

    def __init__(self, library):
        self.keras, self.L = library, library.layers

    def conv(self, x, filters=4):
        return self.L.Conv2D(filters, 3, padding="same")(x)

    def row(self, tensors):
        """All values of all tensors side by side."""
        return self.L.Concatenate()([self.L.Flatten()(t) for t in tensors])

    def gate(self, x):
        """MobileNetV3's hard swish of operations and a layer."""
        return x * self.L.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)


# Keras 3: operations. Of two inputs, one has the channels first inside the converted model and one as Keras has them.


def unary(k, image):
    x = k.conv(image)
    positive = ops.abs(x) + 0.5
    functions = [
        ops.negative, ops.exp, ops.square, ops.sign, ops.floor, ops.ceil, ops.round, ops.sin, ops.cos, ops.tanh, ops.erf, ops.expm1,
        ops.relu, ops.relu6, ops.selu, ops.elu, ops.silu, ops.gelu, ops.softmax, ops.log_softmax, ops.softplus, ops.softsign,
        ops.leaky_relu, ops.log_sigmoid, ops.sigmoid, ops.hard_sigmoid, ops.hard_silu, ops.hard_tanh, ops.stop_gradient, ops.copy,
    ]
    results = [function(x) for function in functions]
    results += [function(positive) for function in (ops.sqrt, ops.log, ops.rsqrt, ops.reciprocal, ops.log1p)]
    results += [keras.activations.relu(x, negative_slope=0.1, max_value=0.3, threshold=0.05), ops.clip(x, -0.1, 0.3)]
    results += [ops.cast(ops.cast(x * 3, "int32"), "float32"), ops.softmax(x, axis=1)]
    return k.row(results)


def binary(k, image):
    x, y, other = k.conv(image), k.conv(image), ops.concatenate([image, image[..., :1]], axis=-1)
    positive, small = ops.abs(y) + 0.5, k.L.GlobalAveragePooling2D(keepdims=True)(y)
    flat, flat_other = k.L.Flatten()(x), k.L.Flatten()(other)
    grid = np.linspace(0.5, 2, 30, dtype=np.float32).reshape(6, 5, 1)
    results = [
        x + y, x - other, other * x, x / positive, positive**2, ops.power(positive, positive), ops.maximum(x, 0.1), ops.minimum(x, other),
        1 - x, 2 / positive, x - CONSTANT, ops.multiply(CONSTANT, x), x * grid, small * grid, x * small, other * small, x // positive, x % positive,
        ops.divide_no_nan(x, ops.relu(ops.sign(y))), flat + flat_other, flat * np.linspace(0, 1, 120, dtype=np.float32), ops.add(x1=x, x2=y),
        x + CONSTANT.reshape(1, 1, 1, 4), x[:, :, :1] * other[:, :1, :, :1],
    ]
    return k.row(results)


def compare(k, image):
    x, y = k.conv(image), k.conv(image)
    flags = [x > y, x >= y, x < 0.1, x <= y, ops.equal(x, x), ops.not_equal(x, y), ops.logical_and(x > 0, y > 0)]
    flags += [ops.logical_or(x > 0, y > 0), ops.logical_xor(x > 0, y > 0), ops.logical_not(x > 0), ops.any(x > 0.5, axis=-1), ops.all(x > -1, axis=1)]
    chosen = [ops.where(x > y, x, 0.5), ops.where(image[..., :1] > 0.2, x, y[:, :1]), (x > 0.2) * x]
    return k.row([ops.cast(flag, "float32") for flag in flags] + chosen)


def reduce(k, image):
    x = k.conv(image)
    functions = [ops.mean, ops.sum, ops.max, ops.min, ops.prod, ops.std, ops.var, ops.logsumexp]
    results = [f(x, axis=axis, keepdims=keep) for f in functions for axis in (-1, 1, (1, 2)) for keep in (True, False)]
    results += [ops.cast(f(x, axis=-1), "float32") for f in (ops.argmax, ops.argmin)]
    results += [ops.normalize(x, axis=-1), ops.norm(x, axis=-1), *ops.moments(x, axes=[1, 2]), ops.mean(k.L.Flatten()(x), axis=-1, keepdims=True)]
    return k.row(results)


def index(k, image):
    x = k.conv(image)
    first, second = ops.split(x, 2, axis=-1)
    part = ops.split(x, [1, 3], axis=1)[1]
    flat = k.L.Flatten()(x)
    results = [
        x[..., ::-1], x[:, 1:-1, ::2], x[:, ::-2], x[:, 2], x[:, -1, :, 1], x[..., 0], x[:, None, ..., 0], flat[:, 5:77:3], flat[:, 7],
        k.L.GlobalAveragePooling2D()(x)[:, None, None] * x, first * second, part, ops.unstack(x, axis=2)[1], ops.take(x, [2, 0, -1], axis=-1),
        ops.take(x, 1, axis=1), ops.flip(x, axis=(1, -1)), ops.repeat(x, 2, axis=1), ops.repeat(x, [1, 2, 0, 3], axis=-1),
    ]
    return k.row([ops.expand_dims(r, -1) if len(r.shape) == 1 else r for r in results])


def shapes(k, image):
    x = k.conv(image)
    shuffled = ops.reshape(ops.transpose(ops.reshape(x, (-1, 6, 5, 2, 2)), (0, 1, 2, 4, 3)), (-1, 6, 5, 4))
    first = ops.transpose(x, (0, 3, 1, 2))
    results = [
        first, ops.transpose(x, (0, 2, 1, 3)), k.conv(ops.transpose(first, (0, 2, 3, 1))), shuffled, ops.swapaxes(x, 1, -1),
        ops.moveaxis(x, (1, 2), (3, 1)), ops.squeeze(ops.mean(x, axis=(1, 2), keepdims=True), axis=(1, 2)), ops.expand_dims(x, (1, -1)),
        ops.concatenate([x, image], axis=-1), ops.concatenate([x, x], axis=1), ops.stack([x, x + 1], axis=1), ops.stack([x[..., 0], image[..., 1]], axis=-1),
        ops.pad(x, ((0, 0), (1, 2), (0, 1), (2, 0))), ops.pad(x, ((0, 0), (1, 2), (0, 1), (2, 0)), mode="reflect"),
        ops.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=2.5), ops.tile(x, (1, 2, 1, 3)), ops.reshape(x, (-1, 30, 4)),
    ]
    return k.row(results)


def matrix(k, image):
    x = k.conv(image)
    rows = ops.reshape(x, (-1, 30, 4))
    factor = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    attention = ops.softmax(ops.matmul(rows, ops.swapaxes(rows, 1, 2)) * 0.5)
    results = [
        ops.matmul(attention, rows), ops.matmul(x, factor), ops.matmul(factor.T, ops.transpose(rows, (0, 2, 1))), ops.einsum("bhwc,bhwd->bcd", x, image),
        ops.matmul(k.L.GlobalAveragePooling2D()(x), factor), ops.image.rgb_to_grayscale(image), ops.average_pool(x, 2, padding="same"),
        ops.max_pool(x, 2, strides=1), ops.image.resize(x, (9, 8)), ops.image.resize(x, (12, 10), interpolation="nearest"),
    ]
    return k.row(results)


def cbam(k, image):
    """Attention to channels, then to places (Woo et al. 2018), by operations."""
    x = k.conv(image, 8)
    hidden, back = k.L.Dense(2, activation="relu"), k.L.Dense(8)
    both = back(hidden(ops.mean(x, axis=(1, 2)))) + back(hidden(ops.max(x, axis=(1, 2))))
    x = x * ops.expand_dims(ops.expand_dims(ops.sigmoid(both), 1), 1)
    places = ops.concatenate([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)], axis=-1)
    x = x * k.L.Conv2D(1, 7, padding="same", activation="sigmoid")(places)
    return k.L.Dense(7, activation="softmax")(k.L.Flatten()(ops.relu(x + k.gate(k.conv(x, 8)))))


def channels_first(k, image):
    x = k.L.Conv2D(4, 1, data_format="channels_first")(image)
    weights = ops.mean(x, axis=(2, 3), keepdims=True)
    joined = ops.concatenate([x * weights, ops.max(x, axis=1, keepdims=True)], axis=1)
    return k.row([joined, x - np.linspace(0, 1, 4, dtype=np.float32).reshape(4, 1, 1), x[:, ::-1], ops.transpose(x, (0, 2, 3, 1))])


def several(k, image):
    """Two outputs; only one of them ends in something that can be converted."""
    flat = k.L.Flatten()(k.conv(image))
    counted = k.L.Dense(1, name="age")(k.L.LSTM(2)(k.L.Reshape((-1, 4))(flat)))
    return [k.L.Dense(7, activation="softmax", name="emotion")(flat), k.L.Dense(2, activation="softmax", name="smile")(flat), counted]


def any_size(k, image):
    x = k.L.GlobalAveragePooling2D()(k.conv(k.conv(image)[:, 1:-1]))
    return k.L.Dense(7, activation="softmax")(x)


def preprocessed(mode):
    def build(k, image):
        inner = k.keras.applications.imagenet_utils.preprocess_input(image, mode=mode)
        return k.L.Dense(7, activation="softmax")(k.L.GlobalAveragePooling2D()(k.conv(inner)))

    build.__name__ = f"preprocess_{mode}"
    return build


# Keras 2: functions of TensorFlow.


def unary_2(k, image):
    x = k.conv(image)
    positive = tf.abs(x) + 0.5
    functions = [
        tf.negative, tf.exp, tf.square, tf.sign, tf.floor, tf.math.ceil, tf.round, tf.sin, tf.cos, tf.tanh, tf.math.erf, tf.math.expm1,
        tf.nn.relu, tf.nn.relu6, tf.nn.selu, tf.nn.elu, tf.nn.silu, tf.nn.gelu, tf.nn.softmax, tf.nn.log_softmax, tf.nn.softplus, tf.nn.softsign,
        tf.nn.leaky_relu, tf.math.log_sigmoid, tf.sigmoid, tf.identity, tf.stop_gradient, k.keras.backend.batch_flatten,
    ]
    results = [function(x) for function in functions]
    results += [function(positive) for function in (tf.sqrt, tf.math.log, tf.math.rsqrt, tf.math.reciprocal, tf.math.log1p)]
    return k.row(results + [tf.cast(tf.cast(x * 3, tf.int32), tf.float32), tf.clip_by_value(x, 0, 0.2), k.gate(x)])


def binary_2(k, image):
    x, y = k.conv(image), k.conv(image)
    positive = tf.abs(y) + 0.5
    flags = [x > y, x >= y, x < 0.1, x <= y, tf.equal(x, x), tf.not_equal(x, y), tf.logical_and(x > 0, y > 0), tf.logical_not(x > 0)]
    results = [
        x + y, x - y, x * y, x / positive, tf.pow(positive, positive), positive**2, tf.maximum(x, y), tf.minimum(x, 0.1),
        tf.math.squared_difference(x, y), 1 - x, 2 / positive, x - CONSTANT, CONSTANT - x, x * [1.0, 2.0, 3.0, 4.0], x // positive, x % positive,
        tf.math.divide_no_nan(x, tf.nn.relu(tf.sign(y))), -x, tf.nn.bias_add(x, CONSTANT), tf.add(x=x, y=y), tf.math.add_n([x, y, y]),
        tf.where(x > y, x, 0.0), tf.where(x > y, x=x, y=y),
    ]
    return k.row(results + [tf.cast(flag, tf.float32) for flag in flags])


def reduce_2(k, image):
    x = k.conv(image)
    functions = [tf.reduce_mean, tf.reduce_sum, tf.reduce_max, tf.reduce_min, tf.reduce_prod, tf.math.reduce_std, tf.math.reduce_variance, k.keras.backend.mean]
    results = [f(x, axis=axis, keepdims=keep) for f in functions for axis in (-1, [1, 2]) for keep in (True, False)]
    results += [tf.cast(tf.argmax(x, axis=-1), tf.float32), tf.nn.l2_normalize(x, axis=-1), *tf.nn.moments(x, [1, 2]), tf.norm(x, axis=-1)]
    return k.row(results)


def shapes_2(k, image):
    x = k.conv(image)
    first, second = tf.split(x, 2, axis=-1)
    part = tf.split(x, [1, 2, 3], axis=1)[1]
    rows = tf.reshape(x, (-1, 30, 4))
    size = tf.shape(x)
    results = [
        x[:, :, :, ::-1], x[:, 1:-1, ::2], x[:, 2], x[:, :, 1, 2:3], x[:, :, :, 0], x[:, None], tf.stack([x[:, :, :, 0], x[:, :, :, 1]], axis=-1),
        tf.concat([first, second, first], -1), part, tf.unstack(x, axis=2)[1], tf.gather(x, [2, 0], axis=-1), tf.slice(x, [0, 1, 2, 0], [-1, 3, 2, -1]),
        tf.transpose(x, (0, 3, 1, 2)), tf.reshape(x, (size[0], -1)), tf.reshape(x, tf.stack([size[0], size[1] * size[2], 4])),
        tf.squeeze(tf.reduce_mean(x, axis=[1, 2], keepdims=True), [1, 2]), tf.expand_dims(x, -1), tf.tile(x, [1, 2, 1, 3]), tf.repeat(x, 2, axis=1),
        tf.pad(x, [[0, 0], [1, 2], [0, 1], [2, 0]]), tf.reverse(x, [1]), tf.matmul(rows, rows, transpose_b=True), tf.image.resize(image, (9, 8)),
        tf.nn.max_pool2d(x, 2, 2, "SAME"), tf.nn.avg_pool2d(x, 2, 1, "VALID"), tf.image.rgb_to_grayscale(image), tf.image.grayscale_to_rgb(image[:, :, :, :1]),
        tf.broadcast_to(tf.reduce_mean(x, axis=[1, 2], keepdims=True), size),
    ]
    return k.row(results)


KERAS_3 = [unary, binary, compare, reduce, index, shapes, matrix, cbam, channels_first, several, any_size]
KERAS_3 += [preprocessed(mode) for mode in ("tf", "torch", "caffe")]
# The `.keras` files of Keras 2 can't hold an ellipsis.
KERAS_2 = [(unary_2, "keras"), (binary_2, "keras"), (reduce_2, "keras"), (shapes_2, "keras"), (preprocessed("caffe"), "h5")]


def main():
    options = arguments()
    tensors = {}
    for build in KERAS_3:
        add(tensors, Build(keras), build, options.output / f"{build.__name__}.k3.keras")
    # Keras writes such files and can't read them.
    add(tensors, Build(keras), cbam, options.output / "cbam.k3.h5")
    for build, form in KERAS_2:
        add(tensors, Build(tf_keras), build, options.output / f"{build.__name__.removesuffix('_2')}.k2.{form}")
    made_by = f"scripts/keras/operation_goldens.py with Keras {keras.__version__}, tf-keras {importlib.metadata.version('tf-keras')}"
    write(options.output / "operations.safetensors", safetensors.numpy.save(tensors, {"made_by": made_by}))
    print(f"{options.output}: {sum(file.stat().st_size for file in options.output.iterdir()):,} bytes")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default=ROOT / "tests/golden/operations", type=Path, metavar="FOLDER",
                        help="default: tests/golden/operations of the repository")
    return parser.parse_args()


def add(tensors, k, build, file):
    k.keras.backend.clear_session()
    random = np.random.default_rng(zlib.crc32(file.name.encode()))
    shape = (3, 6, 5) if build is channels_first else SHAPE
    image = k.L.Input((None, None, 3) if build is any_size else shape)
    model = k.keras.Model(image, build(k, image))
    for layer in model.layers:
        layer.set_weights([random.normal(0, 0.3, w.shape).astype(np.float32) for w in layer.get_weights()])
    images = random.uniform(-0.5, 1.5, (2, *shape)).astype(np.float32)
    if build.__name__.startswith("preprocess"):
        images = np.floor(random.uniform(0, 256, images.shape)).astype(np.float32)
    outputs = model.predict_on_batch(images)
    names = [layer.name for layer in model.layers if layer.name in ("emotion", "smile", "age")]
    tensors[f"{file.name}/images"] = images
    for name, output in zip(names or ["output"], outputs if names else [outputs]):
        tensors[f"{file.name}/{name}"] = np.asarray(output)
    file.parent.mkdir(parents=True, exist_ok=True)
    model.save(file)
    if file.suffix == ".keras":
        compress(file)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
