"""OpenNebula's numeric constants: ids, ports, pool filters. Every command loads them, and an enumeration takes long to build."""

LARGEST_ID = 2**31 - 1
"""Numbers on the wire are signed 32-bit integers."""


def is_id(text: str) -> bool:
    """Whether the text is a number of at most ten digits, which may still be larger than an id can be."""
    return text.isascii() and text.isdigit() and len(text) <= 10


SSH_PORT = 22
"""The port of a machine's SSH server, unless its document names another port that leads there."""


class Owner:
    """The owner argument of ``one.vmpool.info``; numbers from 0 are user ids."""

    GROUP = -4
    MINE = -3
    ALL = -2
    MINE_AND_GROUP = -1


class PoolState:
    """The state argument of ``one.vmpool.info``; numbers from 0 mean exactly that STATE."""

    ANY = -2
    NOT_DONE = -1
