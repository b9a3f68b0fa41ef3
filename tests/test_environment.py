"""What a command is given of the world around it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from stratuslab.environment import Environment, is_terminal


def test_the_context_of_this_process() -> None:
    context = Environment.of_process()
    assert (context.stdin, context.stdout, context.stderr) == (sys.stdin, sys.stdout, sys.stderr)
    assert context.environ is os.environ


def test_home_and_what_lies_in_it() -> None:
    context = Environment(None, None, None, {"HOME": "/home/alice"})
    assert context.home == Path("/home/alice")
    assert context.expand("~/a/b") == Path("/home/alice/a/b")
    for other in ("~", "~bob/x", "/abs", "rel/~/x", ""):
        assert context.expand(other) == Path(other)


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
