"""Asking the person at the terminal."""

from __future__ import annotations

from stratuslab.context import Context
from stratuslab.errors import UsageError
from stratuslab.output.safety import one_line


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
