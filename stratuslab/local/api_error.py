"""The errors that the embedded cloud answers calls with: OpenNebula's numbers and messages."""

from __future__ import annotations

from stratuslab.opennebula.error_codes import ErrorCode


class APIError(Exception):
    """A call that fails.

    ``code`` is the error number, ``text`` the message without the method's name, ``object_id`` the object it is about if
    OpenNebula includes that.
    """

    def __init__(self, code: ErrorCode, text: str, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.object_id = object_id


def no_such(kind: str, number: int) -> APIError:
    """The error for an object of a kind (``virtual machine``, ``image`` ...) that does not exist."""
    return APIError(ErrorCode.NO_EXISTS, f"Error getting {kind} [{number}].", number)


class WrongState(APIError):
    """The instance's state does not allow the action."""


class Unsupported(APIError):
    """The server does not know the action."""


class BadTemplate(APIError):
    """The template is not valid. Subclasses are errors that older servers word differently."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.INTERNAL, text)


class BadCapacity(BadTemplate):
    """CPU or MEMORY is not a number."""


class BadVariable(BadTemplate):
    """A syntax error in a variable in CONTEXT."""


class NoSuchImage(BadTemplate):
    """A disk's image does not exist."""


class NoSuchNetwork(BadTemplate):
    """A NIC's network does not exist or has no free address."""


class Restricted(APIError):
    """The template has an attribute that is for administrators only."""

    def __init__(self, user: int, attribute: str) -> None:
        super().__init__(
            ErrorCode.AUTHORIZATION,
            f"User [{user}] : VM Template includes a restricted attribute {attribute.rpartition('/')[2]}.",
        )
        self.attribute = attribute


def not_authorized(user: int, right: str, number: int) -> APIError:
    """The error for a user without a right (USE, MANAGE, ADMIN) to an instance."""
    return APIError(ErrorCode.AUTHORIZATION, f"User [{user}] : Not authorized to perform {right} VM [{number}].")


def not_authenticated() -> APIError:
    """The session string is not that of a user."""
    return APIError(ErrorCode.AUTHENTICATION, "User couldn't be authenticated, aborting call.")
