"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples each time, and no time limit for one: a busy computer must not make a test fail.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
