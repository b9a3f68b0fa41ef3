"""From a document to the line of -v and the block of -vv, for every state in which an instance is not up."""

from __future__ import annotations

import re
from xml.etree.ElementTree import fromstring, parse

import pytest

from stratuslab.diagnosis.causes import CAUSES, DISKS_NOT_SAVED, LOCKED, known_cause
from stratuslab.diagnosis.explanation import ExplanationKind, explain, failed_at
from stratuslab.diagnosis.message_cleaning import ServerMessage
from stratuslab.diagnosis.timeline import steps
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Lcm, State
from stratuslab.output.formatters import formatter
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.result_columns import INSTANCES
from stratuslab.output.terminal import Terminal
from stratuslab.results import InstanceDetails, InstanceRow, Listing
from tests.diagnosis.documents import BEGIN, SECRETS, stay, vm
from tests.harness import CHECKOUT

NOW = BEGIN + 600
FAILURES = [lcm for lcm in Lcm if lcm.name.endswith("FAILURE")]
WHILE = {
    "PROLOG": "while preparing its disks",
    "BOOT": "while the hypervisor was starting it",
    "EPILOG": "while saving or removing its disks",
}


def shown(instance: Instance, level: int, width: int = 80) -> str:
    """What describe writes with so many -v."""
    answer = formatter(OutputOptions(INSTANCES, notes=level > 0, terminal=Terminal(width, unicode=True)))
    explanation = explain(instance, NOW)
    row = InstanceRow.of(instance, 0.0)
    table = Listing([row._replace(explanation=explanation)])
    written = list(answer.show(table))
    if level >= 2:
        written += answer.show(InstanceDetails(instance, explanation, steps(instance, NOW), NOW, whole=level >= 3))
    return "\n".join(written)


def note(instance: Instance) -> str:
    """The line below the row."""
    lines = shown(instance, 1).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("    ")
    return lines[2].strip()


def why(instance: Instance) -> str:
    """The block's words on it, put on one line again."""
    block = re.search(r"^  why {8}(.*?)^  owner", shown(instance, 2), re.MULTILINE | re.DOTALL)
    assert block is not None
    return " ".join(block[1].split())


@pytest.mark.parametrize("lcm", FAILURES, ids=lambda lcm: lcm.name)
def test_every_failure(lcm: Lcm) -> None:
    instance = vm(3, lcm, "Sun Nov 22 06:42:09 2026: No space left on device ... see more details in VM log")
    line = note(instance)
    assert why(instance) == line
    if lcm is Lcm.FAILURE:  # 3.x; by its times it was in the boot
        assert line.startswith("failed on node2 7 min ago while the hypervisor was starting it (boot): ")
    else:
        step = lcm.name.removesuffix("_FAILURE")
        assert line.startswith(f"failed on node2 7 min ago {WHILE[step.split('_')[0]]} ({step.lower()}): ")
    assert '"No space left on device..."; likely cause: the disk of the host' in line
    assert "Try again later or with smaller disks" in line
    assert "✗ failed" in shown(instance, 2)


@pytest.mark.parametrize(
    ("history", "message", "step"),
    [
        (
            stay("node2", BEGIN + 60, prolog=(BEGIN + 60, 0)),
            "Error executing image transfer script: no",
            "while preparing its disks (prolog)",
        ),
        (None, "DEPLOY: no", "while the hypervisor was starting it (boot)"),
        (
            stay("node2", BEGIN, running=(BEGIN + 1, BEGIN + 2), epilog=(BEGIN + 2, 0)),
            "Error executing image transfer script: no",
            "while saving or removing its disks (epilog)",
        ),
        ("", "Error executing image transfer script: no", "while preparing its disks (prolog)"),
    ],
)
def test_failed_of_3_x(history: str | None, message: str, step: str) -> None:
    instance = vm(State.FAILED, message=message, legacy=True, history=history)
    assert step in note(instance)
    assert '"no"' in note(instance)
    assert why(instance) == note(instance)


def test_failed_without_a_word() -> None:
    line = note(vm(State.FAILED, legacy=True, history=""))
    assert line == (
        "failed 10 min ago: the cloud gave no reason. Kill it and try again; "
        "if it happens again, show this to the cloud's administrator"
    )


def test_cloning_failure() -> None:
    instance = vm(State.CLONING_FAILURE, message="quota exceeded", history="")
    assert note(instance).startswith(
        'failed 10 min ago while cloning its disks (cloning): "quota exceeded"; likely cause: your quota'
    )
    assert re.search(r"cloning .* ✗ failed", shown(instance, 2))


@pytest.mark.parametrize(
    ("state", "waits", "line"),
    [
        (
            State.PENDING,
            "Sun Nov 22 06:39:25 2026: [HOST] Not enough CPU on hosts: 0,1,2",
            'waits for a host for 10 min: "Not enough CPU on hosts: 0,1,2"; likely cause: no host has enough free capacity. '
            "Wait until other machines end, request a smaller machine (--type, --cpu, --ram), or kill it",
        ),
        (State.PENDING, "", "waits for a host for 10 min"),
        (
            State.HOLD,
            "",
            "has been on hold for 10 min: release it with onevm release, or kill it to release its resources",
        ),
        (State.CLONING, "", "waits until its disks are cloned for 10 min"),
    ],
)
def test_waiting(state: State, waits: str, line: str) -> None:
    instance = vm(state, waits=waits, history="")
    assert note(instance) == line
    assert why(instance) == line
    explanation = explain(instance, NOW)
    assert explanation is not None
    assert explanation.kind is ExplanationKind.WAITING


@pytest.mark.parametrize(
    ("instance", "line"),
    [
        (
            vm(3, Lcm.UNKNOWN, monitored=BEGIN + 300),
            "is no longer seen by host node2 (last seen 5 min ago); it has probably shut down. Start it again, or kill it to "
            "release its resources",
        ),
        (
            vm(3, Lcm.UNKNOWN, history=""),
            "is no longer seen by its host; it has probably shut down. Start it again, or kill it to release its resources",
        ),
        (
            vm(State.POWEROFF),
            "has been powered off for 7 min; it keeps its disks and addresses: start it again, or kill it "
            "to release its resources",
        ),
        (vm(State.DONE, ended=BEGIN + 540), "ended 1 min ago; its resources are released"),
        (
            vm(State.DONE, message="DEPLOY: no bootable device", ended=BEGIN + 540),
            'ended 1 min ago; its resources are released. It had failed: "no bootable device"; likely cause: the disk is '
            "not bootable. Choose another image: this one is broken, or the cloud does not know its format",
        ),
    ],
)
def test_gone(instance: Instance, line: str) -> None:
    assert note(instance) == line
    assert why(instance) == line


@pytest.mark.parametrize("state", [State.STOPPED, State.SUSPENDED, State.UNDEPLOYED])
def test_laid_aside(state: State) -> None:
    assert f"has been {state.name.lower()} for" in note(vm(state))
    assert f"    {state.name.lower()} " in shown(vm(state), 2)


def test_what_runs_has_no_line() -> None:
    for lcm in (Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING, Lcm.SHUTDOWN, Lcm.HOTPLUG):
        assert explain(vm(3, lcm), NOW) is None
    assert len(shown(vm(3, Lcm.RUNNING), 1).splitlines()) == 2


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("legacy", [True, False])
def test_no_level_shows_a_secret(level: int, legacy: bool) -> None:
    message = "DEPLOY: cannot open https://alice:hunter2@images.example.org/x, password=correct-horse"
    text = shown(vm(7 if legacy else 3, Lcm.BOOT_FAILURE, message, legacy=legacy), level)
    assert "https://alice:***@images.example.org/x" in text
    assert [secret for secret in SECRETS if secret in text] == []


def test_the_block() -> None:
    text = shown(vm(3, Lcm.RUNNING, monitored=BEGIN + 590, history=stay("node2", BEGIN + 60, running=(BEGIN + 120, 0))), 2)
    for line in (
        "42 one-42: Running",
        "  owner      alice, user 2, group users",
        "  asked      2 CPUs (share 0.5), 256 MiB memory",
        "  used       12 % of a CPU, 256 MiB memory, measured 10 s ago",
        "  disk 0     image, ttylinux, 1024 MiB, as sda",
        "  disk 1     swap, 512 MiB, as sdb",
        "  disk 2     volatile, 2048 MiB, as sdc",
        "  disk 3     persistent, pdisk:pdisk.example.org:8445:0b6a5dd3, as sdd",
        "  address    134.158.75.202, network public",
        "  context    DB_PASSWORD = ***",
        "  context    SCRIPT_EXEC = mount --password=*** //files",
        "  context    SSH_PUBLIC_KEY = ssh-ed25519 AAAAC3Nz user@example.org",
    ):
        assert line in text.splitlines()
    assert re.search(r"^  host       node2 from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, 9 min, still there$", text, re.MULTILINE)


def test_the_whole_document_is_indented() -> None:
    text = shown(vm(3, Lcm.RUNNING), 3)
    assert "    <VM>\n      <ID>42</ID>\n" in text
    assert "          <DB_PASSWORD>***</DB_PASSWORD>\n" in text


def test_control_characters_of_a_server_do_not_reach_the_terminal() -> None:
    instance = vm(3, Lcm.BOOT_FAILURE, "DEPLOY: \u009b31mred")
    assert "\u009b" not in shown(instance, 3)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_every_cause_is_known_by_a_message(cause: object) -> None:
    messages = {
        "quota": "user [2] limit of 4 reached for VMS quota",
        "no capacity": "Not enough MEMORY on hosts: 0",
        "too large": "Not enough MEMORY on hosts: 0. No host is that large",
        "no host fits": "No hosts meet SCHED_REQUIREMENTS",
        "image expired": "The image's metadata entry is expired",
        "checksum": "Image sha1 checksum check failed.",
        "policy": "Policy check failed for this image",
        "no emulator": "DEPLOY: cannot start QEMU: /usr/bin/qemu-system-x86_64: no such file or directory",
        "no content": "the image AAAA has no known content, so a real machine cannot boot from it",
        "no such volume": "the embedded cloud has no volume 0b6a5dd3-0000-4000-8000-000000000000",
        "too little RAM": "a machine of this image does not boot with 64 MiB of RAM: it needs 96",
        "no such image": "the image AAAA is not in this cloud's Marketplace",
        "no space": "cp: error writing: No space left on device",
        "disk in error": "Cannot acquire image 1, it is in state: ERROR",
        "disk in use": "volume 0b6a5dd3 is already mounted",
        "bad requirements": "Error in SCHED_REQUIREMENTS: '(CLUSTER_ID = 0) & ('",
        "no hosts": "Cannot dispatch VM: No hosts enabled to run VMs",
        "affinity": "[HOST] Cannot fulfill affinity constraints on hosts: 0,1",
        "requirements or capacity": "Cannot dispatch VM: No host meets capacity and SCHED_REQUIREMENTS: x",
        "no datastore": "Cannot dispatch VM: No system datastore meets capacity and SCHED_DS_REQUIREMENTS",
        "leases exhausted": "[VNET] Unavailable leases on vnets: 0",
        "dispatch limit": "[HOST] Dispatch limit reached on hosts: 0,1",
        "no authorization": "Cannot dispatch VM: User is not authorized to use any host",
        "no room": "Cannot dispatch VM to any Host. Possible reasons: Not enough capacity in Host or System DS",
        "image server": "cannot connect to http://marketplace.example.org",
        "lease": "IP address 134.158.75.9 is already taken",
        "restricted": "VM Template includes a restricted attribute MAC.",
        "host access": "Permission denied (publickey,password)",
        "no virtualization": "Could not access KVM kernel module: /dev/kvm",
        "not bootable": "no bootable device",
        "process lost": "the machine's process ended unexpectedly",
        "hypervisor": "Failed to create domain from deployment.0",
        "time-out": "operation timed out",
    }
    found = known_cause(messages[cause.name])  # type: ignore[attr-defined]
    assert found is cause


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("cannot start QEMU: /usr/bin/qemu-system-x86_64: permission denied", "no emulator"),
        ("qemu-system-x86_64 is not installed on this computer", "no emulator"),
        ("QEMU does not start: error while loading shared libraries: libx.so: No such file or directory", "no emulator"),
        ("QEMU does not start: could not load PC BIOS 'bios-256k.bin'", "no emulator"),
        ('QEMU does not start: Failed to get "write" lock Is another process using the image [/x]?', "disk in use"),
        ("QEMU does not start: cannot set up guest memory 'pc.ram': Cannot allocate memory", "hypervisor"),
    ],
)
def test_what_qemu_of_this_computer_says(message: str, name: str) -> None:
    cause = known_cause(f"DEPLOY: {message}")
    assert cause is not None
    assert cause.name == name


def test_the_servers_date_counts_where_it_makes_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        history = stay("node2", BEGIN + 60, prolog=(BEGIN + 60, 0))
        for date, since in (
            ("06:44:09", BEGIN + 300),  # UTC
            ("01:44:09", BEGIN + 300),  # this computer's zone
            ("06:30:00", BEGIN + 60),  # before the prolog began: some other zone
            ("06:59:00", BEGIN + 60),  # to come
        ):
            explanation = explain(vm(3, Lcm.PROLOG_FAILURE, f"Sun Nov 22 {date} 2026: x", history=history), NOW)
            assert explanation is not None
            assert explanation.since == since
    finally:
        monkeypatch.undo()
        time.tzset()


WIRE = CHECKOUT / "tests" / "wire" / "opennebula-7.4.0"


@pytest.mark.parametrize(
    ("recording", "line"),
    [
        (
            "33-vm.info-BOOT_FAILURE",
            'failed on node2 9 min 59 s ago while the hypervisor was starting it (boot): "Failed to create domain from '
            '/var/lib/one//datastores/0/2/deployment.0 (dummy driver:..."; '
            "likely cause: the host's hypervisor refused to start it. ",
        ),
        (
            "35-vm.info-PENDING-unschedulable",
            'waits for a host for 9 min 56 s: "Not enough CPU on hosts: 0,1,2"; likely cause: no host has enough free capacity. ',
        ),
        ("40-vm.info-after-poweroff", "has been powered off for 9 min 2 s; it keeps its disks and addresses: "),
        ("54-vm.info-DONE", "ended 7 min 54 s ago; its resources are released"),
    ],
)
def test_documents_of_a_real_server(recording: str, line: str) -> None:
    instance = Instance(parse(WIRE / f"{recording}.inner.xml").getroot())
    assert note(instance).startswith(line)
    assert why(instance) == note(instance)
    assert "  timeline " in shown(instance, 2)


def kept(state: int, message: str, history: str, *, legacy: bool = False) -> str:
    """What the explanation of a machine that is DONE says of why it had failed."""
    explanation = explain(vm(state, message=message, history=history, legacy=legacy, ended=BEGIN + 540), NOW)
    assert explanation is not None
    return explanation.message


def acted(action: int = 0, reason: int = 0, *, running: tuple[int, int] = (0, 0), epilog: tuple[int, int] = (0, 0)) -> str:
    """A HISTORY record with an action."""
    return stay("node2", BEGIN, running=running, epilog=epilog).replace(
        "</HISTORY>", f"<ACTION>{action}</ACTION><REASON>{reason}</REASON></HISTORY>"
    )


TRANSFER = "Error executing image transfer script: no"


@pytest.mark.parametrize(
    ("message", "history", "had_failed"),
    [
        ("DEPLOY: no", acted(13), True),
        ("DEPLOY: no", "", True),
        # A failed machine cannot be terminated, so it had not failed, or not for the last time.
        *(("DEPLOY: no", acted(action), False) for action in (3, 4, 27, 28)),
        # It went on in spite of these.
        *((f"{step}: no", acted(13), False) for step in ("REBOOT", "SHUTDOWN", "ATTACHDISK", "SAVE", "MIGRATE")),
        ("SHUTDOWN: no", acted(13, reason=1), True),
        ("DEPLOY: no", acted(27, reason=1) + acted(27), False),
        (TRANSFER, acted(13), True),
        (TRANSFER, acted(13, running=(BEGIN, 0)), False),
        (TRANSFER, acted(13, running=(0, BEGIN)), True),
        (TRANSFER, acted(13, running=(BEGIN, 0), epilog=(BEGIN, 0)), True),
    ],
)
def test_what_is_done_may_have_failed(message: str, history: str, had_failed: bool) -> None:
    assert kept(State.DONE, message, history) == ("no" if had_failed else "")
    assert kept(State.POWEROFF, message, history) == ""


def test_what_is_done_may_have_failed_in_3_x() -> None:
    for begun, had_failed in (((BEGIN, 0), False), ((0, BEGIN), True)):
        assert bool(kept(State.DONE, "DEPLOY: no", acted(running=begun), legacy=True)) == had_failed


@pytest.mark.parametrize(
    ("polled", "running", "message", "step"),
    [
        (BEGIN + 1, (BEGIN + 1, 0), "no", "RUNNING"),
        (BEGIN, (BEGIN + 1, 0), "no", "BOOT"),
        (BEGIN + 1, (0, BEGIN + 2), "no", "BOOT"),
        (BEGIN + 1, (BEGIN + 1, 0), TRANSFER, "BOOT"),
        (BEGIN + 1, (BEGIN + 1, 0), "SAVE: no", "SAVE"),
    ],
)
def test_the_step_of_3_x_by_its_times(polled: int, running: tuple[int, int], message: str, step: str) -> None:
    history = stay("node1", BEGIN, epilog=(BEGIN, 0)) + stay("node2", BEGIN, running=running)
    explanation = explain(vm(State.FAILED, message=message, history=history, legacy=True, monitored=polled), NOW)
    assert explanation is not None
    assert (explanation.step, explanation.host) == (step, "node2")


@pytest.mark.parametrize(
    ("date", "since"),
    [
        ("Nov 22 06:49:09 2026", NOW),
        ("Nov 22 06:49:10 2026", NOW + 1),  # two clocks
        ("Nov 22 06:49:11 2026", BEGIN + 180),
        ("Nov 31 06:49:09 2026", BEGIN + 180),
        ("Nov 22 06:49:09 0000", BEGIN + 180),
    ],
)
def test_dates_that_can_be(date: str, since: int) -> None:
    explanation = explain(vm(3, Lcm.BOOT_FAILURE, f"Sun {date}: x"), NOW)
    assert explanation is not None
    assert (explanation.since, explanation.ago) == (since, max(NOW - since, 0))


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (300, 300),  # before it was killed
        (100, 100),  # at the second at which its boot began
        (99, 500),  # in its first stay: some other zone
        (501, 501),  # the clock of its host
    ],
)
def test_when_a_machine_failed_that_was_killed_later(seconds: int, found: int) -> None:
    first = stay("node1", BEGIN + 10, running=(BEGIN + 20, BEGIN + 30), end=BEGIN + 30)
    last = stay("node2", BEGIN + 90, prolog=(BEGIN + 90, BEGIN + 100), running=(BEGIN + 100, BEGIN + 500), end=BEGIN + 500)
    message = ServerMessage("no", date=(2026, 11, 22, 6, *divmod(39 * 60 + 9 + seconds, 60)))
    assert failed_at(vm(State.DONE, history=first + last), NOW, message) == BEGIN + found


def test_a_summer_date_is_in_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        july = 1_783_598_400  # Thu Jul  9 12:00:00 2026 UTC, 08:00 in New York
        history = stay("node2", july - 60, prolog=(july - 60, 0))
        explanation = explain(vm(3, Lcm.PROLOG_FAILURE, "Thu Jul 9 08:00:00 2026: x", history=history), july + 7200)
        assert explanation is not None
        assert explanation.since == july
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_document_without_times() -> None:
    explanation = explain(Instance(fromstring("<VM><STATE>7</STATE></VM>")), NOW)
    assert explanation is not None
    assert (explanation.kind, explanation.since, explanation.ago, explanation.host) == (ExplanationKind.FAILED, None, None, "")


def test_what_runs_and_cannot_be_shut_down() -> None:
    refused = explain(vm(3, Lcm.RUNNING, "Sun Nov 22 06:44:09 2026: SHUTDOWN: no"), NOW)
    undated = explain(vm(3, Lcm.RUNNING, "SHUTDOWN: no"), NOW)
    for found in (refused, undated):
        assert found is not None
        assert (found.kind, found.step, found.message) == (ExplanationKind.REFUSED, "SHUTDOWN", "no")
    assert (refused and refused.since, undated and undated.since) == (BEGIN + 300, None)
    assert explain(vm(3, Lcm.RUNNING, "REBOOT: no"), NOW) is None
    assert explain(vm(3, Lcm.BOOT, "SHUTDOWN: no"), NOW) is None


def test_what_runs_and_is_locked() -> None:
    instance = vm(3, Lcm.RUNNING)
    instance.document.append(fromstring(f"<LOCK><LOCKED>1</LOCKED><OWNER>2</OWNER><TIME>{BEGIN}</TIME></LOCK>"))
    found = explain(instance, NOW)
    assert found is not None
    assert (found.kind, found.step, found.since, found.ago) == (ExplanationKind.LOCKED, "", BEGIN, 600)
    assert (found.lock, found.cause) == (instance.lock, LOCKED)


def test_disks_that_were_not_saved() -> None:
    for lcm, message, cause in (
        (Lcm.EPILOG_FAILURE, "no idea", DISKS_NOT_SAVED),
        (Lcm.EPILOG_FAILURE, "volume 0b6a5dd3 is already mounted", DISKS_NOT_SAVED),
        (Lcm.EPILOG_FAILURE, "cp: No space left on device", known_cause("No space left on device")),
        (Lcm.PROLOG_FAILURE, "no idea", None),
    ):
        found = explain(vm(3, lcm, message), NOW)
        assert found is not None
        assert found.cause is cause


def test_a_document_that_is_damaged() -> None:
    instance = vm(State.ACTIVE, Lcm.RUNNING)
    instance.document.set("damage", "mismatched tag")
    found = explain(instance, NOW)
    assert found is not None
    assert (found.kind, found.message) == (ExplanationKind.UNREADABLE, "mismatched tag")
