"""The line that says what is being waited for."""

from __future__ import annotations

import io
import os
import pty
import select
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from stratuslab.output.status_line import Progress


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    with os.fdopen(slave, "w") as stream:
        yield stream, master
    os.close(master)


def read(master: int) -> str:
    """What came to the terminal; on a busy computer the system hands it over in pieces, and late."""
    came = b""
    while select.select([master], [], [], 0.3)[0]:
        came += os.read(master, 10000)
    return came.decode()


def test_the_line_is_rewritten_and_taken_away(terminal: tuple[TextIO, int]) -> None:
    stream, master = terminal
    with Progress(stream, {}) as progress:
        assert progress.visible
        progress.show("a longer line")
        assert read(master) == "\ra longer line"
        progress.show("short")
        assert read(master) == "\rshort        "
    assert read(master) == "\r     \r"
    progress.clear()
    assert read(master) == ""


def test_the_line_is_taken_away_after_a_failure(terminal: tuple[TextIO, int]) -> None:
    stream, master = terminal
    with pytest.raises(KeyboardInterrupt), Progress(stream, {}) as progress:
        progress.show("waiting")
        raise KeyboardInterrupt
    assert read(master) == "\rwaiting\r       \r"


def test_the_line_never_wraps_and_has_no_controls(terminal: tuple[TextIO, int]) -> None:
    stream, master = terminal
    with Progress(stream, {}) as progress:
        progress.show("x" * 500)
        assert len(read(master)) == 80
        progress.show("\u6f22" * 500)
        assert read(master).strip() == "\u6f22" * 39
        progress.show("a\x1b[2Jb\nc")
        assert read(master).strip() == "a?[2Jb c"


def test_nothing_is_shown_elsewhere(terminal: tuple[TextIO, int]) -> None:
    stream = io.StringIO()
    with Progress(stream, {}) as progress, Progress(None, {}) as none:
        progress.show("waiting")
        none.show("waiting")
        assert not progress.visible
    assert stream.getvalue() == ""
    closed = io.StringIO()
    closed.close()
    Progress(closed, {}).show("waiting")


def test_a_terminal_that_is_gone_harms_nothing() -> None:
    master, slave = pty.openpty()
    # What could not be written is tried once more when the stream is closed.
    with suppress(OSError), os.fdopen(slave, "w") as stream:
        progress = Progress(stream, {})
        os.close(master)
        progress.show("waiting")
        progress.clear()
