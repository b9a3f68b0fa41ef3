"""The tool that makes mistakes in modules: which ones, and that it tells those that tests notice."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.harness import CHECKOUT
from tests.reliability.mutants import applied, mutants

SOURCE = '''
def least(one: int, other: int = 0) -> int:
    """The lesser."""
    if one < other and not other == 7:
        return one
    print(f"{one - 1}")
    return other
'''


def test_mutants() -> None:
    every = mutants(SOURCE)
    assert [(one.line, one.becomes) for one in every if one.was.startswith("one")] == [
        (4, "(one <= other)"),
        (4, "(not (one < other and (not other == 7)))"),
        (4, "(one < other or not other == 7)"),
    ]
    assert sorted(one.becomes for one in every if not one.was.startswith("one")) == [
        "(6)",
        "(other != 7)",
        "(other == 7)",
        "8",
        "pass",
        "return None",
        "return None",
    ]
    (removed,) = (one for one in every if one.becomes == "pass")
    assert applied(SOURCE, removed) == SOURCE.replace('print(f"{one - 1}")', "pass")


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="copies the files that git knows")
def test_mutants_that_tests_notice() -> None:
    argv = [sys.executable, "-m", "tests.reliability.mutants", "--only", "output/redaction", "--count", "3"]
    ran = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=110)
    found = re.findall(
        r"^(killed|SURVIVED) stratuslab/output/redaction\.py:\d+: .* -> .* \[((?:FAILED .*)?)\]$", ran.stdout, re.MULTILINE
    )
    assert len(found) == 3, ran
    assert all((what == "killed") == ("tests/output/test_redaction.py" in test) for what, test in found)
    killed = sum(what == "killed" for what, _ in found)
    assert f" s: {killed} of 3 killed" in ran.stdout
    assert (killed > 0, ran.returncode) == (True, 0 if killed == 3 else 1)
