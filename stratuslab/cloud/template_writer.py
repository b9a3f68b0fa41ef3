"""Writes a machine request as the template text that the server's version accepts."""

from __future__ import annotations

from collections.abc import Iterator, Set

from stratuslab.cloud.guest_context import guest_context, laid_over, literal, stratuslab_context
from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, MachineTemplate
from stratuslab.cloud.version_differences import ServerVersion
from stratuslab.errors import UsageError
from stratuslab.opennebula.instance import LABELS_ATTRIBUTE, TOKEN_ATTRIBUTE
from stratuslab.opennebula.template_grammar import Attribute, check_characters, render

DISK_PREFIXES = {"ide": "hd", "scsi": "sd", "virtio": "vd"}
"""The first two letters of a disk's target, by the bus that it is attached to."""

_CONTEXT_TARGET = "hdd"  # where StratusLab's images look for the contextualization, whatever the bus


def template(request: MachineRequest, server: ServerVersion) -> str:
    """The template text for ``one.vm.allocate``, or, for a machine template on OpenNebula 4.0 and later, what
    ``one.template.instantiate`` is to lay over it.

    Raises UsageError for values that a template cannot contain.
    """
    check_characters(request.name, "NAME")  # it may be an argument of the call
    if not server.is_stratuslab:
        return render(_opennebula(request))
    return render(_stratuslab(request) if request.template is None else _merged(request, request.template))


def _size(request: MachineRequest) -> Iterator[Attribute]:
    share = request.cpu if request.cpu_share is None else request.cpu_share
    yield "CPU", f"{share:g}" if share else ""
    yield "VCPU", str(request.cpu or "")
    yield "MEMORY", str(request.ram or "")


def _stratuslab(request: MachineRequest) -> Iterator[Attribute]:
    """The form of StratusLab's clouds (OpenNebula 3.2), in the original client's order."""
    prefix = DISK_PREFIXES[request.bus or "ide"]
    yield from _size(request)
    yield "RANK", "- RUNNING_VMS"
    yield "REQUIREMENTS", literal("REQUIREMENTS", request.requirements)
    yield "NAME", request.name
    yield "DISK", {**_origin(request.root), "TARGET": prefix + "a", "SAVE": "no", "READONLY": "no"}
    yield from _stratuslab_disks(request, prefix, {prefix + "a", _CONTEXT_TARGET})
    yield from (network.nic() for network in request.networks)
    # On these clouds a guest's network did not start without a VNC console, so there is always one, on any port.
    yield _stratuslab_console(request)
    yield "CONTEXT", {**stratuslab_context(request), "TARGET": _CONTEXT_TARGET}
    yield "INBOUND_PORTS", ",".join(request.inbound_ports)
    yield LABELS_ATTRIBUTE, ",".join(request.labels)
    yield TOKEN_ATTRIBUTE, request.token


def _stratuslab_disks(request: MachineRequest, prefix: str, taken: Set[str]) -> Iterator[Attribute]:
    """The other disks, at free targets. The first free target is reserved for swap space, whether there is any or not."""
    free = (prefix + letter for letter in "bcdefghijkl" if prefix + letter not in taken)
    swap = next(free)
    if request.swap:
        yield "DISK", {"TYPE": "swap", "SIZE": str(request.swap), "TARGET": swap, "READONLY": "no"}
    # With READONLY=yes StratusLab's libvirt did not deploy the machine at all.
    writable = {"READONLY": "no", "SAVE": "no"}
    empty = ({"TYPE": "fs", "FORMAT": "ext3", "SIZE": str(size), **writable} for size in request.volatile_disks)
    persistent = map(_persistent, request.persistent_disks)
    for disk in (*empty, *persistent, *({**_origin(disk), **writable} for disk in request.readonly_disks)):
        target = next(free, None)
        if target is None:
            raise UsageError("too many disks: StratusLab's clouds have 11 targets, one of them reserved for swap space")
        yield "DISK", {**disk, "TARGET": target}


def _stratuslab_console(request: MachineRequest) -> Attribute:
    return "GRAPHICS", {"TYPE": "vnc", "PORT": str(request.vnc_port), "LISTEN": request.vnc_listen, "KEYMAP": "en-us"}


def _merged(request: MachineRequest, base: MachineTemplate) -> Iterator[Attribute]:
    """A machine template with the request laid over it here, for OpenNebula before 4.0, whose one.template.instantiate silently
    ignores everything but a name."""
    given = [(name, value) for name, value in _laid_over_before_4(request, base) if value]
    replaced = {"NAME", *(name for name, _ in given)}
    yield "NAME", request.name
    yield from ((name, value) for name, value in base.attributes if name not in replaced)
    yield from given


def _laid_over_before_4(request: MachineRequest, base: MachineTemplate) -> Iterator[Attribute]:
    disks = base.vectors("DISK")
    named = (disk.get("TARGET") or disk.get("DEV_PREFIX", "") for disk in disks)
    prefix = DISK_PREFIXES[request.bus] if request.bus else next(filter(None, named), DISK_PREFIXES["ide"])[:2]
    target = base.context.get("TARGET") or _CONTEXT_TARGET
    yield from _size(request)
    yield "REQUIREMENTS", literal("REQUIREMENTS", request.requirements)
    if request.bus:
        letters = iter(letter for letter in "abcdefghijkl" if prefix + letter != target)
        disks = [{**disk, "TARGET": prefix + next(letters)} for disk in disks]
    further = list(_stratuslab_disks(request, prefix, {prefix + "a", target, *(disk.get("TARGET", "") for disk in disks)}))
    if further or request.bus:
        yield from (("DISK", disk) for disk in disks)
        yield from further
    if request.vnc_port >= 0 or request.vnc_listen:
        yield _stratuslab_console(request)
    yield from (network.nic() for network in request.networks)
    yield "CONTEXT", {**base.context, **stratuslab_context(request), "TARGET": target}
    yield from request.inputs.items()
    yield LABELS_ATTRIBUTE, ",".join(request.labels)
    yield TOKEN_ATTRIBUTE, request.token


def _opennebula(request: MachineRequest) -> Iterator[Attribute]:
    """The form of OpenNebula 4.0 and later: the server chooses each disk's target and the console's port. With a machine
    template, only what is laid over it."""
    base = request.template
    if base is None:
        yield "NAME", request.name
    yield from _size(request)
    yield "SCHED_REQUIREMENTS", literal("SCHED_REQUIREMENTS", request.requirements)
    further = list(_further_disks(request))
    if base is None or further or request.bus:
        disks = [_origin(request.root)] if base is None else base.vectors("DISK")
        yield from (("DISK", {**disk, **_bus(request)}) for disk in disks)
        yield from further
    yield from (network.nic() for network in request.networks)
    if base is None or request.vnc_port >= 0 or request.vnc_listen:
        port = str(request.vnc_port) if request.vnc_port >= 0 else ""  # 7.4 refuses the port -1 that StratusLab sends
        yield "GRAPHICS", {"TYPE": "vnc", "PORT": port, "LISTEN": request.vnc_listen}
    yield "CONTEXT", laid_over(base.context if base else {}, guest_context(request))
    yield from request.inputs.items()
    yield LABELS_ATTRIBUTE, ",".join(request.labels)
    yield TOKEN_ATTRIBUTE, request.token


def _origin(disk: ImageDisk) -> dict[str, str]:
    if disk.image_id is not None:
        return {"IMAGE_ID": str(disk.image_id)}
    return {"SOURCE": disk.source, "DRIVER": disk.format}


def _persistent(disk: ImageDisk) -> dict[str, str]:
    return _origin(disk) if disk.image_id is not None else {"SOURCE": disk.source, "TYPE": "block"}


def _bus(request: MachineRequest) -> dict[str, str]:
    return {"DEV_PREFIX": DISK_PREFIXES[request.bus]} if request.bus else {}


def _further_disks(request: MachineRequest) -> Iterator[Attribute]:
    if request.swap:
        yield "DISK", {"TYPE": "swap", "SIZE": str(request.swap), **_bus(request)}
    for size in request.volatile_disks:
        yield "DISK", {"TYPE": "fs", "FORMAT": "raw", "SIZE": str(size), **_bus(request)}
    for disk in request.persistent_disks:
        yield "DISK", {**_persistent(disk), **_bus(request)}
    for disk in request.readonly_disks:
        yield "DISK", {**_origin(disk), "READONLY": "YES", **_bus(request)}
