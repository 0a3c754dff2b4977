#!/usr/bin/env python3
"""`fer serve` against FastAPI + uvicorn + ONNX Runtime, on this machine's loopback.

    cargo build --release && cargo build --release -p fer-serve --example load
    scripts/bench/serve.py [--model models/fer.onnx] [--engine ort] [--seconds 10] [--rounds 3] [--soak MINUTES]

Closed loop at 1, 16 and 64 clients; open loop at 80 % of the most that FastAPI reached. Bodies are 48×48 PNGs. The load
comes from crates/fer-serve/examples/load.rs, on the same cores as the server, alike for both. Prints Markdown. A soak is
`fer serve` alone at 80 % of the most that it reached; it prints errors and memory each minute.
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import environment

ROOT = Path(__file__).resolve().parent.parent.parent
PEER = environment.Peer(
    "serve", "requirements-serve.txt", "FastAPI, uvicorn and ONNX Runtime", "FER_SERVE_ENV", "FER_SERVE_PYTHON"
)
PORT = 18080


CROPS = tempfile.TemporaryDirectory()
# Run by the peer's Python: the drawn faces as 48×48 gray PNGs, the size of FER-2013's images.
CROP = """
import cv2, pathlib, sys
for file in sys.argv[2:]:
    pixels = cv2.resize(cv2.imread(file, cv2.IMREAD_GRAYSCALE), (48, 48), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(pathlib.Path(sys.argv[1]) / pathlib.Path(file).name), pixels)
"""


def load(path, *how):
    """One run of the load generator; its results."""
    files = sorted(glob.glob(CROPS.name + "/*.png"))
    command = [str(ROOT / "target/release/examples/load"), f"127.0.0.1:{PORT}", path, *map(str, how), *files]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Server:
    """A server that has answered once, until the end of the block."""

    def __init__(self, command, health, **variables):
        self.command, self.health, self.variables = command, health, variables

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, env=os.environ | self.variables, stdout=subprocess.DEVNULL, cwd=ROOT / "scripts/bench"
        )
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}{self.health}", timeout=1).read()
                return self
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{self.command[0]} ended with {self.process.returncode}")
                time.sleep(0.1)
        sys.exit(f"{self.command[0]} does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def memory(self):
        """Resident MiB."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "models/fer.onnx"))
    parser.add_argument("--engine", default="ort")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    args = parser.parse_args()
    model = str(Path(args.model).resolve())
    served = "fer" if args.engine == "burn" and Path(model) == ROOT / "models/fer.onnx" else model
    fer = [str(ROOT / "target/release/fer"), "serve", "-q", "--listen", f"127.0.0.1:{PORT}"]
    fer += ["--engine", args.engine, "--model", served]
    python = environment.python(PEER)
    faces = glob.glob(str(ROOT / "examples/faces/*.png"))
    subprocess.run([str(python), "-c", CROP, CROPS.name, *faces], check=True)
    servers = {"fer serve": (Server(fer, "/readyz"), "/v1/classify")}
    if args.soak:
        return soak(*servers["fer serve"], args)
    uvicorn = [str(python), "-m", "uvicorn", "peer_fastapi:app", "--port", str(PORT)]
    uvicorn += ["--workers", str(os.cpu_count()), "--log-level", "error", "--no-access-log"]
    servers["FastAPI"] = (Server(uvicorn, "/docs", MODEL=model), "/classify")

    closed = {}
    for _ in range(args.rounds):
        for name, (server, path) in servers.items():
            with server:
                load(path, "--clients", 16, "--seconds", 2)
                for clients in (1, 16, 64):
                    done = load(path, "--clients", clients, "--seconds", args.seconds)
                    closed.setdefault((clients, name), []).append(done)
    median = lambda runs, key: statistics.median(run[key] for run in runs)
    limit = max(median(runs, "per_second") for (_, name), runs in closed.items() if name == "FastAPI")
    rate = round(0.8 * limit)
    opened = {}
    for _ in range(args.rounds):
        for name, (server, path) in servers.items():
            with server:
                load(path, "--clients", 16, "--seconds", 2)
                opened.setdefault(name, []).append(load(path, "--rate", rate, "--seconds", args.seconds))

    print("| load | server | requests/s | p50, ms | p99, ms | errors |\n|---|---|---:|---:|---:|---:|")
    rows = [(f"{clients} clients", name, runs) for (clients, name), runs in closed.items()]
    rows += [(f"{rate} a second", name, runs) for name, runs in opened.items()]
    for what, name, runs in rows:
        low, high = (f(run["per_second"] for run in runs) for f in (min, max))
        print(
            f"| {what} | {name} | {median(runs, 'per_second'):.0f} ({low:.0f}–{high:.0f}) | {median(runs, 'p50_ms'):.1f} "
            f"| {median(runs, 'p99_ms'):.1f} | {sum(run['errors'] for run in runs)} |"
        )


def soak(server, path, args):
    with server:
        most = load(path, "--clients", 64, "--seconds", args.seconds)["per_second"]
        rate, errors = round(0.8 * most), 0
        print(f"{rate} a second, 80 % of {most:.0f}")
        for minute in range(round(args.soak)):
            done = load(path, "--rate", rate, "--seconds", 60)
            errors += done["errors"]
            print(f"minute {minute + 1}: {done}, {server.memory():.0f} MiB", flush=True)
        print(f"{errors} errors")


if __name__ == "__main__":
    main()
