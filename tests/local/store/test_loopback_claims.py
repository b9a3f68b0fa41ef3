"""No two embedded clouds of a computer lease the same address."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stratuslab.local.engine.status_and_reset import reset
from stratuslab.local.store import loopback_claims
from stratuslab.local.store.leases import address_text
from stratuslab.local.store.stored_records import ADMINISTRATOR
from tests.fakes.staged_cloud import Stage, configure
from tests.harness import CHECKOUT
from tests.local.templates import SMALL

Open = Callable[[Path], Stage]
NICS = SMALL + "".join(f'NIC=[NETWORK="{name}"]\n' for name in ("public", "local", "private"))


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stages:

        def start(directory: Path) -> Stage:
            stage = Stage(directory)
            stages.callback(stage.engine.close)
            return stage

        yield start


@pytest.fixture
def shared(own_addresses: Path) -> Path:
    return own_addresses


def leased(stage: Stage, template: str = NICS) -> list[str]:
    engine = stage.engine
    record = engine.instance(ADMINISTRATOR, engine.allocate(ADMINISTRATOR, template))
    return [nic["IP"] for nic in record.vectors("NIC")]


def test_each_cloud_has_a_block(tmp_path: Path, opened: Open) -> None:
    clouds = [opened(tmp_path / name) for name in "abc"]
    for machine in (1, 2):
        for block, cloud in enumerate(clouds):
            assert leased(cloud) == [f"127.{net}.{block}.{machine}" for net in (101, 102, 103)]


def test_it_is_kept_without_processes_and_through_a_reset(tmp_path: Path, opened: Open) -> None:
    first = opened(tmp_path / "a")
    assert leased(first)[0] == "127.101.0.1"
    first.engine.close()
    assert leased(opened(tmp_path / "b"))[0] == "127.101.1.1"
    again = opened(tmp_path / "b")
    reset(again.engine)
    assert leased(again) == ["127.101.1.1", "127.102.1.1", "127.103.1.1"]


def test_stores_from_before_go_on(tmp_path: Path, opened: Open, shared: Path) -> None:
    """Two stores lease the same range; what is out stays out, and what comes next is in a block of its own."""
    old = [opened(tmp_path / name) for name in "ab"]
    for cloud in old:
        assert leased(cloud)[0] in ("127.101.0.1", "127.101.1.1")
    shutil.rmtree(shared)
    store = old[1].engine.store
    with store.transaction():
        store.query("UPDATE networks SET first = first - 256")
        store.query("UPDATE leases SET address = address - 256")
    assert leased(old[0])[0] == "127.101.0.2"
    assert leased(old[1])[0] == "127.101.1.1"
    out = [address_text(address) for address, _ in old[1].engine.leases.leased(old[1].engine.leases.networks()[-1])]
    assert out == ["127.101.0.1", "127.101.1.1"]


def test_a_copy_is_another_cloud(tmp_path: Path, opened: Open) -> None:
    assert leased(opened(tmp_path / "a"))[0] == "127.101.0.1"
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert leased(opened(tmp_path / "b"))[0] == "127.101.1.1"
    assert leased(opened(tmp_path / "a"))[0] == "127.101.0.2"


def test_a_cloud_that_is_gone_gives_its_block_up(tmp_path: Path, opened: Open, shared: Path) -> None:
    leased(opened(tmp_path / "a"))
    leased(opened(tmp_path / "b"))
    shutil.rmtree(tmp_path / "a")
    assert leased(opened(tmp_path / "c"))[0] == "127.101.0.1"
    # One that was killed while it claimed.
    (shared / "127.101.2").touch()
    assert leased(opened(tmp_path / "d"))[0] == "127.101.2.1"


def test_other_users_blocks_are_theirs(tmp_path: Path, opened: Open, shared: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can act for another user")
    leased(opened(tmp_path / "a"))
    claim = shared / "127.101.0"
    claim.write_bytes(b"")
    os.chown(claim, 65534, 65534)
    assert leased(opened(tmp_path / "a"))[0] == "127.101.1.1"
    assert claim.exists()
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_a_claim_that_is_swapped_for_a_link(tmp_path: Path, opened: Open, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the owner of the shared directory can, as soon as it is there."""
    secret = tmp_path / "secret"
    secret.write_text("mine")
    usual = os.open

    def swapped(path: Path, flags: int, *rest: int, **named: int) -> int:
        descriptor = usual(path, flags, *rest, **named)
        if flags & os.O_CREAT and Path(path).parent == shared and Path(path).name.startswith("127."):
            Path(path).unlink()
            Path(path).symlink_to(secret)
        return descriptor

    monkeypatch.setattr(os, "open", swapped)
    assert leased(opened(tmp_path / "a"))
    assert any(claim.is_symlink() for claim in shared.iterdir())
    assert secret.read_text() == "mine"


def test_ranges_that_somebody_chose_stay(tmp_path: Path, opened: Open) -> None:
    leased(opened(tmp_path / "a"))
    chosen = opened(tmp_path / "b")
    configure(chosen.engine, ranges={"public": ("127.101.0.100", 21)})
    assert leased(chosen) == ["127.101.0.100", "127.102.1.1", "127.103.1.1"]


def test_where_nothing_can_be_claimed(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STRATUSLAB_LOCAL_ADDRESSES", str(tmp_path / "file" / "x"))
    found = [leased(opened(tmp_path / name)) for name in "abab"]
    assert found[0][0].rpartition(".")[0] == found[2][0].rpartition(".")[0]
    assert len({addresses[0] for addresses in found}) == 4


def test_many_at_once(tmp_path: Path) -> None:
    """In processes of their own, each of which is killed when it has its block."""
    program = (
        "import os, signal, sys; from pathlib import Path; from stratuslab.local.store.loopback_claims import claimed;"
        "print(claimed(Path(sys.argv[1]), 0), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    clouds = [tmp_path / str(number) for number in range(6)]
    for cloud in clouds:
        cloud.mkdir()
        (cloud / "cloud.sqlite").touch()
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(cloud)], stdout=subprocess.PIPE, env=environ) for cloud in clouds
    ]
    blocks = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(blocks) == list(range(6))
    assert [loopback_claims.claimed(cloud, 0) for cloud in clouds] == blocks


def test_every_block_and_nothing_else() -> None:
    firsts = set()
    for block in range(0, 51 * 256, 7):
        for network in range(3):
            first = loopback_claims.first_address(block, network)
            assert loopback_claims.block_of(first, 254, network) == block
            assert loopback_claims.block_of(first + 1, 254, network) is loopback_claims.block_of(first, 10, network) is None
            firsts.add(first)
    assert len(firsts) == len(range(0, 51 * 256, 7)) * 3
    assert max(firsts) < (127 << 24) + (254 << 16)
    assert loopback_claims.block_of(0x86_9E_4B_01, 254, 0) is None  # 134.158.75.1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
@pytest.mark.parametrize("kind", ["lock", "pipe", "links"])
def test_what_another_user_puts_there_costs_no_time(tmp_path: Path, opened: Open, shared: Path, kind: str) -> None:
    shared.mkdir(parents=True)
    shared.chmod(0o1777)
    secret = tmp_path / "secret"
    secret.write_text("mine")
    lock = shared / f".{os.geteuid()}.lock"
    if kind == "lock":
        lock.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        for block in range(300):
            (shared / f"127.101.{block}").symlink_to(secret)
        lock.symlink_to(secret)
    for path in shared.iterdir():
        os.lchown(path, 54321, 54321)
    with (secret if kind == "links" else lock).open("r+b", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        assert leased(opened(tmp_path / "a"))[0].startswith("127.")
        assert time.monotonic() - began < 5
    assert secret.read_text() == "mine"
