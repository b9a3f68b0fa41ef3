"""The pytest fixture ``embedded_opennebula``: a running cloud for one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stratuslab.testing.embedded_opennebula import EmbeddedOpenNebula


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "embedded_opennebula(flavour, users, machines): what the fixture's cloud is like")


@pytest.fixture
def embedded_opennebula(request: pytest.FixtureRequest) -> Iterator[EmbeddedOpenNebula]:
    """A running OpenNebula; the marker of the same name has the arguments of ``stratuslab.testing.embedded_cloud``."""
    from stratuslab.testing.embedded_opennebula import embedded_cloud

    marker = request.node.get_closest_marker("embedded_opennebula")
    with embedded_cloud(*(marker.args if marker else ()), **(marker.kwargs if marker else {})) as cloud:
        yield cloud
