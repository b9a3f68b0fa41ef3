"""The image argument of stratus-run-instance, resolved with one request to the Marketplace at most."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab.cloud.endpoint import is_local
from stratuslab.cloud.machine_request import ImageDisk
from stratuslab.cloud.resource_lookup import Resource, ResourceKind
from stratuslab.commands.session import Session
from stratuslab.commands.shared.image_search import named, uses_marketplace
from stratuslab.commands.shared.image_verification import UNVERIFIED, verified_entry
from stratuslab.errors import NotFound, StratusLabError, Unreachable, UsageError
from stratuslab.known_settings import LOCAL_MARKETPLACE
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.marketplace.image_query import ImageQuery
from stratuslab.url_credentials import shown, split_login

if TYPE_CHECKING:
    from stratuslab.marketplace.metadata import Metadata

PDISK_PORT = 8445
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
_FORMS = "expected a Marketplace identifier of 27 characters, one:NAME, or a URL; stratus-search-image lists images"


@dataclass(frozen=True)
class BootImage:
    """What a machine boots from, with details from the image's metadata (``bus`` is empty if it does not name one)."""

    disk: ImageDisk
    bus: str = ""
    inbound_ports: tuple[str, ...] = ()


def chosen(session: Session, text: str) -> str:
    """The text, or the identifier, ``one:NAME`` or ``template:NAME`` that a title, a tag or a beginning stands for.

    Raises NotFound, UsageError if it stands for several images, and StratusLabError if it must be verified but cannot be."""
    word = text
    if not (is_identifier(text) or _UUID.fullmatch(text) or _SCHEME.match(text)):
        word = named(session, text).word
        session.messages.step(f'Image "{text}": {word}')
    if session.settings.is_on("verify_image"):
        if not is_identifier(word):
            raise StratusLabError(f"{shown(word)} cannot be verified: only entries of a Marketplace are signed", UNVERIFIED)
        if session.options.no_check_image_url:
            raise StratusLabError("an image that is not looked up (--no-check-image-url) cannot be verified", UNVERIFIED)
    return word


def find(session: Session, text: str) -> BootImage:
    """The image that the text stands for: a Marketplace identifier, ``one:ID``, ``one:NAME`` or ``one:USER/NAME`` in a datastore
    of the cloud, the UUID of a persistent disk, or a source as it is (a URL, ``pdisk:...``). Raises NotFound."""
    if is_identifier(text):
        return _from_marketplace(session, text)
    if _UUID.fullmatch(text):
        return BootImage(ImageDisk(persistent_source(session, text)))
    return BootImage(disk(session, text))


def disk(session: Session, text: str) -> ImageDisk:
    """The disk for an image that is not looked up in the Marketplace; the text is as for :func:`find`, without UUIDs."""
    if is_identifier(text):
        image = _cloud_image(session, text)
        return ImageDisk(_metadata_url(session, text), image.id if image else None)
    if text.startswith("one:"):
        return ImageDisk(image_id=session.cloud.find(ResourceKind.IMAGE, text.removeprefix("one:")).id)
    if _SCHEME.match(text):
        return ImageDisk(text)
    raise NotFound(f'"{text}" is not an image', _FORMS)


def data_disk(session: Session, text: str) -> ImageDisk:
    """The image of ``--readonly-disk``: as for :func:`disk`; on OpenNebula also ``ID``, ``NAME`` and ``USER/NAME``."""
    plain = not is_identifier(text) and not _SCHEME.match(text)
    return disk(session, f"one:{text}" if plain and not session.cloud.server.is_stratuslab else text)


def _from_marketplace(session: Session, identifier: str) -> BootImage:
    """The cloud's own image with that identifier, if any: OpenNebula boots no other. The Marketplace is asked for its
    metadata, except the default one, StratusLab's, which may be gone."""
    image = _cloud_image(session, identifier)
    booted = ImageDisk(_metadata_url(session, identifier), image.id if image else None)
    if session.options.no_check_image_url:
        session.messages.note("not looking the image up in the Marketplace")
        return BootImage(booted)
    verify = session.settings.is_on("verify_image")
    own = f"image {identifier} is the cloud's own image {image} ({image.id})" if image and not verify else ""
    if own and not uses_marketplace(session):
        session.messages.note(f"{own}; not looked up in the Marketplace")
        return BootImage(booted)
    try:
        metadata = _metadata(session, identifier, verify)
    except (Unreachable, NotFound) as error:
        if own:
            session.messages.note(f"{own}; {error.message}")
            return BootImage(booted)
        if not session.cloud.server.is_stratuslab and session.settings.marketplace_endpoint.value != LOCAL_MARKETPLACE:
            raise NotFound(f'this cloud has no image with the identifier "{identifier}"; {error.message}', error.hint) from None
        known = session.marketplace.find_cached(identifier, error) if isinstance(error, Unreachable) and not verify else None
        if known is None:
            raise
        metadata = known
    session.messages.detail(
        f"Image {identifier}: {metadata.title or metadata.description or 'no title'}, format {metadata.format}"
    )
    now = datetime.fromtimestamp(session.environment.clock(), timezone.utc)
    for warning in _warnings(metadata, now):
        if not session.options.allow_expired:
            newer = _newer(session, metadata, now)
            raise StratusLabError(f"image {identifier}: {warning}", f"{newer}to start it all the same, add --allow-expired")
        session.messages.note(f"image {identifier}: {warning}")
    if metadata.kind == "disk":
        session.messages.note(
            f"image {identifier} is a data disk, which machines may not boot from; --readonly-disk attaches it to another image"
        )
    # For an image in a datastore the cloud itself knows the bus.
    bus = metadata.disks_bus if image is None else ""
    return BootImage(replace(booted, format=metadata.format), bus, metadata.inbound_ports)


def _newer(session: Session, old: Metadata, now: datetime) -> str:
    """The newest valid image of the same name and endorser, for a hint."""
    with suppress(StratusLabError):
        found = session.marketplace.search(ImageQuery(endorser=old.email), now)
        same = [one for one in found if {*old.names} & {*one.names} and one.identifier != old.identifier]
        if same:
            newest = max(same, key=lambda one: one.created.timestamp() if one.created else 0.0)
            return f"newer: {newest.identifier}; "
    return "see stratus-search-image; "


def _cloud_image(session: Session, identifier: str) -> Resource | None:
    """The cloud's image with this Marketplace identifier. StratusLab's clouds have none: they fetch images by metadata URL."""
    if session.cloud.server.is_stratuslab:
        return None
    images = session.cloud.catalogue(ResourceKind.IMAGE)
    return next((image for image in images if identifier in (image.identifier, image.name)), None)


def _metadata(session: Session, identifier: str, verify: bool) -> Metadata:
    try:
        if verify:
            return verified_entry(session, identifier)
        return session.marketplace.find(identifier)
    except Unreachable as error:
        if session.settings.marketplace_endpoint.origin == "default":
            raise error.replaced(
                hint="StratusLab's own Marketplace may be gone: choose another with --marketplace-endpoint, name the image as "
                "one:NAME or by its URL, or skip the lookup with --no-check-image-url"
            ) from None
        raise


def _warnings(metadata: Metadata, now: datetime) -> Iterator[str]:
    if metadata.deprecated is not None:
        yield f"its endorser has deprecated it: {metadata.deprecated or 'no reason given'}"
    if metadata.expired(now):
        yield f"its metadata expired on {metadata.valid:%Y-%m-%d}"


def _metadata_url(session: Session, identifier: str) -> str:
    """The URL of the image's metadata, without the user and password that the Marketplace's endpoint may contain."""
    from stratuslab.marketplace.marketplace_client import Marketplace
    from stratuslab.marketplace.marketplace_transport import MarketplaceConnection

    return Marketplace(MarketplaceConnection(session.settings.marketplace_endpoint.value, timeout=1)).url(identifier)


def persistent_disk(session: Session, text: str) -> ImageDisk:
    """The disk of ``--persistent-disk``: a persistent image of OpenNebula by ``ID``, ``NAME`` or ``USER/NAME``, a volume of
    StratusLab's persistent disk service by its UUID, or one of the embedded cloud, also by its name. Raises NotFound, or
    UsageError for an image that is not persistent."""
    if is_local(session.settings.endpoint.value):
        from stratuslab.connections import volume_uuid

        with suppress(NotFound):
            text = volume_uuid(session.environment, text)
    if session.cloud.server.is_stratuslab or (_UUID.fullmatch(text) and not _is_image(session, text)):
        return ImageDisk(persistent_source(session, text))
    image = session.cloud.find(ResourceKind.IMAGE, text.removeprefix("one:"))
    if not image.persistent:
        raise UsageError(
            f"image {image} ({image.id}) is not persistent: changes would be lost",
            f"attach it with --readonly-disk {image.id}, or make it persistent: oneimage persistent {image.id}",
        )
    return ImageDisk(image_id=image.id)


def _is_image(session: Session, name: str) -> bool:
    """Whether an image has this name: drivers of other systems name the datablocks that they create by a UUID."""
    return any(image.name == name for image in session.cloud.catalogue(ResourceKind.IMAGE))


def persistent_source(session: Session, uuid: str) -> str:
    """The disk source for a volume: ``pdisk:HOST:PORT:UUID``, or ``pdisk:https://HOST/PATH/UUID`` where the pdisk endpoint is a
    URL with a path (StratusLab since 14.06). Raises NotFound for text that is not a UUID."""
    from urllib.parse import urlsplit

    if not _UUID.fullmatch(uuid):
        raise NotFound(f'"{uuid}" is not a persistent disk', "expected the UUID of a disk, in lower case")
    named = session.settings.get("pdisk_endpoint") or session.settings.endpoint.value
    try:
        parts = urlsplit(split_login(named if "://" in named else f"https://{named}")[0])
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise UsageError(f'"{shown(named)}" is not the address of a persistent disk service', "see --pdisk-endpoint")
    path = parts.path.rstrip("/")
    if path and session.settings.get("pdisk_endpoint"):
        return f"pdisk:{parts.scheme}://{parts.netloc}{path}/{uuid}"
    host = f"[{host}]" if ":" in host else host
    return f"pdisk:{host}:{session.settings.get('pdisk_port') or PDISK_PORT}:{uuid}"
