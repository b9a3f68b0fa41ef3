"""How the embedded cloud says no: OpenNebula's error numbers with its words."""

from __future__ import annotations

from stratuslab.opennebula.numbers import ErrorCode


class Refusal(Exception):
    """A call that is answered with a failure.

    ``code`` is the error number, ``text`` the message without the method's name before it, ``object_id`` the object that it
    is about where OpenNebula tells it.
    """

    def __init__(self, code: ErrorCode, text: str, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.object_id = object_id


def no_such(kind: str, number: int) -> Refusal:
    """The refusal for a number that no object of the kind (``virtual machine``, ``image`` ...) has."""
    return Refusal(ErrorCode.NO_EXISTS, f"Error getting {kind} [{number}].", number)


def not_authorized(user: int, right: str, number: int) -> Refusal:
    """The refusal for a user who lacks a right (USE, MANAGE, ADMIN) on an instance."""
    return Refusal(ErrorCode.AUTHORIZATION, f"User [{user}] : Not authorized to perform {right} VM [{number}].")


def bad_template(text: str) -> Refusal:
    """The refusal for a template that asks for something that cannot be."""
    return Refusal(ErrorCode.INTERNAL, text)
