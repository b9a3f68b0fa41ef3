"""The guide's story, and what can go wrong in it, with machines that QEMU really boots on the embedded cloud."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.server_rules import Verb
from stratuslab.local.engine.status_and_reset import reset
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.local.tiny.build_tiny import TinyImage
from stratuslab.marketplace.identifier import identifier_from_sha1
from tests.fakes.file_server import whole
from tests.fakes.scripted_server import ScriptedServer
from tests.harness import CHECKOUT, Ran, Shell, eventually

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(400)]

PATIENCE = "--timeout=120"  # a boot takes 3 s on a computer that has nothing else to do


class User(Shell):
    """A user with a key pair and the tiny image."""

    image = ""

    @property
    def cloud(self) -> Path:
        return Path(self.environment()["STRATUSLAB_LOCAL_DIR"])

    def starts(self, *arguments: str) -> list[str]:
        """Start machines and wait until SSH answers; their ids."""
        ran = self.script("stratus-run-instance", "--wait-for", "ssh", PATIENCE, "-q", *arguments, self.image, timeout=150)
        assert (ran.status, ran.err) == (0, ""), ran
        return [line.partition(",")[0] for line in ran.out.splitlines()]

    def tells(self, number: str, command: str, status: int = 0) -> str:
        """What a command prints on the machine."""
        ran = self.script("stratus-connect-instance", "-q", PATIENCE, number, "--", command, timeout=150)
        assert ran.status == status, ran
        return ran.out

    def state(self, number: str) -> str:
        ran = self("describe", number, "--columns", "state", "--no-header")
        assert ran.status == 0, ran
        return ran.out.strip()

    def becomes(self, number: str, state: str) -> None:
        assert self("describe", "--wait-for", state.lower(), "--timeout", "60", number).status == 0
        assert self.state(number) == state

    def processes(self, number: str) -> list[int]:
        """The QEMU of an instance, found by the directory that it works in."""
        place = self.cloud / "instances" / number
        return [pid for pid in processes() if name(pid).startswith("qemu-system") and at(pid) == place]

    def supervisor(self, number: str) -> int:
        return int((self.cloud / "instances" / number / "lock").read_text())


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def status(pid: int) -> str:
    """The letter of the process's state, such as T for stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]


def at(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def prepared(home: Path, cloud: Path, cache: Path) -> User:
    """A user of a cloud in a directory, who takes packages and image from a cache."""
    (home / ".ssh").mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / ".ssh" / "id_ed25519"], check=True)
    user = User(home, {"STRATUSLAB_ENDPOINT": "local", "STRATUSLAB_LOCAL_DIR": str(cloud)})
    (cloud / "cache").mkdir(parents=True)
    (cloud / "cache" / "tiny").symlink_to(cache, target_is_directory=True)
    built = user("local_cloud", "build-image", "tiny")
    assert (built.status, built.err) == (0, "")
    user.image = built.out.strip()
    return user


@pytest.fixture
def user(tmp_path: Path, tiny: TinyImage) -> Iterator[User]:
    user = prepared(tmp_path / "home", tmp_path / "cloud", tiny.path.parent)
    yield user
    engine = Engine(user.cloud)
    reset(engine)
    engine.close()


def test_the_guides_story(user: User) -> None:
    first, second = user.starts("-n", "2", "--type", "c1.medium", "--cpu", "2", "--swap", "64")
    status = dict(line.split(maxsplit=1) for line in user("local_cloud", "status").out.splitlines())
    assert status["hypervisor"].startswith("qemu (QEMU ")
    assert status["processes"] == "2"

    # The table, with what QEMU's process uses.
    user.becomes(first, "Running")
    eventually(lambda: user("describe", first, "--columns", "memory_kib", "--no-header").out.strip() not in ("-", "0"))
    row = user("describe", first).out.splitlines()[1].split()
    assert row[:3] == [first, "Running", "2"]
    assert 60_000 < int(row[3]) < 600_000
    assert row[5:] == ["127.101.0.1", "one-1"]

    # A command on the machine.
    assert user.tells(first, "nproc; hostname") == "2\none-1\n"
    memory = dict(line.split()[:2] for line in user.tells(first, "free -m").splitlines()[1:])
    assert 200 <= int(memory["Mem:"]) <= 256
    assert int(memory["Swap:"]) in (63, 64)
    assert re.search(r"^/dev/vdb +partition", user.tells(first, "swapon -s"), re.MULTILINE)
    assert user.tells(second, "exit 3", status=3) == ""
    assert user.tells(second, "hostname") == "one-2\n"
    with closing(ScriptedServer(whole(b"from outside"))) as server:
        assert user.tells(second, f"wget -q -O - http://10.0.2.2:{server.port}/") == "from outside"

    # A session, as the guide has it.
    session = pexpect.spawn(
        str(CHECKOUT / "bin" / "stratus-connect-instance"),
        [first],
        env={**user.environment(), "PYTHONPATH": str(CHECKOUT), "TERM": "vt100"},
        encoding="utf-8",
        timeout=60,
    )
    session.expect("# ")
    session.sendline("echo $USER")
    session.expect("\r\nroot\r\n# ")
    session.sendline("shutdown -h")
    session.expect(r"# .*Connection to [\w.]+ closed( by remote host)?\.")
    session.expect(pexpect.EOF)
    user.becomes(first, "Unknown")
    eventually(lambda: not user.processes(first))
    assert user.state(second) == "Running"

    # The cord.
    assert user("kill", first, second).status == 0
    assert user("describe", second).out.splitlines()[1].split()[:2] == [second, "Done"]
    assert user.processes(second) == []
    assert list((user.cloud / "instances").iterdir()) == []


def test_data_on_a_volume_outlives_the_machine(user: User) -> None:
    volume = user("local_cloud", "volumes", "create", "64M", "--name", "data").out.strip()
    disk = "/dev/disk/by-id/virtio-persistent"
    (first,) = user.starts("--persistent-disk", volume, "--volatile-disk", "1", "--readonly-disk", user.image)
    made = user.tells(first, f"mke2fs {disk} >/dev/null && mount {disk} /media && echo kept > /media/file && cat /media/file")
    assert made == "kept\n"
    assert user.tells(first, "echo x > /mnt/file; df -m /mnt | tail -1 | awk '{print ($2 > 900), $6}'") == "1 /mnt\n"
    assert (
        user.tells(first, "cat /sys/block/vde/ro; dd if=/dev/zero of=/dev/vde count=1 2>/dev/null || echo refused")
        == "1\nrefused\n"
    )

    second = user.script("stratus-run-instance", "--persistent-disk", volume, user.image)
    assert (second.status, f"already in use by VM {first}" in second.err) == (ExitStatus.FAILED, True)

    # Asked to shut down, the guest writes what it has not written yet.
    ended = user.script("stratus-shutdown-instance", "--timeout", "60", first, timeout=90)
    assert (ended.status, user.state(first)) == (0, "Done"), ended
    (third,) = user.starts("--persistent-disk", volume)
    assert user.tells(third, f"mount {disk} /media && cat /media/file") == "kept\n"


def test_qemu_is_killed(user: User) -> None:
    (number,) = user.starts()
    (pid,) = user.processes(number)
    os.kill(pid, signal.SIGKILL)
    user.becomes(number, "Unknown")
    assert "killed" in user("describe", "--console", number).out
    assert user("kill", number).status == 0
    assert list((user.cloud / "instances").iterdir()) == []


def test_the_supervisor_is_killed(user: User) -> None:
    (number,) = user.starts()
    os.kill(user.supervisor(number), signal.SIGKILL)
    eventually(lambda: not user.processes(number))
    user.becomes(number, "Unknown")
    assert user("kill", number).status == 0
    # Its address and its place are free again.
    engine = Engine(user.cloud)
    assert [engine.leases.leased(network) for network in engine.leases.networks()] == [[], [], []]
    engine.close()


def test_a_reboot_keeps_the_identity(user: User) -> None:
    (number,) = user.starts()
    which = ("stratus-connect-instance", "-q", PATIENCE, number, "--", "cat /proc/sys/kernel/random/boot_id")
    before = user.script(*which, timeout=150).out
    user.script("stratus-connect-instance", "-q", number, "--", "reboot", timeout=60)
    # A connection in the moment of the end is cut off; a changed host key would be refused.
    eventually(lambda: (now := user.script(*which, timeout=150)).status == 0 and now.out != before, 100)
    assert user.state(number) == "Running"


def test_a_suspended_machine_stands_still_and_runs_on(user: User) -> None:
    (number,) = user.starts()
    command = "cat /proc/sys/kernel/random/boot_id; touch /run/mine"
    before = user.tells(number, command)
    engine = Engine(user.cloud)
    with closing(engine):
        engine.act(ADMINISTRATOR, int(number), Verb.SUSPEND)
        assert user.state(number) == "Suspended"
        (pid,) = user.processes(number)
        # A signal stops a process when its processor looks next.
        eventually(lambda: status(pid) == status(user.supervisor(number)) == "T")
        used = Path(f"/proc/{pid}/schedstat").read_text()
        unanswered = user.script("stratus-connect-instance", "-q", "--timeout=1", number, "--", "true", timeout=60)
        assert unanswered.status != 0
        assert Path(f"/proc/{pid}/schedstat").read_text() == used, "it used the processor"
        engine.act(ADMINISTRATOR, int(number), Verb.RESUME)
    user.becomes(number, "Running")
    assert user.tells(number, f"{command}; ls /run/mine") == f"{before}/run/mine\n"

    # One that stands still can be killed, and leaves nothing.
    engine = Engine(user.cloud)
    with closing(engine):
        engine.act(ADMINISTRATOR, int(number), Verb.SUSPEND)
    assert user("kill", number).status == 0
    assert (user.state(number), user.processes(number)) == ("Done", [])
    assert list((user.cloud / "instances").iterdir()) == []


def test_the_console(user: User) -> None:
    (number,) = user.starts()
    shown = user("describe", "--console", number)
    assert shown.status == 0
    assert "one-1: login ready" in shown.out.splitlines()
    assert "[2J" not in shown.out
    assert (user.cloud / "instances" / number / "console.log").stat().st_mode & 0o077 == 0


def test_a_wrong_checksum_fails_the_instance(user: User, tmp_path: Path, entry: bytes) -> None:
    content = b"this is no disk" * 1000
    promised = hashlib.sha1(b"something else").hexdigest()
    identifier = identifier_from_sha1(promised)
    with closing(ScriptedServer(whole(content))) as server:
        document = entry.replace(b"639ac4915da045efa809bd02b2609d9d3f932e85", promised.encode())
        document = document.replace(b"GOaxJFdoEXvqAm9ArJgnZ0_ky6F", identifier.encode()).replace(b"5242880", b"%d" % len(content))
        location = f"<slterms:location>http://127.0.0.1:{server.port}/image</slterms:location>".encode()
        (tmp_path / "entry.xml").write_bytes(document.replace(b"<dcterms:title>", location + b"<dcterms:title>"))
        assert user("local_cloud", "add-entry", str(tmp_path / "entry.xml")).out.strip() == identifier
        ran = user("run", "-q", "--wait-for", "running", PATIENCE, identifier)
    assert ran.status == ExitStatus.INSTANCE_FAILED
    number = ran.out.partition(",")[0]
    assert user.state(number) == "Prolog_Failure"
    assert hashlib.sha1(content).hexdigest() in ran.err
    assert promised in ran.err
    assert not (user.cloud / "images" / identifier / "image").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here: that is for root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_machines_trouble(tmp_path: Path, small_disk: Path, tiny: TinyImage) -> None:
    user = prepared(tmp_path / "home", small_disk / "cloud", tiny.path.parent)
    try:
        too_large = user("run", "-q", "--swap", "1000", user.image)
        assert too_large.status == 0
        waiting = too_large.out.partition(",")[0]
        assert user.state(waiting) == "Pending"
        assert "space" in user("describe", "-v", waiting).out
        assert user("kill", waiting).status == 0

        volume = user("local_cloud", "volumes", "create", "20M").out.strip()
        (other,) = user.starts("--swap", "0")
        (number,) = user.starts("--swap", "0", "--persistent-disk", volume)
        # Somebody else takes what there was for the volume.
        with (small_disk / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, os.statvfs(small_disk).f_bavail * 4096 - (1 << 20))
        fill = "dd if=/dev/urandom of=/dev/disk/by-id/virtio-persistent bs=1M conv=fsync 2>&1 || echo failed"
        assert "failed" in user.tells(number, fill)
        assert os.statvfs(small_disk).f_bavail == 0
        # And it does not stop: whatever becomes free it takes.
        write = "dd if=/dev/urandom of=/dev/disk/by-id/virtio-persistent bs=64k count=1 conv=fsync"
        user.tells(number, f"(i=0; while :; do i=$(((i + 7) % 320)); {write} seek=$i; done) >/dev/null 2>&1 </dev/null &")
        assert user.tells(other, "echo here") == "here\n"
        for _ in range(3):
            assert user.state(other) == "Running"
        # Killing is what makes room, so it must work without any.
        assert user("kill", number) == Ran(0, "", "")
        assert user("kill", other).status == 0
        assert user("local_cloud", "volumes", "delete", "--yes", volume).status == 0
        assert os.statvfs(small_disk).f_bavail > 0
        assert user.state(other) == "Done"
    finally:
        engine = Engine(user.cloud)
        reset(engine)
        engine.close()


def test_stopped_started_and_copied_to(user: User, tmp_path: Path) -> None:
    (number,) = user.starts("--name", "web")
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(300_000))
    assert user.script("stratus-copy-files", str(sent), "web:/tmp/there", timeout=150) == Ran(0, "", "")
    assert user.script("stratus-copy-files", "web:/tmp/there", str(back), timeout=150) == Ran(0, "", "")
    assert back.read_bytes() == sent.read_bytes()
    assert user.script("stratus-stop-instance", "web", timeout=150) == Ran(0, "", "")
    assert (user.state(number), user.processes(number)) == ("Poweroff", [])
    assert user.script("stratus-start-instance", "web", timeout=150) == Ran(0, "", "")
    assert user.state(number) == "Running"
    assert user.script("stratus-update-instance", number, "--name", "db") == Ran(0, "", "")
    assert user.tells("db", "hostname") == "web\n"
    assert user.script("stratus-stop-instance", "--hard", "db", timeout=150) == Ran(0, "", "")
    assert user.script("stratus-kill-instance", "db") == Ran(0, "", "")
