"""Classifies the faces of any number of pictures on a Ray cluster, and goes on where it was ended.

    pip install fer_rs-*.whl "ray[data]"
    python ray_images.py pictures emotions

The source has Parquet files, the .tar files of a WebDataset, or pictures; it and the output are folders
that all nodes see, or addresses as s3://bucket/folder. Each shard becomes a Parquet file.
RAY_ADDRESS names the cluster; without it Ray runs on this machine.
"""

import argparse
import sys

import fer_rs
import ray
from fer_rs import shards


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--column", help="the pictures' (default: bytes, image or path)")
    parser.add_argument("--model", help="an ONNX file, a run of fer train, or a compiled-in model")
    parser.add_argument("--engine", default="auto", help="auto, ort or burn")
    parser.add_argument("--cpus", type=float, default=1, help="of each worker")
    args = parser.parse_args()

    batch = fer_rs.Batch(column=args.column, drop=True, model=args.model, engine=args.engine)
    todo = shards.begin(args.source, args.output, batch)
    reports = []
    if todo:
        ray.init()
        # One block a shard. A task that a node takes down with it is run again elsewhere.
        rows = ray.data.from_items([s._asdict() for s in todo], override_num_blocks=len(todo))
        done = rows.map(lambda shard: shards.classify(batch, **shard)._asdict(), num_cpus=args.cpus)
        reports = [shards.Report(**row) for row in done.iter_rows()]
    sys.exit(0 if shards.finish(args.output, reports) else 1)


if __name__ == "__main__":
    main()
