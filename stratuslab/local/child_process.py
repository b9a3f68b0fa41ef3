"""What the processes need that this one starts with the same Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def python_path() -> str:
    """The PYTHONPATH with which another process finds the modules that this one finds, this package among them."""
    paths = [str(Path(path).absolute()) for path in sys.path if path]
    package = str(Path(__file__).absolute().parents[2])
    return os.pathsep.join(paths if package in paths else [package, *paths])
