"""Prints the Python that has the engines; installs them first if need be, in the user's cache.

    python3 engines.py ray|all|bench

Prints nothing but a message on stderr if this Python is too old for them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

from environment import Peer, python

RAY = Peer("ray", "../scale/requirements-ray.txt", "Ray", "FER_RAY_ENV", "FER_RAY_PYTHON")
ALL = Peer("scale", "../scale/requirements.txt", "Ray, Daft and Spark", "FER_SCALE_ENV", "FER_SCALE_PYTHON")

if sys.version_info < (3, 11):
    print("SKIPPED: the engines need Python 3.11 to 3.13; $PYTHON may name one", file=sys.stderr)
else:
    print(python(RAY if sys.argv[1] == "ray" else ALL))
