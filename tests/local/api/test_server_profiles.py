"""What each family of servers refuses, in its own words: `$` in contexts, characters, names, actions in the wrong state."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.local.engine.scheduler import InstanceLoad
from stratuslab.local.store.stored_records import ADMINISTRATOR, QEMU
from stratuslab.opennebula.states import Lcm, State
from tests.fakes.staged_cloud import Stage
from tests.local.conftest import Caller
from tests.local.templates import SMALL

SINCE_4 = ["opennebula-4", "opennebula-5", "opennebula-6", "opennebula-7"]
SINCE_5 = SINCE_4[1:]


def context(call: Caller, profile: str, value: str, user: str = "alice") -> str:
    """What becomes of a context value."""
    ok, number, *_ = call("one.vm.allocate", f'{SMALL}NAME=mine\nNOTE=x\nCONTEXT=[ PW="{value}" ]', user=user, profile=profile)
    assert ok, number
    return call.stage.engine.instance(ADMINISTRATOR, number).vectors("CONTEXT")[0].get("PW", "")


@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("pa$w0rd", "pa"),
        ("pa$w0rd!", "pa!"),
        ("cost $5", "cost "),
        ("I am $NAME.", "I am mine."),
        ("$name-$UID", "mine-2"),
        ("$CPU$MEMORY", "1128"),
        ("$CPU$MEMORY;", "1128;"),
        ("x$NOSUCH[A].y", "x.y"),
        ("plain = [a, b]", "plain = [a, b]"),
    ],
)
def test_variables_are_replaced(call: Caller, profile: str, sent: str, arrives: str) -> None:
    assert context(call, profile, sent) == arrives


@pytest.mark.parametrize("profile", SINCE_5)
def test_a_backslash_before_a_dollar_stays(call: Caller, profile: str) -> None:
    assert context(call, profile, r"pa\$w0rd") == r"pa\$w0rd"


@pytest.mark.parametrize("profile", ["opennebula-4", "stratuslab-3"])
def test_there_was_no_escape_before_5(call: Caller, profile: str) -> None:
    assert context(call, profile, r"pa\$w0rd") == "pa\\"


def test_the_disk_of_a_variable(call: Caller) -> None:
    template = f'{SMALL}DISK=[TYPE=fs,SIZE=7]\nDISK=[TYPE=swap,SIZE=9]\nCONTEXT=[A="$DISK[SIZE, TYPE=\\"swap\\"]"]'
    assert call("one.vm.allocate", template, profile="opennebula-7")[0]
    assert call.stage.engine.instance(ADMINISTRATOR, 1).vectors("CONTEXT")[0]["A"] == "9"


@pytest.mark.parametrize(
    ("profile", "line"), [("opennebula-4", 1), ("opennebula-5", 0), ("opennebula-6", 0), ("opennebula-7", 0)]
)
def test_what_cannot_be_read_shows_the_whole_context(call: Caller, profile: str, line: int) -> None:
    answer = call("one.vm.allocate", f"{SMALL}CONTEXT=[PW=pa$$w0rd]", profile=profile)
    tag = (
        "[VirtualMachineAllocate] Error allocating a new virtual machine. " if profile == "opennebula-4" else "[one.vm.allocate] "
    )
    assert answer[1:3] == [
        f"{tag}Error parsing: DISK_ID=0@^_^@PW=pa$$w0rd@^_^@TARGET=hda. syntax error, unexpected EOA, "
        f"expecting $end or VARIABLE or RSTRING at line {line}, columns 21:22",
        8192,
    ]


@pytest.mark.parametrize("value", ["5$", "${X}", "$ x", "a$$b", "$A[", "$NAME,", "$A = b"])
@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
def test_what_no_server_can_read(call: Caller, profile: str, value: str) -> None:
    answer = call("one.vm.allocate", f'{SMALL}CONTEXT=[PW="{value}"]', profile=profile)
    assert (answer[0], answer[2]) == (False, 8192)
    if profile == "stratuslab-3":
        assert answer[1] == "[VirtualMachineAllocate] Error allocating a new virtual machine."
    else:
        assert f"PW={value}" in answer[1]
    assert call("one.vmpool.info", -2, -1, -1, -2, profile=profile)[1] in ("<VM_POOL></VM_POOL>", "<VM_POOL/>")


@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
def test_characters_beyond_16_bits(call: Caller, profile: str) -> None:
    text = f'{SMALL}NAME="x\N{GRINNING FACE}"'
    fault = call("one.vm.allocate", text, profile=profile)
    assert fault.faultCode == -503
    assert fault.faultString == (
        f"Call XML not a proper XML-RPC call.  {len(text.encode())}-byte supposed UTF-8 string is not valid UTF-8.  UTF-8 string "
        "contains a character not in the Basic Multilingual Plane (first byte 0xfffffff0)"
    )


@pytest.mark.parametrize("profile", SINCE_4)
def test_names(call: Caller, profile: str) -> None:
    tag = (
        "[VirtualMachineAllocate] Error allocating a new virtual machine. " if profile == "opennebula-4" else "[one.vm.allocate] "
    )
    for character in "<$#:":
        answer = call("one.vm.allocate", f'{SMALL}NAME="a{character}b"', profile=profile)
        assert answer[1:3] == [f"{tag}Invalid NAME, char '{character}' is not allowed", 8192]


@pytest.mark.parametrize("profile", SINCE_4)
def test_disks_that_only_stratuslab_has(call: Caller, profile: str) -> None:
    for disk, kind in (('SOURCE="pdisk:x:1:y", TYPE=block', "BLOCK"), ('SOURCE="https://m.example.org/x"', "")):
        answer = call("one.vm.allocate", f"{SMALL}DISK=[{disk}]", profile=profile)
        assert (answer[1].endswith(f"DISK 0: Unknown disk type {kind}"), answer[2]) == (True, 8192)
    answer = call("one.vm.allocate", f"{SMALL}DISK=[TYPE=swap,SIZE=0]", profile=profile)
    assert answer[1].endswith("DISK 0: SIZE attribute must be a positive integer value.")


def test_an_empty_swap_disk_fails_on_3(call: Caller) -> None:
    assert call("one.vm.allocate", f"{SMALL}DISK=[TYPE=swap,SIZE=0]", profile="stratuslab-3")[0]
    machine = ElementTree.fromstring(call("one.vm.info", 1, profile="stratuslab-3")[1])
    assert machine.findtext("STATE") == "7"
    assert "mkswap" in machine.findtext("TEMPLATE/ERROR/MESSAGE", "")


def test_what_3_says_is_missing(call: Caller) -> None:
    for profile in ("stratuslab-3", "opennebula-3"):
        for asked, said in (
            ("DISK=[IMAGE_ID=99]", "Could not get disk image for VM."),
            ("NIC=[NETWORK=nosuch]", "Could not get virtual network for VM."),
        ):
            answer = call("one.vm.allocate", SMALL + asked, profile=profile)
            assert answer == [False, f"[VirtualMachineAllocate] Error allocating a new virtual machine. {said}", 8192]
    for asked, attribute in (("RANK=FREE_CPU", "RANK"), ("DISK=[SOURCE=x]", "DISK/SOURCE")):
        answer = call("one.vm.allocate", SMALL + asked, user="alice", profile="opennebula-3")
        assert answer[1].endswith(f"VM Template includes a restricted attribute {attribute}.")


def test_3_instantiates_with_a_name_only(call: Caller) -> None:
    more = (True, "MEMORY=999\nLABELS=mine", False)
    assert call("one.template.instantiate", 0, "named", *more, profile="stratuslab-3") == [True, 1, 0]
    record = call.stage.engine.instance(ADMINISTRATOR, 1)
    assert (record.name, record.text("MEMORY"), record.state_name) == ("named", "128", "PROLOG")
    assert call("one.template.instantiate", 0, "named", *more, profile="opennebula-4") == [True, 2, 0]
    record = call.stage.engine.instance(ADMINISTRATOR, 2)
    assert (record.text("MEMORY"), record.state_name) == ("999", "HOLD")


def at(stage: Stage, state: str) -> int:
    """An instance in this state."""
    number = stage.engine.allocate(ADMINISTRATOR, SMALL, hold=state == "HOLD")
    record = stage.engine.instance(ADMINISTRATOR, number)
    with stage.engine.store.transaction():
        record.state, record.lcm_state = (State[state], 0) if state in State.__members__ else (State.ACTIVE, Lcm[state])
        stage.engine.store.save(record)
    return number


ENDS: dict[str, dict[str, set[str]]] = {
    "stratuslab-3": {"shutdown": {"RUNNING"}, "cancel": {"RUNNING"}, "finalize": {"*"}},
    "opennebula-4": {
        "shutdown": {"RUNNING", "UNKNOWN", "POWEROFF", "SUSPENDED"},
        "shutdown-hard": {"RUNNING", "UNKNOWN", "POWEROFF", "SUSPENDED"},
        "delete": {"*"},
        "finalize": {"*"},
    },
}
SINCE_5_FROM = {"RUNNING", "UNKNOWN", "POWEROFF", "SUSPENDED", "HOLD", "PROLOG_FAILURE", "BOOT_FAILURE", "DONE"}
for _profile in SINCE_5:
    ENDS[_profile] = {"terminate": SINCE_5_FROM, "terminate-hard": SINCE_5_FROM | {"SHUTDOWN"}}
ENDS["opennebula-5"]["terminate-hard"] = SINCE_5_FROM  # a real 5.12.0.4 was seen to refuse it
STATES = [
    "HOLD",
    "PROLOG",
    "BOOT",
    "RUNNING",
    "UNKNOWN",
    "POWEROFF",
    "SUSPENDED",
    "SHUTDOWN",
    "PROLOG_FAILURE",
    "BOOT_FAILURE",
    "DONE",
]


@pytest.mark.parametrize(("profile", "action"), [(profile, action) for profile in sorted(ENDS) for action in ENDS[profile]])
def test_in_which_states_an_instance_can_be_ended(call: Caller, stage: Stage, profile: str, action: str) -> None:
    for state in STATES:
        number = at(stage, state)
        answer: Any = call("one.vm.action", action, number, profile=profile)
        allowed = state in ENDS[profile][action] or "*" in ENDS[profile][action]
        assert answer[0] is allowed, (state, answer)
        if not allowed:
            said = {
                "stratuslab-3": "[VirtualMachineAction] Wrong state to perform action",
                "opennebula-4": f'[VirtualMachineAction] Error performing action "{action}" on virtual machine [{number}]. '
                f"This action is not available for state {state}",
            }.get(
                profile,
                f'[one.vm.action] Error performing action "{action}": Could not terminate VM {number}, wrong state {state}.',
            )
            assert answer[1:3] == [said, 2048]
        stage.engine.act(ADMINISTRATOR, number, SERVER_PROFILES["opennebula-4"].actions["delete"])


@pytest.mark.parametrize("profile", ["opennebula-4", "opennebula-5", "opennebula-6", "opennebula-7"])
def test_the_cord_is_pulled_during_a_poweroff_since_6(call: Caller, stage: Stage, profile: str) -> None:
    number = at(stage, "SHUTDOWN_POWEROFF")
    answer: Any = call("one.vm.action", "poweroff-hard", number, profile=profile)
    assert answer[0] is (profile in ("opennebula-6", "opennebula-7"))


def test_the_names_of_actions(call: Caller, stage: Stage) -> None:
    stage.runs(at(stage, "PENDING"))
    assert call("one.vm.action", "delete", 1, profile="stratuslab-3") == [
        False,
        "[VirtualMachineAction] Internal error. Action result not defined",
        8192,
    ]
    assert call("one.vm.action", "terminate-hard", 1, profile="opennebula-4") == [
        False,
        '[VirtualMachineAction] Virtual machine action "terminate-hard" is not supported',
        2048,
    ]
    assert call("one.vm.action", "shutdown", 1, profile="opennebula-6")[1] == '[one.vm.action] Action "shutdown" is not supported'
    assert call("one.vm.action", "hold", 1, profile="opennebula-5")[1].startswith(
        '[one.vm.action] Error performing action "hold"'
    )
    assert call("one.vm.action", "shutdown-hard", 1, profile="opennebula-5") == [True, 1, 0]


def test_resubmit(call: Caller, stage: Stage) -> None:
    stage.runs(stage.engine.allocate(ADMINISTRATOR, SMALL))
    assert call("one.vm.action", "resubmit", 1, profile="opennebula-4") == [True, 1, 0]
    record = stage.engine.instance(ADMINISTRATOR, 1)
    assert (record.state_name, len(record.history)) == ("PROLOG", 2)
    stage.runs(1)
    assert call("one.vm.action", "delete-recreate", 1, profile="opennebula-4") == [True, 1, 0]


@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
def test_suspend_and_resume(call: Caller, stage: Stage, profile: str) -> None:
    stage.runs(at(stage, "PENDING"))
    assert call("one.vm.action", "suspend", 1, profile=profile) == [True, 1, 0]
    assert (stage.engine.instance(ADMINISTRATOR, 1).state_name, stage.actors.paused) == ("SUSPENDED", {1})
    assert call("one.vm.action", "suspend", 1, profile=profile)[0] is False
    assert call("one.vm.action", "resume", 1, profile=profile) == [True, 1, 0]
    assert (stage.engine.instance(ADMINISTRATOR, 1).state_name, stage.actors.paused) == ("RUNNING", set())
    assert call("one.vm.action", "stop", 1, profile=profile) == [True, 1, 0]
    assert (stage.engine.instance(ADMINISTRATOR, 1).state_name, stage.actors.paused) == ("STOPPED", {1})
    assert call("one.vm.action", "resume", 1, profile=profile) == [True, 1, 0]
    assert (stage.engine.instance(ADMINISTRATOR, 1).state_name, stage.actors.paused) == ("RUNNING", set())
    for action, state in (("suspend", "SUSPENDED"), ("stop", "STOPPED"), ("resume", "RUNNING")):
        assert call("one.vm.action", action, 1, profile=profile) == [True, 1, 0]
        assert stage.engine.instance(ADMINISTRATOR, 1).state_name == state
    assert stage.actors.paused == set()


def test_a_real_machine_is_suspended_and_never_stopped(call: Caller, stage: Stage) -> None:
    stage.runs(at(stage, "PENDING"))
    with stage.engine.store.transaction():
        record = stage.engine.store.instance(1)
        assert record is not None
        record.hypervisor = QEMU
        stage.engine.store.save(record)
    assert call("one.vm.action", "stop", 1)[1].endswith("This action is not available for state RUNNING")
    assert call("one.vm.action", "suspend", 1)[0]
    (load,) = InstanceLoad.read(stage.engine.store)
    assert (load.is_on, load.is_placed) == (True, True), "it keeps its memory"
    assert call("one.vm.action", "stop", 1)[1].endswith("This action is not available for state SUSPENDED")


def test_a_suspended_machine_whose_process_is_gone_boots(call: Caller, stage: Stage) -> None:
    stage.runs(at(stage, "PENDING"))
    call("one.vm.action", "suspend", 1)
    stage.actors.living.clear()
    assert stage.engine.instance(ADMINISTRATOR, 1).state_name == "SUSPENDED"
    assert call("one.vm.action", "resume", 1)[0]
    assert stage.engine.instance(ADMINISTRATOR, 1).state_name == "BOOT_UNKNOWN"
    assert stage.engine.machine_reached(1, Lcm.RUNNING)


@pytest.mark.parametrize("profile", SINCE_4)
def test_capacity_is_missing(call: Caller, profile: str) -> None:
    said = {
        "opennebula-4": ["[VirtualMachineAllocate] user [2] MEMORY attribute must be a positive integer value", 512],
        "opennebula-7": ["[one.vm.allocate] MEMORY attribute must be a positive integer value.", 8192],
    }
    quota = ["[one.vm.allocate] User [2] : user [2] MEMORY attribute must be a positive integer value.", 512]
    assert call("one.vm.allocate", "CPU=1", user="alice", profile=profile)[1:3] == said.get(profile, quota)
