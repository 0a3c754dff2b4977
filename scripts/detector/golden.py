"""Writes tests/golden/faces.json: the faces that OpenCV's FaceDetectorYN finds in the example photographs.

    python scripts/detector/golden.py face_detection_yunet_2023mar.onnx

The pixels are Pillow's, as fer decodes the same. `step` takes every such pixel of each row and column,
for faces of other sizes, and `repeat` puts the result so often beside and below itself. Pictures of 640 pixels at most are searched as they are, by OpenCV as by fer.
Needs opencv-python-headless 5.0, numpy and pillow.
"""

import argparse
import json
import pathlib

import cv2
import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = [("astronaut.jpg", 1, 1), ("astronaut.jpg", 2, 1), ("astronaut.jpg", 4, 5), ("astronaut.jpg", 7, 8),
         ("grace_hopper.jpg", 1, 1), ("grace_hopper.jpg", 2, 2), ("grace_hopper.jpg", 3, 3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector")
    detector = parser.parse_args().detector
    cases = []
    for name, step, repeat in CASES:
        rgb = np.asarray(Image.open(ROOT / "examples/photos" / name).convert("RGB"))[::step, ::step]
        image = np.ascontiguousarray(np.tile(rgb[:, :, ::-1], (repeat, repeat, 1)))
        height, width = image.shape[:2]
        assert max(height, width) <= 640, (name, image.shape)
        search = cv2.FaceDetectorYN.create(detector, "", (width, height), 0.6, 0.3, 5000)
        _, faces = search.detect(image)
        faces = [] if faces is None else faces.tolist()
        found = [{"box": f[:4], "landmarks": [f[4 + 2 * i:6 + 2 * i] for i in range(5)], "score": f[14]} for f in faces]
        cases.append({"picture": name, "step": step, "repeat": repeat, "faces": found})
        print(name, step, repeat, image.shape, len(found))
    text = json.dumps({"opencv": cv2.__version__, "cases": cases}, indent=None)
    (ROOT / "tests/golden/faces.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
