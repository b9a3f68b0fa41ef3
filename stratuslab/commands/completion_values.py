"""The values that completion offers: instances, images and networks of the cloud, instance types, sections.

A shell asks for them whenever Tab is pressed. So what the cloud says is kept for some seconds, nobody is asked for a password,
and where anything goes wrong there is simply nothing to offer.
"""

from __future__ import annotations

import argparse
import re
from contextlib import suppress

from stratuslab.commands.session import Session
from stratuslab.errors import StratusLabError
from stratuslab.output.messages import Messages

KEPT = 10.0
"""Seconds that the cloud's answers are used again."""

_PATIENCE = "2"  # seconds; who presses Tab does not wait longer
_PLAIN = re.compile(r"[\w.:@%+/][\w.:@%+/-]*\Z")  # words that no shell takes apart


def offered(session: Session, kind: str) -> list[str]:
    """The values of a kind (one of :data:`stratuslab.commands.completion.KINDS`) that a shell can complete as a word; none if
    they cannot be had."""
    options = argparse.Namespace(**{**vars(session.options), "timeout": _PATIENCE})
    silent = Session(options, session.environment._replace(stdin=None), Messages(None, ""))
    with suppress(StratusLabError, OSError):
        values = _values(silent, kind) if kind in ("types", "sections") else _kept(silent, kind)
        return [value for value in values if _PLAIN.match(value)]
    return []


def _values(session: Session, kind: str) -> list[str]:
    from stratuslab.cloud.catalogue import ResourceKind

    match kind:
        case "types":
            from stratuslab.instance_types import table

            return list(table(session.settings.file.instance_types))
        case "sections":
            return list(session.settings.cloud_sections)
        case "networks":
            return [network.name for network in session.cloud.catalogue(ResourceKind.NETWORK)]
        case "images":
            kinds = {"one": ResourceKind.IMAGE, "template": ResourceKind.TEMPLATE}
            return [f"{prefix}:{one.name}" for prefix, which in kinds.items() for one in session.cloud.catalogue(which)]
        case _:
            found = list(session.cloud.instances())
            names = [instance.name for instance in found]
            # A name that several share, or that is a number, does not name an instance.
            return [*(str(one.id) for one in found), *(name for name in names if names.count(name) == 1 and not name.isdigit())]


def _kept(session: Session, kind: str) -> list[str]:
    """What the cloud was asked a moment ago, or is asked now."""
    import hashlib

    from stratuslab import private_files

    home = session.environment.home
    if home is None:
        return _values(session, kind)
    cloud = f"{session.settings.endpoint.value}\0{session.settings.get('username')}\0{kind}"
    path = home / ".stratuslab" / "completion" / hashlib.sha256(cloud.encode()).hexdigest()[:16]
    with suppress(OSError, ValueError):
        if abs(session.environment.clock() - path.stat().st_mtime) < KEPT:
            return path.read_text("utf-8").splitlines()
    values = _values(session, kind)
    with suppress(OSError, StratusLabError):
        private_files.private_directory(path.parent)
        private_files.replace(path, "\n".join(values).encode("utf-8", "replace"))
    return values
