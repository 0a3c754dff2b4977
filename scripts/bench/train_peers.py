"""Times fer's training steps against PyTorch's and Keras's on the same batches, in alternating rounds, and prints a Markdown
report.

    python3 scripts/bench/train_peers.py [--network notebook|vgg] [--batch 64] [--rounds 7] [--steps 5] [--peers torch,keras]
                                         [--avx2] [--on cpu|cuda|rehearsal] [--json FILE]

Each contender is a process of its own (examples/training_steps.rs, train_torch.py, train_keras.py) with the same network,
batches of random images, cross-entropy, the network's L2 penalties, and Adam at 1e-4, all in float32 on the CPU, one thread
a core. It reads a number of steps from standard input, takes them, and answers with a line: the seconds, and the last loss.
In every round each contender takes the same steps while the others wait, and each round begins with another contender; the
first round is not counted. The data pipeline has no part in it. --avx2 keeps all of them from AVX-512.

With --on cuda the contenders are others, on one GPU, where the batches lie already: fer by CUDA, in TF32 and in bfloat16, and
by Vulkan, against PyTorch, eager, and compiled with autocast to bfloat16 and channels_last. --on rehearsal is the same on the
CPU, to try the script.

The environments of the peers are described in environment.py and ../keras/env.py; both are made on first use. Needs Linux or
macOS. Exit status: 0 if all ran; 2 if something is wrong.
"""

import argparse
import datetime
import json
import os
import platform
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import environment
from environment import env
from peers import positive, rotated, save
from report import count, spread, table

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
BATCHES = 8
# Not every machine with CUDA has it.
OPTIONAL = "fer, Vulkan"
PIXELS = 48 * 48


def main():
    options = arguments()
    chosen = contenders(options)
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        file = Path(folder) / "batches.bin"
        file.write_bytes(batches(options.batch))
        running = {}
        for name, (command, more) in list(chosen.items()):
            try:
                running[name] = Contender(name, [*command, options.network, file, options.batch, *more], options)
            except SystemExit:
                if name != OPTIONAL:
                    raise
                env.say(f"{name} is left out")
                del chosen[name]
        rounds = []
        for number in range(options.rounds + 1):
            found = {name: running[name].steps(options.steps) for name in rotated(running, number)}
            env.say(f"round {number} of {options.rounds}: " + ", ".join(
                f"{name} {options.steps * options.batch / seconds:.0f} images/s" for name, (seconds, _) in sorted(found.items())
            ))
            rounds.append(found)
        peaks = {name: contender.end() for name, contender in running.items()}
    data = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "cpu": environment.cpu(),
        "cores": environment.cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "network": options.network,
        "batch": options.batch,
        "steps": options.steps,
        "versions": {name: command_versions(name) for name in chosen},
        "rounds": [{name: found[name] for name in chosen} for found in rounds[1:]],
        "peak_bytes": peaks,
    }
    print(markdown(data))
    if options.json:
        save(options.json, json.dumps(data, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["notebook", "vgg"], default="notebook", help="default: %(default)s")
    parser.add_argument("--batch", type=positive, default=64, metavar="N", help="images a batch; default: %(default)s")
    parser.add_argument("--rounds", type=positive, default=7, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=positive, default=5, metavar="N", help="steps a round; default: %(default)s")
    parser.add_argument("--peers", default="torch,keras", metavar="A,B", help="default: %(default)s")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512")
    parser.add_argument("--on", choices=["cpu", "cuda", "rehearsal"], default="cpu", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    options = parser.parse_args()
    options.peers = options.peers.split(",")
    if not set(options.peers) <= {"torch", "keras"}:
        parser.error("--peers: there are torch and keras")
    if not hasattr(os, "wait4"):
        parser.error("needs Linux or macOS")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: no such folder")
    return options


def contenders(options):
    """By name, the command, and its last arguments."""
    cargo = ["cargo", "build", "--release", "--locked", "--example", "training_steps"]
    features = ["--features", "cuda,vulkan"] if options.on == "cuda" else []
    env.step("cannot build fer's side", *cargo, *features, "--manifest-path", ROOT / "Cargo.toml")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    fer = [target / "release" / "examples" / "training_steps"]
    threads = [environment.cores()]
    if options.on != "cpu":
        torch = [environment.python(environment.TORCH), HERE / "train_torch.py"]
        on_gpu = options.on == "cuda"
        own = {"fer, CUDA": "device=cuda", OPTIONAL: "device=vulkan"} if on_gpu else {"fer": "device=flex"}
        name, device = next(iter(own.items()))
        found = {who: (fer, [which]) for who, which in own.items()}
        found[f"{name}, bf16"] = (fer, [device, "precision=bf16"])
        device = "cuda" if on_gpu else "cpu"
        found["PyTorch"] = (torch, [*threads, device, "eager"])
        found["PyTorch, compiled, bf16"] = (torch, [*threads, device, "compiled"])
        return found
    found = {"fer": (fer, ["bits=256"] if options.avx2 else [])}
    if "torch" in options.peers:
        found["PyTorch"] = ([environment.python(environment.TORCH), HERE / "train_torch.py"], threads)
    if "keras" in options.peers:
        found["Keras"] = ([env.python(), HERE / "train_keras.py"], threads)
    return found


def command_versions(name):
    if name.startswith("PyTorch"):
        return environment.inventory(environment.python(environment.TORCH), "torch")["versions"]
    if name == "Keras":
        return environment.inventory(env.python(), "keras", "tensorflow", "tensorflow-cpu")["versions"]
    return {"commit": environment.output("git", "-C", ROOT, "describe", "--always", "--dirty").strip()}


def batches(size):
    """Random labels and pixels: for each image its label, a byte, and its pixels, a byte each."""
    source = random.Random(0)
    return b"".join(bytes([source.randrange(7)]) + source.randbytes(PIXELS) for _ in range(BATCHES * size))


class Contender:
    """A process that takes training steps on request."""

    def __init__(self, name, command, options):
        command = [str(word) for word in command]
        variables = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        if options.on != "cuda":
            variables["CUDA_VISIBLE_DEVICES"] = ""
        if options.avx2:
            variables |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
        self.name, self.said = name, tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, env=variables, text=True
        )
        if self.line() != ["ready"]:
            self.fail()

    def steps(self, number):
        """Takes so many steps; returns their seconds and the last loss."""
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail()
        words = self.line()
        if len(words) != 2:
            self.fail()
        return float(words[0]), float(words[1])

    def line(self):
        return self.process.stdout.readline().split()

    def end(self):
        """Ends it; returns the most memory that it had at a time, in bytes."""
        self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            self.fail()
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def fail(self):
        self.process.kill()
        self.said.seek(0)
        why = self.said.read().decode(errors="replace").strip().splitlines()
        env.fail(f"{self.name}: {shlex.join(self.process.args)}: {why[-1] if why else 'it ended'}")


def markdown(data):
    rounds, images = data["rounds"], data["steps"] * data["batch"]
    names = list(rounds[0])
    lines = [
        f"## Training the {data['network']} network, batches of {data['batch']}: {count(len(rounds), 'round')} of {count(data['steps'], 'step')}",
        "",
        f"- Date: {data['date']}",
        f"- Machine: {data['cpu']}, {count(data['cores'], 'core')}, {data['system']}",
        *(f"- {name}: " + ", ".join(f"{key} {value}" for key, value in data["versions"][name].items()) for name in names),
        f"- Command: `{data['command']}`",
        "",
        f"Median (lowest–highest) of the rounds, and the ratio of {names[0]}'s images/s to the others' within a round.",
        "",
        *table(["images/s", f"{names[0]} ÷ this", "peak memory, MiB", "last loss"], {
            name: [
                spread(images / found[name][0] for found in rounds),
                spread(found[name][0] / found[names[0]][0] for found in rounds),
                f"{data['peak_bytes'][name] / 2**20:,.0f}",
                f"{rounds[-1][name][1]:.3f}",
            ]
            for name in names
        }),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        env.fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
