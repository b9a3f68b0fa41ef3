"""The methods of xmlrpc-c, the library in OpenNebula's daemon: listing and describing methods, and several calls at once.

They need no authentication, except for the calls within ``system.multicall``.
"""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stratuslab.local.api.xmlrpc_wire import Parameters, RpcFault, array, value
from stratuslab.opennebula.error_codes import FaultCode

_MULTICALL = "system.multicall"
_LISTED = ("system.listMethods", "system.methodHelp", "system.methodSignature", _MULTICALL)
Answer = Callable[[bytes], Iterable[bytes]]


def is_own(name: str) -> bool:
    """Whether it is one of the library's methods."""
    return name in _LISTED


def answer(name: str, parameters: Parameters, methods: Mapping[str, str], call: Answer) -> Iterator[bytes]:
    """The answer to a method of the library. Raises RpcFault.

    ``methods`` are the server's, with the types of their parameters after the session; ``call`` answers a call.
    """
    if name == _MULTICALL:
        return _several(parameters.array(0), call)
    if name == "system.listMethods":
        return value([*sorted(methods), *_LISTED])
    asked = parameters.text(0)
    if asked not in methods and not is_own(asked):
        raise RpcFault(FaultCode.NO_SUCH_METHOD, f"Method '{asked}' not defined")
    if name == "system.methodHelp":
        return value("No help is available for this method.")
    if is_own(asked):
        return value("undef")
    return value([["array", "string", *methods[asked].split()]])


def _several(calls: list[Any], call: Answer) -> Iterator[bytes]:
    """An answer for each call, in order: its value in an array of its own, or its fault as a struct."""
    bodies = [_body(each) for each in calls]
    return array(_answered(b"".join(call(body))) for body in bodies)


def _answered(response: bytes) -> bytes:
    if b"<fault>" in response[:256]:
        return _between(response, b"<fault>", b"</fault>")
    return b"<value><array><data>%s</data></array></value>\r\n" % _between(response, b"<param>", b"</param>")


def _body(wanted: Any) -> bytes:
    if not (isinstance(wanted, dict) and isinstance(wanted.get("methodName"), str) and isinstance(wanted.get("params"), list)):
        raise RpcFault(FaultCode.TYPE, "A call within system.multicall has a methodName and params")
    if wanted["methodName"] == _MULTICALL:
        raise RpcFault(FaultCode.REQUEST_REFUSED, "Recursive system.multicall strictly forbidden")
    try:
        return xmlrpc.client.dumps(tuple(wanted["params"]), wanted["methodName"]).encode("utf-8", "replace")
    except (TypeError, OverflowError) as error:
        raise RpcFault(FaultCode.TYPE, f"A parameter within system.multicall cannot be passed on: {error}") from None


def _between(text: bytes, begin: bytes, end: bytes) -> bytes:
    return text[text.index(begin) + len(begin) : text.rindex(end)].strip()
