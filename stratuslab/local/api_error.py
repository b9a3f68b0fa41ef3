"""How the embedded cloud says no: OpenNebula's error numbers with its words."""

from __future__ import annotations

from stratuslab.opennebula.error_codes import ErrorCode


class APIError(Exception):
    """A call that is answered with a failure.

    ``code`` is the error number, ``text`` the message without the method's name before it, ``object_id`` the object that it
    is about where OpenNebula tells it.
    """

    def __init__(self, code: ErrorCode, text: str, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.object_id = object_id


def no_such(kind: str, number: int) -> APIError:
    """The refusal for a number that no object of the kind (``virtual machine``, ``image`` ...) has."""
    return APIError(ErrorCode.NO_EXISTS, f"Error getting {kind} [{number}].", number)


class WrongState(APIError):
    """The instance's state does not allow the action."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.ACTION, text)


class Unsupported(APIError):
    """The server has no action of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(ErrorCode.ACTION, f'Action "{name}" is not supported')


class BadTemplate(APIError):
    """A template that asks for something that cannot be. Subclasses are what older servers have other words for."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.INTERNAL, text)


class BadCapacity(BadTemplate):
    """CPU or MEMORY is not a number."""


class BadVariable(BadTemplate):
    """``$`` in CONTEXT that the server cannot read."""


class NoSuchImage(BadTemplate):
    """A disk's image is not there."""


class NoSuchNetwork(BadTemplate):
    """An interface's network is not there, or has no address left."""


class Restricted(APIError):
    """An attribute of the template that only administrators may give."""

    def __init__(self, user: int, attribute: str) -> None:
        super().__init__(
            ErrorCode.AUTHORIZATION,
            f"User [{user}] : VM Template includes a restricted attribute {attribute.rpartition('/')[2]}.",
        )
        self.attribute = attribute


def not_authorized(user: int, right: str, number: int) -> APIError:
    """The refusal for a user who lacks a right (USE, MANAGE, ADMIN) on an instance."""
    return APIError(ErrorCode.AUTHORIZATION, f"User [{user}] : Not authorized to perform {right} VM [{number}].")
