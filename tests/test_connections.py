"""Opening a cloud from the settings: what is told, and a password that is asked for."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xmlrpc.client import loads

import pytest

from stratuslab.connections import open_cloud
from stratuslab.environment import Environment
from stratuslab.errors import AuthenticationError, ExitStatus, StratusLabError
from stratuslab.output.messages import Messages
from stratuslab.settings import load
from tests.fakes import scripted_server as servers
from tests.fakes.opennebula_answers import pool
from tests.fakes.scripted_server import Scripted, ScriptedServer
from tests.harness import CHECKOUT, Shell

BIN = CHECKOUT / "bin"


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    return scripted(servers.document(pool([])))


def opened(home: Path, environ: dict[str, str], **options: str) -> str:
    """What is said at -v, and the error if there is one."""
    environment, stream = Environment(None, None, None, {"HOME": str(home), **environ}), io.StringIO()
    try:
        open_cloud(load(environment, options), environment, Messages(stream, "stratus-x", 1))
    except StratusLabError as error:
        stream.write(str(error))
    return stream.getvalue()


def test_what_is_told(tmp_path: Path) -> None:
    said = opened(tmp_path, {"STRATUSLAB_PASSWORD": "S3cret"}, endpoint="cloud.example.org", username="alice")
    assert said.splitlines() == [
        "Cloud: cloud.example.org (--endpoint)",
        'Credentials: user "alice" (--username)',
        "Calls go to https://cloud.example.org:2634/pswd/xmlrpc",
    ]


def test_secrets_are_never_told(tmp_path: Path) -> None:
    for endpoint in (
        "https://alice:S3c/ret@h/RPC2",
        "https://alice:S3c@ret@h/RPC2",
        "alice:S3cret@h",
        "https://alice:S3cret@h:x/",
    ):
        said = opened(tmp_path, {}, endpoint=endpoint)
        assert "S3c" not in said
        assert "ret" not in said


def test_nobody_is_asked_where_nobody_is(tmp_path: Path) -> None:
    assert "no user name or certificate for https://h:2634/cert/xmlrpc" in opened(tmp_path, {}, endpoint="h")
    assert 'no password for user "alice" (--username) at https://h' in opened(tmp_path, {}, endpoint="h", username="alice")


def test_the_error_has_its_status(tmp_path: Path) -> None:
    environment = Environment(None, None, None, {"HOME": str(tmp_path)})
    with pytest.raises(AuthenticationError) as raised:
        open_cloud(load(environment, {"endpoint": "h"}), environment, Messages(None, "x"))
    assert raised.value.status == 3


@pytest.mark.parametrize("typed, status", [("hush\n", 0), ("\x04", 3), ("\n", 3)])
def test_a_password_is_asked_for_at_a_terminal(server: ScriptedServer, tmp_path: Path, typed: str, status: int) -> None:
    pexpect = pytest.importorskip("pexpect")
    url = f"{server.url}/RPC2"
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(BIN.parent), "LANG": "C.UTF-8"}
    child = pexpect.spawn(
        sys.executable,
        [str(BIN / "stratus-describe-instance"), "--endpoint", url, "-u", "alice"],
        env=environ,
        encoding="utf-8",
        timeout=20,
    )
    child.expect_exact(f"'alice' at '{url}' password: ")
    child.waitnoecho()
    child.send(typed)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == status, child.before
    assert "hush" not in child.before
    if status == 0:
        sessions = {loads(request.body)[0][0] for request in server.requests}
        assert sessions == {"alice:hush"}
    else:
        assert 'no password for user "alice"' in child.before
        assert server.requests == []


@pytest.mark.parametrize(("options", "seconds"), [({}, 10), ({"timeout": "45"}, 45), ({"timeout": "2"}, 2)])
def test_the_marketplace_may_be_silent_as_long_as_is_said(tmp_path: Path, options: dict[str, str], seconds: float) -> None:
    settings = load(Environment(None, None, None, {"HOME": str(tmp_path)}), options)
    assert settings.timeout_or(10) == seconds


class TestKeyring:
    @pytest.fixture
    def keyring(self, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
        """A package keyring with these passwords, by endpoint and user; it is locked where it has none."""
        kept: dict[tuple[str, str], str] = {}

        class KeyringError(Exception):
            pass

        def get_password(endpoint: str, user: str) -> str | None:
            if not kept:
                raise KeyringError("No recommended backend was available.")
            return kept.get((endpoint, user))

        module = ModuleType("keyring")
        module.get_password = get_password  # type: ignore[attr-defined]
        module.errors = SimpleNamespace(KeyringError=KeyringError)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "keyring", module)
        return kept

    def test_is_asked_where_nothing_else_gives_a_password(self, alice: Shell, keyring: dict[tuple[str, str], str]) -> None:
        password = alice.environ.pop("STRATUSLAB_PASSWORD")
        assert alice("describe").status == ExitStatus.DENIED
        keyring[alice.environ["STRATUSLAB_ENDPOINT"], "bob"] = password
        assert alice("describe").status == ExitStatus.DENIED
        keyring[alice.environ["STRATUSLAB_ENDPOINT"], "alice"] = password
        assert alice("describe").status == 0
        keyring[alice.environ["STRATUSLAB_ENDPOINT"], "alice"] = "wrong"
        assert alice("describe").status == ExitStatus.DENIED
        alice.environ["STRATUSLAB_PASSWORD"] = password
        assert alice("describe").status == 0
