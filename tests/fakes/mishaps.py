"""What may go wrong with a call to a cloud, on its way there or back."""

from __future__ import annotations

from collections.abc import Callable

from stratuslab.opennebula.error_codes import ErrorCode
from tests.fakes import scripted_server as servers
from tests.fakes.opennebula_answers import failure, fault
from tests.fakes.scripted_server import Conversation

Mishap = Callable[[Conversation, str, bytes], None]
"""What happens to one call instead of its being answered: the call's method, and the whole answer that it would have got (empty
where it was not carried out)."""


def whole(body: bytes) -> bytes:
    """An answer with its head."""
    return servers.head(Content_Type="text/xml", Content_Length=len(body)) + body


def dropped(conversation: Conversation, method: str, answer: bytes) -> None:
    """The connection ends, and nothing was done."""


def lost(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and the connection ends before the answer."""


def reset(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and the connection is reset before the answer."""
    conversation.reset()


def halved(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and half of the answer comes."""
    conversation.send(answer[: len(answer) // 2])


def silent(conversation: Conversation, method: str, answer: bytes) -> None:
    """Nothing is done, and nothing is said."""
    conversation.closing.wait(servers.PATIENCE)


def silent_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and nothing is said."""
    conversation.closing.wait(servers.PATIENCE)


def bad_gateway(conversation: Conversation, method: str, answer: bytes) -> None:
    """A proxy in front gives up, and nothing was done."""
    conversation.send(servers.head("502 Bad Gateway", Content_Length=0))


def bad_gateway_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and a proxy in front has given up meanwhile."""
    conversation.send(servers.head("502 Bad Gateway", Content_Length=0))


def web_page(conversation: Conversation, method: str, answer: bytes) -> None:
    """A proxy in front says something friendly with status 200, and nothing was done."""
    conversation.send(whole(b"<html>Please come back later</html>"))


def refused(conversation: Conversation, method: str, answer: bytes) -> None:
    """The cloud says no."""
    conversation.send(whole(failure(f"[{method}] over quota", ErrorCode.ALLOCATE)))


def denied(conversation: Conversation, method: str, answer: bytes) -> None:
    """The cloud does not know the user any more."""
    conversation.send(whole(failure(f"[{method}] User couldn't be authenticated, aborting call.", ErrorCode.AUTHENTICATION)))


def unauthorized_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and a proxy in front asks for a password instead of answering."""
    conversation.send(servers.head("401 Unauthorized", WWW_Authenticate="Basic", Content_Length=0))


def forbidden_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and a proxy in front does not like the answer."""
    conversation.send(servers.head("403 Forbidden", Content_Length=0))


def fault_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and the XML-RPC library fails to say so."""
    conversation.send(whole(fault(-500, "Internal error")))


def web_page_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and a proxy in front says something friendly with status 200."""
    conversation.send(whole(b"<html>Please come back later</html>"))


def half_a_document_after(conversation: Conversation, method: str, answer: bytes) -> None:
    """It is done, and a proxy in front has cut the answer, and counted again."""
    body = answer.partition(b"\r\n\r\n")[2]
    conversation.send(whole(body[: len(body) // 2]))


CARRIED_OUT = (
    lost,
    reset,
    halved,
    silent_after,
    bad_gateway_after,
    unauthorized_after,
    forbidden_after,
    fault_after,
    web_page_after,
    half_a_document_after,
)
"""The mishaps before which the cloud has done what it was asked for."""
