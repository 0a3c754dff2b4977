"""What is found in a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels from the picture's top left. It may reach beyond the picture."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class Face:
    """A face, or a whole picture that is taken for one."""

    #: The class of the highest probability; `None` if there is an error.
    label: str | None
    #: Its probability, 0 to 1.
    confidence: float | None
    #: Each class's probability; they sum to 1.
    probabilities: dict[str, float]
    #: Where the face is.
    box: Box
    #: How sure the detector is, 0 to 1; `None` for a whole picture.
    score: float | None
    #: The person's right eye, left eye, tip of the nose, right and left corner of the mouth.
    landmarks: tuple[tuple[float, float], ...] | None
    #: Why there is no label.
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """The face as plain values, with the names that `fer infer --format json` uses."""
        values: dict[str, Any] = {
            "box": asdict(self.box),
            "score": self.score,
            "landmarks": [list(p) for p in self.landmarks] if self.landmarks else None,
        }
        if self.error is not None:
            return {**values, "error": self.error}
        return {
            **values,
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
        }


@dataclass(frozen=True)
class Record:
    """A picture and its faces, the largest first."""

    #: The picture's path, or what it was, as `<bytes>`.
    path: str
    #: Width in pixels; 0 if the picture could not be read.
    width: int
    #: Height in pixels; 0 if the picture could not be read.
    height: int
    #: The faces; none if none was found.
    faces: tuple[Face, ...]
    #: Why the picture could not be read.
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, with the names that `fer infer --format json` uses."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "faces": [face.to_dict() for face in self.faces],
        }
