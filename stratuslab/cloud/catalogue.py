"""What a cloud has to start machines with: images of its datastores, networks, machine templates; found by id or name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from xml.etree.ElementTree import Element

from stratuslab.cloud.calls import Calls
from stratuslab.errors import NotFound, UsageError
from stratuslab.opennebula.numbers import LARGEST_ID, Owner


class Kind(Enum):
    """A kind of thing: its element in a pool's document, and the word for it."""

    IMAGE = "IMAGE"
    NETWORK = "VNET"
    TEMPLATE = "VMTEMPLATE"

    @property
    def pool_call(self) -> str:
        """The call that lists all of them."""
        return {Kind.IMAGE: "one.imagepool.info", Kind.NETWORK: "one.vnpool.info", Kind.TEMPLATE: "one.templatepool.info"}[self]

    @property
    def call(self) -> str:
        """The call that shows one of them."""
        return self.pool_call.replace("pool", "")


@dataclass(frozen=True)
class Entry:
    """One thing that the user may use. ``identifier`` is the Marketplace's, of images that were taken from there;
    ``persistent`` images keep what is written to them."""

    id: int
    name: str
    owner: str
    identifier: str = ""
    persistent: bool = False

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def entries(calls: Calls, kind: Kind) -> Iterator[Entry]:
    """All things of a kind that the user may use, in the server's order."""
    for element in calls.documents(kind.value, kind.pool_call, int(Owner.ALL), -1, -1):
        if _text(element, "ID").isdigit():
            yield _entry(element)


def is_id(text: str) -> bool:
    """Whether the text is an id, and no name."""
    return text.isascii() and text.isdigit() and len(text) <= 10


def document(calls: Calls, kind: Kind, number: int) -> Element:
    """The document of one thing, by its id. Raises NotFound, which lists what there is."""
    try:
        if number > LARGEST_ID:
            raise NotFound("")
        return calls.document(kind.value, kind.call, number)
    except NotFound:
        raise _not_found(kind, str(number), list(entries(calls, kind))) from None


def by_id(calls: Calls, kind: Kind, number: int) -> Entry:
    """One thing by its id, which is looked up; raises as :func:`document` does."""
    return _entry(document(calls, kind, number))


def by_name(known: list[Entry], kind: Kind, text: str) -> Entry:
    """What ``NAME`` or ``USER/NAME`` names. Raises NotFound, which lists what there is, or UsageError where several fit."""
    fitting = [entry for entry in known if text in (entry.name, str(entry))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        owners = ", ".join(f"{entry} ({entry.id})" for entry in fitting)
        raise UsageError(f'several {kind.name.lower()}s are called "{text}": {owners}', "give the id or USER/NAME")
    raise _not_found(kind, text, known)


def _not_found(kind: Kind, text: str, known: list[Entry]) -> NotFound:
    word = kind.name.lower()
    return NotFound(f'this cloud has no {word} "{text}"', listing(known, word))


def _entry(element: Element) -> Entry:
    return Entry(
        int(_text(element, "ID")),
        _text(element, "NAME"),
        _text(element, "UNAME"),
        _text(element, "TEMPLATE/MARKETPLACE_IDENTIFIER"),
        _text(element, "PERSISTENT") == "1",
    )


def listing(known: list[Entry], word: str) -> str:
    """What there is, in words for a hint; a long list is cut."""
    if not known:
        return f"it shows you no {word} at all"
    names = sorted(map(str, known))
    return f"there are {', '.join(names[:12])}{' and more' if len(names) > 12 else ''}"


def _text(element: Element, path: str) -> str:
    return element.findtext(path, "").strip()
