"""A real OpenSSH server (Debian's openssh-server) on loopback, with keys and a configuration of its own."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
KEYGEN = shutil.which("ssh-keygen")

_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
# What the user's own shell does when it starts is none of the tests' business.
SetEnv HOME={directory}
MaxStartups 100
MaxSessions 100
"""
_SFTP = "Subsystem sftp internal-sftp\n"


def why_not() -> str:
    """Why there can be no server here; empty where there can be one."""
    if PROGRAM is None or KEYGEN is None:
        return "this system has no sshd (Debian: openssh-server)"
    if os.geteuid() == 0:
        # Run by root it gives up its rights in this directory, which the system's service makes at boot.
        try:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            return f"/run/sshd, which sshd needs, cannot be made: {error.strerror}"
    return ""


def why_no_terminal() -> str:
    """Why a server that is run by this user can give nobody a terminal; empty where it can."""
    if os.geteuid() == 0:
        return ""
    master, slave = os.openpty()
    try:
        # sshd gives them to that group, which nobody else may do.
        return "" if os.fstat(slave).st_gid == grp.getgrnam("tty").gr_gid else "terminals do not belong to the group tty here"
    except (OSError, KeyError) as error:
        return f"terminals are not as sshd wants them: {error}"
    finally:
        os.close(master)
        os.close(slave)


def login_name() -> str:
    """The user whom a server of this process can let in."""
    return getpass.getuser()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Sshd:
    """A running server that lets the user of this process in, with the public keys that it is given; ``settings`` are further
    lines for its configuration."""

    def __init__(self, directory: Path, public_keys: str, port: int = 0, *, sftp: bool = True, settings: str = "") -> None:
        self.user = login_name()
        self.settings = settings
        self.directory = directory
        self._sftp = sftp
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "authorized_keys").write_text(public_keys)
        self._process: subprocess.Popen | None = None
        self.port = port
        self.start()

    def start(self, kind: str = "ed25519") -> None:
        """Run with a new host key; one that runs is stopped, so that a second start is a machine set up anew."""
        chosen = self.port
        for _ in range(1 if chosen else 5):
            # Somebody else may take a free port before sshd does.
            self.port = chosen or _free_port()
            if self._started(kind):
                return
        raise AssertionError((self.directory / "log").read_text())

    def _started(self, kind: str) -> bool:
        self.stop()
        key = self.directory / "host_key"
        for old in (key, key.with_suffix(".pub")):
            old.unlink(missing_ok=True)
        assert PROGRAM is not None
        assert KEYGEN is not None
        subprocess.run([KEYGEN, "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
        configuration = self.directory / "sshd_config"
        general = _CONFIGURATION.format(port=self.port, directory=self.directory)
        configuration.write_text(general + (_SFTP if self._sftp else "") + self.settings)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-D", "-e", "-f", str(configuration)], stdin=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.settimeout(5)
                    if connection.recv(4) == b"SSH-":
                        return True
            except OSError:
                time.sleep(0.02)
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
