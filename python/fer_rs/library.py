"""Where this Python's own ONNX Runtime is."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def onnxruntime_library() -> str | None:
    """The library of the package `onnxruntime` or `onnxruntime-gpu` in this environment.

    It is found without importing the package. `None` if there is none.
    """
    spec = importlib.util.find_spec("onnxruntime")
    for folder in spec.submodule_search_locations or [] if spec else []:
        found = sorted((Path(folder) / "capi").glob("libonnxruntime.so.*"))
        if found:
            return str(found[-1])
    return None
