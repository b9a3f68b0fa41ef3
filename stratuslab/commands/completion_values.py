"""The values that completion offers: instances, images and networks of the cloud, instance types, sections.

A shell asks for them whenever Tab is pressed. So what the cloud says is kept for some seconds, nobody is asked for a password,
and where anything goes wrong there is simply nothing to offer.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from stratuslab.cloud.client import Cloud
from stratuslab.commands.session import Session
from stratuslab.errors import StratusLabError
from stratuslab.output.messages import Messages

KEPT = 10.0
"""Seconds that the cloud's answers are used again."""

_PATIENCE = "2"  # seconds; who presses Tab does not wait longer
_PLAIN = re.compile(r"[\w.:@%+/][\w.:@%+/-]*\Z")  # words that no shell takes apart


def _instances(cloud: Cloud) -> Iterable[str]:
    found = list(cloud.instances())
    names = [instance.name for instance in found]
    yield from (str(one.id) for one in found)
    # A name that several share, or that is a number, does not name an instance.
    yield from (name for name in names if names.count(name) == 1 and not name.isdigit())


def _images(cloud: Cloud) -> Iterable[str]:
    from stratuslab.cloud.catalogue import ResourceKind

    for prefix, kind in (("one", ResourceKind.IMAGE), ("template", ResourceKind.TEMPLATE)):
        yield from (f"{prefix}:{resource.name}" for resource in cloud.catalogue(kind))


def _networks(cloud: Cloud) -> Iterable[str]:
    from stratuslab.cloud.catalogue import ResourceKind

    yield from (resource.name for resource in cloud.catalogue(ResourceKind.NETWORK))


def _types(session: Session) -> Iterable[str]:
    from stratuslab.instance_types import table

    yield from table(session.settings.file.instance_types)


def _sections(session: Session) -> Iterable[str]:
    yield from session.settings.cloud_sections


_OF_CLOUD: dict[str, Callable[[Cloud], Iterable[str]]] = {"instances": _instances, "images": _images, "networks": _networks}
_OF_SETTINGS: dict[str, Callable[[Session], Iterable[str]]] = {"types": _types, "sections": _sections}


def offered(session: Session, kind: str) -> list[str]:
    """The values of a kind (one of :data:`stratuslab.commands.completion.KINDS`) that a shell can complete as a word; none if
    they cannot be had."""
    options = argparse.Namespace(**{**vars(session.options), "timeout": _PATIENCE})
    silent = Session(options, session.environment._replace(stdin=None), Messages(None, ""))
    with suppress(StratusLabError, OSError):
        values = _OF_SETTINGS[kind](silent) if kind in _OF_SETTINGS else _kept(silent, kind)
        return [value for value in values if _PLAIN.match(value)]
    return []


def _kept(session: Session, kind: str) -> list[str]:
    """What the cloud was asked a moment ago, or is asked now."""
    import hashlib

    from stratuslab import private_files

    cloud = f"{session.settings.endpoint.value}\0{session.settings.get('username')}\0{kind}"
    home = session.environment.home
    path = home / ".stratuslab" / "completion" / hashlib.sha256(cloud.encode()).hexdigest()[:16] if home else None
    with suppress(OSError, ValueError):
        if path is not None and abs(session.environment.clock() - path.stat().st_mtime) < KEPT:
            return path.read_text("utf-8").splitlines()
    values = list(_OF_CLOUD[kind](session.cloud))
    with suppress(OSError, StratusLabError):
        if path is not None:
            private_files.private_directory(path.parent)
            private_files.replace(path, "\n".join(values).encode("utf-8", "replace"))
    return values
