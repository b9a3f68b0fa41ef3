"""The images, networks and machine templates of a cloud, found by id or name."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.cloud.bounded_parser import InvalidAnswer
from stratuslab.cloud.rpc_caller import Caller
from stratuslab.errors import NotFound, UsageError
from stratuslab.opennebula.document_values import text
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, is_id
from stratuslab.suggestion import did_you_mean, join_hints

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class ResourceKind(Enum):
    """A kind of resource; the value is its element in a pool's document, and the call that lists all of them."""

    IMAGE = ("IMAGE", "one.imagepool.info")
    NETWORK = ("VNET", "one.vnpool.info")
    TEMPLATE = ("VMTEMPLATE", "one.templatepool.info")
    APPLIANCE = ("MARKETPLACEAPP", "one.marketapppool.info")


class Resource(NamedTuple):
    """One resource that the user may use. ``identifier`` is the Marketplace's, for images that came from there;
    ``persistent`` images keep what machines write to them."""

    id: int
    name: str
    owner: str
    identifier: str = ""
    persistent: bool = False

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def documents(calls: Caller, kind: ResourceKind) -> Iterator[Element]:
    """The documents of all resources of a kind that the user may use, in the server's order."""
    return (one for one in calls.documents(*kind.value, Owner.ALL, -1, -1) if is_id(text(one, "ID")))


def entries(calls: Caller, kind: ResourceKind) -> list[Resource]:
    """All resources of a kind that the user may use, in the server's order."""
    return [entry(one) for one in documents(calls, kind)]


def document(calls: Caller, kind: ResourceKind, number: int) -> Element:
    """The document of one resource, by its id. Raises NotFound, which lists the resources there are."""
    tag, pool_call = kind.value
    try:
        if number > LARGEST_ID:
            raise NotFound("")
        found = calls.document(tag, pool_call.replace("pool", ""), number)
    except NotFound:
        raise _not_found(kind, str(number), entries(calls, kind)) from None
    if not is_id(text(found, "ID")):
        raise InvalidAnswer(f"{calls.cloud} answered without an id")
    return found


def by_name(known: list[Resource], kind: ResourceKind, name: str) -> Resource:
    """The resource called ``NAME`` or ``USER/NAME``. Raises NotFound, which lists the resources there are, or UsageError if
    several match."""
    fitting = [entry for entry in known if name in (entry.name, str(entry))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        owners = ", ".join(f"{entry} ({entry.id})" for entry in fitting)
        raise UsageError(f'several {kind.name.lower()}s are called "{name}": {owners}', "use the id or USER/NAME")
    raise _not_found(kind, name, known)


def _not_found(kind: ResourceKind, name: str, known: list[Resource]) -> NotFound:
    word = kind.name.lower()
    suggestion = did_you_mean(name, [entry.name for entry in known])
    return NotFound(f'this cloud has no {word} "{name}"', join_hints(suggestion, listing(known, word)))


def names_to_use(known: list[Resource]) -> dict[int, str]:
    """By id, the shortest words that :func:`by_name` takes for the resources: NAME, USER/NAME, or the id."""
    from collections import Counter

    taken = Counter(name for one in known for name in {one.name, str(one)})
    return {
        one.id: next(
            (name for name in (one.name, str(one)) if taken[name] == 1 and name.strip() and not is_id(name)), str(one.id)
        )
        for one in known
    }


def entry(element: Element) -> Resource:
    """What the document of a resource says."""
    return Resource(
        int(text(element, "ID")),
        text(element, "NAME"),
        text(element, "UNAME"),
        text(element, "TEMPLATE/MARKETPLACE_IDENTIFIER"),
        text(element, "PERSISTENT") == "1",
    )


def listing(known: list[Resource], word: str) -> str:
    """The names of the resources, and the command that lists them, as a hint; a long list is cut."""
    if not known:
        return f"no {word} is visible to you"
    names = sorted(map(str, known))
    command = "stratus-list-networks" if word == "network" else "stratus-search-image"
    return f"available: {', '.join(names[:12])}{' and more' if len(names) > 12 else ''}; list them with {command}"
