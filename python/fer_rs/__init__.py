"""Emotions of faces in pictures: fer's classifiers, compiled in, and its commands as functions.

>>> import fer_rs
>>> classifier = fer_rs.Classifier()
>>> record = classifier("examples/faces/happy.png")
>>> record.faces[0].label
'happy'

A label says what people called an expression like this one. It does not say what a person feels.
"""

import os as _os

# ONNX Runtime 1.29 and newer sends telemetry unless this is set before it starts. Users who want it
# set the variable to 0.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from ._fer import EngineError, FerError, ImageError, ModelError, __version__
from .batch import Batch
from .classifier import Classifier
from .commands import convert, evaluate, export, parity, resume, train
from .deepface import analyze
from .records import Box, Face, Record

__all__ = [
    "Batch",
    "Box",
    "Classifier",
    "EngineError",
    "Face",
    "FerError",
    "ImageError",
    "ModelError",
    "Record",
    "__version__",
    "analyze",
    "convert",
    "evaluate",
    "export",
    "parity",
    "resume",
    "train",
]
