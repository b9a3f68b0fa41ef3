"""The text block of ``stratus-describe-instance -vv``."""

from __future__ import annotations

from collections.abc import Iterator

from stratuslab.opennebula.disk import Disk
from stratuslab.opennebula.history import HistoryRecord, action_name
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.nic import Nic
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.opennebula.states import Phase
from stratuslab.output.reason_text import reason
from stratuslab.output.redaction import masked_text, masks_of
from stratuslab.output.safe_text import one_line, word
from stratuslab.output.terminal import Terminal
from stratuslab.output.time_format import duration, time_text
from stratuslab.output.timeline_chart import timeline
from stratuslab.results import InstanceDetails

_INDENT = 2
_LABEL = 10


def details_lines(details: InstanceDetails, terminal: Terminal) -> Iterator[str]:
    """The block: a title, labelled lines, the timeline, the console's last lines, and with -vvv the whole document."""
    instance = details.instance
    yield ""
    yield f"{instance.id} {word(instance.name)}: {instance.state_label}"
    if details.explanation is not None:
        yield from _wrapped("why", reason(details.explanation), terminal)
    for label, text in _facts(instance, details.now):
        yield _labelled(label, text)
    if details.steps:
        yield _labelled("timeline", f"since {time_text(details.steps[0].begin)[:10]}, in this computer's time zone")
        inner = Terminal(terminal.width - 2 * _INDENT, terminal.unicode)
        yield from (" " * 2 * _INDENT + line for line in timeline(details.steps, details.now, inner))
    if details.console:
        yield _labelled("console", "last lines")
        yield from (" " * 2 * _INDENT + one_line(masked_text(line)) for line in details.console)
    if details.whole:
        from stratuslab.output.vm_document_text import document_lines

        yield _labelled("document", "as the cloud sent it, secrets masked")
        yield from (" " * 2 * _INDENT + line for line in document_lines(instance.document))


def _labelled(label: str, text: str) -> str:
    """A label and its text, always on one line, so that keys and URLs can be copied."""
    return f"{'':{_INDENT}}{one_line(label):<{_LABEL}} {word(text)}"


def _wrapped(label: str, text: str, terminal: Terminal) -> Iterator[str]:
    """A label and a sentence, wrapped if it is long."""
    from textwrap import wrap

    for place, line in enumerate(wrap(text, terminal.width - _INDENT - _LABEL - 1)):
        yield _labelled("" if place else label, line)


def _known(text: str, value: object) -> str:
    """The text with the value in it; nothing for a value that is unknown or empty."""
    return "" if value is None or value == "" else text.format(value)


def _facts(instance: Instance, now: float) -> Iterator[tuple[str, str]]:
    yield "owner", word(instance.owner) + _known(", user {}", instance.owner_id) + _known(", group {}", instance.group)
    cpus = "-" if instance.vcpu is None else f"{instance.vcpu} CPU{'s' if instance.vcpu != 1 else ''}"
    yield "asked", cpus + _known(" (share {})", instance.cpu_share) + _known(", {} MiB memory", instance.memory_requested)
    if instance.hypervisor:
        yield "hypervisor", instance.hypervisor + _known(", because {}", instance.simulated_because)
    yield "used", _used(instance, now)
    for place, disk in enumerate(instance.disks):
        yield f"disk {disk.number or place}", _disk(disk)
    for nic in instance.nics:
        yield "address", _nic(nic, instance.hostname)
    for address in instance.guest_addresses:
        yield "address", f"{address}, reported by the guest"
    mask = masks_of(instance.document)
    for name, value in instance.context.items():
        if value:
            yield "context", f"{name} = {mask(name, value)}"
    if instance.labels:
        yield "labels", ", ".join(instance.labels)
    if instance.lock is not None:
        by = _known(" by user {}", instance.lock.owner_id)
        since = f" since {time_text(instance.lock.since)}" if instance.lock.since else ""
        yield "lock", f"{instance.lock.level}{by}{since}; unlock it with onevm unlock {instance.id}"
    for record in instance.history:
        yield "host", _record(record, now)


def _used(instance: Instance, now: float) -> str:
    if instance.phase >= Phase.LEAVING:
        return "nothing (not running)"
    if not instance.last_poll or instance.memory_kib is None or instance.cpu_percent is None:
        return "not measured yet"
    ago = duration(int(now) - instance.last_poll)
    return f"{instance.cpu_percent:.0f} % of a CPU, {instance.memory_kib // 1024} MiB memory, measured {ago} ago"


def _disk(disk: Disk) -> str:
    parts = (disk.kind, masked_text(disk.source), _known("{} MiB", disk.size_mib), _known("as {}", disk.target))
    return ", ".join(filter(None, parts))


def _nic(nic: Nic, host: str) -> str:
    kind = {"alias": "alias", "pci": "PCI device"}.get(nic.kind, "")
    addresses = [nic.ip, *nic.ip6] if nic.ip or nic.ip6 else ["no address"]
    ssh = nic.external_port(SSH_PORT)
    ports = f"ssh -p {ssh} {host or 'HOST'}" if ssh else ""
    if nic.external_port_range and not (ssh and nic.external_port_range.endswith(f":{ssh}")):
        ports = ", ".join(filter(None, (f"ports {nic.external_port_range} of {host or 'its host'}", ports)))
    parts = (*addresses, kind, _known("network {}", nic.network), _known("external {}", nic.external_ip), ports)
    return ", ".join(filter(None, parts))


def _record(record: HistoryRecord, now: float) -> str:
    if not record.begin:
        return f"{word(record.host)}{_action(record)}"
    until = record.end or int(now)
    ended = f"until {time_text(record.end)}" if record.end else "still there"
    return f"{word(record.host)} from {time_text(record.begin)}, {duration(until - record.begin)}, {ended}{_action(record)}"


def _action(record: HistoryRecord) -> str:
    """The record's action and user: the action that began a current record, or ended a past one."""
    if not record.action:
        return ", closed by an error" if record.had_error else ""
    by = _known(" by user {}", record.user_id) + _known(" (request {})", record.request_id)
    return f", {action_name(record.action)}{by}"
