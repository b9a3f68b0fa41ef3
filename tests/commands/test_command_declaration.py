"""What all commands share: options are neither abbreviated nor given twice."""

from __future__ import annotations

import pytest

from stratuslab.errors import ExitStatus
from tests.harness import TTYLINUX, Shell


@pytest.mark.parametrize(
    "arguments, meant",
    [
        (("run", "--vm-nam", "web1", TTYLINUX), "--vm-name"),
        (("run", "--lab=a", TTYLINUX), "--label"),
        (("kill", "--interact", "1"), "--interactive"),
        (("local_cloud", "status", "--form", "json"), "--format"),
        (("connect", "--pass", "x", "1"), "--password"),
    ],
)
def test_an_abbreviation_is_refused(shell: Shell, arguments: tuple[str, ...], meant: str) -> None:
    ran = shell(*arguments)
    assert ran.status == ExitStatus.USAGE
    assert "unrecognized arguments" in ran.err
    assert f'"{meant}' in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-t", "m1.small", "--type=m1.large", TTYLINUX),
        ("run", "--vm-name", "a", "--name", "b", TTYLINUX),
        ("run", "--name-prefix", "a", "--name-prefix", "a", TTYLINUX),
        ("describe", "--endpoint", "local", "--endpoint", "elsewhere"),
        ("describe", "--watch", "--watch", "5"),
        ("kill", "--config", "a", "-c", "b", "1"),
        ("connect", "-l", "root", "-l", "jane", "1"),
        ("local_cloud", "serve", "--port", "1", "--port", "2"),
        ("local_cloud", "status", "--columns", "id", "--columns", "key"),
        ("copy_config", "-c", "a", "-c", "b"),
    ],
)
def test_an_option_is_given_once(shell: Shell, arguments: tuple[str, ...]) -> None:
    ran = shell(*arguments)
    assert ran.status == ExitStatus.USAGE
    assert "given more than once" in ran.err


def test_what_adds_up_may_be_repeated(shell: Shell) -> None:
    assert shell("describe", "-vv", "--filter", "id>1", "--filter", "id<9", "--no-dns", "--no-dns", "-v").status == 0


class TestAPasswordFromStandardInput:
    def test_its_first_line(self, alice: Shell) -> None:
        del alice.environ["STRATUSLAB_PASSWORD"]
        for arguments in (("describe",), ("config", "--check"), ("run", "-q", TTYLINUX)):
            ran = alice(*arguments, "--password-file", "-", stdin="secret\r\nmore\n")
            assert (ran.status, ran.err) == (0, "")
        assert alice("describe", "--password-file", "-", stdin="wrong\n").status == ExitStatus.DENIED

    def test_there_is_none(self, alice: Shell) -> None:
        ran = alice("describe", "--password-file", "-", stdin="\n")
        assert (ran.status, ran.err.count("\n")) == (ExitStatus.USAGE, 1)
        assert "has no password" in ran.err

    def test_only_one_thing_comes_from_there(self, alice: Shell) -> None:
        ran = alice("kill", "--password-file", "-", "--input", "-", stdin="secret\n1\n")
        assert ran.status == ExitStatus.USAGE


def test_context_from_standard_input(alice: Shell) -> None:
    ran = alice("run", "--dry-run", "--context-file", "-", TTYLINUX, stdin="# mine\nCOLOUR=blue # sky\n")
    assert 'COLOUR = "blue # sky"' in ran.out
