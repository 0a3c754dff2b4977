"""Writes images and what Keras answers for them: the expectation of the tests that need no Python.

    python3 scripts/keras/golden.py MODEL.keras|MODEL.h5 [-o tests/golden/notebook.safetensors]

The file holds `input`, float32 `[16, H, W, C]` in 0..1, and `probabilities`, float32 `[16, classes]`. The images are drawn:
faces of every emotion, faces in other light with noise, and noise, black, white and a gradient. The same machine gives the
same bytes on every run.
"""

import env

env.enter()

import argparse
import os

# One thread adds up in one order.
os.environ["OMP_NUM_THREADS"] = "1"

from faces import EMOTIONS, draw
from files import write
from load import FER_LABELS, Classifier, UserError

import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.experimental.enable_op_determinism()


def main():
    options = arguments()
    classifier = Classifier(options.model)
    batch = images(classifier)
    probabilities = classifier.outputs(batch)
    made_by = f"scripts/keras/golden.py with Keras {keras.__version__}, TensorFlow {tf.__version__}, NumPy {np.__version__}"
    tensors = {"input": batch, "probabilities": probabilities}
    metadata = {"made_by": f"{made_by}; model weights sha256 {classifier.digest()}"}
    write(options.output, safetensors.numpy.save(tensors, metadata))
    predicted = probabilities.argmax(1)
    names = FER_LABELS if classifier.classes == len(FER_LABELS) else range(classifier.classes)
    print(f"{options.output}: {os.path.getsize(options.output):,} bytes")
    print("predicted: " + ", ".join(f"{(predicted == index).sum()} {name}" for index, name in enumerate(names)))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    parser.add_argument("-o", "--output", default="tests/golden/notebook.safetensors", metavar="FILE",
                        help="default: %(default)s")
    return parser.parse_args()


def images(classifier):
    """16 images, as 8-bit pixels divided by 255."""
    height, width, channels = classifier.height, classifier.width, classifier.channels
    random = np.random.default_rng(2013)
    size = max(height, width)
    top, left = (size - height) // 2, (size - width) // 2
    faces = [draw(emotion, size) for emotion in EMOTIONS]
    for emotion, light in zip(["happy", "sad", "surprise", "angry", "fear"], [-0.8, -0.4, 0.9, -0.6, 0.7]):
        dimmed = draw(emotion, size, light) * random.uniform(0.5, 1.0)
        faces.append(dimmed + random.normal(0, 0.05, dimmed.shape))
    plain = [
        random.random((size, size, 3)),
        np.zeros((size, size, 3)),
        np.ones((size, size, 3)),
        np.broadcast_to(np.linspace(0, 1, size)[:, None], (size, size, 3)),
    ]
    batch = np.stack(faces + plain)[:, top : top + height, left : left + width]
    if channels == 1:
        batch = batch @ np.array([[0.299], [0.587], [0.114]])
    return np.rint(batch.clip(0, 1) * 255).astype(np.float32) * np.float32(1 / 255)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
