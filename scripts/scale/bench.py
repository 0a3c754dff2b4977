"""Measures rows a second on Ray: fer against one process, and against Python's ONNX Runtime in the same job.

    python bench.py [--count 20000] [--rounds 5] [--model models/fer.onnx]

Run by scripts/test-scale --bench. In each round, in turns, each with one and with two threads or workers of one CPU:

1. `fer infer` on the pictures as files;
2. fer on Ray: a task a shard, `fer_rs.shards.classify` with `fer_rs.Batch`;
3. the same tasks with another operator: Python's onnxruntime with the same ONNX file, and OpenCV.

Prints medians and ranges over the rounds, and of ratios within a round. Ray runs already, and each worker has done a shard.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faults
import fer_rs
import numpy as np
import pyarrow as pa
import ray
from fer_rs import shards

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/bench"))


class OnnxRuntime:
    """An operator as Python users write it: OpenCV decodes, ONNX Runtime computes with one thread."""

    labels = fer_rs.Classifier(engine="burn").labels

    def __init__(self, model):
        self.model = str(model)
        self.session = None

    def __reduce__(self):
        return OnnxRuntime, (self.model,)

    def __call__(self, table):
        import cv2
        import onnxruntime

        if self.session is None:
            cv2.setNumThreads(1)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        images = self.session.get_inputs()[0]
        pixels, errors = [], []
        for data in table["bytes"].to_pylist():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            errors.append("it cannot be read" if image is None else None)
            pixels.append(np.zeros((48, 48), np.uint8) if image is None else image)
        rows = np.zeros((0, 7), np.float32)
        if pixels:
            tensor = np.stack(pixels).astype(np.float32) / np.float32(255)
            tensor = np.expand_dims(tensor, 1 if images.shape[1] == 1 else 3)
            rows = np.concatenate([self.session.run(None, {images.name: part})[0] for part in batches(tensor)])
        table = table.drop_columns(["bytes"])
        table = table.append_column("label", pa.array([self.labels[row.argmax()] for row in rows], pa.string()))
        table = table.append_column("confidence", pa.array(rows.max(1, initial=0), pa.float32()))
        table = table.append_column("probabilities", pa.array(list(rows), pa.list_(pa.float32())))
        return table.append_column("error", pa.array(errors, pa.string()))


def batches(tensor, size=64):
    return [tensor[i : i + size] for i in range(0, len(tensor), size)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, default=ROOT / "models/fer.onnx")
    args = parser.parse_args()
    import environment

    print(f"{environment.cpu()}, {environment.cores()} cores; {args.count} faces, {args.shards} shards")
    print(f"Ray {ray.__version__}, load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="fer-scale-") as folder:
        folder = Path(folder)
        faults.draw(folder, args.count, args.shards)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=1 << 30)
        ray.data.DataContext.get_current().enable_progress_bars = False
        fer, python = fer_rs.Batch(engine="burn", drop=True), OnnxRuntime(args.model)
        contenders = {
            "fer infer": lambda n: infer(folder, n),
            "fer on Ray": lambda n: job(folder, fer, n),
            "onnxruntime on Ray": lambda n: job(folder, python, n),
        }
        job(folder, fer, 2)
        job(folder, python, 2)
        speeds = {(name, n): [] for name in contenders for n in (1, 2)}
        for number in range(args.rounds):
            order = list(speeds)
            for name, n in order[number % 6 :] + order[: number % 6]:
                speeds[name, n].append(args.count / contenders[name](n))
        ray.shutdown()
    print(f"load after: {os.getloadavg()[0]:.1f}\n")
    print("| | 1, rows/s | 2, rows/s | 2 ÷ 1 |\n|---|---:|---:|---:|")
    gains = {}
    for name in contenders:
        one, two = speeds[name, 1], speeds[name, 2]
        gains[name] = [b / a for a, b in zip(one, two)]
        print(f"| {name} | {spread(one, 0)} | {spread(two, 0)} | {spread(gains[name])} |")
    print()
    show("gain on Ray ÷ gain of fer infer", gains["fer on Ray"], gains["fer infer"])
    for n in (1, 2):
        show(f"fer ÷ onnxruntime, {n}", speeds["fer on Ray", n], speeds["onnxruntime on Ray", n])


def infer(folder, threads):
    """Seconds that the program takes."""
    command = [faults.FER, "infer", "-q", "--engine", "burn", "--threads", str(threads)]
    began = time.perf_counter()
    subprocess.run([*command, "-o", folder / "one.jsonl", folder / "faces"], check=False)
    return time.perf_counter() - began


def job(folder, operator, workers):
    """Seconds from a job's first task to its last one's end, with so many workers of one CPU."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        sources = sorted(map(str, (folder / "shards").glob("*.parquet")))
        rows = [{"source": s, "output": f"{output}/{Path(s).name}"} for s in sources]
        began = time.perf_counter()
        tasks = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            lambda shard: shards.classify(operator, **shard)._asdict(),
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=workers),
        )
        done = tasks.take_all()
        seconds = time.perf_counter() - began
        assert not any(report["problem"] for report in done)
        return seconds


def show(name, over, under):
    print(f"{name}: {spread([a / b for a, b in zip(over, under)])}")


def spread(values, digits=2):
    """Median (lowest–highest)."""
    return "{:,.{d}f} ({:,.{d}f}–{:,.{d}f})".format(statistics.median(values), min(values), max(values), d=digits)


if __name__ == "__main__":
    main()
