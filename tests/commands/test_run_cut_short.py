"""A run that ends otherwise than it should: what was started is named or, with --all-or-nothing, killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stratuslab.cloud.client import Cloud
from stratuslab.errors import ExitStatus
from stratuslab.opennebula.instance import Instance
from tests.fakes import mishaps
from tests.fakes.mishaps import Mishap
from tests.fakes.scripted_opennebula import Clouds, ScriptedOpenNebula
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Shell

pytestmark = pytest.mark.usefixtures("hurried")
At = Callable[..., ScriptedOpenNebula]


@pytest.fixture
def at(shell: Shell, opennebula: Clouds) -> At:
    """A scripted cloud at which this goes wrong with the requests for machines, one after the other."""

    def start(*wrong: Mishap | None) -> ScriptedOpenNebula:
        one = opennebula(mishaps={"one.vm.allocate": list(wrong)})
        shell.environ.update(STRATUSLAB_ENDPOINT=one.url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
        return one

    return start


def killed(one: ScriptedOpenNebula) -> list[object]:
    return sorted(arguments[1] for method, arguments in one.calls if method == "one.vm.action")  # type: ignore[type-var]


def threads_for(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The limit of processes leaves room for so many threads more of the package's own."""
    begin = threading.Thread.start
    begun: list[threading.Thread] = []

    def start(self: threading.Thread) -> None:
        if "Parallel" in repr(getattr(self, "_target", None)):
            if len(begun) >= number:
                raise RuntimeError("can't start new thread")
            begun.append(self)
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_where_threads_are_scarce_it_takes_longer(alice: Shell, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    threads_for(monkeypatch, threads)
    ran = alice("run", "-n", "9", "--format", "ids", TTYLINUX)
    assert (ran.status, ran.err) == (0, "")
    assert sorted(map(int, ran.out.split())) == list(range(1, 10))


def test_a_refusal_without_threads(shell: Shell, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    threads_for(monkeypatch, 0)
    at(None, mishaps.refused)
    ran = shell("run", "--no-check-image-url", "-n", "9", "--format", "ids", TTYLINUX)
    assert (ran.status, ran.out) == (ExitStatus.PARTIAL, "1\n")


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files"), ZeroDivisionError()])
def test_what_was_started_before_the_unforeseen_is_named(
    alice: Shell, stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, form: str
) -> None:
    look = Cloud.instance

    def fails(self: Cloud, number: int) -> Instance:
        if number == 3:
            raise error
        return look(self, number)

    monkeypatch.setattr(Cloud, "instance", fails)
    ids = tmp_path / "ids"
    ran = alice("run", "-n", "30", "--format", form, "-o", str(ids), TTYLINUX)
    there = sorted(row[0] for row in stage.engine.store.query("SELECT id FROM instances"))
    assert ran.status == ExitStatus.FAILED
    assert 3 <= len(there) < 30
    assert f"stratus-run-instance: started: {', '.join(map(str, there))}\n" in ran.err
    assert sorted(map(int, ids.read_text().split())) == there
    assert "Traceback" not in ran.err
    if not isinstance(error, ZeroDivisionError):
        assert "internal error" not in ran.err + ran.out


# --- all or nothing -------------------------------------------------------------------------------------------------------


def test_all_or_nothing_kills_what_was_started(shell: Shell, at: At, tmp_path: Path) -> None:
    one = at(None, None, mishaps.refused)
    ids = tmp_path / "ids"
    arguments = ["--no-check-image-url", "--all-or-nothing", "-n", "9", "-o", str(ids), TTYLINUX]
    ran = shell("run", "--format", "json", *arguments)
    assert ran.status == ExitStatus.FAILED
    assert killed(one) == sorted(one.machines)
    assert len(one.machines) >= 2
    listed = ", ".join(map(str, sorted(one.machines)))
    assert f"stratus-run-instance: killed what was started (--all-or-nothing): {listed}\n" in ran.err
    answer = json.loads(ran.out)
    assert answer["instances"] == []
    assert [problem["message"] for problem in answer["errors"]] == ["over quota"]
    assert ids.read_text() == ""


def test_all_or_nothing_where_all_is_well(shell: Shell, at: At) -> None:
    one = at()
    ran = shell("run", "--no-check-image-url", "--all-or-nothing", "-n", "9", "--format", "ids", TTYLINUX)
    assert (ran.status, sorted(map(int, ran.out.split()))) == (0, sorted(one.machines))
    assert killed(one) == []


def test_all_or_nothing_names_what_cannot_be_killed(shell: Shell, at: At, tmp_path: Path) -> None:
    one = at(None, mishaps.refused)
    one.mishaps["one.vm.action"] = [mishaps.refused]
    ids = tmp_path / "ids"
    arguments = ["--no-check-image-url", "--all-or-nothing", "-n", "2", "-o", str(ids), TTYLINUX]
    ran = shell("run", *arguments)
    assert ran.status == ExitStatus.FAILED
    assert "cannot kill machine 1: over quota (stratus-kill-instance 1)" in ran.err
    assert ids.read_text() == "1\n"


def test_all_or_nothing_with_ids_that_nobody_keeps(shell: Shell, at: At) -> None:
    at(None, mishaps.refused)
    ran = shell("run", "--no-check-image-url", "--all-or-nothing", "-n", "2", "-o", "/dev/null", TTYLINUX)
    assert ran.status == ExitStatus.FAILED
    assert "/dev/null" not in ran.err


def test_all_or_nothing_counts_what_it_killed(shell: Shell, at: At) -> None:
    one = at(None, None, mishaps.refused)
    one.mishaps["one.vm.action"] = [mishaps.refused]
    ran = shell("run", "--no-check-image-url", "--all-or-nothing", "-n", "3", TTYLINUX)
    assert f"2 of {len(one.machines) + 1} machines failed" in ran.err


def test_all_or_nothing_includes_the_wait(alice: Shell, stage: Stage, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of two machines does not get where it should be."""
    alice.environ["STRATUSLAB_ENDPOINT"] = serve(profile="opennebula-4").rpc
    spawn = stage.actors.spawn

    def spawn_and_run_the_first(number: int) -> None:
        spawn(number)
        if number == 1:
            threading.Timer(0.1, stage.runs, [number]).start()

    monkeypatch.setattr(stage.actors, "spawn", spawn_and_run_the_first)
    ran = alice("run", "-q", "-n", "2", "--all-or-nothing", "--wait-for", "running", "--wait-timeout", "1", TTYLINUX)
    assert ran.status == ExitStatus.TIMED_OUT
    assert ran.err.startswith("stratus-run-instance: machine 2 is still Prolog after 1 s")
    assert stage.actors.living == set()
