"""What is probably not meant in the configuration and the environment is pointed out by every command, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from tests.fakes.served_cloud import Serve
from tests.harness import Shell

EMBEDDED = "using the embedded cloud on this computer"


@pytest.fixture
def file(shell: Shell) -> Path:
    path = shell.home / ".stratuslab" / "stratuslab-user.cfg"
    path.parent.mkdir()
    return path


def described(shell: Shell, *arguments: str) -> list[str]:
    """What a command writes on stderr with -q."""
    ran = shell("describe", "-q", *arguments)
    assert ran.status == 0
    return [line.removeprefix("stratus-describe-instance: ") for line in ran.err.splitlines()]


@pytest.mark.parametrize(
    "text, said",
    [
        ("endpont = foo", ['{file} [default]: unknown setting "endpont", did you mean "endpoint"?', "{fallback}"]),
        ("endpoint =", ["{fallback}"]),
        ("endpoint = local\nuser name = jane", ['{file} [default]: unknown setting "user name", did you mean "username"?']),
        ("endpoint = local\nzzz = 1", ['{file} [default]: unknown setting "zzz"']),
        ("endpoint = local\nname = Ours\np12_password = x", []),
        (
            "endpoint = local\ntimeout = 30 # seconds",
            [
                '{file} [default]: timeout contains "#", which does not start a comment behind a value: '
                "put comments on lines of their own"
            ],
        ),
        ("endpoint = local\npem_key = 'a b'", ["{file} [default]: pem_key contains the quotes around it: remove them"]),
        (
            "endpoint = foo\nendpoint = local",
            ['{file}, line 3: "endpoint" is set twice in [default], the last value is used'],
        ),
        ("endpoint = local\n[lab]\n[lab]", ["{file}, line 4: a second section [lab], which is joined to the first"]),
        ("endpoint = local\n[lab]\nselected_section = x", ["{file} [lab]: selected_section is only used in [default]"]),
        (
            "[lab]\nendpoint = foo",
            [f"no endpoint in {{file}}, {EMBEDDED} (choose a section with -S: lab; or set endpoint)"],
        ),
    ],
)
def test_a_file(shell: Shell, file: Path, text: str, said: list[str]) -> None:
    file.write_text(f"[default]\n{text}\n")
    file.chmod(0o600)
    fallback = f"no endpoint in {file}, {EMBEDDED} (set endpoint)"
    if "timeout" in text:
        assert shell("config", "-q").err.splitlines() == [f"stratus-config: {said[0].format(file=file)}"]
        return
    assert described(shell) == [line.format(file=file, fallback=fallback) for line in said]


@pytest.mark.parametrize(
    "variable, said",
    [
        (
            "STRATUSLAB_ENDPONT",
            [
                'unknown variable STRATUSLAB_ENDPONT, did you mean "STRATUSLAB_ENDPOINT"?',
                f"STRATUSLAB_ENDPONT is set, but no endpoint: {EMBEDDED} (set STRATUSLAB_ENDPOINT)",
            ],
        ),
        ("STRATUSLAB_ENDPOINT", [f"STRATUSLAB_ENDPOINT is set, but no endpoint: {EMBEDDED} (set STRATUSLAB_ENDPOINT)"]),
        ("STRATUSLAB_USERNAME", [f"STRATUSLAB_USERNAME is set, but no endpoint: {EMBEDDED} (set STRATUSLAB_ENDPOINT)"]),
        ("STRATUSLAB_LOCALDIR", ['unknown variable STRATUSLAB_LOCALDIR, did you mean "STRATUSLAB_LOCAL_DIR"?']),
        ("STRATUS_ENDPOINT", []),
    ],
)
def test_a_variable(shell: Shell, variable: str, said: list[str]) -> None:
    shell.environ[variable] = ""
    assert described(shell)[: len(said)] == said
    assert described(shell, "--endpoint", "local") == [line for line in said if EMBEDDED not in line]


def test_every_command_says_it_once(shell: Shell, file: Path) -> None:
    file.write_text("[default]\nendpont = foo\n[a]\nendpoint = local\n[b]\nendpoint = local\n")
    for command in (("run", "-l"), ("kill", "1"), ("shutdown", "1"), ("connect", "1"), ("config",), ("describe", "-m")):
        assert shell(*command, "-q").err.count('"endpont"') == 1, command


def test_nothing_is_said_of_what_is_right(alice: Shell, file: Path) -> None:
    file.write_text("# only a comment ; here\n[default]\nuser_public_key_file = ~/.ssh/id_ed25519.pub\n")
    ran = alice("describe")
    assert (ran.status, ran.err) == (0, "")


def test_a_password_that_others_can_read(alice: Shell, file: Path, serve: Serve) -> None:
    del alice.environ["STRATUSLAB_PASSWORD"]
    kept = alice.home / "password"
    kept.write_text("secret\n")
    file.write_text("[default]\npassword = secret\n")
    for path, options in ((file, ()), (kept, ("--password-file", str(kept)))):
        file.chmod(0o600)
        path.chmod(0o644)
        said = f'stratus-describe-instance: other users can read the password in "{path}": chmod 600 {path}\n'
        assert alice("describe", *options).err == said
        assert alice("describe", "-q", *options).err == ""
        path.chmod(0o600)
        assert alice("describe", *options).err == ""
    file.chmod(0o644)
    file.write_text("[default]\nusername = jane\n")
    assert alice("describe", "--password-file", str(kept)).err == ""


def test_a_password_with_a_comment(shell: Shell, file: Path) -> None:
    file.write_text("[default]\nendpoint = local\npassword = secret  # mine\n")
    file.chmod(0o600)
    said = shell("describe").err
    assert "password contains" in said
    assert "secret" not in said
    assert described(shell) == []


@pytest.mark.parametrize("option", ["--endpoint", "--username", "--password-file", "-c", "-S", "--type"])
def test_an_option_without_a_value(shell: Shell, option: str) -> None:
    ran = shell("run" if option == "--type" else "describe", option, "", *(["-l"] if option == "--type" else []))
    assert ran.status == ExitStatus.USAGE
    assert "is empty" in ran.err
