"""Answers XML-RPC calls in the same process, without HTTP.

Callers are the administrator without a password, as they can read and write the store anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import EMBEDDED
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import ADMINISTRATOR


class LocalTransport:
    """The transport to the cloud in a directory; threads may share it. ``environ`` is the environment of its instances.

    The first call opens the store, which is closed with the transport. Raises StratusLabError or UsageError if it cannot be used.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        from threading import Lock

        self._directory = directory
        self._environ = environ
        self._engine: Engine | None = None
        self._lock = Lock()

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                from weakref import finalize

                self._engine = Engine(self._directory, environ=self._environ)
                # Not when Python exits, as another thread may still use the store.
                finalize(self, self._engine.close).atexit = False
            return self._engine

    def post(self, body: bytes, *, once: bool = False) -> Iterator[bytes]:
        """The response to a call, in pieces."""
        return answer(self.engine, lambda session: ADMINISTRATOR, [body], EMBEDDED)
