"""Runs a command on an instance and keeps what it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

from stratuslab.errors import ExitStatus, SSHError, StratusLabError
from stratuslab.ssh.login_target import Target


def captured(
    line: Sequence[str] | None,
    target: Target,
    command: Sequence[str],
    data: bytes | None,
    complain: Callable[[StratusLabError], object],
) -> tuple[int, bytes, bytes]:
    """The status, output and errors of a command: by the ``line`` of OpenSSH, or without one by paramiko. ``data`` is its input.

    Raises SSHError if SSH itself fails; OpenSSH says so with status 255, whatever the command's own was.
    """
    if line is None:
        from stratuslab.ssh.paramiko_session import session

        out, err = BytesIO(), BytesIO()
        status = session(target, command, BytesIO(data) if data is not None else None, out, err, complain=complain)
        return status, out.getvalue(), err.getvalue()
    import subprocess

    # Empty input, not the program's own.
    done = subprocess.run(line, input=data or b"", capture_output=True, check=False)
    if done.returncode == ExitStatus.SSH:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise SSHError(last or f"the connection to {target.host} was lost, or the command ended with status 255")
    return (done.returncode if done.returncode >= 0 else 128 - done.returncode), done.stdout, done.stderr
