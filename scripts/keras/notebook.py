"""Puts the weights of an ONNX file into the notebook's Keras model: the way back from `fer train`.

    python3 scripts/keras/notebook.py MODEL.onnx [-o FOLDER]

MODEL.onnx holds the notebook's network: a run of preset `notebook` that `fer export` wrote, or the
Keras model that `fer convert` or convert.py converted. FOLDER (default: this one) gets
notebook.keras and notebook.h5, saved by Keras and kept only if both, read back, have these weights
bit for bit and the predictions that ONNX Runtime computes from MODEL.onnx, to 1e-5. `fer convert`
of either file, put through this script again, gives the same weights.
"""

import env

env.enter()

import argparse
import os
import tempfile
from pathlib import Path

from faces import EMOTIONS, draw
from load import TINY, Classifier, UserError, short

import keras
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

SIDE = 48
CLASSES = 7
NAMES = ["notebook.keras", "notebook.h5"]
TOLERANCE = 1e-5


def main():
    options = arguments()
    source = Source(options.model)
    model = network()
    arrays, zeroed = flushed(source.weights(model))
    model.set_weights(arrays)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".notebook-", dir=options.output) as folder:
        saved = [Path(folder) / name for name in NAMES]
        for path in saved:
            model.save(path)
        difference = max(compare(Classifier(path), arrays, source) for path in saved)
        for path in saved:
            path.replace(options.output / path.name)
    digest = Classifier(options.output / NAMES[0]).digest()
    for name in NAMES:
        path = options.output / name
        print(f"{path}: {os.path.getsize(path):,} bytes, {model.count_params():,} parameters")
    print(f"{zeroed:,} weights below {TINY:g} set to zero")
    print(f"largest difference from {options.model} {difference:.1e}")
    print(f"weights sha256 {digest}")


def arguments():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("model", metavar="MODEL.onnx", type=Path, help="the notebook's network")
    parser.add_argument("-o", "--output", default=Path(), type=Path, metavar="FOLDER",
                        help="gets notebook.keras and notebook.h5; default: this folder")
    return parser.parse_args()


def network():
    """The notebook's model, compiled as there; a new process names the layers as there too."""
    layers, l2 = keras.layers, keras.regularizers.L2(0.01)

    def conv(filters, size, padding="same", **more):
        return layers.Conv2D(filters, size, padding=padding, activation="relu", **more)

    def pooled():
        return [layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.25)]

    def dense(units):
        norm = [layers.BatchNormalization(), layers.Dropout(0.25)]
        return [layers.Dense(units, activation="relu"), *norm]

    model = keras.Sequential([
        layers.Input((SIDE, SIDE, 1)),
        conv(32, 3, padding="valid"),
        conv(64, 3), *pooled(),
        conv(128, 5), *pooled(),
        conv(512, 3, kernel_regularizer=l2), *pooled(),
        conv(512, 3, kernel_regularizer=l2), *pooled(),
        layers.Flatten(),
        *dense(256),
        *dense(512),
        layers.Dense(CLASSES, activation="softmax"),
    ])
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"])
    return model


def flushed(arrays):
    """The arrays with values below TINY set to zero, as in fer's files, and how many these were."""
    tiny = [(np.abs(array) < TINY) & (array != 0) for array in arrays]
    arrays = [np.where(mask, np.float32(0), array) for array, mask in zip(arrays, tiny)]
    return arrays, sum(int(mask.sum()) for mask in tiny)


def compare(classifier, arrays, source):
    """How far a saved model, which must have these weights, is from the ONNX file's predictions."""
    for (name, found), array in zip(classifier.weights(), arrays, strict=True):
        if found.tobytes() != array.tobytes():
            raise UserError(f"{source.path}: Keras saved other values of {name}: nothing kept")
    batch = images()
    apart = np.abs(classifier.outputs(batch) - source.probabilities(batch))
    difference = float(apart.max())
    if not difference <= TOLERANCE:
        problem = f"Keras differs from ONNX Runtime by {difference:.1e}: nothing kept"
        raise UserError(f"{source.path}: {problem}")
    return difference


def images():
    """float32 `[41, 48, 48, 1]` in 0..1: noise, black, white, and a face of every emotion."""
    noise = np.random.default_rng(0).random((32, SIDE, SIDE))
    plain = [np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE))]
    faces = [draw(emotion, SIDE).mean(axis=2).clip(0, 1) for emotion in EMOTIONS]
    return np.concatenate([noise, plain, faces]).astype(np.float32)[..., None]


class Source:
    """An ONNX file of the notebook's network, with channels first or last."""

    def __init__(self, path):
        self.path = path
        try:
            self.model = onnx.load(path)
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or short(error)}") from None
        except Exception as error:
            raise UserError(f"{path}: not a usable ONNX file: {short(error)}") from None
        stored = self.model.graph.initializer
        self.constants = {item.name: numpy_helper.to_array(item) for item in stored}
        shape = self.session.get_inputs()[0].shape[1:]
        if shape not in ([1, SIDE, SIDE], [SIDE, SIDE, 1]):
            raise self.other(f"its input is [N, {', '.join(map(str, shape))}]")
        self.channels_first = shape[0] == 1

    def other(self, problem):
        return UserError(f"{self.path}: not the notebook's network: {problem}")

    def probabilities(self, images):
        """float32 `[N, 7]` for float32 `[N, 48, 48, 1]` in 0..1."""
        if self.channels_first:
            images = images.transpose(0, 3, 1, 2)
        return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]

    def weights(self, model):
        """All weights in the order, shapes and layout of `model.get_weights()`."""
        found = list(self.in_keras_layout(model))
        wanted = model.weights
        if len(found) != len(wanted):
            raise self.other(f"it has {len(found)} weights, not {len(wanted)}")
        for (node, array), weight in zip(found, wanted):
            if array.shape != tuple(weight.shape) or array.dtype != np.float32:
                there, wanted = f"{array.dtype} {list(array.shape)}", f"{list(weight.shape)}"
                raise self.other(f"its node {node} has {there} for {weight.path}, float32 {wanted}")
            if not np.isfinite(array).all():
                raise UserError(f"{self.path}: its node {node} has weights that are not finite")
        return [array for _, array in found]

    def in_keras_layout(self, model):
        """Pairs of a node's name and a weight of it, in the graph's order, laid out as in Keras."""
        # Whether the feature maps before the first dense layer were brought into Keras's order.
        channels_last = False
        height, width, channels = model.get_layer("flatten").input.shape[1:]
        for node in self.model.graph.node:
            stored = [self.constants[name] for name in node.input if name in self.constants]
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Conv":
                stored[0] = stored[0].transpose(2, 3, 1, 0)
            elif node.op_type == "BatchNormalization":
                epsilon = attributes.get("epsilon", 1e-5)
                if not np.isclose(epsilon, 1e-3, rtol=1e-3):
                    raise self.other(f"its node {node.name} has epsilon {epsilon:g}, not 0.001")
            elif node.op_type in ("MatMul", "Gemm"):
                if attributes.get("transB"):
                    stored[0] = stored[0].T
                if len(stored[0]) == height * width * channels and not channels_last:
                    rows = stored[0].reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
                    stored[0] = rows.reshape(len(stored[0]), -1)
            elif node.op_type == "Transpose":
                channels_last = list(attributes.get("perm", [])) == [0, 2, 3, 1]
                continue
            elif node.op_type != "Add":
                # Shapes of Reshape are constants too, and no weights.
                continue
            yield from ((node.name, np.ascontiguousarray(array)) for array in stored)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
