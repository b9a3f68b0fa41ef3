"""Answers XML-RPC calls in the same process, without HTTP.

Callers are the administrator without a password, as they can read and write the store anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import EMBEDDED, ServerProfile
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.instance_record import ADMINISTRATOR


class LocalTransport:
    """The transport to the cloud in a directory; threads may share it. ``environ`` is the environment of its instances.

    The first call opens the store. Raises StratusLabError or UsageError if it cannot be used.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str], profile: ServerProfile = EMBEDDED) -> None:
        import threading

        self._directory = directory
        self._environ = environ
        self._profile = profile
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self._directory, environ=self._environ)
            return self._engine

    def post(self, body: bytes) -> Iterator[bytes]:
        """The response to a call, in pieces."""
        return answer(self.engine, lambda session: ADMINISTRATOR, body, self._profile)

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
