"""Loads a Keras classifier for the other scripts, and says what they need to know of it.

Imported by the programs of this folder inside the environment of env.py; not a program of its own.
"""

import hashlib
import json
import logging
import os
import warnings
import zipfile
from pathlib import Path

import env

# Must be set before TensorFlow is imported: it and its C++ side talk much.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
warnings.filterwarnings("ignore")
for name in ("tensorflow", "absl"):
    logging.getLogger(name).setLevel(logging.ERROR)

env.require("h5py", "keras", "numpy", "tensorflow")

import h5py
import keras
import numpy as np
import tensorflow as tf

FER_LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
SCALE = 1 / 255
# L2 decays the kernels of dead channels to subnormal floats (below 1.2e-38), on which some processors compute many times
# slower; a small normal weight becomes one when it is multiplied by an activation. Nothing below this bound can move an
# answer, so it becomes zero. TensorFlow does the like by itself: it computes with subnormals flushed to zero.
TINY = 1e-30


class UserError(Exception):
    """Something the caller can put right; its text is one line."""


class Classifier:
    """A Keras model that takes one `[N, H, W, C]` image batch and gives one `[N, values]` row an image.

    With `legacy`, Keras 2 (tf-keras) loads what Keras 3 cannot. `size`, (width, height), is for models that take any size.
    `values` chooses the output with so many values if there are several.
    """

    def __init__(self, path, legacy=False, size=None, values=None):
        self.path = Path(path)
        if self.path.suffix not in (".keras", ".h5", ".hdf5"):
            raise UserError(f"{path}: not a .keras or .h5 file")
        if not self.path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self.saved_by = saved_by(self.path)
        except Exception as error:
            raise UserError(f"{path}: not a Keras model: {short(error)}") from None
        self.keras, self.model = loaded(self.path, self.saved_by, legacy)

        inputs, outputs = self.model.inputs, self.model.outputs
        if not inputs or len(inputs) != 1:
            raise UserError(f"{path}: needs a built model with one input")
        shape = tuple(inputs[0].shape)
        fits = len(shape) == 4 and shape[3] in (1, 3, None) and (size or None not in shape[1:3])
        if not fits:
            raise UserError(f"{path}: the input shape is {shape}, but must be (None, height, width, 1 or 3)")
        self.height, self.width = (own or given for own, given in zip(shape[1:3], (size or (0, 0))[::-1]))
        self.channels = shape[3] or 3
        rows = [index for index, output in enumerate(outputs) if len(output.shape) == 2 and output.shape[1]]
        chosen = [index for index in rows if values in (None, outputs[index].shape[1])]
        if len(chosen) != 1:
            shapes = ", ".join(f"{name} {tuple(output.shape)}" for name, output in zip(self.model.output_names, outputs))
            wanted = "classes" if values is None else values
            raise UserError(f"{path}: needs one output of shape (None, {wanted}); it has {shapes}")
        self.output = chosen[0]
        self.classes = outputs[self.output].shape[1]

    @property
    def gives_probabilities(self):
        """Whether the last activation is a softmax."""
        last = self.model.outputs[0]._keras_history.operation
        while isinstance(last, keras.Model):
            last = last.outputs[0]._keras_history.operation
        return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax

    def weights(self):
        """Pairs of a name, layer/weight like `conv2d/kernel`, and an array, in model order, the same from .keras and .h5."""
        return [("/".join(weight.path.split("/")[-2:]), weight.numpy()) for weight in self.model.weights]

    def digest(self):
        """The sha256 of all names and weights."""
        sha = hashlib.sha256()
        for name, array in self.weights():
            sha.update(name.encode() + b"\0" + array.tobytes())
        return sha.hexdigest()

    def outputs(self, images):
        """Keras's own outputs, those of `predict`, for a float32 `[N, H, W, C]` batch: float32 `[N, values]`."""
        return np.asarray(tf.nest.flatten(self.model.predict_on_batch(images))[self.output], np.float32)

    def exact_outputs(self, images):
        """The same computed in float64, to within its rounding: float64 `[N, values]`."""
        if not hasattr(self, "exact"):
            self.keras.backend.set_floatx("float64")
            try:
                self.exact = self.keras.models.model_from_json(self.model.to_json().replace('"float32"', '"float64"'))
                self.exact.set_weights([weight.astype(np.float64) for weight in self.model.get_weights()])
            except Exception as error:
                raise UserError(f"{self.path}: cannot be computed in float64: {short(error)}") from None
        answer = self.exact(images.astype(np.float64), training=False)
        return np.asarray(tf.nest.flatten(answer)[self.output], np.float64)


def loaded(path, version, legacy):
    """The Keras that loads a model, and the model."""
    try:
        return keras, keras.models.load_model(path, compile=False)
    except Exception as error:
        problem = f"Keras {keras.__version__} cannot load this model, saved by Keras {version}: {short(error)}"
    if not legacy:
        raise UserError(f"{path}: {problem}")
    try:
        import tf_keras
    except ImportError:
        raise UserError(f"{path}: {problem}; Keras 2 may load it: {env.pip(['tf_keras'])}") from None
    try:
        model = tf_keras.models.load_model(path, compile=False)
    except Exception as error:
        raise UserError(f"{path}: {problem}; nor can tf-keras {tf_keras.__version__}: {short(error)}") from None
    env.say(f"{problem}; tf-keras {tf_keras.__version__} runs it")
    return tf_keras, model


def saved_by(path):
    """The version of Keras that wrote the file."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("metadata.json"))["keras_version"]
    with h5py.File(path) as file:
        version = file.attrs.get("keras_version", "1")
        return version.decode() if isinstance(version, bytes) else version


def short(error):
    """The first line of an error, at most 200 characters of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
