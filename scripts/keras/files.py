"""Writes files for the other scripts."""

import os
from pathlib import Path


def write(path, data):
    """Writes bytes under a temporary name and renames, so that no half file is ever seen; makes the folder if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
