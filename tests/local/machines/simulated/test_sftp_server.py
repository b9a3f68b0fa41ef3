"""Files of simulated machines: scp and sftp of OpenSSH, and paramiko's, over a tree in memory that has an end."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from stratuslab.local.machines.simulated import file_tree, sftp_server
from tests.harness import eventually
from tests.local.machines.simulated.booted_machine import Booted

pytestmark = pytest.mark.skipif(shutil.which("sftp") is None, reason="the system has no OpenSSH client")


def copied(booted: Booted, *words: str) -> subprocess.CompletedProcess[str]:
    """What scp does with words in which ``vm:`` is the machine."""
    options = booted.command()[3:-5]
    argv = ["scp", "-F", os.devnull, *options, "-i", str(booted.private_key), "-P", str(booted.port)]
    argv += [word.replace("vm:", f"root@{booted.address}:") for word in words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def sftp(booted: Booted, *lines: str) -> subprocess.CompletedProcess[str]:
    """A batch of sftp's commands."""
    options = booted.command()[3:-5]
    argv = ["sftp", "-F", os.devnull, "-b", "-", *options, "-i", str(booted.private_key), "-P", str(booted.port)]
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run([*argv, f"root@{booted.address}"], input=text, capture_output=True, text=True, timeout=60, check=False)


def test_scp_there_and_back(booted: Booted, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data.tar").write_bytes(data)
    os.chmod(tmp_path / "data.tar", 0o640)  # noqa: PTH101
    os.utime(tmp_path / "data.tar", (1_000_000_000, 1_000_000_000))
    assert copied(booted, "-p", str(tmp_path / "data.tar"), "vm:").returncode == 0
    assert booted.ssh("cat data.tar").stdout == data
    assert booted.ssh("ls -l /root").stdout.split()[:6] == [b"-rw-r-----", b"1", b"0", b"0", b"3000000", b"09"]
    assert copied(booted, "-p", "vm:data.tar", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == data
    found = (tmp_path / "back").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o640, 1_000_000_000)


def test_scp_of_folders(booted: Booted, tmp_path: Path) -> None:
    (tmp_path / "site" / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "site" / "index").write_text("hello\n")
    (tmp_path / "site" / "deep" / "x").write_text("x\n")
    assert copied(booted, "-r", str(tmp_path / "site"), "vm:").returncode == 0
    assert booted.ssh("ls site site/deep; cat site/deep/x").stdout == b"site:\ndeep\nindex\nsite/deep:\nempty\nx\nx\n"
    assert copied(booted, "-rp", "vm:/root/site", str(tmp_path / "back")).returncode == 0
    assert sorted(path.name for path in (tmp_path / "back").rglob("*")) == ["deep", "empty", "index", "x"]
    assert copied(booted, "-r", str(tmp_path / "site"), "vm:").returncode == 0, "once more, over what is there"
    assert copied(booted, "vm:site/*", str(tmp_path)).returncode == 1, "a folder among them, without -r"
    assert (tmp_path / "index").read_text() == "hello\n"


def test_scp_complains(booted: Booted, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    assert "No such file" in copied(booted, "vm:nope", str(tmp_path)).stderr
    assert copied(booted, str(tmp_path / "x"), "vm:/nope/x").returncode == 1


def test_an_sftp_session(booted: Booted, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("one\n")
    ran = sftp(
        booted,
        "pwd",
        f"put {tmp_path}/x",
        "mkdir d",
        "rename x d/y",
        "chmod 600 d/y",
        "ls -l d",
        f"get d/y {tmp_path}/y",
        "-rename d/y /etc/hostname",
        "-rmdir d",
        "rm d/y",
        "rmdir d",
        "ls",
    )
    assert ran.returncode == 0, ran.stderr
    assert "Remote working directory: /root\n" in ran.stdout
    assert "-rw-------" in ran.stdout
    assert ran.stdout.endswith("sftp> ls\n")
    assert (tmp_path / "y").read_text() == "one\n"
    assert ran.stderr.count("Failure") == 2, "over another file, and a folder that is not empty"


def test_what_commands_write_sftp_reads(booted: Booted) -> None:
    client = booted.client()
    _, out, _ = client.exec_command("echo hello > /etc/motd")
    out.channel.recv_exit_status()
    files = client.open_sftp()
    with files.open("/etc/motd") as file:
        assert file.read() == b"hello\n"
    with files.open("/etc/motd", "a") as file:
        file.write("again\n")
    with files.open("/etc/motd", "r+") as file:
        file.seek(1)
        file.write("u")
    _, out, _ = client.exec_command("cat /etc/motd")
    assert out.read() == b"hullo\nagain\n"
    files.truncate("/etc/motd", 3)
    assert files.stat("/etc/motd").st_size == 3
    with pytest.raises(OSError, match=r"File exists"):
        files.mkdir("/etc/motd")
    with pytest.raises(OSError, match=r"Is a directory"):
        files.open("/etc")
    with pytest.raises(OSError, match=r"File exists"):
        files.open("/etc/motd", "x")
    with pytest.raises(FileNotFoundError):
        files.listdir("/nope")
    with pytest.raises(OSError, match=r"Invalid argument"):
        files.rename("/etc", "/etc/below")
    client.close()


def test_a_full_tree_is_said_and_hurts_nobody(booted: Booted, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(file_tree.CAPACITY + 1))
    ran = copied(booted, str(tmp_path / "big"), "vm:")
    assert ran.returncode == 1
    assert "/root/big: No space left: this simulated machine holds 32 MB in 4096 files\n" in ran.stderr
    assert ran.stderr.count("No space left") == 1
    files = booted.client().open_sftp()
    with pytest.raises(OSError, match="No space left on device"):
        files.truncate("big", 1 << 60)
    files.remove("big")
    with files.open("big", "w") as file:
        file.write(bytes(1 << 20))
    assert booted.machine._guest.files.used < 2 << 20


def test_nodes_and_paths_and_open_files_are_bounded(booted: Booted) -> None:
    client = booted.client()
    files = client.open_sftp()
    with pytest.raises(OSError, match="File name too long"):
        files.mkdir("x" * 2000)
    opened = [files.open("/etc/hostname") for _ in range(sftp_server.MAX_OPEN)]
    with pytest.raises(OSError, match="Failure"):
        files.open("/etc/hostname")
    opened.pop().close()
    files.open("/etc/hostname").close()
    with pytest.raises(OSError, match="No space left on device"):
        for number in range(file_tree.MAX_NODES):
            files.mkdir(f"/tmp/{number}")
    client.close()


def test_a_file_that_is_removed_while_it_is_open_holds_nothing(booted: Booted) -> None:
    client = booted.client()
    files = client.open_sftp()
    with files.open("x", "w") as file:
        file.write(bytes(1 << 20))
        files.remove("x")
        with pytest.raises(OSError, match="No such file"):
            file.write(bytes(1 << 20))
            file.flush()
    assert booted.machine._guest.files.used < 1 << 20
    client.close()


def test_requests_that_are_too_large_or_nonsense_end_the_session(booted: Booted) -> None:
    client = booted.client()
    transport = client.get_transport()
    assert transport is not None
    for request in (b"\x00\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"):
        channel = transport.open_session()
        channel.settimeout(10)
        channel.invoke_subsystem("sftp")
        channel.sendall(request)
        channel.shutdown_write()
        while channel.recv(1000):
            pass
    eventually(lambda: not booted.machine._guest.sessions)
    client.close()


def test_a_client_that_drops_in_the_middle_leaves_nothing(booted: Booted) -> None:
    client = booted.client()
    file = client.open_sftp().open("x", "w")
    file.set_pipelined(True)
    file.write(bytes(5 << 20))
    transport = client.get_transport()
    assert transport is not None
    transport.sock.close()
    client.close()
    eventually(lambda: not booted.machine._guest.sessions)
