"""Times fer against the same work in Python, in alternating rounds, and prints a Markdown report.

    python3 scripts/bench/peers.py [FOLDER] [--keras MODEL.keras] [--rounds 5] [--memory] [--cuda] [--batch 64] [--json FILE]

Contenders, each a process of its own that reads the same list of images and writes a CSV file:

1. fer infer --engine ort, with the ONNX Runtime library of Python's package unless --ort-lib names another one;
2. fer infer --engine burn;
3. Python with ONNX Runtime and OpenCV (peer_onnxruntime.py), same ONNX file, one thread a core;
4. Keras's predict (peer_keras.py), batches of 64; left out without --keras.

With --cuda, 1 and 3 run on an NVIDIA GPU by ONNX Runtime's CUDA provider, fer with its own library, and 2 by Burn's CUDA, for which
fer has to be built with that feature; --repeat 30 gives each run so much work that its start counts for little.

In every round each contender classifies one image and then all of them, and each round begins with another contender. One image
a contender, and with --cuda two batches, goes before the first round, uncounted. Without --cuda, GPUs are hidden. The environment of contender 3 is described in
environment.py, that of contender 4 in ../keras/env.py; both are made on first use. Needs Linux or macOS. Exit status: 0 if all
ran, whether the labels agree or not; 2 if something is wrong.
"""

import argparse
import csv
import datetime
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import environment
import report
from environment import env

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
SUFFIXES = {".jpg", ".jpeg", ".png"}
# As many as FER-2013 has in its public test.
COUNT = 3589
MEMORY_COUNTS = (1_000, 30_000)


def main():
    options = arguments()
    interpreter = environment.python(environment.ONNX_RUNTIME_GPU if options.cuda else environment.ONNX_RUNTIME)
    inventory = environment.inventory(
        interpreter, "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "opencv-python", "numpy"
    )
    ort_lib = options.ort_lib or (None if options.cuda else inventory["ort_lib"])
    provider, device = (["--provider", "cuda"], ["--device", "cuda"]) if options.cuda else ([], [])
    ep = "CUDAExecutionProvider" if options.cuda else "CPUExecutionProvider"
    versions = {
        "fer": fer_versions(options.fer, ort_lib),
        "Python, ONNX Runtime": inventory["versions"],
    }
    contenders = {
        "fer, ONNX Runtime": fer(options, "ort", "--model", options.model, *provider, *(["--ort-lib", ort_lib] if ort_lib else [])),
        "fer, Burn": fer(options, "burn", "--model", options.model, *device),
        "Python, ONNX Runtime": python(options, interpreter, ep),
    }
    if options.keras:
        with_keras = env.python()
        inventory = environment.inventory(with_keras, "keras", "tensorflow", "tensorflow-cpu", "numpy", "pillow")
        versions["Keras"] = inventory["versions"]
        contenders["Keras"] = lambda paths, output: [with_keras, HERE / "peer_keras.py", options.keras, paths, output]
    else:
        env.say("Keras is left out: --keras names no model")

    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        folder = Path(folder)
        images = chosen_images(options, interpreter, folder) * options.repeat
        data = {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
            "cpu": environment.cpu(),
            "cores": environment.cores(),
            "system": f"{platform.system()} {platform.machine()}",
            "load": os.getloadavg(),
            "versions": versions,
            "images": len(images),
        }
        if not options.cuda:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        data["rounds"] = measure_speed(contenders, images, options, folder)
        only_fer = {name: command for name, command in contenders.items() if name.startswith("fer")}
        data["memory"] = measure_memory(only_fer, images, options.rounds, folder) if options.memory else []
        data["agreement"] = compare([folder / f"{at}.csv" for at in range(len(contenders))])
    print(report.markdown(data))
    if options.json:
        save(options.json, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER",
                        help="JPEG and PNG images, also in folders below; default: 48x48 JPEG files drawn for this run")
    parser.add_argument("--count", type=positive, metavar="N",
                        help=f"images to draw (default: {COUNT}), or to take from FOLDER, evenly spread (default: all)")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--fer", type=Path, default=ROOT / "target" / "release" / "fer", metavar="FILE",
                        help="the program; default: target/release/fer")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "notebook.onnx", metavar="FILE",
                        help="ONNX file of contenders 1 to 3, compiled in; default: models/notebook.onnx")
    parser.add_argument("--keras", type=Path, metavar="FILE", help="the same model as a .keras file, for contender 4")
    parser.add_argument("--ort-lib", metavar="PATH",
                        help="fer's ONNX Runtime library, a file or its folder; default: the one of contender 3")
    parser.add_argument("--cuda", action="store_true", help="on an NVIDIA GPU")
    parser.add_argument("--repeat", type=positive, default=1, metavar="N", help="go through the images so often; default: once")
    parser.add_argument("--batch", type=positive, default=64, metavar="N",
                        help="images a batch, but for Keras; default: %(default)s")
    parser.add_argument("--memory", action="store_true",
                        help="also measure fer's peak memory with {:,} and with {:,} images".format(*MEMORY_COUNTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    options = parser.parse_args()
    if not hasattr(os, "wait4"):
        parser.error("needs Linux or macOS")
    if options.count == 1:
        parser.error("--count: needs 2 images or more")
    if options.folder and not options.folder.is_dir():
        parser.error(f"{options.folder}: no such folder")
    if not options.fer.is_file():
        parser.error(f"--fer {options.fer}: no such file; build it with `cargo build --release`")
    for option, file in (("--model", options.model), ("--keras", options.keras)):
        if file and not file.is_file():
            parser.error(f"{option} {file}: no such file")
    options.fer = options.fer.absolute()
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: no such folder")
    return options


def positive(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def fer_versions(program, ort_lib):
    library = ["--ort-lib", ort_lib] if ort_lib else []
    found = json.loads(environment.output(program, "doctor", "--json", *library))
    runtime = found["onnxruntime"]
    if not runtime["version"]:
        env.fail(f"fer finds no ONNX Runtime library{f' in {ort_lib}' if ort_lib else ''}; name one in --ort-lib")
    return {"fer": found["version"], "ONNX Runtime": f"{runtime['version']} ({Path(runtime['path']).name})"}


def fer(options, engine, *more):
    """Makes a contender: a function from a list of images and an output file to a command."""
    # The others do not know the file's calibration.
    command = [options.fer, "infer", "--quiet", "--faces", "never", "--engine", engine, "--meta", "temperature=1"]
    command += ["--batch-size", options.batch, *more]
    return lambda paths, output: [*command, "--output", output, f"@{paths}"]


def python(options, interpreter, provider):
    """Makes the contender with Python's ONNX Runtime."""
    script, cores = HERE / "peer_onnxruntime.py", environment.cores()
    return lambda paths, output: [interpreter, script, options.model, paths, output, cores, options.batch, provider]


def chosen_images(options, interpreter, folder):
    if not options.folder:
        count = options.count or COUNT
        env.say(f"drawing {count:,} images")
        (folder / "images").mkdir()
        environment.output(interpreter, HERE / "draw.py", folder / "images", count)
    source = (options.folder or folder / "images").absolute()
    images = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if options.folder and options.count:
        if options.count > len(images):
            env.fail(f"--count {options.count}: {options.folder} has only {len(images)} images")
        images = [images[at * len(images) // options.count] for at in range(options.count)]
    if len(images) < 2:
        env.fail(f"{source}: needs 2 images or more ({' '.join(sorted(SUFFIXES))})")
    for path in images:
        path.read_bytes()  # so that the system has all of them in memory for the first contender too
    return images


def measure_speed(contenders, images, options, folder):
    """The rounds as report.py describes them. The last output of the contender number I stays in FOLDER/I.csv."""
    one, all_ = write_list(folder / "one.txt", images[:1]), write_list(folder / "all.txt", images)
    outputs = {name: folder / f"{at}.csv" for at, name in enumerate(contenders)}
    # What is prepared once for a GPU and a size of batches, and then lies in a file.
    warm = write_list(folder / "warm.txt", images[: 2 * options.batch if options.cuda else 1])
    for name, command in contenders.items():
        run(name, command(warm, outputs[name]))
    results = []
    for number in range(options.rounds):
        cases = {}
        for name in rotated(contenders, number):
            command = contenders[name]
            first = run(name, command(one, outputs[name]))
            case = cases[name] = {"first": first, "all": run(name, command(all_, outputs[name]))}
            if case["all"]["seconds"] <= first["seconds"]:
                env.fail(f"{name}: {len(images)} images took no longer than one; use more images")
            env.say(f"round {number + 1} of {options.rounds}: {name}: {first['seconds']:.2f} s, {case['all']['seconds']:.2f} s")
        results.append({name: cases[name] for name in contenders})
    return results


def measure_memory(contenders, images, rounds, folder):
    """A list with `{contender: {number of images: run}}` of each round; the images are repeated as often as needed."""
    lists = {
        count: write_list(folder / f"{count}.txt", itertools.islice(itertools.cycle(images), count)) for count in MEMORY_COUNTS
    }
    results = []
    for number in range(rounds):
        cases = {name: {} for name in contenders}
        for name in rotated(contenders, number):
            for count, paths in lists.items():
                cases[name][str(count)] = run(name, contenders[name](paths, folder / "memory.csv"))
                peak = cases[name][str(count)]["peak_bytes"] / 2**20
                env.say(f"memory, round {number + 1} of {rounds}: {name}: {count:,} images, {peak:.0f} MiB")
        results.append(cases)
    return results


def rotated(names, by):
    names = list(names)
    by %= len(names)
    return names[by:] + names[:by]


def write_list(path, images):
    path.write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
    return path


def run(name, command):
    """Runs a command to its end and measures it; ends the script if it fails.

    Linux counts what this process held when it started the other as part of the other's peak, so this one must stay small: it
    loads nothing but the standard library and reads no results before all is measured.
    """
    variables = {
        **os.environ, "ORT_DISABLE_TELEMETRY": "1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=variables
            )
        except OSError as error:
            env.fail(f"{name}: cannot run {command[0]}: {error}")
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            why = said.read().decode(errors="replace").strip()
            if not why and process.returncode == 1:
                why = "an image cannot be read"  # all that fer exits with 1 for
            env.fail(f"{name}: {shlex.join(process.args)}: exit status {process.returncode}: {why}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * unit}


def compare(outputs):
    """Compares the results of all contenders image by image."""
    tables = [read_results(path) for path in outputs]
    paths = list(tables[0])
    for output, table in zip(outputs, tables):
        if list(table) != paths:
            env.fail(f"{output.name}: not the same images as in {outputs[0].name}")
    different, largest = [], 0.0
    for path in paths:
        labels, rows = zip(*(table[path] for table in tables))
        if len(set(labels)) > 1:
            different.append(path)
        largest = max([largest, *(max(column) - min(column) for column in zip(*rows))])
    return {
        "contenders": len(tables), "images": len(paths), "same": len(paths) - len(different),
        "different": [Path(path).name for path in different], "largest_difference": largest,
    }


def read_results(path):
    """`{path: (label, probabilities)}`; the columns between `confidence` and `error` are the classes."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        head = next(reader)
        end = head.index("error") if "error" in head else len(head)
        classes = slice(head.index("confidence") + 1, end)
        return {row[0]: (row[1], [float(value) for value in row[classes]]) for row in reader}


def save(path, text):
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        env.fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
