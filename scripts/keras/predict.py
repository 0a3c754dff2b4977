"""Runs a Keras classifier on images and writes its probabilities.

    python3 scripts/keras/predict.py MODEL.keras|MODEL.h5 --list FILE --output FILE.jsonl [--batch 64] [--scale S]
                                     [--resize nearest|antialias]

The list is a JSON array of paths. The output has one JSON line a path, in order: {"path": ..., "probabilities": [...]}, or
{"path": ..., "error": ...} for an image that cannot be read. Images are decoded by images.py, independently of the Rust code,
resized by nearest neighbour as Keras does (or antialiased), and multiplied by the scale in float32. Exit status: 0 if it ran, whatever the
images; 2 if the arguments or the model are wrong.
"""

import env

env.enter()

import argparse
import json
import sys
import time

from files import write
from images import pixels
from load import SCALE, Classifier, UserError

import numpy as np


def main():
    options = arguments()
    paths = read_list(options.list)
    classifier = Classifier(options.model)
    lines, said = [], time.monotonic()
    for start in range(0, len(paths), options.batch):
        lines += predict(classifier, paths[start : start + options.batch], options.scale, options.resize)
        if time.monotonic() - said > 5:
            print(f"{len(lines)} of {len(paths)} images", file=sys.stderr, flush=True)
            said = time.monotonic()
    write(options.output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    parser.add_argument("--list", required=True, metavar="FILE", help="UTF-8 file with a JSON array of image paths")
    parser.add_argument("--output", required=True, metavar="FILE", help="the JSON lines file to write")
    parser.add_argument("--batch", type=positive, default=64, metavar="N", help="images a batch; default: %(default)s")
    parser.add_argument("--scale", type=float, default=SCALE, metavar="S",
                        help="factor from 0..255 pixels to the input; default: 1/255")
    parser.add_argument("--resize", choices=["nearest", "antialias"], default="nearest",
                        help="how images of another size are resized; default: %(default)s")
    return parser.parse_args()


def positive(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def read_list(path):
    try:
        with open(path, encoding="utf-8") as file:
            paths = json.load(file)
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
        raise UserError(f"{path}: not a JSON array of paths")
    return paths


def predict(classifier, paths, scale, resize):
    """One record a path."""
    records, batch = [], []
    for path in paths:
        try:
            batch.append(pixels(path, classifier.width, classifier.height, classifier.channels, resize))
            records.append({"path": path})
        except Exception as error:  # Pillow's decoders raise many types; one bad image must not end the run
            records.append({"path": path, "error": getattr(error, "strerror", None) or str(error) or type(error).__name__})
    if batch:
        rows = iter(classifier.probabilities(np.stack(batch).astype(np.float32) * np.float32(scale)))
        for record in records:
            if "error" not in record:
                # The shortest decimals that give the same float32 again.
                record["probabilities"] = [float(str(value)) for value in next(rows)]
    return records


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
