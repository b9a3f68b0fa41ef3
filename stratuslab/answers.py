"""What commands answer: facts, without a layout. How they look is the business of :mod:`stratuslab.output`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stratuslab.instance_types import InstanceType


@dataclass(frozen=True)
class Line:
    """A line of text that is the answer by itself, such as an URL."""

    text: str


@dataclass(frozen=True)
class TypeList:
    """The instance types, and the name of the one that is selected."""

    types: Sequence[InstanceType]
    selected: str


@dataclass(frozen=True)
class LaunchBegins:
    """So many machines are about to be started."""

    count: int


@dataclass(frozen=True)
class Launched:
    """One machine was started: its place in the order (from 1), id, network and address (empty where it has none)."""

    place: int
    id: int
    network: str
    address: str


@dataclass(frozen=True)
class LaunchEnds:
    """All machines were started."""


@dataclass(frozen=True)
class InstanceRow:
    """One instance in the table.

    ``memory_kib`` and ``cpu_percent`` are live figures, ``places`` the names or addresses at which it is found, ``note`` why
    it failed or waits (empty where there is nothing to say), ``cloud`` the name of its cloud where several are asked.
    """

    id: int
    state: str
    vcpu: int | None
    memory_kib: int
    cpu_percent: float
    places: Sequence[str]
    name: str
    note: str = ""
    cloud: str = ""


@dataclass(frozen=True)
class InstanceTable:
    """Instances in the order to show them."""

    rows: Sequence[InstanceRow]


Answer = Line | TypeList | LaunchBegins | Launched | LaunchEnds | InstanceTable
