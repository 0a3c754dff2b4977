"""Times `fer infer` on photographs against the same work in Python, in alternating rounds.

    python3 scripts/bench/photos.py --detector face_detection_yunet_2023mar.onnx [PHOTO …] [--rounds 5] [--pictures 60]
        [--annotate] [--memory]

Contenders, each a process of its own that reads the same list of pictures and writes a CSV file:

1. fer infer --engine burn; 2. fer infer --engine ort, with the library of Python's package;
3. Python with OpenCV's FaceDetectorYN and ONNX Runtime (peer_photos.py), the same weights, sizes and threads.

The pictures are JPEG files of 1280x720 pixels: the example's photograph on gray once, five times and 29 times; or each PHOTO in
that size. --annotate times fer with --annotate too. --memory runs fer on 1,000 and 10,000 pictures and prints its peak memory.
The environment of contender 3 is described in environment.py and made on first use. DETECTOR is OpenCV Zoo's file.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import environment

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
SIZE = (1280, 720)

# Writes pictures: python -c DRAW FOLDER COUNT PHOTO
DRAW = """
import sys, cv2, numpy as np
folder, count, *photos = sys.argv[1:]
photo = cv2.imread(sys.argv[3])
for faces, side in ([(0, 0)] if photos[1:] else [(1, 512), (5, 250), (29, 120)]):
    for number in range(int(count)):
        if photos[1:]:
            break
        image = np.full((720, 1280, 3), 90 + number, np.uint8)
        part = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
        columns = 1280 // side
        for i in range(faces):
            y, x = i // columns * side + number % 20, i % columns * side
            y = min(y, 720 - side)
            image[y:y + side, x:x + side] = part
        cv2.imwrite(f"{folder}/{faces:02}-{number:04}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
for place, path in enumerate(photos[1:]):
    image = cv2.resize(cv2.imread(path), (1280, 720), interpolation=cv2.INTER_AREA)
    for number in range(int(count)):
        cv2.imwrite(f"{folder}/{place:02}-{number:04}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
"""


def main():
    options = arguments()
    python = environment.python(environment.ONNX_RUNTIME)
    library = environment.inventory(python, "onnxruntime")["ort_lib"]
    with tempfile.TemporaryDirectory(prefix="fer-photos-") as folder:
        folder = Path(folder)
        draw = [python, "-c", DRAW, folder, str(options.pictures), ROOT / "examples/photos/astronaut.jpg", *options.photos]
        subprocess.run(draw, check=True)
        kinds = sorted({path.name.split("-")[0] for path in folder.glob("*.jpg")})
        print(f"{options.pictures} pictures of {SIZE[0]}x{SIZE[1]}, {environment.cores()} threads, {options.rounds} rounds")
        print("| pictures | faces each | contender | seconds: median (least–most) | fer burn is |")
        print("|---|---:|---|---:|---:|")
        for kind in kinds:
            compare(options, python, library, folder, kind)
        if options.memory:
            for count in (1_000, 10_000):
                paths = listed(folder, sorted(folder.glob("*.jpg")), count)
                peak = memory([options.fer, *fer("burn"), f"@{paths}", "-o", folder / "out.csv"])
                print(f"\n{count} pictures: peak {peak / 1024:.0f} MiB")


def compare(options, python, library, folder, kind):
    paths = listed(folder, sorted(folder.glob(f"{kind}-*.jpg")), options.pictures)
    output = folder / "out.csv"
    peer = [python, HERE / "peer_photos.py", options.detector, options.model, paths, output, environment.cores(), 64]
    contenders = {
        "fer burn": [options.fer, *fer("burn"), f"@{paths}", "-o", output],
        "fer ort": [options.fer, *fer("ort"), "--ort-lib", library, f"@{paths}", "-o", output],
        "Python": peer,
    }
    if options.annotate:
        contenders["fer burn, --annotate"] = [*contenders["fer burn"], "--annotate", folder / "annotated"]
    seconds = {name: [] for name in contenders}
    faces = {}
    for turn in range(options.rounds + 1):
        names = list(contenders)
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            began = time.perf_counter()
            subprocess.run([str(word) for word in contenders[name]], check=True, stderr=subprocess.DEVNULL)
            # The first round fills caches.
            if turn:
                seconds[name].append(time.perf_counter() - began)
            with open(output, encoding="utf-8", newline="") as file:
                faces[name] = sum(1 for row in csv.reader(file) if len(row) > 1 and row[1].isdigit())
    if len(set(faces.values())) > 1:
        print(f"the contenders found different numbers of faces: {faces}", file=sys.stderr)
    burn = statistics.median(seconds["fer burn"])
    for name, times in seconds.items():
        median = statistics.median(times)
        ratio = "" if name == "fer burn" else f"{median / burn:.2f} times as fast"
        each = faces[name] / options.pictures
        print(f"| {kind} | {each:.3g} | {name} | {median:.2f} ({min(times):.2f}–{max(times):.2f}) | {ratio} |")


def fer(engine):
    return ["infer", "--quiet", "--engine", engine, "--faces", "always", "--meta", "temperature=1"]


def listed(folder, paths, count):
    paths = [str(path) for path in paths]
    path = folder / f"list-{count}.txt"
    path.write_text("\n".join((paths * (count // len(paths) + 1))[:count]) + "\n")
    return path


def memory(command):
    """The peak memory of a command in KiB."""
    process = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {command} ended with status {status}")
    return usage.ru_maxrss


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--detector", required=True, type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / "models/fer.onnx")
    parser.add_argument("--fer", type=Path, default=ROOT / "target/release/fer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--annotate", action="store_true")
    parser.add_argument("--memory", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
