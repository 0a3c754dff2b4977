"""Writes files for the other scripts."""

import os
import zipfile
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


def compress(path):
    """Packs a .keras file tighter, its content as it is: most of it is empty space in HDF5's blocks."""
    with zipfile.ZipFile(path) as archive:
        content = [(item.filename, archive.read(item)) for item in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
