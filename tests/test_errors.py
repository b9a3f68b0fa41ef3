"""Errors, which stay as they were made."""

from __future__ import annotations

from stratuslab.cloud.reply import Refused
from stratuslab.errors import ExitStatus, NotFound, SeveralFailed


def test_the_same_error_in_other_words() -> None:
    error = NotFound("no such machine", "list them")
    assert str(error.replaced("gone")) == "gone (list them)"
    assert str(error.replaced(hint="wait")) == "no such machine (wait)"
    assert isinstance(error.replaced("gone"), NotFound)
    assert str(error) == "no such machine (list them)"


def test_what_else_an_error_knows_is_kept() -> None:
    refused = Refused("no", 4096).replaced(hint="ask")
    assert isinstance(refused, Refused)
    assert (refused.code, str(refused)) == (4096, "no (ask)")
    several = SeveralFailed("2 of 2 failed", ExitStatus.DENIED, [refused, refused]).replaced("all failed")
    assert isinstance(several, SeveralFailed)
    assert (several.status, several.causes, several.args) == (ExitStatus.DENIED, [refused, refused], ("all failed",))
