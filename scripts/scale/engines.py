"""Prints the Python that has the engines; installs them first if need be, in the user's cache.

    python3 engines.py ray|all|bench
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

from environment import Peer, python

RAY = Peer("ray", "../scale/requirements-ray.txt", "Ray", "FER_RAY_ENV", "FER_RAY_PYTHON")
ALL = Peer("scale", "../scale/requirements.txt", "Ray, Daft and Spark", "FER_SCALE_ENV", "FER_SCALE_PYTHON")

print(python(RAY if sys.argv[1] == "ray" else ALL))
