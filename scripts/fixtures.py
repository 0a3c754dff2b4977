"""Draws every image of the repository, and writes what Pillow decodes from the test images.

    python3 scripts/fixtures.py [-o FOLDER]

    examples/faces/<emotion>.png         one drawn face an emotion
    tests/fixtures/images/*              small images in many formats, color modes and EXIF orientations
    tests/golden/preprocess.safetensors  u8 arrays for each test image: `<file>/gray` [H, W] and `<file>/rgb` [H, W, 3],
                                         decoded by the rules of keras/images.py; `<file>/nearest48` and
                                         `<file>/antialias48` [48, 48], the gray resized by nearest neighbor and by
                                         Pillow's reducing BILINEAR

The same bytes on every run in the environment of keras/env.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "keras"))
import env

env.enter()

import argparse
import io
import struct
import zlib

from faces import EMOTIONS, draw
from files import write
from images import decode

import numpy as np
import PIL
import safetensors.numpy
from PIL import Image, features

EXAMPLES, IMAGES, GOLDEN = "examples/faces", "tests/fixtures/images", "tests/golden/preprocess.safetensors"
ORIENTATION = 0x0112
# How a viewer undoes each EXIF orientation; the file holds the opposite.
STORED = {
    1: None, 2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default=Path(__file__).resolve().parent.parent, type=Path, metavar="FOLDER",
                        help="write below this folder instead of the repository")
    output = parser.parse_args().output

    for emotion in EMOTIONS:
        # A palette of 128 colors keeps a file small, and nobody sees it.
        face = to_image(draw(emotion, 192)).quantize(128, kmeans=3, dither=Image.Dither.NONE)
        write(output / EXAMPLES / f"{emotion}.png", encode(face, "PNG", optimize=True))

    for name, data in fixtures().items():
        write(output / IMAGES / name, data)
    made_by = (
        f"scripts/fixtures.py with Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, "
        f"NumPy {np.__version__}"
    )
    arrays = {}
    for name in fixtures():
        arrays.update(expectations(output / IMAGES / name))
    write(output / GOLDEN, safetensors.numpy.save(arrays, {"made_by": made_by}))
    for folder in (EXAMPLES, IMAGES):
        sizes = [path.stat().st_size for path in (output / folder).iterdir()]
        print(f"{folder}: {len(sizes)} files, {sum(sizes):,} bytes, the largest {max(sizes):,}")
    print(f"{GOLDEN}: {(output / GOLDEN).stat().st_size:,} bytes")


def fixtures():
    """Every test image: its file name and bytes."""
    rgb = picture("happy", 48, 40)
    gray = to_image(draw("neutral", 48)).convert("L")
    fade = Image.fromarray(np.linspace(0, 255, 48 * 40).reshape(40, 48).astype(np.uint8))
    second = picture("surprise", 48, 40)
    deep = np.rint(draw("sad", 48) * 65535).astype(np.uint16)
    rgba = rgb.copy()
    rgba.putalpha(fade)
    la = rgb.convert("L")
    la.putalpha(fade)
    files = {
        "gray.png": encode(gray, "PNG"),
        "gray1.png": encode(gray.convert("1"), "PNG"),
        "gray16.png": encode(Image.fromarray(deep[:, :, 1]), "PNG"),
        "rgb.png": encode(rgb, "PNG"),
        "rgb16.png": png_rgb16(deep[14:34, 8:40]),
        "rgba.png": encode(rgba, "PNG"),
        "la.png": encode(la, "PNG"),
        "palette.png": encode(rgb.quantize(32, dither=Image.Dither.NONE), "PNG", transparency=3),
        "one_pixel.png": encode(Image.new("RGB", (1, 1), (200, 100, 50)), "PNG"),
        "tall.png": encode(picture("neutral", 30, 200), "PNG"),
        "gray.jpg": encode(gray, "JPEG", quality=90),
        "rgb420.jpg": encode(rgb, "JPEG", quality=90, subsampling="4:2:0"),
        "rgb444.jpg": encode(rgb, "JPEG", quality=90, subsampling="4:4:4"),
        "rgb_progressive.jpg": encode(rgb, "JPEG", quality=90, progressive=True),
        "odd_size.jpg": encode(picture("angry", 61, 37), "JPEG", quality=90, subsampling="4:2:0"),
        "large.jpg": encode(picture("fear", 300, 300), "JPEG", quality=75),
        "cmyk.jpg": encode(rgb.convert("CMYK"), "JPEG", quality=90),
        "animated.gif": encode(rgb, "GIF", save_all=True, append_images=[second], duration=100),
        "animated.webp": encode(rgb, "WEBP", save_all=True, append_images=[second], duration=100, lossless=True),
        "still.webp": encode(rgb, "WEBP", lossless=True),
        "still.bmp": encode(rgb.resize((32, 27)), "BMP"),
        "still.tga": encode(rgb.resize((32, 27)), "TGA"),
        "still.tiff": encode(rgb.resize((32, 27)), "TIFF"),
        "still_lzw.tiff": encode(rgb.resize((32, 27)), "TIFF", compression="tiff_lzw"),
        "still.pgm": encode(gray, "PPM"),
        "still.ppm": encode(rgb.resize((32, 27)), "PPM"),
    }
    for number in STORED:
        files[f"exif{number}.jpg"] = oriented(rgb, number, "JPEG", quality=90)
    files["exif6.png"] = oriented(rgb, 6, "PNG")
    return files


def picture(emotion, width, height):
    """A face behind marks that make every turn and flip visible: red at the top left, green down the right edge."""
    size = max(width, height)
    image = to_image(draw(emotion, size))
    left, top = (size - width) // 2, (size - height) // 2
    image = image.crop((left, top, left + width, top + height))
    image.paste((220, 40, 30), (0, 0, width // 4, height // 8))
    image.paste((30, 160, 60), (width - width // 10, height // 2, width, height))
    return image


def to_image(pixels):
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def oriented(image, number, form, **options):
    """The image stored turned, with the EXIF orientation that turns it back."""
    if STORED[number]:
        image = image.transpose(getattr(Image.Transpose, STORED[number]))
    exif = Image.Exif()
    exif[ORIENTATION] = number
    return encode(image, form, exif=exif, **options)


def png_rgb16(pixels):
    """A PNG with 16 bits a channel, which Pillow cannot write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def expectations(path):
    gray = decode(path, 1)
    return {
        f"{path.name}/gray": np.asarray(gray),
        f"{path.name}/rgb": np.asarray(decode(path, 3)),
        f"{path.name}/nearest48": np.asarray(gray.resize((48, 48), Image.Resampling.NEAREST)),
        f"{path.name}/antialias48": np.asarray(gray.resize((48, 48), Image.Resampling.BILINEAR)),
    }


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        env.fail(error)
