"""Makes sure that a script runs inside the pinned Keras environment.

    python3 scripts/keras/env.py     makes the environment if need be and prints the path of its Python

The other scripts call `enter()` before they import anything that is not in the standard library. The environment lies in
$FER_KERAS_ENV, or else in the user's cache folder under `fer/keras-<hash of requirements.txt and Python version>`. If
FER_PYTHON names an interpreter, that one is used as it is and nothing is installed.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().with_name("requirements.txt")
# Python versions with the current Keras, in order of preference, and those left with an older one, which cannot read every
# newer model.
CURRENT = ["3.13", "3.12", "3.11"]
OLD = ["3.10"]
# Set for the process that `enter` starts, so that it does not start itself again.
INSIDE = "FER_KERAS_INSIDE"
# Set by a program that reports a script's error itself.
ERROR = "FER_KERAS_ERROR"
# The packages of modules that have another name.
PACKAGES = {"PIL": "pillow", "tf_keras": "tf-keras"}


def enter():
    """Returns inside the environment; outside it, runs this script again there with the same arguments."""
    if os.environ.pop(INSIDE, None) is None:
        run_with(python())


def python():
    """The path of the interpreter that has Keras; builds the environment first if there is none."""
    chosen = os.environ.get("FER_PYTHON")
    if chosen:
        found = shutil.which(chosen)
        if not found:
            fail(f"FER_PYTHON={chosen}: no such program")
        return found
    folder, program = environment()
    if not complete(folder):
        build(folder, program)
    return str(interpreter(folder))


def environment():
    """The folder of the environment, whether it exists or not, and the interpreter to build it with."""
    program, version = base()
    chosen = os.environ.get("FER_KERAS_ENV")
    if chosen:
        return Path(chosen).absolute(), program
    return user_cache() / "fer" / f"keras-{requirements_digest(version.encode())[:12]}", program


def base():
    """This interpreter, or a newer or older one on the PATH if the current Keras does not run on this one; its version."""
    version = "{}.{}".format(*sys.version_info)
    if version in CURRENT:
        return sys.executable, version
    for other in CURRENT:
        program = shutil.which(f"python{other}")
        # A version manager's shim may exist for a version that is not installed.
        if program and subprocess.run([program, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return program, other
    if version in OLD:
        return sys.executable, version
    fail(
        f"the Keras scripts need Python 3.11 to 3.13, and this is {version}: install one of them as python3.13 or the like, "
        "or name an interpreter that has Keras in FER_PYTHON"
    )


def user_cache():
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def interpreter(folder):
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def complete(folder):
    """Whether the environment was built to its end, and from these requirements: `.complete`, written last, says so."""
    marker = folder / ".complete"
    return marker.is_file() and marker.read_text(encoding="ascii") == requirements_digest()


def requirements_digest(more=b""):
    return hashlib.sha256(REQUIREMENTS.read_bytes() + more).hexdigest()


def build(folder, program):
    """Builds the environment where it will stay: a virtual environment cannot be moved."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        fail(f"{folder}: not empty and not a Python environment; name another folder in FER_KERAS_ENV")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(folder.name + ".lock")):
            if complete(folder):
                return
            say(f"making a Python environment with Keras in {folder}: a few hundred MB to download, 1.7 GB on disk, once")
            # `--clear` removes what an interrupted build left.
            step("cannot make the environment", program, "-m", "venv", "--clear", folder)
            pip = (interpreter(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            # The file lists transitive packages too. tf-keras depends on tensorflow by that name, and would bring it beside
            # tensorflow-cpu.
            step("pip failed", *pip, "--no-deps", "--requirement", REQUIREMENTS)
            (folder / ".complete").write_text(requirements_digest(), encoding="ascii")
    except OSError as error:
        fail(f"cannot make the environment: {error}")


def step(problem, *command):
    """Runs a command with its output on stderr."""
    if subprocess.run([str(word) for word in command], stdout=sys.stderr, check=False).returncode != 0:
        fail(f"{problem} (see above)")


@contextlib.contextmanager
def locked(path):
    """Holds a lock file; waits while another process has it. The system frees it when its holder ends, however it ends."""
    with open(path, "w") as file:
        for attempt in range(sys.maxsize):
            try:
                lock(file)
                break
            except OSError:
                if attempt == 0:
                    say("another process is making the environment: waiting for it")
                time.sleep(1)
        yield


def lock(file):
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def run_with(path):
    """Replaces this process by the same script under another interpreter."""
    command = [path, *sys.orig_argv[1:]]
    variables = {**os.environ, INSIDE: "1"}
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        # Windows has no exec that a waiting parent would notice.
        sys.exit(subprocess.run(command, env=variables, check=False).returncode)
    try:
        os.execve(path, command, variables)
    except OSError as error:
        fail(f"cannot run {path}: {error}")


def require(*modules):
    """Ends the script if the interpreter lacks one of these modules; names all that it lacks."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        s = "s" if len(missing) > 1 else ""
        fail(f"{sys.executable} lacks the module{s} {', '.join(missing)}; {pip(missing)}")


def pip(modules):
    """The command that installs modules, in words."""
    packages = " ".join(PACKAGES.get(name, name) for name in modules)
    return f"install with `{sys.executable} -m pip install {packages}`, or unset FER_PYTHON to get an environment with all of it"


def say(message):
    print(message, file=sys.stderr, flush=True)


def fail(message):
    """Ends the script. The message goes to the file that FER_KERAS_ERROR names, else to stderr."""
    path = os.environ.get(ERROR)
    if path:
        Path(path).write_text(message, encoding="utf-8")
    else:
        say(f"error: {message}")
    sys.exit(2)


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(python())


if __name__ == "__main__":
    main()
