"""Writes small Keras models of rarer layers, and what Keras predicts for them, for the tests of `fer convert`.

    python3 scripts/keras/layer_goldens.py [-o tests/golden/layers]

As operation_goldens.py: `NAME.k3.keras` are models of Keras 3, `NAME.k2.keras` and `NAME.k2.h5` those of tf-keras, and most
return the results of many layers side by side. `layers.safetensors` has for each model `FILE/images`, float32
`[2, H, W, C]`, and `FILE/output`, float32 `[2, values]`. Weights are drawn at random, the same on every run.
"""

import env

env.enter()

import argparse
import importlib
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
import tf_keras

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (6, 5, 3)
METHODS = ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]
# Those that only Keras 2 has.
METHODS_2 = ["area", "gaussian", "mitchellcubic"]


def row(k, tensors):
    """All values of all tensors side by side."""
    return k.layers.Concatenate()([k.layers.Flatten()(t) for t in tensors])


def applications(k):
    """The layers that Keras defines beside its models, ConvNeXt's and Inception-ResNet's."""
    package = "keras.src" if k is keras else "tf_keras.src"
    load = lambda module: importlib.import_module(f"{package}.applications.{module}")
    return load("convnext").LayerScale, load("inception_resnet_v2").CustomScaleLayer


def resizing(k, image):
    L, three = k.layers, k is keras
    line, part = L.Cropping2D(((2, 3), (0, 0)))(image), L.Cropping2D(((1, 2), (1, 1)))(image)
    results = []
    for method in METHODS + ([] if three else METHODS_2):
        results += [L.Resizing(9, 4, method)(image), L.Resizing(4, 8, method, crop_to_aspect_ratio=True)(image)]
        results += [L.UpSampling2D((2, 3), interpolation=method)(x) for x in (part, line)]
        if three:
            results += [L.Resizing(4, 7, method, antialias=True)(image)]
    if three:
        results += [L.Resizing(*size, pad_to_aspect_ratio=True, fill_value=0.5)(image) for size in ((4, 9), (9, 4))]
    results += [L.CenterCrop(*size)(image) for size in ((3, 4), (4, 2), (7, 3), (5, 9))]
    results += [] if three else [L.RandomCrop(*size)(image) for size in ((3, 4), (7, 3))]
    return row(k, results)


def transposed(k, image):
    L = k.layers
    image = L.Cropping2D(((1, 2), (1, 0)))(image)
    results = []
    for padding in ("valid", "same"):
        for size, strides in ((1, 2), (2, 3), (3, 2), (5, 1), ((2, 3), (3, 1))):
            results.append(L.Conv2DTranspose(2, size, strides, padding, activation="tanh")(image))
        results.append(L.Conv2DTranspose(2, 3, 2, padding, output_padding=1, use_bias=False)(image))
    return row(k, results)


def normalized(k, image):
    L = k.layers
    x = L.Conv2D(6, 2)(image)
    options = [{}, {"axis": 3, "scale": False}, {"axis": 1, "groups": 5}, {"groups": -1, "epsilon": 0.1}, {"groups": 1, "center": False}]
    results = [L.GroupNormalization(**{"groups": 3, **more})(x) for more in options]
    results += [L.GroupNormalization(3)(L.Reshape((20, 6))(x)), L.GroupNormalization(2)(L.Flatten()(x))]
    scale, residual = applications(k)
    return row(k, [*results, residual(0.17)([x, scale(0.1, 6)(x)])])


def batches(k, image):
    """Normalizes batches over axes that are not the last, and the last of other ranks than an image's."""
    L = k.layers
    x = L.Conv2D(4, 2)(image)
    results = [L.BatchNormalization(axis)(x) for axis in (1, 2, -2)] + [L.BatchNormalization(2, center=False)(image)]
    results += [L.BatchNormalization(axis, scale=False)(L.Reshape((10, 9))(image)) for axis in (1, 2)]
    return row(k, [*results, L.BatchNormalization(3)(L.Reshape((5, 3, 3, 2))(image))])


def activated(k, image):
    """Every activation that only Keras 3 has and that has a default for each of its options."""
    L, ops = k.layers, k.ops
    image = image * 2 - 1
    names = ["celu", "hard_shrink", "hard_tanh", "log_sigmoid", "soft_shrink", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh_shrink"]
    results = [L.Activation(name)(image) for name in names] + [L.Dense(2, activation=name)(image) for name in names]
    results += [ops.celu(image, 0.4), ops.hard_shrink(image, 0.2), ops.soft_shrink(image, 0.1), ops.squareplus(image, 1)]
    return row(k, results + [getattr(ops, name)(image) for name in names])


def bfloat16(k, image):
    """With weights that are stored as bfloat16, for computation in float32."""
    L = k.layers
    x = L.BatchNormalization()(L.Conv2D(3, 2)(image))
    return L.Dense(4)(L.Flatten()(x))


def renamed(k, image):
    """A model in a model, some of whose layers are not trained, and whose layers were renamed after they were built."""
    L = k.layers
    layers = [L.Conv2D(3, 2, name="first"), L.BatchNormalization(name="b"), L.Conv2D(3, 2, padding="same", name="second"), L.BatchNormalization(name="d")]
    layers[0].trainable = layers[3].trainable = False
    inner = k.Sequential([L.Input(SHAPE), *layers, k.Sequential([L.Input((5, 4, 3)), L.Conv2D(3, 1)], name="innermost")], name="inner")
    for layer in layers:
        layer._name = f"{layer.name}_renamed"
    return L.Dense(4)(L.Flatten()(inner(image)))


def attention(k, image):
    L = k.layers
    x = L.Reshape((10, 9))(image)
    y = L.Dense(5)(L.Reshape((6, 15))(image))
    z = L.Dense(9)(y)
    results = [
        L.MultiHeadAttention(2, 4, dropout=0.1)(x, x), L.MultiHeadAttention(3, 2, value_dim=4, use_bias=False)(x, y),
        L.MultiHeadAttention(2, 3, output_shape=(2, 3))(query=x, value=z, key=y), L.MultiHeadAttention(2, 3)(image, image),
        L.MultiHeadAttention(2, 3, attention_axes=1)(image, image), L.MultiHeadAttention(2, 3, attention_axes=(2,))(image, image),
        L.Attention(use_scale=True)([x, z]), L.Attention()([y, z, y]),
    ]
    for axes, a, b in ((-1, x, z), ((2, 2), x, z), (1, y, z), ((3, 1), image, L.Dense(2)(L.Reshape((3, 30))(image))), (1, L.Flatten()(x), L.Flatten()(image))):
        results += [L.Dot(axes, normalize=normalize)([a, b]) for normalize in (False, True)]
    return row(k, results)


def nested(k, image):
    """Layers whose weights have names of their own, or none, in a model in a model."""
    L = k.layers
    scale, residual = applications(k)
    inner = L.Input((10, 9))
    x = scale(0.1, 9, name="first")(L.MultiHeadAttention(2, 3, name="seeing")(inner, inner))
    inner = k.Model(inner, residual(0.3)([inner, scale(0.1, 9, name="second")(x)]), name="inner")
    return L.Dense(4)(L.Flatten()(inner(inner(L.Reshape((10, 9))(image)))))


def training_only(k, image):
    L, three = k.layers, k is keras
    layers = [
        L.RandomFlip(), L.RandomRotation(0.2), L.RandomZoom(0.2), L.RandomTranslation(0.2, 0.2), L.RandomContrast(0.5), L.RandomBrightness(0.5),
        L.GaussianNoise(1), L.GaussianDropout(0.5), L.AlphaDropout(0.5), L.SpatialDropout2D(0.5), L.ActivityRegularization(0.1),
    ]
    if three:
        pixels = {"value_range": (0, 1)}
        layers += [
            L.RandomShear(0.5, 0.5), L.RandomErasing(1.0, **pixels), L.RandomHue(0.5, **pixels), L.RandomSaturation(0.5, **pixels), L.RandomGrayscale(1.0),
            L.RandomSharpness(0.5, **pixels), L.RandomInvert(1.0, **pixels), L.RandomPosterization(4, **pixels), L.RandomGaussianBlur(1.0, **pixels),
            L.RandomPerspective(1.0), L.RandomElasticTransform(1.0, **pixels), L.RandomColorDegeneration(0.5, **pixels), L.AugMix(**pixels), L.CutMix(),
            L.RandomColorJitter((0, 1), 0.5, 0.5, 0.5, 0.5), L.MixUp(), L.RandAugment(**pixels), L.Solarization(0.5, 0.5, **pixels),
        ]
    else:
        # These forget the image's size.
        layers += [L.RandomHeight(0.2), L.RandomWidth(0.2), L.Reshape(SHAPE)]
    x = image
    for layer in layers:
        x = layer(x)
    return L.Dense(4)(L.Flatten()(x))


def channels_first(k, image):
    L, first = k.layers, {"data_format": "channels_first"}
    x = L.GroupNormalization(3, axis=1)(L.UpSampling2D((2, 3), interpolation="bicubic", **first)(image))
    return row(k, [x, L.Resizing(4, 9, pad_to_aspect_ratio=True, **first)(image), L.CenterCrop(3, 2, **first)(image)])


def int8(k, image):
    """Quantized after its weights are drawn."""
    L = k.layers
    x = L.Dense(8, activation="relu")(L.Reshape((10, 9))(image))
    return L.Dense(7, activation="softmax", use_bias=False)(L.Flatten()(L.Dense(4)(x)))


MODELS = [(keras, build, "keras") for build in (resizing, transposed, normalized, batches, activated, bfloat16, attention, training_only, channels_first, int8)]
MODELS += [(tf_keras, build, "keras") for build in (resizing, normalized, batches, attention, training_only)]
MODELS += [(library, nested, "h5") for library in (keras, tf_keras)] + [(keras, int8, "h5"), (tf_keras, renamed, "h5")]


def main():
    options = arguments()
    tensors = {}
    for library, build, form in MODELS:
        version = "k3" if library is keras else "k2"
        add(tensors, library, build, options.output / f"{build.__name__}.{version}.{form}")
    made_by = f"scripts/keras/layer_goldens.py with Keras {keras.__version__}, tf-keras {importlib.metadata.version('tf-keras')}"
    write(options.output / "layers.safetensors", safetensors.numpy.save(tensors, {"made_by": made_by}))
    print(f"{options.output}: {sum(file.stat().st_size for file in options.output.iterdir()):,} bytes")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default=ROOT / "tests/golden/layers", type=Path, metavar="FOLDER",
                        help="default: tests/golden/layers of the repository")
    return parser.parse_args()


def add(tensors, library, build, file):
    library.backend.clear_session()
    library.utils.set_random_seed(1)
    random = np.random.default_rng(zlib.crc32(file.name.encode()))
    shape = (3, 6, 5) if build is channels_first else SHAPE
    image = library.layers.Input(shape)
    model = library.Model(image, build(library, image))
    for layer in model.layers:
        layer.set_weights([draw(random, variable.name, weight) for variable, weight in zip(layer.weights, layer.get_weights())])
    stored = model
    if build is bfloat16:
        stored = rounded(library, model, shape)
    if build is int8:
        model.quantize("int8")
    images = random.uniform(-0.5, 1.5, (2, *shape)).astype(np.float32)
    tensors[f"{file.name}/images"] = images
    tensors[f"{file.name}/output"] = np.asarray(model.predict_on_batch(images))
    file.parent.mkdir(parents=True, exist_ok=True)
    stored.save(file)
    if file.suffix == ".keras":
        compress(file)


def rounded(library, model, shape):
    """The same model in bfloat16. Rounds the weights of `model` as they are stored."""
    library.config.set_dtype_policy("bfloat16")
    try:
        image = library.layers.Input(shape)
        stored = library.Model(image, bfloat16(library, image))
    finally:
        library.config.set_dtype_policy("float32")
    stored.set_weights(model.get_weights())
    model.set_weights([np.asarray(weight, np.float32) for weight in stored.get_weights()])
    return stored


def draw(random, name, weight):
    """Keeps integers: the states of random numbers."""
    if weight.dtype.kind != "f":
        return weight
    drawn = random.normal(0.3, 0.5, weight.shape).astype(np.float32)
    return np.abs(drawn) + np.float32(0.1) if "variance" in name else drawn


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
