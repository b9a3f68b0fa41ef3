"""What a cloud has to start machines with: images of its datastores, networks, machine templates; found by id or name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from xml.etree.ElementTree import Element

from stratuslab.cloud.calls import Calls
from stratuslab.errors import NotFound, UsageError
from stratuslab.opennebula.numbers import Owner


class Kind(Enum):
    """A kind of thing: its element in a pool's document, and the word for it."""

    IMAGE = "IMAGE"
    NETWORK = "VNET"
    TEMPLATE = "VMTEMPLATE"

    @property
    def pool_call(self) -> str:
        """The call that lists all of them."""
        return {Kind.IMAGE: "one.imagepool.info", Kind.NETWORK: "one.vnpool.info", Kind.TEMPLATE: "one.templatepool.info"}[self]


@dataclass(frozen=True)
class Entry:
    """One thing that the user may use. ``identifier`` is the Marketplace's, of images that were taken from there."""

    id: int
    name: str
    owner: str
    identifier: str = ""

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def entries(calls: Calls, kind: Kind) -> Iterator[Entry]:
    """All things of a kind that the user may use, in the server's order."""
    for element in calls.documents(kind.value, kind.pool_call, int(Owner.ALL), -1, -1):
        number = _text(element, "ID")
        if number.isdigit():
            identifier = _text(element, "TEMPLATE/MARKETPLACE_IDENTIFIER")
            yield Entry(int(number), _text(element, "NAME"), _text(element, "UNAME"), identifier)


def find(calls: Calls, kind: Kind, text: str) -> int:
    """The id of what ``ID``, ``NAME`` or ``USER/NAME`` names.

    Raises NotFound, which lists what there is, or UsageError where the name fits several.
    """
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return int(text)
    word = kind.name.lower()
    known = list(entries(calls, kind))
    fitting = [entry for entry in known if text in (entry.name, str(entry))]
    if len(fitting) == 1:
        return fitting[0].id
    if fitting:
        owners = ", ".join(f"{entry} ({entry.id})" for entry in fitting)
        raise UsageError(f'several {word}s are called "{text}": {owners}', "give the id or USER/NAME")
    raise NotFound(f'this cloud has no {word} "{text}"', listing(known, word))


def listing(known: list[Entry], word: str) -> str:
    """What there is, in words for a hint; a long list is cut."""
    if not known:
        return f"it shows you no {word} at all"
    names = sorted(map(str, known))
    return f"there are {', '.join(names[:12])}{' and more' if len(names) > 12 else ''}"


def _text(element: Element, path: str) -> str:
    return element.findtext(path, "").strip()
