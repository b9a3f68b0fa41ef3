"""Downloads a file over HTTP, and resumes an interrupted download.

The partial file is kept in ``images/partial`` of the store's directory, named by the SHA-256 of its URL, with the server's
validator for this version of the file (RFC 9110, 13.1.5). The next attempt requests the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urldefrag

import requests
from requests import exceptions
from urllib3.exceptions import HTTPError

from stratuslab.byte_sizes import size_text
from stratuslab.errors import ConfigurationError, NotFound, PermissionDenied, Unreachable, UsageError
from stratuslab.local.images import SILENT, ImageError, ProgressListener
from stratuslab.local.images.free_space import require, storage_errors
from stratuslab.local.images.image_reader import SparseFile
from stratuslab.local.images.image_store import images, keep
from stratuslab.marketplace import http_get
from stratuslab.marketplace.address_guard import guarded_session
from stratuslab.marketplace.http_failure import causes, explained, is_late
from stratuslab.marketplace.image_decompression import MAGIC_SIZE, packing
from stratuslab.private_files import is_at, open_locked, private_directory
from stratuslab.response_deadline import bounded_session
from stratuslab.url_credentials import split_login

ATTEMPTS = 5
"""How many attempts in a row may fail."""

PAUSE = 0.5
"""Seconds before the second attempt, doubled before each further one."""

_PROGRESS = 1 << 20
"""Bytes after which an attempt does not count as failed."""

_CHUNK = 1 << 16
_TIMEOUT = (10.0, 30.0)  # seconds to connect, and without data
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)\Z")
_TRY_LATER = "try again later: the download is resumed"


class Download:
    """The file at an http or https URL. As a context manager it locks the partial file. What is not discarded or moved away by
    its end is kept for the next attempt.

    At most ``limit`` bytes are accepted, a little more if the file is compressed, as that can make it longer. ``verify`` is as
    in requests. With ``public_only`` only public addresses and those networks are connected to, without proxies, see
    :mod:`stratuslab.marketplace.address_guard`. Errors do not name the URL. Raises UsageError for an invalid one.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        limit: int | None = None,
        verify: bool | str = True,
        listener: ProgressListener = SILENT,
        public_only: str | None = None,
    ) -> None:
        try:
            # Raises ValueError for surrogates, too.
            self._url, self._login = split_login(urldefrag(url.encode().decode()).url)
        except ValueError:
            raise _invalid_url() from None
        self._directory = directory
        self._limit = limit
        self._verify = verify
        self._listener = listener
        self._public_only = public_only
        self._arrived = False
        self.path = images(directory) / "partial" / hashlib.sha256(self._url.encode()).hexdigest()
        self._note = self.path.with_suffix(".validator")

    def __enter__(self) -> Download:
        with storage_errors(self._directory):
            private_directory(self.path.parent)
            self.descriptor = open_locked(self.path, None, lambda: self._listener.step("Waiting for another download of it"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.size:
            self.discard()
        elif kind is not None and is_at(self.path, self.descriptor):
            self._listener.step(f"Keeping {size_text(self.size)}: run the command again to resume")
        os.close(self.descriptor)

    @property
    def size(self) -> int:
        """The number of bytes downloaded so far."""
        return os.fstat(self.descriptor).st_size

    @property
    def packing(self) -> str:
        """How the file is compressed, see :func:`stratuslab.marketplace.image_decompression.packing`."""
        return packing(os.pread(self.descriptor, MAGIC_SIZE, 0))

    def discard(self) -> None:
        """Remove the partial file."""
        # After it was moved away, another process may have started a new one.
        if is_at(self.path, self.descriptor):
            self._note.unlink(missing_ok=True)
            self.path.unlink()

    def keep(self, identifier: str) -> Path:
        """Move the complete file to its place as the content of that image."""
        self._note.unlink(missing_ok=True)
        return keep(self._directory, identifier, self.path, self.descriptor)

    def fetch(self) -> None:
        """Download what is missing, in several attempts if necessary.

        Raises NoSpace, or ImageError for a file that is too large, and keeps nothing then; NotFound, PermissionDenied or
        Unreachable; UsageError for an invalid URL.
        """
        failures = 0
        with storage_errors(self._directory):
            while True:
                before = self.size
                try:
                    return self._attempt()
                except _Lost as lost:
                    failures = 1 if self.size - before >= _PROGRESS else failures + 1
                    if failures >= ATTEMPTS:
                        raise Unreachable(str(lost), _TRY_LATER if self.size else "try again later") from lost
                    pause = PAUSE * 2 ** (failures - 1)
                    self._listener.step(f"Interrupted after {size_text(self.size)}: {lost}. Trying again in {pause:g} s")
                except (ImageError, OSError):
                    # Frees the space at once, not only when the descriptor is closed.
                    os.ftruncate(self.descriptor, 0)
                    raise
                time.sleep(pause)

    def _attempt(self) -> None:
        offset, validator = self.size, ""
        with contextlib.suppress(OSError):
            noted = self._note.read_text("latin-1")
            validator = noted if noted.isprintable() else ""  # a crash may have damaged it
        continued = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
        with self._answer(continued) as response:
            status = response.status_code
            begin, total = _range(response)
            if status == 416 and continued and total == offset:
                return
            if status == 206 and continued and begin == offset and _validator(response) in ("", validator):
                self._listener.step(f"Resuming after {size_text(offset)}")
                self._receive(response, total)
            elif status == 200:
                os.ftruncate(self.descriptor, 0)
                self._note.write_text(_validator(response), "latin-1")
                self._receive(response, http_get.announced_size(response))
            elif status in (206, 416):
                os.ftruncate(self.descriptor, 0)
                raise _Lost("the server did not send the rest of the file")
            else:
                raise _refusal(response)

    def _answer(self, headers: dict[str, str]) -> requests.Response:
        guard = self._public_only
        session, proxies = (bounded_session(), os.environ) if guard is None else (guarded_session(guard), {})
        try:
            return http_get.get(
                session, self._url, headers, timeout=_TIMEOUT, login=self._login, verify=self._verify, environ=proxies
            )
        except http_get.NotFollowed as error:
            raise Unreachable(str(error), "give the URL of the file itself") from None
        except exceptions.RequestException as error:
            raise self._failure(error) from error
        except OSError as error:
            raise ConfigurationError(f"cannot read the trusted certificates: {error}") from error

    def _failure(self, error: Exception) -> Exception:
        """The error to raise for an error of the network: one to retry, unless the first attempt failed for good."""
        if isinstance(error, (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema)):
            return _invalid_url()
        why, hint = explained(error, "check the URL")
        if is_late(error):
            why = "no answer in time"
        final = (ssl.SSLError, socket.gaierror, ConnectionRefusedError)
        if not self._arrived and any(isinstance(cause, final) for cause in causes(error)):
            return Unreachable(why, hint)
        return _Lost(why)

    def _receive(self, response: requests.Response, total: int | None) -> None:
        self._bound(total, packed=True)
        if total is not None:
            require(self._directory, total - self.size)
        file = SparseFile(self.descriptor)
        packed = bool(self.packing)
        try:
            # Not decoded: servers declare a compressed file to be gzip transfer encoding.
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
            raise _Lost("its answer was incomplete" if file.size < total else "the server sent more than it announced")

    def _bound(self, size: int | None, packed: bool) -> None:
        if self._limit is None or size is None:
            return
        # Compression makes incompressible data a little longer.
        limit = self._limit + self._limit // 64 + (1 << 16) if packed else self._limit
        if size > limit:
            raise ImageError(f"it is larger than the expected {size_text(self._limit)}")


class _Lost(Exception):
    """An attempt failed, and can be retried."""


def _invalid_url() -> UsageError:
    return UsageError("it is not the URL of a file", "give an http:// or https:// URL")


def _refusal(response: requests.Response) -> Exception:
    status = response.status_code
    answered = f"the server answered {status} {response.reason or ''}".rstrip()
    if status in (404, 410):
        return NotFound(answered, "check the URL")
    if status in (401, 403, 407):
        return PermissionDenied(answered, "add a user name and password: https://USER:PASSWORD@HOST/FILE")
    if status in (408, 425, 429) or status >= 500:
        return _Lost(answered)
    return Unreachable(answered, "check the URL")


def _validator(response: requests.Response) -> str:
    """The validator of this version of the file, for If-Range; empty if there is none."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def _range(response: requests.Response) -> tuple[int | None, int | None]:
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] != "*" else None
