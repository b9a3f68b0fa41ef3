"""The fake OpenNebula that other projects test with, as they use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import stratuslab
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.testing import embedded_cloud
from tests.harness import CHECKOUT

PAGE = (CHECKOUT / "docs" / "testing-against-a-fake-opennebula.rst").read_text("utf-8")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("flavour", SERVER_PROFILES)
def test_each_flavour_answers_for_each_user(flavour: str):
    with embedded_cloud(flavour, {"alice": "secret", "bob": "1234"}, machines="acted") as opennebula:
        version = "" if flavour == "stratuslab-3" else SERVER_PROFILES[flavour].version  # the call is new in 3.8
        assert opennebula.connect("bob").version == version
        with pytest.raises(stratuslab.AuthenticationError):
            stratuslab.connect(opennebula.endpoint, username="alice", password="1234").instances()


STATES = [
    "running",
    "unknown",
    "prolog_failure",
    "boot_failure",
    "shutdown",
    "suspended",
    "stopped",
    "poweroff",
    "undeployed",
    "hold",
]


def test_a_machine_stays_in_the_state_that_it_is_moved_to():
    with embedded_cloud(machines="acted") as opennebula, opennebula.connect() as cloud:
        vm = cloud.run("ttylinux")
        for state in STATES:
            opennebula.move(vm.id, state, "as the test says")
            assert [vm.refresh().state_label.lower() for _ in range(2)] == [state, state]
        opennebula.move(vm.id, "boot_failure", "no kernel")
        assert vm.why().endswith(
            '"no kernel". Kill it and try again; if it happens again, show this to the cloud\'s administrator'
        )
        opennebula.move(vm.id, "poweroff")
        vm.start(wait=False)
        assert vm.state_label == "Boot_Poweroff"
        opennebula.move(vm.id, "running")
        vm.kill()
        assert vm.done
        for state in ("pending", "nonsense"):
            with pytest.raises(ValueError, match=state):
                opennebula.move(vm.id, state)
        with pytest.raises(stratuslab.NotFound):
            opennebula.move(99, "running")


def test_a_simulated_machine_is_moved_and_comes_back():
    with embedded_cloud() as opennebula, opennebula.connect() as cloud:
        vm = cloud.run("ttylinux").wait("ssh", timeout=60)
        opennebula.move(vm.id, "unknown")
        vm.refresh()
        assert vm.state_label == "Unknown"
        vm.start()
        assert vm.ssh("hostname", check=True).stdout == f"{vm.name}\n"
        with pytest.raises(stratuslab.CommandFailed) as failed:
            vm.ssh(["ls", "no such"], check=True)
        assert failed.value.output.status != 0


@pytest.mark.usefixtures("hurried")
def test_calls_go_wrong_as_often_as_they_are_to():
    with embedded_cloud(machines="acted") as opennebula, opennebula.connect() as cloud:
        opennebula.fail("one.vm.allocate", "no more today", times=2)
        for _ in range(2):
            with pytest.raises(stratuslab.Refused, match="no more today"):
                cloud.run("ttylinux")
        opennebula.lose_answer("one.vm.allocate")
        assert cloud.run("ttylinux").id == 1
        opennebula.ignore("one.vm.allocate")
        with pytest.raises(stratuslab.AnswerLost):
            cloud.run("ttylinux")
        assert len(cloud.instances()) == 1
        opennebula.delay("one.vm.info", 0.3)
        begun = time.monotonic()
        cloud.instance(1)
        assert time.monotonic() - begun >= 0.3
        assert opennebula.calls.count("one.vm.allocate") == 4


def test_nothing_is_left(home: Path):
    with embedded_cloud() as opennebula, opennebula.connect() as cloud:
        vm = cloud.run("ttylinux").wait("ssh", timeout=60)
        address = vm.addresses[0]
        place = opennebula.directory
    assert not place.exists()
    with pytest.raises(stratuslab.Unreachable):
        stratuslab.connect(opennebula.endpoint, username="alice", password="secret").instances()
    running = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    assert str(place) not in running, address


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"\.\. code-block:: {kind}\n\n((?:    .*\n|\n)+)", PAGE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def environment(home: Path) -> dict[str, str]:
    scripts = f"{CHECKOUT / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    names = ("STRATUSLAB_LOCAL_ADDRESSES",)
    return {"HOME": str(home), "PATH": scripts, "PYTHONPATH": str(CHECKOUT)} | {name: os.environ[name] for name in names}


def test_the_pytest_of_the_manual_passes(home: Path):
    pytest.importorskip("pyone")
    (test,) = (block for block in blocks("python") if "def test_" in block)
    (home / "test_mine.py").write_text(test)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "stratuslab.testing.pytest_plugin", "test_mine.py"],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0
