"""Questions to the user at the terminal."""

from __future__ import annotations

from stratuslab.environment import Environment, ask_secret
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.safe_text import one_line


class Cancelled(StratusLabError):
    """The user said no, or ended the input instead of answering."""


def confirmed(environment: Environment, question: str, hint: str) -> bool:
    """Whether the user says yes. Raises UsageError with the hint if there is no terminal."""
    if not environment.interactive or environment.stdin is None or environment.stderr is None:
        raise UsageError(f"cannot ask for confirmation without a terminal: {question}", hint)
    environment.stderr.write(f"{one_line(question)} [y/N] ")
    environment.stderr.flush()
    answer = ""
    try:
        answer = environment.stdin.readline()
    finally:
        if not answer:  # Ctrl-D or Ctrl-C leave the cursor behind the question
            environment.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def require_yes(environment: Environment, question: str) -> None:
    """Raise Cancelled unless the user says yes, and UsageError if there is no terminal."""
    if not confirmed(environment, question, "use --yes"):
        raise Cancelled("cancelled")


def answered(environment: Environment, question: str, secret: bool = False) -> str:
    """What the user types, without echo if it is a secret. Raises Cancelled if the user ends the input (Ctrl-D)."""
    assert environment.stdin is not None
    assert environment.stderr is not None
    question = one_line(question.rstrip()) + " "
    if secret:
        try:
            return ask_secret(question, environment.stderr)
        except EOFError:
            raise Cancelled("cancelled") from None
    environment.stderr.write(question)
    environment.stderr.flush()
    answer = environment.stdin.readline()
    if not answer:
        environment.stderr.write("\n")
        raise Cancelled("cancelled")
    return answer.rstrip("\r\n")
