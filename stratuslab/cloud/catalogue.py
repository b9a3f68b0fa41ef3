"""The images, networks and machine templates of a cloud, found by id or name."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.cloud.rpc_caller import Caller
from stratuslab.errors import NotFound, UsageError
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, is_id
from stratuslab.suggestion import did_you_mean, join_hints

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class ResourceKind(Enum):
    """A kind of resource; the value is its element in a pool's document."""

    IMAGE = "IMAGE"
    NETWORK = "VNET"
    TEMPLATE = "VMTEMPLATE"
    APPLIANCE = "MARKETPLACEAPP"

    @property
    def pool_call(self) -> str:
        """The call that lists all of them."""
        return {
            ResourceKind.IMAGE: "one.imagepool.info",
            ResourceKind.NETWORK: "one.vnpool.info",
            ResourceKind.TEMPLATE: "one.templatepool.info",
            ResourceKind.APPLIANCE: "one.marketapppool.info",
        }[self]

    @property
    def call(self) -> str:
        """The call that shows one of them."""
        return self.pool_call.replace("pool", "")


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


def entries(calls: Caller, kind: ResourceKind) -> Iterator[Resource]:
    """All resources of a kind that the user may use, in the server's order."""
    for element in calls.documents(kind.value, kind.pool_call, Owner.ALL, -1, -1):
        if is_id(_text(element, "ID")):
            yield entry(element)


def document(calls: Caller, kind: ResourceKind, number: int) -> Element:
    """The document of one resource, by its id. Raises NotFound, which lists the resources there are."""
    try:
        if number > LARGEST_ID:
            raise NotFound("")
        return calls.document(kind.value, kind.call, number)
    except NotFound:
        raise _not_found(kind, str(number), list(entries(calls, kind))) from None


def by_id(calls: Caller, kind: ResourceKind, number: int) -> Resource:
    """One resource by its id. Raises as :func:`document` does."""
    return entry(document(calls, kind, number))


def by_name(known: list[Resource], kind: ResourceKind, text: str) -> Resource:
    """The resource called ``NAME`` or ``USER/NAME``. Raises NotFound, which lists the resources there are, or UsageError if
    several match."""
    fitting = [entry for entry in known if text in (entry.name, str(entry))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        owners = ", ".join(f"{entry} ({entry.id})" for entry in fitting)
        raise UsageError(f'several {kind.name.lower()}s are called "{text}": {owners}', "use the id or USER/NAME")
    raise _not_found(kind, text, known)


def _not_found(kind: ResourceKind, text: str, known: list[Resource]) -> NotFound:
    word = kind.name.lower()
    suggestion = did_you_mean(text, [entry.name for entry in known])
    return NotFound(f'this cloud has no {word} "{text}"', join_hints(suggestion, listing(known, word)))


def names_to_use(known: list[Resource]) -> dict[int, str]:
    """By id, the shortest words that :func:`by_name` takes for the resources: NAME, USER/NAME, or the id."""
    from collections import Counter

    taken = Counter(text for one in known for text in {one.name, str(one)})
    return {
        one.id: next(
            (text for text in (one.name, str(one)) if taken[text] == 1 and text.strip() and not is_id(text)), str(one.id)
        )
        for one in known
    }


def entry(element: Element) -> Resource:
    """What the document of a resource says."""
    return Resource(
        int(_text(element, "ID")),
        _text(element, "NAME"),
        _text(element, "UNAME"),
        _text(element, "TEMPLATE/MARKETPLACE_IDENTIFIER"),
        _text(element, "PERSISTENT") == "1",
    )


def listing(known: list[Resource], word: str) -> str:
    """The names of the resources, and the command that lists them, as a hint; a long list is cut."""
    if not known:
        return f"no {word} is visible to you"
    names = sorted(map(str, known))
    command = "stratus-list-networks" if word == "network" else "stratus-search-image"
    return f"available: {', '.join(names[:12])}{' and more' if len(names) > 12 else ''}; list them with {command}"


def _text(element: Element, path: str) -> str:
    return element.findtext(path, "").strip()
