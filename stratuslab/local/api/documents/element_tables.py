"""Which elements a document has, in which order, in which releases.

A table names them: ``"ID FSTYPE:-5 FORMAT:6-=raw"`` has ID in every release, FSTYPE up to 5.x, and FORMAT, which is always "raw",
from 6.0 on; ``[raw]`` is written as CDATA. Facts are those of the recordings in ``tests/wire/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from stratuslab.local.xml_writer import cdata, wrapped

T = TypeVar("T")


class Element(NamedTuple):
    """An element's name, the first and last release (its major number) that has it, and its content if that is constant."""

    name: str
    first: int
    last: int
    content: str


def elements(table: str) -> tuple[Element, ...]:
    """The elements in a table."""
    return tuple(map(_element, table.split()))


def _element(word: str) -> Element:
    head, _, content = word.partition("=")
    name, _, releases = head.partition(":")
    first, _, last = releases.partition("-")
    return Element(name, int(first or 0), int(last or 99), cdata(content[1:-1]) if content[:1] == "[" else content)


def contents(table: Iterable[Element], release: int, content: Mapping[str, T]) -> Iterator[tuple[str, T | str]]:
    """The elements that the release has, each with its content."""
    return ((name, content.get(name, constant)) for name, first, last, constant in table if first <= release <= last)


def filled(table: Iterable[Element], release: int, content: Mapping[str, object]) -> str:
    """The elements that the release has, with their content (markup): empty by default, and omitted if None."""
    return "".join(wrapped(name, str(value)) for name, value in contents(table, release, content) if value is not None)


def written(tag: str, table: Iterable[Element], release: int, content: Mapping[str, object]) -> str:
    """A document of the elements that the release has."""
    return wrapped(tag, filled(table, release, content))


def pool(tag: str, documents: Sequence[str], release: int) -> str:
    """A pool of documents, given by ascending number. From 5.0 on the newest come first."""
    return wrapped(tag, "".join(documents if release < 5 else reversed(documents)))


def ids(numbers: Iterable[int]) -> str:
    """The ids of other objects."""
    return "".join(f"<ID>{number}</ID>" for number in numbers)


def permissions(digits: str) -> str:
    """Nine digits: use, manage and administer, for the owner, the group and others."""
    bits = (f"{who}_{right}" for who in ("OWNER", "GROUP", "OTHER") for right in "UMA")
    return "".join(f"<{name}>{digit}</{name}>" for name, digit in zip(bits, digits, strict=True))


OWNED = f"ID UID=0 GID=0 UNAME=oneadmin GNAME=oneadmin NAME PERMISSIONS={permissions('110100100')}"
"""The first elements of documents of what the administrator owns and everybody can use."""
