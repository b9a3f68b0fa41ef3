"""Logging in to an instance by SSH as the options say: where, with which key, and checked as far as possible before."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.commands.session import Session
from stratuslab.commands.shared.login_address import login_points, no_address
from stratuslab.commands.shared.login_arguments import LOGIN_PATIENCE
from stratuslab.commands.shared.login_key import LoginKey, can_ask
from stratuslab.commands.shared.waiting import hopeless, wait
from stratuslab.environment import ask_secret
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.opennebula.states import SSH, Phase
from stratuslab.ssh import jump_hosts, openssh
from stratuslab.ssh.agent import agent_address
from stratuslab.ssh.banner import Knocking, Point, ReadBanner, read_banner
from stratuslab.ssh.host_key import check_shown_key
from stratuslab.ssh.known_hosts import KnownHosts, NotRecorded, host_key_alias
from stratuslab.ssh.login_target import Target, checked_host, checked_user, jumps

if TYPE_CHECKING:
    from paramiko import SFTPClient

_CONNECT = 10.0
_SILENCE = 60.0
_SILENCE_OF_SESSIONS = 300.0
"""Seconds to connect, and without a word from the server of a command or of a session, where --timeout says nothing else."""

_FIRST_LOOK = 4.0
"""Seconds to find out which of several addresses is meant where nothing is to be waited for."""


class SSHLogin:
    """Made once for a run of the command; what is wrong with the options is said when it is made (UsageError).

    ``alone`` says that there is a single instance, so that a person can be asked for a passphrase and shown progress.
    ``ssh`` is the system's ssh, None where paramiko takes its place.
    """

    def __init__(self, session: Session, alone: bool) -> None:
        self._session = session
        session.environment.hide_passwords()
        self._options = session.options
        self._ssh_options: Sequence[str] = session.options.ssh_option
        home = session.environment.home
        if home is None:
            raise UsageError("HOME is not set: cannot store host keys", "set HOME")
        self._known_hosts = KnownHosts(home / ".stratuslab" / "known_hosts")
        self.ssh = self._client()
        jumps(self._options.jump)
        if self._options.address:
            checked_host(self._options.address)
        if self._options.login:
            checked_user(self._options.login)
        self.asks = alone and can_ask(session)
        self.alone = alone
        self._configuration: dict[str, dict[str, str]] = {}
        self._keys = LoginKey(session, self.asks, self._agent)
        self._recorded = True
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + session.settings.wait_timeout(LOGIN_PATIENCE)

    def _client(self) -> str | None:
        wanted = self._options.ssh_client
        found = None if wanted == "paramiko" else openssh.find_ssh(self._session.environment.environ)
        if wanted == "openssh" and found is None:
            raise UsageError("ssh is not installed (--ssh-client)", "install OpenSSH's client, or use paramiko")
        if found is None:
            if self._ssh_options:
                raise UsageError("--ssh-option requires OpenSSH; paramiko takes no such options", "install OpenSSH's client")
            if wanted is None:
                self._session.messages.step("ssh is not installed: using paramiko")
        return found

    def target(self, number: int) -> Target:
        """Where the instance's SSH server answers, once it does.

        Raises InstanceFailed, TimedOut, SSHError for a host key that has changed, and what the cloud raises.
        """
        reader = None

        def way(instance: Instance) -> tuple[Sequence[Point], ReadBanner | None]:
            nonlocal reader
            points = self._points(instance)
            reader = self._reader(points[0]) if points else None
            return points, reader

        left = max(self._deadline - time.monotonic(), 0.0)
        waited = wait(self._session, [number], SSH, left, way, visible=self.alone, announce=True)
        if number in waited.errors:
            raise waited.errors[number]
        host, port = waited.answered[number]
        if reader is not None:
            self._session.messages.step(f"Instance {number} answers at {host} port {port}")
        target = self._described(waited.latest[number], host, port)
        known, target = self._known(target)
        if known and self.ssh is not None and reader is read_banner:
            check_shown_key(self.ssh, host, port, known)
        patience = max(self._deadline - time.monotonic(), 1.0) if reader is None and self.ssh is None else 0.0
        return replace(target, known=bool(known), patience=patience)

    def _known(self, target: Target) -> tuple[list[tuple[str, str]], Target]:
        """The host's known keys, and the target; one whose keys cannot be read or recorded is logged in to all the same."""
        try:
            if self._options.forget_host_key:
                self._known_hosts.forget(target.alias)
        except NotRecorded as error:
            self.not_recorded(error)
            return [], replace(target, known_hosts=Path(os.devnull), recorded=False)
        known = []
        try:
            known = self._known_hosts.keys(target.alias)
            if not known and self._recorded:
                self._known_hosts.prepare()
        except NotRecorded as error:
            self.not_recorded(error)
        return known, replace(target, recorded=self._recorded)

    def not_recorded(self, error: StratusLabError) -> None:
        """Say once that host keys are not recorded, and do not try again: each try may wait for a lock."""
        with self._lock:
            if self._recorded:
                self._recorded = False
                self._session.messages.note(f"{error.message}; going on without recording host keys")

    def described(self, instance: Instance) -> Target:
        """As target, but of an instance as it is now, without waiting: of several addresses one that answers, else the first."""
        if instance.phase >= Phase.LEAVING:
            raise hopeless(self._session, instance)
        points = self._points(instance)
        if not points:
            raise no_address(instance)
        host, port = points[0]
        reader = self._reader(points[0])
        if len(points) > 1 and reader is not None:
            with closing(Knocking(time.monotonic() + _FIRST_LOOK)) as knocking:
                knocking.begin(instance.id, points, reader)
                knocking.wait(_FIRST_LOOK)
                host, port = knocking.answered.get(instance.id, points[0])
            if not knocking.answered:
                self._session.messages.step(f"{knocking.seen(instance.id)}; taking the first address")
        return self._described(instance, host, port)

    def _described(self, instance: Instance, host: str, port: int) -> Target:
        key, only = self._keys.for_instance(instance)
        self._session.messages.step(f"Private key: {key or 'as ssh chooses'}")
        return Target(
            host,
            port,
            alias=host_key_alias(self._session.cloud.address, instance.id),
            known_hosts=self._known_hosts.path,
            user=self._options.login or instance.context.get("USERNAME") or "root",
            key=key,
            only_key=only,
            connect_timeout=self._seconds(_CONNECT),
            silence=self._silence(host),
            jump=self._options.jump,
        )

    def _points(self, instance: Instance) -> Sequence[Point]:
        port = self._options.port or SSH_PORT
        if self._options.address:
            return [(self._options.address, port)]
        return login_points(self._session, instance, port, self._options.nic)

    def _reader(self, point: Point) -> ReadBanner | None:
        """How a banner is read: by read_banner if the connection is a direct one, None where that cannot be done beforehand."""
        through, by_command = self._options.jump, False
        if self.ssh is None:
            # Paramiko's way through other hosts is the session's own.
            return None if through else read_banner
        if not through:
            through, by_command = jump_hosts.detour(self._configured(point[0]))
        if by_command or not through:
            return None if by_command else read_banner
        try:
            return jump_hosts.banner_through(self.ssh, through, _without_jump(self._ssh_options))
        except UsageError:
            # ssh's configuration may have it in a form that only ssh understands.
            return None

    def sftp(self, target: Target) -> AbstractContextManager[SFTPClient]:
        """An SFTP connection to the target. Raises SSHError."""
        target = replace(target, silence=min(target.silence, int(_SILENCE)))  # nobody is in a session
        from stratuslab.ssh import sftp_connection

        if self.ssh is None:
            return sftp_connection.by_paramiko(target, ask_secret if self.asks else None, self.not_recorded)
        nobody = () if self.asks else ("-o", "BatchMode=yes")
        return sftp_connection.by_openssh(self.words(target, ["sftp"], (*sftp_connection.SFTP_WORDS, *nobody)), target.host)

    def words(self, target: Target, command: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
        """The command line of OpenSSH."""
        options = [*extra, *(() if target.recorded else ("-o", "LogLevel=ERROR")), *self._ssh_options]
        settings = openssh.overrides(self._configured(target.host), bool(command), self._ssh_options)
        return openssh.command_line(self.ssh or "ssh", target, command, options, settings)

    def _configured(self, host: str) -> dict[str, str]:
        """What ssh's configuration has for a host."""
        if self.ssh is not None and host not in self._configuration:
            self._configuration[host] = openssh.configuration(self.ssh, host, self._ssh_options)
        return self._configuration.get(host, {})

    def _silence(self, host: str) -> int:
        """How long the server may send nothing: as --timeout says, else as ssh is configured, else long enough for a person."""
        configured = self._configured(host)
        interval = configured.get("serveraliveinterval", "0")
        # Debian's ssh has an interval of 300 with BatchMode, which nobody asked for.
        is_own = interval != "0" and (interval, configured.get("batchmode")) != ("300", "yes")
        if is_own and not (self._options.timeout or self._session.settings.timeout_or(0)):
            return 0
        return self._seconds(_SILENCE if self._options.command else _SILENCE_OF_SESSIONS)

    def _seconds(self, usual: float) -> int:
        """``usual``, or as --timeout says; with that alone, which is how long to wait in all as well, no longer than usual."""
        settings = self._session.settings
        alone = self._options.timeout and not self._options.wait_timeout
        return max(ceil(min(usual, settings.wait_timeout(usual)) if alone else settings.timeout_or(usual)), 1)

    def _agent(self) -> str:
        """The socket of the SSH agent: the one that ssh's configuration names for all hosts, as password managers have it."""
        return agent_address(self._configured("stratuslab").get("identityagent", ""), self._session.environment.environ)


def _without_jump(options: Sequence[str]) -> list[str]:
    """What is handed on to ssh, for the login on a jump host: the way there is known by then."""
    kept: list[str] = []
    for option in options:
        if kept and kept[-1] == "-J":
            kept.pop()
        elif not option.startswith("-J") or option == "-J":
            kept.append(option)
    return kept
