"""A model that classifies pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, overload

import numpy as np

from . import pictures as _pictures
from ._fer import ImageError, NativeClassifier
from .library import onnxruntime_library
from .records import Box, Face, Record
from .workers import threads_given


class Classifier:
    """Classifies faces.

    Parameters
    ----------
    model:
        An ONNX file, a run folder or checkpoint of `fer train`, or a compiled-in model's name.
        Default: the first compiled-in model.
    engine:
        "auto" runs a compiled-in model as such, and other ONNX files in ONNX Runtime, which it
        finds first in this Python's environment; "ort" and "burn" ask for one.
    provider:
        ONNX Runtime's execution provider, as "cpu" or "cuda". The model runs there or this raises.
    faces:
        "auto" searches pictures for faces if the model's classes are emotions, except ready-made
        crops (up to 128x128 pixels, or filled by one face); "always"; "never".
    threads:
        Compute threads. Default: the CPUs that Ray or Spark gave this worker, else
        $OMP_NUM_THREADS, else one per core.
    channel_order:
        Of arrays: "rgb", or "bgr" as OpenCV's.
    value_range:
        Of arrays of floats: the values of black and white, as (0, 1).
    min_score, min_face, max_faces, small_faces, detector:
        As the options of `fer infer`.
    meta:
        Metadata that the model's file lacks or has wrong, as {"scale": "1/127.5"}.
    onnxruntime:
        The path of ONNX Runtime's library.

    Any number of threads may use a classifier at once; Python's lock is not held while it works.
    It is pickled by its arguments, and loads its model again where it is unpickled.

    >>> classifier = Classifier(engine="burn")
    >>> classifier.labels
    ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise']
    >>> classifier.predict_proba(["examples/faces/sad.png"]).shape
    (1, 7)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        engine: str = "auto",
        provider: str = "cpu",
        faces: str = "auto",
        threads: int | None = None,
        channel_order: str = "rgb",
        value_range: tuple[float, float] | None = None,
        min_score: float | None = None,
        min_face: float | None = None,
        max_faces: int | None = None,
        small_faces: bool = False,
        detector: str | os.PathLike[str] | None = None,
        meta: Mapping[str, str] | None = None,
        onnxruntime: str | os.PathLike[str] | None = None,
    ) -> None:
        if channel_order not in ("rgb", "bgr"):
            raise ValueError(f"channel_order is 'rgb' or 'bgr', not {channel_order!r}")
        if min_score is not None and not 0 < min_score <= 1:
            raise ValueError(f"min_score={min_score} is not above 0 and at most 1")
        if min_face is not None and not 0 <= min_face < float("inf"):
            raise ValueError(f"min_face={min_face} is not a number of pixels")
        if max_faces is not None and max_faces < 1:
            raise ValueError(f"max_faces={max_faces} is not at least 1")
        if threads is not None and not 1 <= threads <= 256:
            raise ValueError(f"threads={threads} is not 1 to 256")
        self._arguments: dict[str, Any] = {
            "model": None if model is None else os.fspath(model),
            "engine": engine,
            "provider": provider,
            "faces": faces,
            "threads": threads,
            "channel_order": channel_order,
            "value_range": value_range,
            "min_score": min_score,
            "min_face": min_face,
            "max_faces": max_faces,
            "small_faces": small_faces,
            "detector": None if detector is None else os.fspath(detector),
            "meta": dict(meta or {}),
            "onnxruntime": None if onnxruntime is None else os.fspath(onnxruntime),
        }
        if onnxruntime is not None and engine == "auto":
            engine = "ort"
        if onnxruntime is None and engine != "burn" and "ORT_DYLIB_PATH" not in os.environ:
            onnxruntime = onnxruntime_library()
        self._native = NativeClassifier(
            model=self._arguments["model"],
            engine=engine,
            provider=provider,
            faces=faces,
            # Not among the arguments: where it is unpickled, another number may be given.
            threads=threads_given() if threads is None else threads,
            library=None if engine == "burn" else onnxruntime,
            detector=detector,
            min_score=min_score,
            min_face=min_face,
            max_faces=max_faces,
            small_faces=small_faces,
            meta=list(self._arguments["meta"].items()),
        )
        self._labels: list[str] = self._native.labels

    @property
    def labels(self) -> list[str]:
        """The class names, in the order of the probabilities."""
        return list(self._labels)

    @property
    def description(self) -> str:
        """What runs: the model, its engine and provider, and the library behind it."""
        model, engine, provider, library, _ = self._native.description
        return f"{model} on {engine} {provider} ({library})"

    @property
    def notes(self) -> list[str]:
        """What the user should know about the model, such as what was guessed."""
        return self._native.description[4]

    @overload
    def __call__(
        self, pictures: str | os.PathLike[str] | bytes, *, faces: str | None = None
    ) -> Record: ...
    @overload
    def __call__(self, pictures: Iterable[Any], *, faces: str | None = None) -> list[Record]: ...
    @overload
    def __call__(self, pictures: Any, *, faces: str | None = None) -> Any: ...
    def __call__(self, pictures: Any, *, faces: str | None = None) -> Any:
        """Classifies the faces of one picture (a record) or of several (a list of records).

        A picture is a path, the bytes of an image file, a PIL image, or an array: [height, width],
        [height, width, 1] or [height, width, 3], of uint8, or of floats with a `value_range`. Other
        arrays of three or four dimensions, and other iterables, are several pictures.

        Arrays of uint8 are not copied: let nothing write to them before this returns. A picture that
        can't be read is a record with an error. `faces="never"` takes whole pictures
        for faces in this call.
        """
        if faces not in (None, "never"):
            raise ValueError("for one call faces can only be 'never'; Classifier(faces=…) has more")
        if _pictures.is_one(pictures):
            return self._records([pictures], faces == "never")[0]
        return self._records(pictures, faces == "never")

    def stream(self, pictures: Iterable[Any], *, batch: int = 256) -> Iterator[Record]:
        """Classifies any number of pictures, `batch` at a time, in bounded memory."""
        if batch < 1:
            raise ValueError(f"batch={batch} is not at least 1")
        remaining = iter(pictures)
        while given := self._named(islice(remaining, batch)):
            yield from self._seen(given, whole=False)

    def predict_proba(self, pictures: Any, *, errors: str = "raise") -> np.ndarray:
        """The probabilities of whole pictures, never searched for faces.

        Returns an array [pictures, classes] of float32. A picture that has no prediction raises
        ImageError; with `errors="nan"` its row is NaN.
        """
        if errors not in ("raise", "nan"):
            raise ValueError(f"errors is 'raise' or 'nan', not {errors!r}")
        given = self._named([pictures] if _pictures.is_one(pictures) else pictures)
        rows = np.full((len(given), len(self._labels)), np.nan, dtype=np.float32)
        seen = self._run(given, True)
        for index, (error, _, _, faces) in enumerate(seen):
            error = error or faces[0][4]
            if error is None:
                rows[index] = faces[0][3][1]
            elif errors == "raise":
                raise ImageError(f"picture {index}, {given[index].name}: {error}")
        return rows

    def _named(self, pictures: Iterable[Any]) -> list[_pictures.Named]:
        a = self._arguments
        return _pictures.several(pictures, a["channel_order"], a["value_range"])

    def lenient(self, pictures: Iterable[Any]) -> list[Record]:
        """Records of several pictures where `None`, and an array that is not a picture, is a record
        with an error too."""
        a = self._arguments
        given: list[_pictures.Named] = []
        for picture in pictures:
            try:
                if picture is None:
                    raise _pictures.NotAPicture("no picture")
                given.append(_pictures.one(picture, a["channel_order"], a["value_range"]))
            except _pictures.NotAPicture as error:
                given.append(_pictures.Named("<none>", None, str(error)))
        return self._seen(given, whole=False)

    def _records(self, pictures: Iterable[Any], whole: bool) -> list[Record]:
        return self._seen(self._named(pictures), whole)

    def _seen(self, given: list[_pictures.Named], whole: bool) -> list[Record]:
        return [
            Record(name, width, height, tuple(map(self._face, faces)), error)
            for (name, *_), (error, width, height, faces) in zip(given, self._run(given, whole))
        ]

    def _run(self, given: list[_pictures.Named], whole: bool) -> list[Any]:
        """What is seen in each picture, or its error."""
        seen = iter(self._native.run([g.picture for g in given if g.error is None], whole))
        return [next(seen) if g.error is None else (g.error, 0, 0, ()) for g in given]

    def _face(self, found: Any) -> Face:
        box, score, landmarks, prediction, error = found
        places = Box(*box), score, landmarks and tuple(map(tuple, landmarks))
        if prediction is None:
            return Face(None, None, {}, *places, error)
        index, probabilities = prediction
        by_label = dict(zip(self._labels, probabilities))
        return Face(self._labels[index], probabilities[index], by_label, *places, None)

    def __reduce__(self) -> Any:
        return _make, (self._arguments,)

    def __repr__(self) -> str:
        return f"<fer_rs.Classifier {self.description}>"


def _make(arguments: dict[str, Any]) -> Classifier:
    arguments = dict(arguments)
    return Classifier(arguments.pop("model"), **arguments)
