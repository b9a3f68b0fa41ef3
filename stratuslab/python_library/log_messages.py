"""What the commands say on stderr, as records of the standard library's logging for programs."""

from __future__ import annotations

import logging

from stratuslab.output.messages import Messages
from stratuslab.output.safe_text import one_line
from stratuslab.python_library.python_hints import in_program_words

logging.getLogger("stratuslab").addHandler(logging.NullHandler())
_CLIENT = logging.getLogger("stratuslab.client")
_WIRE = logging.getLogger("stratuslab.wire")


class LogMessages(Messages):
    """Logs to ``stratuslab.client``, and each call and answer, without secrets, to ``stratuslab.wire`` (DEBUG)."""

    def __init__(self) -> None:
        super().__init__(None, "stratuslab")

    def error(self, message: str) -> None:
        _CLIENT.error("%s", one_line(in_program_words(message)))

    def warning(self, message: str) -> None:
        _CLIENT.warning("%s", one_line(in_program_words(message)))

    def note(self, message: str) -> None:
        _CLIENT.info("%s", one_line(in_program_words(message)))

    def hint(self, message: str) -> None:
        """Nothing: what a person may do next at a terminal."""

    def step(self, message: str) -> None:
        _CLIENT.debug("%s", one_line(message))

    def detail(self, text: str) -> None:
        _CLIENT.debug("%s", text)

    def wire(self, message: str) -> None:
        _WIRE.debug("%s", one_line(message))
