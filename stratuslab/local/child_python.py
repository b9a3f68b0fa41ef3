"""How the embedded cloud starts Python processes: none imports from a folder that others can write to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

WORKING_DIRECTORY = "/"

# Before Python 3.11 only -I keeps the working directory off sys.path, and that ignores PYTHONPATH and users' own packages.
_START = (
    "import sys; sys.path[:] = filter(None, sys.path); del sys.argv[0]; "
    "import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this package in :data:`WORKING_DIRECTORY`, with :func:`environment`."""
    return [sys.executable, "-c", _START, module, *arguments]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, with a PYTHONPATH on which the process finds the same modules as this one, including this package."""
    package = Path(__file__).absolute().parents[2]
    paths = [Path(path).absolute() for path in sys.path if path]
    safe = [path for path in paths if path == package or _is_safe(path)]
    return {**environ, "PYTHONPATH": os.pathsep.join(map(str, safe if package in safe else [package, *safe]))}


def _is_safe(path: Path) -> bool:
    """Whether modules may be imported from there: not from the working directory, nor from where everybody can write."""
    try:
        return not (path.samefile(".") or path.stat().st_mode & 0o002)
    except OSError:
        return False
