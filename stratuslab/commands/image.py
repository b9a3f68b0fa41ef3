"""What the image argument of stratus-run-instance names, found out with one question to the Marketplace at most."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab.cloud.client import Cloud
from stratuslab.cloud.request import RootDisk
from stratuslab.commands.base import Session
from stratuslab.errors import NotFound
from stratuslab.marketplace.identifier import is_identifier

if TYPE_CHECKING:
    from stratuslab.marketplace.metadata import Metadata

PDISK_PORT = 8445
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class BootImage:
    """What a machine boots from, and what the image's metadata says about it (``bus`` is empty where it says nothing)."""

    root: RootDisk
    bus: str = ""
    inbound_ports: tuple[str, ...] = ()


def find(session: Session, text: str) -> BootImage:
    """The image that the text names: a Marketplace identifier, the UUID of a persistent disk, or a source as it is (a URL,
    ``pdisk:...``). Raises NotFound."""
    if is_identifier(text):
        return _from_marketplace(session, text)
    if _UUID.fullmatch(text):
        return BootImage(RootDisk(persistent_source(session, text)))
    if re.match(r"[a-z][a-z0-9+.-]*:", text):
        return BootImage(RootDisk(text))
    raise NotFound(f'"{text}" is no image', "an image is a Marketplace identifier of 27 characters, the UUID of a disk, or a URL")


def _from_marketplace(session: Session, identifier: str) -> BootImage:
    source = metadata_source(session, identifier)
    if session.options.no_check_image_url:
        session.talk.note("the image is not looked up in the Marketplace")
        return BootImage(_root(session.cloud, identifier, source, "raw"))
    metadata = session.marketplace.find(identifier)
    session.talk.detail(f"Image {identifier}: {metadata.title or metadata.description or 'no title'}, format {metadata.format}")
    for doubt in _doubts(metadata, datetime.fromtimestamp(session.context.clock(), timezone.utc)):
        session.talk.note(f"image {identifier}: {doubt}")
    root = _root(session.cloud, identifier, source, metadata.format)
    return BootImage(root, metadata.disks_bus, metadata.inbound_ports)


def _doubts(metadata: Metadata, now: datetime) -> Iterator[str]:
    """Reasons why the cloud may refuse the image. Whether it does is its own policy, so none of them stops us."""
    if metadata.deprecated is not None:
        yield f"its endorser has deprecated it: {metadata.deprecated or 'no reason given'}"
    if metadata.expired(now):
        yield f"its metadata expired on {metadata.valid:%Y-%m-%d}"


def _root(cloud: Cloud, identifier: str, source: str, image_format: str) -> RootDisk:
    """StratusLab's clouds fetch the image by its metadata's URL; OpenNebula's own boot what is in a datastore."""
    image_id = None if cloud.server.is_stratuslab else cloud.datastore_image(identifier)
    return RootDisk(source, image_id, image_format)


def metadata_source(session: Session, identifier: str) -> str:
    """The disk source for a Marketplace identifier: the URL of its metadata."""
    from stratuslab.marketplace.client import normalise_endpoint

    return f"{normalise_endpoint(session.settings.marketplace_endpoint.value)}/metadata/{identifier}"


def persistent_source(session: Session, uuid: str) -> str:
    """The disk source for a persistent disk: ``pdisk:HOST:PORT:UUID``, or ``pdisk:HOST/PATH/UUID`` where the pdisk endpoint
    is a URL with a path (StratusLab since 14.06). Raises NotFound for text that is no UUID."""
    from urllib.parse import urlsplit

    if not _UUID.fullmatch(uuid):
        raise NotFound(f'"{uuid}" is no persistent disk', "a persistent disk is named by its UUID, in lower case")
    named = session.settings.get("pdisk_endpoint") or session.settings.endpoint.value
    parts = urlsplit(named if "://" in named else f"https://{named}")
    path = parts.path.rstrip("/")
    if path and session.settings.get("pdisk_endpoint"):
        return f"pdisk:{parts.netloc.rpartition('@')[2]}{path}/{uuid}"
    return f"pdisk:{parts.hostname}:{session.settings.get('pdisk_port') or PDISK_PORT}:{uuid}"
