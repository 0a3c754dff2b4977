"""The commands of fer as functions.

Each runs `fer` in a process of its own, so that Ctrl-C (KeyboardInterrupt) ends it as it ends the
program: a training saves its state first. A keyword that a function does not name is an option of
the command, by its name with underscores: `tta="flip"`, `min_accuracy=0.6`. What goes wrong
raises FerError with the program's message. What the program says on the way, as a training's
progress, goes to sys.stderr; `quiet=True` keeps it to errors.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ._fer import FerError

PathLike = str | os.PathLike[str]


def convert(model: PathLike, output: PathLike, **options: Any) -> Path:
    """Converts a Keras model to an ONNX file, whose path it returns."""
    _run(["convert", model, "--output", output], options)
    return Path(output)


def train(
    data: PathLike, out: PathLike, config: Mapping[str, Any] | None = None, **options: Any
) -> Path:
    """Trains a network on a folder of images into the run folder `out`, which it returns.

    `config` is what a recipe file has, as nested dictionaries. KeyboardInterrupt ends the training
    after its state is saved, and `resume` goes on with it.
    """
    arguments: list[Any] = ["train", "--data", data, "--out", out]
    with tempfile.TemporaryDirectory(prefix="fer-") as folder:
        if config is not None:
            recipe = Path(folder) / "recipe.toml"
            recipe.write_text(_toml(config), encoding="utf-8")
            arguments += ["--config", recipe]
        _run(arguments, options)
    return Path(out)


def resume(run: PathLike, **options: Any) -> Path:
    """Goes on with the training in a run folder, which it returns."""
    _run(["train", "--resume", run], options)
    return Path(run)


def evaluate(data: PathLike, model: PathLike | None = None, **options: Any) -> dict[str, Any]:
    """Measures a model on labeled images, and returns the report of `fer eval --format json`."""
    arguments: list[Any] = ["eval", "--data", data, "--format", "json"]
    if model is not None:
        arguments += ["--model", model]
    return json.loads(_run(arguments, options, partly=True).printed)


def export(run: PathLike, output: PathLike, **options: Any) -> Path:
    """Exports a trained network as an ONNX file, checked against it; returns the file's path."""
    _run(["export", "--run", run, f"--onnx={os.fspath(output)}"], options)
    return Path(output)


def parity(images: PathLike | Iterable[PathLike], **options: Any) -> bool:
    """Whether two models, engines or providers, or an engine and Keras, give the same predictions.

    `parity(images, reference="notebook@burn", candidate="notebook@ort")`, or
    `parity(images, keras="model.keras", candidate="model.onnx")`.
    """
    given = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    return _run(["parity", *given], options, partly=True).code == 0


class _Ended(NamedTuple):
    """How the program ended: its exit code, and what it printed."""

    code: int
    printed: str


def _run(arguments: Iterable[Any], options: Mapping[str, Any], *, partly: bool = False) -> _Ended:
    """Runs the program. What it says on stderr is passed on as it comes.

    Exit code 2 raises, and so does 1 (done in part, or not equal) unless `partly`.
    """
    command = [sys.executable, "-m", "fer_rs", *map(os.fspath, arguments)]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            command.append(flag)
        elif value is not None and value is not False:
            for one in value if isinstance(value, (list, tuple)) else [value]:
                # One argument, so that a value that begins with a dash is not a flag.
                command.append(f"{flag}={os.fspath(one) if isinstance(one, os.PathLike) else one}")
    last = ""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            stdout=printed,
            stderr=pipe,
            text=True,
            encoding="utf-8",
            errors="replace",
            # A terminal and Jupyter interrupt whole groups of processes. The program gets the
            # signal from here alone, once: a second one would end it unsaved.
            start_new_session=True,
        )
        with process:
            try:
                for line in process.stderr:
                    last = line.rstrip()
                    sys.stderr.write(line)
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                sys.stderr.write(process.stderr.read())
                raise
        if process.returncode == 0 or (process.returncode == 1 and partly):
            printed.seek(0)
            return _Ended(process.returncode, printed.read())
    last = last.removeprefix("fer: ").removeprefix("error: ")
    raise FerError(last or f"fer ended with exit code {process.returncode}")


def _toml(values: Mapping[str, Any], section: str = "") -> str:
    """A recipe as TOML: values, then sections."""
    lines, sections = [], []
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = f"{section}.{key}" if section else key
            sections.append(f"[{name}]\n{_toml(value, name)}")
        elif value is not None:
            # Numbers, strings, booleans and lists of them are written alike in JSON and TOML.
            lines.append(f"{key} = {json.dumps(value)}\n")
    return "".join(lines) + "".join(sections)
