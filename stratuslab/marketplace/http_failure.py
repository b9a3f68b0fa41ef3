"""Explains an exception of the requests library in a few words, without its URL, which may hold a password."""

from __future__ import annotations

import socket
import ssl

from requests import exceptions

from stratuslab.certificate_error import certificate_hint


def is_late(error: BaseException) -> bool:
    """Whether the error means that a server sent no data for too long."""
    return isinstance(error, exceptions.Timeout) or any(isinstance(cause, TimeoutError) for cause in causes(error))


def explained(error: BaseException, hint: str) -> tuple[str, str]:
    """Why a server cannot be used, and what to do: ``hint`` if nothing better is known."""
    found = causes(error)
    for cause in found:
        if isinstance(cause, ssl.SSLCertVerificationError):
            trust = "set the key ca_bundle or REQUESTS_CA_BUNDLE to a file with its certificate"
            return f"its TLS certificate is not trusted: {cause.verify_message}", certificate_hint(cause, trust)
    if isinstance(error, exceptions.SSLError):
        return "TLS failed", "check that the address is https://, and which certificates are trusted"
    if isinstance(error, exceptions.ProxyError):
        return "the proxy cannot reach it", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    for cause in found:
        if isinstance(cause, socket.gaierror):
            return "its host name is unknown", f"check the name, or {hint}"
    for cause in found:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror, hint
    return "it does not speak HTTP, or its answer was incomplete", hint


def causes(error: BaseException) -> list[BaseException]:
    """The error and all its causes; requests and urllib3 keep the first cause in different places."""
    found: list[BaseException] = []
    ahead: list[object] = [error]
    while ahead:
        cause = ahead.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            ahead += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
    return found
