"""What the image argument of stratus-run-instance names, found out with one question to the Marketplace at most."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab.cloud.catalogue import Kind
from stratuslab.cloud.request import ImageDisk
from stratuslab.commands.base import Session
from stratuslab.errors import NotFound, Unreachable, UsageError
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.urls import shown, split_login

if TYPE_CHECKING:
    from stratuslab.marketplace.metadata import Metadata

PDISK_PORT = 8445
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FORMS = "an image is a Marketplace identifier of 27 characters, one:NAME, template:NAME, the UUID of a disk, or a URL"


@dataclass(frozen=True)
class BootImage:
    """What a machine boots from, and what the image's metadata says about it (``bus`` is empty where it says nothing)."""

    disk: ImageDisk
    bus: str = ""
    inbound_ports: tuple[str, ...] = ()


def find(session: Session, text: str) -> BootImage:
    """The image that the text names: a Marketplace identifier, ``one:ID``, ``one:NAME`` or ``one:USER/NAME`` in a datastore
    of the cloud, the UUID of a persistent disk, or a source as it is (a URL, ``pdisk:...``). Raises NotFound."""
    if is_identifier(text):
        return _from_marketplace(session, text)
    if _UUID.fullmatch(text):
        return BootImage(ImageDisk(persistent_source(session, text)))
    return BootImage(disk(session, text))


def disk(session: Session, text: str) -> ImageDisk:
    """A disk of an image that is not looked up in the Marketplace; the text is as for :func:`find`, but no UUID."""
    if is_identifier(text):
        return _disk_of_identifier(session, text, "raw")
    if text.startswith("one:"):
        return ImageDisk(image_id=session.cloud.find(Kind.IMAGE, text.removeprefix("one:")))
    if re.match(r"[a-z][a-z0-9+.-]*:", text):
        return ImageDisk(text)
    raise NotFound(f'"{text}" is no image', _FORMS)


def _from_marketplace(session: Session, identifier: str) -> BootImage:
    if session.options.no_check_image_url:
        session.talk.note("the image is not looked up in the Marketplace")
        return BootImage(_disk_of_identifier(session, identifier, "raw"))
    metadata = _metadata(session, identifier)
    session.talk.detail(f"Image {identifier}: {metadata.title or metadata.description or 'no title'}, format {metadata.format}")
    for doubt in _doubts(metadata, datetime.fromtimestamp(session.context.clock(), timezone.utc)):
        session.talk.note(f"image {identifier}: {doubt}")
    found = _disk_of_identifier(session, identifier, metadata.format)
    # Of an image in a datastore the cloud itself knows the bus.
    return BootImage(found, metadata.disks_bus if found.image_id is None else "", metadata.inbound_ports)


def _metadata(session: Session, identifier: str) -> Metadata:
    try:
        return session.marketplace.find(identifier)
    except Unreachable as error:
        if session.settings.marketplace_endpoint.origin == "default":
            error.hint = (
                "StratusLab's own Marketplace may be gone: name another with --marketplace-endpoint, or the image as one:NAME "
                "or a URL, or do not look it up with --no-check-image-url"
            )
        raise


def _doubts(metadata: Metadata, now: datetime) -> Iterator[str]:
    """Reasons why the cloud may refuse the image. Whether it does is its own policy, so none of them stops us."""
    if metadata.deprecated is not None:
        yield f"its endorser has deprecated it: {metadata.deprecated or 'no reason given'}"
    if metadata.expired(now):
        yield f"its metadata expired on {metadata.valid:%Y-%m-%d}"


def _disk_of_identifier(session: Session, identifier: str, image_format: str) -> ImageDisk:
    """StratusLab's clouds fetch the image by its metadata's URL; OpenNebula's own boot what is in a datastore."""
    image_id = None
    if not session.cloud.server.is_stratuslab:
        fitting = (image for image in session.cloud.catalogue(Kind.IMAGE) if identifier in (image.identifier, image.name))
        image_id = next((image.id for image in fitting), None)
    return ImageDisk(_metadata_url(session, identifier), image_id, image_format)


def _metadata_url(session: Session, identifier: str) -> str:
    """The address of the image's entry, without the user and password that the Marketplace's endpoint may hold."""
    from stratuslab.marketplace.client import Marketplace

    return Marketplace(session.settings.marketplace_endpoint.value, timeout=1).url(identifier)


def persistent_source(session: Session, uuid: str) -> str:
    """The disk source for a persistent disk: ``pdisk:HOST:PORT:UUID``, or ``pdisk:HOST/PATH/UUID`` where the pdisk endpoint
    is a URL with a path (StratusLab since 14.06). Raises NotFound for text that is no UUID."""
    from urllib.parse import urlsplit

    if not _UUID.fullmatch(uuid):
        raise NotFound(f'"{uuid}" is no persistent disk', "a persistent disk is named by its UUID, in lower case")
    named = session.settings.get("pdisk_endpoint") or session.settings.endpoint.value
    try:
        parts = urlsplit(split_login(named if "://" in named else f"https://{named}")[0])
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise UsageError(f'"{shown(named)}" is no address of a persistent disk service', "see --pdisk-endpoint")
    path = parts.path.rstrip("/")
    if path and session.settings.get("pdisk_endpoint"):
        return f"pdisk:{parts.netloc}{path}/{uuid}"
    host = f"[{host}]" if ":" in host else host
    return f"pdisk:{host}:{session.settings.get('pdisk_port') or PDISK_PORT}:{uuid}"
