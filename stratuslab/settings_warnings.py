"""Points out what in the configuration file and the environment probably means something else than the user thinks."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from stratuslab.known_settings import KNOWN
from stratuslab.settings import PREFIX, Settings, variable_of
from stratuslab.suggestion import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

ORIGINALS = (
    *("name", "country", "endpoint_timeout", "verbose_level", "requested_ip_address"),
    *("user_private_key_file", "p12_certificate", "p12_password", "pdisk_username", "pdisk_password", "pdisk_protocol"),
)
"""Settings of the original client that this one does not use: a file or an environment may still have them."""

_KEYS = [known.key for known in KNOWN]
_EMBEDDED = ("LOCAL_DIR", "LOCAL_ADDRESSES")  # the end of variables that are no settings


def not_meant(settings: Settings) -> Iterator[str]:
    """What is probably not meant, because it is ignored or taken literally."""
    file = settings.file
    for text in file.duplicates:
        yield f"{file.path}, {text}"
    for section, key, value in file.raw:
        place = f"{file.path} [{section}]"
        if key not in _KEYS and key not in ORIGINALS:
            yield ", ".join(filter(None, (f'{place}: unknown setting "{key}"', did_you_mean(key, _KEYS))))
        elif key == "selected_section" and section != "default":
            yield f"{place}: {key} is only used in [default]"
        elif key in _KEYS and key != "password" and (trouble := _trouble(value)):
            yield f"{place}: {key} {trouble}"
    yield from _in_environment(settings.variables)


def doubtful(settings: Settings) -> Iterator[str]:
    """What may be meant: a password that seems to end in a comment, or that others can read."""
    file = settings.file
    for section, key, value in file.raw:
        if key == "password" and (trouble := _trouble(value)):
            yield f"{file.path} [{section}]: {key} {trouble}"
    if file.path is not None and any(_has_password(key, value) for _, key, value in file.raw):
        yield from exposed([file.path])


def exposed(password_files: Iterable[Path]) -> Iterator[str]:
    """Which of the files other users of this computer can read."""
    for path in password_files:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
            yield f'other users can read the password in "{path}": chmod 600 {path}'


def fallback(settings: Settings) -> str:
    """Why the embedded cloud may not be meant, although no endpoint is set; empty if nothing at all is set."""
    sections = settings.file.clouds
    if settings.file.path is not None:
        choose = "" if settings.file.selected or not sections else f"choose a section with -S: {', '.join(sections)}; or "
        return f"no endpoint in {settings.file.path}, using the embedded cloud on this computer ({choose}set endpoint)"
    names = [name for name in settings.variables if not name.startswith(f"{PREFIX}LOCAL_")]
    if names:
        return f"{names[0]} is set, but no endpoint: using the embedded cloud on this computer (set {variable_of('endpoint')})"
    return ""


def _in_environment(variables: Iterable[str]) -> Iterator[str]:
    known = [variable_of(key).removeprefix(PREFIX) for key in _KEYS]
    for name in variables:
        end = name.removeprefix(PREFIX)
        if end in known or end in _EMBEDDED or end.lower() in ORIGINALS:
            continue
        # Other programs may have variables that begin in the same way.
        if meant := did_you_mean(end, (*known, *_EMBEDDED)):
            yield f"unknown variable {name}, {meant.replace(chr(34), chr(34) + PREFIX, 1)}"


def _trouble(value: str) -> str:
    """What in a value is taken literally, although in other files it would not be."""
    if found := re.search(r"\s([#;])", value):
        return f'contains "{found[1]}", which does not start a comment behind a value: put comments on lines of their own'
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return "contains the quotes around it: remove them"
    return ""


def _has_password(key: str, value: str) -> bool:
    if key == "password":
        return bool(value)
    from stratuslab.url_credentials import split_login

    try:
        return key.endswith("endpoint") and "://" in value and bool((split_login(value)[1] or ("", ""))[1])
    except ValueError:
        return False
