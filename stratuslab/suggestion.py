"""What somebody who mistyped a word probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``did you mean "X"?``, where one of the words is near enough; else empty."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def join_hints(*parts: str) -> str:
    """The parts of a hint that say something, as one."""
    return " ".join(part for part in parts if part)
