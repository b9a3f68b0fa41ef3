"""An instance as OpenNebula's VM document describes it (``one.vm.info`` and the elements of ``one.vmpool.info``).

Documents of all versions are read, full and short ones; what is missing, empty or not a number is None or empty.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from stratuslab.opennebula.document_values import Usage, integer, number
from stratuslab.opennebula.nic import Nic, nics
from stratuslab.opennebula.states import Lcm, Phase, State, has_failed, phase, state_label

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from stratuslab.opennebula.disk import Disk
    from stratuslab.opennebula.history import HistoryRecord
    from stratuslab.opennebula.lock import Lock

TOKEN_ATTRIBUTE = "STRATUSLAB_REQUEST"
"""The template attribute with the client's token for one request; the server keeps it, so the machine can be found by it."""

LABELS_ATTRIBUTE = "LABELS"
"""The template attribute with an instance's labels, separated by commas as OpenNebula's own tools do."""

MONITORING_ERROR_ATTRIBUTE = "ERROR_MONITOR"
SIMULATED_ATTRIBUTE = "STRATUSLAB_SIMULATED"
"""The template attribute in which the embedded cloud says why it simulates a machine that could be a real one."""


class Instance:
    """One VM document. Properties read it on demand, so that a long listing only pays for what it shows.

    ``usage`` counts instead of the document's MONITORING element, if it is given.
    """

    def __init__(self, document: Element, usage: Usage | None = None) -> None:
        self.document = document
        self.usage = usage
        self.id = -1 if (found := self._integer("ID")) is None else found
        """The instance's id; -1 if the document has none."""
        self.state = self._integer("STATE")
        """The number in STATE, see :class:`stratuslab.opennebula.states.State`."""
        self.lcm_state = self._integer("LCM_STATE")
        """The number in LCM_STATE, see :class:`stratuslab.opennebula.states.Lcm`; DELETE of 3.x gets the number that it has in
        later versions, which call it CLEANUP_DELETE."""
        if self.lcm_state == Lcm.CLEANUP_RESUBMIT and self.is_of_3_x:
            self.lcm_state = Lcm.CLEANUP_DELETE

    @property
    def damage(self) -> str:
        """What is wrong with a document that is not well-formed, of which only the id is known; else empty."""
        return self.document.get("damage", "")

    @property
    def name(self) -> str:
        return self._text("NAME")

    @property
    def owner(self) -> str:
        """The owner's user name, empty if unknown."""
        return self._text("UNAME")

    @property
    def owner_id(self) -> int | None:
        """The owner's user id; None if unknown."""
        return self._integer("UID")

    @property
    def group(self) -> str:
        """The name of the owner's group, empty if unknown."""
        return self._text("GNAME")

    @property
    def is_of_3_x(self) -> bool:
        """Whether OpenNebula 3 wrote the document, which then has no user template."""
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
        """Whether it is being prepared, running, leaving or away."""
        return phase(self.state, self.lcm_state)

    @property
    def public_keys(self) -> str:
        """The public SSH keys that it was started with, one on each line; the variable's name depends on the kind of cloud."""
        return "\n".join(self.context[name] for name in ("SSH_PUBLIC_KEY", "PUBLIC_KEY") if name in self.context)

    @property
    def done(self) -> bool:
        return self.state == State.DONE

    @property
    def vcpu(self) -> int | None:
        """Virtual CPUs; 1 if the template names none, as OpenNebula's hypervisors do."""
        text = self._text("TEMPLATE/VCPU")
        return integer(text) if text else 1

    @property
    def cpu_share(self) -> str:
        """The guaranteed share of the host's CPUs, as in the template; empty if the template does not say."""
        return self._text("TEMPLATE/CPU")

    @property
    def memory_requested(self) -> str:
        """The requested memory in MiB, as in the template; empty if the template does not say."""
        return self._text("TEMPLATE/MEMORY")

    @property
    def memory_kib(self) -> int | None:
        """Memory in use in KiB; None if the document does not say, as before the first poll, or if it is not running."""
        return self.last_memory_kib if self._is_measured(self._usage.memory_kib) else None

    @property
    def cpu_percent(self) -> float | None:
        """CPU in use in percent of one CPU; None as for the memory."""
        return self.last_cpu_percent if self._is_measured(self._usage.cpu_percent) else None

    @property
    def last_memory_kib(self) -> int:
        """The last measured memory in KiB, even if old; 0 before the first poll."""
        return int(self._usage.memory_kib or 0)

    @property
    def last_cpu_percent(self) -> float:
        """The last measured CPU in percent of one CPU, even if old; 0 before the first poll."""
        return self._usage.cpu_percent or 0.0

    @cached_property
    def _usage(self) -> Usage:
        if self.usage is not None:
            return self.usage
        record = self.document.find("MONITORING")
        found = Usage() if record is None else Usage.of(record)
        if found.memory_kib is None and found.cpu_percent is None:  # 3.x has both below VM
            return found._replace(memory_kib=number(self._text("MEMORY")), cpu_percent=number(self._text("CPU")))
        return found

    def _is_measured(self, measured: float | None) -> bool:
        if measured is None or self.phase is not Phase.UP:
            return False
        if not self.last_poll:
            return measured != 0  # documents of 3.x and 4.x have zeros before the first poll
        # A machine that was suspended and runs again has the figures from before until the next poll.
        records = self._history_elements
        resumed = integer(records[-1].findtext("RSTIME", "")) if records else None
        return resumed is None or self.last_poll >= resumed

    @property
    def lock(self) -> Lock | None:
        """The lock on the instance, or None."""
        from stratuslab.opennebula.lock import Lock

        level = self._integer("LOCK/LOCKED")
        return Lock.of(level, self._integer("LOCK/OWNER"), self._integer("LOCK/TIME")) if level else None

    @cached_property
    def nics(self) -> tuple[Nic, ...]:
        """The interfaces in the document's order, with aliases and PCI devices last."""
        return nics(self.document)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its addresses: those that the cloud gave, by interface, then those that only the guest reports."""
        given = (address for nic in self.nics for address in nic.addresses)
        return tuple(dict.fromkeys((*given, *self.guest_addresses)))

    @property
    def guest_addresses(self) -> tuple[str, ...]:
        """The addresses that the guest's agent reports and the cloud did not give; only the guest vouches for them."""
        given = (address for nic in self.nics for address in nic.addresses)
        return self._usage.other_addresses(given) if self._usage.guest_addresses else ()

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the interfaces' networks, without empty ones."""
        return tuple(nic.network for nic in self.nics if nic.network and nic.kind != "alias")

    @property
    def started(self) -> int | None:
        """When the cloud accepted the request, in seconds since the epoch."""
        return self._integer("STIME") or None

    @property
    def ended(self) -> int | None:
        """When it became Done, in seconds since the epoch; None before."""
        return self._integer("ETIME") or None

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, which even short listings have."""
        return tuple(word for word in map(str.strip, self._attribute(LABELS_ATTRIBUTE).split(",")) if word)

    @property
    def hostname(self) -> str:
        """The host that the instance runs on or last ran on; empty before it was deployed."""
        hosts = [host for record in self._history_elements for host in record.findall("HOSTNAME")]
        return (hosts[-1].text or "").strip() if hosts else ""

    @property
    def hypervisor(self) -> str:
        """The driver of its hypervisor, such as ``kvm``; empty before it was deployed, and in listings of some versions."""
        history = self._history_elements
        if not history:
            return ""
        return (history[-1].findtext("VM_MAD") or history[-1].findtext("VMMMAD") or "").strip().removeprefix("vmm_")

    @property
    def simulated_because(self) -> str:
        """Why the embedded cloud simulates a machine that could be a real one; empty if it does not."""
        return self._attribute(SIMULATED_ATTRIBUTE)

    @property
    def _history_elements(self) -> list[Element]:
        return [record for records in self.document.findall("HISTORY_RECORDS") for record in records.findall("HISTORY")]

    @cached_property
    def history(self) -> tuple[HistoryRecord, ...]:
        """The history records in order; the pool's short documents have only the last one, without times."""
        from stratuslab.opennebula.history import history_records

        return history_records(self.document)

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        """The disks in the document's order."""
        from stratuslab.opennebula.disk import disks

        return disks(self.document)

    @property
    def last_poll(self) -> int:
        """When its host last saw it running, in seconds since the epoch; 0 if never."""
        return self._usage.measured or max(self._integer("LAST_POLL") or 0, 0)

    @property
    def context(self) -> dict[str, str]:
        """The context variables, names in upper case."""
        context = self.document.find("TEMPLATE/CONTEXT")
        return {} if context is None else {child.tag.upper(): (child.text or "").strip() for child in context}

    @property
    def message(self) -> str:
        """The cloud's own message on why the instance failed or waits, as in the document; empty if there is none.

        4.x and later: USER_TEMPLATE/ERROR or, while it waits, SCHED_MESSAGE, each begins with a date; 3.x: the last of
        TEMPLATE/ERROR. No version takes an error away when all is well again, so one that waits once more has that of before.
        """
        waits = self.state == State.PENDING and not self.is_of_3_x
        return self._text("USER_TEMPLATE/SCHED_MESSAGE" if waits else "USER_TEMPLATE/ERROR") or self._error_of_3_x[1]

    @property
    def monitoring_error(self) -> str:
        """Why its host cannot be monitored, beginning with a date; only 4.x notes that, and removes it again. The embedded cloud
        says here what ended the machine."""
        return self._text(f"USER_TEMPLATE/{MONITORING_ERROR_ATTRIBUTE}")

    @property
    def dated_message(self) -> str:
        """The message beginning with its date, if it has one, as in 4.x and later."""
        date, error = self._error_of_3_x
        return f"{date}: {error}" if date and error and error == self.message else self.message

    @property
    def _error_of_3_x(self) -> tuple[str, str]:
        """Date and text of the last error."""
        errors = self.document.findall("TEMPLATE/ERROR")
        return (errors[-1].findtext("TIMESTAMP", "").strip(), errors[-1].findtext("MESSAGE", "").strip()) if errors else ("", "")

    @property
    def token(self) -> str:
        """The token of the request that started the instance; empty if another client started it."""
        return self._attribute(TOKEN_ATTRIBUTE)

    def _attribute(self, name: str) -> str:
        """An attribute that only clients know: 3.x keeps it below TEMPLATE, later versions below USER_TEMPLATE."""
        return self._text(f"USER_TEMPLATE/{name}") or self._text(f"TEMPLATE/{name}")

    def _text(self, path: str) -> str:
        element: Element | None = self.document
        if "/" in path:  # finding a tag is C code, finding a path is not
            parent, _, path = path.rpartition("/")
            element = self.document.find(parent)
        return "" if element is None else (element.findtext(path) or "").strip()

    def _integer(self, path: str) -> int | None:
        return integer(self._text(path))
