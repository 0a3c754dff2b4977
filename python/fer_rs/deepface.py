"""Results of the shape that DeepFace returns, so that moving is one line."""

from __future__ import annotations

from typing import Any

from ._fer import ImageError
from .classifier import Classifier

_default: Classifier | None = None


def analyze(
    img_path: Any,
    actions: tuple[str, ...] | list[str] = ("emotion",),
    enforce_detection: bool = True,
    *,
    classifier: Classifier | None = None,
) -> list[dict[str, Any]]:
    """The emotions of each face of a picture, as `DeepFace.analyze(actions=["emotion"])` gives them.

    Arrays are BGR, as DeepFace's are, if `classifier` is left out. Percentages are 0 to 100. Raises
    ValueError if no face is found and `enforce_detection` is true; otherwise the whole picture is
    taken for a face. DeepFace's class "happy" and the others have the same names here.
    """
    if list(actions) != ["emotion"]:
        raise ValueError(f"actions={actions!r}: fer analyzes emotion alone")
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
    return [_result(face) for face in record.faces]


def _result(face: Any) -> dict[str, Any]:
    if face.error is not None:
        raise ImageError(face.error)
    eyes = face.landmarks or (None, None)
    return {
        "emotion": {label: 100 * p for label, p in face.probabilities.items()},
        "dominant_emotion": face.label,
        "region": {
            "x": round(face.box.x),
            "y": round(face.box.y),
            "w": round(face.box.w),
            "h": round(face.box.h),
            # DeepFace's left eye is the one on the person's left.
            "left_eye": eyes[1] and tuple(map(round, eyes[1])),
            "right_eye": eyes[0] and tuple(map(round, eyes[0])),
        },
        "face_confidence": 0.0 if face.score is None else face.score,
    }
