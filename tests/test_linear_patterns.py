"""No pattern of the package takes more than linear time, whatever text it is given.

The worst texts for a pattern are made of its own parts, repeated: each literal, each kind of character, and the beginnings of
the pattern. Backtracking shows as time that grows much faster than the text.
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stratuslab.cloud import user_inputs
from stratuslab.diagnosis import causes
from stratuslab.opennebula import template_grammar
from stratuslab.output import redaction
from stratuslab.python_library import python_hints
from tests.harness import CHECKOUT

IN_RE = sys.version_info >= (3, 11)
sre_compile: Any = import_module("re._compiler" if IN_RE else "sre_compile")
sre_parse: Any = import_module("re._parser" if IN_RE else "sre_parse")

PACKAGE = CHECKOUT / "stratuslab"
FUNCTIONS = ("compile", "match", "search", "fullmatch", "sub", "split", "findall", "finditer")
SIZE = 4000
SLOW = 0.004  # seconds of CPU for a text of that size; a linear pattern takes a tenth of that
GROWTH = 9.0  # for a text four times as long: 4 is linear, 16 quadratic

# Patterns that are computed where they are used: what they can be. None for those that users write themselves.
COMPUTED: dict[str, list[str] | None] = {
    "causes: part": [part for cause in causes.CAUSES for text in cause.patterns for part in text.split(".*")],
    "python_hints: pattern": [text for text, _ in python_hints._SAYINGS],
    "redaction: pattern": [text for text, _ in redaction._IN_TEXT],
    "template_grammar: pattern": [r"\w+", r"=[ \t]*", r"[,\]]", template_grammar._VALUE],
    "user_inputs: _NUMBERS[self.type]": list(user_inputs._NUMBERS.values()),
    "output_options: self.operand": None,
    "output_arguments: operand": None,
    "ssh_config_writer: f'(?ms)^{re.escape(begin)}.*?^{_END}'": ["(?ms)^# A\\ B.*?^# end"],
    "fetch_process: f'(https?://.+)/metadata/{identifier}(/.*)?\\\\Z'": [r"(https?://.+)/metadata/AAAA(/.*)?\Z"],
}

TOKENIZERS = ("context_variables",)
"""Modules with tables of patterns, all of which are only matched where the last token ended."""


def found_patterns() -> Iterator[tuple[str, str, str | bytes, int]]:
    """Where each pattern is, how it is used, its text and flags."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        uses: dict[str, set[str]] = {}
        names: dict[int, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                uses.setdefault(node.value.id, set()).add(node.attr)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names[id(node.value)] = node.targets[0].id
        calls = [node for node in ast.walk(tree) if _is_of_re(node)]
        for call in calls:
            assert isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            function = call.func.attr
            used = uses.get(names.get(id(call), ""), set()) & set(FUNCTIONS) if function == "compile" else {function}
            anchored = path.stem in TOKENIZERS or (used and used <= {"match", "fullmatch"})
            how = "search" if not anchored else "fullmatch" if "fullmatch" in used else "match"
            yield from ((f"{path.stem}:{call.lineno}", how, text, flags) for text, flags in _evaluated(path, call))


def _is_of_re(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in FUNCTIONS
    )


def _evaluated(path: Path, call: ast.Call) -> list[tuple[str | bytes, int]]:
    module = import_module(".".join(path.relative_to(CHECKOUT).with_suffix("").parts))
    flags = 0
    for node in (*call.args[1:], *(keyword.value for keyword in call.keywords)):
        text = ast.unparse(node)
        if re.match(r"re\.[A-Z]+\b", text):
            flags |= eval(text.partition(" if ")[0], {"re": re})
    source = ast.unparse(call.args[0])
    computed = COMPUTED.get(f"{path.stem}: {source}", ...)
    if computed is not ...:
        return [(text, flags) for text in computed or ()]
    try:
        return [(eval(source, vars(module)), flags)]
    except NameError:
        return [(f"add to COMPUTED what this can be: {path.stem}: {source}", -1)]


PATTERNS = list(found_patterns())


@cache
def _worst(pattern: str | bytes, flags: int) -> list[str]:
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    units: dict[str, None] = {}
    starts: dict[str, None] = {"": None}
    _collect(sre_parse.parse(text, flags), units, starts)
    units.update(dict.fromkeys(starts))
    units.pop("", None)
    return [
        start + (unit * (SIZE // len(unit) + 1))[:SIZE] + end
        for start in sorted(starts, key=len)[:24]
        for unit in list(units)[:60]
        for end in ("", "\0")
    ]


def _collect(nodes: Any, units: dict[str, None], starts: dict[str, None]) -> None:
    """Add samples of the beginning, each part, each two neighbours, and of all parts together."""
    parts = [_samples(node) for node in nodes]
    for place in range(len(parts)):
        starts["".join(part[0] for part in parts[: place + 1])[:200]] = None
    for one, other in pairwise(parts):
        units.update(dict.fromkeys((left + right)[:40] for left in one for right in other))
    for samples in (*parts, ["".join(part[0] for part in parts)]):
        units.update(dict.fromkeys(sample[:40] for sample in samples))
    for name, value in nodes:
        for inner in _inside(str(name), value):
            _collect(inner, units, starts)
        if str(name) == "IN" and (members := _members(value)[:5]):
            units.update(dict.fromkeys(members[0] + other for other in members[1:]))


def _inside(name: str, value: Any) -> list[Any]:
    match name:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
        case "SUBPATTERN":
            return [value[3]]
        case "ATOMIC_GROUP":
            return [value]
        case "BRANCH":
            return list(value[1])
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
    return []


def _samples(node: Any) -> list[str]:
    """A few texts that the node matches, more or less: each repeated part once, of a choice each."""
    name, value = node
    match str(name):
        case "LITERAL":
            return [chr(value)]
        case "NOT_LITERAL":
            return ["a" if value != ord("a") else "b"]
        case "ANY":
            return ["a"]
        case "IN":
            return _members(value)[:2] or ["a"]
        case "ASSERT" | "ASSERT_NOT":
            return [""]
    found: list[str] = []
    for inner in _inside(str(name), value):
        parts = [_samples(part) for part in inner]
        usual = [part[0] for part in parts]
        found.append("".join(usual))
        for place, part in enumerate(parts):
            found += ["".join([*usual[:place], other, *usual[place + 1 :]]) for other in part[1:]]
    return list(dict.fromkeys(found))[:6] or [""]


def _members(value: Any) -> list[str]:
    """Some of a class's characters, those that other parts may take as well first."""
    text = "a0 -._:/\"'\\=|\n;A*"
    pattern = sre_parse.SubPattern(sre_parse.State())
    pattern.append((sre_parse.IN, value))
    compiled = sre_compile.compile(pattern, 0)
    return [char for char in text if compiled.match(char)]


def _seconds(compiled: re.Pattern[Any], how: str, text: Any) -> float:
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        if how in ("match", "fullmatch"):
            getattr(compiled, how)(text)
        else:
            for _ in compiled.finditer(text):
                pass
        best = min(best, time.process_time() - begin)
        if best < SLOW:
            break
    return best


@pytest.mark.parametrize(("place", "how", "pattern", "flags"), PATTERNS, ids=[place for place, *_ in PATTERNS])
def test_the_time_of_every_pattern_is_linear(place: str, how: str, pattern: str | bytes, flags: int) -> None:
    assert flags >= 0, pattern
    compiled: re.Pattern[Any] = re.compile(pattern, flags)
    for text in _worst(pattern, flags):
        worst: Any = text.encode("latin-1", "replace") if isinstance(pattern, bytes) else text
        seconds = _seconds(compiled, how, worst)
        if seconds >= SLOW:
            longer = _seconds(compiled, how, worst[: len(text) - SIZE] + worst[len(text) - SIZE :] * 4)
            assert longer < seconds * GROWTH, f"{place}: {pattern!r} on {worst[:60]!r}... of {len(text)} characters"


def test_all_patterns_are_found() -> None:
    assert len(PATTERNS) > 150
