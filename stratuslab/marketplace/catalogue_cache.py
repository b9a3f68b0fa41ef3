"""Catalogues of Marketplaces on this computer, with what a server needs to say whether they are still current.

A file has the entries that were read, one a line in JSON, which is read far faster than their XML; its first line has the
validators, and its time is when the Marketplace last confirmed it. It is in gzip's format for the checksum, but not compressed.
No library fits: those that cache answers of requests keep whole bodies in memory and on disk, and XML would have to be parsed
again for each search.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stratuslab.errors import UsageError
from stratuslab.marketplace.metadata import Metadata
from stratuslab.private_files import private_directory, require_own, why

LARGEST_CACHE = 1 << 27
"""Bytes of all catalogues together; those that were confirmed longest ago are removed. 50,000 entries have about 40 MB."""

LONGEST_AGE = 30 * 86400
"""Seconds after which a catalogue that no Marketplace has confirmed is removed."""

_VALIDATORS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
_NOTHING_SAID = vars(Metadata(""))
_FORMAT = sorted(_NOTHING_SAID)  # of another version of this program a file is of no use
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=datetime.isoformat)
_DATES = ("created", "valid")
_LISTS = [name for name, value in _NOTHING_SAID.items() if isinstance(value, tuple)]


def cache_directory(environ: Mapping[str, str], home: Path | None) -> Path | None:
    """Where the user's catalogues are, after the XDG Base Directory Specification; None without a home directory."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    base = named if named.is_absolute() else home and home / ".cache"
    return base and base / "stratuslab" / "catalogues"


@dataclass
class CatalogueCache:
    """The catalogues in a directory of the user's own. Whatever is wrong with it, a search goes on without it: ``step`` gets a
    line that says what. ``note`` gets the line that says from when an answer is."""

    directory: Path
    clock: Callable[[], float]
    note: Callable[[str], None]
    step: Callable[[str], None]

    def find(self, *key: str) -> CachedCatalogue | None:
        """The catalogue under the key (Marketplace, user, query), if there is a sound one."""
        path = self._path(key)
        try:
            require_own(self.directory)
            require_own(path)
            file = gzip.GzipFile(path)
        except FileNotFoundError:
            return None
        except (OSError, UsageError) as error:
            self._unusable(error)
            return None
        try:
            catalogue = CachedCatalogue(path, file)
            if self.clock() - catalogue.confirmed < LONGEST_AGE:
                return catalogue
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
            self.step(f"ignoring the damaged cache {path}")
        file.close()
        return None

    def keep(self, entries: Iterable[Metadata], headers: Mapping[str, str], *key: str) -> Iterator[Metadata]:
        """The same entries, kept under the key once all have been read."""
        try:
            recording = _Recording(private_directory(self.directory), self._path(key))
        except (OSError, UsageError) as error:
            self._unusable(error)
            yield from entries
            return
        try:
            recording.write({"format": _FORMAT, **{name: headers[name] for name in _VALIDATORS if name in headers}})
            for entry in entries:
                recording.write({name: value for name, value in vars(entry).items() if value != _NOTHING_SAID[name]})
                yield entry
            recording.finish(self.clock())
        finally:
            recording.discard()
        if recording.failure:
            self._unusable(recording.failure)
        with contextlib.suppress(OSError):
            self._remove_old()

    def confirm(self, catalogue: CachedCatalogue) -> None:
        """Remember that the Marketplace has the catalogue unchanged."""
        now = self.clock()
        with contextlib.suppress(OSError):
            os.utime(catalogue.path, (now, now))

    def _path(self, key: Iterable[str]) -> Path:
        from hashlib import sha256

        # Names tell neither user nor Marketplace.
        return self.directory / sha256("\0".join(key).encode()).hexdigest()[:32]

    def _unusable(self, error: OSError | UsageError) -> None:
        reason = why(error) if isinstance(error, OSError) else error.message
        self.step(f"searching without the cache {self.directory}: {reason}")

    def _remove_old(self) -> None:
        facts = sorted(((path.stat(), path) for path in self.directory.iterdir()), key=lambda fact: -fact[0].st_mtime)
        size, oldest = 0, self.clock() - LONGEST_AGE
        for fact, path in facts:
            size += fact.st_size
            if size > LARGEST_CACHE or fact.st_mtime < oldest:
                path.unlink()


class CachedCatalogue:
    """A catalogue that was read before; :meth:`entries` can be read once. Raises much if the file is damaged."""

    def __init__(self, path: Path, file: gzip.GzipFile) -> None:
        self.path = path
        self.confirmed = os.fstat(file.fileno()).st_mtime
        """When the Marketplace last had it like this, in seconds since the epoch."""
        self._file = file
        header = json.loads(file.readline())
        if header["format"] != _FORMAT:
            raise ValueError("of another version")
        self.conditions = {_VALIDATORS[name]: str(text) for name, text in header.items() if name in _VALIDATORS}
        """Request headers that make the server answer 304 if it is still current."""
        # The checksum is at the end.
        while file.read(1 << 18):
            pass

    def entries(self) -> Iterator[Metadata]:
        """The entries, in the Marketplace's order."""
        with self._file as file:
            file.seek(0)
            next(file)
            for line in file:
                members = json.loads(line)
                for name in _DATES:
                    if name in members:
                        members[name] = datetime.fromisoformat(members[name])
                for name in _LISTS:
                    if name in members:
                        members[name] = tuple(members[name])
                yield Metadata(**members)


class _Recording:
    """A file that replaces the one at the path when it is finished. A ``failure`` ends it."""

    def __init__(self, directory: Path, path: Path) -> None:
        import tempfile

        # Each process writes its own file; the last one to finish wins.
        number, name = tempfile.mkstemp(".new", path.name, directory)
        self._path, self._new = path, Path(name)
        self._file = os.fdopen(number, "wb")
        self._gzip = zlib.compressobj(level=0, wbits=31)
        self.failure: OSError | None = None

    def write(self, members: Mapping[str, object]) -> None:
        self._append(self._gzip.compress(_ENCODER.encode(members).encode() + b"\n"))

    def finish(self, now: float) -> None:
        self._append(self._gzip.flush(), now)

    def _append(self, data: bytes, finished: float | None = None) -> None:
        if self.failure:
            return
        try:
            self._file.write(data)
            if self._file.tell() > LARGEST_CACHE:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            if finished is not None:
                self._file.close()
                os.utime(self._new, (finished, finished))
                self._new.replace(self._path)
        except OSError as error:
            self.failure = error

    def discard(self) -> None:
        """Remove the file, unless it is finished."""
        for remove in (self._file.close, self._new.unlink):
            with contextlib.suppress(OSError):
                remove()
