"""Converts the models of keras.applications and compares what they predict with Keras: a table in docs/models.md.

    python3 scripts/keras/applications.py [--fer target/release/fer] [--smallest] [--keras 2] [--write] [MODEL ...]

Each model has its own `preprocess_input` inside, an input of 96 x 80 pixels of 0..255, seven classes, and no softmax, so
that small differences can be seen. All weights are drawn at random: kernels, biases, gammas, betas. Moving statistics are
those of random images, then changed at random. `--smallest` takes the smallest model of each family. `--keras 2` takes
tf-keras and saves .h5 files. `--write` puts the table into docs/models.md. Exit status: 1 if a model is refused, or if the
largest difference exceeds 1e-4 of the largest output.
"""

import env

env.enter()

import argparse
import gc
import importlib
import inspect
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from files import write
from load import UserError

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (96, 80, 3)
TOLERANCE = 1e-4
# Of each module of keras.applications, the model with the fewest weights.
SMALLEST = [
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2", "InceptionV3", "MobileNet",
    "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16", "Xception",
]
BEGIN, END = "<!-- scripts/keras/applications.py -->", "<!-- end -->"


def main():
    options = arguments()
    keras = importlib.import_module("tf_keras" if options.keras == 2 else "keras")
    builders = {name: fn for name, fn in inspect.getmembers(keras.applications, inspect.isfunction)}
    names = options.models or (SMALLEST if options.smallest else sorted(builders))
    unknown = [name for name in names if name not in builders]
    if unknown:
        raise UserError(f"keras.applications has no {', '.join(unknown)}")
    rows, failed = [], False
    for name in names:
        row, right = compare(keras, name, builders[name], options)
        print(row, flush=True)
        rows.append(row)
        failed |= not right
    if options.write:
        put_into_docs(rows, keras.__version__)
    sys.exit(failed)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names in keras.applications; default: all")
    parser.add_argument("--fer", default=ROOT / "target/release/fer", metavar="PROGRAM", help="default: target/release/fer")
    parser.add_argument("--smallest", action="store_true", help="the smallest model of each family")
    parser.add_argument("--keras", type=int, choices=[2, 3], default=3, help="default: 3")
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    return parser.parse_args()


def compare(keras, name, builder, options):
    """A row of the table, and whether the converted model predicts what Keras predicts."""
    keras.backend.clear_session()
    gc.collect()
    random = np.random.default_rng(zlib.crc32(name.encode()))
    model = build(keras, builder)
    draw_weights(keras, model, random)
    images = random.integers(0, 256, (2, *SHAPE)).astype(np.float32)
    expected = np.asarray(model.predict_on_batch(images))
    count = model.count_params()
    with tempfile.TemporaryDirectory() as folder:
        file, onnx = Path(folder, "model.keras" if options.keras == 3 else "model.h5"), Path(folder, "model.onnx")
        model.save(file)
        del model
        done = subprocess.run([options.fer, "convert", "-q", file, "-o", onnx], capture_output=True, text=True)
        if done.returncode != 0:
            return f"| {name} | {count / 1e6:.1f} | refused: {done.stderr.strip()} | |", False
        size = onnx.stat().st_size
        session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: images})[0]
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    right = bool(found.shape == expected.shape and np.isfinite(expected).all() and difference <= TOLERANCE)
    return f"| {name} | {count / 1e6:.1f} | {size / 1e6:.1f} | {difference:.1e} |", right


def build(keras, builder):
    """The application with its `preprocess_input` before it, as transfer learning has it."""
    base = builder(weights=None, input_shape=SHAPE, classes=7, classifier_activation=None)
    module = sys.modules[builder.__module__]
    image = keras.layers.Input(SHAPE)
    return keras.Model(image, base(module.preprocess_input(image)))


def draw_weights(keras, model, random):
    """Random weights that keep the values in range: kernels by their number of inputs, moving statistics by what goes in."""
    norms = []
    for layer in flat_layers(keras, model):
        if isinstance(layer, keras.layers.Normalization):
            continue
        layer.set_weights([draw(random, weight) for weight in layer.weights])
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append(layer)
            layer.momentum = 0.0
    model(random.integers(0, 256, (4, *SHAPE)).astype(np.float32), training=True)
    for layer in norms:
        layer.momentum = 0.99
        *others, mean, variance = layer.get_weights()
        mean = mean + random.normal(0, 0.3, mean.shape) * np.sqrt(variance)
        layer.set_weights([*others, mean, (variance + 1e-3) * random.uniform(0.5, 2, variance.shape)])


def draw(random, weight):
    shape, name = tuple(weight.shape), getattr(weight, "path", weight.name)
    if "gamma" in name or "variance" in name:
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    values = random.standard_normal(shape, np.float32)
    if len(shape) < 2:
        return values * np.float32(0.3)
    inputs = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
    return values * np.float32(1.4 / np.sqrt(inputs))


def flat_layers(keras, model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(keras, layer)
        else:
            yield layer


def put_into_docs(rows, version):
    file = ROOT / "docs/models.md"
    before, _, rest = file.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join([f"With Keras {version}:", "", "| model | million weights | ONNX, MB | largest difference |", "|---|---|---|---|", *rows])
    write(file, f"{before}{BEGIN}\n{table}\n{END}{after}".encode())


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
