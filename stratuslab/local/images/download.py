"""Downloading a file over HTTP so that what has arrived is not lost, whatever ends the download.

What there is of a file is kept in ``images/partial`` of the store's directory, by the SHA-256 of its URL, with a note of what
the server said to tell this version of the file from others (RFC 9110, 13.1.5). The next attempt asks for the rest of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from stratuslab.errors import ConfigurationError, NotFound, PermissionDenied, Unreachable, UsageError
from stratuslab.files import is_at, open_locked, private_directory, size_text
from stratuslab.local.images import ImageError
from stratuslab.local.images.free_space import keeping, require
from stratuslab.local.images.image_store import images
from stratuslab.local.images.progress_listener import SILENT, Listener
from stratuslab.local.images.sparse_writer import SparseFile
from stratuslab.marketplace.compression import MAGIC_SIZE, packing
from stratuslab.urls import split_login

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5
"""How often in a row an attempt may bring next to nothing."""

PAUSE = 0.5
"""Seconds before the second attempt; twice as long before each one that follows."""

_PROGRESS = 1 << 20
"""Bytes that an attempt must bring to count as a success."""

_CHUNK = 1 << 16
_TIMEOUT = (10.0, 30.0)  # seconds to connect, and of silence
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)\Z")
_PATIENCE = "try again later: what has arrived is kept"


class Download:
    """The file at an http or https URL. As a context manager it has the file to itself; what was not discarded or moved away
    at the end waits to be continued.

    No more than ``limit`` bytes are taken, or little more where the file is compressed, as that can make it longer. ``verify``
    is as in requests. Errors do not name the URL; UsageError is raised for one that is none.
    """

    def __init__(
        self, directory: Path, url: str, *, limit: int | None = None, verify: bool | str = True, listener: Listener = SILENT
    ) -> None:
        try:
            # What cannot be encoded is no address either.
            self._url, self._login = split_login(urldefrag(url.encode().decode()).url)
        except ValueError:
            raise _no_address() from None
        self._directory = directory
        self._limit = limit
        self._verify = verify
        self._listener = listener
        self._arrived = False
        self.path = images(directory) / "partial" / hashlib.sha256(self._url.encode()).hexdigest()
        self._note = self.path.with_suffix(".json")

    def __enter__(self) -> Download:
        with keeping(self._directory):
            private_directory(self.path.parent)
            self.descriptor = open_locked(self.path, None, lambda: self._listener.step("Another process downloads it: waiting"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.size:
            self.discard()
        elif kind is not None and is_at(self.path, self.descriptor):
            self._listener.step(f"{size_text(self.size)} are kept, to be continued")
        os.close(self.descriptor)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return os.fstat(self.descriptor).st_size

    @property
    def packing(self) -> str:
        """How the file is compressed, as :func:`stratuslab.marketplace.compression.packing` has it."""
        return packing(os.pread(self.descriptor, MAGIC_SIZE, 0))

    def discard(self) -> None:
        """Forget what has arrived."""
        # Where it was moved away, another process may have begun anew.
        if is_at(self.path, self.descriptor):
            self.forget_version()
            self.path.unlink()

    def forget_version(self) -> None:
        """The file is complete and about to be moved away; what was noted about it is of no use any more."""
        self._note.unlink(missing_ok=True)

    def fetch(self) -> None:
        """Bring what is missing, in several attempts if need be.

        Raises NoSpace and ImageError for a file that is too large, for both of which nothing is kept; NotFound,
        PermissionDenied and Unreachable as the server has it; UsageError for a URL that is none.
        """
        with keeping(self._directory):
            try:
                self._fetch()
            except (ImageError, OSError):
                # The space is free at once, and not only when the descriptor is closed.
                os.ftruncate(self.descriptor, 0)
                raise

    def _fetch(self) -> None:
        failures = 0
        while True:
            before = self.size
            try:
                return self._attempt()
            except _Lost as lost:
                failures = 1 if self.size - before >= _PROGRESS else failures + 1
                if failures >= ATTEMPTS:
                    raise Unreachable(str(lost), _PATIENCE if self.size else "try again later") from lost
                pause = PAUSE * 2 ** (failures - 1)
                self._listener.step(f"{size_text(self.size)} have arrived, then: {lost}. Trying again in {pause:g} s")
            time.sleep(pause)

    def _attempt(self) -> None:
        noted = self._noted()
        offset, validator = self.size, noted.get("validator", "")
        continued = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
        with self._answer(continued) as response:
            status = response.status_code
            begin, total = _range(response)
            if status == 416 and continued and total == offset:
                return
            if status == 206 and continued and begin == offset and _validator(response) in ("", validator):
                self._listener.step(f"{size_text(offset)} are here already")
                self._receive(response, total)
            elif status == 200:
                os.ftruncate(self.descriptor, 0)
                size = _length(response)
                self._note.write_text(json.dumps({"validator": _validator(response), "size": size}))
                self._receive(response, size)
            elif status in (206, 416):
                os.ftruncate(self.descriptor, 0)
                raise _Lost("it does not continue where the download was broken off")
            else:
                raise _refusal(response)

    def _noted(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            noted = json.loads(self._note.read_text())
            if isinstance(noted, dict):
                return noted
        return {}

    def _answer(self, headers: dict[str, str]) -> requests.Response:
        """The answer of the server, or of the one that it redirects to."""
        import requests

        from stratuslab.marketplace import http_get

        try:
            return http_get.get(requests.Session(), self._url, headers, timeout=_TIMEOUT, login=self._login, verify=self._verify)
        except http_get.NotFollowed as error:
            raise Unreachable(str(error), "give the address of the file itself") from None
        except requests.RequestException as error:
            raise self._failure(error) from error
        except OSError as error:
            raise ConfigurationError(f"the certificates to trust cannot be read: {error}") from error

    def _failure(self, error: Exception) -> Exception:
        """What an error of the network is: a lost connection, unless there was none and there will be none."""
        import socket
        import ssl

        from requests import exceptions

        from stratuslab.marketplace.http_failure import causes, explained, is_late

        if isinstance(error, (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema)):
            return _no_address()
        why, hint = explained(error, "check the address")
        if is_late(error):
            why = "there was no answer in time"
        final = (ssl.SSLError, socket.gaierror, ConnectionRefusedError)
        if not self._arrived and any(isinstance(cause, final) for cause in causes(error)):
            return Unreachable(why, hint)
        return _Lost(why)

    def _receive(self, response: requests.Response, total: int | None) -> None:
        from urllib3.exceptions import HTTPError

        self._bound(total, packed=True)
        if total is not None:
            require(self._directory, total - self.size)
        file = SparseFile(self.descriptor)
        packed = bool(self.packing)
        try:
            # The bytes as they are: a server may say of a compressed file that gzip is how it sends it.
            for piece in response.raw.stream(_CHUNK, decode_content=False):
                self._arrived = True
                packed = packed or (not file.size and bool(packing(piece)))
                self._bound(file.size + len(piece), packed)
                file.write(piece)
                self._listener.moved("Downloading", file.size, total)
        except (HTTPError, ConnectionError, TimeoutError) as error:
            raise self._failure(error) from error
        finally:
            file.finish()
        if total is not None and file.size != total:
            if file.size > total:
                os.ftruncate(self.descriptor, 0)
            raise _Lost("it breaks off in the middle" if file.size < total else "it sends more than it announced")

    def _bound(self, size: int | None, packed: bool) -> None:
        if self._limit is None or size is None:
            return
        # What does not compress becomes a little longer.
        limit = self._limit + self._limit // 64 + (1 << 16) if packed else self._limit
        if size > limit:
            raise ImageError(f"it is larger than the {size_text(self._limit)} that it should have")


class _Lost(Exception):
    """An attempt failed, and the next may do better."""


def _no_address() -> UsageError:
    return UsageError("this is no address of a file", "give an http:// or https:// URL")


def _refusal(response: requests.Response) -> Exception:
    status = response.status_code
    answered = f"it answered {status} {response.reason or ''}".rstrip()
    if status in (404, 410):
        return NotFound(answered, "check the address")
    if status in (401, 403, 407):
        return PermissionDenied(answered, "is a user name or password missing?")
    if status in (408, 425, 429) or status >= 500:
        return _Lost(answered)
    return Unreachable(answered, "check the address")


def _validator(response: requests.Response) -> str:
    """What tells this version of the file from others by its bytes, for If-Range; empty where nothing does."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def _range(response: requests.Response) -> tuple[int | None, int | None]:
    """Where the part that is sent begins, and how long the whole file is."""
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] != "*" else None


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if re.match(r"[0-9]{1,18}\Z", length) else None
