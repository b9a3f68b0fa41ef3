"""The commands that act on instances: what is meant, what is asked, what is told."""

from __future__ import annotations

import threading

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.opennebula.states import Lcm
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Ran, Shell


@pytest.fixture
def reconciler(alice: Shell, stage: Stage) -> Shell:
    assert alice("run", "-n", "2", "--label", "batch", TTYLINUX).status == 0
    assert alice("run", "--vm-name", "front", TTYLINUX).status == 0
    for number in (1, 2, 3):
        stage.runs(number)
    return alice


def states(shell: Shell) -> list[str]:
    return shell("describe", "1", "2", "3", "--columns", "state", "--no-header").out.split()


@pytest.mark.parametrize("command", ["kill", "shutdown"])
def test_dry_run_shows_and_does_nothing(reconciler: Shell, command: str) -> None:
    ran = reconciler(command, "--dry-run", "front", "1")
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["id", "3", "1"]
    assert reconciler(command, "--dry-run", "--all", "--format", "ids").out == "1\n2\n3\n"
    assert reconciler(command, "--dry-run", "99", "1").status == ExitStatus.PARTIAL
    assert states(reconciler) == ["Running"] * 3


@pytest.mark.parametrize("command", ["kill", "shutdown"])
def test_all_needs_yes_where_nobody_can_be_asked(reconciler: Shell, stage: Stage, command: str) -> None:
    ran = reconciler(command, "--all")
    assert ran.status == ExitStatus.USAGE
    assert "--yes" in ran.err
    assert states(reconciler) == ["Running"] * 3
    assert reconciler(command, "--all", "--yes") == Ran(0, "", "")
    assert states(reconciler) == ["Done"] * 3
    assert stage.actors.halted == ({1, 2, 3} if command == "shutdown" else set())
    assert reconciler("kill", "--all", "--yes").status == 0
    assert reconciler("kill", "--all") == Ran(0, "", ""), "nothing is left to ask about"


def test_all_asks_at_a_terminal(reconciler: Shell) -> None:
    reconciler.terminal = True
    ran = reconciler("kill", "--all", stdin="n\n")
    assert ran.status == ExitStatus.FAILED
    assert "Kill 3 of your machines (1, 2, 3)? [y/N] " in ran.err
    assert reconciler("kill", "--all", stdin="").status == ExitStatus.FAILED
    assert reconciler("kill", "--all", stdin="y\n").status == 0
    assert states(reconciler) == ["Done"] * 3


def test_interactive_asks_for_each(reconciler: Shell) -> None:
    assert reconciler("kill", "--interactive", "1").status == ExitStatus.USAGE
    reconciler.terminal = True
    ran = reconciler("kill", "--interactive", "1", "2", "front", stdin="y\n\nyes\n")
    assert ran.status == 0
    assert "Kill 3 (front, Running, 127.101.0.3)? [y/N] " in ran.err
    reconciler.terminal = False
    assert states(reconciler) == ["Done", "Running", "Done"]


def test_filter_chooses_what_is_ended(reconciler: Shell) -> None:
    assert reconciler("kill", "--all", "--yes", "--filter", "label=batch", "--format", "ids").out == "1\n2\n"
    assert states(reconciler) == ["Done", "Done", "Running"]
    assert reconciler("kill", "3", "--filter", "label=batch") == Ran(0, "", "")
    assert states(reconciler) == ["Done", "Done", "Running"]


def test_all_takes_no_names(reconciler: Shell) -> None:
    assert reconciler("kill", "--all", "--yes", "1").status == ExitStatus.USAGE
    assert states(reconciler) == ["Running"] * 3


def test_shutdown_is_clean(reconciler: Shell, stage: Stage) -> None:
    assert reconciler("shutdown", "1") == Ran(0, "", "")
    assert states(reconciler)[0] == "Done"
    assert stage.actors.halted == {1}
    ran = reconciler("shutdown", "2", "99")
    assert ran.status == ExitStatus.PARTIAL
    assert "99" in ran.err
    assert reconciler("shutdown").status == ExitStatus.USAGE


class TestAGuestThatTakesItsTime:
    @pytest.fixture
    def slow(self, reconciler: Shell, stage: Stage) -> Shell:
        stage.actors.halt = lambda instance: None  # type: ignore[method-assign]
        return reconciler

    def test_is_waited_for(self, slow: Shell, stage: Stage) -> None:
        threading.Timer(0.5, stage.halts, (1,)).start()
        ran = slow("shutdown", "1", "--columns", "id,state", "--no-header")
        assert (ran.status, ran.out.split(), ran.err) == (0, ["1", "Done"], "")

    def test_is_not_waited_for_beyond_the_time_out(self, slow: Shell) -> None:
        ran = slow("shutdown", "1", "--timeout", "0.2")
        assert (ran.status, ran.out) == (ExitStatus.TIMED_OUT, "")
        assert "machine 1 is still Shutdown after " in ran.err

    def test_is_not_waited_for_where_nobody_wants_to(self, slow: Shell) -> None:
        assert slow("shutdown", "1", "--no-wait") == Ran(0, "", "")
        assert states(slow)[0] == "Shutdown"


@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
def test_every_server_shuts_down_and_keeps_labels(shell: Shell, stage: Stage, serve: Serve, profile: str) -> None:
    served = serve(users={"alice": "secret"}, profile=profile)
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    shell.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"] = served.marketplace
    assert shell("run", "--label", "mine", "--label", "mine", "--name-prefix", "n", TTYLINUX).status == 0
    stage.runs(1)
    assert shell("describe", "--filter", "label=mine", "--columns", "id,name,label", "--no-header").out.split() == [
        "1",
        "n1",
        "mine",
    ]
    assert shell("shutdown", "1").status == 0
    assert stage.actors.halted == {1}


class TestStopAndStart:
    def test_a_machine_is_off_and_runs_again(self, reconciler: Shell, stage: Stage) -> None:
        assert reconciler("stop", "front") == Ran(0, "", "")
        assert states(reconciler) == ["Running", "Running", "Poweroff"]
        assert stage.actors.halted == {3}
        assert reconciler("stop", "3") == Ran(0, "", ""), "it is off already"
        assert reconciler("start", "3", "--no-wait") == Ran(0, "", "")
        assert states(reconciler)[2] == "Boot_Poweroff"
        threading.Timer(0.3, stage.engine.machine_reached, (3, Lcm.RUNNING)).start()
        ran = reconciler("start", "front", "--format", "csv", "--columns", "id,state", "--no-header")
        assert ran == Ran(0, "3,Running\n", ""), "it was on its way"
        assert reconciler("start", "3") == Ran(0, "", ""), "it runs already"

    def test_a_machine_whose_host_lost_it_can_be_started(self, reconciler: Shell, stage: Stage) -> None:
        stage.halts(1)
        assert states(reconciler)[0] == "Unknown"
        assert "Start it again" in reconciler("describe", "-v", "1").out
        assert reconciler("start", "1", "--no-wait").status == 0
        assert states(reconciler)[0] == "Boot_Unknown"

    def test_one_that_does_not_react_is_stopped_hard(self, reconciler: Shell, stage: Stage) -> None:
        stage.actors.halt = lambda instance: None  # type: ignore[method-assign]
        ran = reconciler("stop", "1", "--wait-timeout", "0.3")
        assert ran.status == ExitStatus.TIMED_OUT
        assert "machine 1 is still Shutdown_Poweroff after " in ran.err
        assert reconciler("stop", "--hard", "1") == Ran(0, "", "")
        assert states(reconciler)[0] == "Poweroff"

    def test_a_machine_that_cannot_boot_again_is_no_success(self, reconciler: Shell, stage: Stage) -> None:
        assert reconciler("stop", "1").status == 0
        threading.Timer(0.3, stage.engine.machine_failed, (1, Lcm.BOOT, "no kernel")).start()
        ran = reconciler("start", "1")
        assert ran.status == ExitStatus.INSTANCE_FAILED
        assert "machine 1 has been powered off" in ran.err

    def test_names_the_state_that_does_not_allow_it(self, reconciler: Shell, stage: Stage) -> None:
        assert reconciler("run", TTYLINUX).status == 0
        ran = reconciler("stop", "4")
        assert ran.status == ExitStatus.INSTANCE_FAILED
        assert "cannot stop machine 4 while it is Prolog" in ran.err
        stage.runs(4)
        assert reconciler("kill", "4").status == 0
        ran = reconciler("start", "4")
        assert ran.status == ExitStatus.INSTANCE_FAILED
        assert "cannot start machine 4 while it is Done (stratus-run-instance starts a new one)" in ran.err
        assert reconciler("start", "99").status == ExitStatus.NOT_FOUND

    def test_all_with_a_filter(self, reconciler: Shell) -> None:
        assert reconciler("stop", "--all", "--yes", "--filter", "label=batch", "--format", "ids").out == "1\n2\n"
        assert states(reconciler) == ["Poweroff", "Poweroff", "Running"]
        assert reconciler("start", "--dry-run", "--all", "--filter", "state=poweroff", "--format", "ids").out == "1\n2\n"


class TestReboot:
    def test_asks_the_guest_or_resets_it(self, reconciler: Shell, stage: Stage) -> None:
        assert reconciler("reboot", "1", "2") == Ran(0, "", "")
        assert stage.actors.rebooted == {1, 2}
        assert states(reconciler) == ["Running"] * 3
        assert reconciler("reboot", "--hard", "1") == Ran(0, "", "")
        assert states(reconciler)[0] == "Boot_Unknown"

    def test_needs_a_machine_that_runs(self, reconciler: Shell) -> None:
        assert reconciler("stop", "1").status == 0
        ran = reconciler("reboot", "1")
        assert ran.status == ExitStatus.INSTANCE_FAILED
        assert "cannot reboot machine 1 while it is Poweroff (start it: stratus-start-instance 1)" in ran.err


class TestUpdate:
    def named(self, shell: Shell) -> list[str]:
        return shell("describe", "1", "2", "3", "--columns", "name,label", "--format", "csv", "--no-header").out.splitlines()

    def test_gives_a_name_and_labels(self, reconciler: Shell) -> None:
        assert reconciler("update", "1", "--name", "web 1", "--label", "night", "--remove-label", "batch") == Ran(0, "", "")
        assert self.named(reconciler) == ["web 1,night", "one-2,batch", "front,"]
        ran = reconciler("update", "--all", "--yes", "--label", "batch", "--format", "ids")
        assert ran == Ran(0, "1\n2\n3\n", "")
        assert [line.rpartition(",")[2] for line in self.named(reconciler)] == ['batch"', "batch", "batch"]
        assert reconciler("update", "front", "--remove-label", "batch").status == 0
        assert self.named(reconciler)[2] == "front,"
        assert reconciler("describe", "web 1", "--columns", "id", "--no-header").out == "1\n"

    def test_refuses_what_makes_no_sense(self, reconciler: Shell) -> None:
        assert reconciler("update", "1").status == ExitStatus.USAGE
        assert reconciler("update", "1", "2", "--name", "web").status == ExitStatus.USAGE
        assert reconciler("update", "--all", "--yes", "--name", "web").status == ExitStatus.USAGE
        assert reconciler("update", "1", "--label", "a,b").status == ExitStatus.USAGE
        assert self.named(reconciler)[0] == "one-1,batch"


SINCE_4 = sorted(name for name, profile in SERVER_PROFILES.items() if profile.number >= (4,))


@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
def test_every_server_stops_starts_and_renames(shell: Shell, stage: Stage, serve: Serve, profile: str) -> None:
    served = serve(users={"alice": "secret"}, profile=profile)
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    shell.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"] = served.marketplace
    assert shell("run", TTYLINUX).status == 0
    stage.runs(1)
    if profile not in SINCE_4:
        for command in (("stop", "1"), ("update", "1", "--name", "web")):
            ran = shell(*command)
            assert ran.status == ExitStatus.FAILED
            assert ran.err.count("\n") == 1
        stage.halts(1)
        assert shell("start", "1", "--no-wait") == Ran(0, "", "")
        return
    assert shell("update", "1", "--name", "a<b", "--label", "c").status == ExitStatus.FAILED  # and adds no label
    assert shell("update", "1", "--name", "web", "--label", "a", "--label", "b") == Ran(0, "", "")
    assert shell("stop", "web") == Ran(0, "", "")
    assert shell("start", "web", "--no-wait") == Ran(0, "", "")
    assert stage.engine.machine_reached(1, Lcm.RUNNING)
    assert shell("start", "web") == Ran(0, "", "")  # it runs already
    assert shell("reboot", "--hard", "web") == Ran(0, "", "")
    assert shell("update", "web", "--remove-label", "a", "--remove-label", "b") == Ran(0, "", "")
    assert shell("describe", "web", "--columns", "name,label", "--no-header", "--format", "csv").out == "web,\n"


def test_a_label_has_no_comma(alice: Shell) -> None:
    assert alice("run", "--label", "a,b", TTYLINUX).status == ExitStatus.USAGE
    assert alice("run", "--name-prefix", "a", "--vm-name", "b", TTYLINUX).status == ExitStatus.USAGE
