"""No call twice in a command: how often each one asks a cloud for something, by method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.opennebula.states import Lcm
from stratuslab.ssh.user_public_key import make_key_pair
from tests.commands.test_listings import CountingSite
from tests.commands.test_waiting import Script, reaches
from tests.fakes import sshd
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Shell

VERSION = "system.version "  # how an action is called, and whether a listing has pages
PAGE = VERSION + "vmpool.info "  # finds the ids of names
DOCUMENT, ACTION = "vm.info ", "vm.action "  # one for each instance

# Three machines run: web1, web2, web3.
EVERYWHERE = {
    "describe -vv": PAGE + 3 * DOCUMENT,  # whole documents, which have the figures
    "describe --format ids": PAGE,
    "describe 1": DOCUMENT,
    "describe -v 1": DOCUMENT,
    "describe -vv 1": DOCUMENT,
    "describe 1 2": 2 * DOCUMENT,
    "describe 1 1": DOCUMENT,
    "describe web1": PAGE + DOCUMENT,
    "describe web1 web2": PAGE + 2 * DOCUMENT,
    "describe --wait-for running 1 2": 2 * DOCUMENT,
    "describe --wait-for running web1": PAGE + DOCUMENT,
    "kill 1": VERSION + ACTION,
    "kill 1 2": VERSION + 2 * ACTION,
    "kill web1 web2": PAGE + 2 * ACTION,
    "kill --all --yes": PAGE + 3 * ACTION,
    "shutdown 1": VERSION + DOCUMENT + ACTION,  # its state decides: one that stands still cannot shut down
    "shutdown web1 web2": PAGE + 2 * DOCUMENT + 2 * ACTION,
    "reboot 1": ACTION,
    "reboot web1": PAGE + ACTION,
    "connect --print 1": DOCUMENT,
    "connect --print web1": PAGE + DOCUMENT,
    "connect --ssh-config 1 2": 2 * DOCUMENT,
    "connect --ssh-config": PAGE + 3 * DOCUMENT,
    "config": "",
    "config --check": PAGE,
    "list_networks": "vnpool.info",
}
BY_SSH = {
    "connect 1 -- true": DOCUMENT,
    "connect 1 2 -- true": 2 * DOCUMENT,
    "copy_files /etc/hostname 1:/dev/null": DOCUMENT,
}
# The first answer is sought among the machines that there are, in case that it is lost; then each has a document.
START_7 = VERSION + "vmpool.infoextended vm.allocate " + DOCUMENT
IMAGES = "imagepool.info "  # whether the cloud has the Marketplace's image
# 3.2 has no pages: the newest machine is the one after which there is no document.
START_3 = PAGE + "vm.allocate " + DOCUMENT + DOCUMENT
FIGURES = PAGE + "vmpool.monitoring"  # which listings of 7 do not have
OF_VERSION = {
    "opennebula-7": {
        "describe": FIGURES,
        "describe -v": FIGURES,
        "describe --all-states": FIGURES,
        "stop 1": DOCUMENT + ACTION,
        "update 1 --name new": VERSION + "vm.rename",
        "update web1 --name new": PAGE + "vm.rename",
        "run": START_7 + IMAGES,
        "run -n 3": START_7 + IMAGES + 2 * ("vm.allocate " + DOCUMENT),
        "run --dry-run": VERSION + IMAGES,
        "run --network private": START_7 + IMAGES + "vnpool.info",
        "run --wait-for running": START_7 + IMAGES + DOCUMENT,  # asked for again until it runs
        "run one:ttylinux": START_7 + IMAGES,
        "run one:1": START_7 + "image.info",
    },
    "stratuslab-3": {
        "describe": PAGE,
        "describe -v": PAGE,
        "describe --all-states": PAGE,
        "update 1 --name new": VERSION,  # says that there is no call for it
        "run": START_3,
        "run -n 3": START_3 + 2 * ("vm.allocate " + DOCUMENT),
        "run --dry-run": VERSION,
        "run --network private": START_3 + "vnpool.info",
        "run --wait-for running": START_3 + DOCUMENT,
        "run one:ttylinux": START_3 + IMAGES,
        "run one:1": START_3 + "image.info",
    },
}
CASES = [
    (profile, command, calls)
    for profile, of_version in OF_VERSION.items()
    for command, calls in (EVERYWHERE | BY_SSH | of_version).items()
]


@pytest.fixture
def site(profile: str, shell: Shell, stage: Stage, serve: Serve) -> Iterator[CountingSite]:
    (shell.home / ".ssh" / "id_ed25519.pub").unlink()
    (shell.home / ".ssh").chmod(0o700)
    make_key_pair(shell.home / ".ssh")
    served = serve(users={"alice": "secret"}, profile=profile)
    site = CountingSite(shell, stage, served, SERVER_PROFILES[profile].version)
    assert site("run", "-n", "3", "--name-prefix", "web", TTYLINUX).status == 0
    for number in (1, 2, 3):
        stage.runs(number)
    yield site
    site.proxy.close()


@pytest.mark.parametrize("profile, command, calls", CASES)
def test_calls(
    site: CountingSite, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, calls: str
) -> None:
    name, *words = command.split()
    if name == "run" and "one:" not in command:
        words.append(TTYLINUX)
    if "run --wait-for" in command:
        Script(stage).acts = reaches(stage, 4, Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING)
    if command in BY_SSH:
        if sshd.why_not():
            pytest.skip(sshd.why_not())
        # On a busy computer the server may answer only after the first look, and a second look is a call.
        monkeypatch.setattr("stratuslab.commands.shared.waiting._FIRST_PAUSE", 30.0)
        server = sshd.Sshd(tmp_path / "server", (site.shell.home / ".ssh" / "id_ed25519.pub").read_text())
        for number in (1, 2):
            stage.engine.machine_listens(number, "127.0.0.1", server.port)
        try:
            ran = site(name, "-l", server.user, *words)
        finally:
            server.stop()
    else:
        ran = site(name, *words)
    assert ran.status == (1 if calls == VERSION and name == "update" else 0), ran.err
    assert site.calls == Counter(f"one.{method}" for method in calls.split())
