"""OpenNebula's numeric constants: error codes, fault codes, pool filters."""

from __future__ import annotations

from enum import IntEnum

LARGEST_ID = 2**31 - 1
"""Numbers on the wire are signed 32-bit integers."""


def is_id(text: str) -> bool:
    """Whether the text is a number of at most ten digits, which may still be larger than an id can be."""
    return text.isascii() and text.isdigit() and len(text) <= 10


SSH_PORT = 22
"""The port of a machine's SSH server, unless its document names another port that leads there."""


class ErrorCode(IntEnum):
    """The third element of a failed answer (OpenNebula 3.0 and later; 2.2 sends none)."""

    AUTHENTICATION = 0x0100
    AUTHORIZATION = 0x0200
    NO_EXISTS = 0x0400
    ACTION = 0x0800
    API = 0x1000
    INTERNAL = 0x2000
    ALLOCATE = 0x4000
    LOCKED = 0x8000
    REPLICATION = 0x10000


class FaultCode(IntEnum):
    """The faults that OpenNebula's XML-RPC library (xmlrpc-c) sends itself."""

    TYPE = -501
    PARSE = -503
    NO_SUCH_METHOD = -506
    REQUEST_REFUSED = -507


class Owner(IntEnum):
    """The owner argument of ``one.vmpool.info``; numbers from 0 are user ids."""

    MINE = -3
    ALL = -2
    MINE_AND_GROUP = -1


class PoolState(IntEnum):
    """The state argument of ``one.vmpool.info``; numbers from 0 mean exactly that STATE."""

    ANY = -2
    NOT_DONE = -1
