"""The methods of xmlrpc-c, the library in OpenNebula's daemon: listing and describing methods, and several calls at once.

They need no authentication, except for the calls within ``system.multicall``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stratuslab.local.api.xmlrpc_wire import Parameters, RpcFault, array, fault, value
from stratuslab.opennebula.error_codes import FaultCode

_MULTICALL = "system.multicall"
NAMES = ("system.listMethods", "system.methodHelp", "system.methodSignature", _MULTICALL)
"""The library's methods."""

Run = Callable[[str, Parameters], Iterable[bytes]]


def answer(name: str, parameters: Parameters, methods: Mapping[str, str], run: Run) -> Iterator[bytes]:
    """The answer to a method of the library. Raises RpcFault.

    ``methods`` are the server's, with the types of their parameters after the session; ``run`` answers a call or raises it.
    """
    if name == _MULTICALL:
        return _several(parameters.array(0), run)
    if name == "system.listMethods":
        return value([*sorted(methods), *NAMES])
    asked = parameters.text(0)
    if asked not in methods and asked not in NAMES:
        raise RpcFault(FaultCode.NO_SUCH_METHOD, f"Method '{asked}' not defined")
    if name == "system.methodHelp":
        return value("No help is available for this method.")
    if asked in NAMES:
        return value("undef")
    return value([["array", "string", *methods[asked].split()]])


def _several(calls: list[Any], run: Run) -> Iterator[bytes]:
    """An answer for each call, in order: its value in an array of its own, or its fault as a struct."""
    return array(_answered(run, *call) for call in list(map(_named, calls)))


def _named(call: Any) -> tuple[str, Parameters]:
    if not (isinstance(call, dict) and isinstance(call.get("methodName"), str) and isinstance(call.get("params"), list)):
        raise RpcFault(FaultCode.TYPE, "A call within system.multicall has a methodName and params")
    if call["methodName"] == _MULTICALL:
        raise RpcFault(FaultCode.REQUEST_REFUSED, "Recursive system.multicall strictly forbidden")
    return call["methodName"], Parameters(call["params"])


def _answered(run: Run, name: str, parameters: Parameters) -> bytes:
    try:
        answered = _between(b"".join(run(name, parameters)), b"<param>", b"</param>")
        return b"<value><array><data>%s</data></array></value>\r\n" % answered
    except RpcFault as error:
        return _between(b"".join(fault(error)), b"<fault>", b"</fault>")


def _between(text: bytes, begin: bytes, end: bytes) -> bytes:
    return text[text.index(begin) + len(begin) : text.rindex(end)].strip()
