"""Classifies the faces of any number of pictures with Spark, and goes on where it was ended.

    pip install fer_rs-*.whl "pyspark[sql]"     # and Java 17 or later
    python spark_images.py pictures emotions    # or spark-submit

The source has Parquet files, the .tar files of a WebDataset, or pictures; it and the output are folders
that all workers see, or addresses as s3://bucket/folder. Each shard becomes a Parquet file.
"""

import argparse
import sys

import fer_rs
import pandas as pd
from fer_rs import shards
from pyspark.sql import SparkSession


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

    def classify(frames):
        for frame in frames:
            yield pd.DataFrame(
                [shards.classify(batch, *todo[number]) for number in frame["id"]],
                columns=shards.Report._fields,
            )

    reports = []
    if todo:
        spark = SparkSession.builder.appName("fer").getOrCreate()
        # One partition a shard. A task whose executor is lost is run again elsewhere.
        numbers = spark.range(0, len(todo), 1, len(todo))
        done = numbers.mapInPandas(classify, "shard string, rows long, errors long, problem string")
        reports = [shards.Report(**row.asDict()) for row in done.collect()]
    sys.exit(0 if shards.finish(args.output, reports) else 1)


if __name__ == "__main__":
    main()
