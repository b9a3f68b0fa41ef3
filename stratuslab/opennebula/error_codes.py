"""The numbers of OpenNebula's errors, and of the faults of its XML-RPC library."""

from __future__ import annotations

from enum import IntEnum


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
