"""The program fer: `fer …` and `python -m fer_rs …`."""

import os
import sys

# Before the extension starts a thread, as in the program.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ["BURN_DEVICE"] = "flex"

from ._fer import run
from .library import onnxruntime_library


def main() -> int:
    """Runs the program with the process's arguments, and returns its exit code."""
    library = onnxruntime_library()
    if library is not None:
        # This environment's ONNX Runtime, unless the user names another.
        os.environ.setdefault("ORT_DYLIB_PATH", library)
    return run(["fer", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
