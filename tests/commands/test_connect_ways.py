"""stratus-connect-instance before SSH: waiting, addresses and ports, users, keys, what is shown and what is refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pexpect
import pytest

from stratuslab.errors import ExitStatus
from stratuslab.opennebula.states import Lcm
from stratuslab.ssh.user_public_key import make_key_pair
from tests.fakes import sshd
from tests.fakes.scripted_server import Answer, Conversation, Scripted, ScriptedServer, document, hangs
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Shell

SCRIPT = "stratus-connect-instance"


@pytest.fixture
def one(alice: Shell, stage: Stage) -> Shell:
    """Alice with a running instance, which is only acted; her key pair is whole."""
    (alice.home / ".ssh" / "id_ed25519.pub").unlink()
    make_key_pair(alice.home / ".ssh")
    assert alice("run", "--vm-name", "worker", TTYLINUX).status == 0
    stage.runs(1)
    return alice


def shown(shell: Shell, *arguments: str) -> list[str]:
    """The words of the command line that --print shows."""
    ran = shell("connect", "--print", *arguments)
    assert (ran.status, ran.err) == (0, "")
    return shlex.split(ran.out)


# What is shown


def test_print(one: Shell) -> None:
    words = shown(one, "1", "--", "echo", "it's")
    assert words[0].endswith("ssh")
    assert words[1:5] == ["-p", "22", "-l", "root"]
    assert words[-4:] == ["--", "127.101.0.1", "echo", "it's"]
    assert words[words.index("-i") + 1] == str(one.home / ".ssh" / "id_ed25519")
    assert f"UserKnownHostsFile={one.home}/.stratuslab/known_hosts" in words
    assert "StrictHostKeyChecking=accept-new" in words
    assert not (one.home / ".stratuslab").exists()


def test_print_several(one: Shell) -> None:
    assert one("run", TTYLINUX).status == 0
    ran = one("connect", "--print", "1", "77", "2", "nobody")
    assert (ran.status, ran.out.count("\n")) == (ExitStatus.PARTIAL, 2)
    assert "77" in ran.err
    assert "nobody" in ran.err


def test_print_needs_no_ssh(one: Shell, tmp_path: Path) -> None:
    one.environ["PATH"] = str(tmp_path)
    assert shown(one, "1")[0] == "ssh"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("-p", "2222"), ("127.101.0.1", "2222")),
        (("--address", "192.0.2.7"), ("192.0.2.7", "22")),
        (("--address", "2001:db8::7", "--port", "222"), ("2001:db8::7", "222")),
        (("--address", "gate.example.org"), ("gate.example.org", "22")),
        (("--nic", "0"), ("127.101.0.1", "22")),
    ],
)
def test_where_it_listens(one: Shell, options: tuple[str, ...], found: tuple[str, str]) -> None:
    words = shown(one, *options, "1")
    assert (words[-1], words[2]) == found


def test_a_port_behind_translated_ports(one: Shell, stage: Stage) -> None:
    stage.engine.machine_listens(1, "127.0.0.1", 9021)
    words = shown(one, "1")
    assert (words[-1], words[2]) == ("localhost", "9021")
    words = shown(one, "-p", "23", "1")
    assert words[2] in ("9022", "23")


def test_the_second_interface(one: Shell, stage: Stage) -> None:
    assert one("run", "--network", "public", "--network", "private", TTYLINUX).status == 0
    stage.runs(2)
    first, second = shown(one, "--nic", "0", "2")[-1], shown(one, "--nic", "1", "2")[-1]
    assert first != second
    refused = one("connect", "--nic", "2", "2")
    assert refused.status == ExitStatus.USAGE
    assert "no network interface 2 (--nic) (they are 0 to 1)" in refused.err


def test_the_user_that_the_template_names(one: Shell, stage: Stage) -> None:
    for user in ("ubuntu", "-oProxyCommand=x"):
        assert one("run", "--context", f"USERNAME={user}", TTYLINUX).status == 0
    for number in (2, 3):
        stage.runs(number)
    assert shown(one, "2")[4] == "ubuntu"
    assert shown(one, "-l", "ann", "2")[4] == "ann"
    refused = one("connect", "--print", "3")
    assert (refused.status, refused.err.count("\n")) == (ExitStatus.USAGE, 1)
    assert "(name another one with --login)" in refused.err
    assert shown(one, "-l", "root", "3")[4] == "root"


def test_jump_hosts(one: Shell) -> None:
    words = shown(one, "-J", "ann@gate.example.org:2222,10.0.0.1", "1")
    assert words[words.index("-J") + 1] == "ann@gate.example.org:2222,10.0.0.1"
    for wrong in ("", "a b", "-oProxyCommand=x", "host:99999", "a,,b", "a;b"):
        ran = one("connect", f"-J{wrong}" if wrong else "-J", *([] if wrong else [","]), "--print", "1")
        assert (ran.status, ran.err.count("\n")) == (ExitStatus.USAGE, 1)


def test_ssh_config_of_all_that_run(one: Shell, stage: Stage) -> None:
    assert one("run", "-n", "2", "--vm-name", "twin", TTYLINUX).status == 0
    assert one("run", "--vm-name", "a b*", TTYLINUX).status == 0
    for number in (2, 3, 4):
        stage.runs(number)
    stage.halts(3)
    ran = one("connect", "--ssh-config")
    assert (ran.status, ran.err) == (0, "")
    hosts = [line for line in ran.out.splitlines() if line.startswith("Host ")]
    assert sorted(hosts) == ["Host stratus-1 worker", "Host stratus-2 twin", "Host stratus-4"]
    assert [
        line for line in one("connect", "--ssh-config", "2", "1", "-p", "23", "-J", "gate").out.splitlines() if "Port" in line
    ]
    part = one("connect", "--ssh-config", "1", "77")
    assert (part.status, part.out.count("Host ")) == (ExitStatus.PARTIAL, 1)
    assert one("connect", "--ssh-config", "3").status == ExitStatus.INSTANCE_FAILED
    assert one("connect", "--ssh-config", "1", "--", "ls").status == ExitStatus.USAGE


# Port translation


def translation(answer: object) -> Answer:
    return document(json.dumps(answer).encode(), kind="application/json")


def test_port_translation(one: Shell, scripted: Scripted) -> None:
    service = scripted(translation({"1": [[80, 10080], [22, 10022]]}))
    where = ("--pat-enable", "--pat-service-host", f"127.0.0.1:{service.port}", "--pat-gateway-host", "gate.example.org")
    words = shown(one, *where, "1")
    assert (words[-1], words[2]) == ("gate.example.org", "10022")
    assert service.requests[0].target == "/cgi-bin/vmports.py?vmid=1"
    words = shown(one, *where, "-p", "80", "1")
    assert words[2] == "10080"
    refused = one("connect", *where, "-p", "443", "1")
    assert (refused.status, "does not translate port 443 of machine 1" in refused.err) == (ExitStatus.FAILED, True)


def test_port_translation_by_settings(one: Shell, scripted: Scripted) -> None:
    service = scripted(translation({"1": [[22, 10022]]}))
    one.environ.update(STRATUSLAB_PORT_TRANSLATION="yes", STRATUSLAB_PAT_SERVICE_HOST=f"127.0.0.1:{service.port}")
    words = shown(one, "1")
    assert (words[-1], words[2]) == ("127.0.0.1", "10022"), "the gateway is the endpoint's host where none is named"


def test_an_instance_without_translated_ports(one: Shell, scripted: Scripted) -> None:
    service = scripted(translation({"2": [[22, 10022]]}))
    words = shown(one, "--pat-enable", "--pat-service-host", f"127.0.0.1:{service.port}", "1")
    assert (words[-1], words[2]) == ("127.101.0.1", "22")


# What is refused


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("1", "2"), ExitStatus.USAGE, "after --"),
        (("--ssh-option", "-A", "1"), ExitStatus.USAGE, "put it before --ssh-option"),
        (("--nic", "-1", "1"), ExitStatus.USAGE, "--nic"),
        (("--nic", "0", "--address", "x", "1"), ExitStatus.USAGE, "not allowed with"),
        (("--address", "a b", "1"), ExitStatus.USAGE, "invalid host name"),
        (("--address", "-oProxyCommand=x", "1"), ExitStatus.USAGE, "--address"),
        (("--address=-oProxyCommand=x", "1"), ExitStatus.USAGE, "invalid host name"),
        (("--parallel", "0", "1", "--", "ls"), ExitStatus.USAGE, "expected 1 to 1000"),
        (("--ssh-client", "telnet", "1"), ExitStatus.USAGE, "--ssh-client"),
        (("-l", "a b", "1"), ExitStatus.USAGE, "invalid user name"),
        (("77",), ExitStatus.NOT_FOUND, "77"),
        (("77", "78", "--", "ls"), ExitStatus.NOT_FOUND, "failed on 2 of 2"),
        (("99999999999", "1.5", "--", "ls"), ExitStatus.NOT_FOUND, "failed on 2 of 2"),
    ],
)
def test_bad_input(one: Shell, arguments: tuple[str, ...], status: int, words: str) -> None:
    ran = one("connect", *arguments)
    assert (ran.status, ran.out) == (status, "")
    assert words in ran.err


@pytest.mark.parametrize("text", ["s3cret", "0", "65536", "-1", "22x", "\u0662\u0662"])
def test_a_port_that_is_none_is_not_shown(one: Shell, text: str) -> None:
    """With the other commands -p is the password."""
    ran = one("connect", f"-p{text}", "1")
    assert ran.status == ExitStatus.USAGE
    assert text not in ran.err.partition("from 1 to 65535")[0]
    assert "the option for a password is --password" in ran.err


def test_states_that_waiting_does_not_change(one: Shell, stage: Stage) -> None:
    assert one("run", "-n", "3", TTYLINUX).status == 0
    stage.halts(1)
    stage.engine.machine_failed(2, Lcm.PROLOG, "no such file")
    stage.runs(3)
    stage.engine.machine_ended(3)
    stage.runs(4)
    assert one("kill", "4").status == 0
    expected = ((1, "is no longer seen", "kill it"), (2, "failed", "choose another image"), (4, "ended", "released"))
    for number, words, why in expected:
        ran = one("connect", str(number))
        assert (ran.status, ran.err.count("\n")) == (ExitStatus.INSTANCE_FAILED, 1)
        assert f"machine {number} {words}" in ran.err
        assert why in ran.err.partition(words)[2].lower(), "what it means, and what to do"
    assert "no such file" in one("connect", "2").err


def test_waited_in_vain_for_the_cloud(alice: Shell) -> None:
    assert alice("run", TTYLINUX).status == 0
    ran = alice("connect", "--timeout", "0.3", "1")
    assert ran.status == ExitStatus.TIMED_OUT
    first, second = ran.err.splitlines()
    assert first.endswith("waiting for it")
    assert "is still Prolog" in second


def test_a_server_s_silence_is_not_how_long_to_wait(alice: Shell, stage: Stage, scripted: Scripted) -> None:
    """The setting ``timeout`` is about each answer of the cloud; the machine takes longer than that."""
    assert alice("run", TTYLINUX).status == 0
    there = scripted(lambda conversation: conversation.send(b"SSH-2.0-Strange\r\n"))
    alice.environ["STRATUSLAB_TIMEOUT"] = "0.5"
    arguments = ["--address", "127.0.0.1", "-p", str(there.port), "1", "--", "true"]
    threading.Timer(1.0, stage.runs, [1]).start()
    assert alice.script(SCRIPT, *arguments).status == ExitStatus.SSH, "it was connected to"
    assert alice("kill", "1").status == 0
    assert alice("run", TTYLINUX).status == 0
    for option in ("--wait-timeout", "--timeout"):
        assert alice("connect", option, "0.3", "2").status == ExitStatus.TIMED_OUT
    alice.environ["STRATUSLAB_WAIT_TIMEOUT"] = "0.3"
    assert alice("connect", "2").status == ExitStatus.TIMED_OUT


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (hangs, "sends nothing"),
        (lambda conversation: conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not an SSH server, it sent 'HTTP/1.1 400"),
        (lambda conversation: None, "closed the connection"),
    ],
)
def test_waited_in_vain_for_ssh(one: Shell, scripted: Scripted, answer: Answer, words: str) -> None:
    there = scripted(answer)
    ran = one("connect", "--timeout", "0.6", "--address", "127.0.0.1", "-p", str(there.port), "1")
    assert (ran.status, ran.err.count("\n")) == (ExitStatus.TIMED_OUT, 1)
    assert words in ran.err


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_banner_and_then_nothing(one: Shell, scripted: Scripted, client: str) -> None:
    if client == "openssh" and shutil.which("ssh") is None:
        pytest.skip("this system has no ssh")

    def drops(conversation: Conversation) -> None:
        conversation.send(b"SSH-2.0-Strange\r\n")
        conversation.socket.recv(1000)

    there = scripted(drops)
    arguments = ["--ssh-client", client, "--address", "127.0.0.1", "-p", str(there.port), "1", "--", "true"]
    ran = one.script(SCRIPT, *arguments, timeout=30)
    assert (ran.status, ran.out) == (ExitStatus.SSH, "")
    assert ran.err.count("\n") == 1


def test_an_instance_that_ends_while_it_is_waited_for(one: Shell, stage: Stage, scripted: Scripted) -> None:
    def ends(conversation: Conversation) -> None:
        stage.halts(1)
        hangs(conversation)

    there = scripted(ends)
    ran = one("connect", "--timeout", "20", "--address", "127.0.0.1", "-p", str(there.port), "1")
    assert (ran.status, "no longer seen by" in ran.err) == (ExitStatus.INSTANCE_FAILED, True)


# Keys, before the connection is tried


def test_keys_that_ssh_would_not_use(one: Shell) -> None:
    key = one.home / "key"
    for content, mode, words in (
        (None, 0, "does not exist"),
        ("what is this", 0o600, "is not a private key"),
        ((one.home / ".ssh" / "id_ed25519").read_text(), 0o640, "other users can read"),
    ):
        if content is not None:
            key.write_text(content)
            key.chmod(mode)
        ran = one("connect", "-k", str(key), "1")
        assert (ran.status, ran.err.count("\n")) == (ExitStatus.USAGE, 1)
        assert words in ran.err
        assert "(" in ran.err, "actions"
    assert f"chmod 600 {key}" in ran.err


def test_the_default_key_with_wrong_permissions_is_said(one: Shell) -> None:
    (one.home / ".ssh" / "id_ed25519").chmod(0o644)
    ran = one("connect", "--print", "1")
    assert ran.status == 0
    assert "other users can read private key" in ran.err
    assert " -i " not in ran.out


def test_the_configured_key(one: Shell) -> None:
    other = make_key_pair(one.home / "other")
    one.environ["STRATUSLAB_KEY"] = str(other)
    ran = one("connect", "--print", "1")
    assert f"-i {other.with_suffix('')} " in ran.out
    assert f"the key {other} (STRATUSLAB_KEY) is not the one that machine 1 was started with" in ran.err
    one.environ["STRATUSLAB_KEY"] = str(one.home / ".ssh" / "id_ed25519.pub")
    assert one("connect", "--print", "1").err == ""


def test_no_key_of_the_instance_is_here(one: Shell) -> None:
    for path in (one.home / ".ssh").iterdir():
        path.unlink()
    make_key_pair(one.home / ".ssh")
    ran = one("connect", "--print", "1")
    assert "neither ~/.ssh nor an SSH agent has the key that machine 1 was started with" in ran.err
    assert " -i " not in ran.out


def test_a_key_that_only_the_agent_has(one: Shell) -> None:
    if not (shutil.which("ssh-agent") and shutil.which("ssh-add")):
        pytest.skip("this system has no ssh-agent")
    key = one.home / ".ssh" / "id_ed25519"
    with tempfile.TemporaryDirectory() as short:
        address = Path(short) / "agent"
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not address.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            one.environ["SSH_AUTH_SOCK"] = str(address)
            subprocess.run(["ssh-add", "-q", str(key)], env=one.environment(), check=True, timeout=10)
            key.unlink()
            for given in ((), ("-k", f"{key}.pub")):
                words = shown(one, *given, "1")
                assert words[words.index("-i") + 1] == f"{key}.pub"
        finally:
            agent.terminate()
            agent.wait(10)
    assert one("connect", "-k", f"{key}.pub", "1").status == ExitStatus.USAGE


# At a terminal


def person(shell: Shell, *arguments: str) -> pexpect.spawn:
    line = shlex.join([sys.executable, str(CHECKOUT / "bin" / SCRIPT), *arguments])
    script = f"trap : INT; before=$(stty -g); {line}; echo status $?; [ $before = $(stty -g) ] && echo same"
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "PATH": os.environ["PATH"]}
    return pexpect.spawn("/bin/sh", ["-mc", script], timeout=20, env=environ, encoding="utf-8", dimensions=(24, 60))


def on_screen(text: str) -> list[str]:
    """The lines that a terminal of 60 columns shows after the text, which has no controls but line ends and returns."""
    lines = [""]
    for piece in text.replace("\r\n", "\n").split("\n"):
        line = ""
        for part in piece.split("\r"):
            assert len(part) <= 60
            line = part + line[len(part) :]
        lines.append(line.rstrip())
    return lines[1:]


def test_ctrl_backslash_at_the_password_prompt(shell: Shell) -> None:
    shell.environ.update(STRATUSLAB_ENDPOINT="http://127.0.0.1:1/RPC2", STRATUSLAB_USERNAME="alice")
    user = person(shell, "1")
    user.expect_exact("password: ")
    user.sendcontrol("\\")
    user.expect("status 131\r\nsame\r\n")


def test_ctrl_c_while_the_cloud_prepares(alice: Shell) -> None:
    assert alice("run", TTYLINUX).status == 0
    user = person(alice, "1")
    user.expect_exact("machine 1: Prolog, 0 s")
    user.sendintr()
    user.expect("status 130\r\nsame\r\n")
    assert on_screen(user.before)[-2:] == [f"{SCRIPT}: interrupted", ""] or "interrupted" in user.before


def test_ctrl_c_while_ssh_is_silent(one: Shell, scripted: Scripted) -> None:
    there = scripted(hangs)
    user = person(one, "--address", "127.0.0.1", "-p", str(there.port), "1")
    user.expect_exact("machine 1: Running, 0 s, no SSH server answered")
    user.sendintr()
    user.expect("status 130\r\nsame\r\n")


@pytest.mark.skipif(bool(sshd.why_not()), reason=sshd.why_not() or "there is one")
@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_waiting_through_a_boot(alice: Shell, stage: Stage, tmp_path: Path, client: str) -> None:
    """The cloud prepares, then a forward holds the port and says nothing, then nobody listens, then the server is there."""
    (alice.home / ".ssh" / "id_ed25519.pub").unlink()
    public = make_key_pair(alice.home / ".ssh")
    assert alice("run", TTYLINUX).status == 0
    forward = ScriptedServer(lambda conversation: conversation.closing.wait(20))
    user = person(alice, "-l", sshd.login_name(), "--ssh-client", client, "--timeout", "60", "1", "--", "echo in''side")
    user.expect_exact("machine 1: Prolog, 0 s")
    stage.runs(1)
    stage.engine.machine_listens(1, "127.0.0.1", forward.port)
    user.expect_exact("no SSH server answered (")
    before = user.before + user.after
    port = forward.port
    forward.close()
    running = sshd.Sshd(tmp_path / "server", public.read_text(), port)
    try:
        user.expect("status 0\r\nsame\r\n")
    finally:
        running.stop()
    said = re.sub(r"Warning: Permanently added [^\r\n]*\r*\n", "", before + user.before)
    assert [line for line in on_screen(said) if line] == ["inside"]
