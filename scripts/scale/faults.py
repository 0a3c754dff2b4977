"""Classifies drawn faces on a Ray cluster of three nodes while one worker is killed and a link is cut.

    python faults.py [--count 10000] [--shards 40] [--folder FOLDER]

Every row has to be there once, and to equal `fer infer` on one machine to 1e-6. Run by scripts/test-scale,
with the Python that has Ray and the wheel fer-rs. Needs root (cluster.py).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cluster as clusters
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "python/examples/ray_images.py"
FER = Path(sys.executable).with_name("fer")
TOLERANCE = 1e-6
CUT_SECONDS = 10
# One picture of so many is damaged.
DAMAGED = 499


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    args = parser.parse_args()
    why = clusters.missing()
    if why:
        sys.exit(f"no cluster: {why}")
    with tempfile.TemporaryDirectory(prefix="fer-scale-", dir=args.folder) as folder:
        run(Path(folder), args.count, args.shards)


def run(folder, count, shards):
    paths = draw(folder, count, shards)
    began = time.monotonic()
    reference = one_machine(folder)
    say(f"fer infer: {len(reference)} pictures in {time.monotonic() - began:.0f} s")
    assert len(reference) == len(paths) == count

    (folder / "nodes").mkdir()
    with clusters.Cluster(sys.executable, folder / "nodes") as cluster:
        cluster.start_worker("first", 2)
        cluster.start_worker("second", 3)
        cluster.wait("first", "second")
        log = open(folder / "job.log", "w+")
        command = [sys.executable, EXAMPLE, folder / "shards", folder / "out", "--engine", "burn"]
        began = time.monotonic()
        job = cluster.run(*command, stdout=log, stderr=subprocess.STDOUT)
        try:
            faults(cluster, job, folder / "out", shards)
            code = job.wait(timeout=1800)
        finally:
            job.kill()
        log.seek(0)
        said = log.read()
        assert code == 0, said[-4000:]
        say(f"the job: {time.monotonic() - began:.0f} s; {said.strip().splitlines()[-1]}")

    compare(folder / "out", reference)
    left = [p.name for p in (folder / "out").iterdir() if p.name.startswith(".")]
    assert not left, f"left behind: {left}"


def faults(cluster, job, out, shards):
    """A worker is killed while it has a shard; later the other's link is cut."""
    wait(job, lambda: done(out) >= shards // 4 and len(at_work(out)) == 2, "a quarter of the shards")
    cluster.kill("first")
    left = at_work(out)
    say(f"a worker killed at {done(out)} of {shards} shards, with {len(left)} begun")
    # As an operator of clusters would replace it.
    cluster.start_worker("third", 4)
    wait(job, lambda: done(out) >= shards // 2, "half of the shards")
    before = done(out)
    with clusters.link_cut(cluster, "second", CUT_SECONDS):
        pass
    say(f"a link cut for {CUT_SECONDS} s at {before} of {shards} shards; {done(out)} were done after it")
    assert before < shards


def wait(job, ready, what):
    deadline = time.monotonic() + 1200
    while not ready():
        assert job.poll() is None, f"the job ended before {what} were done"
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def done(out):
    return len(list(out.glob("*.parquet")))


def at_work(out):
    return list(out.glob(".*.parquet.*"))


def draw(folder, count, shards):
    """Faces as files, some of them damaged, and the same in shards; the files' paths."""
    subprocess.run([FER, "data", "synth", folder / "faces", "--count", str(count)], check=True)
    paths = sorted((folder / "faces").rglob("*.png"))
    for path in paths[::DAMAGED]:
        path.write_bytes(path.read_bytes()[:100])
    (folder / "shards").mkdir()
    for number in range(shards):
        part = paths[number::shards]
        table = {"path": list(map(str, part)), "bytes": [path.read_bytes() for path in part]}
        pq.write_table(pa.table(table), folder / f"shards/{number:05}.parquet", row_group_size=1000)
    return paths


def one_machine(folder):
    """What `fer infer` says about each file."""
    output = folder / "one.jsonl"
    ran = subprocess.run([FER, "infer", "-q", "--engine", "burn", "-o", output, folder / "faces"], check=False)
    # 1: some pictures could not be read.
    assert ran.returncode == 1, f"fer infer: exit code {ran.returncode}"
    with open(output, encoding="utf-8") as lines:
        records = map(json.loads, lines)
        return {record["path"]: record for record in records}


def compare(out, reference):
    """Every row once, and as on one machine."""
    table = pq.read_table(out)
    often = Counter(table["path"].to_pylist())
    twice = [path for path, n in often.items() if n > 1]
    assert not twice, f"{len(twice)} rows are there more than once, as {twice[0]}"
    missing = reference.keys() - often.keys()
    assert not missing, f"{len(missing)} rows are missing, as {min(missing)}"
    assert often.keys() == reference.keys()
    largest = 0.0
    wrong = []
    errors = 0
    for row in table.select(["path", "label", "faces", "error"]).to_pylist():
        expected = reference[row["path"]]
        faces = expected.get("faces", [])
        errors += row["error"] is not None
        if (row["error"] is None) != ("error" not in expected) or len(row["faces"]) != len(faces):
            wrong.append((row, expected))
            continue
        for got, face in zip(row["faces"], faces):
            probabilities = dict(got["probabilities"])
            largest = max(largest, *(abs(probabilities[k] - p) for k, p in face["probabilities"].items()))
            if got["label"] != face["label"] or set(probabilities) != set(face["probabilities"]):
                wrong.append((row, expected))
    assert not wrong, f"{len(wrong)} rows differ, as {wrong[0]}"
    assert largest <= TOLERANCE, f"a probability differs by {largest:.1e}"
    assert errors == -(-len(reference) // DAMAGED)
    say(f"{len(often)} rows, each once, {errors} with an error; the largest difference is {largest:.1e}")


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    main()
