"""A fake OpenNebula whose machines are processes, for clients that other projects wrote."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stratuslab.testing import EmbeddedOpenNebula, embedded_cloud


@pytest.fixture
def served() -> Iterator[EmbeddedOpenNebula]:
    with embedded_cloud() as opennebula:
        yield opennebula
