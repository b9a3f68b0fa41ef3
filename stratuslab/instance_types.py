"""Instance types: the CPUs, RAM and swap space of a machine."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from stratuslab.errors import UsageError

DEFAULT = "m1.small"


class InstanceType(NamedTuple):
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


def table(user_types: Mapping[str, str]) -> dict[str, InstanceType]:
    """All types by name, sorted: the built-in ones, overridden by the user's own.

    ``user_types`` is the section ``[instance_types]`` of the configuration: ``NAME = cpu, ram, swap``, parentheses allowed.
    Raises UsageError for an invalid value.
    """
    types = {known.name: known for known in BUILT_IN}
    for name, text in user_types.items():
        types[name] = _read(name, text)
    return dict(sorted(types.items()))


def _read(name: str, text: str) -> InstanceType:
    # The original client accepted any three numbers, so files contain (1, 2, 3) as well as "1; 2; 3".
    numbers = [int(digits) for digits in re.findall(r"\d{1,9}", text)]
    if len(numbers) != 3 or "-" in text or numbers[0] == 0 or numbers[1] == 0:
        raise UsageError(
            f'invalid instance type "{name} = {text}" in [instance_types]',
            "expected NAME = CPUs, RAM in MB, swap in MB",
        )
    return InstanceType(name, *numbers)


def choose(types: Mapping[str, InstanceType], name: str) -> InstanceType:
    """The type with that name. Raises UsageError, which lists the known names."""
    if name not in types:
        from stratuslab.suggestion import did_you_mean, join_hints

        raise UsageError(
            f'unknown instance type "{name}"', join_hints(did_you_mean(name, types), f"available: {', '.join(types)}")
        )
    return types[name]
