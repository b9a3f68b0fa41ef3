"""The table of instance types: what CPUs, RAM and swap space a machine gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stratuslab.errors import UsageError

DEFAULT = "m1.small"


@dataclass(frozen=True)
class InstanceType:
    """A named size; ``ram`` and ``swap`` are in MiB."""

    name: str
    cpu: int
    ram: int
    swap: int


BUILT_IN = (
    InstanceType("c1.medium", 1, 256, 1024),
    InstanceType("c1.xlarge", 4, 2048, 2048),
    InstanceType("m1.large", 2, 512, 1024),
    InstanceType("m1.small", 1, 128, 1024),
    InstanceType("m1.xlarge", 2, 1024, 1024),
    InstanceType("t1.micro", 1, 128, 512),
)
"""The types of the StratusLab user guide."""


def table(own: Mapping[str, str]) -> dict[str, InstanceType]:
    """All types by name, sorted: the built-in ones and the user's own, which win.

    ``own`` is the section ``[instance_types]`` of the configuration: ``NAME = cpu, ram, swap``, parentheses allowed. Raises
    UsageError for a value that is no size.
    """
    types = {known.name: known for known in BUILT_IN}
    for name, text in own.items():
        types[name] = _read(name, text)
    return dict(sorted(types.items()))


def _read(name: str, text: str) -> InstanceType:
    # The original client took any three runs of digits, so (1, 2, 3) and "1; 2; 3" are in people's files.
    numbers = [int(digits) for digits in re.findall(r"\d{1,9}", text)]
    if len(numbers) != 3 or "-" in text or numbers[0] == 0 or numbers[1] == 0:
        raise UsageError(
            f'the instance type "{name} = {text}" in [instance_types] is not understood',
            "it takes NAME = CPUs, RAM in MB, swap in MB",
        )
    return InstanceType(name, *numbers)


def choose(types: Mapping[str, InstanceType], name: str) -> InstanceType:
    """The type of that name; raises UsageError that lists the names there are."""
    if name not in types:
        from stratuslab.suggestion import did_you_mean, join_hints

        raise UsageError(
            f'there is no instance type "{name}"', join_hints(did_you_mean(name, types), f"there are {', '.join(types)}")
        )
    return types[name]
