"""Times programs from their start to the first result, one image a run, and prints a Markdown table.

    python3 scripts/bench/start.py IMAGE [--model models/fer.onnx] [--rounds 15] [--fer FILE]

The contenders 1 to 3 of peers.py: fer through ONNX Runtime, fer compiled in, Python with ONNX Runtime and OpenCV. Each run is a
process of its own, and each round begins with another contender. Where peers.py puts a run with thousands of images before each
first result, nothing runs before these.
"""

import argparse
import tempfile
from pathlib import Path

import environment
import peers
import report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("--model", type=Path, default=peers.ROOT / "models" / "fer.onnx", metavar="FILE")
    parser.add_argument("--rounds", type=peers.positive, default=15, metavar="N", help="default: %(default)s")
    parser.add_argument("--fer", type=Path, default=peers.ROOT / "target" / "release" / "fer", metavar="FILE")
    options = parser.parse_args()
    options.fer, options.batch = options.fer.absolute(), 64
    interpreter = environment.python(environment.ONNX_RUNTIME)
    inventory = environment.inventory(interpreter, "onnxruntime")
    contenders = {
        "fer, ONNX Runtime": peers.fer(options, "ort", "--model", options.model, "--ort-lib", inventory["ort_lib"]),
        "fer, compiled in": peers.fer(options, "burn", "--model", options.model),
        "Python, ONNX Runtime": peers.python(options, interpreter, "CPUExecutionProvider"),
    }
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        paths = peers.write_list(Path(folder) / "one.txt", [options.image.absolute()])
        commands = {name: command(paths, Path(folder) / "out.csv") for name, command in contenders.items()}
        seconds = {name: [] for name in commands}
        for number in range(-1, options.rounds):
            for name in peers.rotated(commands, number):
                taken = peers.run(name, commands[name])["seconds"]
                if number >= 0:
                    seconds[name].append(taken)
    python = seconds["Python, ONNX Runtime"]
    print(f"{environment.cpu()}, {environment.cores()} cores, {options.rounds} rounds, median (lowest–highest)\n")
    rows = {
        name: [report.spread(times), report.spread(a / b for a, b in zip(times, python))] for name, times in seconds.items()
    }
    print("\n".join(report.table(["first result, s", "÷ Python, in a round"], rows)))


if __name__ == "__main__":
    main()
