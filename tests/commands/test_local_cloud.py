"""The command stratus-local-cloud, in-process and as a script, with machines that really run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pexpect
import pytest

from stratuslab.local.api.console_log_reader import console_lines
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.status_and_reset import reset
from stratuslab.local.store.stored_records import ADMINISTRATOR
from tests.fakes.staged_cloud import Actors
from tests.harness import CHECKOUT, Shell
from tests.local.templates import RECORDED, SMALL


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A user whose embedded cloud is empty, and is emptied at the end."""
    shell = Shell(tmp_path)
    yield shell
    engine = Engine(Path(shell.environment()["STRATUSLAB_LOCAL_DIR"]))
    reset(engine)
    engine.close()


@contextmanager
def scripted(shell: Shell, *arguments: str) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """``stratus-local-cloud serve`` as a process; its URLs."""
    process = subprocess.Popen(
        [sys.executable, str(CHECKOUT / "bin" / "stratus-local-cloud"), "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**shell.environment(), "PYTHONPATH": str(CHECKOUT)},
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(), process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


class TestStatus:
    def test_of_a_new_cloud(self, shell: Shell) -> None:
        ran = shell("local_cloud", "status")
        assert (ran.status, ran.err) == (0, "")
        facts = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
        assert facts["directory"] == str(shell.home / "cloud")
        assert (facts["instances"], facts["processes"], facts["images"], facts["volumes"]) == ("0", "0", "4", "0")
        assert facts["cpu"].startswith("0 of ")

    def test_of_a_cloud_at_work(self, shell: Shell) -> None:
        engine = Engine(shell.home / "cloud", Actors())
        for hold in (True, True, False):
            engine.allocate(ADMINISTRATOR, SMALL, hold)
        engine.close()
        facts = dict(line.split(maxsplit=1) for line in shell("local_cloud", "status").out.splitlines())
        # The one that was to start has no process, as the command sees.
        assert facts["instances"] == "3 (2 Hold, 1 Prolog_Failure)"
        assert facts["memory"].startswith("128 of ")


class TestReset:
    def test_asks_first(self, shell: Shell) -> None:
        ran = shell("local_cloud", "reset", stdin="y\n")
        assert (ran.status, ran.out) == (2, "")
        assert "use --yes" in ran.err

    @pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1), ("", 1, 1)])
    def test_at_a_terminal(self, shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, left: int) -> None:
        monkeypatch.setattr("stratuslab.environment.is_terminal", lambda stream: True)
        engine = Engine(shell.home / "cloud", Actors())
        engine.allocate(ADMINISTRATOR, SMALL, hold=True)
        ran = shell("local_cloud", "reset", stdin=answer)
        assert ran.status == status
        assert "images (volumes stay)? [y/N] " in ran.err
        assert len(list(engine.store.instances())) == left
        engine.close()

    def test_with_yes(self, shell: Shell) -> None:
        engine = Engine(shell.home / "cloud", Actors())
        engine.allocate(ADMINISTRATOR, SMALL, hold=True)
        engine.close()
        ran = shell("local_cloud", "reset", "--yes", "-v")
        assert (ran.status, ran.out, ran.err) == (0, "", "Killed 1 machine\n")
        assert shell("local_cloud", "reset", "--yes").err == ""


class TestAddEntry:
    def test_a_file(self, shell: Shell, entry: bytes) -> None:
        (shell.home / "entry.xml").write_bytes(entry)
        ran = shell("local_cloud", "add-entry", "~/entry.xml")
        assert (ran.status, ran.out, ran.err) == (0, "GOaxJFdoEXvqAm9ArJgnZ0_ky6F\n", "")
        assert "images      5" in shell("local_cloud", "status").out

    def test_a_newer_entry_is_no_further_image(self, shell: Shell, entry: bytes) -> None:
        for year in (b"2011", b"2012"):
            (shell.home / "entry.xml").write_bytes(re.sub(rb"<dcterms:created>\d+", b"<dcterms:created>" + year, entry))
            assert shell("local_cloud", "add-entry", "~/entry.xml").status == 0
        assert shell("local_cloud", "status", "--columns", "images", "--no-header").out == "5\n"
        assert shell("local_cloud", "images", "--format", "ids").out.count("\n") == 5

    def test_what_is_no_entry(self, shell: Shell) -> None:
        (shell.home / "entry.xml").write_text("hello")
        ran = shell("local_cloud", "add-entry", str(shell.home / "entry.xml"))
        assert (ran.status, ran.out) == (2, "")
        assert "not well-formed XML" in ran.err


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("frobnicate",),
            ("serve", "--port", "-1"),
            ("serve", "--port", "65536"),
            ("serve", "--flavour", "x"),
            ("add-entry",),
        ],
    )
    def test_wrong_arguments(self, shell: Shell, arguments: tuple[str, ...]) -> None:
        ran = shell("local_cloud", *arguments)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)

    def test_networks_that_are_none(self, shell: Shell) -> None:
        shell.environ["STRATUSLAB_DOWNLOAD_NETWORKS"] = "10.0.0.0/8, any, lab"
        ran = shell("local_cloud", "status")
        assert (ran.status, '"lab" is not a network' in ran.err) == (2, True)
        shell.environ["STRATUSLAB_DOWNLOAD_NETWORKS"] = "10.0.0.0/8, any"
        assert shell("local_cloud", "status").status == 0

    def test_a_password_is_not_repeated(self, shell: Shell) -> None:
        for user in ("hunter2", ":hunter2", "alice:"):
            ran = shell("local_cloud", "serve", "--user", user)
            assert (ran.status, "hunter2" in ran.err) == (2, False)
        assert shell("local_cloud", "serve", "--port", "0", "--user", "a:b", "--user", "a:c").status == 2

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("# nobody\n\n", "has no users"),
            ("alice:secret\nhunter2\n", "line 2: expected NAME:PASSWORD"),
            ("alice:hunter2\nalice:other\n", "the same user is given twice"),
            ("a b:hunter2\n", '"a b" cannot be a user name'),
        ],
    )
    def test_files_of_users(self, shell: Shell, content: str, reason: str) -> None:
        path = shell.home / "users"
        path.touch(mode=0o600)
        path.write_text(content)
        for ran in (
            shell("local_cloud", "serve", "--port", "0", "--users", str(path)),
            shell("local_cloud", "serve", "--port", "0", "--users", "-", stdin=content),
        ):
            assert (ran.status, reason in ran.err, "hunter2" in ran.err) == (2, True, False)
        path.chmod(0o666)
        ran = shell("local_cloud", "serve", "--port", "0", "--users", str(path))
        assert ran.status == 2 and "other users can write to it" in ran.err
        assert shell("local_cloud", "serve", "--users", "/nowhere/users").status == 2

    @pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("--version",)])
    def test_help(self, shell: Shell, arguments: tuple[str, ...]) -> None:
        ran = shell("local_cloud", *arguments)
        assert (ran.status, ran.err) == (0, "")
        assert "stratus-local-cloud" in ran.out
        assert not (shell.home / "cloud").exists()


def states(url: str, session: str) -> dict[int, tuple[str, str]]:
    answered: Any = xmlrpc.client.ServerProxy(url).one.vmpool.info(session, -2, -1, -1, -2)
    assert answered[0], answered
    instances = ElementTree.fromstring(answered[1])
    return {int(one.findtext("ID", "")): (one.findtext("STATE", ""), one.findtext("LCM_STATE", "")) for one in instances}


def wait_for(url: str, session: str, number: int, *wanted: tuple[str, str]) -> None:
    end = time.monotonic() + 30
    while (found := states(url, session)[number]) not in wanted:
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_served_with_machines_that_run(shell: Shell) -> None:
    """A server, a machine from start to end, a machine that is lost, and the server's end with which none of them ends."""
    with scripted(shell, "--user", "alice:secret") as (urls, process):
        rpc = urls[0]
        proxy: Any = xmlrpc.client.ServerProxy(rpc)
        session = "alice:secret"
        assert proxy.one.vm.allocate(session, RECORDED)[:2] == [True, 1]
        assert proxy.one.vm.allocate(session, RECORDED)[:2] == [True, 2]
        for number in (1, 2):
            wait_for(rpc, session, number, ("3", "3"))
        assert proxy.one.vm.action(session, "terminate", 1)[0]
        wait_for(rpc, session, 1, ("6", "0"))
        lock = shell.home / "cloud" / "instances" / "2" / "lock"
        os.kill(int(lock.read_text()), signal.SIGKILL)
        wait_for(rpc, session, 2, ("3", "16"))
        assert proxy.one.vm.action(session, "resume", 2)[0]
        wait_for(rpc, session, 2, ("3", "3"))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    assert "instances   2 (1 Done, 1 Running)" in shell("local_cloud", "status").out
    assert shell("local_cloud", "reset", "--yes").status == 0
    assert not lock.exists()


def test_served_without_users(shell: Shell) -> None:
    with scripted(shell) as (urls, process):
        session = (shell.home / "cloud" / "one_auth").read_text().strip()
        assert states(urls[0], session) == {}
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (
            0,
            f"stratus-local-cloud: user and password are in {shell.home}/cloud/one_auth\n",
        )


def test_at_a_terminal_it_says_where_a_browser_finds_the_images(shell: Shell) -> None:
    serve = [str(CHECKOUT / "bin" / "stratus-local-cloud"), "serve", "--port", "0", "--user", "alice:secret"]
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT)}
    person = pexpect.spawn(sys.executable, serve, timeout=60, env=environ, encoding="utf-8", dimensions=(24, 200))
    person.expect(r"to see the images in a browser, open (http\S+/marketplace/)\r\n")
    assert person.match is not None
    request = urllib.request.Request(person.match[1], headers={"Accept": "text/html"})
    assert b"ttylinux" in urllib.request.urlopen(request).read()
    person.sendintr()
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0


def test_users_in_a_file(shell: Shell) -> None:
    path = shell.home / "users"
    path.write_text("# the team\nalice:secret\nbob:with:colons\n")
    path.chmod(0o644)
    with scripted(shell, "--users", str(path), "--name", "cloud.example.org") as (urls, process):
        assert states(urls[0], "alice:secret") == states(urls[0], "bob:with:colons") == {}
        request = urllib.request.Request(f"{urls[2]}/metadata", headers={"Host": "cloud.example.org:2633"})
        assert urllib.request.urlopen(request).status == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
        assert err == f"stratus-local-cloud: other users can read the passwords in {path}: chmod 600 {path}\n"


def test_other_computers(shell: Shell) -> None:
    with scripted(shell, "--user", "alice:secret", "--host", "0.0.0.0") as (urls, process):
        assert states(urls[0].replace("0.0.0.0", "127.0.0.1"), "alice:secret") == {}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
        said = "other computers can connect, and the traffic, passwords included, is not encrypted"
        assert err == f"stratus-local-cloud: {said}\n"


def test_a_port_in_use(shell: Shell) -> None:
    with scripted(shell, "--user", "alice:secret") as (urls, _):
        port = urls[0].rsplit(":", 1)[1].split("/")[0]
        ran = shell.script("stratus-local-cloud", "serve", "--port", port, "--user", "alice:secret")
        assert (ran.status, ran.out) == (1, "")
        assert f"port {port} of 127.0.0.1 is in use" in ran.err


def test_a_console_is_shown_without_the_firmwares_control_of_the_screen(shell: Shell) -> None:
    engine = Engine(shell.home / "cloud", Actors())
    engine.allocate(ADMINISTRATOR, SMALL)
    firmware = b"started\n\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\nBooting from ROM..\x1bc\x1b[?7l\x1b[2Jone-1: login ready\n"
    (shell.home / "cloud" / "instances" / "1" / "console.log").write_bytes(firmware)
    assert console_lines(shell.home / "cloud", 1) == ["started", "SeaBIOS", "Booting from ROM..", "one-1: login ready"]
    engine.close()
