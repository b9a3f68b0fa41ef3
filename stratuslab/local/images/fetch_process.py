"""The process that downloads an image for a machine from a location in its Marketplace entries.

:func:`stratuslab.local.images.image_store.obtain` starts it with the arguments ``DIRECTORY IDENTIFIER METADATA_URL``.

The size and checksums in StratusLab's entries are those of the uncompressed image. Some entries have those of the compressed
file instead, which is accepted if all of them match.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from stratuslab.errors import NotFound, StratusLabError
from stratuslab.local.images import ImageError, about
from stratuslab.local.images.download import Download
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries
from stratuslab.local.images.free_space import NoSpace, storage_errors
from stratuslab.local.images.image_import import ImageImport
from stratuslab.local.images.image_reader import ALGORITHMS, USUAL, Checksums, ReadResult
from stratuslab.local.images.image_store import NETWORKS_VARIABLE, STRANGER, content, images
from stratuslab.local.images.initialized_store import open_store
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.marketplace.address_guard import guarded_session
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.marketplace.marketplace_client import Marketplace
from stratuslab.marketplace.marketplace_transport import MarketplaceConnection
from stratuslab.marketplace.metadata import Metadata, read
from stratuslab.private_files import locked, private_directory
from stratuslab.url_credentials import shown

LARGEST = 128 << 30
"""The maximum size of an image in bytes, whatever its entry says."""

_TIMEOUT = 30.0


@dataclass(frozen=True)
class ImageFetcher:
    """Downloads images into the store of a directory. ``verify`` is as in requests.

    For a ``stranger``, who is not the owner of the cloud, or from an entry that one added, only public addresses and ``networks``
    are connected to, and errors tell nothing of what is there.
    """

    directory: Path
    verify: bool | str = True
    stranger: bool = False
    networks: str = ""

    def fetch(self, identifier: str, metadata_url: str = "") -> Path:
        """The content of an image, downloaded by one process at a time. Raises StratusLabError."""
        if not is_identifier(identifier):
            raise ImageError(f"{identifier[:60]!r} is not an image identifier")
        with storage_errors(self.directory), locked(private_directory(images(self.directory)) / identifier, None):
            return content(self.directory, identifier) or self._first_that_fits(identifier, metadata_url)

    def _first_that_fits(self, identifier: str, metadata_url: str) -> Path:
        failures = []
        for entry, location, stranger in self._locations(identifier, metadata_url):
            try:
                return self._downloaded(entry, location, stranger)
            except NoSpace as error:
                raise about(f"image {identifier}", error) from error
            except StratusLabError as error:
                failures.append(f"from {shown(location)}: {error.message}")
        if not failures:
            raise ImageError(f"cannot download image {identifier}: its entry names no http or https location")
        raise ImageError(f"image {identifier} {'; '.join(failures)}")

    def _locations(self, identifier: str, metadata_url: str) -> Iterator[tuple[Metadata, str, bool]]:
        """The locations to download from, each with its entry, and whether it is for or of a stranger."""
        entries = self._entries(identifier)
        if metadata_url and not any(_is_http(place) for entry, _ in entries for place in entry.locations):
            entries = [(self._remote_entry(identifier, metadata_url), self.stranger)]
        if not entries:
            raise NotFound(f"image {identifier} is not in this cloud's Marketplace")
        return ((entry, place, stranger) for entry, stranger in entries for place in entry.locations if _is_http(place))

    def _entries(self, identifier: str) -> list[tuple[Metadata, bool]]:
        """The entries in the embedded Marketplace: valid ones before deprecated and expired ones, newest first."""
        now = time.time()
        today = datetime.fromtimestamp(now, timezone.utc)
        with closing(open_store(self.directory, now)) as store:
            found = MarketplaceEntries(store, now).of_image(identifier)
        entries = [
            (read(document.encode(), identifier, today), self.stranger or owner != ADMINISTRATOR.id) for document, owner in found
        ]
        return sorted(entries, key=lambda found: found[0].deprecated is not None or found[0].expired(today))

    def _remote_entry(self, identifier: str, url: str) -> Metadata:
        endpoint = re.match(rf"(https?://.+)/metadata/{identifier}(/.*)?\Z", url)
        if endpoint is None:
            raise ImageError(f"{shown(url)} is not the URL of the metadata of image {identifier}")
        session, environ = (guarded_session(self.networks), {}) if self.stranger else (None, os.environ)
        connection = MarketplaceConnection(endpoint[1], _TIMEOUT, verify=self.verify, session=session, environ=environ)
        return Marketplace(connection).find(identifier)

    def _downloaded(self, entry: Metadata, location: str, stranger: bool) -> Path:
        limit = min(LARGEST if entry.bytes is None else entry.bytes, LARGEST)
        networks = self.networks if stranger else None
        with Download(self.directory, location, limit=limit, verify=self.verify, public_only=networks) as download:
            download.fetch()
            intake = ImageImport(
                self.directory,
                lambda found, path: _checked(entry, found, stranger),
                # If the file has the size in the entry, that may be the compressed size.
                limit=None if entry.bytes is None or download.size == entry.bytes else limit,
                algorithms={*USUAL, *entry.checksums}.intersection(ALGORITHMS.values()),
            )
            return intake.of_download(download).path


def _is_http(location: str) -> bool:
    return re.match(r"https?://", location, re.IGNORECASE) is not None


def _checked(entry: Metadata, found: ReadResult, stranger: bool) -> str:
    """The entry's identifier, if the image matches the entry. Raises ImageError, which tells a stranger nothing of the image."""
    differences = list(_differences(entry, found.content))
    if differences and list(_differences(entry, found.came)):
        raise ImageError("it is not the image that the Marketplace describes" if stranger else differences[0])
    return entry.identifier


def _differences(entry: Metadata, sums: Checksums) -> Iterator[str]:
    if entry.bytes is not None and sums.bytes != entry.bytes:
        yield f"its size is {sums.bytes} bytes, the Marketplace says {entry.bytes}"
    for algorithm, value in {"SHA-1": entry.sha1, **entry.checksums}.items():
        if algorithm in sums.checksums and sums.checksums[algorithm] != value:
            yield f"its {algorithm} is {sums.checksums[algorithm]}, the Marketplace says {value[:130]}"


def trusted(environ: Mapping[str, str]) -> bool | str:
    """The trusted certificates: a file named in the environment, else True for the default ones."""
    return environ.get("STRATUSLAB_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or True


def main(arguments: list[str]) -> int:
    """Download an image; arguments: the store's directory, the identifier, a metadata URL or an empty text, and "stranger" unless
    it is for the owner of the cloud. An error is one line on standard output."""
    os.umask(0o077)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    directory, identifier, metadata_url, asker = arguments
    networks = os.environ.get(NETWORKS_VARIABLE, "")
    try:
        fetcher = ImageFetcher(Path(directory), trusted(os.environ), stranger=asker == STRANGER, networks=networks)
        fetcher.fetch(identifier, metadata_url)
        return 0
    except StratusLabError as error:
        message = error.message
    except Exception as error:
        traceback.print_exc()
        message = f"cannot download image {identifier}: {type(error).__name__}: {error}"
    sys.stdout.buffer.write(" ".join(message.split()).encode("utf-8", "replace"))
    sys.stdout.flush()
    return 1


def _end_with_starter() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
