"""The embedded cloud's door for programs on this computer: calls are answered in the same process, without HTTP.

Whoever may read and write the store is its administrator, so no password is asked for here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import EMBEDDED, ServerProfile
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.instance_record import ADMINISTRATOR


class LocalTransport:
    """Hands XML-RPC calls to the cloud in a directory; threads may share it. ``environ`` is what its instances start with.

    The store is opened by the first call. Raises StratusLabError or UsageError where it cannot be used.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str], profile: ServerProfile = EMBEDDED) -> None:
        import threading

        self._directory = directory
        self._environ = environ
        self._flavour = profile
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
        return answer(self.engine, lambda session: ADMINISTRATOR, body, self._flavour)

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
