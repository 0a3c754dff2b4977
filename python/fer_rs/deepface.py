"""Results of the shape that DeepFace returns, so that moving is one line."""

from __future__ import annotations

from typing import Any

from ._fer import ImageError
from .classifier import Classifier
from .pictures import is_one
from .records import Face

_default: Classifier | None = None


def analyze(
    img_path: Any,
    actions: str | tuple[str, ...] | list[str] = ("emotion",),
    enforce_detection: bool = True,
    *,
    classifier: Classifier | None = None,
) -> list[dict[str, Any]]:
    """The emotions of the faces of a picture, as `DeepFace.analyze(actions=["emotion"])` has them.

    Arrays are BGR, as DeepFace's are, if `classifier` is left out. Percentages are 0 to 100. Raises
    ValueError if no face is found and `enforce_detection` is true; otherwise the whole picture is
    taken for a face. DeepFace's class "happy" and the others have the same names here.
    """
    if actions != "emotion" and list(actions) != ["emotion"]:
        raise ValueError(f"actions={actions!r}: fer analyzes emotion alone")
    if not is_one(img_path):
        raise TypeError(f"img_path is one picture, not several: {type(img_path).__name__}")
    global _default
    if classifier is None:
        if _default is None:
            _default = Classifier(channel_order="bgr")
        classifier = _default
    record = classifier(img_path)
    if record.error is not None:
        raise ImageError(f"{record.path}: {record.error}")
    if not record.faces:
        if enforce_detection:
            raise ValueError(
                f"{record.path}: no face was found; "
                "enforce_detection=False takes the whole picture for one"
            )
        record = classifier(img_path, faces="never")
    return [_result(face, record.width, record.height) for face in record.faces]


def _result(face: Face, width: int, height: int) -> dict[str, Any]:
    """A face as DeepFace has it: percentages, and a box in whole pixels within the picture."""
    if face.error is not None:
        raise ImageError(face.error)

    def whole(value: float, most: int) -> int:
        return round(min(max(value, 0), most))

    def eye(point: tuple[float, ...]) -> tuple[int, int]:
        return whole(point[0], width), whole(point[1], height)

    box = face.box
    x, y = whole(box.x, width), whole(box.y, height)
    return {
        "emotion": {label: 100 * p for label, p in face.probabilities.items()},
        "dominant_emotion": face.label,
        "region": {
            "x": x,
            "y": y,
            "w": whole(box.x + box.w, width) - x,
            "h": whole(box.y + box.h, height) - y,
            # DeepFace's left eye is the one on the person's left.
            "left_eye": eye(face.landmarks[1]) if face.landmarks else None,
            "right_eye": eye(face.landmarks[0]) if face.landmarks else None,
        },
        "face_confidence": 0.0 if face.score is None else face.score,
    }
