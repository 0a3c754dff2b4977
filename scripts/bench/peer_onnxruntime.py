"""Classifies images with Python's ONNX Runtime and OpenCV and writes a CSV file; one of the contenders of peers.py.

    python peer_onnxruntime.py MODEL.onnx LIST OUTPUT.csv THREADS

LIST has one path a line.
"""

import csv
import sys

import cv2
import numpy as np
import onnxruntime

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
BATCH = 64


def main():
    model, paths, output, threads = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = session.get_inputs()[0]
    channels = 1 if images.shape[1] == 1 else 3
    with open(paths, encoding="utf-8") as file:
        paths = file.read().splitlines()
    with open(output, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "confidence", *LABELS])
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            tensor = np.stack([pixels(path) for path in batch]).astype(np.float32) / np.float32(255)
            for path, row in zip(batch, session.run(None, {images.name: np.expand_dims(tensor, channels)})[0]):
                writer.writerow([path, LABELS[row.argmax()], row.max(), *row])


def pixels(path):
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if image is None:
        sys.exit(f"error: {path}: cannot be read")
    return image if image.shape == (48, 48) else cv2.resize(image, (48, 48), interpolation=cv2.INTER_NEAREST_EXACT)


if __name__ == "__main__":
    main()
