"""Answers of a server that has one file, and of some that have it badly, for a ScriptedServer."""

from __future__ import annotations

from typing import Any

from tests.fakes.scripted_server import Answer, Conversation, head

TAG = '"one"'


def whole(content: bytes, tag: str = TAG, **headers: Any) -> Answer:
    """All of the file, whatever part is asked for."""
    return broken_off(content, len(content), tag, **headers)


def broken_off(content: bytes, end: int, tag: str = TAG, *, reset: bool = False, **headers: Any) -> Answer:
    """The beginning of the file, with the length of all of it."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        given: dict[str, Any] = {"Content_Length": len(content), **({"ETag": tag} if tag else {}), **headers}
        conversation.send(head(**given) + content[:end])
        if reset:
            conversation.reset()

    return answer


def by_range(content: bytes, tag: str = TAG, end: int | None = None) -> Answer:
    """The part that is asked for, as RFC 9110 has it: all of the file where it is another one by now. With an ``end`` the
    connection breaks there."""

    def answer(conversation: Conversation) -> None:
        asked = conversation.read_request().headers
        begin = int(asked["range"].removeprefix("bytes=").rstrip("-")) if "range" in asked else None
        if begin is None or asked.get("if-range", tag) != tag:
            conversation.send(head(Content_Length=len(content), ETag=tag) + content[:end])
        elif begin >= len(content):
            conversation.send(head("416 Range Not Satisfiable", Content_Range=f"bytes */{len(content)}", Content_Length=0))
        else:
            place = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            first = head("206 Partial Content", Content_Length=len(content) - begin, Content_Range=place, ETag=tag)
            conversation.send(first + content[begin:end])

    return answer


def refuses(status: str) -> Answer:
    """An answer of that status."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(head(status, Content_Length=0))

    return answer


def redirects(location: str) -> Answer:
    """Sends the client elsewhere, with a body that it had better not read."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(head("302 Found", Location=location, Content_Length=1 << 40) + bytes(1 << 16))

    return answer
