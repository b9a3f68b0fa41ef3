"""A canary in every secret: none is seen in what commands print or write, nor in what they give to other programs.

Cloud credentials must not leave the files that the user wrote. What is in a machine's own template may be in the embedded
cloud's store, and nowhere else.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stratuslab.commands.completion_scripts import MODULES
from stratuslab.errors import ExitStatus
from tests.fakes.mishaps import Mishap, bad_gateway, denied, refused, web_page
from tests.fakes.opennebula_answers import machine
from tests.fakes.scripted_opennebula import Clouds, ScriptedOpenNebula
from tests.fakes.scripted_server import Conversation, Scripted, document
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Ran, Shell

LEVELS = ("-q", "", "-v", "-vv", "-vvv")
DISK = "8b1a7a7c-7a9d-4c0e-9a57-1f0c8e1d2a3b"


@dataclass
class Canaries:
    """Secrets that are easy to find, also in base64 and in URLs."""

    made: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, what: str) -> str:
        return self.made.setdefault(what, f"Canary{len(self.made):03}{what.title()}bird")

    def seen(self, data: bytes) -> list[str]:
        """The canaries in the data: what each was planted in."""
        found = set()
        for what, text in self.made.items():
            for shift in range(3):
                # Without the characters at both ends, which depend on the neighbours.
                coded = base64.b64encode(b" " * shift + text.encode())[4 : -(len(text) + shift) % 3 - 4 or None]
                if coded in data:
                    found.add(what)
            if text.encode() in data:
                found.add(what)
        return sorted(found)


@pytest.fixture
def canary() -> Canaries:
    return Canaries()


def written(place: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(place.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # a process replaces it
            if stat.S_ISREG(path.lstat().st_mode):
                yield path, path.read_bytes()


def check(ran: Ran, canary: Canaries, what: object) -> None:
    assert canary.seen((ran.out + ran.err).encode()) == [], (what, ran)
    assert "Traceback" not in ran.err


def at_all_levels(*arguments: str, forms: tuple[str, ...] = ("json", "csv", "table")) -> Iterator[list[str]]:
    """The command at each level, each in another form, and at the most telling level in all forms."""
    for level, form in sorted({*zip(LEVELS, itertools.cycle(forms), strict=False), *(("-vvv", form) for form in forms)}):
        yield [*arguments, *([level] if level else []), *(["--format", form] if form else [])]


def user_data(shell: Shell, canary: Canaries) -> list[str]:
    """Options of a new machine, with a secret in each place that takes one."""
    script, context = shell.home / "script", shell.home / "context"
    script.write_text(f"#cloud-config\npassword: {canary['cloudinit']}\n")
    context.write_text(f"API_KEY={canary['contextfile']}\n")
    names = (
        "DB_PASSWORD",
        "KEY",
        "PIN",
        "JWT",
        "SESSION_COOKIE",
        "ADMIN_TOKEN",
        "TLS_PRIVATE_KEY",
        "USER_DATA",
        "SALT",
        "BEARER",
    )
    pairs = [f"{name}={canary[name.lower()]}" for name in names]
    pairs += [f"DB_USER=admin:{canary['login']}", f"URL=https://bob:{canary['contexturl']}@h/x?token={canary['contextquery']}"]
    return ["--context", "#".join(pairs), "--context-file", str(context), "--cloud-init", f"cloud-config,{script}"]


@pytest.fixture
def alice_of(shell: Shell, serve: Serve, canary: Canaries) -> Shell:
    """Alice at a served cloud. Her password, proxies and Marketplace have secrets."""
    urls = serve(users={"alice": canary["password"]})
    marketplace = urls.marketplace.replace("://", f"://bob:{canary['marketplace']}@")
    shell.environ.update(
        STRATUSLAB_ENDPOINT=urls.rpc,
        STRATUSLAB_USERNAME="alice",
        STRATUSLAB_PASSWORD=canary["password"],
        STRATUSLAB_MARKETPLACE_ENDPOINT=marketplace,
        STRATUSLAB_PDISK_ENDPOINT=f"https://bob:{canary['pdisk']}@pdisk.example.org",
        http_proxy=f"http://bob:{canary['proxy']}@127.0.0.1:1",
        no_proxy="127.0.0.1",
    )
    return shell


def nothing_in_files(shell: Shell, canary: Canaries, *own: str) -> None:
    """No secret was written into the user's home directory, but what the test put there, and a machine's image in the cloud."""
    for path, data in written(shell.home):
        if path.name not in ("script", "context", *own):
            of_machine = {"image", "imagequery"} if path.parent == shell.home / "cloud" else set()
            assert {*canary.seen(data)} <= of_machine, path


def test_commands_that_succeed(alice_of: Shell, canary: Canaries, stage: Stage) -> None:
    shell = alice_of
    image = f"http://bob:{canary['imagelogin']}@127.0.0.1:1/x.qcow2?token={canary['imagetoken']}&sig={canary['imagesig']}"
    options = user_data(shell, canary)
    for line in at_all_levels(
        "--dry-run", "-n", "2", *options, "--persistent-disk", DISK, "--no-check-image-url", image, forms=("json", "table")
    ):
        ran = shell("run", *line)
        assert ran.status == 0, ran
        check(ran, canary, line)
    for number, line in enumerate(at_all_levels(*options, "-o", str(shell.home / "ids"), TTYLINUX), 1):
        ran = shell("run", *line)
        assert ran.status == 0, ran
        check(ran, canary, line)
        stage.runs(number)
        stage.engine.machine_listens(number, "127.0.0.1", 9000 + number)
    stage.polled(1, cpu_percent=1.0, memory_kib=1)
    for module in MODULES:
        for arguments in COMMANDS[module]:
            for line in at_all_levels(*arguments, forms=FORMS.get(module, ("json", "csv", "table"))):
                ran = shell(module, *line)
                assert ran.status != ExitStatus.USAGE, (module, ran)
                check(ran, canary, (module, line))
    nothing_in_files(shell, canary)


# What each command is called with, in a cloud of five machines that run. A new command has none, and fails.
COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "config": [(), ("--check",), ("--list-sections",)],
    "connect_instance": [("1", "--print"), ("--ssh-config",), ("--write-ssh-config",)],
    "copy_config": [("--force", "-c", "~/new.cfg")],
    "copy_files": [("--wait-timeout", "0", "1:absent", "2:absent", "~/copied")],
    "describe_instance": [(), ("1",), ("--all-states", "--all-users")],
    "kill_instance": [("--all", "--dry-run"), ("4", "5")],
    "list_networks": [()],
    "local_cloud": [("status",), ("images",), ("volumes",)],
    "reboot_instance": [("1", "--hard")],
    "run_instance": [("--list-types",)],
    "search_image": [(), ("--no-cache", "ttylinux")],
    "show_image": [(TTYLINUX,), ("no such image",)],
    "shutdown_instance": [("3", "--no-wait")],
    "start_instance": [("2", "--no-wait")],
    "stop_instance": [("2", "--hard", "--no-wait")],
    "update_instance": [("1", "--name", "web", "--label", "x")],
}
FORMS = {"connect_instance": ("",), "copy_config": ("",)}


def ways_to_give_a_password(shell: Shell, canary: Canaries, text: str) -> Iterator[list[str]]:
    """Each way to give it; yields the options."""
    environ = dict(shell.environ)
    yield ["-p", text]
    del shell.environ["STRATUSLAB_PASSWORD"]
    (shell.home / "password").write_text(f"{text}\n")
    (shell.home / "password").chmod(0o600)
    yield ["--password-file", str(shell.home / "password")]
    (shell.home / "my.cfg").write_text(f"[default]\npassword = {text}\n")
    (shell.home / "my.cfg").chmod(0o600)
    yield ["-c", str(shell.home / "my.cfg")]
    (shell.home / "one_auth").write_text(f"alice:{text}\n")
    (shell.home / "one_auth").chmod(0o600)
    shell.environ.update(ONE_XMLRPC=shell.environ.pop("STRATUSLAB_ENDPOINT"), ONE_AUTH=str(shell.home / "one_auth"))
    del shell.environ["STRATUSLAB_USERNAME"]
    yield []
    shell.environ.clear()
    shell.environ.update(environ)
    shell.environ["STRATUSLAB_ENDPOINT"] = environ["STRATUSLAB_ENDPOINT"].replace("://", f"://alice:{text}@")
    yield []


@pytest.mark.parametrize("right", [True, False])
def test_each_way_to_give_a_password(alice_of: Shell, canary: Canaries, right: bool) -> None:
    for options in ways_to_give_a_password(alice_of, canary, canary["password" if right else "wrong"]):
        for command, *arguments in (("describe",), ("config", "--check"), ("kill", "99"), ("run", TTYLINUX))[
            :: 1 if right else 3
        ]:
            # The server slows down guesses.
            for line in at_all_levels(*arguments, *options) if right else [[*arguments, *options, "-vvv"]]:
                ran = alice_of(command, *line)
                assert right == (ran.status != ExitStatus.DENIED), ran
                check(ran, canary, (command, line))
    nothing_in_files(alice_of, canary, "password", "my.cfg", "one_auth")


def talkative(canary: Canaries) -> dict[int, str]:
    """Documents of machines that have secrets wherever documents can, and whose errors quote some."""
    inputs = f"<USER_INPUTS><ROOT>M|password|Root| |{canary['default']}</ROOT></USER_INPUTS>"
    error = (
        f"<ERROR>Mon Nov 23 10:00:00 2026 : Error executing image transfer script: curl https://u:{canary['errorurl']}@h/x?sig="
    )
    user = f"<ROOT>{canary['asked']}</ROOT>{inputs}<DB_PASSWORD>{canary['attribute']}</DB_PASSWORD>"
    user += f"{error}{canary['errorquery']} password={canary['errortext']}</ERROR>"
    context = f"<CONTEXT><ROOT>{canary['asked']}</ROOT><TOKEN>{canary['token']}</TOKEN><LINE>x {canary['asked']} y</LINE>"
    context += f"<USER_DATA>{canary['userdata']}</USER_DATA><CMD>mount --password={canary['option']}</CMD></CONTEXT>"
    disk = f"<DISK><SOURCE>https://u:{canary['source']}@h/disk?token={canary['sourcequery']}</SOURCE><DISK_ID>0</DISK_ID></DISK>"
    vnc = f"<GRAPHICS><TYPE>vnc</TYPE><PASSWD>{canary['vnc']}</PASSWD></GRAPHICS>"
    states = {1: (3, 3), 2: (3, 36), 3: (1, 0), 4: (8, 0)}
    return {
        number: machine(number, state=state, lcm=lcm, template=context + disk + vnc, user_template=user)
        for number, (state, lcm) in states.items()
    }


def test_documents_that_come_back(shell: Shell, opennebula: Clouds, canary: Canaries) -> None:
    cloud = opennebula(machines=talkative(canary))
    inputs = "<USER_INPUTS><ROOT><![CDATA[M|password|Root password]]></ROOT></USER_INPUTS>"
    secret = f"<CONTEXT><DB_PASSWORD>{canary['templatecontext']}</DB_PASSWORD><ROOT>$ROOT</ROOT></CONTEXT>"
    cloud.things["template"] = {7: f"<VMTEMPLATE><ID>7</ID><NAME>web</NAME><TEMPLATE>{inputs}{secret}</TEMPLATE></VMTEMPLATE>"}
    at(shell, cloud, canary)
    (shell.home / "input").write_text(canary["inputfile"])
    for command, *arguments in (
        ("describe",),
        ("describe", "1", "2", "3", "4"),
        ("run", "--input", f"ROOT={canary['input']}", "template:7"),
        ("run", "--input-file", f"ROOT={shell.home / 'input'}", "template:7"),
        ("run", "--input", f"ROOOT={canary['input']}", "template:7"),
        ("reboot", "2"),
        ("stop", "3", "--no-wait"),
        ("start", "4", "--no-wait"),
        ("kill", "1", "2"),
    ):
        for line in at_all_levels(*arguments):
            check(shell(command, *line), canary, (command, line))
    for line in at_all_levels("--dry-run", "--input", f"ROOT={canary['input']}", "template:7", forms=("json", "table")):
        ran = shell("run", *line)
        assert "DB_PASSWORD" in ran.out
        check(ran, canary, line)
    for line in at_all_levels("--watch", "0.1", "2", forms=("table",)):
        ran = shell("describe", *line)
        assert (ran.status, "Boot_Failure" in ran.out) == (0, True)
        check(ran, canary, line)
    for line in at_all_levels("--wait-for", "running", "--wait-timeout", "1", "2"):
        check(shell("describe", *line), canary, line)
    nothing_in_files(shell, canary, "input")


def at(shell: Shell, cloud: ScriptedOpenNebula, canary: Canaries) -> None:
    shell.environ.update(STRATUSLAB_ENDPOINT=cloud.url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD=canary["password"])


FAILURES: dict[str, Mishap] = {
    "refused by the cloud": refused,
    "denied": denied,
    "bad gateway": bad_gateway,
    "web page": web_page,
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("failure", FAILURES)
def test_commands_that_fail(shell: Shell, opennebula: Clouds, canary: Canaries, failure: str) -> None:
    cloud = opennebula(machines=talkative(canary))
    at(shell, cloud, canary)
    options = [*user_data(shell, canary), "--no-check-image-url", f"http://h/x?token={canary['image']}"]
    for command, *arguments in (("describe",), ("kill", "1"), ("run", *options), ("reboot", "1"), ("config", "--check")):
        for line in [["-q"], ["-vvv"], ["-vvv", "--format", "json"]]:
            for method in ("vmpool.info", "vm.info", "vm.action", "vm.allocate", "userpool.info", "user.info"):
                cloud.mishaps[f"one.{method}"] = [FAILURES[failure]] * 9
            check(shell(command, *arguments, *line), canary, (command, line))
    nothing_in_files(shell, canary)


def test_servers_that_cannot_be_reached(shell: Shell, scripted: Scripted, canary: Canaries) -> None:
    page = scripted(document(b"<html>no</html>", "407 Proxy Authentication Required", "text/html"))
    login = f"bob:{canary['proxy']}"
    shell.environ.update(STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD=canary["password"])
    forms = [
        {"STRATUSLAB_ENDPOINT": f"http://alice:{canary['endpoint']}@127.0.0.1:1/RPC2?token={canary['query']}"},
        {"STRATUSLAB_ENDPOINT": f"https://alice:{canary['endpoint']}@127.0.0.1:1:2/"},
        {"STRATUSLAB_ENDPOINT": f"ftp://alice:{canary['endpoint']}@h/"},
        {"STRATUSLAB_ENDPOINT": "http://cloud.example.org/RPC2", "http_proxy": f"http://{login}@127.0.0.1:{page.port}"},
        {"STRATUSLAB_ENDPOINT": "https://cloud.example.org/RPC2", "https_proxy": f"http://{login}@127.0.0.1:{page.port}"},
        {"STRATUSLAB_ENDPOINT": "http://cloud.example.org/RPC2", "http_proxy": f"http://{login}@127.0.0.1:1"},
        {"STRATUSLAB_ENDPOINT": "http://cloud.example.org/RPC2", "http_proxy": f"socks5://{login}@127.0.0.1:1"},
        {"STRATUSLAB_ENDPOINT": "http://cloud.example.org/RPC2", "http_proxy": f"http://{login}@127.0.0.1:x"},
        {"STRATUSLAB_ENDPOINT": "local", "STRATUSLAB_MARKETPLACE_ENDPOINT": f"http://a:{canary['market']}@127.0.0.1:1/?token=x"},
        {
            "STRATUSLAB_ENDPOINT": "local",
            "STRATUSLAB_MARKETPLACE_ENDPOINT": "http://market.example.org",
            "http_proxy": f"http://{login}@127.0.0.1:{page.port}",
        },
    ]
    for form in forms:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in form.items():
                patch.setitem(shell.environ, name, value)
            image = f"http://u:{canary['image']}@127.0.0.1:1/x?sig={canary['imagequery']}"
            for command, *arguments in (("describe",), ("kill", "1"), ("run", TTYLINUX), ("run", image), ("config", "--check")):
                for line in at_all_levels(*arguments):
                    check(shell(command, *line), canary, (form, command, line))
    nothing_in_files(shell, canary)
    shell.environ.clear()
    assert shell("kill", "--all", "--yes").status == 0


def test_a_certificate_with_a_key_that_needs_a_passphrase(shell: Shell, canary: Canaries) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    for encryption in (serialization.BestAvailableEncryption(canary["passphrase"].encode()), serialization.NoEncryption()):
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        canary.made["key"] = pem.decode().splitlines()[1]
        (shell.home / "key.pem").write_bytes(pem)
        (shell.home / "key.pem").chmod(0o600)
        (shell.home / "cert.pem").write_bytes(pem)
        shell.environ.update(STRATUSLAB_ENDPOINT="https://127.0.0.1:1/RPC2")
        options = ["--pem-cert", str(shell.home / "cert.pem"), "--pem-key", str(shell.home / "key.pem")]
        for command, *arguments in (("describe",), ("config", "--check"), ("run", TTYLINUX)):
            for line in at_all_levels(*arguments, *options):
                check(shell(command, *line), canary, (command, line))


DUMP = """#!/bin/sh
{ env; echo "$0" "$@"; tr '\\0' ' ' < /proc/$PPID/cmdline; } >> "$HOME/dump"
exec cat
"""


def _greets(conversation: Conversation) -> None:
    conversation.send(b"SSH-2.0-made_up\r\n")
    conversation.closing.wait(1)


def test_what_ssh_gets(alice_of: Shell, canary: Canaries, stage: Stage, scripted: Scripted, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("ssh", "scp", "sftp"):
        (programs / name).write_text(DUMP)
        (programs / name).chmod(0o755)
    assert alice_of("run", TTYLINUX).status == 0
    stage.runs(1)
    # The command waits for an SSH server before it calls ssh, which is only made up here.
    stage.engine.machine_listens(1, "127.0.0.1", scripted(_greets).port)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}"}
    for level in LEVELS:
        options = [level] if level else []
        ran = alice_of.script("stratus-connect-instance", *options, "1", "--", "true", environ=environ)
        check(ran, canary, level)
        check(alice_of.script("stratus-connect-instance", *options, "1", environ=environ), canary, level)
    dumped = (alice_of.home / "dump").read_bytes()
    assert b"HOME=" in dumped
    assert canary.seen(dumped) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc")
def test_supervisors_and_the_embedded_clouds_files(shell: Shell, canary: Canaries) -> None:
    shell.environ.update(
        STRATUSLAB_ENDPOINT="local",
        STRATUSLAB_USERNAME="alice",
        STRATUSLAB_PASSWORD=canary["password"],
        ONE_AUTH=str(shell.home / "one_auth"),
        AWS_SECRET_ACCESS_KEY=canary["foreign"],
        SSH_PRIVATE=canary["foreign"],
    )
    (shell.home / "one_auth").write_text(f"alice:{canary['session']}")
    credentials = Canaries(dict(canary.made))
    try:
        ran = shell("run", "-vvv", "--wait-for", "running", *user_data(shell, canary), TTYLINUX)
        assert ran.status == 0, ran
        check(ran, canary, "run")
        processes = [
            path
            for path in Path("/proc").glob("[0-9]*")
            if str(shell.home).encode() in _read(path / "environ") and path.name != str(os.getpid())
        ]
        assert processes
        for process in processes:
            assert canary.seen(_read(process / "environ") + _read(process / "cmdline")) == []
        for line in at_all_levels("1"):
            check(shell("describe", *line), canary, line)
        for level in LEVELS:
            check(shell("describe", *([level] if level else []), "--console", "1"), canary, level)
        for action in ("status", "images", "volumes"):
            check(shell("local_cloud", action, "-vvv"), canary, action)
    finally:
        shell("kill", "--all", "--yes")
    for path, data in written(shell.home):
        if path.name == "one_auth":
            continue
        assert credentials.seen(data) == [], path
        if canary.seen(data) and path.name not in ("script", "context"):
            assert path.is_relative_to(shell.home / "cloud"), path
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("level", LEVELS)
def test_a_server_and_its_users(shell: Shell, canary: Canaries, level: str) -> None:
    users = shell.home / "users"
    users.write_text(f"alice:{canary['password']}\n")
    users.chmod(0o600)
    server = shell.begin("stratus-local-cloud", "serve", "--port", "0", "--users", str(users), *([level] if level else []))
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        assert canary.seen(_read(Path(f"/proc/{server.pid}/cmdline"))) == []
        client = Shell(shell.home / "client", {"STRATUSLAB_ENDPOINT": url, "STRATUSLAB_USERNAME": "alice"})
        client.home.mkdir()
        for password in ("password", "wrong"):
            client.environ["STRATUSLAB_PASSWORD"] = canary[password]
            ran = client("run", *user_data(client, canary), TTYLINUX)
            assert ran.status == (0 if password == "password" else ExitStatus.DENIED), ran
            check(ran, canary, password)
        client.environ["STRATUSLAB_PASSWORD"] = canary["password"]
        assert client("kill", "--all", "--yes").status == 0
    finally:
        server.terminate()
        out, err = server.communicate(timeout=30)
    check(Ran(server.returncode, out, err), canary, level)
    for path, data in written(shell.home):
        if canary.seen(data) and path.name not in ("users", "script", "context"):
            assert path.is_relative_to(shell.home / "cloud"), path
            assert not {"password", "wrong"} & {*canary.seen(data)}, path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
