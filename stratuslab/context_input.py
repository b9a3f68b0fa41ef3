"""Reads what the user gives a guest: context variables and cloud-init user data, from options and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from stratuslab.environment import Environment
from stratuslab.errors import UsageError

LARGEST_USER_DATA = 16384
"""Maximum size of gzipped user data in bytes that StratusLab's images accept."""


def from_option(text: str) -> dict[str, str]:
    """The variables of ``--context``: ``KEY=VALUE`` pairs separated by ``#``; a later pair of the same key wins."""
    return _pairs(text.split("#"), "--context, pair")


def from_file(environment: Environment, name: str) -> dict[str, str]:
    """The variables of ``--context-file``: ``KEY=VALUE`` lines. Blank lines are ignored, and those that begin with ``#``: a value
    may contain one."""
    lines = user_text(environment, name, "--context-file").split("\n")
    where = "standard input" if name == "-" else environment.expand(name)
    return _pairs(("" if line.lstrip().startswith("#") else line for line in lines), f"{where}, line")


def user_text(environment: Environment, name: str, option: str) -> str:
    """The text of a file that an option names; ``-`` is standard input. Raises UsageError."""
    try:
        if name != "-":
            return environment.expand(name).read_text(encoding="utf-8-sig")
        if environment.stdin is None:
            raise UsageError(f"standard input is closed ({option})")
        return environment.stdin.read().removeprefix("\ufeff")
    except OSError as error:
        raise UsageError(f'cannot read the file "{environment.expand(name)}" ({option}): {error.strerror}') from None
    except ValueError:
        raise UsageError(f'the file "{environment.expand(name)}" ({option}) is not UTF-8 text') from None


def _pairs(pieces: Iterable[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for number, piece in enumerate(pieces, 1):
        if not piece.strip():
            continue
        key, equals, value = piece.partition("=")
        if not equals or not re.fullmatch(r"\w+", key.strip(), re.ASCII):
            raise UsageError(f"{where} {number}: expected KEY=VALUE", "a key consists of letters, digits and _")
        pairs[key.strip()] = value.strip()
    return pairs


def cloud_init(text: str, public_keys: Callable[[Path], str], environment: Environment) -> tuple[str, str]:
    """The authorized keys and the user data of ``--cloud-init``: ``TYPE,FILE`` pairs separated by ``#``.

    TYPE is ``ssh`` (a public key, read by ``public_keys``), ``none`` (the file is the user data, to the byte) or the MIME
    subtype of a part, such as ``x-shellscript`` or ``text/cloud-config``. The user data is base64 of the gzipped MIME
    multipart, as StratusLab's images and cloud-init's OpenNebula data source read it; empty if no pair needs it.
    """
    keys: list[str] = []
    parts: list[tuple[str, bytes]] = []
    for pair in filter(None, (piece.strip() for piece in text.split("#"))):
        kind, comma, name = pair.partition(",")
        if not (comma and name and re.fullmatch(r"(text/)?[\w.+-]+", kind, re.ASCII)):
            raise UsageError(
                f'--cloud-init: expected TYPE,FILE instead of "{pair}"',
                "TYPE is ssh, none, or a text type such as x-shellscript",
            )
        if kind == "ssh":
            keys.append(public_keys(environment.expand(name)).strip())
        elif kind == "none":
            parts.append((kind, _content(environment.expand(name))))
        else:
            parts.append((kind, user_text(environment, name, "--cloud-init").encode()))
    return "\n".join(keys), _user_data(parts) if parts else ""


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f'cannot read the file "{path}" (--cloud-init): {error.strerror}') from None


def _user_data(parts: list[tuple[str, bytes]]) -> str:
    from base64 import b64encode
    from gzip import compress

    literal = [content for kind, content in parts if kind == "none"]
    if literal and len(parts) > 1:
        raise UsageError("--cloud-init: a part of the type none is the whole user data and cannot be combined")
    packed = compress(literal[0] if literal else _multipart(parts).encode(), mtime=0)
    if len(packed) > LARGEST_USER_DATA:
        raise UsageError(f"--cloud-init: {len(packed)} bytes of user data after gzip, at most {LARGEST_USER_DATA} are allowed")
    return b64encode(packed).decode("ascii")


def _multipart(parts: list[tuple[str, bytes]]) -> str:
    from email.mime.multipart import MIMEMultipart
    from email.mime.text import MIMEText

    # The boundary is fixed so that the same files give the same user data.
    message = MIMEMultipart("mixed", boundary="==stratuslab-user-data==")
    for kind, content in parts:
        message.attach(MIMEText(content.decode(), kind.removeprefix("text/"), "utf-8"))
    return message.as_string()
