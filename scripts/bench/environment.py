"""The Python environments of the peers, and what there is in them and on the machine.

Each lies in the user's cache folder under `fer/<name>-<hash of its requirements and Python version>`, or in the folder that a
variable names. If another variable names an interpreter, that one is used as it is and nothing is installed.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "keras"))

import env

HERE = Path(__file__).resolve().parent


class Peer(NamedTuple):
    """An environment: its name, what is in it in words, and the variables that name its folder or an interpreter."""

    name: str
    requirements: str
    contents: str
    folder_variable: str
    python_variable: str


ONNX_RUNTIME = Peer("bench", "requirements.txt", "ONNX Runtime and OpenCV", "FER_BENCH_ENV", "FER_BENCH_PYTHON")
ONNX_RUNTIME_GPU = Peer(
    "bench-gpu", "requirements-gpu.txt", "ONNX Runtime for CUDA and OpenCV", "FER_BENCH_GPU_ENV", "FER_BENCH_GPU_PYTHON"
)
TORCH = Peer("torch", "requirements-torch.txt", "PyTorch", "FER_TORCH_ENV", "FER_TORCH_PYTHON")

# Run by the interpreter in question: the versions of those of the named packages that it has, and the folder of ONNX
# Runtime's library.
INVENTORY = """
import importlib.metadata, importlib.util, json, pathlib, platform, sys
versions = {"Python": platform.python_version()}
for package in sys.argv[1:]:
    try:
        versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
found = importlib.util.find_spec("onnxruntime")
folder = pathlib.Path(found.origin).parent / "capi" if found and found.origin else None
library = folder and any(folder.glob("libonnxruntime.*"))
print(json.dumps({"versions": versions, "ort_lib": str(folder) if library else None}))
"""


def python(peer=ONNX_RUNTIME):
    """The path of the interpreter that has a peer's packages; builds the environment first if there is none."""
    chosen = os.environ.get(peer.python_variable)
    if chosen:
        return shutil.which(chosen) or env.fail(f"{peer.python_variable}={chosen}: no such program")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256((HERE / peer.requirements).read_bytes() + version.encode()).hexdigest()
    chosen = os.environ.get(peer.folder_variable)
    folder = Path(chosen).absolute() if chosen else env.user_cache() / "fer" / f"{peer.name}-{digest[:12]}"
    if not complete(folder, digest):
        build(peer, folder, digest)
    return str(env.interpreter(folder))


def complete(folder, digest):
    """Whether the environment was built to its end, and from these requirements: `.complete`, written last, says so."""
    marker = folder / ".complete"
    return marker.is_file() and marker.read_text(encoding="ascii") == digest


def build(peer, folder, digest):
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        env.fail(
            f"the peers need Python 3.10 to 3.13 and this is {platform.python_version()}: run this script with one of those, "
            f"or name an interpreter that has what {peer.requirements} lists in {peer.python_variable}"
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        env.fail(f"{folder}: not empty and not a Python environment; name another folder in {peer.folder_variable}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with env.locked(folder.with_name(folder.name + ".lock")):
            if complete(folder, digest):
                return
            env.say(f"making a Python environment with {peer.contents} in {folder}: once")
            # `--clear` removes what an interrupted build left.
            env.step("cannot make the environment", sys.executable, "-m", "venv", "--clear", folder)
            pip = (env.interpreter(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            env.step("pip failed", *pip, "--requirement", HERE / peer.requirements)
            (folder / ".complete").write_text(digest, encoding="ascii")
    except OSError as error:
        env.fail(f"cannot make the environment: {error}")


def inventory(interpreter, *packages):
    """`{"versions": {name: version}, "ort_lib": folder or None}` of an interpreter."""
    return json.loads(output(interpreter, "-c", INVENTORY, *packages))


def output(*command):
    """What a command prints; ends the script if it fails."""
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        env.fail(f"cannot run {command[0]}: {error}")
    if done.returncode != 0:
        env.fail(f"{command[0]} failed (exit status {done.returncode})")
    return done.stdout


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu():
    """The CPU's model."""
    if sys.platform == "darwin":
        return output("sysctl", "-n", "machdep.cpu.brand_string").strip()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()
