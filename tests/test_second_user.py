"""A second user of the same computer gets nothing to run, to read or to change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import CHECKOUT, TTYLINUX, Shell

STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
PLANTED = ("runpy", "argparse", "contextlib", "stratuslab", "sqlite3", "paramiko", "requests", "sitecustomize")


def plant(directory: Path, loot: Path) -> None:
    """Modules that note that they were imported."""
    for name in PLANTED:
        (directory / f"{name}.py").write_text(f"open({str(loot)!r}, 'a').write({name!r})\nraise ImportError('planted')\n")


def test_the_process_of_a_machine_imports_nothing_from_writable_folders(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loot, open_to_all, here = tmp_path / "loot", tmp_path / "open", tmp_path / "here"
    instance = shell.home / "cloud" / "instances" / "1"
    for directory in (instance, open_to_all, here):
        directory.mkdir(mode=0o700, parents=True)
        plant(directory, loot)
    open_to_all.chmod(0o777)
    monkeypatch.chdir(here)
    # As in a program of one's own, or with PYTHONPATH=:/elsewhere.
    monkeypatch.setattr(sys, "path", [*sys.path, "", str(here), str(open_to_all)])
    shell.environ["PYTHONPATH"] = f":{open_to_all}"
    ran = shell("run", TTYLINUX, "--wait-for", "ssh")
    shell("local_cloud", "reset", "--yes")
    assert (ran.status, loot.exists()) == (0, False), ran.err


def test_nothing_that_is_made_is_open_to_others(shell: Shell) -> None:
    state = shell.home / ".local"
    shell.environ["STRATUSLAB_LOCAL_DIR"] = str(state / "state" / "stratuslab" / "local")
    (shell.home / ".ssh" / "id_ed25519.pub").unlink()
    before = os.umask(0)
    try:
        assert shell("copy_config").status == 0
        assert shell("run", TTYLINUX, "--wait-for", "ssh").status == 0
        assert shell.script("stratus-connect-instance", "1", "--", "true", environ={"PATH": "/nowhere"}).status == 0
        assert shell("local_cloud", "volumes", "create", "1M").status == 0
        assert shell("local_cloud", "add-image", "--data", str(CHECKOUT / "bin" / "stratus-config")).status == 0
        made = [path for top in (state, shell.home / ".stratuslab") for path in (top, *top.rglob("*"))]
        open_to_others = {path.name: oct(path.stat().st_mode) for path in made if path.stat().st_mode & 0o077}
        assert open_to_others == {"id_ed25519.pub": "0o100644"}
        assert {"console.log", "supervisor.log", "cloud.sqlite", "known_hosts", "image"} <= {path.name for path in made}
    finally:
        os.umask(before)
        shell("local_cloud", "reset", "--yes")


def made_by(user: int, *paths: Path) -> None:
    for path in paths:
        os.chown(path, user, user)


def state(shell: Shell) -> Path:
    directory = shell.home / "cloud"
    (directory / "instances").mkdir(parents=True)
    made_by(STRANGER, directory, directory / "instances")
    directory.chmod(0o777)
    return directory


def instances(shell: Shell) -> Path:
    directory = shell.home / "cloud" / "instances"
    directory.mkdir(parents=True)
    made_by(STRANGER, directory)
    return directory


def images(shell: Shell) -> Path:
    directory = shell.home / "cloud" / "images"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    return directory


def database(shell: Shell) -> Path:
    assert shell("local_cloud", "status").status == 0
    path = shell.home / "cloud" / "cloud.sqlite"
    path.chmod(0o666)
    return path


def parent(shell: Shell) -> Path:
    shell.home.chmod(0o777)
    return shell.home


def configuration(shell: Shell) -> Path:
    path = shell.home / ".stratuslab" / "stratuslab-user.cfg"
    path.parent.mkdir(mode=0o700)
    path.write_text("[default]\nendpoint = local\n")
    made_by(STRANGER, path)
    return path


def client(shell: Shell) -> Path:
    (shell.home / ".stratuslab").mkdir()
    (shell.home / ".stratuslab").chmod(0o777)
    (shell.home / ".stratuslab" / "stratuslab-user.cfg").write_text("[default]\n")
    return shell.home / ".stratuslab"


@pytest.mark.parametrize(
    "attack",
    [*(pytest.param(made, marks=needs_root) for made in (state, instances, configuration)), images, database, parent, client],
)
def test_what_a_stranger_prepared_is_refused(shell: Shell, attack: Callable[[Shell], Path]) -> None:
    path = attack(shell)
    ran = shell("run", TTYLINUX)
    assert (ran.status, ran.out) == (2, "")
    assert "refusing to use" in ran.err and str(path) in ran.err
    assert "chmod go-w" in ran.err or "use one of your own" in ran.err
    assert not list((shell.home / "cloud").glob("instances/*/*"))
