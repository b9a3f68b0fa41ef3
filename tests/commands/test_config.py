"""stratus-config and stratus-copy-config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stratuslab.commands.copy_config import configuration
from stratuslab.errors import ExitStatus
from stratuslab.known_settings import KNOWN
from tests.harness import Shell


def settings(shell: Shell, *arguments: str) -> dict[str, tuple[str | None, str | None]]:
    ran = shell("config", "--format", "json", *arguments)
    return {row["key"]: (row["value"], row["origin"]) for row in json.loads(ran.out)["settings"]}


def test_where_settings_come_from(shell: Shell) -> None:
    config = shell.home / ".stratuslab" / "stratuslab-user.cfg"
    config.parent.mkdir()
    config.write_text("[default]\nendpoint = a\npassword = hunter2\nselected_section = lab\n[lab]\nusername = jane\n")
    shell.environ["STRATUSLAB_TIMEOUT"] = "7"
    found = settings(shell, "--endpoint", "https://u:hunter2@b/RPC2")
    assert found["endpoint"][1] == "--endpoint"
    assert found["username"] == ("jane", f"{config} [lab]")
    assert found["password"] == ("***", f"{config} [default]")
    assert found["timeout"] == ("7", "STRATUSLAB_TIMEOUT")
    assert found["pem_key"] == ("~/.globus/userkey.pem", "default")
    assert found["selected_section"] == ("lab", f"{config} [default]")
    assert found["pdisk_endpoint"] == (None, None)
    assert settings(shell, "-S", "lab")["selected_section"] == ("lab", "--user-config-section")
    ran = shell("config", "--endpoint", "https://u:hunter2@b/RPC2", "-vvv")
    assert "hunter2" not in ran.out + ran.err


def test_opennebula_settings_are_shown(shell: Shell) -> None:
    auth = shell.home / "auth"
    auth.write_text("jane:hunter2\n")
    shell.environ.update(ONE_XMLRPC="http://one/RPC2", ONE_AUTH=str(auth), REQUESTS_CA_BUNDLE="/ca.pem")
    found = settings(shell)
    assert found["endpoint"] == ("http://one/RPC2", "ONE_XMLRPC")
    assert found["username"] == ("jane", f"ONE_AUTH, {auth}")
    assert found["password"] == ("***", f"ONE_AUTH, {auth}")
    assert found["ca_bundle"] == ("/ca.pem", "REQUESTS_CA_BUNDLE")


def test_what_cannot_be_read_hides_nothing(shell: Shell) -> None:
    shell.environ["ONE_AUTH"] = str(shell.home / "none")
    ran = shell("config")
    assert ran.status == 0
    assert "cannot read" in ran.out


def test_a_key_that_nobody_knows(shell: Shell) -> None:
    config = shell.home / "cfg"
    config.write_text("[default]\nuser_name = jane\n")
    ran = shell("config", "-c", str(config))
    assert ran.status == 0
    assert ran.err == f'stratus-config: {config} [default]: unknown setting "user_name", did you mean "username"?\n'


def test_a_section_that_is_nearly_one(shell: Shell) -> None:
    config = shell.home / "cfg"
    config.write_text("[default]\n[partner]\nendpoint = x\n")
    ran = shell("config", "-c", str(config), "-S", "partnr")
    assert ran.status == ExitStatus.USAGE
    assert 'did you mean "partner"? available: partner' in ran.err


def test_check(alice: Shell) -> None:
    ran = alice("config", "--check")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[0].endswith('(OpenNebula 7.4.0). It accepts user "alice".')
    assert "secret" not in ran.out
    wrong = alice("config", "--check", "-p", "wrong")
    assert wrong.status == ExitStatus.DENIED
    assert wrong.out.splitlines()[0].startswith("key ")
    assert alice("config", "--check", "--endpoint", "http://127.0.0.1:1/RPC2").status == ExitStatus.UNREACHABLE


def test_one_value_for_a_script(alice: Shell) -> None:
    ran = alice("config", "--columns", "value", "--no-header", "--filter", "key=username")
    assert ran.out == "alice\n"


def test_copy_config(shell: Shell) -> None:
    path = shell.home / ".stratuslab" / "stratuslab-user.cfg"
    ran = shell("copy_config")
    assert (ran.status, ran.out, ran.err) == (0, f"{path}\n", "")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.write_text("[default]\nusername = jane\n")
    refused = shell("copy_config")
    assert refused.status == ExitStatus.USAGE
    assert "--force" in refused.err
    assert "jane" in path.read_text()
    path.chmod(0o644)
    assert shell("copy_config", "--force").status == 0
    assert path.read_text() == configuration()
    assert path.stat().st_mode & 0o777 == 0o600


def test_copy_config_elsewhere(shell: Shell, tmp_path: Path) -> None:
    assert shell("copy_config", "-c", str(tmp_path / "new" / "cfg")).status == 0
    (tmp_path / "file").write_text("")
    ran = shell("copy_config", "-c", str(tmp_path / "file" / "cfg"))
    assert ran.status == ExitStatus.FAILED
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_configuration_is_understood(shell: Shell, uncommented: bool) -> None:
    path = shell.home / "cfg"
    text = configuration()
    if uncommented:
        text = "\n".join(
            line.removeprefix("#") if line.startswith("#") and line[1:2] != " " else line for line in text.splitlines()
        )
    path.write_text(text)
    found = settings(shell, "-c", str(path))
    if uncommented:
        assert [found[known.key][0] for known in KNOWN if known.key not in ("password", "endpoint")] == [
            known.example for known in KNOWN if known.key not in ("password", "endpoint")
        ]
    else:
        assert found["endpoint"] == ("local", "default")


def test_a_check_that_fails_shows_the_settings(alice: Shell) -> None:
    ran = alice("config", "--check", "-p", "wrong")
    assert (ran.status, ran.err.count("\n")) == (ExitStatus.DENIED, 1)
    assert "endpoint" in ran.out, "the settings are shown all the same"


def test_sections_on_request(shell: Shell) -> None:
    file = shell.home / ".stratuslab" / "stratuslab-user.cfg"
    file.parent.mkdir(parents=True)
    file.write_text(
        "[default]\nendpoint = http://me:secret@one.example\nselected_section = lab\n[lab]\nendpoint = local\n[far]\n"
    )
    file.chmod(0o600)
    ran = shell("config", "--list-sections", "--format", "csv")
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "name,endpoint,selected"
    assert "lab,local,true" in ran.out
    assert "far,http://one.example,false" in ran.out
    assert "secret" not in ran.out
