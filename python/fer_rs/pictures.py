"""From what Python users have to what the extension takes: paths, bytes, arrays of 8-bit pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Union

import numpy as np

# Pixels are an array of uint8, [height, width, 1 or 3], which is read where it is.
Native = Union[str, bytes, np.ndarray]


class Named(NamedTuple):
    """A picture for the extension, what records call it, and why it has none if it has none."""

    name: str
    picture: Native | None
    error: str | None = None


class NotAPicture(ValueError):
    """This array is not a picture, though others of its kind are."""


def is_one(pictures: Any) -> bool:
    """Whether this is one picture and not several.

    Raises ValueError for an array that may be a picture with alpha or a stack of narrow ones.
    """
    if isinstance(pictures, np.ndarray):
        if pictures.ndim == 3 and pictures.shape[-1] in (2, 4):
            raise ValueError(
                f"an array of shape {pictures.shape} may be a picture with alpha, or pictures of "
                f"{pictures.shape[-1]} columns: drop alpha, as array[:, :, :3], or give a list"
            )
        return pictures.ndim == 2 or (pictures.ndim == 3 and pictures.shape[-1] in (1, 3))
    one_file = (str, os.PathLike, bytes, bytearray, memoryview)
    return isinstance(pictures, one_file) or _is_pil(pictures)


def several(
    pictures: Iterable[Any], channel_order: str, value_range: tuple[float, float] | None
) -> list[Named]:
    """The pictures for the extension.

    Raises TypeError or ValueError for what is not a picture.
    """
    # An iterator may write its next picture into the same array.
    kept = isinstance(pictures, (np.ndarray, Sequence))
    return [one(picture, channel_order, value_range, copy=not kept) for picture in pictures]


def one(
    picture: Any,
    channel_order: str,
    value_range: tuple[float, float] | None,
    *,
    copy: bool = False,
) -> Named:
    """A picture for the extension. Without `copy`, an array of uint8 has to stay as it is until the
    extension is done."""
    if isinstance(picture, (str, os.PathLike)):
        path = os.fspath(picture)
        return Named(os.fsdecode(path), path)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return Named("<bytes>", bytes(picture))
    if _is_pil(picture):
        if picture.mode[0] in "IF":
            # PIL would cut their values off at 255.
            raise TypeError(
                f"a PIL image of mode {picture.mode} does not say which values are black and "
                "white: give its file, or an array of floats with a value_range"
            )
        gray = picture.mode in ("1", "L")
        try:
            # Alpha is dropped without blending, as everywhere in fer.
            pixels = np.asarray(picture.convert("L" if gray else "RGB"))
        except Exception as error:
            # PIL reads a file only now, and its plugins raise anything.
            return Named("<PIL image>", None, f"PIL can't read it: {error}")
        return Named("<PIL image>", _pixels(pixels))
    if isinstance(picture, np.ndarray):
        array = _eight_bits(picture, value_range)
        if copy and array is picture:
            array = array.copy()
        return Named("<array>", _pixels(array, channel_order))
    raise TypeError(
        f"a {type(picture).__name__} is not a picture; "
        "pictures are paths, bytes, PIL images and NumPy arrays"
    )


def _is_pil(value: Any) -> bool:
    # Without importing PIL, which need not be there.
    return any(c.__module__ == "PIL.Image" and c.__name__ == "Image" for c in type(value).__mro__)


def _eight_bits(array: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """The array in 8 bits: floats by their range, rounded to the nearest of 256 values."""
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"pixels of {array.dtype}: they are uint8, or floats with a value_range")
    if value_range is None:
        raise ValueError(
            "pixels are floats: say which values are black and white, as value_range=(0, 1)"
        )
    low, high = map(float, value_range)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"value_range={value_range} is not (black, white) with black < white")
    if not np.isfinite(array).all():
        raise NotAPicture("pixels are NaN or infinite")
    # A range that does not fit would give a wrong answer without a word.
    slack = 1e-3 * (high - low)
    if array.size and (array.min() < low - slack or array.max() > high + slack):
        raise NotAPicture(
            f"pixels from {array.min():g} to {array.max():g} are outside value_range={value_range}"
        )
    scaled = (array.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _pixels(array: np.ndarray, channel_order: str = "rgb") -> np.ndarray:
    """A view of the array's pixels in RGB or gray: [height, width, channels]."""
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise NotAPicture(
            f"an array of shape {array.shape} is not a picture: "
            "pictures are [height, width], [height, width, 1] or [height, width, 3]"
        )
    if channel_order == "bgr" and array.shape[-1] == 3:
        array = array[:, :, ::-1]
    return array
