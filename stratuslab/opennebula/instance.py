"""An instance as OpenNebula's VM document describes it (``one.vm.info`` and the elements of ``one.vmpool.info``).

Documents of all versions are read, the full ones and the pool's short ones. Nothing in a document is relied upon: an element
that is missing, empty or no number gives None or an empty value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from xml.etree.ElementTree import Element

from stratuslab.opennebula.disk import Disk, disks
from stratuslab.opennebula.history import HistoryRecord, history_records
from stratuslab.opennebula.states import Lcm, Phase, State, has_failed, phase, state_label

TOKEN_ATTRIBUTE = "STRATUSLAB_REQUEST"
"""The template attribute that carries the client's token for one request (kept by the server, so that it can be looked for)."""

LABELS_ATTRIBUTE = "LABELS"
"""The template attribute with an instance's labels, with commas between them, as OpenNebula's own tools have it."""


_MOST_OF_A_GUEST = 16
"""Addresses that a guest's own report may add."""


@dataclass(frozen=True)
class Nic:
    """A network interface: the lease that the cloud gave. Text as the document has it, empty where it has none.

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
        """The address to show: IPv4 where there is one, else the first IPv6 address, else empty."""
        return self.ip or (self.ip6[0] if self.ip6 else "")

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its addresses, the one to show first."""
        return tuple(text for text in (self.ip, self.external_ip, *self.ip6) if text)


class Lock(NamedTuple):
    """A lock of 5.4 or later that keeps users from acting on an instance: the ``level`` of actions that are locked (``use`` locks
    all of them, ``manage`` and ``admin`` fewer), who set it (None where the short listing does not say), and when, in
    seconds since the epoch."""

    level: str
    owner_id: int | None
    since: int | None


_LOCKS = {1: "use", 2: "manage", 3: "admin", 4: "all"}


@dataclass(frozen=True)
class Instance:
    """One VM document. Properties read it when they are asked, so that a long listing pays only for what it shows."""

    document: Element

    @cached_property
    def id(self) -> int:
        """The instance's number; -1 where the document has none."""
        number = self._integer("ID")
        return -1 if number is None else number

    @property
    def damage(self) -> str:
        """What is wrong with the document where it is not well-formed and nothing but the number is known; else empty."""
        return self.document.get("damage", "")

    @property
    def name(self) -> str:
        return self._text("NAME")

    @property
    def owner(self) -> str:
        """The owner's user name, empty where the document does not tell."""
        return self._text("UNAME")

    @property
    def owner_id(self) -> int | None:
        """The owner's number; None where the document does not tell."""
        return self._integer("UID")

    @property
    def group(self) -> str:
        """The name of the owner's group, empty where the document does not tell."""
        return self._text("GNAME")

    @cached_property
    def state(self) -> int | None:
        """The number in STATE, see :class:`stratuslab.opennebula.states.State`."""
        return self._integer("STATE")

    @cached_property
    def lcm_state(self) -> int | None:
        """The number in LCM_STATE, see :class:`stratuslab.opennebula.states.Lcm`; DELETE of 3.x, which later versions call
        CLEANUP_DELETE, has the number that it has there."""
        number = self._integer("LCM_STATE")
        return Lcm.CLEANUP_DELETE if number == Lcm.CLEANUP_RESUBMIT and self.is_of_3_x else number

    @property
    def is_of_3_x(self) -> bool:
        """Whether OpenNebula 3 wrote the document: it has no user template."""
        return self.document.find("USER_TEMPLATE") is None

    @property
    def state_label(self) -> str:
        """The state as one word, such as ``Running``."""
        if self.state == State.ACTIVE and self.lcm_state == Lcm.CLEANUP_DELETE and self.is_of_3_x:
            return "Delete"
        return state_label(self.state, self.lcm_state)

    @property
    def failed(self) -> bool:
        return has_failed(self.state, self.lcm_state)

    @property
    def phase(self) -> Phase:
        """Whether it is being prepared, runs, or is away."""
        return phase(self.state, self.lcm_state)

    @property
    def public_keys(self) -> str:
        """The public SSH keys that it was started with, one on a line; the variable's name depends on the kind of cloud."""
        return "\n".join(self.context[name] for name in ("SSH_PUBLIC_KEY", "PUBLIC_KEY") if name in self.context)

    @property
    def done(self) -> bool:
        return self.state == State.DONE

    @property
    def vcpu(self) -> int | None:
        """Virtual CPUs; 1 where the template names none, which is what OpenNebula's hypervisors then give."""
        text = self._text("TEMPLATE/VCPU")
        return _integer(text) if text else 1

    @property
    def cpu_share(self) -> str:
        """The part of the host's processors that it was promised, as the template has it; empty where that says nothing."""
        return self._text("TEMPLATE/CPU")

    @property
    def memory_asked(self) -> str:
        """The memory that it was asked with in MiB, as the template has it; empty where that says nothing."""
        return self._text("TEMPLATE/MEMORY")

    @property
    def memory_kib(self) -> int | None:
        """Memory in use in KiB; None where the document has no figure, as before the first poll, or the instance does not run."""
        return int(self.last_memory_kib) if self._is_measured("MEMORY") else None

    @property
    def cpu_percent(self) -> float | None:
        """CPU in use in percent of one CPU; None as with the memory."""
        return self.last_cpu_percent if self._is_measured("CPU") else None

    @property
    def last_memory_kib(self) -> int:
        """Memory in KiB as last monitored, even long ago; 0 before the first poll."""
        return int(self._monitored("MEMORY") or 0)

    @property
    def last_cpu_percent(self) -> float:
        """CPU in percent of one CPU as last monitored, even long ago; 0 before the first poll."""
        return self._monitored("CPU") or 0.0

    def monitored(self, record: Element | None) -> Instance:
        """The instance with this MONITORING element, or none, in place of the document's own."""
        document = Element(self.document.tag)
        document.extend(child for child in self.document if child.tag != "MONITORING")
        document.extend([record] if record is not None else [])
        return Instance(document)

    def _is_measured(self, figure: str) -> bool:
        measured = self._monitored(figure)
        if measured is None or self.phase is not Phase.UP:
            return False
        if not self.last_poll:
            return measured != 0  # documents of 3.x and 4.x have zeros before the first poll
        # A machine that was suspended and runs again has the figures from before until the next poll.
        return not self.history or self.last_poll >= self.history[-1].running[0]

    def _monitored(self, figure: str) -> float | None:
        """3.x has it below VM, later versions below MONITORING."""
        return _number(self._text(f"MONITORING/{figure}") or self._text(figure))

    @property
    def lock(self) -> Lock | None:
        """The lock on it; None where there is none."""
        number = self._integer("LOCK/LOCKED")
        if not number:
            return None
        return Lock(_LOCKS.get(number, str(number)), self._integer("LOCK/OWNER"), self._integer("LOCK/TIME"))

    @cached_property
    def nics(self) -> tuple[Nic, ...]:
        """The interfaces in the document's order, which has aliases and PCI devices behind the others."""
        template = self.document.find("TEMPLATE")
        return () if template is None else tuple(_nic(element) for element in template if _is_nic(element))

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its addresses: those that the cloud gave, interface by interface, then those that only the guest reports."""
        return tuple(dict.fromkeys(address for nic in self.nics for address in nic.addresses)) + self.guest_addresses

    @property
    def guest_addresses(self) -> tuple[str, ...]:
        """The addresses that the guest's agent reports and that the cloud did not give; nobody but the guest vouches for them."""
        found = [self._text(f"MONITORING/{name}") for name in ("GUEST_IP", "GUEST_IP_ADDRESSES")]
        given = {address for nic in self.nics for address in nic.addresses}
        texts = [word for text in found for word in re.split(r"[,\s]+", text[:4096])]
        new = dict.fromkeys(text for text in texts if text not in given and _is_global(text))
        return tuple(new)[:_MOST_OF_A_GUEST]

    @property
    def networks(self) -> tuple[str, ...]:
        """The name of each interface's network, those without one left out."""
        return tuple(nic.network for nic in self.nics if nic.network and nic.kind != "alias")

    @property
    def started(self) -> int | None:
        """When the cloud took the request for it, in seconds since the epoch."""
        return self._integer("STIME") or None

    @property
    def ended(self) -> int | None:
        """When it was done, in seconds since the epoch; None before."""
        return self._integer("ETIME") or None

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels. 4.x and later keep them below USER_TEMPLATE, also in the short listing; 3.x below TEMPLATE."""
        text = self._text(f"USER_TEMPLATE/{LABELS_ATTRIBUTE}") or self._text(f"TEMPLATE/{LABELS_ATTRIBUTE}")
        return tuple(word for word in map(str.strip, text.split(",")) if word)

    @property
    def hostname(self) -> str:
        """The host that the instance runs on, or ran on last; empty before it was placed."""
        hosts = self.document.findall("HISTORY_RECORDS/HISTORY/HOSTNAME")
        return _stripped(hosts[-1]) if hosts else ""

    @cached_property
    def history(self) -> tuple[HistoryRecord, ...]:
        """The stays on hosts, in the order in which they were; the pool's short documents have the last one, without times."""
        return history_records(self.document)

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        """The disks in the document's order."""
        return disks(self.document)

    @property
    def last_poll(self) -> int:
        """When its host last saw it run, in seconds since the epoch; 0 where nobody did."""
        return max(self._integer("MONITORING/TIMESTAMP") or self._integer("LAST_POLL") or 0, 0)

    @property
    def context(self) -> dict[str, str]:
        """The contextualisation variables, names in upper case."""
        context = self.document.find("TEMPLATE/CONTEXT")
        return {} if context is None else {child.tag.upper(): _stripped(child) for child in context}

    @property
    def message(self) -> str:
        """The cloud's own words on why the instance failed or waits, as the document has them; empty where it says nothing.

        4.x and later: USER_TEMPLATE/ERROR or, while it waits, SCHED_MESSAGE, each begins with a date; 3.x: the last of
        TEMPLATE/ERROR. No version takes an error away when all is well again, so one that waits once more has that of before.
        """
        waits = self.state == State.PENDING and not self.is_of_3_x
        return self._text("USER_TEMPLATE/SCHED_MESSAGE" if waits else "USER_TEMPLATE/ERROR") or self._error_of_3_x[1]

    @property
    def monitoring_error(self) -> str:
        """What keeps its host from being asked about it, with a date before it; 4.x notes that, and takes it away again."""
        return self._text("USER_TEMPLATE/ERROR_MONITOR")

    @property
    def dated_message(self) -> str:
        """The message, also that of 3.x, with its date before it, where it has one."""
        date, error = self._error_of_3_x
        return f"{date}: {error}" if date and error and error == self.message else self.message

    @cached_property
    def _error_of_3_x(self) -> tuple[str, str]:
        """Date and text of the last error."""
        errors = self.document.findall("TEMPLATE/ERROR")
        date, text = (errors[-1].findtext(tag, "").strip() if errors else "" for tag in ("TIMESTAMP", "MESSAGE"))
        return date, text

    @property
    def token(self) -> str:
        """The token of the request that started the instance; empty where it was started otherwise.

        3.x keeps attributes that it does not know below TEMPLATE, later versions below USER_TEMPLATE.
        """
        return self._text(f"USER_TEMPLATE/{TOKEN_ATTRIBUTE}") or self._text(f"TEMPLATE/{TOKEN_ATTRIBUTE}")

    def _text(self, path: str) -> str:
        element = self.document.find(path)
        return "" if element is None else _stripped(element)

    def _integer(self, path: str) -> int | None:
        return _integer(self._text(path))


def _is_nic(element: Element) -> bool:
    return element.tag in ("NIC", "NIC_ALIAS") or (element.tag == "PCI" and element.findtext("TYPE", "").strip().upper() == "NIC")


def _is_global(text: str) -> bool:
    """Whether the text is an address by which another computer may be reached."""
    from ipaddress import ip_address

    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def _nic(element: Element) -> Nic:
    texts = {child.tag: _stripped(child) for child in element}
    return Nic(
        ip=texts.get("IP", ""),
        ip6=tuple(dict.fromkeys(texts[name] for name in ("IP6", "IP6_GLOBAL", "IP6_ULA") if texts.get(name))),
        external_ip=texts.get("EXTERNAL_IP", ""),
        external_port_range=texts.get("EXTERNAL_PORT_RANGE", ""),
        network=texts.get("NETWORK", ""),
        for_ssh=texts.get("SSH", "").upper() == "YES",
        kind={"NIC_ALIAS": "alias", "PCI": "pci"}.get(element.tag, ""),
        external=texts.get("EXTERNAL", "").upper() == "YES",
    )


def _stripped(element: Element) -> str:
    return (element.text or "").strip()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    # NaN and infinities are numbers to Python, and none to a table.
    return number if abs(number) < 2**63 else None


def _integer(text: str) -> int | None:
    number = _number(text)
    return None if number is None else int(number)
