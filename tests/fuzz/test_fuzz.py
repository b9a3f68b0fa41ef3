"""The short form of fuzzing: inputs that once failed, and a few hundred mutated ones for each target."""

from __future__ import annotations

import pytest

from tests.fuzz.fuzz_targets import TARGETS, seeds
from tests.fuzz.run_fuzz import mutations, timed

INPUTS = {"arguments": 60, "responses": 100, "requests": 60, "media": 30}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_surprises(name: str) -> None:
    run = timed(TARGETS[name][0])
    for data in mutations(seeds(name), INPUTS.get(name, 300), seed=1):
        run(data)
