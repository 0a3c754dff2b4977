#!/usr/bin/env python3
"""Writes tests/golden/shards/, a data set of the example faces as pyarrow writes Parquet.

    scripts/shards_golden.py

In Hugging Face's form: a structure of bytes and path, a label whose names are in the file's
metadata (train) or only in the README.md (test). Needs pyarrow; written with 26.0.1.
"""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

ROOT = Path(__file__).resolve().parent.parent
FACES = sorted((ROOT / "examples/faces").glob("*.png"))
NAMES = [path.stem for path in FACES]
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def write(path: Path, faces: list[Path], features: bool, **options: object) -> None:
    images = [{"bytes": face.read_bytes(), "path": face.name} for face in faces]
    labels = [NAMES.index(face.stem) for face in faces]
    table = pyarrow.table(
        {"image": pyarrow.array(images, IMAGE), "label": pyarrow.array(labels, pyarrow.int64())}
    )
    if features:
        label = {"names": NAMES, "_type": "ClassLabel"}
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path, **options)


def main() -> None:
    out = ROOT / "tests/golden/shards"
    write(out / "data/train-00000-of-00002.parquet", FACES[:4], True)
    write(out / "data/train-00001-of-00002.parquet", FACES[4:], True, row_group_size=2)
    write(out / "data/test-00000-of-00001.parquet", FACES, False, compression="zstd")
    names = "".join(f"          '{i}': {name}\n" for i, name in enumerate(NAMES))
    (out / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n"
        f"    dtype:\n      class_label:\n        names:\n{names}---\n"
        "The example faces, written by scripts/shards_golden.py.\n"
    )


main()
