"""What can happen to a request on its way, by what is known of its effect."""

from __future__ import annotations

from stratuslab.errors import Unreachable


class NeverSent(Unreachable):
    """The request did not reach the cloud, so it can be sent again without harm."""

    nothing_done = True


class DroppedEarly(NeverSent):
    """The connection ended while it was being established, as happens with overloaded servers."""


class AnswerLost(Unreachable):
    """The request was sent but no complete answer came back: the cloud may have carried it out."""


class ConnectionDropped(AnswerLost):
    """The connection ended before any answer came, as happens with overloaded servers and flaky proxies."""
