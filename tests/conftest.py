"""What all tests share."""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, and no time limit for one: a busy computer must not make a test fail.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def own_addresses(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The clouds of each test lease addresses as if there were no others on this computer."""
    place = tmp_path_factory.getbasetemp() / "addresses" / sha1(request.node.nodeid.encode()).hexdigest()
    monkeypatch.setenv("STRATUSLAB_LOCAL_ADDRESSES", str(place))
    return place
