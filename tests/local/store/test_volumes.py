"""Volumes: made, attached to one instance at a time, kept when it ends, deleted only when they are free."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.store.volumes import volume_of
from stratuslab.opennebula.states import Lcm
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Shell, leaves
from tests.local.conftest import Caller
from tests.local.engine.test_engine import refused, shown, started
from tests.local.templates import SMALL

UUID = "8a2f4b50-1f6e-4c9e-9d5a-0a1b2c3d4e5f"


@pytest.fixture
def shell(tmp_path: Path, stage: Stage) -> Shell:
    """Somebody at the staged cloud."""
    return Shell(tmp_path, clock=stage.engine.reconciler._clock)


def created(shell: Shell, *arguments: str) -> str:
    ran = shell("local_cloud", "volumes", "create", *arguments)
    assert (ran.status, ran.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", ran.out)
    return ran.out.strip()


def listed(shell: Shell) -> list[list[str]]:
    ran = shell("local_cloud", "volumes")
    assert (ran.status, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split() == ["uuid", "size", "instance", "created", "name"]
    assert shell("local_cloud", "volumes", "list").out == ran.out
    return [re.split(r"  +", row) for row in rows]


def with_volume(uuid: str) -> str:
    return f'{SMALL}DISK=[SOURCE="pdisk:localhost:8445:{uuid}", TYPE=block]'


def test_from_creation_to_deletion(shell: Shell, call: Caller, stage: Stage) -> None:
    uuid = created(shell, "1", "--name", "measured data")
    file = stage.engine.store.directory / "volumes" / uuid
    assert (file.stat().st_size, file.stat().st_blocks) == (2**30, 0)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (row,) = listed(shell)
    assert (row[0], row[1], row[2], row[4]) == (uuid, "1 GB", "-", "measured data")

    first = started(call, with_volume(uuid))
    disk = {path.rpartition("/")[2]: value for path, value in leaves(shown(call, first).document) if "/DISK/" in path}
    assert (disk["PERSISTENT"], disk["SIZE"], disk["READONLY"]) == ("YES", "1024", "NO")
    assert listed(shell)[0][2] == str(first)
    message, *_ = refused(call("one.vm.allocate", with_volume(uuid)))
    assert message.endswith(f"DISK 0: Cannot acquire volume {uuid}: it is already in use by VM {first}")
    ran = shell("local_cloud", "volumes", "delete", "--yes", uuid)
    assert ran.status == 2
    assert f"volume {uuid} is attached to machine {first}" in ran.err

    stage.runs(first)
    stage.halts(first)
    assert shown(call, first).state_label == "Unknown"
    assert listed(shell)[0][2] == str(first), "a machine that is only off still has its disks"
    call("one.vm.action", "terminate-hard", first)
    assert listed(shell)[0][2] == "-"
    assert file.exists()
    assert started(call, with_volume(uuid)) == first + 1
    call("one.vm.action", "terminate-hard", first + 1)

    ran = shell("local_cloud", "volumes", "delete", "--yes", uuid)
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert (listed(shell), file.exists()) == ([], False)


def test_an_instance_that_failed_lets_go_of_it_when_it_is_killed(shell: Shell, call: Caller, stage: Stage) -> None:
    uuid = created(shell, "100M")
    number = started(call, with_volume(uuid))
    stage.engine.machine_failed(number, Lcm.PROLOG, "no luck")
    assert listed(shell)[0][1:3] == ["100 MB", str(number)]
    call("one.vm.action", "terminate-hard", number)
    assert listed(shell)[0][2] == "-"


def test_a_template_that_is_refused_takes_none(shell: Shell, call: Caller) -> None:
    uuid = created(shell, "1")
    assert call("one.vm.allocate", with_volume(uuid) + "DISK=[TYPE=nonsense, SIZE=1]")[0] is False
    assert listed(shell)[0][2] == "-"


def test_twice_in_one_template(shell: Shell, call: Caller) -> None:
    uuid = created(shell, "1")
    message, *_ = refused(call("one.vm.allocate", with_volume(uuid) + f'DISK=[SOURCE="pdisk:x:1:{uuid}"]'))
    assert "DISK 1: Cannot acquire volume" in message


def test_the_command_that_attaches_one(shell: Shell, call: Caller, stage: Stage) -> None:
    uuid = created(shell, "2")
    ran = shell("run", "--endpoint", "local", "--dry-run", "--persistent-disk", uuid, "BN1EEkPiBx87_uLj2-sdybSI-Xb")
    source = re.search(r'SOURCE = "(pdisk:[^"]*)"', ran.out)
    assert source is not None
    assert volume_of({"SOURCE": source[1]}) == uuid


def test_a_reset_keeps_volumes(shell: Shell, call: Caller) -> None:
    uuid = created(shell, "1")
    started(call, with_volume(uuid))
    assert shell("local_cloud", "reset", "--yes").status == 0
    assert [row[:3] for row in listed(shell)] == [[uuid, "1 GB", "-"]]


class TestDelete:
    def test_asks_first(self, shell: Shell) -> None:
        uuid = created(shell, "1", "--name", "x\x1b[31m")
        ran = shell("local_cloud", "volumes", "delete", uuid)
        assert (ran.status, ran.out) == (2, "")
        assert "\x1b" not in ran.err
        assert "use --yes" in ran.err
        assert len(listed(shell)) == 1

    @pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("", 1, 1)])
    def test_at_a_terminal(self, shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, left: int) -> None:
        uuid = created(shell, "1", "--name", "mine")
        monkeypatch.setattr("stratuslab.environment.is_terminal", lambda stream: True)
        ran = shell("local_cloud", "volumes", "delete", uuid, stdin=answer)
        assert ran.status == status
        assert f"Delete the volume {uuid} (mine) with all data? [y/N] " in ran.err
        monkeypatch.undo()
        assert len(listed(shell)) == left

    def test_all_or_none(self, shell: Shell) -> None:
        uuid = created(shell, "1")
        ran = shell("local_cloud", "volumes", "delete", "--yes", uuid, UUID)
        assert (ran.status, f'the embedded cloud has no volume "{UUID}"' in ran.err) == (4, True)
        assert len(listed(shell)) == 1


@pytest.mark.parametrize(
    ("text", "mib"), [("1", 1024), ("500M", 500), ("500MB", 500), ("2g", 2048), ("3GiB", 3072), ("1T", 2**20)]
)
def test_sizes(shell: Shell, stage: Stage, text: str, mib: int) -> None:
    uuid = created(shell, text)
    assert (stage.engine.store.directory / "volumes" / uuid).stat().st_size == mib << 20


@pytest.mark.parametrize("text", ["0", "-1", "0.3M", "", "M", "1X", "99999999T", "1e3", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_what_is_no_size(shell: Shell, text: str) -> None:
    ran = shell("local_cloud", "volumes", "create", "--", text)
    assert (ran.status, ran.out) == (2, "")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("source", "uuid"),
    [
        (f"pdisk:localhost:8445:{UUID}", UUID),
        (f"pdisk:{UUID}", UUID),
        (f"pdisk:cloud.example.org/pdisk/{UUID}", UUID),
        (f"pdisk:[::1]:8445:{UUID}", UUID),
        (UUID, ""),
        (f"pdisk:a:{UUID}x", ""),
        (f"pdisk:a:../{UUID[:-1]}/", ""),
        ("", ""),
    ],
)
def test_what_names_a_volume(source: str, uuid: str) -> None:
    assert volume_of({"SOURCE": source}) == uuid


def test_a_name_will_do(shell: Shell) -> None:
    uuid = created(shell, "1M", "--name", "data")
    for _ in range(2):
        created(shell, "1M", "--name", "twin")
    out = shell("run", "--endpoint", "local", "--dry-run", "--persistent-disk", "data", TTYLINUX).out
    assert f":{uuid}" in out
    ran = shell("run", "--endpoint", "local", "--dry-run", "--persistent-disk", "twin", TTYLINUX)
    assert ran.status == ExitStatus.USAGE
    assert 'several volumes are called "twin"' in ran.err
    assert shell("local_cloud", "volumes", "delete", "--yes", "twin").status == ExitStatus.USAGE
    assert shell("local_cloud", "volumes", "delete", "--yes", "nix").status == ExitStatus.NOT_FOUND
    assert shell("local_cloud", "volumes", "delete", "--yes", "data").status == 0
    assert len(listed(shell)) == 2
