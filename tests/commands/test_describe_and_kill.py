"""stratus-describe-instance and stratus-kill-instance beyond the guide's story."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.opennebula.states import Lcm
from tests.fakes.staged_cloud import Stage, configure
from tests.harness import TTYLINUX, Ran, Shell

HEADER = "id  state     vcpu memory    cpu% host/ip                 name\n"


def test_no_instances_is_a_header(alice: Shell) -> None:
    assert alice("describe") == Ran(0, HEADER, "")


def test_ids_in_the_order_asked_and_names(alice: Shell) -> None:
    alice("run", "--vm-name", "front end", TTYLINUX)
    alice("run", "--vm-name", "back", TTYLINUX)
    ran = alice("describe", "back", "1", "2")
    assert ran.status == 0
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == ["2", "1"]
    assert alice("describe", "front end").out.splitlines()[1].endswith(" front end")


def test_a_name_that_several_have_is_refused_with_their_ids(alice: Shell) -> None:
    alice("run", "-n", "2", "--vm-name", "twin", TTYLINUX)
    ran = alice("kill", "twin")
    assert ran.status == ExitStatus.USAGE
    assert "1, 2" in ran.err
    assert len(alice("describe").out.splitlines()) == 3


def test_unknown_instances(alice: Shell) -> None:
    ran = alice("describe", "99999")
    assert (ran.status, ran.out) == (ExitStatus.NOT_FOUND, "")
    assert "99999" in ran.err
    assert ran.err.count("\n") == 1
    assert alice("describe", "nobody").status == ExitStatus.NOT_FOUND
    assert alice("describe", "9" * 30).status == ExitStatus.NOT_FOUND
    assert alice("kill", "99999").status == ExitStatus.NOT_FOUND


def test_what_exists_is_shown_beside_what_does_not(alice: Shell) -> None:
    alice("run", TTYLINUX)
    ran = alice("describe", "99999", "1")
    assert ran.status == ExitStatus.PARTIAL
    assert ran.out.splitlines()[1].startswith("1   ")
    assert "99999" in ran.err


def run(alice: Shell, stage: Stage, count: int) -> None:
    """Start machines that run: while they are prepared, a server does not let them be killed."""
    assert alice("run", "-n", str(count), TTYLINUX).status == 0
    for number in range(1, count + 1):
        stage.runs(number)


def test_kill_goes_on_after_a_failure(alice: Shell, stage: Stage) -> None:
    run(alice, stage, 2)
    ran = alice("kill", "1", "99999", "nobody", "2")
    assert ran.status == ExitStatus.PARTIAL
    assert ran.out == ""
    assert "2 of 4 machines failed" in ran.err
    assert alice("describe").out == HEADER


def test_killing_what_is_done_is_no_failure(alice: Shell, stage: Stage) -> None:
    run(alice, stage, 1)
    assert alice("kill", "1") == Ran(0, "", "")
    assert alice("kill", "1") == Ran(0, "", "")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_ids_from_a_file(alice: Shell, stage: Stage, tmp_path: Path, ending: str) -> None:
    run(alice, stage, 3)
    ids = tmp_path / "ids"
    ids.write_bytes(b"\xef\xbb\xbf# started today\n\n 1 2  # two of them\n\t3" + ending.encode())
    assert alice("kill", "-i", str(ids)) == Ran(0, "", "")
    assert alice("describe").out == HEADER


def test_ids_from_standard_input(alice: Shell, stage: Stage) -> None:
    run(alice, stage, 2)
    assert alice("kill", "-i", "-", "1", stdin="2\n") == Ran(0, "", "")
    assert alice("describe").out == HEADER


def test_rubbish_in_the_ids_file(alice: Shell, stage: Stage, tmp_path: Path) -> None:
    run(alice, stage, 1)
    ids = tmp_path / "ids"
    ids.write_bytes(b"\xff\xfe\x00rubbish")
    assert alice("kill", "-i", str(ids)).status == ExitStatus.USAGE
    ids.write_text("?!\n1\n")
    ran = alice("kill", "-i", str(ids))
    assert ran.status == ExitStatus.PARTIAL
    assert '"?!"' in ran.err
    assert alice("kill", "-i", str(tmp_path / "none")).status == ExitStatus.USAGE
    ids.write_text("# nothing\n")
    assert alice("kill", "-i", str(ids)).status == ExitStatus.USAGE


def test_the_reason_of_a_failure_with_v(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    stage.engine.machine_reached(1, Lcm.PROLOG)
    stage.engine.machine_failed(1, Lcm.PROLOG, "no space left")
    plain = alice("describe", "1")
    assert "Prolog_Failure" in plain.out
    assert "no space left" not in plain.out
    lines = alice("describe", "-v", "1").out.splitlines()
    assert lines[2].startswith("    ")
    assert "no space left" in lines[2]


def test_slow_name_service_does_not_hang_the_table(alice: Shell) -> None:
    alice("run", "--address", "127.101.0.9", TTYLINUX)

    def slow(address: str) -> str:
        time.sleep(30)
        return "late.example.org"

    alice.names = slow
    begin = time.monotonic()
    assert "127.101.0.9" in alice("describe").out
    assert time.monotonic() - begin < 10


def test_n_looks_up_no_names(alice: Shell, stage: Stage) -> None:
    configure(stage.engine, ranges={"public": ("134.158.75.201", 2)})
    alice("run", TTYLINUX)
    alice.names = lambda address: "named.example.org"
    assert "named.example.org" in alice("describe").out
    assert "134.158.75.201" in alice("describe", "-n").out


def test_other_users_instances_are_neither_shown_nor_killed(alice: Shell, stage: Stage) -> None:
    stage.engine.allocate(stage.engine.user("bob"), "CPU=1\nMEMORY=64")
    assert alice("describe").out == HEADER
    ran = alice("kill", "1")
    assert ran.status == ExitStatus.DENIED
    assert "MANAGE" in ran.err
    assert alice("describe", "1").status == ExitStatus.DENIED


def test_vv_shows_the_ssh_address_as_ssh_takes_it(alice: Shell, stage: Stage) -> None:
    alice("run", "-n", "2", TTYLINUX)
    stage.engine.machine_listens(1, "127.101.0.1", 22)
    stage.engine.machine_listens(2, "127.0.0.1", 40022)
    stage.runs(1)
    stage.runs(2)
    lines = [line.strip() for line in alice("describe", "-vv").out.splitlines() if "address" in line and "127." in line]
    assert lines == [
        "address    127.101.0.1, network public",
        "address    127.101.0.2, network public, ssh -p 40022 localhost",
    ]


class TestWhatIsShown:
    @pytest.fixture
    def cloud(self, alice: Shell, stage: Stage) -> Shell:
        assert alice("run", "-n", "3", TTYLINUX).status == 0
        stage.runs(1)
        assert stage.engine.machine_reached(2, Lcm.PROLOG)
        stage.engine.machine_failed(2, Lcm.PROLOG, "no such image")
        stage.runs(3)
        assert alice("kill", "3").status == 0
        return alice

    def test_those_that_are_done_where_asked_for(self, cloud: Shell) -> None:
        def ids(*options: str) -> list[str]:
            return cloud("describe", "--format", "ids", *options).out.split()

        assert ids() == ["1", "2"]
        assert ids("--all-states") == ["1", "2", "3"]
        assert ids("--filter", "state=done") == ["3"]
        assert ids("--filter", "state!=running") == ["2"]

    def test_age_and_kind(self, cloud: Shell) -> None:
        (row,) = json.loads(cloud("describe", "1", "--format", "json").out)["instances"]
        assert 0 <= row["age_seconds"] < 600
        assert row["kind"] == "simulated"
        cloud.clock = lambda: time.time() + 3 * 86400
        assert "3 d" in cloud("describe", "1", "--columns", "id,age").out
        assert cloud("describe", "--filter", "age_seconds>100000", "--format", "ids").out == "1\n2\n"

    def test_a_failed_machine_stands_out_at_a_terminal(self, cloud: Shell) -> None:
        red = "\x1b[31m2   Prolog_Failure"
        assert red in cloud("describe", "--color", "always").out
        assert "\x1b" not in cloud("describe").out
        cloud.terminal = True
        cloud.environ["TERM"] = "xterm"
        assert cloud("describe").out.count("\x1b[31m") == 1
        assert red in cloud("describe").out
        assert "\x1b" not in cloud("describe", "--color", "never").out
        cloud.environ["NO_COLOR"] = "1"
        assert "\x1b" not in cloud("describe").out

    def test_a_reason_is_said_once(self, cloud: Shell) -> None:
        assert cloud("describe", "-v", "2").out.count("no such image") == 1
        out = cloud("describe", "-vv", "2").out
        assert out.count("while preparing its disks") == 1

    def test_a_chosen_time_or_message_is_legible_in_a_narrow_terminal(self, cloud: Shell) -> None:
        cloud.terminal = True
        cloud.environ["COLUMNS"] = "40"
        for line in cloud("describe", "--no-header", "--columns", "id,name,networks,host,started").out.splitlines():
            assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", line)

    def test_what_ended_a_machine_is_said(self, cloud: Shell, stage: Stage) -> None:
        stage.engine.machine_ended(1, "QEMU was killed by signal 9")
        assert "it has probably shut down" in cloud("describe", "-v", "1").out, "a real server does not know more"
        cloud.environ.update(STRATUSLAB_ENDPOINT="local", STRATUSLAB_LOCAL_DIR=str(stage.engine.store.directory))
        assert '"QEMU was killed by signal 9"' in cloud("describe", "-v", "1").out
        assert cloud("start", "--no-wait", "1").status == 0
        assert "signal 9" not in cloud("describe", "-v", "1").out
        assert cloud("kill", "1").status == 0, "its process must not outlive the test"
