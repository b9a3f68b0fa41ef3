"""stratus-kill-instance and stratus-shutdown-instance: what is meant, what is asked, what is told."""

from __future__ import annotations

import threading

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.api.server_profiles import SERVER_PROFILES
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
    assert "Kill 3 of your instances (1, 2, 3)? [y/N] " in ran.err
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


def test_a_label_has_no_comma(alice: Shell) -> None:
    assert alice("run", "--label", "a,b", TTYLINUX).status == ExitStatus.USAGE
    assert alice("run", "--name-prefix", "a", "--vm-name", "b", TTYLINUX).status == ExitStatus.USAGE
