"""How the simulated guest's shell turns a word into the arguments that a command gets."""

from __future__ import annotations

import re
from collections.abc import Callable

from stratuslab.local.guest.syntax import Kind, Part, Word

Field = list[tuple[str, bool]]
"""The pieces of one argument, each with whether it was quoted."""


def fields(word: Word, value: Callable[[Part], str], matching: Callable[[str], list[str]], split: bool = True) -> list[str]:
    """The arguments that a word becomes: one, several, or none.

    ``value`` says what a variable or a command stands for, ``matching`` which files a pattern names. Without ``split`` the
    word is one argument whatever stands in it, as behind ``NAME=`` and ``>``.
    """
    found: list[Field] = [[]]
    for place, part in enumerate(word):
        if part.kind is Kind.TEXT:
            home = place == 0 and not part.quoted and re.match(r"~(?=/|\Z)", part.text)
            found[-1].append(("/root" + part.text[1:] if home else part.text, part.quoted))
        elif part.quoted or not split:
            found[-1].append((value(part), True))
        else:
            _add_split(found, value(part))
    return [name for field in found if field for name in (_names(field, matching) if split else [_plain(field)])]


def _add_split(found: list[Field], text: str) -> None:
    """Add text that ends an argument at each of its blanks."""
    pieces = text.split()
    if text[:1].isspace() and found[-1]:
        found.append([])
    for number, piece in enumerate(pieces):
        if number:
            found.append([])
        found[-1].append((piece, False))
    if pieces and text[-1:].isspace():
        found.append([])


def _names(field: Field, matching: Callable[[str], list[str]]) -> list[str]:
    if any(not quoted and re.search(r"[*?[]", text) for text, quoted in field):
        pattern = "".join(re.sub(r"([*?[])", r"[\1]", text) if quoted else text for text, quoted in field)
        # A pattern that names nothing stands for itself.
        return matching(pattern) or [_plain(field)]
    return [_plain(field)]


def _plain(field: Field) -> str:
    return "".join(text for text, _ in field)
