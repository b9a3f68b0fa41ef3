"""The network interfaces of an instance, as VM documents of all versions describe them."""

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class Nic(NamedTuple):
    """A network interface: the lease that the cloud gave. Text is as in the document, empty if missing.

    ``kind`` is empty for a plain one, ``alias`` for further addresses of another one (``external``: those by which it is reached
    from outside), ``pci`` for a device of the host that is passed through.
    """

    ip: str = ""
    ip6: tuple[str, ...] = ()
    external_ip: str = ""
    external_port_range: str = ""
    network: str = ""
    for_ssh: bool = False
    kind: str = ""
    external: bool = False

    @property
    def address(self) -> str:
        """The address to show: IPv4 if there is one, else the first IPv6 address, else empty."""
        return self.ip or (self.ip6[0] if self.ip6 else "")

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its addresses, the one to show first."""
        return tuple(filter(None, (self.ip, self.external_ip, *self.ip6)))

    def external_port(self, port: int) -> int:
        """The host's port that is forwarded to the instance's port; 0 if the range is malformed or too short."""
        match = re.match(r"\s*([0-9]{1,5})\s*:\s*([0-9]{1,5})\s*\Z", self.external_port_range)
        if match is None:
            return 0
        start, end = int(match[1]), int(match[2])
        found = start + port - 1
        return found if start > 0 and found <= end <= 65535 else 0


def nics(document: "Element") -> tuple[Nic, ...]:
    """The interfaces in the document's order, with aliases and PCI devices last."""
    template = document.find("TEMPLATE")
    return () if template is None else tuple(map(_nic, filter(_is_nic, template)))


def _is_nic(element: "Element") -> bool:
    return element.tag in ("NIC", "NIC_ALIAS") or (element.tag == "PCI" and element.findtext("TYPE", "").strip().upper() == "NIC")


def _nic(element: "Element") -> Nic:
    texts = {child.tag: (child.text or "").strip() for child in element}
    return Nic(
        ip=texts.get("IP", ""),
        ip6=tuple(dict.fromkeys(filter(None, map(texts.get, ("IP6", "IP6_GLOBAL", "IP6_ULA"))))),
        external_ip=texts.get("EXTERNAL_IP", ""),
        external_port_range=texts.get("EXTERNAL_PORT_RANGE", ""),
        network=texts.get("NETWORK", ""),
        for_ssh=texts.get("SSH", "").upper() == "YES",
        kind={"NIC_ALIAS": "alias", "PCI": "pci"}.get(element.tag, ""),
        external=texts.get("EXTERNAL", "").upper() == "YES",
    )
