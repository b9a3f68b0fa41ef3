"""The values in OpenNebula's documents, of which none is relied upon: text, numbers, and what an instance uses of its host."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


_MAX_GUEST_ADDRESSES = 16


class Usage(NamedTuple):
    """What an instance uses, as ``one.vmpool.monitoring`` says: memory in KiB, CPU in percent of one CPU (None: unknown), when
    that was measured (seconds since the epoch, 0: unknown), and the addresses that the guest reports, as text."""

    memory_kib: float | None = None
    cpu_percent: float | None = None
    measured: int = 0
    guest_addresses: str = ""

    @classmethod
    def of(cls, record: "Element") -> "Usage":
        """Read a MONITORING element."""
        texts = {child.tag: child.text.strip() for child in record if child.text}
        reported = [texts[name][:4096] for name in ("GUEST_IP", "GUEST_IP_ADDRESSES") if name in texts]
        measured = integer(texts.get("TIMESTAMP", "")) or 0
        return cls(number(texts.get("MEMORY", "")), number(texts.get("CPU", "")), max(measured, 0), " ".join(reported))

    def other_addresses(self, given: Iterable[str]) -> tuple[str, ...]:
        """The addresses that the guest reports besides those ``given``: the first few that others may be able to reach."""
        new = dict.fromkeys(re.split(r"[,\s]+", self.guest_addresses))
        for address in given:
            new.pop(address, None)
        return tuple(filter(_is_global, new))[:_MAX_GUEST_ADDRESSES]


def _is_global(text: str) -> bool:
    """Whether the text is an address that other computers may be able to reach."""
    from ipaddress import ip_address

    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def text(element: "Element", path: str) -> str:
    """The text of an element below another one; empty if there is none."""
    return element.findtext(path, "").strip()


def number(text: str) -> float | None:
    """A number of a document; None for other text."""
    try:
        found = float(text)
    except ValueError:
        return None
    # NaN and infinities are numbers to Python, but not to a table.
    return found if abs(found) < 2**63 else None


def integer(text: str) -> int | None:
    """The same without what is behind the decimal point."""
    if text.isdecimal() and len(text) < 16:  # as nearly all are
        return int(text)
    found = number(text)
    return None if found is None else int(found)


def count(text: str, digits: int = 11) -> int | None:
    """A number of a document that has neither a sign nor a decimal point; None for other text, and for more digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None
