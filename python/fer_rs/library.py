"""Where this Python's own ONNX Runtime is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from ._fer import OLDEST_ONNXRUNTIME


def onnxruntime_library() -> str | None:
    """The library of the package `onnxruntime` or `onnxruntime-gpu` in this environment.

    It is found without importing the package. `None` if there is none, or an older one than fer
    can use: then fer searches where the program does.
    """
    spec = importlib.util.find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        for library in (Path(folder) / "capi").glob("libonnxruntime.so.*"):
            version = re.fullmatch(r"libonnxruntime\.so\.(\d+)\.(\d+).*", library.name)
            if version and tuple(map(int, version.groups())) >= OLDEST_ONNXRUNTIME:
                return str(library)
    return None
