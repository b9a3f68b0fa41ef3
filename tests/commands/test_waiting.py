"""--wait-for, --watch and --console, against the embedded cloud through HTTP and in-process."""

from __future__ import annotations

import _thread
import argparse
import io
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pexpect
import pytest

from stratuslab.commands.describe_instance import COMMAND as DESCRIBE
from stratuslab.commands.main import main
from stratuslab.commands.session import Session
from stratuslab.commands.shared.waiting import Waited, wait
from stratuslab.environment import Environment
from stratuslab.errors import AuthenticationError, ExitStatus, NotFound, Unreachable
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.status_and_reset import reset
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Lcm
from stratuslab.output.messages import Messages
from tests.diagnosis.documents import vm
from tests.fakes.faulty_proxy import Fault, FaultyProxy
from tests.fakes.mishaps import bad_gateway, halved
from tests.fakes.scripted_server import Conversation, ScriptedServer, document
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Shell, Terminal

UNKNOWN_IMAGE = "A" * 27


class Script:
    """Does one thing to the cloud each time that it is asked how its machines are, before it answers. What returns False was
    not possible yet, and is tried again."""

    def __init__(self, stage: Stage) -> None:
        self.acts: list[Callable[[], object]] = []
        self._reconcile = stage.engine.reconciler.reconcile
        self._acting = False
        stage.engine.reconciler.reconcile = self._next  # type: ignore[method-assign]

    def _next(self, only: int | None = None) -> None:
        if self.acts and not self._acting:
            self._acting = True
            try:
                if self.acts[0]() is not False:
                    self.acts.pop(0)
            finally:
                self._acting = False
        self._reconcile(only)


@pytest.fixture
def script(stage: Stage) -> Script:
    return Script(stage)


def reaches(stage: Stage, number: int, *path: Lcm) -> list[Callable[[], object]]:
    def reach(step: Lcm) -> bool:
        return number in stage.actors.living and stage.engine.machine_reached(number, step)

    return [partial(reach, step) for step in path]


def fails(stage: Stage, number: int, message: str) -> Callable[[], object]:
    return lambda: stage.engine.machine_failed(number, Lcm.PROLOG, message)


def test_run_waits_until_running(alice: Shell, stage: Stage, script: Script) -> None:
    plain = alice("run", TTYLINUX)
    script.acts = reaches(stage, 2, Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING)
    ran = alice("run", "--wait-for", "running", TTYLINUX)
    assert (ran.status, ran.err) == (0, "")  # no progress where nobody sees it
    assert ran.out == plain.out.replace("ID: 1", "ID: 2").replace("127.101.0.1", "127.101.0.2")
    assert alice("describe", "2").out.splitlines()[1].split()[1] == "Running"


@pytest.mark.parametrize("form", ["json", "table"])
def test_run_reports_the_state_that_was_reached(alice: Shell, stage: Stage, script: Script, form: str) -> None:
    script.acts = [
        *reaches(stage, 1, Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING),
        *reaches(stage, 2, Lcm.PROLOG),
        fails(stage, 2, "Image sha1 checksum check failed."),
    ]
    shape = ["--format", form, "--columns", "id,state,cause"]
    ran = alice("run", "-n", "2", "--wait-for", "running", *shape, TTYLINUX)
    assert ran.status == ExitStatus.PARTIAL
    if form == "json":
        assert sorted(json.loads(ran.out)["instances"], key=lambda one: str(one["id"])) == [
            {"id": 1, "state": "Running", "cause": None},
            {"id": 2, "state": "Prolog_Failure", "cause": "checksum"},
        ]
    else:
        assert sorted(line.split() for line in ran.out.splitlines()[1:]) == [
            ["1", "Running", "-"],
            ["2", "Prolog_Failure", "checksum"],
        ]


def test_a_failure_ends_with_the_explanation(alice: Shell, stage: Stage, script: Script) -> None:
    script.acts = [*reaches(stage, 1, Lcm.PROLOG), fails(stage, 1, "Image sha1 checksum check failed.")]
    ran = alice("run", "-q", "--wait-for", "running", TTYLINUX)
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert ran.out == "1, 127.101.0.1\n"
    assert re.fullmatch(
        r"stratus-run-instance: machine 1 failed on localhost \d+ s ago while preparing its disks \(prolog\): "
        r'"Image sha1 checksum check failed\."; likely cause: the downloaded image does not match .*\n',
        ran.err,
    )
    assert "Prolog_Failure" in alice("describe", "1").out  # it is left alone


def test_kill_on_failure(alice: Shell, stage: Stage, script: Script) -> None:
    script.acts = [*reaches(stage, 1, Lcm.PROLOG), fails(stage, 1, "no")]
    ran = alice("run", "-q", "--wait-for", "running", "--kill-on-failure", TTYLINUX)
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert ran.err.endswith(" (it was killed already: --kill-on-failure)\n")
    assert "Done" in alice("describe", "1").out
    assert alice("run", "--kill-on-failure", TTYLINUX).status == ExitStatus.USAGE


def test_several_of_which_one_fails(alice: Shell, stage: Stage, script: Script) -> None:
    script.acts = [
        *reaches(stage, 1, Lcm.PROLOG),
        *reaches(stage, 2, Lcm.PROLOG),
        fails(stage, 2, "no"),
        *reaches(stage, 1, Lcm.BOOT, Lcm.RUNNING),
    ]
    ran = alice("run", "-q", "-n", "2", "--wait-for", "running", TTYLINUX)
    assert ran.status == ExitStatus.PARTIAL
    assert "machine 2 failed on localhost" in ran.err
    assert "1 of 2 machines failed" in ran.err


def test_time_out_tells_the_state_that_was_reached(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    ran = alice("describe", "--wait-for", "running", "--timeout", "0.3", "1")
    assert ran.status == ExitStatus.TIMED_OUT
    assert "1   Prolog " in ran.out
    hint = "wait longer with --wait-timeout"
    assert re.fullmatch(rf"stratus-describe-instance: machine 1 is still Prolog after \d+ s \({hint}\)\n", ran.err)
    stage.engine.allocate(stage.engine.user("alice"), "CPU=9999\nMEMORY=64")
    ran = alice("describe", "--wait-for", "prolog", "--timeout", "0.1", "2")
    assert ran.status == ExitStatus.TIMED_OUT
    assert re.search(r"machine 2 is still Pending after \d+ s, it waits for a host", ran.err)
    assert "Not enough CPU on hosts: 0" in ran.err


@pytest.mark.parametrize(("goal", "status"), [("done", 0), ("running", 6), ("ssh", 6), ("Poweroff", 6)])
def test_what_is_done_reaches_nothing_else(alice: Shell, stage: Stage, goal: str, status: int) -> None:
    alice("run", TTYLINUX)
    stage.runs(1)
    alice("kill", "1")
    ran = alice("describe", "--wait-for", goal, "1")
    assert ran.status == status
    assert "1   Done " in ran.out
    if status:
        assert re.search(r"machine 1 ended \d+ s ago; its resources are released", ran.err)


def test_any_state_is_waited_for(alice: Shell, stage: Stage, script: Script) -> None:
    alice("run", TTYLINUX)
    stage.runs(1)
    script.acts = [lambda: None, lambda: stage.halts(1)]
    ran = alice("describe", "--wait-for", "unknown")
    assert (ran.status, ran.err) == (0, "")
    assert "1   Unknown " in ran.out
    assert alice("describe", "--wait-for", "sleeping", "1").status == ExitStatus.USAGE
    assert alice("describe", "--wait-for", "running", "77").status == ExitStatus.NOT_FOUND


def test_a_state_on_the_way_is_reached_by_what_is_behind_it(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    stage.runs(1)
    for goal in ("pending", "prolog", "boot", "running"):
        assert alice("describe", "--wait-for", goal, "1").status == 0


def test_nothing_to_wait_for(alice: Shell) -> None:
    ran = alice("describe", "--wait-for", "running")
    assert ran.status == 0
    assert ran.out.count("\n") == 1


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e99"])
def test_a_timeout_that_is_none(alice: Shell, text: str) -> None:
    ran = alice("run", "--wait-for", "ssh", f"--timeout={text}", TTYLINUX)
    assert ran.status == ExitStatus.USAGE
    assert alice("describe").out.count("\n") == 1  # nothing was started


@pytest.fixture
def local(shell: Shell) -> Iterator[Shell]:
    """A user of the embedded cloud in-process, whose machines are ended afterwards."""
    shell.environ["STRATUSLAB_ENDPOINT"] = "local"
    yield shell
    engine = Engine(Path(shell.environment()["STRATUSLAB_LOCAL_DIR"]))
    reset(engine)
    engine.close()


def test_ssh_means_that_ssh_answers(local: Shell) -> None:
    ran = local("run", "-q", "--wait-for", "ssh", TTYLINUX)
    assert (ran.status, ran.err) == (0, "")
    assert local("describe", "--wait-for", "ssh", "1").status == 0
    console = local("describe", "--console", "one-1")
    assert console.status == 0
    assert "login ready" in console.out
    assert local("kill", "1").status == 0
    assert "the log is removed when it is done" in local("describe", "--console", "1").err


def test_ssh_of_a_machine_that_does_not_answer(alice: Shell, stage: Stage) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        alice("run", TTYLINUX)
        stage.runs(1)
        stage.engine.machine_listens(1, "127.0.0.1", silent.getsockname()[1])
        ran = alice("describe", "--wait-for", "ssh", "--timeout", "0.5", "1")
    assert ran.status == ExitStatus.TIMED_OUT
    assert "machine 1 is still Running after" in ran.err
    assert ", no SSH server answered (localhost port" in ran.err


def test_ssh_is_waited_for_behind_translated_ports(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    stage.runs(1)
    with closing(ScriptedServer(lambda client: client.send(b"SSH-2.0-Gateway\r\n"))) as gateway:
        ports = json.dumps({"1": [[22, gateway.port]]}).encode()
        with closing(ScriptedServer(document(ports, kind="application/json"))) as service:
            alice.environ.update(STRATUSLAB_PORT_TRANSLATION="yes", STRATUSLAB_PAT_SERVICE_HOST=f"127.0.0.1:{service.port}")
            assert alice("describe", "--wait-for", "ssh", "--timeout", "20", "1").status == 0
            assert len(service.requests) == 1


def test_a_slow_ssh_server_is_given_its_time(alice: Shell, stage: Stage) -> None:
    """One that looks up the client's name first, longer than the pause between looks at the cloud."""

    def slow(conversation: Conversation) -> None:
        conversation.closing.wait(2.5)
        conversation.send(b"SSH-2.0-Slow\r\n")

    with closing(ScriptedServer(slow)) as there:
        alice("run", TTYLINUX)
        stage.runs(1)
        stage.engine.machine_listens(1, "127.0.0.1", there.port)
        assert alice("describe", "--wait-for", "ssh", "--wait-timeout", "20", "1").status == 0
        assert there.connections == 1


def test_a_machine_that_goes_away_while_ssh_is_waited_for(alice: Shell, stage: Stage, script: Script) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        alice("run", TTYLINUX)
        stage.runs(1)
        stage.engine.machine_listens(1, "127.0.0.1", closed.getsockname()[1])
        script.acts = [lambda: None, lambda: stage.halts(1)]
        ran = alice("describe", "--wait-for", "ssh", "1")
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert "it has probably shut down" in ran.err


def test_the_console_of_another_cloud(alice: Shell) -> None:
    alice("run", TTYLINUX)
    ran = alice("describe", "--console", "1")
    assert (ran.status, ran.out) == (ExitStatus.USAGE, "")
    assert "only be read on the embedded cloud" in ran.err


def test_the_console_of_an_instance_that_never_ran(local: Shell) -> None:
    ran = local("run", "--no-check-image-url", UNKNOWN_IMAGE)
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert "is not in this cloud's Marketplace" in ran.err
    assert "vm ID: 1" in ran.out
    assert "Done!" not in ran.out
    ran = local("describe", "--console", "1")
    assert (ran.status, ran.out) == (ExitStatus.FAILED, "")
    assert "it is PROLOG_FAILURE" in ran.err
    assert local("describe", "--console", "77").status == ExitStatus.NOT_FOUND


def test_the_last_lines_of_the_console_of_what_failed(local: Shell) -> None:
    local("run", "--no-check-image-url", UNKNOWN_IMAGE)
    log = Path(local.environment()["STRATUSLAB_LOCAL_DIR"], "instances", "1", "console.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"line {number}\x1b[2J\x1b]0;x\n" for number in range(30)))
    out = local("describe", "-vv", "1").out
    assert "  console    last lines\n    line 20?]0;x\n" in out
    assert "line 19" not in out
    assert "line 29?]0;x\n" in out


def test_watch_ends_when_nothing_can_change(alice: Shell, stage: Stage, script: Script) -> None:
    alice("run", "-n", "2", TTYLINUX)
    stage.runs(1)
    stage.engine.machine_reached(2, Lcm.PROLOG)
    script.acts = [lambda: None, lambda: stage.halts(1), lambda: None, fails(stage, 2, "no")]
    ran = alice("describe", "--watch", "0.1")
    assert (ran.status, ran.err) == (0, "")
    # In a pipe a table is told when it differs from the last one, with a blank line between them.
    tables = ran.out.split("\n\n")
    assert [[line.split()[1] for line in table.splitlines()[1:]] for table in tables] == [
        ["Running", "Prolog"],
        ["Unknown", "Prolog"],
        ["Unknown", "Prolog_Failure"],
    ]


def test_watch_shows_tables(alice: Shell) -> None:
    assert alice("describe", "--watch", "--format", "json").status == ExitStatus.USAGE
    assert alice("describe", "--watch", "one-1").status == ExitStatus.USAGE
    assert alice("describe", "--watch") == alice("describe")
    assert alice("describe", "--watch", "--wait-for", "done").status == ExitStatus.USAGE


def test_filters_are_for_blocks_and_watches_too(alice: Shell, stage: Stage) -> None:
    alice("run", "-n", "2", TTYLINUX)
    stage.runs(1)
    stage.runs(2)
    alice("kill", "2")
    out = alice("describe", "-vv", "--filter", "state=Done", "1", "2").out
    assert "2 one-2: Done" in out
    assert "1 one-1: Running" not in out
    assert alice("describe", "--watch", "--filter", "state=Done", "1", "2").status == 0


def test_progress_at_a_terminal_is_gone_at_the_end(alice: Shell, stage: Stage, script: Script) -> None:
    alice("run", TTYLINUX)
    script.acts = [lambda: None, *reaches(stage, 1, Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING)]
    err = Terminal()
    environment = Environment(None, io.StringIO(), err, alice.environment())
    assert main(DESCRIBE, ["--wait-for", "running", "1"], environment) == 0
    shown = err.getvalue().split("\r")
    assert shown[0] == "stratus-describe-instance: waiting until machine 1 is running, at most 10 min\n"
    assert shown[1].startswith("machine 1: Prolog, ")
    assert any(text.startswith("machine 1: Boot, ") for text in shown)
    assert shown[-1].startswith("stratus-describe-instance: machine 1 is running after ")
    assert set(shown[-2]) == {" "}


def test_done_is_said_after_the_wait_and_the_next_step_at_a_terminal(alice: Shell, stage: Stage, script: Script) -> None:
    alice.terminal = True
    script.acts = reaches(stage, 1, Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING)
    ran = alice("run", "--wait-for", "running", TTYLINUX)
    assert ran.out.endswith(" :: Done!\n")
    assert ran.err.endswith("stratus-run-instance: log in with: stratus-connect-instance 1\n")
    assert "machine 1 is running after" in ran.err
    late = alice("run", "--wait-for", "running", "--wait-timeout", "0", TTYLINUX)
    assert late.status == ExitStatus.TIMED_OUT
    assert "Done!" not in late.out
    assert "log in" not in late.err
    assert "log in" not in alice("run", "-q", TTYLINUX).err


def test_watch_at_a_terminal(local: Shell) -> None:
    """A real one: the table is drawn over the one before, and Ctrl-C leaves the cursor below it."""
    assert local("run", "-q", "--wait-for", "ssh", TTYLINUX).status == 0
    person = pexpect.spawn(
        sys.executable,
        [str(CHECKOUT / "bin" / "stratus-describe-instance"), "--watch", "0.2"],
        env={**local.environment(), "PYTHONPATH": str(CHECKOUT), "TERM": "xterm"},
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 80),
    )
    person.expect_exact("id  state")
    for _ in range(2):
        person.expect_exact("\x1b[2F\x1b[Jid  state")
        person.expect("1 +Running .* one-1\r\n")
    person.sendintr()
    person.expect_exact("^Cstratus-describe-instance: interrupted\r\n")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == ExitStatus.INTERRUPTED


def test_vv_of_a_failure_tells_all(alice: Shell, stage: Stage, script: Script) -> None:
    script.acts = [*reaches(stage, 1, Lcm.PROLOG), fails(stage, 1, "no")]
    ran = alice("run", "-vv", "--wait-for", "running", TTYLINUX)
    assert "1 one-1: Prolog_Failure" in ran.err
    assert "X failed" in ran.err
    assert "one-1" not in ran.out


def test_reasons_for_scripts(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    stage.engine.machine_reached(1, Lcm.PROLOG)
    stage.engine.machine_failed(1, Lcm.PROLOG, "no space left")
    (found,) = json.loads(alice("describe", "--format", "json").out)["instances"]
    assert found["cause"] == "no space"
    assert found["reason"].startswith("failed on localhost ")
    assert alice("describe", "--columns", "id,cause", "--no-header").out.split() == ["1", "no", "space"]


def test_ctrl_c_clears_the_progress(alice: Shell) -> None:
    class Watched(Terminal):
        pressed = False

        def write(self, text: str) -> int:
            if "\r" in self.getvalue() and not self.pressed:  # the progress is there, and is drawn again
                self.pressed = True
                _thread.interrupt_main()
            return super().write(text)

    alice("run", TTYLINUX)
    err = Watched()
    environment = Environment(None, io.StringIO(), err, alice.environment(), reverse_lookup=alice.names)
    assert main(DESCRIBE, ["--wait-for", "running", "1"], environment) == ExitStatus.INTERRUPTED
    assert err.getvalue().endswith(" \rstratus-describe-instance: interrupted\n")


def test_ctrl_c_while_run_waits_tells_what_goes_on(alice: Shell, stage: Stage, script: Script) -> None:
    # Once both run, and were looked for once more, the next question but one can only be that of the wait.
    script.acts = [lambda: len(stage.actors.living) == 2, lambda: None, lambda: None, _thread.interrupt_main]
    ran = alice("run", "-n", "2", "--wait-for", "running", TTYLINUX)
    assert ran.status == ExitStatus.INTERRUPTED
    assert "stratus-run-instance: stopped waiting; these machines keep running: 1, 2\n" in ran.err


class Moody:
    """A cloud that answers each question with the next of these instances, or fails with the next of these errors."""

    def __init__(self, *answers: Instance | Exception) -> None:
        self._answers = list(answers)

    def instance(self, number: int) -> Instance:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def session_at(*answers: Instance | Exception) -> Session:
    session = Session(argparse.Namespace(), Environment(None, None, None, {}), Messages(None, ""))
    session.__dict__["cloud"] = Moody(*answers)
    return session


def waited_for(*answers: Instance | Exception, seconds: float = 60) -> Waited:
    return wait(session_at(*answers), [42], "Running", seconds)


def test_a_cloud_that_goes_away_for_a_moment_is_asked_again() -> None:
    lost = Unreachable("no answer")
    for waited in (waited_for(vm(3, Lcm.PROLOG), lost, lost, vm(3, Lcm.RUNNING)), waited_for(lost, vm(3, Lcm.RUNNING))):
        assert (waited.reached, waited.errors) == ([42], {})
    # In the end it is the cloud that failed.
    assert waited_for(vm(3, Lcm.PROLOG), lost, lost, lost, seconds=0.3).errors == {42: lost}
    assert waited_for(lost, lost, lost, lost, seconds=0.3).errors == {42: lost}


def test_what_is_not_a_moment_ends_the_waiting() -> None:
    never = Unreachable("nothing there speaks XML-RPC", lasting=True)
    assert waited_for(never).errors == {42: never}
    assert waited_for(vm(3, Lcm.PROLOG), never, vm(3, Lcm.RUNNING)).reached == [42]  # but it was there a moment ago
    for error in (AuthenticationError("no"), NotFound("no")):
        assert waited_for(vm(3, Lcm.PROLOG), error).errors == {42: error}


@pytest.mark.parametrize(
    "arguments",
    [
        ("describe", "--wait-for", "running", "1"),
        ("describe", "--wait-for", "running"),
        ("describe", "--wait-for", "running", "one-1"),
        ("describe", "--watch", "0.1", "1"),
        ("describe", "--watch", "0.1"),
        ("connect", "--address", "127.0.0.1", "-p", "1", "--wait-timeout", "3", "1"),
        ("connect", "--address", "127.0.0.1", "-p", "1", "--wait-timeout", "3", "one-1"),
        ("run", "--wait-for", "running", TTYLINUX),
        ("shutdown", "1"),
    ],
)
def test_every_wait_forgives_unreachable_moments(alice: Shell, stage: Stage, script: Script, arguments: tuple[str, ...]) -> None:
    """A proxy in front of the cloud fails at the first looks, and at some later ones."""
    alice("run", TTYLINUX)
    stage.runs(1)
    if "--watch" in arguments:
        stage.halts(1)
    script.acts = reaches(stage, 2, Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING) if arguments[0] == "run" else []
    moments: list[Fault | None] = [bad_gateway, halved, None, bad_gateway]
    if arguments[0] == "run":
        moments = [None, *moments]  # the look at what was started is not of the waiting
    pool: list[Fault | None] = [bad_gateway]
    faults = {"one.vm.info": moments, "one.vmpool.info": pool, "one.vmpool.infoextended": [*pool]}
    with closing(FaultyProxy(alice.environ["STRATUSLAB_ENDPOINT"], faults)) as proxy:
        alice.environ["STRATUSLAB_ENDPOINT"] = proxy.url
        ran = alice(*arguments, "-v")
    assert "HTTP 502 Bad Gateway; asking again" in ran.err
    assert ran.status == (ExitStatus.TIMED_OUT if arguments[0] == "connect" else 0), ran.err
    if arguments[0] == "connect":
        assert "no SSH server answered" in ran.err


def test_a_watch_ends_with_a_cloud_that_stays_away(alice: Shell) -> None:
    alice.environ["STRATUSLAB_ENDPOINT"] = "http://127.0.0.1:1/RPC2"
    begin = time.monotonic()
    assert alice("describe", "--watch", "--wait-timeout", "0.3").status == ExitStatus.UNREACHABLE
    assert alice("describe", "--wait-for", "running", "--wait-timeout", "0.3", "1").status == ExitStatus.UNREACHABLE
    with closing(ScriptedServer(document(b"<!DOCTYPE html><html></html>"))) as another:
        for wrong in ("http://nowhere.invalid/RPC2", another.url):
            alice.environ["STRATUSLAB_ENDPOINT"] = wrong
            assert alice("describe", "--watch").status == ExitStatus.UNREACHABLE
            assert alice("describe", "--wait-for", "running", "1").status == ExitStatus.UNREACHABLE
            assert alice("connect", "1").status == ExitStatus.UNREACHABLE
    assert time.monotonic() - begin < 30


def test_a_watch_shows_the_clouds_that_answer(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    stage.engine.machine_reached(1, Lcm.PROLOG)
    stage.engine.machine_failed(1, Lcm.PROLOG, "no space left")
    file = alice.home / "cfg"
    served = alice.environ["STRATUSLAB_ENDPOINT"]
    login = "username = alice\npassword = secret\n"
    file.write_text(f"[default]\n{login}[here]\nendpoint = {served}\n[gone]\nendpoint = http://127.0.0.1:1/RPC2\n")
    file.chmod(0o600)
    ran = alice("describe", "-c", str(file), "-m", "--watch", "0.1", "--wait-timeout", "0.5")
    assert ran.status == ExitStatus.PARTIAL
    assert "here  1   Prolog_Failure" in ran.out
    assert "[gone] cannot reach http://127.0.0.1:1/RPC2" in ran.err
    assert ran.err.count("[gone]") == 2, "once while it is watched, once at the end"
