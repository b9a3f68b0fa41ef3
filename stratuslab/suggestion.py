"""Suggestions for mistyped words."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``did you mean "X"?`` if one of the words is similar; else empty."""
    from difflib import get_close_matches

    # Dashes are no similarity: --list is not --sort.
    bare = {known.lstrip("-"): known for known in words}
    near = get_close_matches(word.lstrip("-"), bare, n=1)
    return f'did you mean "{bare[near[0]]}"?' if near else ""


def join_hints(*parts: str) -> str:
    """The parts of a hint that are not empty, joined."""
    return " ".join(part for part in parts if part)
