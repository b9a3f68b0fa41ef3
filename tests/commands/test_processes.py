"""The installed scripts as processes: pipes, signals, streams that are closed or full, poor environments."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from tests.fakes.scripted_server import Scripted, ScriptedServer, hangs
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Ran, Shell


@pytest.fixture
def cloud(alice: Shell, stage: Stage) -> Shell:
    assert alice("run", "-n", "3", TTYLINUX).status == 0
    stage.runs(1)
    stage.runs(2)
    return alice


def piped(shell: Shell, line: str) -> Ran:
    """Run a line of shell with the scripts on the PATH."""
    environ = {**shell.environment(), "PATH": f"{CHECKOUT / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environ["PYTHONPATH"] = str(CHECKOUT)
    done = subprocess.run(
        ["bash", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environ, timeout=60, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("script", ["run", "describe", "connect", "kill"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(shell: Shell, script: str, option: str) -> None:
    ran = shell.script(f"stratus-{script}-instance", option)
    assert (ran.status, ran.err) == (0, "")
    assert f"stratus-{script}-instance" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_scripts_do_what_the_commands_do(cloud: Shell) -> None:
    assert cloud.script("stratus-describe-instance") == cloud("describe")
    assert cloud.script("stratus-kill-instance", "1", "2") == Ran(0, "", "")
    assert cloud.script("stratus-describe-instance").out.count("\n") == 2


def test_closed_pipe_is_silent(cloud: Shell) -> None:
    # head ends before the table is written, so that the write meets a pipe that nobody reads.
    ran = piped(cloud, "{ sleep 0.2; stratus-describe-instance; echo $? >&2; } | true")
    assert ran.err == f"{ExitStatus.BROKEN_PIPE:d}\n"
    assert piped(cloud, "stratus-describe-instance | head -1").err == ""


def test_what_was_started_is_told_also_when_nobody_reads_the_answer(cloud: Shell, stage: Stage) -> None:
    ran = piped(cloud, f"{{ stratus-run-instance -n 40 {TTYLINUX}; echo $? >&2; }} | head -4 >/dev/null")
    *messages, status = ran.err.splitlines()
    assert int(status) == ExitStatus.BROKEN_PIPE
    begun = {row[0] for row in stage.engine.store.query("SELECT id FROM instances WHERE id > 3")}
    untold = {int(number) for line in messages for number in line.rpartition("started: ")[2].split(", ")}
    assert len(begun) < 40
    assert begun - untold <= {4, 5, 6, 7, 8, 9}
    assert untold <= begun


def test_full_disk_is_said(cloud: Shell) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    ran = piped(cloud, "stratus-describe-instance >/dev/full")
    assert ran.status == ExitStatus.FAILED
    assert ran.err == "stratus-describe-instance: cannot write the answer: No space left on device\n"


@pytest.mark.parametrize("more", ["", "-n 3", "-n 2 --format json"])
def test_an_id_that_cannot_be_written_is_named(alice: Shell, stage: Stage, tmp_path: Path, more: str) -> None:
    # With this limit each write to a file fails as on a full disk, while pipes and sockets work.
    ran = piped(
        alice, f"ulimit -f 0; stratus-run-instance {more} -o {tmp_path / 'ids'} {TTYLINUX} | cat; exit ${{PIPESTATUS[0]}}"
    )
    assert ran.status == ExitStatus.FAILED
    for (number,) in stage.engine.store.query("SELECT id FROM instances"):
        assert f'machine {number} was started, but cannot write "{tmp_path / "ids"}": File too large' in ran.err
    assert "internal error" not in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("client", [["paramiko"], ["paramiko", "openssh"]][shutil.which("ssh") is not None])
def test_a_full_disk_is_said_of_what_machines_answer(shell: Shell, client: str) -> None:
    shell.environ["STRATUSLAB_ENDPOINT"] = "local"
    try:
        (shell.home / ".ssh" / "id_ed25519.pub").unlink()
        assert shell("run", "-n", "2", TTYLINUX).status == 0
        for ids in ("1 2", *(["1"] if client == "paramiko" else [])):  # what ssh itself writes is not ours
            ran = piped(shell, f"stratus-connect-instance --ssh-client {client} {ids} -- hostname >/dev/full")
            assert ran.status == ExitStatus.FAILED, ran.err
            assert "cannot write the answer: No space left on device" in ran.err
            assert "internal error" not in ran.err
            assert "Exception" not in ran.err
    finally:
        shell("kill", "-q", "--all", "--yes")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-k", "{}", TTYLINUX),
        ("run", "-o", "{}", TTYLINUX),
        ("run", "--context-file", "{}", TTYLINUX),
        ("run", "--cloud-init", "none,{}", TTYLINUX),
        ("run", "-u", "jane", "--endpoint", "http://127.0.0.1:1/RPC2", "--password-file", "{}", TTYLINUX),
        ("describe", "--pem-cert", "{}", "--endpoint", "https://127.0.0.1:1/RPC2"),
        ("kill", "-i", "{}"),
        ("connect", "-k", "{}", "1"),
        ("config", "-c", "{}"),
        ("copy_config", "-c", "{}"),
        ("local_cloud", "add-entry", "{}"),
        ("local_cloud", "add-image", "{}"),
    ],
)
def test_a_file_that_the_system_refuses_is_no_internal_error(shell: Shell, arguments: tuple[str, ...]) -> None:
    for name in ("a" * 5000, str(shell.home), "/dev/null/a"):
        ran = shell(*(argument.format(name) for argument in arguments))
        assert ran.status not in (0, ExitStatus.UNREACHABLE)
        assert "internal error" not in ran.err


def test_what_was_started_is_told_where_the_answer_cannot_be(alice: Shell) -> None:
    for place, (output, status) in enumerate(((">&-", ExitStatus.FAILED), ("| true", 0)), 1):
        ran = piped(alice, f"stratus-run-instance --format json {TTYLINUX} {output}")
        assert ran.status == status
        assert f"stratus-run-instance: started: {place}\n" in ran.err


def test_closed_streams(cloud: Shell) -> None:
    ran = piped(cloud, "stratus-describe-instance >&-")
    assert (ran.status, ran.err.count("\n")) == (ExitStatus.FAILED, 1)
    assert piped(cloud, "stratus-describe-instance 2>&-").status == 0
    assert piped(cloud, "stratus-describe-instance <&-").status == 0
    assert piped(cloud, "stratus-kill-instance 1 <&- >&- 2>&-").status == 0


def test_an_environment_as_cron_has_it(cloud: Shell) -> None:
    keep = {name: value for name, value in cloud.environ.items() if name.startswith("STRATUSLAB_")}
    environ = {**keep, "PYTHONPATH": str(CHECKOUT), "LANG": "C", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "bin" / "stratus-describe-instance")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 4


def test_names_beyond_the_character_set_are_shown_somehow(cloud: Shell) -> None:
    assert cloud("run", "--vm-name", "Žluťoučký", TTYLINUX).status == 0
    ran = cloud.script("stratus-describe-instance", environ={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert ran.status == 0
    assert ran.out.splitlines()[4].endswith("\\u017dlu\\u0165ou\\u010dk\\xfd")


@pytest.fixture
def silent(scripted: Scripted) -> ScriptedServer:
    return scripted(hangs)


def interrupted(
    shell: Shell, script: str, *arguments: str, reached: Callable[[], bool], by: signal.Signals = signal.SIGINT
) -> Ran:
    """Start a script, send it Ctrl-C's signal (or another) when ``reached`` says so, and wait for its end."""
    process = shell.begin(script, *arguments)
    deadline = time.monotonic() + 20
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(by)
    out, err = process.communicate(timeout=30)
    return Ran(process.returncode, out, err)


def test_ctrl_c_while_waiting(shell: Shell, silent: ScriptedServer) -> None:
    shell.environ.update(STRATUSLAB_ENDPOINT=silent.url, STRATUSLAB_USERNAME="a", STRATUSLAB_PASSWORD="b")
    ran = interrupted(shell, "stratus-describe-instance", reached=lambda: silent.connections > 0)
    assert ran == Ran(ExitStatus.INTERRUPTED, "", "stratus-describe-instance: interrupted\n")


def test_ctrl_c_while_modules_load(shell: Shell) -> None:
    program = """
import sys

class Impatient:
    def find_spec(self, name, path, target=None):
        if name == "stratuslab.commands.command_declaration":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
from stratuslab.commands import run
run("describe_instance")
"""
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (ExitStatus.INTERRUPTED, "", "")


def test_a_full_disk_that_never_had_room_for_the_reserve(shell: Shell, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    bin_ = f"{sys.executable} {CHECKOUT / 'bin'}/stratus-"
    lines = [
        f"{bin_}run-instance -q {TTYLINUX}",
        f"dd if=/dev/zero of={disk}/fill bs=4k 2>/dev/null",
        f"{bin_}kill-instance 1",
        f"{bin_}run-instance -q {TTYLINUX}",
        f"{bin_}describe-instance --format ids",
        f"rm {disk}/fill; {bin_}kill-instance --all --yes",
        f"{bin_}describe-instance --format ids",
    ]
    script = "".join(f"{line}; echo status $?\n" for line in lines)
    inside = ["unshare", "-m", "/bin/sh", "-c", f'mount -t tmpfs -o size=3m tmpfs {disk} && "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT), "STRATUSLAB_LOCAL_DIR": str(disk / "cloud")}
    done = subprocess.run([*inside, "sh", "-c", script], capture_output=True, text=True, env=environ, timeout=100, check=False)
    statuses = [line.removeprefix("status ") for line in done.stdout.splitlines() if line.startswith("status ")]
    assert (statuses[0], statuses[-2:]) == ("0", ["0", "0"]), done
    # What is left of the last block is sometimes enough.
    assert set(statuses) <= {"0", "1"}
    assert done.stderr.count("the disk is full") >= statuses[2:].count("1")
    assert done.stdout.endswith("status 0\nstatus 0\n")
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr


@pytest.mark.parametrize("files", [5, 6, 7, 8, 12])
def test_few_open_files(alice: Shell, files: int) -> None:
    """At home and at a server: each command says what it cannot do, or does it."""
    for environ in ({}, {"STRATUSLAB_ENDPOINT": "local", "STRATUSLAB_MARKETPLACE_ENDPOINT": "local"}):
        for command in ("describe-instance -v", "kill-instance 99", f"run-instance --dry-run {TTYLINUX}", "local-cloud status"):
            line = f"ulimit -n {files}; exec {sys.executable} {CHECKOUT / 'bin'}/stratus-{command}"
            variables = {**alice.environment(), "PYTHONPATH": str(CHECKOUT), **environ}
            done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=variables, timeout=60, check=False)
            assert done.returncode in (0, 1, 4, 8), done
            assert "Traceback" not in done.stderr and "internal error" not in done.stderr
            assert done.returncode == 0 or done.stderr.splitlines()[-1].startswith("stratus")


def test_a_sigterm_just_after_the_handler_is_set(shell: Shell) -> None:
    program = """
import os, signal

usual = signal.signal

def deadly(number, handler):
    before = usual(number, handler)
    if number == signal.SIGTERM:
        os.kill(os.getpid(), number)
    return before

signal.signal = deadly
from stratuslab.commands import run
run("describe_instance")
"""
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (ExitStatus.TERMINATED, "", "stratus-describe-instance: terminated\n")


@pytest.mark.parametrize(
    ("by", "status"),
    [
        (signal.SIGINT, ExitStatus.INTERRUPTED),
        (signal.SIGTERM, ExitStatus.TERMINATED),
        (signal.SIGHUP, ExitStatus.HUNG_UP),
    ],
)
def test_what_was_started_before_ctrl_c_is_reported(
    shell: Shell, stage: Stage, serve: Serve, tmp_path: Path, by: signal.Signals, status: ExitStatus
) -> None:
    served = serve(users={"alice": "secret"})
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    shell.environ.update(STRATUSLAB_MARKETPLACE_ENDPOINT=served.marketplace)
    ids = tmp_path / "ids"

    def some() -> bool:
        return ids.exists() and ids.read_text().count("\n") >= 2

    ran = interrupted(shell, "stratus-run-instance", "-q", "-n", "400", "-o", str(ids), TTYLINUX, reached=some, by=by)
    assert ran.status == status
    told = {line.partition(",")[0] for line in ran.out.splitlines()}
    there = {str(row[0]) for row in stage.engine.store.query("SELECT id FROM instances")}
    assert told == there == set(ids.read_text().split())
    assert 2 <= len(told) < 400
    assert f"stratus-run-instance: started: {', '.join(sorted(there, key=int))}\n" in ran.err


def test_ssh_gets_no_passwords(cloud: Shell, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f"#!/bin/sh\nenv >>{seen}\nexit 255\n")
    ssh.chmod(0o755)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "STRATUSLAB_P12_PASSWORD": "secret",
        "HTTPS_PROXY": "http://jane:secret@127.0.0.1:1",
        "no_proxy": "127.0.0.1",
        "SSH_ASKPASS": "mine",
    }
    assert cloud.script("stratus-connect-instance", "--wait-timeout", "0.1", "1", environ=environ).status != 0
    assert "secret" not in seen.read_text()
    assert "SSH_ASKPASS=mine\n" in seen.read_text()
    assert "no_proxy=127.0.0.1\n" in seen.read_text()
