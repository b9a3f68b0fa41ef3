"""Asking the person at the terminal."""

from __future__ import annotations

from stratuslab.context import Context
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.safety import one_line


class Cancelled(StratusLabError):
    """The person at the terminal gave no answer."""


def confirmed(context: Context, question: str, hint: str) -> bool:
    """Whether the person says yes. Raises UsageError with the hint where there is no terminal to ask at."""
    if not context.interactive or context.stdin is None or context.stderr is None:
        raise UsageError(f"there is no terminal to ask at: {question}", hint)
    context.stderr.write(f"{one_line(question)} [y/N] ")
    context.stderr.flush()
    answer = ""
    try:
        answer = context.stdin.readline()
    finally:
        if not answer:  # Ctrl-D or Ctrl-C, after which the cursor stands behind the question
            context.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def answered(context: Context, question: str, secret: bool = False) -> str:
    """What the person at the terminal types, a secret without echo. Raises Cancelled where they end the input (Ctrl-D)."""
    assert context.stdin is not None
    assert context.stderr is not None
    question = one_line(question.rstrip()) + " "
    if secret:
        from getpass import getpass

        try:
            return getpass(question, context.stderr)
        except EOFError:
            raise Cancelled("cancelled") from None
    context.stderr.write(question)
    context.stderr.flush()
    answer = context.stdin.readline()
    if not answer:
        context.stderr.write("\n")
        raise Cancelled("cancelled")
    return answer.rstrip("\r\n")
