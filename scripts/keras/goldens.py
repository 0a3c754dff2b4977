"""What training_golden.py, generator_golden.py and quality_golden.py share: drawn faces as pixels, and writing a file or
comparing with it.

Imported by them inside the environment of env.py; not a program of its own.
"""

import json
import os
from pathlib import Path

from files import write
from images import pixels
from load import UserError

import numpy as np
import safetensors.numpy

ROOT = Path(__file__).resolve().parents[2]
SIZE = 48


def face(emotion):
    """A drawn face as u8 `[48, 48]`."""
    return pixels(ROOT / f"examples/faces/{emotion}.png", SIZE, SIZE, 1, "antialias")[:, :, 0]


def add_arguments(parser):
    parser.add_argument("-o", "--output", default=ROOT / "tests/golden", type=Path,
                        metavar="FOLDER", help="default: tests/golden of the repository")
    parser.add_argument("--check", action="store_true", help="write nothing: compare with the files in FOLDER")


def finish(path, tensors, metadata, check, tolerance=lambda name: (1e-5, np.max)):
    """Writes a safetensors file, or compares with it: a difference is a UserError.

    `tolerance` gives for a tensor's name what another processor's rounding may change, relative to the largest magnitude in
    the tensor, and the function that makes one number of the differences.
    """
    if check:
        compare(path, tensors, tolerance)
        return
    write(path, safetensors.numpy.save(tensors, metadata))
    print(f"{path}: {os.path.getsize(path):,} bytes, {len(tensors)} tensors")


def finish_json(path, content, check):
    """Writes a JSON file, or compares with it: a difference in anything but `made_by` is a UserError."""
    if check:
        if {**json.loads(path.read_text(encoding="utf-8")), "made_by": ""} != {**content, "made_by": ""}:
            raise UserError(f"{path}: Keras gives something else now")
        print(f"{path}: the same")
        return
    write(path, (json.dumps(content, indent=2) + "\n").encode())
    print(f"{path}: {os.path.getsize(path):,} bytes")


def compare(path, tensors, tolerance):
    committed = safetensors.numpy.load_file(path)
    if committed.keys() != tensors.keys():
        raise UserError(f"{path}: other tensors: {', '.join(sorted(committed.keys() ^ tensors.keys())[:5])}")
    wrong = []
    for name, expected in committed.items():
        found, (limit, measure) = tensors[name], tolerance(name)
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise UserError(f"{path}: {name} is {expected.dtype} {expected.shape} there and {found.dtype} {found.shape} now")
        scale = np.abs(expected.astype(np.float64)).max() or 1.0
        difference = measure(np.abs(found.astype(np.float64) - expected)) / scale
        if not difference <= limit:
            wrong.append(f"{name} by {difference:.1e}")
    if wrong:
        raise UserError(f"{path}: {len(wrong)} of {len(committed)} tensors differ: {', '.join(wrong[:10])}")
    print(f"{path}: the same {len(committed)} tensors")
