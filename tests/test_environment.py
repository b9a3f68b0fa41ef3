"""What a command is given of the world around it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from stratuslab.environment import Environment, is_terminal


def test_the_context_of_this_process() -> None:
    environment = Environment.of_process()
    assert (environment.stdin, environment.stdout, environment.stderr) == (sys.stdin, sys.stdout, sys.stderr)
    assert environment.environ == os.environ


def test_home_and_what_lies_in_it() -> None:
    environment = Environment(None, None, None, {"HOME": "/home/alice"})
    assert environment.home == Path("/home/alice")
    assert environment.expand("~/a/b") == Path("/home/alice/a/b")
    for other in ("~", "~bob/x", "/abs", "rel/~/x", ""):
        assert environment.expand(other) == Path(other)


def test_terminals() -> None:
    closed = io.StringIO()
    closed.close()
    assert not any(is_terminal(stream) for stream in (None, closed, io.StringIO()))
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        assert is_terminal(terminal)
        assert Environment(terminal, None, terminal, {}).interactive
        assert not Environment(terminal, terminal, io.StringIO(), {}).interactive
        assert not Environment(None, terminal, terminal, {}).interactive
    os.close(ours)
