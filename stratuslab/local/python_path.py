"""The PYTHONPATH of the Python processes that the embedded cloud starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def python_path() -> str:
    """The PYTHONPATH with which another process finds the same modules as this one, including this package."""
    paths = [str(Path(path).absolute()) for path in sys.path if path]
    package = str(Path(__file__).absolute().parents[2])
    return os.pathsep.join(paths if package in paths else [package, *paths])
