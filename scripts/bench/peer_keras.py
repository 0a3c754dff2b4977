"""Classifies images with Keras's `predict` and writes a CSV file; one of the contenders of peers.py.

    python peer_keras.py MODEL.keras LIST OUTPUT.csv

LIST has one path a line. All images are loaded before one call of `predict`, which is quicker than a `PyDataset` that loads
them batch by batch.
"""

import csv
import sys

import keras
import numpy as np

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
BATCH = 64


def main():
    model, paths, output = sys.argv[1:]
    model = keras.models.load_model(model, compile=False)
    with open(paths, encoding="utf-8") as file:
        paths = file.read().splitlines()
    images = np.stack([pixels(path) for path in paths]) / np.float32(255)
    rows = model.predict(images, batch_size=BATCH, verbose=0)
    with open(output, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "confidence", *LABELS])
        for path, row in zip(paths, rows):
            writer.writerow([path, LABELS[row.argmax()], row.max(), *row])


def pixels(path):
    return keras.utils.img_to_array(keras.utils.load_img(path, color_mode="grayscale", target_size=(48, 48)))


if __name__ == "__main__":
    main()
