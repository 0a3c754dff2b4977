"""Writes small Keras models, images and what Keras answers for them: the expectation of the tests of `fer convert`.

    python3 scripts/keras/convert_goldens.py [-o tests/golden/convert]
    FER_PYTHON=python-with-tensorflow-2.15 python3 scripts/keras/convert_goldens.py

Between them, the models have every layer and option that `fer convert` knows. They are saved as the version of Keras at hand
saves them: with Keras 3 by env.py, and with the Keras 2 of another interpreter in FER_PYTHON (`pip install
tensorflow-cpu==2.15.1 safetensors`). `NAME.k3.keras`, `NAME.k2.h5` and so on are the models; `k3.safetensors` has for each
`NAME/pixels`, u8 `[3, H, W, C]`, which go in divided by 255, and `NAME/answers`, float32 `[3, classes]`, as the model gives
them; which versions made it is in its metadata. Weights are drawn at random, the same on every run.
"""

import env

env.enter()

import argparse
import os
import zlib
from pathlib import Path

# One thread adds up in one order.
os.environ["OMP_NUM_THREADS"] = "1"

from files import compress, write
from load import UserError

import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

L = keras.layers
ROOT = Path(__file__).resolve().parents[2]
KERAS_3 = int(keras.__version__.split(".")[0]) >= 3
SIZE = (10, 8, 3)


def head(x, classes=3):
    return L.Dense(classes, activation="softmax")(x)


def plain():
    """The notebook's kind; a batch normalization that can be folded and some that can not."""
    return keras.Sequential([
        L.Input(SIZE), L.Conv2D(4, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling2D(),
        L.Dropout(0.25), L.Conv2D(5, (3, 2), use_bias=False), L.BatchNormalization(), L.ReLU(), L.SpatialDropout2D(0.1),
        L.Flatten(), L.Dense(6, activation="relu"), L.BatchNormalization(), L.GaussianDropout(0.1), L.Dense(5, use_bias=False),
        L.BatchNormalization(), L.GaussianNoise(0.1), L.Dense(7, activation="softmax"),
    ], name="plain")


def windows():
    """Strides, dilation, even kernels, uneven padding."""
    image = L.Input((11, 10, 1))
    x = L.Conv2D(4, 3, strides=2, padding="same", activation="tanh")(image)
    a = L.Conv2D(3, (2, 3), padding="same", dilation_rate=2)(x)
    b = L.Conv2D(3, 4, padding="same")(x)
    c = L.AveragePooling2D(3, strides=1, padding="same")(x)
    d = L.MaxPooling2D((2, 3), strides=1, padding="same")(x)
    e = L.AveragePooling2D(2, strides=1, padding="same")(x)
    x = L.Concatenate()([a, b, c, d, e])
    a = L.MaxPooling2D(3, strides=2, padding="same")(x)
    b = L.AveragePooling2D((4, 3), strides=2, padding="same")(x)
    c = L.AveragePooling2D((2, 1), strides=(2, 2))(x)
    c = L.ZeroPadding2D(((0, 0), (0, 0)))(c)
    return keras.Model(image, head(L.Concatenate()([L.Flatten()(t) for t in (a, b, c)])))


def separable():
    return keras.Sequential([
        L.Input(SIZE), L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu"),
        L.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2, activation="elu"),
        L.SeparableConv2D(4, (2, 3), use_bias=False), L.BatchNormalization(), L.DepthwiseConv2D((1, 2), use_bias=False),
        L.BatchNormalization(), L.Flatten(), L.Dense(3), L.Softmax(),
    ])


def activations():
    image = L.Input(SIZE)
    x = L.Conv2D(2, 3)(image)
    names = ["linear", "relu", "relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "softsign", "exponential",
             "mish", "swish", "silu", "hard_sigmoid", "gelu", "softmax"]
    names += ["hard_silu", "log_softmax"] if KERAS_3 else []
    branches = [L.Activation(name)(x) for name in names]
    branches += [
        L.ReLU(max_value=0.5)(x), L.ReLU(negative_slope=0.1)(x), L.ReLU(threshold=0.2)(x),
        L.ReLU(max_value=0.7, negative_slope=0.3, threshold=0.1)(x), L.LeakyReLU()(x), L.LeakyReLU(0.05)(x), L.ELU(0.5)(x),
        L.PReLU()(x), L.PReLU(shared_axes=[1, 2])(x), L.Softmax(axis=1)(x),
        L.Conv2D(2, 1, activation=L.LeakyReLU(0.4))(x), L.Conv2D(2, 1, activation=keras.activations.gelu)(x),
    ]
    x = L.GlobalAveragePooling2D()(L.Concatenate()(branches))
    x = L.PReLU()(L.Dense(4)(x))
    return keras.Model(image, head(x))


def pooling():
    image = L.Input(SIZE)
    x = L.Conv2D(4, 3, activation="relu")(image)
    kept = L.GlobalAveragePooling2D(keepdims=True)(x)
    gate = L.Conv2D(4, 1, activation="sigmoid")(kept)
    x = L.Multiply()([x, gate])
    high = L.GlobalMaxPooling2D(keepdims=True)(x)
    return keras.Model(image, head(L.Concatenate()([L.GlobalMaxPooling2D()(x), L.GlobalAveragePooling2D()(x), L.Flatten()(high)])))


def shapes():
    image = L.Input((6, 5, 2 + 1))
    x = L.ZeroPadding2D(((1, 2), (0, 3)))(image)
    x = L.Conv2D(4, 2)(L.ZeroPadding2D(1)(x))
    x = L.Cropping2D(((1, 0), (2, 1)))(x)
    a = L.UpSampling2D((2, 3))(x)
    b = L.UpSampling2D((2, 3), interpolation="bilinear")(x)
    x = L.AveragePooling2D((2, 3))(L.Add()([a, b]))
    x = L.Permute((3, 1, 2))(x)
    x = L.Reshape((-1, 4, 2))(x)
    x = L.Conv2D(3, 2, activation="relu")(x)
    x = L.Reshape((-1, 3))(x)
    x = L.Permute((2, 1))(x)
    return keras.Model(image, head(L.Flatten()(x)))


def merges():
    image = L.Input(SIZE)
    x = L.Conv2D(4, 3, padding="same")(image)
    y = L.Conv2D(4, 1)(image)
    z = L.Conv2D(4, 3, padding="same", activation="relu")(image)
    row = L.Dense(4)(L.GlobalAveragePooling2D()(z))
    x = L.Concatenate()([
        L.Add()([x, y, z]), L.Subtract()([x, z]), L.Multiply()([x, y]), L.Average()([x, y, z]), L.Maximum()([x, y]),
        L.Minimum()([x, y, z]), L.Multiply()([x, L.Reshape((1, 1, 4))(row)]), L.Add()([y, z]),
    ])
    tall = L.Concatenate(axis=1)([x, x])
    flat = L.Concatenate()([L.Flatten()(L.MaxPooling2D(4)(tall)), row])
    twice = L.Add()([L.Flatten()(y), L.Flatten()(z)])
    return keras.Model(image, head(L.Concatenate()([flat, L.Dense(2)(twice)])))


def normalising():
    image = L.Input(SIZE)
    known = L.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06])(L.Rescaling(1.5, offset=-0.25)(image))
    adapted = L.Normalization(name="adapted")
    adapted.adapt(np.random.default_rng(5).random((20, *SIZE), dtype=np.float32))
    x = L.Concatenate()([known, adapted(image), L.Normalization(axis=None, mean=0.5, variance=0.1)(image)])
    x = L.Conv2D(4, 3)(x)
    x = L.BatchNormalization(scale=False)(x)
    x = L.BatchNormalization(center=False, epsilon=0.01)(L.Activation("relu")(x))
    x = L.LayerNormalization()(x)
    x = L.Conv2D(3, 3, activation="relu")(x)
    x = L.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5)(x)
    x = L.BatchNormalization(axis=1)(x)
    x = L.LayerNormalization(axis=1, scale=False)(x)
    x = L.BatchNormalization()(L.Flatten()(x))
    return keras.Model(image, head(L.LayerNormalization(center=False)(x)))


def nested():
    """Models in models, and one that is called twice; layers of one name in two of them, which Keras 2 can't save as .h5."""
    inner = keras.Sequential([L.Input((8, 6, 4)), L.Conv2D(4, 1, name="mix" if KERAS_3 else "blend"), L.BatchNormalization(), L.ReLU()], name="inner")
    start = L.Input((8, 6, 4))
    deep = keras.Model(start, L.Add()([start, inner(L.Conv2D(4, 3, padding="same", name="mix")(start))]), name="deep")
    image = L.Input(SIZE)
    shared = L.Conv2D(4, 3, name="shared")
    x = shared(image)
    x = deep(deep(x))
    x = L.Conv2D(4, 1)(x)
    step = L.Conv2D(4, 3, padding="same", activation="relu", name="step")
    return keras.Model(image, head(L.GlobalAveragePooling2D()(step(step(x)))))


def transfer():
    """A base with a head on it."""
    start = L.Input(SIZE)
    x = L.ZeroPadding2D(((0, 1), (0, 1)))(start)
    x = L.DepthwiseConv2D(3, strides=2, use_bias=False)(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    x = L.BatchNormalization()(L.Conv2D(3, 1, use_bias=False)(x))
    base = keras.Model(start, x, name="base")
    base.trainable = False
    return keras.Sequential([L.Input(SIZE), base, L.GlobalAveragePooling2D(), L.Dropout(0.2), L.Dense(4)])


def rows():
    """Dense layers along the last axis of an image and of a sequence."""
    image = L.Input((4, 4, 1))
    x = L.Dense(5, activation="gelu")(image)
    x = L.Conv2D(6, 2)(x)
    x = L.Dense(4, use_bias=False)(x)
    x = L.Reshape((9, 4))(x)
    x = L.LayerNormalization()(L.Dense(4, activation="softmax")(x))
    return keras.Model(image, head(L.Flatten()(L.Softmax(axis=1)(x))))


def mini_xception():
    """Mini-Xception for FER (Arriaga et al. 2017) with a quarter of its filters."""
    image = L.Input((48, 48, 1))
    x = image
    for _ in range(2):
        x = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(2, 3, use_bias=False)(x)))
    for filters in (4, 8, 8, 12):
        short = L.BatchNormalization()(L.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x))
        x = L.BatchNormalization()(L.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x))
        x = L.Activation("relu")(x)
        x = L.BatchNormalization()(L.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x))
        x = L.Add()([L.MaxPooling2D(3, strides=2, padding="same")(x), short])
    x = L.GlobalAveragePooling2D()(L.Conv2D(7, 3, padding="same")(x))
    return keras.Model(image, L.Activation("softmax", name="predictions")(x))


def channels_first():
    first = {"data_format": "channels_first"}
    image = L.Input((3, 10, 8))
    x = L.Conv2D(4, 3, padding="same", activation="relu", **first)(image)
    x = L.BatchNormalization(axis=1)(x)
    x = L.MaxPooling2D(**first)(x)
    x = L.PReLU(shared_axes=[2, 3])(L.SeparableConv2D(6, 3, padding="same", **first)(x))
    x = L.Concatenate(axis=1)([x, L.ZeroPadding2D(1, **first)(L.Cropping2D(1, **first)(x)), L.DepthwiseConv2D(3, padding="same", **first)(x)])
    x = L.AveragePooling2D(2, **first)(L.UpSampling2D(2, **first)(x))
    flat = L.Flatten(**first)(x)
    return keras.Model(image, head(L.Concatenate()([flat, L.GlobalAveragePooling2D(**first)(x), L.GlobalMaxPooling2D(**first)(x)])))


def grouped():
    return keras.Sequential([
        L.Input((6, 6, 1)), L.Conv2D(4, 1), L.Conv2D(6, 3, groups=2, activation="relu"), L.Conv2D(3, 2, groups=3), L.Flatten(),
        L.Dense(3, activation="softmax"),
    ])


# What the models are saved as: every one in the main form of its Keras, some in the other one too.
MODELS = [plain, windows, separable, activations, pooling, shapes, merges, normalising, nested, transfer, rows,
          mini_xception, grouped]
# On the CPU, TensorFlow 2.15 answers for channels_first data now this, now that.
MODELS += [channels_first] if KERAS_3 else []
BOTH = [plain, nested, normalising, transfer]


def main():
    options = arguments()
    version = "k3" if KERAS_3 else "k2"
    tensors = {}
    for build in MODELS:
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        model, name = build(), build.__name__
        draw_weights(model, name)
        pixels = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (3, *model.input_shape[1:]), np.uint8)
        images = pixels.astype(np.float32) * np.float32(1 / 255)
        tensors[f"{name}/pixels"], tensors[f"{name}/answers"] = pixels, np.asarray(model(images, training=False))
        forms = ["keras", "h5"] if build in BOTH else ["keras" if KERAS_3 else "h5"]
        for form in forms:
            save(model, options.output / f"{name}.{version}.{form}")
        if build is plain:
            model.save_weights(options.output / f"{name}.{version}.weights.h5")
            write(options.output / f"{name}.{version}.json", model.to_json().encode())
            if not KERAS_3:
                model.save_weights(options.output / f"{name}.{version}.legacy.h5")
    made_by = f"scripts/keras/convert_goldens.py with Keras {keras.__version__}, TensorFlow {tf.__version__}"
    write(options.output / f"{version}.safetensors", safetensors.numpy.save(tensors, {"made_by": made_by}))
    sizes = sum(file.stat().st_size for file in options.output.iterdir())
    print(f"{options.output}: {sizes:,} bytes in all, {len(MODELS)} models by Keras {keras.__version__}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default=ROOT / "tests/golden/convert", type=Path, metavar="FOLDER",
                        help="default: tests/golden/convert of the repository")
    return parser.parse_args()


def draw_weights(model, name):
    """Random weights, with variances from 0.5 up, that differ from layer to layer."""
    random = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    for layer in flat_layers(model):
        if not isinstance(layer, L.Normalization):
            layer.set_weights([draw(random, weight) for weight in layer.weights])


def draw(random, weight):
    shape = tuple(weight.shape)
    if "variance" in weight.name:
        return random.uniform(0.5, 2, shape)
    if "gamma" in weight.name:
        return random.uniform(0.5, 1.5, shape)
    fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 4
    return random.normal(0, 1, shape) * min(1.0, 1.5 / np.sqrt(fan_in))


def flat_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer


def save(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    if path.suffix == ".keras" and model.name != "plain":
        compress(path)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
