"""Classifies the faces of any number of pictures with Daft, and goes on where it was ended.

    pip install fer_rs-*.whl daft
    python daft_images.py pictures emotions

The source has Parquet files, the .tar files of a WebDataset, or pictures; it and the output are folders
or addresses as s3://bucket/folder. Each shard becomes a Parquet file. Daft runs on this machine, or
with DAFT_RUNNER=ray on a Ray cluster whose nodes all see both folders.
"""

import argparse
import sys

import daft
import fer_rs
from daft import DataType
from fer_rs import shards

REPORT = DataType.struct(
    {
        "shard": DataType.string(),
        "rows": DataType.int64(),
        "errors": DataType.int64(),
        "problem": DataType.string(),
    }
)


@daft.cls
class Classify:
    def __init__(self, **arguments):
        self.batch = fer_rs.Batch(**arguments)

    @daft.method(return_dtype=REPORT, unnest=True)
    def shard(self, source: str, output: str):
        return shards.classify(self.batch, source, output)._asdict()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--column", help="the pictures' (default: bytes, image or path)")
    parser.add_argument("--model", help="an ONNX file, a run of fer train, or a compiled-in model")
    parser.add_argument("--engine", default="auto", help="auto, ort or burn")
    args = parser.parse_args()

    batch = fer_rs.Batch(column=args.column, drop=True, model=args.model, engine=args.engine)
    todo = shards.begin(args.source, args.output, batch)
    reports = []
    if todo:
        classify = Classify(**batch.arguments)
        rows = daft.from_pylist([s._asdict() for s in todo]).into_batches(1)
        done = rows.select(classify.shard(rows["source"], rows["output"]))
        reports = [shards.Report(**row) for row in done.to_pylist()]
    sys.exit(0 if shards.finish(args.output, reports) else 1)


if __name__ == "__main__":
    main()
