"""Finds and classifies faces with OpenCV and Python's ONNX Runtime, and writes a CSV file; one of the contenders of photos.py.

    python peer_photos.py DETECTOR.onnx MODEL.onnx LIST OUTPUT.csv THREADS BATCH

LIST has one path a line. The same weights, sizes and crops as fer: a longest side of 640, squares of 1.04 times the longer side.
The faces of many pictures are classified as one batch.
"""

import csv
import sys

import cv2
import numpy as np
import onnxruntime

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
LONGEST = 640
FRAME = 1.04


def main():
    detector, model, paths, output, threads, size = sys.argv[1:]
    threads, size = int(threads), int(size)
    cv2.setNumThreads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = session.get_inputs()[0]
    channels = 1 if images.shape[1] == 1 else 3
    detector = cv2.FaceDetectorYN.create(detector, "", (LONGEST, LONGEST), 0.6, 0.3, 5000)
    with open(paths, encoding="utf-8") as file:
        paths = file.read().splitlines()
    with open(output, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "face", "x", "y", "w", "h", "score", "label", "confidence", *LABELS])
        waiting = []

        def classify():
            tensor = np.stack([crop for *_, crop in waiting]).astype(np.float32) / np.float32(255)
            rows = session.run(None, {images.name: np.expand_dims(tensor, channels)})[0]
            for (path, number, face, _), row in zip(waiting, rows):
                writer.writerow([path, number, *face[:4], face[14], LABELS[row.argmax()], row.max(), *row])
            waiting.clear()

        for path in paths:
            image = cv2.imread(path)
            if image is None:
                sys.exit(f"error: {path}: cannot be read")
            faces = found(detector, image)
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            for number, face in enumerate(faces):
                waiting.append((path, number, face, cut(gray, face)))
                if len(waiting) == size:
                    classify()
            if not len(faces):
                writer.writerow([path])
        if waiting:
            classify()


def found(detector, image):
    height, width = image.shape[:2]
    factor = min(1, LONGEST / max(height, width))
    if factor < 1:
        image = cv2.resize(image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    detector.setInputSize((image.shape[1], image.shape[0]))
    faces = detector.detect(image)[1]
    if faces is None:
        return []
    faces[:, :14] /= factor
    return faces[np.argsort(-faces[:, 2] * faces[:, 3])]


def cut(gray, face):
    x, y, w, h = face[:4]
    side = FRAME * max(w, h)
    left, top = round(float(x + w / 2 - side / 2)), round(float(y + h / 2 - side / 2))
    side = max(1, round(float(side)))
    height, width = gray.shape
    inside = gray[max(0, top):min(height, top + side), max(0, left):min(width, left + side)]
    edges = max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width)
    if any(edges):
        inside = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_REPLICATE)
    return cv2.resize(inside, (48, 48), interpolation=cv2.INTER_AREA if side >= 48 else cv2.INTER_LINEAR)


if __name__ == "__main__":
    main()
