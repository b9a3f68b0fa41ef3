"""Variables in the values of CONTEXT, replaced when an instance is allocated.

The whole context is parsed as one text, as by the servers' grammar (``vm_var_parser.l``): ``$NAME`` and
``$DISK[SIZE, DISK_ID=0]`` are replaced, unknown ones by nothing. ``$$``, ``${X}`` and ``$`` before a blank are syntax errors,
whose message shows the whole context from 4.0 on, as the real servers' does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stratuslab.local.api_error import BadVariable

_SEPARATOR = "@^_^@"
_NAME = r"\n*([A-Za-z0-9_]+)\n*"
_WHERE = rf'[ \t]*,[ \t]*{_NAME}[ \t]*=[ \t]*(?:"([^"]*)"|([A-Za-z0-9]+))\n*'
_VARIABLE = re.compile(rf"\${_NAME}(?:\[[ \t]*{_NAME}(?:{_WHERE})?[ \t]*\]\n*)?")
# What follows a variable: one character that is not part of the syntax (also a backslash, which then escapes nothing), the next
# variable, or nothing.
_AFTER = re.compile(r"(?![ \t]*[=,\]]|[\[A-Za-z0-9_])(?:(?=\$)|[^\n]|\Z)")
_PLAIN = re.compile(r"[^$]+")
_PLAIN_WITH_ESCAPES = re.compile(r"(?:[^$\\]|\\.)+", re.DOTALL)

Find = Callable[[str, str, str, str], str]
"""Looks up a variable by its name, and for ``NAME[KEY, WHERE=VALUE]`` by the other three, which may be empty."""


def replaced(context: Mapping[str, str], find: Find, *, escapes: bool, line: int) -> dict[str, str]:
    r"""The context with its variables replaced. Raises BadVariable.

    With ``escapes`` (from 5.0 on) ``\$`` is kept as it is; ``line`` is the number of the first line in messages.
    """
    text = _SEPARATOR.join(f"{name}={context[name]}" for name in sorted(context))
    pieces: list[str] = []
    at = 0
    while at < len(text):
        match = (_PLAIN_WITH_ESCAPES if escapes else _PLAIN).match(text, at)
        if match is None:
            variable = _VARIABLE.match(text, at)
            match = _AFTER.match(text, variable.end()) if variable else None
            if variable is None or match is None:
                at = variable.end() if variable else at + 1
                detail = "" if variable else ", unexpected EOA, expecting $end or VARIABLE or RSTRING"
                place = f"at line {line + text.count(chr(10), 0, at)}, columns {at + 1}:{min(at + 1, len(text)) + 1}"
                raise BadVariable(f"Error parsing: {text}. syntax error{detail} {place}")
            name, key, where, quoted, bare = (word or "" for word in variable.groups())
            pieces.append(find(name.upper(), key.upper(), where.upper(), quoted or bare))
        pieces.append(match[0])
        at = match.end()
    pairs = (piece.partition("=") for piece in "".join(pieces).split(_SEPARATOR))
    return {name: value for name, equals, value in pairs if equals}
