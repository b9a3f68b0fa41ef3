"""Asking the person at the terminal."""

from __future__ import annotations

from stratuslab.environment import Environment
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.safe_text import one_line


class Cancelled(StratusLabError):
    """The person at the terminal gave no answer."""


def confirmed(environment: Environment, question: str, hint: str) -> bool:
    """Whether the person says yes. Raises UsageError with the hint where there is no terminal to ask at."""
    if not environment.interactive or environment.stdin is None or environment.stderr is None:
        raise UsageError(f"there is no terminal to ask at: {question}", hint)
    environment.stderr.write(f"{one_line(question)} [y/N] ")
    environment.stderr.flush()
    answer = ""
    try:
        answer = environment.stdin.readline()
    finally:
        if not answer:  # Ctrl-D or Ctrl-C, after which the cursor stands behind the question
            environment.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def answered(environment: Environment, question: str, secret: bool = False) -> str:
    """What the person at the terminal types, a secret without echo. Raises Cancelled where they end the input (Ctrl-D)."""
    assert environment.stdin is not None
    assert environment.stderr is not None
    question = one_line(question.rstrip()) + " "
    if secret:
        from getpass import getpass

        try:
            return getpass(question, environment.stderr)
        except EOFError:
            raise Cancelled("cancelled") from None
    environment.stderr.write(question)
    environment.stderr.flush()
    answer = environment.stdin.readline()
    if not answer:
        environment.stderr.write("\n")
        raise Cancelled("cancelled")
    return answer.rstrip("\r\n")
