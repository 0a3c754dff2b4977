"""Decodes images with Pillow, by rules stated here and nowhere else on the Python side.

First frame only; the EXIF orientation is applied; alpha is dropped, not blended; of 16-bit samples the high byte counts.
Gray is Pillow's "L": (19595 R + 38470 G + 7471 B + 32768) >> 16.
"""

import warnings

import numpy as np
from PIL import Image, ImageOps

# Pillow warns of odd but readable files; what it cannot read is an error of its own.
warnings.filterwarnings("ignore", module="PIL")


def decode(path, channels):
    """The upright image, in Pillow's mode "L" for 1 channel and "RGB" for 3; raises OSError or ValueError."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):
        # 16-bit gray: Pillow itself would clip it at 255. (RGB with 16 bits it reduces on reading.)
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels are not supported")
    return image.convert("L" if channels == 1 else "RGB")


def pixels(path, width, height, channels, resize="nearest"):
    """The image as u8 `[height, width, channels]`, resized if its size differs."""
    image = decode(path, channels)
    if image.size != (width, height):
        method = Image.Resampling.NEAREST if resize == "nearest" else Image.Resampling.BILINEAR
        image = image.resize((width, height), method)
    return np.asarray(image).reshape(height, width, channels)
