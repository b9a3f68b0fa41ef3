"""The embedded cloud: a small cloud inside this package that speaks OpenNebula's XML-RPC.

One engine over a store (SQLite) is reached in-process (:mod:`stratuslab.local.api.in_process`) or over loopback HTTP
(:mod:`stratuslab.local.api.http_server`). Each instance is a process of its own and outlives the command that started it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stratuslab.environment import home_directory
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.private_files import is_disk_full, private_directory, why


def state_directory(environ: Mapping[str, str]) -> Path:
    """The directory of the embedded cloud's state, created if missing, as are those above it, with mode 0700.

    $STRATUSLAB_LOCAL_DIR, else stratuslab/local in the XDG state directory ($XDG_STATE_HOME, else ~/.local/state). Raises
    UsageError where there is no home directory, and for a directory that is unusable or open to others; StratusLabError if the
    disk is full.
    """
    directory = _named(environ)
    try:
        return private_directory(directory)
    except OSError as error:
        reason = "a file of that name exists" if isinstance(error, FileExistsError) else why(error)
        message = f"cannot create the embedded cloud's directory {directory}: {reason}"
        if is_disk_full(error):
            raise StratusLabError(message, "free some space, or set STRATUSLAB_LOCAL_DIR to a directory elsewhere") from error
        raise UsageError(message, "set STRATUSLAB_LOCAL_DIR to a directory of your own") from error


def _named(environ: Mapping[str, str]) -> Path:
    named = environ.get("STRATUSLAB_LOCAL_DIR")
    if named:
        # Absolute, as supervisors run in another working directory.
        return Path(named).absolute()
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification says to ignore relative paths.
    if state and Path(state).is_absolute():
        return Path(state, "stratuslab", "local")
    home = home_directory(environ)
    if not home:
        raise UsageError("no home directory for the embedded cloud's state", "set HOME or STRATUSLAB_LOCAL_DIR")
    return Path(home, ".local", "state", "stratuslab", "local").absolute()
