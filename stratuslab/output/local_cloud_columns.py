"""The columns of what stratus-local-cloud lists. Only that command loads them; the rows are records of the embedded cloud."""

from __future__ import annotations

from typing import Any

from stratuslab.byte_sizes import size_text
from stratuslab.output.result_columns import Column, RowKind, attribute, rfc3339
from stratuslab.output.time_format import time_text


def _processors(cpu: float) -> float:
    """Without the rounding errors of a sum of decimals, and without decimals where there are none."""
    return int(cpu) if cpu == int(cpu) else round(cpu, 3)


def _cpu_usage(cloud: Any) -> str:
    return f"{cloud.used.cpu:g} of {cloud.capacity.cpu:g}"


def _cpu_total(cloud: Any) -> str:
    return f"{cloud.capacity.cpu:g}"


def _memory_usage(cloud: Any) -> str:
    return f"{cloud.used.memory_mib} of {cloud.capacity.memory_mib} MB"


def _mib_text(size_mib: int) -> str:
    return f"{size_mib // 1024} GB" if size_mib % 1024 == 0 else f"{size_mib} MB"


def _states(cloud: Any) -> list[str]:
    return [f"{number} {state}" for state, number in cloud.instances.items()]


def _counted(cloud: Any) -> str:
    return f"{sum(cloud.instances.values())} ({', '.join(_states(cloud))})" if cloud.instances else "0"


IMAGES = RowKind(
    "images",
    (
        attribute("identifier", usual=True),
        attribute("size_bytes", "bytes", "size", usual=True, numeric=True, table_value=lambda image: size_text(image.bytes)),
        attribute("content", "content.value", usual=True),
        attribute("kind", usual=True),
        attribute("title", usual=True, table_value=lambda image: ", ".join((image.title, *image.names))),
        attribute("names", "names", "other names"),
    ),
    key="identifier",
)

VOLUMES = RowKind(
    "volumes",
    (
        attribute("uuid", usual=True),
        attribute("size_mib", "", "size", usual=True, numeric=True, table_value=lambda volume: _mib_text(volume.size_mib)),
        attribute("instance", usual=True, numeric=True),
        Column(
            "created", lambda one: rfc3339(one.created), usual=True, time=True, table_value=lambda one: time_text(one.created)
        ),
        attribute("name", usual=True),
    ),
    key="uuid",
)

CLOUD_STATUS = RowKind(
    "clouds",
    (
        Column("directory", lambda cloud: str(cloud.directory), usual=True),
        attribute("hypervisor", usual=True),
        Column("cpu_used", lambda cloud: _processors(cloud.used.cpu), "cpu", usual=True, numeric=True, table_value=_cpu_usage),
        Column("cpu_total", lambda cloud: _processors(cloud.capacity.cpu), numeric=True, table_value=_cpu_total),
        attribute("memory_used_mib", "used.memory_mib", "memory", usual=True, numeric=True, table_value=_memory_usage),
        attribute("memory_total_mib", "capacity.memory_mib", numeric=True),
        Column("instances", lambda cloud: sum(cloud.instances.values()), usual=True, numeric=True, table_value=_counted),
        Column("states", _states),
        attribute("processes", "supervisors", usual=True, numeric=True),
        attribute("images", usual=True, numeric=True),
        attribute("volumes", usual=True, numeric=True),
    ),
    key="directory",
    single=True,
)
