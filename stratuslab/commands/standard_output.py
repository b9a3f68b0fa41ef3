"""Writes a command's answer to standard output, which may be closed, full, or a pipe that nobody reads."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from itertools import islice

from stratuslab.environment import Environment
from stratuslab.errors import StratusLabError


def write(environment: Environment, text: Iterable[str]) -> None:
    """Write the lines, in portions, so that a long answer is not kept in memory once more. Raises StratusLabError, and
    BrokenPipeError if nobody reads them."""
    lines, is_empty = iter(text), True
    while portion := list(islice(lines, 1000)):
        if environment.stdout is None:
            raise StratusLabError("cannot write the answer: standard output is closed")
        with write_errors(environment):
            environment.stdout.write("\n".join(portion) + "\n")
        is_empty = False
    if not is_empty:
        flush(environment)


def flush(environment: Environment) -> None:
    """Hand on what was written. Raises as :func:`write` does."""
    with write_errors(environment):
        if environment.stdout is not None:
            environment.stdout.flush()


@contextlib.contextmanager
def write_errors(environment: Environment) -> Iterator[None]:
    """Raise what a write to standard output raises as BrokenPipeError if nobody reads it, else as StratusLabError."""
    try:
        yield
    except ValueError:
        raise StratusLabError("cannot write the answer: standard output is closed") from None
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):
            # EIO: the terminal is gone.
            raise BrokenPipeError from None
        discard(environment)
        raise StratusLabError(f"cannot write the answer: {error.strerror}") from None


def discard(environment: Environment) -> None:
    """Discard buffered output, which would raise again when Python exits."""
    if environment.owns_process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
