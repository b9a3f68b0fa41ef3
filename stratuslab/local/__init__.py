"""The embedded cloud: a small cloud inside this package that speaks OpenNebula's XML-RPC.

It is one engine over a store (SQLite) with two doors: in-process (:mod:`stratuslab.local.api.in_process`) and over loopback HTTP
(:mod:`stratuslab.local.api.wsgi_application`). Each instance is a process of its own, so nothing hangs on a command's life.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.files import is_disk_full, why

__all__ = ["state_directory"]


def state_directory(environ: Mapping[str, str]) -> Path:
    """The directory that holds the embedded cloud's state, made (mode 0700) when it is not there.

    $STRATUSLAB_LOCAL_DIR, else stratuslab/local in the XDG state directory ($XDG_STATE_HOME, else ~/.local/state). Raises
    UsageError where the environment names no place or the place cannot be used, StratusLabError where the disk is full.
    """
    directory = _named(environ)
    try:
        # Only the last directory is ours to close: those above it may be shared, and follow the umask as XDG has it.
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        _refuse(directory, error)
    return directory


def _named(environ: Mapping[str, str]) -> Path:
    named = environ.get("STRATUSLAB_LOCAL_DIR")
    if named:
        # Supervisors are started from it, and they run in a directory of their own.
        return Path(named).absolute()
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification has relative paths ignored.
    if state and Path(state).is_absolute():
        return Path(state, "stratuslab", "local")
    home = environ.get("HOME") or _home_of_user()
    if not home:
        raise UsageError("no home directory is known to keep the embedded cloud's state in", "set HOME or STRATUSLAB_LOCAL_DIR")
    return Path(home, ".local", "state", "stratuslab", "local").absolute()


def _home_of_user() -> str:
    import os

    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return ""


def _refuse(directory: Path, error: OSError) -> None:
    in_the_way = isinstance(error, FileExistsError)
    reason = "there is a file in its place" if in_the_way else why(error)
    message = f"the embedded cloud's directory {directory} cannot be made: {reason}"
    if is_disk_full(error):
        raise StratusLabError(message, "free some space, or set STRATUSLAB_LOCAL_DIR to a directory elsewhere") from error
    raise UsageError(message, "set STRATUSLAB_LOCAL_DIR to a directory of your own") from error
