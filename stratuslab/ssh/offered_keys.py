"""The private keys that paramiko offers to a server, in OpenSSH's order. Loads paramiko."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from paramiko import Agent, ECDSAKey, Ed25519Key, PasswordRequiredException, PKey, RSAKey, SSHException

from stratuslab.errors import UsageError
from stratuslab.openssh_keys import take_string
from stratuslab.ssh.key_inspection import public_blob
from stratuslab.ssh.login_target import Target
from stratuslab.ssh.user_public_key import USUAL_NAMES, private_half

Ask = Callable[[str], str]
"""Asks the user for a secret; its argument is the prompt."""


class OfferedKeys:
    """The keys to offer: the target's own, the agent's, those in ``~/.ssh``. ``tried`` counts those that were offered, and
    ``problems`` says why others were not."""

    def __init__(self, target: Target, ask: Ask | None) -> None:
        self._target = target
        self._ask = ask
        self._agent: Agent | None = None
        self.tried = 0
        self.problems: list[str] = []

    def in_order(self) -> Iterator[PKey]:
        """Each key once, with its certificate and without."""
        offered = set()
        for key in self._candidates():
            shown = (key.asbytes(), getattr(key, "public_blob", None) is not None)
            if shown not in offered:
                offered.add(shown)
                self.tried += 1
                yield key

    def close(self) -> None:
        """End the connection to the agent, which its keys need."""
        if self._agent is not None:
            self._agent.close()

    def _candidates(self) -> Iterator[PKey]:
        named = self._target.key
        locked: Path | None = None
        if named is not None and named.suffix != ".pub":
            try:
                yield from self._of_file(named)
            except PasswordRequiredException:
                locked = named
        yield from self._agent_keys()
        if locked is not None and self._ask is None:
            self.problems.append(f"{locked} is protected by a passphrase")
        elif locked is not None and self._ask is not None:
            try:
                yield from self._of_file(locked, self._ask(f"Passphrase of {locked}: "))
            except (EOFError, PasswordRequiredException):
                self.problems.append(f"no passphrase for {locked}")
        for name in USUAL_NAMES if not self._target.only_key else ():
            path = private_half(Path("~/.ssh").expanduser() / name)
            if path.is_file() and path != named:
                try:
                    yield _private_key(path)
                except (OSError, ValueError, PasswordRequiredException):
                    # The user did not name this key, so a broken one is not an error.
                    continue

    def _of_file(self, path: Path, passphrase: str | None = None) -> Iterator[PKey]:
        """A private key with the certificate beside it, as ssh offers it, then alone. Raises PasswordRequiredException."""
        try:
            key = _private_key(path, passphrase)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            if take_string(_blob(path))[0].startswith(b"sk-"):
                why = "only OpenSSH's client can use a FIDO key"
            self.problems.append(f"{path}: {why}")
            return
        certificate = path.with_name(f"{path.name}-cert.pub")
        if certificate.is_file():
            try:
                key.load_certificate(str(certificate))
                yield key
            except (OSError, ValueError, SSHException) as error:
                self.problems.append(f"{certificate}: {error}")
            key.public_blob = None
        yield key

    def _agent_keys(self) -> Iterator[PKey]:
        named = self._target.key
        try:
            self._agent = Agent()
            for key in self._agent.get_keys():
                if not self._target.only_key or (named is not None and key.asbytes() == _blob(named)):
                    yield key
        except (SSHException, OSError) as error:
            self.problems.append(f"no answer from the SSH agent: {error}")


def _private_key(path: Path, passphrase: str | None = None) -> PKey:
    for kind in (Ed25519Key, ECDSAKey, RSAKey):
        try:
            return kind.from_private_key_file(str(path), passphrase)
        except PasswordRequiredException:
            raise
        except SSHException:
            continue
    raise ValueError("not a readable private key" + (", or the passphrase is wrong" if passphrase else ""))


def _blob(key: Path) -> bytes:
    """The public key that belongs to the file, in SSH's wire format; empty if unknown."""
    try:
        return public_blob(key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub"))
    except UsageError:  # it is a certificate
        return b""
