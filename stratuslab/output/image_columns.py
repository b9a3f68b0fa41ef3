"""The columns of images, and of networks to choose from."""

from __future__ import annotations

from typing import Any

from stratuslab.output.columns import Column, RowKind, Value
from stratuslab.output.redaction import masked_text


def _date(date: Any) -> Value:
    return None if date is None else f"{date:%Y-%m-%dT%H:%M:%SZ}"


CATALOGUE = RowKind(
    "catalogue",
    (
        Column("image", lambda row: row.word or None, min_width=28, usual=True),
        Column("os", lambda row: row.entry.os or None, min_width=9, usual=True, ignore_case=True),
        Column("os_version", lambda row: row.entry.os_version or None, "version", min_width=8, usual=True),
        Column("arch", lambda row: row.entry.os_arch or None, min_width=7, usual=True, ignore_case=True),
        Column("endorser", lambda row: row.entry.email or None, min_width=21, usual=True),
        Column(
            "created",
            lambda row: _date(row.entry.created),
            min_width=11,
            usual=True,
            time=True,
            table_value=lambda row: row.entry.created and f"{row.entry.created:%Y-%m-%d}",
        ),
        Column("title", lambda row: next(iter(row.entry.names), None), usual=True),
        Column("source", lambda row: row.source),
        Column("identifier", lambda row: row.entry.identifier or None),
        Column("tag", lambda row: ", ".join(row.entry.tags) or None),
        Column("status", lambda row: row.status),
        Column("valid_until", lambda row: _date(row.entry.valid), time=True),
        Column("kind", lambda row: row.entry.kind or None, ignore_case=True),
        Column("format", lambda row: row.entry.format or None, ignore_case=True),
        Column("size_bytes", lambda row: row.entry.bytes, "size", numeric=True),
        Column("description", lambda row: row.entry.description or None),
    ),
    key="image",
    guide=True,
    streamed=True,
)


IMAGE_DETAILS = RowKind(
    "details",
    (
        *(column._replace(usual=True, min_width=0) for column in CATALOGUE.columns),
        Column("image_version", lambda row: row.entry.version or None, usual=True),
        Column("deprecated", lambda row: row.entry.deprecated, usual=True),
        Column("signed_by", lambda row: (row.signature and row.signature.subject) or row.entry.subject or None, usual=True),
        Column("signature", lambda row: row.signature.state if row.signature else "none", usual=True),
        Column("certificate", lambda row: (row.signature and row.signature.certificate) or None, usual=True),
        Column("endorser_trusted", lambda row: row.signature and row.signature.trusted, usual=True),
        Column("signature_note", lambda row: (row.signature and row.signature.note) or None, usual=True),
        Column("compression", lambda row: row.entry.compression or None, usual=True),
        Column("disks_bus", lambda row: row.entry.disks_bus or None, usual=True),
        Column("inbound_ports", lambda row: list(row.entry.inbound_ports), usual=True),
        Column("checksums", lambda row: [f"{name}:{digits}" for name, digits in row.entry.checksums.items()], usual=True),
        Column("locations", lambda row: [masked_text(text) for text in row.entry.locations], usual=True),
        Column("users", lambda row: list(row.users), usual=True),
        Column("cpu", lambda row: row.cpu or None, usual=True),
        Column("memory_mib", lambda row: row.memory_mib or None, usual=True),
        Column("disks", lambda row: list(row.disks), usual=True),
        Column("networks", lambda row: list(row.networks), usual=True),
    ),
    key="image",
    single=True,
)


NETWORKS = RowKind(
    "networks",
    (
        Column("network", lambda row: row.word, usual=True),
        Column("id", lambda row: row.id, usual=True, numeric=True),
        Column("free", lambda row: row.free, usual=True, numeric=True),
        Column("size", lambda row: row.size, usual=True, numeric=True),
        Column("addresses", lambda row: ["-".join(dict.fromkeys(ends)) for ends in row.ranges], usual=True),
        Column("name", lambda row: row.name or None),
        Column("owner", lambda row: row.owner or None),
    ),
    key="network",
)
