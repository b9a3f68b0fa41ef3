"""Searches for images: in the Marketplace, or on an OpenNebula cloud for which none is configured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab.commands.session import Session
from stratuslab.known_settings import Setting
from stratuslab.marketplace.image_query import ImageQuery, status_of
from stratuslab.results import FoundImage
from stratuslab.settings import DEFAULT_MARKETPLACE

if TYPE_CHECKING:
    from stratuslab.cloud.cloud_images import CloudImage
    from stratuslab.marketplace.metadata import Metadata


def uses_marketplace(session: Session) -> bool:
    """Whether images come from a Marketplace: a configured one, or StratusLab's on a cloud of StratusLab."""
    if session.settings.marketplace_endpoint != Setting(DEFAULT_MARKETPLACE, "default"):
        return True
    return session.cloud.server.is_stratuslab


def search(session: Session, query: ImageQuery) -> Iterator[FoundImage]:
    """The images that match, one at a time. Raises what the Marketplace or the cloud raises."""
    now = datetime.fromtimestamp(session.environment.clock(), timezone.utc)
    if uses_marketplace(session):
        for entry in session.marketplace.search(query, now):
            yield FoundImage(entry.identifier, "marketplace", entry, status_of(entry, now))
    else:
        for image in session.cloud.images():
            entry = _entry(image)
            if query.matches(entry, now):
                yield FoundImage(image.word, image.kind, entry)


def _entry(image: CloudImage) -> Metadata:
    """What a cloud says of its image, in the words of a Marketplace; its owner has the place of the endorser."""
    from stratuslab.marketplace.metadata import Metadata

    created = None if image.created is None else datetime.fromtimestamp(min(image.created, 1 << 37), timezone.utc)
    return Metadata(
        identifier=image.resource.identifier,
        title=image.resource.name,
        description=image.description,
        created=created,
        email=image.resource.owner,
        bytes=None if image.size_mib is None else image.size_mib << 20,
        format=image.format,
    )
