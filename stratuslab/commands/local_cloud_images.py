"""stratus-local-cloud add-image, remove-image, build-image and images: images with content, for real machines."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

from stratuslab.commands.command_declaration import Parser
from stratuslab.commands.session import Session
from stratuslab.commands.shared.output_arguments import add_output_options
from stratuslab.local.images import ProgressListener
from stratuslab.output.progress_bar import ProgressBar
from stratuslab.output.safe_text import one_line
from stratuslab.output.status_line import Progress
from stratuslab.results import Listing, Result, TextLine

if TYPE_CHECKING:
    from stratuslab.local.images.add_image import ExpectedChecksum, ImageAdder
    from stratuslab.local.store.database import Store
    from stratuslab.marketplace.metadata import Metadata

_ADD_IMAGE = """Add the image in a file or at a URL to the embedded cloud, with an entry in its Marketplace, and print its
identifier. It is a disk, raw or qcow2, and may be compressed with gzip, bzip2 or xz. The same command continues a
download that was interrupted. Content that is here already gets one more name."""
_REMOVE_IMAGE = """Remove an image and its entries in the Marketplace, or one of several names that add-image gave it. An image
that machines use is refused; with --force it is removed, and machines that run go on until they are stopped."""
_IMAGES = """List the images that machines can be created from. A machine of an image whose content is here, or elsewhere on the
network, is real if QEMU is installed on this computer; one without content is simulated."""
_BUILD_IMAGE = """Build a small Linux out of Debian's packages, without root, add it to the embedded cloud, and print its
identifier. The image is built again only if there are newer packages."""


def add_arguments(actions: argparse._SubParsersAction[Parser]) -> None:
    """Add the actions ``add-image``, ``remove-image``, ``build-image`` and ``images``."""
    add = actions.add_parser("add-image", help="add a disk image", description=_ADD_IMAGE)
    add.add_argument("source", metavar="FILE|URL", help="image: a file, or an http:// or https:// URL")
    add.add_argument("--title", metavar="TEXT", default="", help="its title (default: the name of the file)")
    add.add_argument(
        "--checksum",
        metavar="[ALGORITHM:]HEX",
        default="",
        help="refuse the image unless this is the MD5, SHA-1, SHA-256 or SHA-512 of the file or of its uncompressed content",
    )
    add.add_argument("--data", action="store_true", help="take content that no machine can boot from, as a further disk")
    remove = actions.add_parser("remove-image", help="remove an image", description=_REMOVE_IMAGE)
    remove.add_argument("image", metavar="IMAGE", help="its identifier, or one of its names")
    remove.add_argument("--force", action="store_true", help="remove it even if machines use it")
    build = actions.add_parser("build-image", help="build a small Linux image and add it", description=_BUILD_IMAGE)
    build.add_argument("kind", metavar="NAME", choices=["tiny"], help="the image to build: tiny")
    add_output_options(actions.add_parser("images", help="list the images", description=_IMAGES))


def embedded_store(session: Session) -> AbstractContextManager[Store]:
    """What the embedded cloud keeps; closed at the end of the block."""
    from stratuslab.local import state_directory
    from stratuslab.local.images.initialized_store import open_store

    return closing(open_store(state_directory(session.environment.environ), session.environment.clock()))


def add_image(session: Session) -> Iterator[Result]:
    """Add an image, and print its identifier."""
    from stratuslab.local.images.add_image import ExpectedChecksum
    from stratuslab.marketplace.metadata import Metadata

    options = session.options
    checksum = ExpectedChecksum.of(options.checksum) if options.checksum else None
    known = Metadata(identifier="", title=one_line(options.title), version="1.0")
    with _shown_progress(session) as progress, _adding(session, checksum, known, progress) as adding:
        entry = adding.of(options.source, session.environment.expand(options.source))
    yield TextLine(entry.identifier)


def remove_image(session: Session) -> Iterator[Result]:
    """Remove an image."""
    from stratuslab.local.images import image_removal

    name = session.options.image
    with embedded_store(session) as store:
        now = session.environment.clock()
        identifier, is_gone = image_removal.remove_image(store, now, name, force=session.options.force)
    if is_gone:
        session.messages.step(f"Removed image {identifier}")
    else:
        session.messages.note(f'image {identifier} stays under its other names; "{name}" is removed')
    yield from ()


def images(session: Session) -> Iterator[Result]:
    """List the images."""
    from stratuslab.local.images.image_listing import list_images

    with embedded_store(session) as store:
        found = list_images(store, session.environment.clock())
    yield Listing(found)


def build_image(session: Session) -> Iterator[Result]:
    """Build the image, add it, and print its identifier."""
    from stratuslab.local import state_directory
    from stratuslab.local.tiny.build_tiny import build
    from stratuslab.marketplace.metadata import Metadata

    environ = session.environment.environ
    with _shown_progress(session) as progress:
        image = build(state_directory(environ) / "cache" / "tiny", environ, progress.part)
        known = Metadata(
            identifier="",
            title="tiny",
            description=f"Small Linux out of Debian's packages: {', '.join(image.packages)}",
            os="linux",
            os_version=image.os_version,
            os_arch="x86_64",
            version=image.version,
        )
        with _adding(session, None, known, progress) as adding:
            entry = adding.of_file(image.path)
    yield TextLine(entry.identifier)


@contextmanager
def _adding(
    session: Session, checksum: ExpectedChecksum | None, known: Metadata, progress: _ShownProgress
) -> Iterator[ImageAdder]:
    from stratuslab.local.images.add_image import ImageAdder

    verify = session.settings.ca_bundle or True
    data = getattr(session.options, "data", False)
    with embedded_store(session) as store:
        yield ImageAdder(store, session.environment.clock(), checksum, known, verify, progress, data)


@contextmanager
def _shown_progress(session: Session) -> Iterator[_ShownProgress]:
    context = session.environment
    with Progress(context.stderr, context.environ, wanted=session.messages.level >= 0) as progress:
        yield _ShownProgress(session, ProgressBar(progress))


class _ShownProgress(ProgressListener):
    """Shows the user what is done, and how far it is."""

    def __init__(self, session: Session, bar: ProgressBar) -> None:
        self._messages = session.messages
        self._bar = bar
        self._part = ""

    def step(self, text: str) -> None:
        self._bar.clear()
        self._messages.step(text)

    def note(self, text: str) -> None:
        self._bar.clear()
        self._messages.note(text)

    def moved(self, what: str, done: int, total: int | None) -> None:
        self._bar.bytes(what, done, total)

    def part(self, what: str, part: float | None) -> None:
        """So much of a part of a build is done (None: not known)."""
        what = what[:1].upper() + what[1:]
        if what != self._part:
            self._part = what
            self.step(what)
        self._bar.part(what, part)
