"""stratus-run-instance: start one or several machines from an image."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from stratuslab import instance_types
from stratuslab.commands.command_declaration import WAIT_TIMEOUT, Command, add_wait_timeout
from stratuslab.commands.session import Session
from stratuslab.commands.shared.option_values import (
    ip_address,
    label,
    machine_name,
    name_and_value,
    name_prefix,
    positive_share,
    running_or_ssh,
    size_in_mib,
    whole_number,
)
from stratuslab.errors import InstanceFailed, TimedOut, UsageError
from stratuslab.known_settings import HYPERVISORS
from stratuslab.output.redaction import MASK, masked, masked_text
from stratuslab.output.result_columns import INSTANCES, TYPES
from stratuslab.results import InstanceAfterWait, LaunchBegins, LaunchEnds, LaunchPlan, Listing, Result

if TYPE_CHECKING:
    from stratuslab.cloud.machine_request import MachineRequest
    from stratuslab.commands.shared.run_submission import IdsFile

_MOST_MEMORY = 2**31 - 1  # MB; OpenNebula counts in signed 32 bits
_MOST_VOLATILE = 1_000_000 << 10  # MB


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        nargs="?",
        metavar="IMAGE",
        help="Marketplace identifier, title or tag, one:NAME, template:NAME, disk UUID, or URL",
    )
    add = parser.add_argument_group("machine").add_argument
    add("-n", "--number", type=whole_number(1, 1000), default=1, metavar="N", help="machines to start (default 1)")
    add("-t", "--type", metavar="NAME", dest="instance_type", help="instance type (default m1.small)")
    add("-l", "--list-types", "--list-type", action="store_true", help="list the instance types and exit")
    add("--cpu", type=whole_number(1, 1024), metavar="N", help="virtual CPUs, instead of the type's")
    add("--ram", type=size_in_mib("M", 1, _MOST_MEMORY), metavar="SIZE", help="RAM in MB, or as in 2G, instead of the type's")
    add("--swap", type=size_in_mib("M", 0, _MOST_MEMORY), metavar="SIZE", help="swap space, in the same form; 0 for none")
    add("--vm-cpu-amount", type=positive_share, metavar="SHARE", help="guaranteed share of the CPUs, e.g. 0.5")
    add("--vm-name", "--name", type=machine_name, metavar="NAME", help="name (default: one-ID)")
    add("--name-prefix", type=name_prefix, metavar="TEXT", help="name the machines TEXT1, TEXT2, ...")
    add("--label", type=label, action="append", metavar="KEY", help="label to find them by")
    add("--vm-requirements", default="", metavar="TEXT", help="host requirements, in OpenNebula's syntax")
    add(
        "--hypervisor",
        choices=HYPERVISORS,
        help="hypervisor of the embedded cloud (default: qemu if it is installed and the image can boot)",
    )
    add = parser.add_argument_group("disks").add_argument
    add(
        "--volatile-disk",
        type=size_in_mib("G", 1, _MOST_VOLATILE),
        action="append",
        metavar="SIZE",
        help="attach an empty disk of this size, in GB or as in 500M",
    )
    add(
        "--persistent-disk", action="append", metavar="DISK", help="attach a persistent disk: its UUID, or an image on OpenNebula"
    )
    add("--readonly-disk", action="append", metavar="IMAGE", help="attach an image as a data disk")
    add("--vm-disks-bus", choices=("ide", "scsi", "virtio"), help="bus of the disks (default: the image's)")
    network = parser.add_argument_group("network and console")
    add = network.add_mutually_exclusive_group().add_argument
    add("--local-ip", action="store_true", help="use the local network instead of the public one")
    add("--private-ip", action="store_true", help="use the private network instead of the public one")
    add = network.add_argument
    add("--network", action="append", metavar="NAME", help="network by name, id or USER/NAME")
    add("--address", type=ip_address, default="", metavar="IP", help="request this address")
    add("--vnc-port", type=whole_number(-1, 65535), default=-1, metavar="PORT", help="port of the VNC console")
    add("--vnc-listen", type=ip_address, default="", metavar="IP", help="address of the VNC console")
    add = parser.add_argument_group("access and contextualization").add_argument
    add("-k", "--key", action="append", metavar="FILE", help="public SSH key that may log in")
    add("--context", action="append", metavar="PAIRS", help="context variables: KEY=VALUE#KEY=VALUE...")
    add("--context-file", action="append", metavar="FILE", help="file of context variables, a KEY=VALUE on each line")
    add("--cloud-init", action="append", metavar="PAIRS", help="cloud-init user data: TYPE,FILE#TYPE,FILE...")
    add("--input", type=name_and_value, action="append", metavar="NAME=VALUE", help="value of an input of the machine template")
    add(
        "--input-file",
        type=name_and_value,
        action="append",
        metavar="NAME=FILE",
        help='file with the value of an input, "-" for standard input',
    )
    image = parser.add_argument_group("image and output")
    add = image.add_argument
    add("--marketplace-endpoint", metavar="URL", help="Marketplace to look the image up in")
    add("--pdisk-endpoint", metavar="URL", help="persistent disk service (default: the cloud's host)")
    add("--no-check-image-url", action="store_true", help="do not look the image up in the Marketplace")
    add("--allow-expired", action="store_true", help="start an image that has expired or is deprecated, too")
    add = image.add_mutually_exclusive_group().add_argument
    add(
        "--verify-image",
        action="store_const",
        const="yes",
        help="start the image only if a trusted endorser has signed its metadata",
    )
    add("--no-verify-image", action="store_const", const="no", dest="verify_image", help="do not check that, despite the setting")
    add = image.add_argument
    add("--dry-run", action="store_true", help="print the template that would be sent, and exit")
    add("--all-or-nothing", action="store_true", help="kill what was started if one of the machines fails")
    add("-o", "--output", metavar="FILE", help="write the id of each machine to this file when it is started")
    waits = parser.add_argument_group("waiting")
    waits.add_argument(
        "--wait-for", type=running_or_ssh, metavar="STATE", help='wait until the machines are "running", or until "ssh" answers'
    )
    add_wait_timeout(waits)
    waits.add_argument(
        "--kill-on-failure", action="store_true", help="kill machines that fail or are not ready in time (with --wait-for)"
    )


def _run(session: Session) -> Iterator[Result]:
    options = session.options
    if options.list_types:
        types = instance_types.table(session.settings.file.instance_types)
        selected = instance_types.choose(types, _type_name(session))
        yield Listing([(known, known is selected) for known in types.values()])
        return
    if not options.image:
        raise UsageError("no image given", f"see {COMMAND.prog} --help")
    if options.vm_name and options.name_prefix:
        raise UsageError("--vm-name and --name-prefix cannot be combined")
    if options.dry_run and options.format not in ("table", "json"):
        raise UsageError(f"--dry-run cannot be combined with --format {options.format}", "use table or json")
    from stratuslab.commands.shared.request_from_options import machine_request, machine_requests, warn_about_names
    from stratuslab.commands.shared.run_submission import IdsFile, launch

    if (options.input or options.input_file) and not options.image.startswith("template:"):
        raise UsageError("--input requires a machine template (template:NAME)")
    if options.kill_on_failure and not options.wait_for:
        raise UsageError("--kill-on-failure requires --wait-for")
    wait_timeout = session.settings.wait_timeout(WAIT_TIMEOUT) if options.wait_for else 0.0
    request = machine_request(session, _size(session))
    warn_about_names(session, request)
    if options.dry_run:
        yield _plan(session, machine_requests(session, request))
        return
    session.messages.detail(_shown(session, request))
    started: list[int] = []
    with IdsFile(session.environment, options.output) as ids:
        yield LaunchBegins(options.number)
        with closing(launch(session, request, ids)) as launching:
            for launched in launching:
                started.append(launched.id)
                yield launched
        if options.wait_for:
            yield from _wait(session, started, wait_timeout, ids)
        yield LaunchEnds()
    if len(started) == 1:
        session.messages.hint(f"log in with: stratus-connect-instance {started[0]}")


def _wait(session: Session, numbers: Sequence[int], wait_timeout: float, ids: IdsFile) -> Iterator[Result]:
    """Wait until the machines are ready and yield their rows; with --kill-on-failure kill those that cannot get there, with
    --all-or-nothing all of them if one cannot."""
    from stratuslab.commands.shared.instance_rows import all_details, rows_of
    from stratuslab.commands.shared.parallel import all_of, report
    from stratuslab.commands.shared.run_submission import kill_all
    from stratuslab.commands.shared.waiting import wait
    from stratuslab.output.instance_details_text import details_lines

    try:
        waited = wait(session, numbers, session.options.wait_for, wait_timeout)
    except BaseException:
        session.messages.error(f"stopped waiting; these machines keep running: {', '.join(map(str, sorted(numbers)))}")
        raise
    if session.messages.level >= 2:
        for details in all_details(session, list(rows_of(session, waited.seen(waited.errors)))):
            session.messages.detail("\n".join(details_lines(details, session.output.terminal)))
    done = len(waited.reached)
    if session.options.all_or_nothing and waited.errors:
        waited.errors = {**kill_all(session, sorted(numbers), ids), **waited.errors}
        done = 0
    elif session.options.kill_on_failure:
        # A machine whose state could not be read has not necessarily failed.
        lost = [number for number, error in waited.errors.items() if isinstance(error, (InstanceFailed, TimedOut))]
        _, refused = all_of(session.cloud.kill, lost)
        for number in lost:
            then = f"; cannot kill it: {refused[number]}" if number in refused else " (it was killed already: --kill-on-failure)"
            waited.errors[number] = waited.errors[number].replaced(f"{waited.errors[number].message}{then}")
    yield from map(InstanceAfterWait, rows_of(session, waited.seen(numbers)))
    report(session.messages, list(waited.errors.values()), done, "machines")


def _plan(session: Session, requests: Sequence[MachineRequest]) -> LaunchPlan:
    distinct = requests if session.options.name_prefix else requests[:1]
    return LaunchPlan(
        cloud=session.cloud.name,
        image=masked_text(session.options.image),
        count=len(requests),
        names=[request.name for request in requests if request.name],
        labels=requests[0].labels,
        templates=[_shown(session, request) for request in distinct],
    )


def _shown(session: Session, request: MachineRequest) -> str:
    """The template that is sent, with secrets masked."""
    from dataclasses import replace

    from stratuslab.cloud.template_writer import template
    from stratuslab.cloud.user_inputs import user_inputs

    secret = [one.name for one in user_inputs(request.template) if one.secret] if request.template else []
    hidden = replace(request, inputs={name: MASK if name in secret else value for name, value in request.inputs.items()})
    return masked(template(hidden, session.cloud.server))


def _size(session: Session) -> instance_types.InstanceType:
    """The instance type's size, overridden by the options."""
    options = session.options
    types = instance_types.table(session.settings.file.instance_types)
    size = instance_types.choose(types, _type_name(session))
    given = {name: getattr(options, name) for name in ("cpu", "ram", "swap") if getattr(options, name) is not None}
    size = size._replace(**given)
    if options.vm_cpu_amount and options.vm_cpu_amount > size.cpu:
        raise UsageError(f"--vm-cpu-amount {options.vm_cpu_amount:g} is more than the machine's {size.cpu} CPUs")
    return size


def _type_name(session: Session) -> str:
    settings = session.settings
    return settings.get("instance_type") or settings.get("default_instance_type") or instance_types.DEFAULT


COMMAND = Command(
    "stratus-run-instance",
    "Start one or several machines from an image.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] IMAGE",
    related=("stratus-describe-instance", "stratus-connect-instance", "stratus-shutdown-instance"),
    epilog="""examples:
  stratus-run-instance BN1EEkPiBx87_uLj2-sdybSI-Xb    one small machine
  stratus-run-instance -n 3 --type m1.large --label test IMAGE
                                                      three larger ones
  stratus-run-instance --format ids IMAGE             only ids, for a script
""",
    rows=lambda options: TYPES if options.list_types else INSTANCES,
    waits=lambda options: bool(options.wait_for),
)
