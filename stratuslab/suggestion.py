"""Suggestions for mistyped words."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``did you mean "X"?`` if one of the words is similar; else empty."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def join_hints(*parts: str) -> str:
    """The parts of a hint that are not empty, joined."""
    return " ".join(part for part in parts if part)
