"""Create machines: build the request that the options describe, and send it ``--number`` times."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TextIO

from stratuslab.cloud.catalogue import ResourceKind, listing
from stratuslab.cloud.endpoint import is_local
from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, NetworkRequest
from stratuslab.cloud.reply import Refused
from stratuslab.commands.session import Session
from stratuslab.commands.shared import image_argument
from stratuslab.commands.shared.instance_argument import names_in_use
from stratuslab.commands.shared.parallel import in_order, report
from stratuslab.commands.shared.template_inputs import input_values
from stratuslab.context_input import cloud_init, from_file, from_option
from stratuslab.environment import Environment
from stratuslab.errors import NotFound, PermissionDenied, StratusLabError, UsageError
from stratuslab.instance_types import InstanceType
from stratuslab.opennebula.nic import Nic
from stratuslab.results import InstanceRow, InstanceStarted
from stratuslab.settings import Setting
from stratuslab.ssh import user_public_key

_TEMPLATE = "template:"
_NETWORK_OWNER = "oneadmin"  # owns the networks public, local and private on a StratusLab cloud


def machine_request(session: Session, size: InstanceType) -> MachineRequest:
    """The request that the options describe; asks the Marketplace for the image at most once."""
    options = session.options
    requirements = _requirements(session)
    public_keys = _public_keys(session)
    context = _context(session)
    if options.cloud_init or session.settings.get("default_context_method") == "cloud-init":
        authorized, user_data = cloud_init(
            "#".join(options.cloud_init), user_public_key.read_public_keys, session.environment.expand
        )
        context |= _cloud_init_keys(authorized or public_keys)
    else:
        user_data = ""
    base, boot = None, image_argument.BootImage(ImageDisk())
    inputs: dict[str, str] = {}
    if options.image.startswith(_TEMPLATE):
        base = session.cloud.machine_template(options.image.removeprefix(_TEMPLATE))
        size = _overlay_size(session, size)
        inputs = input_values(session, base, [*(("CPU", "VCPU") if size.cpu else ()), *(("MEMORY",) if size.ram else ())])
    else:
        boot = image_argument.find(session, options.image)
    return MachineRequest(
        root=boot.disk,
        template=base,
        cpu=size.cpu,
        ram=size.ram,
        swap=size.swap,
        cpu_share=options.vm_cpu_amount,
        name=options.vm_name or "",
        volatile_disks=tuple(options.volatile_disk),
        persistent_disks=tuple(image_argument.persistent_disk(session, text) for text in options.persistent_disk),
        readonly_disks=tuple(image_argument.data_disk(session, text) for text in options.readonly_disk),
        bus=options.vm_disks_bus or boot.bus,
        networks=_networks(session, of_template=base is not None),
        public_keys=public_keys,
        context=context,
        cloud_init=user_data,
        vnc_port=options.vnc_port,
        vnc_listen=options.vnc_listen,
        requirements=requirements,
        inbound_ports=boot.inbound_ports,
        labels=tuple(dict.fromkeys(options.label)),
        inputs=inputs,
    )


def _requirements(session: Session) -> str:
    """The requirements for the host: those of the options, and the hypervisor on the embedded cloud."""
    settings = session.settings
    requested: str = session.options.vm_requirements
    if not is_local(settings.endpoint.value):
        if session.options.hypervisor:
            raise UsageError("--hypervisor works only with the embedded cloud (--endpoint local)", "see --vm-requirements")
        return requested
    wanted = f'HYPERVISOR = "{settings.hypervisor}"' if settings.hypervisor else ""
    return f"({requested}) & {wanted}" if requested and wanted else requested or wanted


def _overlay_size(session: Session, size: InstanceType) -> InstanceType:
    """The size to lay over a machine template, which keeps its own values unless the type or the value is given."""
    options = session.options
    if options.instance_type:
        return size
    return size._replace(cpu=options.cpu or 0, ram=options.ram or 0, swap=options.swap or 0)


def _networks(session: Session, of_template: bool) -> tuple[NetworkRequest, ...]:
    """The networks of the options; by default those of the machine template, or the public one."""
    options = session.options
    chosen = "local" if options.local_ip else "private" if options.private_ip else ""
    found = [NetworkRequest(chosen, _NETWORK_OWNER)] if chosen else []
    found += [NetworkRequest(text, id=session.cloud.find(ResourceKind.NETWORK, text).id) for text in options.network]
    if not found and not (of_template and not options.address):
        found = [NetworkRequest("public", _NETWORK_OWNER)]
    if found and options.address:
        found[0] = replace(found[0], address=options.address)
    return tuple(found)


def _public_keys(session: Session) -> str:
    """The public keys that may log in; a key pair is created if the user has none."""
    setting = session.settings.find("user_public_key_file")
    named = [Setting(path, "--key") for path in session.options.key] or ([setting] if setting else [])
    for one in named:
        session.messages.step(f"Public key: {one.value} ({one.origin})")
    if named:
        return "\n".join(user_public_key.read_public_keys(session.environment.expand(one.value)).strip() for one in named)
    home = session.environment.home
    if home is None:
        raise UsageError("no home directory to look for a public key in", "name one with --key FILE")
    key_directory = home / ".stratuslab"
    path = user_public_key.public_key_file(home) or user_public_key.made_key(key_directory)
    if path is None and session.options.dry_run:
        session.messages.note(f"no public key in ~/.ssh: would create a key pair in {key_directory}")
        return ""
    if path is None:
        path = user_public_key.make_key_pair(key_directory)
        session.messages.note(f"no public key in ~/.ssh: created the key pair {path.with_suffix('')}")
    session.messages.step(f"Public key: {path} (default)")
    return user_public_key.read_public_keys(path)


def _context(session: Session) -> dict[str, str]:
    options = session.options
    pairs: dict[str, str] = {}
    for name in options.context_file:
        pairs |= from_file(session.environment.expand(name))
    return pairs | from_option("#".join(options.context))


def _cloud_init_keys(authorized: str) -> dict[str, str]:
    from base64 import b64encode

    encoded = b64encode((authorized.strip() + "\n").encode()).decode("ascii")
    return {"CONTEXT_METHOD": "cloud-init", "CLOUD_INIT_AUTHORIZED_KEYS": encoded}


def machine_requests(session: Session, request: MachineRequest) -> list[MachineRequest]:
    """A request for each of the ``--number`` machines, with its own token and, with ``--name-prefix``, its own name."""
    prefix = session.options.name_prefix
    return [
        replace(request, token=f"{request.token}/{place}", name=f"{prefix}{place}" if prefix else request.name)
        for place in range(1, session.options.number + 1)
    ]


def warn_about_names(session: Session, request: MachineRequest) -> None:
    """Say that a name will not be unique: other commands refuse such a name."""
    number = session.options.number
    names = dict.fromkeys(one.name for one in machine_requests(session, request) if one.name)
    if number > 1 and request.name and not session.options.name_prefix:
        session.messages.warning(f'all {number} machines will be called "{request.name}": use their ids, or --name-prefix')
    if not names:
        return
    try:
        taken = names_in_use(session.cloud, names)
    except StratusLabError as error:  # it will be met again if it is not about listings only
        session.messages.step(f"cannot find out whether the name is in use: {error.message}")
        return
    for name, other in taken.items():
        session.messages.warning(f'instance {other} is called "{name}", too: use their ids')


def launch(session: Session, request: MachineRequest, ids: IdsFile) -> Generator[InstanceStarted, None, None]:
    """Start ``--number`` machines, several at once, and yield each in order as soon as it is known.

    After a failure no more machines are started; those that were are still yielded, and then the failure is raised. If the
    caller stops early because it cannot write, the other started machines are listed on stderr.
    """
    requests = machine_requests(session, request)
    errors: list[StratusLabError] = []
    started: list[int] = []
    yielded: list[int] = []
    outcomes = in_order(lambda one: _start(session, one, ids, started), requests, stop_at_failure=True)
    try:
        for place, outcome in enumerate(outcomes, 1):
            if outcome.value is None:
                assert outcome.error is not None
                errors.append(outcome.error)
                continue
            yield outcome.value._replace(place=place)
            yielded.append(outcome.value.id)
    except GeneratorExit:
        outcomes.close()  # waits for the calls in progress
        session.messages.error(f"started: {', '.join(str(number) for number in started if number not in yielded)}")
        raise
    not_begun = len(requests) - len(yielded) - len(errors)
    if not_begun:
        session.messages.note(f"{not_begun} more were not started")
    report(session.messages, errors, len(yielded), "machines")


def _start(session: Session, request: MachineRequest, ids: IdsFile, started: list[int]) -> InstanceStarted:
    try:
        number = session.cloud.allocate(request)
    except (Refused, NotFound, PermissionDenied) as error:
        raise _with_hint(session, request, error) from None
    started.append(number)
    ids.add(number)
    requested = request.networks[0].name if request.networks else ""
    try:
        instance = session.cloud.instance(number)
    except StratusLabError as error:
        session.messages.note(f"machine {number} was started, but its address is unknown: {error}")
        return InstanceStarted(0, requested, "", InstanceRow(number))
    if instance.simulated_because:
        because = f"{instance.simulated_because}, so it is simulated"
        session.messages.warning(f"not a real machine: {because} (--hypervisor simulated, if that is meant)")
    nic = instance.nics[0] if instance.nics else Nic()
    network = (nic.network if requested.isdigit() else requested) or nic.network
    return InstanceStarted(0, network, nic.address, InstanceRow.of(instance))


_NO_NETWORK_3 = "could not get virtual network"  # 3.x: the network does not exist, or has no free address
_CAUSES_WITH_ADVICE = ("quota", "leases exhausted", "restricted", "disk in use", "disk in error")  # causes of refusals


def _with_hint(session: Session, request: MachineRequest, error: StratusLabError) -> StratusLabError:
    """The error with a hint, if the cloud's message shows what it is about."""
    from stratuslab.diagnosis.causes import known_cause

    words = error.message.lower()
    if "error parsing" in words:
        return error.replaced(hint='OpenNebula reads "$" in contexts and requirements as a variable; check the machine template')
    if session.options.address and ("lease" in words or _NO_NETWORK_3 in words):
        return error.replaced(hint=f"the address {session.options.address} is taken or not in that network")
    if "invalid name" in words:
        return error.replaced(hint="see --vm-name and --name-prefix")
    if (cause := known_cause(error.message)) and cause.name in _CAUSES_WITH_ADVICE:
        return error.replaced(hint=cause.advice)
    if "network" in words:
        return _about_network(session, request, error)
    if "could not get disk image" in words:  # 3.x, whatever is wrong with it
        return error.replaced(hint="one of its images does not exist, is not ready, or is in use by another machine")
    if "disk type" in words:
        return error.replaced(
            hint=f"OpenNebula {session.cloud.server.version} attaches only images of its own datastores: name one as one:NAME "
            "(--persistent-disk, --readonly-disk: NAME), or a machine template as template:NAME"
        )
    if re.search(r"image with id: \d+ does not exist|does not own an image", words):
        return NotFound(
            error.message,
            "check the disks of the machine template" if request.template else "see one:NAME",
        )
    return error


def _about_network(session: Session, request: MachineRequest, error: StratusLabError) -> StratusLabError:
    """The error about a network: one that does not exist (3.2 does not say which), or another problem with an existing one."""
    try:
        known = session.cloud.catalogue(ResourceKind.NETWORK)
    except StratusLabError:
        return error.replaced(hint="see --network")
    hint = f"see --network; {listing(known, 'network')}"
    names = {(entry.name, entry.owner) for entry in known}
    for network in request.networks:
        if network.id is None and (network.name, network.owner) not in names:
            return NotFound(f'this cloud has no network "{network.owner}/{network.name}": {error.message}', hint)
    if re.search(r"network with id: \d+ does not exist|does not own a network", error.message.lower()):
        return NotFound(error.message, hint)
    return error.replaced(hint=f"it may have no free address; {hint}" if _NO_NETWORK_3 in error.message.lower() else hint)


class IdsFile(AbstractContextManager["IdsFile"]):
    """The file of ``--output``: an id on each line, written when its machine is started; threads may share it.

    The previous content is kept until there is a first id, so that a failed start loses nothing.
    """

    def __init__(self, environment: Environment, name: str | None) -> None:
        self._path: Path | None = environment.expand(name) if name else None
        self._file: TextIO | None = None
        self._begun = False
        self._lock = Lock()

    def __enter__(self) -> IdsFile:
        if self._path is not None:
            try:
                self._file = self._path.open("a", encoding="ascii")
            except OSError as error:
                raise UsageError(f'cannot write the file "{self._path}" (--output): {error.strerror}') from None
        return self

    def add(self, number: int) -> None:
        """Write an id. Raises StratusLabError, which names the id, if that fails (the disk is full)."""
        if self._file is None:
            return
        try:
            with self._lock:
                if not self._begun and self._file.seekable():
                    self._file.truncate(0)
                self._begun = True
                self._file.write(f"{number}\n")
                self._file.flush()
                if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # a pipe cannot be synced
                    os.fsync(self._file.fileno())
        except OSError as error:
            raise StratusLabError(f'machine {number} was started, but cannot write "{self._path}": {error.strerror}') from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
