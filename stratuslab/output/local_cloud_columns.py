"""The columns of what stratus-local-cloud lists. Only that command loads them; the rows are records of the embedded cloud."""

from __future__ import annotations

from collections.abc import Mapping

from stratuslab.byte_sizes import size_text
from stratuslab.output.columns import Column, RowKind, rfc3339
from stratuslab.output.time_format import time_text

IMAGES = RowKind(
    "images",
    (
        Column("identifier", lambda image: image.identifier, usual=True),
        Column(
            "size_bytes",
            lambda image: image.bytes,
            "size",
            usual=True,
            numeric=True,
            table_value=lambda image: size_text(image.bytes),
        ),
        Column("content", lambda image: image.content.value, usual=True),
        Column("kind", lambda image: image.kind, usual=True),
        Column(
            "title",
            lambda image: image.title or None,
            usual=True,
            table_value=lambda image: ", ".join((image.title, *image.names)),
        ),
        Column("names", lambda image: list(image.names), "other names"),
    ),
    key="identifier",
)

VOLUMES = RowKind(
    "volumes",
    (
        Column("uuid", lambda volume: volume.uuid, usual=True),
        Column(
            "size_mib",
            lambda volume: volume.size_mib,
            "size",
            usual=True,
            numeric=True,
            table_value=lambda volume: _mib_text(volume.size_mib),
        ),
        Column("instance", lambda volume: volume.instance, usual=True, numeric=True),
        Column(
            "created",
            lambda volume: rfc3339(volume.created),
            usual=True,
            time=True,
            table_value=lambda volume: time_text(volume.created),
        ),
        Column("name", lambda volume: volume.name or None, usual=True),
    ),
    key="uuid",
)

CLOUD_STATUS = RowKind(
    "clouds",
    (
        Column("directory", lambda cloud: str(cloud.directory), usual=True),
        Column("hypervisor", lambda cloud: cloud.hypervisor, usual=True),
        Column(
            "cpu_used",
            lambda cloud: _processors(cloud.used.cpu),
            "cpu",
            usual=True,
            numeric=True,
            table_value=lambda cloud: f"{cloud.used.cpu:g} of {cloud.capacity.cpu:g}",
        ),
        Column(
            "cpu_total",
            lambda cloud: _processors(cloud.capacity.cpu),
            numeric=True,
            table_value=lambda cloud: f"{cloud.capacity.cpu:g}",
        ),
        Column(
            "memory_used_mib",
            lambda cloud: cloud.used.memory_mib,
            "memory",
            usual=True,
            numeric=True,
            table_value=lambda cloud: f"{cloud.used.memory_mib} of {cloud.capacity.memory_mib} MB",
        ),
        Column("memory_total_mib", lambda cloud: cloud.capacity.memory_mib, numeric=True),
        Column(
            "instances",
            lambda cloud: sum(cloud.instances.values()),
            usual=True,
            numeric=True,
            table_value=lambda cloud: _counted(cloud.instances),
        ),
        Column("states", lambda cloud: _states(cloud.instances)),
        Column("processes", lambda cloud: cloud.supervisors, usual=True, numeric=True),
        Column("images", lambda cloud: cloud.images, usual=True, numeric=True),
        Column("volumes", lambda cloud: cloud.volumes, usual=True, numeric=True),
    ),
    key="directory",
    single=True,
)


def _processors(cpu: float) -> float:
    """Without the rounding errors of a sum of decimals, and without decimals where there are none."""
    return int(cpu) if cpu == int(cpu) else round(cpu, 3)


def _mib_text(size_mib: int) -> str:
    return f"{size_mib // 1024} GB" if size_mib % 1024 == 0 else f"{size_mib} MB"


def _states(instances: Mapping[str, int]) -> list[str]:
    return [f"{number} {state}" for state, number in instances.items()]


def _counted(instances: Mapping[str, int]) -> str:
    total = sum(instances.values())
    return f"{total} ({', '.join(_states(instances))})" if total else "0"
