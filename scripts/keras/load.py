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

# Must be set before TensorFlow is imported: it and its C++ side talk much.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
warnings.filterwarnings("ignore")
for name in ("tensorflow", "absl"):
    logging.getLogger(name).setLevel(logging.ERROR)

try:
    import h5py
    import keras
except ImportError as error:
    from env import fail

    fail(f"{error}: the interpreter in FER_PYTHON lacks what requirements.txt lists; without FER_PYTHON it is installed")

FER_LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
SCALE = 1 / 255
# L2 decays the kernels of dead channels to subnormal floats (below 1.2e-38), on which some processors compute many times
# slower; a small normal weight becomes one when it is multiplied by an activation. Nothing below this bound can move an
# answer, so it becomes zero. TensorFlow does the like by itself: it computes with subnormals flushed to zero.
TINY = 1e-30


class UserError(Exception):
    """Something the caller can put right; its text is one line."""


class Classifier:
    """A Keras model that takes one `[N, H, W, C]` image batch and gives one `[N, classes]` row an image."""

    def __init__(self, path):
        self.path = Path(path)
        if self.path.suffix not in (".keras", ".h5", ".hdf5"):
            raise UserError(f"{path}: not a .keras or .h5 file")
        if not self.path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self.saved_by = saved_by(self.path)
        except Exception as error:
            raise UserError(f"{path}: not a Keras model: {short(error)}") from None
        try:
            self.model = keras.models.load_model(self.path, compile=False)
        except Exception as error:
            versions = f"Keras {keras.__version__} cannot load this model, saved by Keras {self.saved_by}"
            raise UserError(f"{path}: {versions}: {short(error)}") from None

        inputs, outputs = self.model.inputs, self.model.outputs
        if not inputs or len(inputs) != 1 or len(outputs) != 1:
            raise UserError(f"{path}: needs a built model with one input and one output")
        shape, result = inputs[0].shape, outputs[0].shape
        if len(shape) != 4 or None in shape[1:] or shape[3] not in (1, 3):
            raise UserError(f"{path}: the input shape is {shape}, but must be (None, height, width, 1 or 3)")
        if len(result) != 2 or result[1] is None:
            raise UserError(f"{path}: the output shape is {result}, but must be (None, classes)")
        self.height, self.width, self.channels = shape[1:]
        self.classes = result[1]

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

    def probabilities(self, images):
        """Keras's answer for a float32 `[N, H, W, C]` batch: float32 `[N, classes]`, with a softmax if it has none."""
        answer = self.model.predict_on_batch(images)
        if not self.gives_probabilities:
            answer = keras.ops.convert_to_numpy(keras.ops.softmax(answer))
        return answer.astype("float32")


def saved_by(path):
    """The version of Keras that wrote the file."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("metadata.json"))["keras_version"]
    with h5py.File(path) as file:
        version = file.attrs["keras_version"]
        return version.decode() if isinstance(version, bytes) else version


def short(error):
    """The first line of an error, at most 200 characters of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
