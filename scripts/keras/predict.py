"""Runs a Keras classifier on images and writes its outputs, those of `predict`.

    python3 scripts/keras/predict.py MODEL.keras|MODEL.h5 --list FILE --output FILE.jsonl [--batch 64] [--scale S]
                                     [--mean M[,M,M]] [--std S[,S,S]] [--bgr] [--resize nearest|antialias] [--size WxH]
                                     [--values N] [--float64] [--layers FILE.safetensors]

The list is a JSON array of paths. The output has one JSON line a path, in order: {"path": ..., "outputs": [...]}, or
{"path": ..., "error": ...} for an image that cannot be read. Images are decoded by images.py, independently of the Rust code,
resized by nearest neighbor as Keras does (or antialiased), and turned into `(pixel * scale - mean) / std` in float32. Exit
status: 0 if it ran, whatever the images; 2 if the arguments or the model are wrong. With --float64 the outputs are computed in
float64. With --layers, what each layer answers for the first batch is written too, float32 `[n, ...]` by the layer's name,
`model/layer` in models within the model; layers that are called more than once are left out.
"""

import env

env.enter()
env.require("h5py", "keras", "numpy", "PIL", "safetensors", "tensorflow")

import argparse
import collections
import json
import sys
import time

from files import write
from images import pixels
from load import SCALE, Classifier, UserError

import numpy as np
import safetensors.numpy


def main():
    options = arguments()
    paths = read_list(options.list)
    classifier = Classifier(options.model, legacy=True, size=options.size, values=options.values)
    recorder = Recorder(classifier) if options.layers else None
    lines, said = [], time.monotonic()
    for start in range(0, len(paths), options.batch):
        lines += predict(classifier, paths[start : start + options.batch], options)
        if recorder and start == 0:
            write(options.layers, safetensors.numpy.save(recorder.answers(paths[: options.batch], options)))
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
    parser.add_argument("--mean", type=numbers, metavar="M[,M,M]", help="subtracted then, for all channels or for each")
    parser.add_argument("--std", type=numbers, metavar="S[,S,S]", help="divides the rest, for all channels or for each")
    parser.add_argument("--bgr", action="store_true", help="the model takes blue, green, red")
    parser.add_argument("--resize", choices=["nearest", "antialias"], default="nearest",
                        help="how images of another size are resized; default: %(default)s")
    parser.add_argument("--size", type=size, metavar="WxH", help="the input's size, for a model that takes any")
    parser.add_argument("--values", type=positive, metavar="N", help="the number of values of the output, if there are several")
    parser.add_argument("--float64", action="store_true", help="compute in float64")
    parser.add_argument("--layers", metavar="FILE", help="a safetensors file to write the layers' answers to")
    return parser.parse_args()


def numbers(text):
    return np.array([float(number) for number in text.split(",")], np.float32)


def size(text):
    width, height = text.split("x")
    return positive(width), positive(height)


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


class Recorder:
    """Keeps what the layers of a model answer."""

    def __init__(self, classifier):
        self.classifier, self.kept, self.calls = classifier, {}, collections.Counter()
        for path, layer in leaf_layers(classifier, classifier.model, ""):
            layer.call = self.recorded(path, layer.call)

    def recorded(self, path, call):
        def wrapper(*args, **kwargs):
            answer = call(*args, **kwargs)
            self.kept[path] = answer
            self.calls[path] += 1
            return answer

        return wrapper

    def answers(self, paths, options):
        _, batch = read_images(self.classifier, paths, options)
        if not batch:
            return {}
        self.kept.clear()
        self.calls.clear()
        self.classifier.model(scaled(batch, options), training=False)
        once = {path: answer for path, answer in self.kept.items() if self.calls[path] == 1}
        return {path: np.asarray(answer, np.float32) for path, answer in once.items() if hasattr(answer, "shape")}


def leaf_layers(classifier, model, prefix):
    for layer in model.layers:
        if isinstance(layer, classifier.keras.Model):
            yield from leaf_layers(classifier, layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def read_images(classifier, paths, options):
    """One record a path, and the pixels of those that could be read."""
    records, batch = [], []
    for path in paths:
        try:
            batch.append(pixels(path, classifier.width, classifier.height, classifier.channels, options.resize))
            records.append({"path": path})
        except Exception as error:  # Pillow's decoders raise many types; one bad image must not end the run
            records.append({"path": path, "error": getattr(error, "strerror", None) or str(error) or type(error).__name__})
    return records, batch


def scaled(batch, options):
    values = np.stack(batch)
    if options.bgr:
        values = values[..., ::-1]
    values = values.astype(np.float32) * np.float32(options.scale)
    if options.mean is not None:
        values = values - options.mean
    return values if options.std is None else values / options.std


def predict(classifier, paths, options):
    """One record a path."""
    records, batch = read_images(classifier, paths, options)
    if batch:
        run = classifier.exact_outputs if options.float64 else classifier.outputs
        rows = iter(run(scaled(batch, options)))
        for record in records:
            if "error" not in record:
                # The shortest decimals that give the same number again.
                record["outputs"] = [float(str(value)) for value in next(rows)]
    return records


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
