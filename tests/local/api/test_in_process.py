"""The embedded cloud in the same process, as commands use it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from stratuslab.errors import StratusLabError
from stratuslab.local.api.in_process import LocalTransport


def test_the_store_is_closed_with_the_transport(tmp_path: Path) -> None:
    transport = LocalTransport(tmp_path, {})
    store = transport.engine.store
    assert store.query("SELECT 1") == [(1,)]
    del transport
    gc.collect()
    with pytest.raises(StratusLabError, match="closed"):
        store.query("SELECT 1")
