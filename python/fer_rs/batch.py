"""The operator that an engine of distributed work calls with its batches: Ray, Daft, Spark."""

from __future__ import annotations

from typing import Any

import numpy as np

from .classifier import Classifier


class Batch:
    """Adds what is seen in pictures to batches of columns.

    Takes the arguments of Classifier, and `column`: the column with the pictures, "path", "bytes"
    or "image". Default: the first of these that a batch has.

    The model is loaded at the first batch, once a worker. The columns that a batch gains:

    - `label`, `confidence`, `probabilities`: of the largest face, `None` without one;
    - `faces`: all of them, as Record.to_dict() has them;
    - `error`: why a picture could not be read, else `None`.

    A call returns the batch with its other columns as they were, and the same rows in their order.
    """

    def __init__(self, *, column: str | None = None, **arguments: Any) -> None:
        self._column = column
        self._arguments = arguments
        self._classifier: Classifier | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        column = self._column or next((c for c in ("path", "bytes", "image") if c in batch), None)
        if column is None or column not in batch:
            raise KeyError(
                f"the batch has no column {column or 'path, bytes or image'}: {sorted(batch)}"
            )
        if self._classifier is None:
            self._classifier = Classifier(**self._arguments)
        pictures = [p for p in batch[column]]
        # An empty cell is a picture that can't be read, and not the end of the batch.
        records = self._classifier([b"" if p is None else p for p in pictures])
        firsts = [record.faces[0] if record.faces else None for record in records]
        labels = self._classifier.labels
        return {
            **batch,
            "label": _column([face and face.label for face in firsts]),
            "confidence": _column([face and face.confidence for face in firsts]),
            "probabilities": _column(
                [
                    np.array([face.probabilities[label] for label in labels], dtype=np.float32)
                    if face and face.error is None
                    else None
                    for face in firsts
                ]
            ),
            "faces": _column([[face.to_dict() for face in record.faces] for record in records]),
            "error": _column(
                [record.error or (face and face.error) for record, face in zip(records, firsts)]
            ),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_classifier": None}


def _column(values: list[Any]) -> np.ndarray:
    """The values as a column of objects, whatever their shapes."""
    column = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        column[index] = value
    return column
