"""Which private key opens an instance, and what is wrong with it, in plain words, before ssh is started."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from stratuslab.commands.session import Session
from stratuslab.errors import UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.openssh_keys import PublicKey, public_keys
from stratuslab.private_files import private_directory, replace
from stratuslab.ssh import user_public_key
from stratuslab.ssh.agent import agent_keys
from stratuslab.ssh.key_inspection import PrivateKey, examine, public_blob


class LoginKey:
    """The key of ``--key``, looked at when this is made, and for an instance the one to offer.

    Raises UsageError for a key of ``--key`` that ssh would not use. ``asks`` says that a passphrase can be asked for; ``agent``
    gives the path of the SSH agent's socket.
    """

    def __init__(self, session: Session, asks: bool, agent: Callable[[], str]) -> None:
        self._session = session
        self._messages = session.messages
        self._asks = asks
        self._agent_address = agent
        self.given = self._given(session.options.key) if session.options.key else None

    def for_instance(self, instance: Instance) -> tuple[Path | None, bool]:
        """The private key to offer (a public one where the agent has its private half); None leaves it to ssh. And whether it is
        the only one to offer, as servers refuse whoever offers many."""
        wanted = [key.blob for key in public_keys(instance.public_keys)]
        if self.given is not None:
            if wanted and self.given.blob and self.given.blob not in wanted:
                self._messages.note(f"the key {self.given.path} is not the one that machine {instance.id} was started with")
            return self.given.path, True
        # What is set names the key; otherwise one is looked for that the instance was given.
        named = self._session.settings.find("user_public_key_file")
        for public in [self._session.environment.expand(named.value)] if named else self._usual():
            try:
                blob = public_blob(public)
            except UsageError as error:
                self._messages.note(str(error))
                continue
            if not named and blob not in wanted:
                continue
            if named and wanted and blob and blob not in wanted:
                self._messages.note(
                    f"the key {public} ({named.origin}) is not the one that machine {instance.id} was started with"
                )
            path = self._usable(public, blob)
            if path is not None or named:
                return path, path is not None and blob in wanted
            wanted = []  # what is wrong with it was said
        if not wanted:
            return None, False
        if key := next((key for key in public_keys(instance.public_keys) if key.blob in self._agents), None):
            path = self._written(key)
            return path, path is not None
        self._messages.note(f"neither ~/.ssh nor an SSH agent has the key that machine {instance.id} was started with, see --key")
        return None, False

    def _written(self, key: PublicKey) -> Path | None:
        """A file with the public half of a key that only the agent has: ssh needs one to ask the agent for this key alone."""
        home = self._session.environment.home
        if home is None:
            return None
        name = hashlib.sha256(key.blob).hexdigest()[:16]
        path = home / ".stratuslab" / "agent_keys" / f"{name}.pub"
        with suppress(OSError):
            if public_blob(path) != key.blob:
                private_directory(path.parent)
                replace(path, f"{key.type} {base64.b64encode(key.blob).decode()}\n".encode())
            return path
        return None

    def _given(self, text: str) -> PrivateKey:
        named = self._session.environment.expand(text)
        key = self._private_half(named, public_blob(named))
        if self._locked(key):
            raise UsageError(_locked_text(key), "add it to an SSH agent with ssh-add, or do this at a terminal")
        return key

    def _private_half(self, named: Path, blob: bytes) -> PrivateKey:
        """The private key of a file, or the public one where the agent has the other. Raises UsageError."""
        private = user_public_key.private_half(named)
        if named != private and not private.exists() and blob and blob in self._agents:
            return PrivateKey(named, blob)
        return examine(private)

    def _usual(self) -> Iterator[Path]:
        home = self._session.environment.home
        if home is not None:
            yield from (home / ".ssh" / name for name in user_public_key.USUAL_NAMES)
            yield home / ".stratuslab" / "id_ed25519.pub"

    def _usable(self, public: Path, blob: bytes) -> Path | None:
        try:
            key = self._private_half(public, blob)
        except UsageError as error:
            self._messages.note(str(error))
            return None
        if self._locked(key):
            self._messages.note(f"{_locked_text(key)} (add it to an SSH agent with ssh-add)")
        return key.path

    def _locked(self, key: PrivateKey) -> bool:
        """Whether the key needs a passphrase that nobody can be asked for."""
        return key.encrypted and not self._asks and (key.blob not in self._agents if key.blob else not self._agents)

    @cached_property
    def _agents(self) -> list[bytes]:
        return agent_keys(self._agent_address())


def _locked_text(key: PrivateKey) -> str:
    return f"private key {key.path} is protected by a passphrase, and there is no terminal to ask for it"


def can_ask(session: Session) -> bool:
    """Whether a passphrase can be asked for, at the terminal or by the program that the user has for it."""
    environment = session.environment
    if environment.interactive or (environment.environ.get("SSH_ASKPASS") and environment.environ.get("DISPLAY")):
        return True
    if environment.owns_process:
        with suppress(OSError):
            # ssh asks at the terminal that the process belongs to, whatever its input is.
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
            return True
    return False
