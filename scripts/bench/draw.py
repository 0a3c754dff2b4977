"""Draws 48×48 grayscale JPEG files of cartoon faces, every one a little different; used by peers.py.

    python draw.py FOLDER COUNT

The same count gives the same pictures. Needs OpenCV and numpy.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "keras"))

import faces

SIZE = 48


def main():
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    random = np.random.default_rng(48)
    drawn = [255 * faces.draw(emotion, SIZE, light).mean(2) for emotion in faces.EMOTIONS for light in (-0.4, 0.4)]
    for number in range(count):
        face = np.roll(drawn[number % len(drawn)], random.integers(-2, 3, 2), (0, 1))
        face = face * random.uniform(0.7, 1.2) + random.normal(0, 4, face.shape)
        path = folder / f"{number:06}.jpg"
        if not cv2.imwrite(str(path), face.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95]):
            sys.exit(f"error: {path}: cannot be written")


if __name__ == "__main__":
    main()
