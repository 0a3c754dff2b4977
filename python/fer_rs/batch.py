"""The operator that an engine of distributed work calls with its batches: Ray, Daft, Spark."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from . import pictures as _pictures
from .classifier import Classifier
from .records import Record
from .workers import threads_given

if TYPE_CHECKING:
    import pyarrow

#: The columns that may have the pictures: what is at hand goes before what is still to be read.
_PICTURES = ("bytes", "image", "path")

#: The classifiers of this process, by their arguments; whoever loads one holds the lock.
_loaded: dict[bytes, Classifier] = {}
_loading = Lock()


class Batch:
    """Adds what is seen in pictures to batches of columns.

    Parameters
    ----------
    column:
        The column with the pictures. Default: the first of "bytes", "image" and "path" that a batch
        has. A cell is what Classifier takes for a picture, or a dictionary with "bytes" or "path",
        as the data sets of Hugging Face have it.
    drop:
        Leave the column out of what is returned, so that a table of results is not one of pictures
        too. A column of paths stays.
    arguments:
        Those of Classifier. Without `threads` it computes with as many threads as Ray or Spark gave
        the worker CPUs.

    A batch is a dictionary of arrays, a pandas DataFrame, or a table or record batch of PyArrow's,
    and comes back as what it was (a record batch as a table): the same rows in their order, the other
    columns as they were, and these:

    - `label`, `confidence`, `probabilities`: of the largest face, none without one. The
      probabilities are in the order of `labels`;
    - `faces`: all of them, as Record.to_dict() has them;
    - `error`: why a picture could not be read, else none. A row without a picture has one.

    The model is loaded at the first batch, once a process. An operator is pickled by its arguments.

    >>> batch = Batch(engine="burn")({"path": ["examples/faces/sad.png", "none.png"]})
    >>> batch["label"].tolist()
    ['sad', None]
    """

    #: What a batch gains, as Spark writes a schema.
    DDL = (
        "label string, confidence float, probabilities array<float>, "
        "faces array<struct<box: struct<x: float, y: float, w: float, h: float>, score: float, "
        "landmarks: array<array<float>>, label: string, confidence: float, "
        "probabilities: map<string, float>, error: string>>, error string"
    )

    def __init__(self, *, column: str | None = None, drop: bool = False, **arguments: Any) -> None:
        self._column = column
        self._drop = drop
        self._arguments = arguments

    @property
    def arguments(self) -> dict[str, Any]:
        """What the operator was made with."""
        return {"column": self._column, "drop": self._drop, **self._arguments}

    @property
    def classifier(self) -> Classifier:
        """The classifier, which this process loads once."""
        arguments = {"threads": threads_given(), **self._arguments}
        key = pickle.dumps(sorted(arguments.items()))
        with _loading:
            if key not in _loaded:
                _loaded[key] = Classifier(**arguments)
            return _loaded[key]

    @property
    def labels(self) -> list[str]:
        """The class names, in the order of the probabilities."""
        return self.classifier.labels

    @staticmethod
    def schema() -> pyarrow.Schema:
        """What a batch gains, as a schema of PyArrow's, which has to be installed."""
        import pyarrow as pa

        real, text = pa.float32(), pa.string()
        face = pa.struct(
            [
                ("box", pa.struct([(side, real) for side in ("x", "y", "w", "h")])),
                ("score", real),
                ("landmarks", pa.list_(pa.list_(real))),
                ("label", text),
                ("confidence", real),
                ("probabilities", pa.map_(text, real)),
                ("error", text),
            ]
        )
        return pa.schema(
            [
                ("label", text),
                ("confidence", real),
                ("probabilities", pa.list_(real)),
                ("faces", pa.list_(face)),
                ("error", text),
            ]
        )

    def __call__(self, batch: Any) -> Any:
        """The batch with what is seen in its pictures."""
        kind = type(batch).__module__.partition(".")[0]
        if kind == "pyarrow":
            return self._arrow(batch)
        columns = batch if isinstance(batch, Mapping) else {c: batch[c] for c in batch}
        column = self._column_of(columns)
        seen = self._seen(columns[column])
        seen = {name: _objects(values) for name, values in seen.items()}
        if kind == "pandas":
            kept = batch.drop(columns=column) if self._drops(column) else batch
            return kept.assign(**seen)
        return {**{c: v for c, v in batch.items() if c != column or not self._drops(c)}, **seen}

    def frames(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Spark's mapInPandas: `pictures.mapInPandas(batch.frames, f"path string, {batch.DDL}")`."""
        for frame in frames:
            yield self(frame)

    def _arrow(self, batch: Any) -> Any:
        import pyarrow as pa

        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        column = self._column_of(table.column_names)
        seen = self._seen(_cells(table[column]))
        for faces in seen["faces"]:
            for face in faces:
                # Maps are lists of pairs there.
                face["probabilities"] = list(face.get("probabilities", {}).items())
        if self._drops(column):
            table = table.drop_columns([column])
        for field in self.schema():
            if field.name in table.column_names:
                table = table.drop_columns([field.name])
            table = table.append_column(field, pa.array(seen[field.name], field.type))
        return table

    def _column_of(self, columns: Iterable[str]) -> str:
        names = list(columns)
        column = self._column or next((c for c in _PICTURES if c in names), None)
        if column is None or column not in names:
            wanted = column or "bytes, image or path"
            raise KeyError(f"the batch has no column {wanted}: {', '.join(map(str, names))}")
        return column

    def _drops(self, column: str) -> bool:
        return self._drop and column != "path"

    def _seen(self, cells: Iterable[Any]) -> dict[str, list[Any]]:
        """The new columns for these pictures."""
        classifier = self.classifier
        records = classifier.lenient([_picture(cell) for cell in cells])
        labels = classifier.labels
        rows = [_row(record, labels) for record in records]
        names = ("label", "confidence", "probabilities", "faces", "error")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _picture(cell: Any) -> Any:
    """The picture in a cell; `None` if it has none."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    # pandas has NaN and NA where there is nothing.
    missing = cell is None or (isinstance(cell, float) and cell != cell)
    return None if missing or type(cell).__name__ == "NAType" else cell


def _row(record: Record, labels: list[str]) -> tuple[Any, ...]:
    faces = [face.to_dict() for face in record.faces]
    face = record.faces[0] if record.faces else None
    if face is None or face.error is not None:
        return None, None, None, faces, record.error or (face and face.error)
    probabilities = [face.probabilities[label] for label in labels]
    return face.label, face.confidence, probabilities, faces, None


def _cells(column: Any) -> Iterator[Any]:
    """The cells of a column of PyArrow's; Ray has arrays there as types of its own."""
    for chunk in column.chunks:
        tensors = hasattr(chunk, "storage") and hasattr(chunk, "to_numpy")
        yield from chunk.to_numpy(zero_copy_only=False) if tensors else chunk.to_pylist()


def _objects(values: list[Any]) -> np.ndarray:
    """The values as a column of objects, whatever their shapes."""
    column = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        column[index] = value
    return column
