"""The columns of images, and of networks to choose from."""

from __future__ import annotations

from typing import Any

from stratuslab.output.redaction import masked_text
from stratuslab.output.result_columns import Column, RowKind, Value, attribute


def _time(time: Any) -> Value:
    return time and f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _day_created(row: Any) -> Value:
    return row.entry.created and f"{row.entry.created:%Y-%m-%d}"


CATALOGUE = RowKind(
    "catalogue",
    (
        attribute("image", "word", min_width=28, usual=True),
        attribute("os", "entry.os", min_width=9, usual=True, ignore_case=True),
        attribute("os_version", "entry.os_version", "version", min_width=8, usual=True),
        attribute("arch", "entry.os_arch", min_width=7, usual=True, ignore_case=True),
        attribute("endorser", "entry.email", min_width=21, usual=True),
        Column("created", lambda row: _time(row.entry.created), min_width=11, usual=True, time=True, table_value=_day_created),
        Column("title", lambda row: next(iter(row.entry.names), None), usual=True),
        attribute("source"),
        attribute("identifier", "entry.identifier"),
        Column("tag", lambda row: ", ".join(row.entry.tags) or None),
        attribute("status"),
        Column("valid_until", lambda row: _time(row.entry.valid), time=True),
        attribute("kind", "entry.kind", ignore_case=True),
        attribute("format", "entry.format", ignore_case=True),
        attribute("size_bytes", "entry.bytes", "size", numeric=True),
        attribute("description", "entry.description"),
    ),
    key="image",
    guide=True,
    streamed=True,
)


IMAGE_DETAILS = RowKind(
    "details",
    (
        *(column._replace(usual=True, min_width=0) for column in CATALOGUE.columns),
        attribute("image_version", "entry.version", usual=True),
        Column("deprecated", lambda row: row.entry.deprecated, usual=True),
        Column("signed_by", lambda row: (row.signature and row.signature.subject) or row.entry.subject or None, usual=True),
        Column("signature", lambda row: row.signature.state if row.signature else "none", usual=True),
        Column("certificate", lambda row: (row.signature and row.signature.certificate) or None, usual=True),
        Column("endorser_trusted", lambda row: row.signature and row.signature.trusted, usual=True),
        Column("signature_note", lambda row: (row.signature and row.signature.note) or None, usual=True),
        attribute("compression", "entry.compression", usual=True),
        attribute("disks_bus", "entry.disks_bus", usual=True),
        attribute("inbound_ports", "entry.inbound_ports", usual=True),
        Column("checksums", lambda row: [f"{name}:{digits}" for name, digits in row.entry.checksums.items()], usual=True),
        Column("locations", lambda row: [masked_text(text) for text in row.entry.locations], usual=True),
        attribute("users", usual=True),
        attribute("cpu", usual=True),
        attribute("memory_mib", usual=True),
        attribute("disks", usual=True),
        attribute("networks", usual=True),
    ),
    key="image",
    single=True,
)


NETWORKS = RowKind(
    "networks",
    (
        attribute("network", "word", usual=True),
        attribute("id", usual=True, numeric=True),
        attribute("free", usual=True, numeric=True),
        attribute("size", usual=True, numeric=True),
        Column("addresses", lambda row: ["-".join(dict.fromkeys(ends)) for ends in row.ranges], usual=True),
        attribute("name"),
        attribute("owner"),
    ),
    key="network",
)
