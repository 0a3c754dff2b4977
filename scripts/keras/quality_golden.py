"""Writes what SciPy, Pillow and libjpeg do: the expectation of the tests of blur, downscaling and JPEG as augmentation.

    python3 scripts/keras/quality_golden.py [-o tests/golden] [--check]

`quality.safetensors`, n changes of one image each:

    images    u8  [n, 48, 48]
    params    f32 [n, 3]       share of the sides to scale down to, sigma of the blur in pixels, quality of JPEG; 0: none
    expected  f32 [n, 48, 48]  in 0..255; whole levels where JPEG is the last step

and one image whose sides are not multiples of 8, at one quality, `odd_quality`:

    odd           u8  [43, 45]
    odd_quality   f32 [1]
    odd_expected  f32 [43, 45]

Down is the mean of each pixel's area, up is Pillow's BILINEAR, blur is SciPy's `gaussian_filter(mode="nearest")`, JPEG is
Pillow's `save(quality=...)` and libjpeg-turbo's decoder.

`--check` writes nothing and compares with the file that is there.
"""

import env

env.enter()

import argparse
import io

from goldens import SIZE, add_arguments, face, finish
from load import UserError

import numpy as np
import PIL
import scipy
from PIL import Image
from scipy.ndimage import gaussian_filter

# Share, sigma, quality, and the image: an emotion, or None for noise. JPEG alone has whole levels to begin with.
CHANGES = [
    (0.4, 0, 0, None),
    (0.5, 0, 0, "angry"),
    (0.73, 0, 0, None),
    (0.9, 0, 0, "fear"),
    (0, 0.3, 0, None),
    (0, 0.7, 0, "happy"),
    (0, 1.2, 0, None),
    (0.6, 0.8, 0, None),
    (0, 0, 30, "sad"),
    (0, 0, 50, None),
    (0, 0, 75, "surprise"),
    (0, 0, 75, None),
    (0, 0, 95, "neutral"),
    (0, 0, 95, None),
]
ODD_QUALITY = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args()
    libraries = f"Pillow {PIL.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}"
    metadata = {"made_by": f"scripts/keras/quality_golden.py with {libraries}"}
    finish(options.output / "quality.safetensors", changes(), metadata, options.check)


def changes():
    noise = np.random.default_rng(48).integers(0, 256, (SIZE, SIZE), np.uint8)
    images = np.stack([noise if row[3] is None else face(row[3]) for row in CHANGES])
    odd = np.ascontiguousarray(images[1][:43, :45])
    return {
        "images": images,
        "params": np.array([row[:3] for row in CHANGES], np.float32),
        "expected": np.stack([changed(image, *row[:3]) for image, row in zip(images, CHANGES)]),
        "odd": odd,
        "odd_quality": np.array([ODD_QUALITY], np.float32),
        "odd_expected": jpeg(odd, ODD_QUALITY),
    }


def changed(image, share, sigma, quality):
    if quality:
        return jpeg(image, quality)
    levels = image.astype(np.float32)
    if share:
        small = Image.fromarray(area_mean(area_mean(levels, share).T, share).T.astype(np.float32))
        levels = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    if sigma:
        levels = gaussian_filter(levels.astype(np.float64), sigma, mode="nearest")
    return levels.astype(np.float32)


def area_mean(rows, share):
    """Fewer rows, each the mean of the area that it covers: of as many copies of each row as there will be rows."""
    count = round(share * len(rows))
    return np.repeat(rows.astype(np.float64), count, axis=0).reshape(count, len(rows), -1).mean(axis=1)


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).astype(np.float32)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
