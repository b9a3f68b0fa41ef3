"""The commands that the simulated guest's shell does itself, as they are about the shell: cd, exit, export, sh, ..."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from stratuslab.local.guest.process import Left, Output, Process, Refused, decoded, encoded, programs

if TYPE_CHECKING:
    from stratuslab.local.guest.shell import Shell

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)


def run_file(shell: Shell, process: Process, name: str, executable: bool = False) -> Output:
    """Run a file of commands in a shell of its own; with ``executable`` only if its mode allows that."""
    path = process.path(name)
    if not process.guest.files.exists(path):
        process.complain(encoded(f"sh: {name}: not found\n"))
        return 127
    if process.guest.files.is_directory(path) or (executable and not process.guest.files.node(path).mode & 0o100):
        process.complain(encoded(f"sh: {name}: Permission denied\n"))
        return 126
    below = shell.subshell(process.complain)
    below.arguments = process.arguments
    return (yield from _left(below, below.output(decoded(process.guest.files.read(path)), process.input)))


def _left(shell: Shell, output: Output) -> Output:
    """A shell within a shell: leaving it is only its own end."""
    try:
        return (yield from output)
    except Left as left:
        return left.status


def _sh(shell: Shell, process: Process) -> Output:
    options, rest = process.options("silex", valued="c")
    if "c" not in options and rest and "s" not in options:
        process.arguments[:] = rest[1:]
        return (yield from run_file(shell, process, rest[0]))
    below = shell.subshell(process.complain)
    # In sh -c TEXT NAME ARGUMENT..., the first word behind the text is $0.
    below.arguments = rest[1:]
    output = below.output(options["c"], process.input) if "c" in options else below.script(process.input)
    return (yield from _left(below, output))


def _cd(shell: Shell, process: Process) -> Output:
    yield from ()
    wanted = process.arguments[0] if process.arguments else shell.variables.get("HOME", "/")
    path = process.path(shell.variables.get("OLDPWD", ".") if wanted == "-" else wanted)
    if not process.guest.files.is_directory(path):
        raise Refused(f"can't cd to {wanted}: No such file or directory", 2)
    shell.variables["OLDPWD"], shell.variables["PWD"] = shell.directory, path
    shell.directory = path
    return 0


def _exit(shell: Shell, process: Process) -> Output:
    yield from ()
    number = process.arguments[0] if process.arguments else str(shell.status)
    if not re.fullmatch(r"\d{1,9}", number):
        raise Refused(f"Illegal number: {number}", 2)
    raise Left(int(number) & 0xFF)


def _export(shell: Shell, process: Process) -> Output:
    for word in process.arguments:
        match = ASSIGNMENT.fullmatch(word)
        if match:
            shell.variables[match[1]] = match[2]
        elif not word.isidentifier() and word != "-p":
            raise Refused(f"{word}: bad variable name", 2)
        shell.exported.add(match[1] if match else word)
    if not process.arguments:
        yield from (encoded(f"export {name}='{shell.variables.get(name, '')}'\n") for name in sorted(shell.exported))
    return 0


def _unset(shell: Shell, process: Process) -> Output:
    yield from ()
    for name in process.arguments:
        shell.variables.pop(name, None)
        shell.exported.discard(name)
    return 0


def _read(shell: Shell, process: Process) -> Output:
    yield from ()
    names = [name for name in process.arguments if name != "-r"] or ["REPLY"]
    line = process.input.line()
    values = decoded(line).strip().split(None, len(names) - 1)
    shell.variables.update(zip(names, values + [""] * len(names), strict=False))
    return 0 if line.endswith(b"\n") else 1


def _eval(shell: Shell, process: Process) -> Output:
    return (yield from shell.output(" ".join(process.arguments), process.input))


def _which(shell: Shell, process: Process) -> Output:
    status = 0
    for name in [word for word in process.arguments if not word.startswith("-")]:
        if name in programs:
            yield encoded(f"/bin/{name}\n")
        elif name in builtins:
            yield encoded(f"{name}\n")
        else:
            status = 1 if process.name == "which" else 127
    return status


def _help(shell: Shell, process: Process) -> Output:
    yield b"This is a simulated machine: no operating system runs here. It knows these commands:\n"
    names = sorted(name for name in {*programs, *builtins} if name.isalnum())
    for start in range(0, len(names), 8):
        yield encoded("  " + " ".join(f"{name:<9}" for name in names[start : start + 8]).rstrip() + "\n")
    return 0


def _clear(shell: Shell, process: Process) -> Output:
    yield b"\x1b[H\x1b[2J"
    return 0


builtins: dict[str, Callable[[Shell, Process], Output]] = {
    "cd": _cd,
    "clear": _clear,
    "command": _which,
    "eval": _eval,
    "exit": _exit,
    "export": _export,
    "help": _help,
    "logout": _exit,
    "read": _read,
    "sh": _sh,
    "ash": _sh,
    "bash": _sh,
    "type": _which,
    "unset": _unset,
    "which": _which,
}
