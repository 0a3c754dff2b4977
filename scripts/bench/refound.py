#!/usr/bin/env python3
"""What finding faces costs: FER-2013's PublicTest pasted into larger pictures and found again.

    scripts/bench/refound.py FER2013 [--surround edge|gray] [--lean DEGREES] [--crop CROP]
                                     [--model FILE] [--every N]

FER2013 is the folder with test/. Each image is enlarged four times (192 pixels, bilinear) and
pasted into a picture of 640x480 pixels, at a place drawn by its number. Around it, with `edge` its
outermost pixels go on, with `gray` all is gray. --lean turns it clockwise first. `fer infer --faces
always --max-faces 1` classifies the pictures, `fer infer --faces never` the images as they are.
--crop overrides the model's (`fer.crop`). --every N takes each Nth image.

Printed are the accuracy as they are and found again, of the images that were found, and the
difference in points with its 95 % interval: the differences are paired by image. Without --lean, it
is also printed apart for the images of which at most a fifth of the square of 1.04 sides of the box
lies outside the pasted image, and for the others. Needs Pillow.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (640, 480)
ZOOM = 4
GRAY = 128
FRAME = 1.04
FIFTH = 0.2


class UserError(Exception):
    """Something the caller can put right; its text is one line."""


def main():
    options = arguments()
    images = sorted(options.data.glob("test/*/PublicTest*"))[:: options.every]
    if not images:
        raise UserError(f"{options.data}/test holds no PublicTest image")
    with tempfile.TemporaryDirectory() as folder:
        pictures = [Path(folder) / f"{number:05}.png" for number in range(len(images))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda pair: compose(*pair, options), zip(images, pictures)))
        found = classified(pictures, options, "--faces", "always", "--max-faces", "1")
    whole = classified(images, options, "--faces", "never")
    report(images, whole, [face_of(record) for record in found], options)


def arguments():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("data", metavar="FER2013", type=Path, help="the folder with test/")
    parser.add_argument("--surround", choices=["edge", "gray"], default="edge",
                        help="what is around the images; default: %(default)s")
    parser.add_argument("--lean", metavar="DEGREES", type=float, default=0,
                        help="turns the images clockwise; default: %(default)s")
    parser.add_argument("--crop", metavar="CROP", help="overrides the model's")
    parser.add_argument("--model", metavar="FILE", type=Path, default=ROOT / "models/fer.onnx")
    parser.add_argument("--every", metavar="N", type=int, default=1, help="each Nth image")
    parser.add_argument("--engine", default="auto", help="auto, ort or burn; default: %(default)s")
    return parser.parse_args()


def compose(image, picture, options):
    """Writes a picture with the image in it."""
    image = Image.open(image).convert("L")
    width, height = (side * ZOOM for side in image.size)
    left, top = place((width, height), picture.stem)
    if options.lean:
        # Turned, it needs room.
        left, top = (SIZE[0] - width) // 2, (SIZE[1] - height) // 2
    enlarged = image.resize((width, height), Image.Resampling.BILINEAR)
    # Large enough that no corner of the picture shows when it is turned.
    margin = SIZE[0]
    canvas = Image.new("L", tuple(side + 2 * margin for side in SIZE), GRAY)
    at = (left + margin, top + margin)
    if options.surround == "edge":
        spread(canvas, enlarged, at)
    canvas.paste(enlarged, at)
    if options.lean:
        center = (at[0] + width / 2, at[1] + height / 2)
        canvas = canvas.rotate(-options.lean, Image.Resampling.BILINEAR, center=center)
    canvas = canvas.crop((margin, margin, margin + SIZE[0], margin + SIZE[1]))
    canvas.save(picture, compress_level=1)


def place(size, name):
    """Where an image is pasted: left and top, drawn by the picture's name."""
    drawn = random.Random(name)
    return [drawn.randrange(whole - side) for whole, side in zip(SIZE, size)]


def outside(face, name):
    """The share of a face's square that lies outside the pasted image, of FER-2013's 48 pixels."""
    box, size = face["box"], 48 * ZOOM
    side = FRAME * max(box["w"], box["h"])
    inside = 1
    for start, length, at in zip("xy", "wh", place((size, size), name)):
        low = box[start] + box[length] / 2 - side / 2 - at
        inside *= max(0, min(low + side, size) - max(low, 0)) / side
    return 1 - inside


def spread(canvas, image, at):
    """Fills the canvas with the image's outermost pixels, outwards from its place."""
    (left, top), (width, height) = at, image.size
    right, bottom = left + width, top + height
    columns, rows = [(0, left), (right, canvas.width)], [(0, top), (bottom, canvas.height)]
    for (start, end), x in zip(columns, (0, width - 1)):
        line = image.crop((x, 0, x + 1, height))
        canvas.paste(line.resize((end - start, height)), (start, top))
    for (start, end), y in zip(rows, (0, height - 1)):
        line = image.crop((0, y, width, y + 1))
        canvas.paste(line.resize((width, end - start)), (left, start))
        for (first, last), x in zip(columns, (0, width - 1)):
            canvas.paste(image.getpixel((x, y)), (first, start, last, end))


def classified(paths, options, *more):
    """The record of each file."""
    fer = Path(os.environ.get("FER", ROOT / "target/release/fer"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(str(path.absolute()) for path in paths))
        listed.flush()
        words = ["infer", "-q", "--format", "jsonl", "--model", options.model, "--engine",
                 options.engine, *more]
        if options.crop and "always" in more:
            words += ["--meta", f"crop={options.crop}"]
        done = subprocess.run([fer, *words, f"@{listed.name}"], stdout=subprocess.PIPE, text=True,
                              check=False)
    if done.returncode != 0:
        raise UserError(f"{fer} {' '.join(map(str, words))} failed (see above)")
    return [json.loads(line) for line in done.stdout.splitlines()]


def face_of(record):
    return record["faces"][0] if record["faces"] else None


def report(images, whole, found, options):
    right = [record["label"] == image.parent.name for image, record in zip(images, whole)]
    pairs = [(own, face["label"] == image.parent.name)
             for image, own, face in zip(images, right, found) if face]
    count = len(pairs)
    if count < 2:
        raise UserError("no face was found")
    named = [options.model.name, f"surround {options.surround}", f"lean {options.lean:g}°"]
    print(", ".join([*named, f"crop {options.crop or 'of the model'}"]))
    print(f"found: {count} of {len(images)} images ({100 * count / len(images):.1f} %)")
    own = percent([own for own, _ in pairs])
    print(f"as they are: {percent(right)} of all, {own} of those found")
    print(f"found again: {percent([again for _, again in pairs])}")
    print(f"difference: {difference(pairs)}")
    if options.lean:
        return
    shares = [outside(face, f"{number:05}") for number, face in enumerate(found) if face]
    near = [pair for pair, share in zip(pairs, shares) if share <= FIFTH]
    far = [pair for pair, share in zip(pairs, shares) if share > FIFTH]
    print(f"at most a fifth of the crop outside the image: {difference(near)}")
    print(f"more of it: {difference(far)}")


def difference(pairs):
    """The mean difference of pairs of right or wrong, with its interval."""
    count = len(pairs)
    if count < 2:
        return f"{count} images"
    changes = [again - own for own, again in pairs]
    mean = sum(changes) / count
    variance = sum((change - mean) ** 2 for change in changes) / (count - 1)
    half = 1.96 * math.sqrt(variance / count)
    low, high = (f"{100 * (mean + side * half):+.2f}" for side in (-1, 1))
    return f"{100 * mean:+.2f} points ({low} to {high}) on {count} images"


def percent(values):
    return f"{100 * sum(values) / len(values):.2f} %"


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
