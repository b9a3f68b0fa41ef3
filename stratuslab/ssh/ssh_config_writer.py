"""``Host`` blocks (ssh_config(5)), with which scp, rsync and ansible reach instances: the file of them that
``stratus-connect-instance --write-ssh-config`` keeps, and its line in ``~/.ssh/config``.

The file has a section for each cloud, so that what one cloud has now does not touch the others. ``~/.ssh/config`` is the user's:
it gets one line, at the top, since an Include further down would belong to the Host block above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.private_files import locked, private_directory, replace, why
from stratuslab.ssh.login_target import Target
from stratuslab.ssh.openssh import host_settings, quoted
from stratuslab.url_credentials import without_login

# A name must not be read as a pattern, an option or several names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_HEADER = "# Written by stratus-connect-instance --write-ssh-config. Changes are lost.\n"
_END = "# end\n"


def host_block(instance: int, name: str, target: Target) -> Iterator[str]:
    """The lines of the block, named ``stratus-ID`` and, where ssh allows it, like the instance."""
    number = f"stratus-{instance}"
    own = f" {name}" if _NAME.match(name) and name != number else ""
    yield f"Host {number}{own}"
    settings = [("HostName", target.host.replace("%", "%%")), ("Port", target.port), ("User", target.user)]
    settings += host_settings(target)
    if target.jump:
        settings.append(("ProxyJump", target.jump))
    if target.key is not None:
        settings.append(("IdentityFile", quoted(target.key)))
        if target.only_key:
            settings.append(("IdentitiesOnly", "yes"))
    yield from (f"    {key} {value}" for key, value in settings)


class SSHConfigFile:
    """The file. Methods raise StratusLabError if it, or the user's, cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def replace_section(self, endpoint: str, lines: Iterable[str]) -> None:
        """Replace what the file has about a cloud."""
        begin = f"# cloud: {' '.join(without_login(endpoint).split())}\n"
        with _errors_named(self.path):
            private_directory(self.path.parent)
            with locked(self.path.with_name(f"{self.path.name}.lock")):
                before = self.path.read_text("utf-8") if self.path.exists() else _HEADER
                others = re.sub(rf"(?ms)^{re.escape(begin)}.*?^{_END}", "", before)
                section = "".join(f"{line}\n" for line in lines)
                replace(self.path, f"{others}{begin}{section}{_END}".encode())

    def is_included(self, config: Path) -> bool:
        """Whether the user's configuration has the line."""
        with _errors_named(config):
            return config.exists() and self._line in config.read_text("utf-8", "surrogateescape").splitlines()

    def include(self, config: Path) -> None:
        """Add the line to the user's configuration."""
        if self.is_included(config):
            return
        with _errors_named(config):
            config.parent.mkdir(mode=0o700, exist_ok=True)
            target = config.resolve()
            before = target.read_bytes() if target.exists() else b""
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
            replace(target, f"{self._line}\n".encode() + (b"\n" if before else b"") + before, mode)

    @property
    def _line(self) -> str:
        return f'Include "{self.path}"'


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StratusLabError(f"cannot update {path}: {why(error)}", "check its permissions and the disk") from error
