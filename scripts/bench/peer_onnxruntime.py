"""Classifies images with Python's ONNX Runtime and OpenCV and writes a CSV file; one of the contenders of peers.py.

    python peer_onnxruntime.py MODEL.onnx LIST OUTPUT.csv THREADS BATCH PROVIDER

LIST has one path a line; PROVIDER is ONNX Runtime's name of it.
"""

import csv
import sys

import cv2
import numpy as np
import onnxruntime

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]

def main():
    model, paths, output, threads, size, provider = sys.argv[1:]
    size = int(size)
    if provider == "CUDAExecutionProvider":
        onnxruntime.preload_dlls()  # NVIDIA's libraries, which lie beside it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    if session.get_providers()[0] != provider:
        sys.exit(f"error: {provider} does not start")
    images = session.get_inputs()[0]
    channels = 1 if images.shape[1] == 1 else 3
    with open(paths, encoding="utf-8") as file:
        paths = file.read().splitlines()
    with open(output, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "confidence", *LABELS])
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
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
