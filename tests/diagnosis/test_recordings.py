"""What describe says of the machines of real servers: their state, whether they failed, the likely cause, the line, the steps."""

from __future__ import annotations

import time
from xml.etree.ElementTree import SubElement, fromstring, tostring

import pytest

from stratuslab.cloud.reply import documents
from stratuslab.diagnosis.causes import known_cause
from stratuslab.diagnosis.explanation import Explanation, explain
from stratuslab.diagnosis.message_cleaning import clean
from stratuslab.diagnosis.timeline import steps
from stratuslab.opennebula.history import action_name
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Lcm, State
from stratuslab.output.instance_details_text import details_lines
from stratuslab.output.reason_text import away, reason
from stratuslab.output.terminal import Terminal
from stratuslab.results import InstanceDetails
from tests.diagnosis.documents import BEGIN, vm
from tests.fakes.opennebula_answers import RECORDINGS, recording_of


def machine(recording: str) -> Instance:
    (document,) = documents([recording_of(recording)], "VM")
    return Instance(document)


def explained(instance: Instance) -> Explanation | None:
    """The explanation a minute after the last thing that the document tells."""
    last = instance.ended or max((stay.last for stay in instance.history), default=0) or instance.started or 0
    return explain(instance, last + 60)


def life(instance: Instance) -> str:
    """The steps, the failed one with an exclamation mark."""
    return " ".join(span.step + "!" * span.failed for span in steps(instance, 1_900_000_000))


DISK_FULL = "\"; likely cause: the disk of the host, or of the cloud's storage, is full. Try again later"
RESUME = "it keeps its disks and addresses: start it again, or kill it to release its resources"
UNSEEN = (
    "is no longer seen by host h1 (last seen 0 s ago); it has probably shut down. Start it again, or kill it to release its "
    "resources"
)
ENDED = "ended 1 min ago; its resources are released"
UP = "pending prolog running"


# The recording, its state, whether it failed, the cause, how the line begins (empty for none), the steps.
TABLE = [
    ("3.2.1/vm.info-HOLD", "Hold", False, "", "has been on hold for 1 min: release it with onevm release", "pending"),
    ("3.2.1/vm.info-BOOT", "Boot", False, "", "", "pending prolog boot"),
    ("3.2.1/vm.info-SAVE_STOP", "Save_Stop", False, "", "", UP),
    ("3.2.1/vm.info-STOPPED", "Stopped", False, "", f"has been stopped for 1 min; {RESUME}",
     "pending prolog running epilog stopped"),
    ("3.2.1/vm.info-SUSPENDED", "Suspended", False, "", f"has been suspended for 1 min; {RESUME}",
     f"{UP} suspended"),
    ("3.2.1/vm.info-SUSPENDED-with-history", "Suspended", False, "", f"has been suspended for 1 min; {RESUME}",
     f"{UP} suspended"),
    ("3.2.1/vm.info-SHUTDOWN", "Shutdown", False, "", "", UP),
    ("3.2.1/vm.info-EPILOG", "Epilog", False, "", "", f"{UP} epilog"),
    ("3.2.1/vm.info-UNKNOWN", "Unknown", False, "", UNSEEN, f"{UP} unknown"),
    ("3.2.1/vm.info-DONE", "Done", False, "", ENDED, UP),
    ("3.2.1/vm.info-DONE-after-shutdown", "Done", False, "", ENDED, f"{UP} epilog"),
    # One bad poll is no failure; nor does a message that stays after all is well again make one.
    ("3.2.1/vm.info-DONE-killed-after-monitoring-error", "Done", False, "", ENDED, UP),
    ("3.2.1/vm.info-RUNNING-monitoring-failed", "Running", False, "", "", UP),
    ("3.2.1/vm.info-RUNNING-monitored", "Running", False, "", "", UP),
    ("3.2.1/vm.info-RUNNING-after-shutdown-failed", "Running", False, "",
     'runs; the cloud could not shut it down 1 min ago: "cannot shut down: guest agent"', UP),
    ("3.2.1/vm.info-FAILED-poll-error", "Failed", True, "",
     "failed on h1 1 min ago while it ran, as its host reported (running): the cloud gave", "pending prolog running!"),
    ("3.2.1/vm.info-FAILED-prolog", "Failed", True, "no space",
     f'failed on h1 1 min ago while preparing its disks (prolog): "disk full on host{DISK_FULL}', "pending prolog!"),
    ("3.2.1/vm.info-FAILED-prolog-times-zero", "Failed", True, "image server",
     'failed on h1 1 min ago while preparing its disks (prolog): "cannot connect to http://marketplace.example.org"; '
     "likely cause: the cloud could not reach the server that it fetches the image from. ", "pending prolog!"),
    ("3.2.1/vm.info-FAILED-boot-control-characters", "Failed", True, "",
     'failed on h1 1 min ago while the hypervisor was starting it (boot): "?[31mred? <b>&amp; end". Kill it',
     "pending prolog boot!"),
    ("4.14.2/vm.info-HOLD", "Hold", False, "", "has been on hold for 1 min", "pending"),
    ("4.14.2/vm.info-one-0", "Pending", False, "", "waits for a host for 1 min", "pending"),
    ("4.14.2/vm.info-RUNNING", "Running", False, "", "", UP),
    ("4.14.2/vm.info-POWEROFF", "Poweroff", False, "", f"has been powered off for 1 min; {RESUME}", f"{UP} poweroff"),
    ("4.14.2/vm.info-STOPPED", "Stopped", False, "", "has been stopped for 1 min", f"{UP} epilog stopped"),
    ("4.14.2/vm.info-PROLOG_FAILURE", "Prolog_Failure", True, "no space",
     'failed on h1 1 min ago while preparing its disks (prolog): "Error copying image dimg:abc to h1: No space left on device'
     f"{DISK_FULL}", "pending prolog!"),
    ("4.14.2/vm.info-DONE", "Done", False, "", f'{ENDED}. It had failed: "Error creating iso fs"', "pending prolog!"),
    ("5.12.0.4/vm.info-RUNNING-monitored", "Running", False, "", "", UP),
    ("5.12.0.4/vm.info-DONE", "Done", False, "", ENDED, f"{UP} epilog"),
    ("5.12.0.4/vm.info-BOOT_FAILURE-killed", "Done", False, "", f'{ENDED}. It had failed: "h2:f-boot:dummy"',
     "pending prolog boot!"),
    ("5.12.0.4/vm.info-PROLOG_FAILURE-killed", "Done", False, "no space",
     f'{ENDED}. It had failed: "Error copying image dimg:abc to h1: No space left on device{DISK_FULL}', "pending prolog!"),
    # Of requirements that no host meets 5.12 says what it says of everything.
    ("5.12.0.4/vm.info-PENDING-requirements", "Pending", False, "no room",
     'waits for a host for 1 min: "Cannot dispatch VM to any Host. Possible reasons: Not enough capacity in Host or System DS, '
     'dispatch limit reached, or limit of free leases reached."; likely cause: the cloud has no host that meets its '
     "requirements, or none with room for it, or no storage or address free. Check --vm-requirements", "pending"),
    ("6.8.0/vm.info-HOLD", "Hold", False, "", "has been on hold for 1 min", "pending"),
    ("6.8.0/vm.info-PENDING-no-host-meets", "Pending", False, "requirements or capacity",
     'waits for a host for 1 min: "Cannot dispatch VM: No host meets capacity and SCHED_REQUIREMENTS: ', "pending"),
    ("6.8.0/vm.info-BOOT", "Boot", False, "", "", "pending prolog boot"),
    ("6.8.0/vm.info-PROLOG_FAILURE", "Prolog_Failure", True, "no space",
     f'failed on h1 1 min ago while preparing its disks (prolog): "disk full on host{DISK_FULL}', "pending prolog!"),
    ("6.8.0/vm.info-RUNNING-after-shutdown-failed", "Running", False, "", "", UP),  # this version says nothing of it
    ("6.8.0/vm.info-SAVE_SUSPEND", "Save_Suspend", False, "", "", UP),
    ("6.8.0/vm.info-SUSPENDED", "Suspended", False, "", f"has been suspended for 1 min; {RESUME}", f"{UP} suspended"),
    ("6.8.0/vm.info-POWEROFF", "Poweroff", False, "", f"has been powered off for 1 min; {RESUME}", f"{UP} poweroff"),
    ("6.8.0/vm.info-SHUTDOWN", "Shutdown", False, "", "", UP),
    ("6.8.0/vm.info-EPILOG", "Epilog", False, "", "", f"{UP} epilog"),
    ("6.8.0/vm.info-UNKNOWN", "Unknown", False, "", UNSEEN, f"{UP} unknown"),
    ("6.8.0/vm.info-DONE", "Done", False, "", ENDED, f"{UP} epilog"),
    ("7.4.0/vm.info-no-host-meets", "Pending", False, "no host fits",
     'waits for a host for 1 min: "Cannot dispatch VM: No host meets SCHED_REQUIREMENTS"; likely cause: no host of the cloud '
     "meets its requirements. Kill it, and start it with other --vm-requirements", "pending"),
    ("7.4.0/vm.info-bad-sched-requirements", "Pending", False, "bad requirements",
     'waits for a host for 1 min: "Cannot dispatch VM: Error in SCHED_REQUIREMENTS: ', "pending"),
    ("7.4.0/vm.info-LOCKED-use", "Running", False, "locked",
     'has been locked by user 2 for 58 s: unlock it with "onevm unlock"', UP),
    ("7.4.0/vm.info-EPILOG_FAILURE", "Epilog_Failure", True, "disks not saved",
     'failed on h1 1 min ago while saving or removing its disks (epilog): "Cannot delete: Device or resource busy"',
     f"{UP} epilog!"),
    ("7.4.0/vm.info-DONE-after-BOOT_FAILURE", "Done", False, "", f'{ENDED}. It had failed: "h1:f-boot:dummy"',
     "pending prolog boot!"),
    ("7.4.0/vm.info-DONE-after-PROLOG_FAILURE", "Done", False, "", f'{ENDED}. It had failed: "Command "cp /var/lib',
     "pending prolog!"),
    ("7.4.0/vm.info-SAVE_SUSPEND", "Save_Suspend", False, "", "", UP),
    ("7.4.0/vm.info-BOOT_SUSPENDED", "Boot_Suspended", False, "", "", f"{UP} suspended boot"),
    ("7.4.0/vm.info-HOTPLUG", "Hotplug", False, "", "", f"{UP} suspended running running running"),
    ("7.4.0/vm.info-SHUTDOWN_POWEROFF", "Shutdown_Poweroff", False, "", "", f"{UP} suspended running running running running"),
    ("7.4.0/vm.info-POWEROFF-monitored", "Poweroff", False, "", f"has been powered off for 1 min; {RESUME}", f"{UP} poweroff"),
    ("7.4.0/vm.info-after-resume-of-STOPPED", "Running", False, "", "",
     f"{UP} suspended running running running running poweroff running epilog stopped prolog running"),
    ("7.4.0/33-vm.info-BOOT_FAILURE", "Boot_Failure", True, "hypervisor",
     "failed on node2 1 min ago while the hypervisor was starting it (boot): ", "pending prolog boot!"),
    ("7.4.0/35-vm.info-PENDING-unschedulable", "Pending", False, "no capacity", "waits for a host for 1 min: ", "pending"),
    ("7.4.0/54-vm.info-DONE", "Done", False, "", ENDED,
     f"{UP} poweroff running suspended running poweroff running epilog stopped prolog running epilog"),
]  # fmt: skip


@pytest.mark.parametrize(("recording", "state", "failed", "cause", "line", "spans"), TABLE, ids=[row[0] for row in TABLE])
def test_what_is_said(recording: str, state: str, failed: bool, cause: str, line: str, spans: str) -> None:
    instance = machine(recording)
    assert (instance.state_label, instance.failed) == (state, failed)
    explanation = explained(instance)
    told = reason(explanation) if explanation else ""
    assert told.startswith(line)
    assert bool(told) is bool(line)
    assert (explanation.cause.name if explanation and explanation.cause else "") == cause
    assert life(instance) == spans


def test_every_recording_is_explained_without_a_failure() -> None:
    """Those that are not in the table are machines that run."""
    names = {row[0] for row in TABLE}
    for path in sorted(RECORDINGS.parent.glob("*/*vm.info*.response.xml")):
        name = f"{path.parent.name.removeprefix('opennebula-')}/{path.name.removesuffix('.response.xml')}"
        if name in names or b"<boolean>0" in path.read_bytes() or b"<fault>" in path.read_bytes() or "not-well-formed" in name:
            continue
        instance = machine(name)
        assert not instance.failed
        assert instance.addresses or instance.name
        assert life(instance).startswith("pending")


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        ("6.8.0/vm.info-SAVE_SUSPEND", "is being suspended"),
        ("7.4.0/vm.info-SHUTDOWN_POWEROFF", "is being powered off"),
        ("3.2.1/vm.info-SAVE_STOP", "is being stopped"),
        ("6.8.0/vm.info-SHUTDOWN", "is being shut down"),
        ("6.8.0/vm.info-EPILOG", "is being shut down"),
    ],
)
def test_what_is_put_aside_does_not_end(recording: str, words: str) -> None:
    assert away(machine(recording)) == words


@pytest.mark.parametrize(
    ("recording", "addresses"),
    [
        ("7.4.0/vm.info-dual-stack", ("10.3.0.1", "2001:db8:3::aff:fe03:1", "fd00:3::aff:fe03:1")),
        (
            "7.4.0/vm.info-NIC_ALIAS-EXTERNAL_IP",
            ("10.1.0.62", "203.0.113.9", "10.3.0.7", "2001:db8:3::aff:fe03:7", "fd00:3::aff:fe03:7", "10.1.0.63"),
        ),
        ("7.4.0/vm.info-ETHER-no-address", ()),
    ],
)
def test_addresses(recording: str, addresses: tuple[str, ...]) -> None:
    assert machine(recording).addresses == addresses


def test_the_history_says_which_action_it_was_and_whose() -> None:
    instance = machine("7.4.0/vm.info-after-resume-of-STOPPED")
    shown = [
        line for line in details_lines(InstanceDetails(instance, None, (), 1_900_000_000), Terminal(80, True)) if " host " in line
    ]
    assert [line.partition(", until ")[2].partition(", ")[2] for line in shown] == [
        "suspend by user 2 (request 6388)",
        "nic-attach by user 2 (request 5774)",
        "disk-attach by user 2 (request 7463)",
        "disk-snapshot-create by user 2 (request 7696)",
        "poweroff by user 2 (request 8202)",
        "stop by user 2 (request 3155)",
        "",
    ]
    assert shown[-1].endswith(", still there")
    (failed,) = machine("3.2.1/vm.info-FAILED-prolog").history
    assert failed.had_error


@pytest.mark.parametrize(("number", "name"), [(0, ""), (3, "shutdown"), (10, "suspend"), (13, "delete"), (27, "terminate"),
                                              (28, "terminate-hard"), (44, "monitor"), (49, "poweroff-hard-migrate"),
                                              (57, "sg-detach"), (65, "vmgroup-del"), (66, "action 66")])  # fmt: skip
def test_the_names_of_actions(number: int, name: str) -> None:
    assert action_name(number) == name


@pytest.mark.parametrize(
    "text",
    [
        " " * 200_000 + "x",
        "x" + " -" * 100_000 + "x",
        "-" * 200_000 + "x",
        "ERROR MESSAGE " * 20_000,
        "ERROR MESSAGE --8<------ " * 10_000,
        "ERROR: " * 40_000,
        "ExitCode: 1" * 20_000,
        "image size policy ssh kvm metadata limit of 1 " * 5_000,
        "failed to get x" * 20_000,
        "LOG I " + "1" * 200_000,
        "DEPLOY" + ":" * 200_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_of_a_server_takes_long(text: str) -> None:
    begin = time.process_time()
    known_cause(clean(text).text)
    assert time.process_time() - begin < 2


def test_what_keeps_a_host_from_being_asked() -> None:
    found = vm(State.ACTIVE, Lcm.UNKNOWN)
    error = SubElement(found.document.findall("USER_TEMPLATE")[0], "ERROR_MONITOR")
    error.text = "Fri Nov 27 21:30:48 2026 : Error monitoring VM: connection timed out"
    explanation = explain(found, BEGIN + 600)
    assert explanation is not None
    assert reason(explanation).startswith('is no longer seen by host node2: "connection timed out"; likely cause: ')


def test_the_pauses_of_3_x() -> None:
    document = machine("3.2.1/vm.info-SUSPENDED-with-history").document
    (first,) = document.iter("HISTORY")
    again = fromstring(tostring(first))
    for tag, text in (("STIME", "1795815300"), ("PSTIME", "0"), ("PETIME", "0"), ("RSTIME", "1795815300"), ("RETIME", "0")):
        again.find(tag).text = text  # type: ignore[union-attr]
    document.find("HISTORY_RECORDS").append(again)  # type: ignore[union-attr]
    document.find("STATE").text = "3"  # type: ignore[union-attr]
    document.find("LCM_STATE").text = "3"  # type: ignore[union-attr]
    assert life(Instance(document)) == f"{UP} suspended running"
