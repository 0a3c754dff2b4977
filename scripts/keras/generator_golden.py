"""Writes what Keras's ImageDataGenerator does: the expectation of the tests of augmentation and of the data split.

    python3 scripts/keras/generator_golden.py [-o tests/golden] [--check]

`augment.safetensors`, n transforms of one image each by `ImageDataGenerator(fill_mode="nearest",
interpolation_order=1).apply_transform` (names as in Keras):

    images    u8  [n, 48, 48]
    params    f32 [n, 6]       theta (degrees), tx, ty (pixels), zx, zy, flip_horizontal (0 or 1)
    expected  f32 [n, 48, 48]  in 0..255, not rounded

Seen from the center of the image, x to the right and y downwards, the pixel of the result at (x, y) before the flip is the
image's at R(theta) (zx x + tx, zy y + ty), where R(theta) (a, b) = (a cos - b sin, a sin + b cos). So tx moves columns and ty
moves rows, although Keras draws tx from `height_shift_range` and ty from `width_shift_range`. The flip comes last.

`split.json`, which files of the full Kaggle layout `flow_from_directory` gives with `validation_split=0.2`: for subset
"training" of train/ and "validation" of test/, the counts and the sha256 of the file names (`<class>/<name>`, in Keras's
order, joined by newlines). The k-th file of a class (k from 0) is `<prefix>_<number>.jpg`, its number with 8 digits being
`(k * step + class index) % 10**8`. Its prefix is `Training` in train/ and, in test/, `PublicTest` for even k and
`PrivateTest` for odd k. `step` stands in the file.

`--check` writes nothing and compares with the files that are there.
"""

import env

env.enter()

import argparse
import contextlib
import hashlib
import io
import tempfile
from pathlib import Path

from goldens import SIZE, add_arguments, face, finish, finish_json
from load import FER_LABELS, UserError

import keras
import numpy as np
import scipy
from keras.src.legacy.preprocessing.image import ImageDataGenerator

# theta, tx, ty, zx, zy, flip_horizontal, and the image: an emotion, or None for noise.
TRANSFORMS = [
    (0, 0, 0, 1, 1, 0, "angry"),
    (0, 3, 0, 1, 1, 0, "angry"),
    (0, 0, -2, 1, 1, 0, "disgust"),
    (0, 2.75, 0, 1, 1, 0, "fear"),
    (0, 0, -4.6, 1, 1, 0, "happy"),
    (0, -4.8, 4.8, 1, 1, 0, None),
    (0, 30.25, -60, 1, 1, 0, "neutral"),
    (0, 0, 0, 1, 1, 1, "sad"),
    (0, 1.3, -0.7, 1, 1, 1, "surprise"),
    (10, 0, 0, 1, 1, 0, "angry"),
    (-33.5, 0, 0, 1, 1, 0, None),
    (90, 0, 0, 1, 1, 0, "happy"),
    (0, 0, 0, 0.8, 0.8, 0, "disgust"),
    (0, 0, 0, 1.25, 1.25, 0, "fear"),
    (0, 0, 0, 0.9, 1.15, 1, "neutral"),
    (7.5, -2.2, 3.4, 1.1, 0.95, 0, "sad"),
    (-15, 4.1, -1.6, 0.85, 1.2, 1, "surprise"),
    (22, -3.9, -4.4, 1.05, 0.9, 1, None),
]
# Files a class, in the order of FER_LABELS.
TRAIN = [3995, 436, 4097, 7215, 4965, 4830, 3171]
TEST = [958, 111, 1024, 1774, 1233, 1247, 831]
# Has no factor in common with 10**8, so that no two files get one number, and their order is not that of k.
STEP = 7_654_321


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args()
    made_by = f"scripts/keras/generator_golden.py with Keras {keras.__version__}, SciPy {scipy.__version__}"
    metadata = {"made_by": f"{made_by}, NumPy {np.__version__}"}
    finish(options.output / "augment.safetensors", augment(), metadata, options.check)
    finish_json(options.output / "split.json", {"made_by": made_by, "step": STEP, **split()}, options.check)


def augment():
    params = np.array([row[:6] for row in TRANSFORMS], np.float32)
    noise = np.random.default_rng(48).integers(0, 256, (SIZE, SIZE), np.uint8)
    images = np.stack([noise if row[6] is None else face(row[6]) for row in TRANSFORMS])
    generator = ImageDataGenerator(fill_mode="nearest", interpolation_order=1)
    names = ["theta", "tx", "ty", "zx", "zy", "flip_horizontal"]
    expected = [
        generator.apply_transform(image[:, :, None].astype(np.float32), dict(zip(names, row.tolist())))
        for image, row in zip(images, params)
    ]
    return {"images": images, "params": params, "expected": np.ascontiguousarray(np.stack(expected)[:, :, :, 0])}


def split():
    generator = ImageDataGenerator(validation_split=0.2)
    with tempfile.TemporaryDirectory() as folder:
        result = {}
        for part, counts, subset in [("train", TRAIN, "training"), ("test", TEST, "validation")]:
            for index, (label, count) in enumerate(zip(FER_LABELS, counts)):
                target = Path(folder, part, label)
                target.mkdir(parents=True)
                for k in range(count):
                    # Keras lists files by their names and opens none.
                    (target / file_name(part, index, k)).touch()
            with contextlib.redirect_stdout(io.StringIO()):
                flow = generator.flow_from_directory(Path(folder, part), subset=subset)
            names = [name.replace("\\", "/") for name in flow.filenames]
            result[part] = {
                "files": dict(zip(FER_LABELS, counts)),
                "subset": subset,
                "count": len(names),
                "counts": {label: sum(name.startswith(label + "/") for name in names) for label in FER_LABELS},
                "first": names[0],
                "last": names[-1],
                "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
            }
        return result


def file_name(part, index, k):
    prefix = "Training" if part == "train" else ("PublicTest", "PrivateTest")[k % 2]
    return f"{prefix}_{(k * STEP + index) % 10**8:08}.jpg"


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
