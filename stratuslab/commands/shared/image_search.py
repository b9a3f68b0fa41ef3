"""Searches for images: in the Marketplace, or on an OpenNebula cloud for which none is configured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.commands.session import Session
from stratuslab.errors import NotFound, UsageError
from stratuslab.known_settings import Setting
from stratuslab.marketplace.image_query import ImageQuery, status_of
from stratuslab.settings import DEFAULT_MARKETPLACE
from stratuslab.suggestion import did_you_mean, join_hints

if TYPE_CHECKING:
    from stratuslab.cloud.launchable_images import CloudImage
    from stratuslab.marketplace.metadata import Metadata


class FoundImage(NamedTuple):
    """An image that can be found: the ``word`` that stratus-run-instance takes for it (empty: none), where it is
    (``marketplace``, or an ``image``, ``template`` or ``appliance`` of the cloud), what is known of it, and whether it is
    ``valid``, ``expired`` or ``deprecated``."""

    word: str
    source: str
    entry: Metadata
    status: str = "valid"


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
            entry = entry_of(image)
            if query.matches(entry, now):
                yield FoundImage(image.word, image.kind, entry, status_of(entry, now))


LEAST_OF_IDENTIFIER = 8
"""Characters of an identifier that can stand for the whole."""


def named(session: Session, text: str) -> FoundImage:
    """The valid image that a title, a tag, ``TAG@ENDORSER`` or the beginning of an identifier names; on OpenNebula an image or a
    template by its name. Raises NotFound, or UsageError with the matches if there are several images."""
    found: dict[str, FoundImage] = {}
    others: set[str] = set()
    appliance = ""
    for image in search(session, ImageQuery()):
        entry = image.entry
        if image.word and stands_for(text, entry, image.word):
            found.setdefault(image.word, image)
        elif not image.word and stands_for(text, entry, ""):
            appliance = entry.title
        elif len(others) < _MOST_SUGGESTED:
            others |= {name.lower() for name in (*entry.names, image.word) if name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        listed = [f"{word} ({image.entry.email}, {_day(image.entry.created)})" for word, image in found.items()]
        raise UsageError(
            f'"{text}" stands for several images: {", ".join(listed[:12])}{" and more" if len(listed) > 12 else ""}',
            "use the first word of one of them, or TAG@ENDORSER",
        )
    if appliance:
        raise NotFound(
            f'"{appliance}" is an appliance of a marketplace, and no image of this cloud was made from it',
            f'make one: onemarketapp export "{appliance}" NAME --datastore DATASTORE',
        )
    raise NotFound(
        f'no image is called "{text}"', join_hints(did_you_mean(text.lower(), others), "find one with stratus-search-image")
    )


def stands_for(text: str, entry: Metadata, word: str) -> bool:
    """Whether the text is the word, a title, a tag, ``TAG@ENDORSER``, or the identifier's beginning, of this entry."""
    tag, _, endorser = text.lower().partition("@")
    names = {name.lower() for name in (*entry.names, word) if name}
    email = entry.email.lower()
    if text.lower() in names or (endorser and tag in names and endorser in (email, email.partition("@")[0])):
        return True
    return len(text) >= LEAST_OF_IDENTIFIER and entry.identifier.startswith(text)


_MOST_SUGGESTED = 10_000  # names that are compared for a suggestion


def _day(date: datetime | None) -> str:
    return "no date" if date is None else f"{date:%Y-%m-%d}"


def entry_of(image: CloudImage) -> Metadata:
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
        kind="machine" if image.bootable else "disk",
        deprecated=f"{image.unusable} on this cloud" if image.unusable else None,
    )
