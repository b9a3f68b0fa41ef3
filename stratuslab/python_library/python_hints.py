"""Errors as programs meet them: hints name methods and arguments instead of commands and options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stratuslab.errors import SeveralFailed, StratusLabError

ARGUMENTS = {
    "cpu_share": "vm-cpu-amount",
    "requirements": "vm-requirements",
    "disk_bus": "vm-disks-bus",
    "volatile_disks": "volatile-disk",
    "persistent_disks": "persistent-disk",
    "readonly_disks": "readonly-disk",
    "labels": "label",
    "networks": "network",
    "keys": "key",
    "context_files": "context-file",
    "inputs": "input",
    "count": "number",
    "section": "user-config-section",
    "user": "login",
    "timeout": "wait-timeout",
}
"""The arguments that are not called like the option that they stand for."""

_ARGUMENT_OF = {option: name for name, option in ARGUMENTS.items()} | {"vm-name": "name", "key": "key"}
_SAYINGS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"stratus-(kill|stop|start|reboot|shutdown)-instance (\d+)", r"cloud.instance(\2).\1()"),
    (r"stratus-describe-instance -v (\d+) says why", r"cloud.instance(\1).diagnosis() says why"),
    (r"stratus-describe-instance -vv shows its interfaces", "see its nics"),
    (r"stratus-describe-instance lists yours", "cloud.instances() lists yours"),
    (r"stratus-list-(networks|templates|images)", r"cloud.\1()"),
    (r"stratus-search-image lists images", "cloud.images() and the marketplace list images"),
    (r"stratus-run-instance starts a new one", "cloud.run() starts a new one"),
    (r"; see stratus-[\w-]+ --help|^see stratus-[\w-]+ --help$", ""),
    (r"^argument (?:-\w/)?--([\w-]+)(?:/--[\w-]+)*: ", lambda found: f"{_named(found[1])}: "),
    (r"--no-verify-image", "verify_image=False"),
    # Not the options of a command that the sentence names.
    (r"(?<!recover )(?<!instance )(?<![\w-])--([a-z][\w-]+)", lambda found: f"{_named(found[1])}="),
)


def _named(option: str) -> str:
    return _ARGUMENT_OF.get(option, option.replace("-", "_"))


def in_program_words(text: str) -> str:
    """The text with methods and arguments instead of commands and options."""
    for pattern, replacement in _SAYINGS:
        text = re.sub(pattern, replacement, text)
    return text


def for_program(error: StratusLabError) -> StratusLabError:
    """The error with a message and a hint that fit a program."""
    message, hint = in_program_words(error.message), in_program_words(error.hint)
    if isinstance(error, SeveralFailed):
        return SeveralFailed(message, error.status, [for_program(cause) for cause in error.causes])
    changed = error.replaced(message, hint)
    changed.hint = hint  # it may be empty now
    return changed


@contextmanager
def for_programs() -> Iterator[None]:
    """What fails in the block fails in a program's words."""
    try:
        yield
    except StratusLabError as error:
        raise for_program(error) from error.__cause__
