"""stratus-show-image: show all that is known of an image or a machine template."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.cloud.resource_lookup import ResourceKind
from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.commands.shared.image_search import entry_of, named, uses_marketplace
from stratuslab.commands.shared.image_verification import entry_and_signature, trust_of
from stratuslab.errors import NotFound, UsageError
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.output.image_columns import IMAGE_DETAILS
from stratuslab.output.safe_text import harmless
from stratuslab.results import Listing, Result, TextLine
from stratuslab.url_credentials import shown

if TYPE_CHECKING:
    from stratuslab.marketplace.metadata import Metadata
    from stratuslab.marketplace.metadata_signature import SignatureCheck

_KINDS = {"one": ("image", ResourceKind.IMAGE), "template": ("template", ResourceKind.TEMPLATE)}


class ImageDetails(NamedTuple):
    """All that is known of one image: besides what a search finds, who may use it, of a machine template the size of its
    machines, the images of its disks, and its networks, and of a Marketplace's entry the signature."""

    word: str
    source: str
    entry: Metadata
    status: str = "valid"
    users: Sequence[str] = ()
    cpu: str = ""
    memory_mib: str = ""
    disks: Sequence[str] = ()
    networks: Sequence[str] = ()
    signature: SignatureCheck | None = None


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", metavar="IMAGE", help="identifier, title or tag, one:NAME, template:NAME, or the URL of an entry"
    )
    add = parser.add_argument_group("image").add_argument
    add("--metadata", action="store_true", help="print the document itself")
    add("--marketplace-endpoint", metavar="URL", help="Marketplace to look the image up in")


def _run(session: Session) -> Iterator[Result]:
    text: str = session.options.image
    if text.startswith(("http://", "https://")):
        # .../metadata/IDENTIFIER[/EMAIL/CREATED]
        endpoint, _, path = text.partition("/metadata/")
        text = path.split("/")[0].partition("?")[0]
        if not is_identifier(text):
            raise UsageError(
                f"{shown(session.options.image)} is not the URL of an image's entry in a Marketplace",
                "expected https://HOST/metadata/IDENTIFIER",
            )
        session.options.marketplace_endpoint = endpoint
    elif not is_identifier(text) and text.partition(":")[0] not in _KINDS:
        text = named(session, text).word
    if is_identifier(text):
        yield from _of_marketplace(session, text)
    else:
        yield from _of_cloud(session, text)


def _of_marketplace(session: Session, identifier: str) -> Iterator[Result]:
    if not uses_marketplace(session):
        for image in session.cloud.images():
            if image.resource.identifier == identifier:
                yield from _of_cloud(session, image.word)
                return
        raise NotFound(f"this cloud has no image {identifier}", "name a Marketplace with --marketplace-endpoint")
    if session.options.metadata:
        document = session.marketplace.document(identifier).decode("utf-8", "replace")
        yield from (TextLine(harmless(line)) for line in document.splitlines())
        return
    from stratuslab.marketplace.image_query import status_of

    now = datetime.fromtimestamp(session.environment.clock(), timezone.utc)
    trust = trust_of(session)
    entry, signature = session.marketplace.find_with(
        identifier, lambda document: entry_and_signature(document, identifier, now, trust)
    )
    yield Listing([ImageDetails(identifier, "marketplace", entry, status_of(entry, now), signature=signature)])


def _of_cloud(session: Session, word: str) -> Iterator[Result]:
    from stratuslab.cloud.launchable_images import described, machine_size, users

    prefix, _, name = word.partition(":")
    source, kind = _KINDS[prefix]
    document = session.cloud.document(kind, name)
    if session.options.metadata:
        from stratuslab.output.vm_document_text import document_lines

        yield from map(TextLine, document_lines(document))
        return
    entry = entry_of(described(document, source, word))
    status = "valid" if entry.deprecated is None else "deprecated"
    yield Listing([ImageDetails(word, source, entry, status, users(document), *machine_size(document))])


COMMAND = Command(
    "stratus-show-image",
    "Show all that is known of an image or a machine template.",
    _add_arguments,
    _run,
    related=("stratus-search-image", "stratus-run-instance"),
    epilog="""examples:
  stratus-show-image ttylinux                  an image of the Marketplace
  stratus-show-image template:large            a template of an OpenNebula cloud
  stratus-show-image --metadata BN1EEkPi       the document about the image
""",
    rows=lambda options: IMAGE_DETAILS,
)
