"""The request for a machine that the options of ``stratus-run-instance`` describe."""

from __future__ import annotations

from dataclasses import replace

from stratuslab.cloud.endpoint import is_local
from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, NetworkRequest
from stratuslab.cloud.resource_lookup import ResourceKind
from stratuslab.commands.session import Session
from stratuslab.commands.shared import image_argument
from stratuslab.commands.shared.template_inputs import input_values
from stratuslab.context_input import cloud_init, from_file, from_option
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.instance_types import InstanceType
from stratuslab.known_settings import Setting
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
        authorized, user_data = cloud_init("#".join(options.cloud_init), user_public_key.read_public_keys, session.environment)
        context |= _cloud_init_keys(authorized or public_keys)
    else:
        user_data = ""
    image = image_argument.chosen(session, options.image)
    base, boot = None, image_argument.BootImage(ImageDisk())
    inputs: dict[str, str] = {}
    if image.startswith(_TEMPLATE):
        base = session.cloud.machine_template(image.removeprefix(_TEMPLATE))
        size = _overlay_size(session, size)
        inputs = input_values(session, base, [*(("CPU", "VCPU") if size.cpu else ()), *(("MEMORY",) if size.ram else ())])
    else:
        boot = image_argument.find(session, image)
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
        pairs |= from_file(session.environment, name)
    pairs |= from_option("#".join(given for given in options.context if isinstance(given, str)))
    for given in options.context:
        if not isinstance(given, str):  # from the library, and values may contain a "#"
            pairs |= given
    return pairs


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
        taken = {instance.name: instance.id for instance in session.cloud.instances() if instance.name in names}
    except StratusLabError as error:  # it will be met again if it is not about listings only
        session.messages.step(f"cannot find out whether the name is in use: {error.message}")
        return
    for name, other in taken.items():
        session.messages.warning(f'machine {other} is called "{name}", too: use their ids')
