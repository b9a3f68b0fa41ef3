"""Questions to the user at the terminal."""

from __future__ import annotations

from stratuslab.environment import Environment, ask_secret
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.safe_text import one_line


class Cancelled(StratusLabError):
    """The user said no, or ended the input instead of answering."""


def confirmed(environment: Environment, question: str, hint: str) -> bool:
    """Whether the user says yes. Raises UsageError with the hint if there is no terminal."""
    if not environment.interactive:
        raise UsageError(f"cannot ask for confirmation without a terminal: {question}", hint)
    return _typed(environment, f"{one_line(question)} [y/N] ").strip().lower() in ("y", "yes")


def require_yes(environment: Environment, question: str) -> None:
    """Raise Cancelled unless the user says yes, and UsageError if there is no terminal."""
    if not confirmed(environment, question, "use --yes"):
        raise Cancelled("cancelled")


def answered(environment: Environment, question: str, secret: bool = False) -> str:
    """What the user types, without echo if it is a secret. Raises Cancelled if the user ends the input (Ctrl-D)."""
    question = one_line(question.rstrip()) + " "
    if secret:
        try:
            return ask_secret(question, environment.stderr)
        except EOFError:
            raise Cancelled("cancelled") from None
    if not (line := _typed(environment, question)):
        raise Cancelled("cancelled")
    return line.rstrip("\r\n")


def _typed(environment: Environment, question: str) -> str:
    """The line that the user types; empty if the user ends the input."""
    assert environment.stdin is not None
    assert environment.stderr is not None
    environment.stderr.write(question)
    environment.stderr.flush()
    line = ""
    try:
        line = environment.stdin.readline()
    finally:
        if not line:  # Ctrl-D or Ctrl-C leave the cursor behind the question
            environment.stderr.write("\n")
    return line
