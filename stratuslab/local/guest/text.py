"""Programs of the simulated guest that work on text and bytes: echo, cat, head, grep, sha256sum, ..."""

from __future__ import annotations

import operator
import re
from collections import deque
from itertools import count

from stratuslab.local.guest.process import Input, Output, Process, Refused, encoded, program

MAX_SORTED = 8 * 1024 * 1024
"""Bytes that a program which must see everything before it answers may hold."""


@program("true", ":")
def true(process: Process) -> Output:
    yield from ()
    return 0


@program("false")
def false(process: Process) -> Output:
    yield from ()
    return 1


@program("echo")
def echo(process: Process) -> Output:
    words = list(process.arguments)
    newline, escapes = "\n", False
    while words and re.fullmatch("-[neE]+", words[0]):
        flags = words.pop(0)
        newline = "" if "n" in flags else newline
        escapes = "e" in flags or (escapes and "E" not in flags)
    text = " ".join(words)
    yield encoded((_unescaped(text) if escapes else text) + newline)
    return 0


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "b": "\b", "e": "\x1b", "0": "\0", '"': '"'}


def _unescaped(text: str) -> str:
    return re.sub(r"\\([ntr\\abe0\"])", lambda match: _ESCAPES[match[1]], text)


@program("printf")
def printf(process: Process) -> Output:
    if not process.arguments:
        raise Refused("usage: printf FORMAT [ARGUMENT...]", 2)
    pattern, *values = process.arguments
    pieces = re.findall(r"%(-?\d*)([sd%])|((?:\\.|[^%\\]|\\\Z)+|.)", pattern, re.DOTALL)
    while True:
        for width, conversion, plain in pieces:
            if plain:
                yield encoded(_unescaped(plain))
                continue
            value = "%" if conversion == "%" else values.pop(0) if values else "0" if conversion == "d" else ""
            if conversion == "d" and not re.fullmatch(r"[+-]?\d+", value):
                raise Refused(f"{value}: invalid number")
            size = min(int(width.lstrip("-") or 0), 1000)
            yield encoded(value.ljust(size) if width.startswith("-") else value.rjust(size))
        # The format is used again as long as there are arguments that it takes.
        if not values or not any(conversion in ("s", "d") for _, conversion, _ in pieces):
            return 0


@program("cat")
def cat(process: Process) -> Output:
    _, names = process.options("u")
    status = 0
    for name in names or ["-"]:
        try:
            for _, pieces in process.sources([name]):
                yield from pieces
        except OSError as error:
            process.error(f"{name}: {error.strerror}")
            status = 1
    return status


@program("tee")
def tee(process: Process) -> Output:
    options, names = process.options("a")
    writers = [process.guest.files.open(process.path(name), append="a" in options) for name in names]
    for piece in process.input:
        for write in writers:
            write(piece)
        yield piece
    return 0


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Refused(f"invalid number '{text}'")
    return int(text)


def _lines_wanted(process: Process) -> tuple[dict[str, str], list[str]]:
    # head -5 is the old form of head -n 5.
    if process.arguments and re.fullmatch(r"-\d+", process.arguments[0]):
        return {"n": process.arguments[0][1:]}, process.arguments[1:]
    return process.options("q", valued="nc")


@program("head")
def head(process: Process) -> Output:
    options, names = _lines_wanted(process)
    for _, pieces in process.sources(names):
        if "c" in options:
            left = _number(options["c"])
            while left > 0 and (piece := next(pieces, b"")):
                yield piece[:left]
                left -= len(piece)
        else:
            source = pieces if isinstance(pieces, Input) else Input(pieces)
            for _ in range(_number(options.get("n", "10"))):
                line = source.line()
                if not line:
                    break
                yield line
    return 0


@program("tail")
def tail(process: Process) -> Output:
    options, names = _lines_wanted(process)
    for _, pieces in process.sources(names):
        if "c" in options:
            size = _number(options["c"])
            kept = bytearray()
            for piece in pieces:
                kept += piece
                del kept[: max(0, len(kept) - min(size, MAX_SORTED))]
            yield bytes(kept)
        else:
            yield from deque(Input(pieces).lines(), maxlen=min(_number(options.get("n", "10")), 100_000))
    return 0


@program("wc")
def wc(process: Process) -> Output:
    options, names = process.options("lwc")
    columns = [letter for letter in "lwc" if letter in options] or list("lwc")
    total = dict.fromkeys("lwc", 0)
    for name, pieces in process.sources(names):
        counts = dict.fromkeys("lwc", 0)
        inside = False
        for piece in pieces:
            words = piece.split()
            # A word that began in the piece before is not another one.
            joined = inside and bool(words) and not piece[:1].isspace()
            counts["w"] += len(words) - joined
            inside = not piece[-1:].isspace() if piece else inside
            counts["l"] += piece.count(b"\n")
            counts["c"] += len(piece)
        yield _counted(counts, columns, "" if not names else name)
        total = {letter: total[letter] + counts[letter] for letter in "lwc"}
    if len(names) > 1:
        yield _counted(total, columns, "total")
    return 0


def _counted(counts: dict[str, int], columns: list[str], name: str) -> bytes:
    width = 7 if len(columns) > 1 else 0
    row = " ".join(f"{counts[letter]:>{width}}" for letter in columns)
    return encoded(f"{row} {name}".rstrip() + "\n")


@program("grep", "egrep", "fgrep")
def grep(process: Process) -> Output:
    options, rest = process.options("vicqEFnws", valued="e")
    if "e" not in options and not rest:
        raise Refused("usage: grep [-ivcqnEFw] PATTERN [FILE...]", 2)
    text = options["e"] if "e" in options else rest.pop(0)
    fixed = "F" in options or process.name == "fgrep"
    try:
        body = re.escape(encoded(text)) if fixed else encoded(text)
        pattern = re.compile(rb"\b(?:" + body + rb")\b" if "w" in options else body, re.IGNORECASE if "i" in options else 0)
    except re.error as error:
        raise Refused(f"bad pattern: {error}", 2) from error
    found = 0
    for name, pieces in process.sources(rest):
        prefix = encoded(f"{name}:") if len(rest) > 1 else b""
        matched = 0
        for number, line in enumerate(Input(pieces).lines(), start=1):
            if (pattern.search(line.rstrip(b"\n")) is None) != ("v" in options):
                continue
            matched += 1
            if "q" in options:
                return 0
            if "c" not in options:
                yield prefix + (b"%d:" % number if "n" in options else b"") + line.rstrip(b"\n") + b"\n"
        if "c" in options:
            yield prefix + b"%d\n" % matched
        found += matched
    return 0 if found else 1


@program("md5sum", "sha1sum", "sha256sum", "sha512sum")
def checksum(process: Process) -> Output:
    import hashlib

    _, names = process.options("b")
    for name, pieces in process.sources(names):
        digest = hashlib.new(process.name.removesuffix("sum"), usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        yield encoded(f"{digest.hexdigest()}  {name}\n")
    return 0


@program("sort")
def sort(process: Process) -> Output:
    options, names = process.options("rnu")
    lines: list[bytes] = []
    held = 0
    for _, pieces in process.sources(names):
        for line in Input(pieces).lines():
            lines.append(line.rstrip(b"\n"))
            held += len(line)
            if held > MAX_SORTED:
                raise Refused("out of memory", 2)
    lines.sort(key=_leading_number if "n" in options else None, reverse="r" in options)
    for line in dict.fromkeys(lines) if "u" in options else lines:
        yield line + b"\n"
    return 0


def _leading_number(line: bytes) -> float:
    match = re.match(rb"\s*(-?\d{1,300}(?:\.\d{1,300})?)", line)
    return float(match[1]) if match else 0.0


@program("yes")
def yes(process: Process) -> Output:
    line = encoded(" ".join(process.arguments or ["y"]) + "\n")
    while True:
        yield line * max(1, 4096 // len(line))


@program("seq")
def seq(process: Process) -> Output:
    if not 1 <= len(process.arguments) <= 3 or not all(re.fullmatch(r"-?\d{1,18}", text) for text in process.arguments):
        raise Refused("usage: seq [FIRST [STEP]] LAST", 2)
    numbers = [int(text) for text in process.arguments]
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) > 2 else 1
    if step == 0:
        raise Refused("the step must not be 0")
    for number in count(first, step):
        if (number > numbers[-1]) if step > 0 else (number < numbers[-1]):
            return 0
        yield b"%d\n" % number
    return 0


@program("basename")
def basename(process: Process) -> Output:
    for path in process.arguments[:1]:
        yield encoded((path.rstrip("/").rpartition("/")[2] or "/") + "\n")
    return 0


@program("dirname")
def dirname(process: Process) -> Output:
    for path in process.arguments[:1]:
        head, slash, _ = path.rstrip("/").rpartition("/")
        yield encoded((head or slash or ".") + "\n")
    return 0


_COMPARISONS = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-le": operator.le,
    "-gt": operator.gt,
    "-ge": operator.ge,
}


@program("test", "[")
def test(process: Process) -> Output:
    yield from ()
    words = list(process.arguments)
    if process.name == "[" and (not words or words.pop() != "]"):
        raise Refused("missing ]", 2)
    negated = False
    while words[:1] == ["!"]:
        negated = not negated
        words.pop(0)
    return int(_holds(process, words) == negated)


def _holds(process: Process, words: list[str]) -> bool:
    if len(words) <= 1:
        return bool(words and words[0])
    if len(words) == 3:
        left, sign, right = words
        if sign in ("=", "==", "!="):
            return (left == right) != (sign == "!=")
        if sign in _COMPARISONS:
            try:
                return bool(_COMPARISONS[sign](int(left), int(right)))
            except ValueError as error:
                raise Refused("bad number", 2) from error
    if len(words) == 2:
        files, path = process.guest.files, process.path(words[1])
        if words[0] in ("-n", "-z"):
            return bool(words[1]) == (words[0] == "-n")
        if words[0] in ("-e", "-f", "-d", "-r", "-w"):
            return files.exists(path) and (words[0] not in "-f -d" or files.is_directory(path) == (words[0] == "-d"))
        if words[0] == "-s":
            return files.exists(path) and (files.is_directory(path) or bool(files.read(path)))
    raise Refused("unknown operand", 2)
