"""The supervisors: real processes, started, asked after, halted and killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.server_rules import Verb
from stratuslab.local.machines import supervisor_processes
from stratuslab.local.machines.supervisor_processes import Supervisors
from stratuslab.local.store.stored_records import ADMINISTRATOR, QEMU, Record
from stratuslab.opennebula.states import Lcm, State
from stratuslab.private_files import acquire
from stratuslab.ssh.user_public_key import make_key_pair
from tests.fakes.fake_qemu import FakeQemu, bootable, put_image
from tests.fakes.staged_cloud import Actors
from tests.harness import CHECKOUT, TTYLINUX, eventually, lives

SECRETS = {"STRATUSLAB_PASSWORD": "secret", "ONE_AUTH": "/x", "AWS_SECRET_ACCESS_KEY": "secret"}


class Keeper:
    """An embedded cloud in a directory, with real supervisors."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.supervisors = Supervisors(directory, {**os.environ, **SECRETS})
        self.engine = Engine(directory, self.supervisors)
        self.key = make_key_pair(directory / "keys")

    def allocate(self, engine: Engine | None = None) -> int:
        key = self.key.read_text().strip()
        return (engine or self.engine).allocate(
            ADMINISTRATOR,
            f'CPU=0.1 VCPU=1 MEMORY=16 DISK=[SOURCE="{TTYLINUX}"] NIC=[NETWORK="public"] CONTEXT=[PUBLIC_KEY="{key}"]',
        )

    def waiting(self) -> int:
        """A new instance that has no supervisor yet."""
        engine = Engine(self.directory, Actors())
        instance = self.allocate(engine)
        engine.close()
        return instance

    def running(self) -> int:
        """A new instance, once it runs."""
        instance = self.allocate()
        eventually(lambda: self.record(instance).lcm_state == Lcm.RUNNING)
        return instance

    def record(self, instance: int) -> Record:
        record = self.engine.store.instance(instance)
        assert record is not None
        return record

    def place(self, instance: int) -> Path:
        return self.directory / "instances" / str(instance)

    def process(self, instance: int) -> int:
        lock = self.place(instance) / "lock"
        eventually(lambda: lock.exists() and lock.read_text().isdecimal())
        return int(lock.read_text())

    def log(self, instance: int) -> str:
        return (self.place(instance) / "supervisor.log").read_text()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Keeper]:
    cloud = Keeper(tmp_path / "cloud")
    yield cloud
    cloud.engine.close()
    for place in (cloud.directory / "instances").glob("*"):
        cloud.supervisors.kill(int(place.name))


def test_an_instance_runs_is_polled_and_halts(cloud: Keeper) -> None:
    instance = cloud.running()
    record = cloud.record(instance)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(record.ssh_address, record.ssh_port, "root", key_filename=str(cloud.key.with_suffix("")), timeout=10)
    _, out, _ = client.exec_command("free -m")
    assert out.read().splitlines()[1].split()[:2] == [b"Mem:", b"16"]
    client.close()
    eventually(lambda: cloud.record(instance).memory_kib == 16 * 1024)
    cloud.supervisors.halt(instance)
    eventually(lambda: cloud.record(instance).lcm_state == Lcm.UNKNOWN)
    eventually(lambda: not cloud.supervisors.alive(instance))
    assert cloud.log(instance) == ""


def test_a_guest_is_started_again(cloud: Keeper) -> None:
    instance = cloud.running()
    process = cloud.process(instance)
    console = cloud.place(instance) / "console.log"
    cloud.engine.act(ADMINISTRATOR, instance, Verb.REBOOT)
    assert cloud.record(instance).lcm_state == Lcm.RUNNING
    eventually(lambda: console.read_text().count("login ready") == 2)
    assert "the guest reboots" in console.read_text()
    assert cloud.process(instance) == process
    assert cloud.record(instance).lcm_state == Lcm.RUNNING


def stands_still(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("verb", [Verb.SUSPEND, Verb.STOP])
def test_a_machine_stands_still_and_runs_on_as_it_was(cloud: Keeper, verb: Verb) -> None:
    instance = cloud.running()
    process = cloud.process(instance)
    record = cloud.record(instance)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(record.ssh_address, record.ssh_port, "root", key_filename=str(cloud.key.with_suffix("")), timeout=10)
    cloud.engine.act(ADMINISTRATOR, instance, verb)
    assert cloud.record(instance).state == (State.SUSPENDED if verb is Verb.SUSPEND else State.STOPPED)
    eventually(lambda: stands_still(process))
    cloud.engine.reconciler.reconcile()
    assert cloud.supervisors.alive(instance), "what stands still is not lost"
    cloud.engine.act(ADMINISTRATOR, instance, Verb.RESUME)
    assert cloud.record(instance).state_name == "RUNNING"
    eventually(lambda: not stands_still(process))
    _, out, _ = client.exec_command("hostname")
    assert out.read().strip(), "the session that was open before goes on"
    client.close()
    assert cloud.process(instance) == process
    cloud.engine.act(ADMINISTRATOR, instance, Verb.SUSPEND)
    cloud.engine.act(ADMINISTRATOR, instance, Verb.TERMINATE_HARD)
    assert cloud.record(instance).state == State.DONE
    eventually(lambda: not cloud.supervisors.alive(instance))


@pytest.fixture
def orphan(cloud: Keeper, tmp_path: Path) -> tuple[int, int]:
    """An instance whose supervisor was killed, and the QEMU that runs it: as behind a script, or where the system does not end
    it with its parent."""
    fake = FakeQemu(tmp_path / "bin")
    script = tmp_path / "scripts" / fake.program.name
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n"{fake.program}" "$@"\nexit $?\n')
    script.chmod(0o755)
    put_image(cloud.directory, bootable(b"HELLO"))
    cloud.supervisors = Supervisors(cloud.directory, {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"})
    instance = cloud.waiting()
    with cloud.engine.store.transaction():
        record = cloud.record(instance)
        record.hypervisor = QEMU
        cloud.engine.store.save(record)
    cloud.supervisors.spawn(instance)
    eventually(lambda: cloud.record(instance).lcm_state == Lcm.RUNNING)
    qemu = int((tmp_path / "bin/process").read_text())
    process = cloud.process(instance)
    os.kill(process, signal.SIGKILL)

    def gone() -> bool:
        # Waited for, too: asking does that.
        assert cloud.supervisors.alive(instance)
        return process not in cloud.supervisors._started

    eventually(gone)
    return instance, qemu


@pytest.mark.parametrize("end", ["kill", "halt"])
def test_what_a_killed_supervisor_has_left_is_alive_until_it_is_killed(cloud: Keeper, orphan: tuple[int, int], end: str) -> None:
    instance, qemu = orphan
    assert cloud.engine.instance(ADMINISTRATOR, instance).lcm_state == Lcm.RUNNING
    with pytest.raises(ProcessLookupError):
        cloud.supervisors.reboot(instance)
    assert lives(qemu)
    getattr(Supervisors(cloud.directory, {}), end)(instance)
    assert not cloud.supervisors.alive(instance)
    assert not lives(qemu)
    assert cloud.engine.instance(ADMINISTRATOR, instance).lcm_state == Lcm.UNKNOWN


def test_alive_from_the_first_moment_to_the_last(cloud: Keeper) -> None:
    assert not cloud.supervisors.alive(1)
    instance = cloud.allocate()
    assert cloud.supervisors.alive(instance)
    process = cloud.process(instance)
    assert Supervisors(cloud.directory, {}).alive(instance)
    os.kill(process, signal.SIGKILL)
    eventually(lambda: not cloud.supervisors.alive(instance))
    assert not Supervisors(cloud.directory, {}).alive(instance)


def test_killed_supervisor_is_unknown_and_can_be_started_again(cloud: Keeper) -> None:
    instance = cloud.running()
    key = (cloud.place(instance) / "ssh_host_ed25519_key").read_bytes()
    first = cloud.process(instance)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not cloud.supervisors.alive(instance))
    assert cloud.engine.instance(ADMINISTRATOR, instance).lcm_state == Lcm.UNKNOWN
    cloud.engine.act(ADMINISTRATOR, instance, Verb.RESTART)
    eventually(lambda: cloud.record(instance).lcm_state == Lcm.RUNNING)
    assert cloud.process(instance) != first
    assert (cloud.place(instance) / "ssh_host_ed25519_key").read_bytes() == key


def test_kill_waits_and_leaves_no_zombie(cloud: Keeper) -> None:
    instance = cloud.running()
    process = cloud.process(instance)
    cloud.supervisors.kill(instance)
    assert not cloud.supervisors.alive(instance)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    cloud.supervisors.kill(instance)
    cloud.supervisors.halt(instance)


def test_kill_in_the_moment_of_the_start(cloud: Keeper) -> None:
    for _ in range(5):
        instance = cloud.allocate()
        cloud.supervisors.kill(instance)
        assert not cloud.supervisors.alive(instance)


def test_no_halt_is_lost_in_the_moment_of_the_start(cloud: Keeper) -> None:
    instances = [cloud.allocate() for _ in range(3)]
    for instance in instances:
        cloud.process(instance)
        cloud.supervisors.halt(instance)
    eventually(lambda: not any(map(cloud.supervisors.alive, instances)))


def test_kill_takes_the_whole_group(cloud: Keeper) -> None:
    instance = cloud.running()
    process = cloud.process(instance)
    # It leads a session and a group of its own, and has no terminal.
    assert os.getsid(process) == os.getpgid(process) == process != os.getsid(0)


def test_a_stale_number_is_nobodys(cloud: Keeper) -> None:
    place = cloud.place(7)
    place.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as bystander:
        (place / "lock").write_text(str(bystander.pid))
        assert not cloud.supervisors.alive(7)
        cloud.supervisors.kill(7)
        cloud.supervisors.halt(7)
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.05)
        bystander.kill()


def test_one_supervisor_however_many_start_it(cloud: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_processes, "END_SECONDS", 0.3)
    instance = cloud.waiting()
    starters = [Supervisors(cloud.directory, os.environ) for _ in range(6)]
    threads = [threading.Thread(target=starter.spawn, args=(instance,)) for starter in starters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(starter._started) for starter in starters) == 1
    assert cloud.supervisors.alive(instance)


def test_a_second_one_by_hand_is_refused(cloud: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_processes, "END_SECONDS", 0.05)
    lock = cloud.place(3)
    lock.mkdir(parents=True)
    program = (
        "import sys; from stratuslab.local import machine_supervisor as supervisor; "
        "from stratuslab.local.machines import supervisor_processes as launcher; launcher.END_SECONDS = 0.05; "
        "sys.exit(supervisor.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, str(cloud.directory), "3"]
    descriptor = os.open(lock / "lock", os.O_RDWR | os.O_CREAT)
    try:
        assert acquire(descriptor, 0)
        ran = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=20, check=False)
        assert (ran.returncode, ran.stderr) == (1, "machine 3 already has a supervisor\n")
    finally:
        os.close(descriptor)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system has no /proc to look at processes")
def test_what_a_supervisor_is_given(cloud: Keeper) -> None:
    leak, other = os.pipe()
    os.set_inheritable(leak, True)
    instance = cloud.running()
    process = Path("/proc", str(cloud.process(instance)))
    environment = process.joinpath("environ").read_bytes().decode().split("\0")
    names = {line.partition("=")[0] for line in environment if line}
    assert not names & SECRETS.keys()
    of_programs = {"PATH", "HOME", "TZ", "TMPDIR", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "STRATUSLAB_LOCAL_DIR"}
    of_downloads = re.compile(r"(https?|all|no)_proxy|(requests|stratuslab)_ca_bundle|ssl_cert_file", re.IGNORECASE)
    assert {
        name for name in names - of_programs if not (name.startswith(("LC_", "PYTHON")) or of_downloads.fullmatch(name))
    } == set()
    opened = [str(link.readlink()) for link in process.joinpath("fd").iterdir()]
    assert str(Path(f"/proc/self/fd/{leak}").readlink()) not in opened
    assert process.joinpath("fd/0").readlink() == Path("/dev/null")
    assert process.joinpath("cwd").readlink() == Path("/")
    assert b"secret" not in process.joinpath("cmdline").read_bytes()
    os.close(leak)
    os.close(other)


@pytest.mark.parametrize("name", ["lock", "supervisor.log", "console.log", "ssh_host_ed25519_key"])
def test_files_are_the_owners_alone(cloud: Keeper, name: str) -> None:
    previous = os.umask(0)
    try:
        instance = cloud.running()
    finally:
        os.umask(previous)
    assert (cloud.place(instance) / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("redirection", ["", "<&-", "<&- >&- 2>&-"])
def test_starting_from_a_bare_environment(cloud: Keeper, tmp_path: Path, redirection: str) -> None:
    """As from cron: no environment, another directory, perhaps no standard streams."""
    instance = cloud.waiting()
    program = tmp_path / "start.py"
    program.write_text(
        f"import sys; sys.path[:] = {[str(CHECKOUT), *filter(None, sys.path)]!r}\n"
        "from pathlib import Path\n"
        "from stratuslab.local.machines.supervisor_processes import Supervisors\n"
        f"Supervisors(Path({str(cloud.directory)!r}), {{}}).spawn({instance})\n"
    )
    line = f'cd / && exec "{sys.executable}" "{program}" {redirection}'
    ran = subprocess.run(["/bin/sh", "-c", line], env={}, capture_output=True, timeout=20, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert cloud.supervisors.alive(instance)
    eventually(lambda: cloud.record(instance).lcm_state == Lcm.RUNNING)


def test_starting_is_quick(cloud: Keeper) -> None:
    begun = time.monotonic()
    for _ in range(3):
        cloud.allocate()
    # Far less than the supervisors need to be up.
    assert time.monotonic() - begun < 2


def test_a_prolog_that_fails(cloud: Keeper) -> None:
    # A directory is where the new host key would be written.
    (cloud.place(1) / "ssh_host_ed25519_key.new" / "x").mkdir(parents=True)
    instance = cloud.allocate()
    eventually(lambda: cloud.record(instance).lcm_state == Lcm.PROLOG_FAILURE)
    assert "the host key" in cloud.record(instance).message
    assert "cannot create" in cloud.record(instance).message
    eventually(lambda: not cloud.supervisors.alive(instance))


def test_a_boot_that_fails(cloud: Keeper) -> None:
    cloud.place(1).mkdir(parents=True)
    (cloud.place(1) / "ssh_host_ed25519_key").write_text("broken")
    instance = cloud.allocate()
    eventually(lambda: cloud.record(instance).lcm_state == Lcm.BOOT_FAILURE)
    assert "cannot read" in cloud.record(instance).message


def test_an_instance_that_nobody_wants(cloud: Keeper) -> None:
    instance = cloud.running()
    cloud.supervisors.kill(instance)
    with cloud.engine.store.transaction():
        record = cloud.record(instance)
        record.state = State.DONE
        cloud.engine.store.save(record)
    cloud.supervisors.spawn(instance)
    eventually(lambda: not cloud.supervisors.alive(instance))
    assert cloud.log(instance) == ""
    assert cloud.record(instance).state == State.DONE


def test_a_store_that_was_removed_ends_its_machines(cloud: Keeper) -> None:
    instance = cloud.running()
    process = cloud.process(instance)
    shutil.rmtree(cloud.directory / "instances")

    def ended() -> bool:
        cloud.supervisors.alive(instance)
        return process not in cloud.supervisors._started

    eventually(ended)


def test_looking_after_instances_loads_little() -> None:
    program = "import sys, stratuslab.local.machine_supervisor, stratuslab.local.engine.driver_choice; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT, timeout=20, check=True)
    assert not {"paramiko", "cryptography", "sqlite3", "subprocess", "asyncio"} & set(ran.stdout.split())
