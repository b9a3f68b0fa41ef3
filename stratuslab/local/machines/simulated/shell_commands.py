"""The commands of a simulated guest. Each returns its output, as a text or in pieces, and fails by raising Failure."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.local.machines.simulated.session_streams import Streams


class Failure(Exception):
    """Ends a command with a status, and with a message unless that is empty."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class CommandCall(NamedTuple):
    """One call of a command. ``input`` is what it reads; ``status`` is that of the previous command."""

    name: str
    arguments: list[str]
    input: Iterable[bytes]
    guest: Guest
    streams: Streams
    status: int

    def options(self, known: str) -> set[str]:
        """The single-letter options. Raises Failure for unknown ones."""
        given = set("".join(word[1:] for word in self.arguments if word.startswith("-")))
        if given - set(known):
            raise Failure(f"-{min(given - set(known))} is not supported: this machine is simulated", 2)
        return given

    @property
    def names(self) -> list[str]:
        """The arguments that are not options."""
        return [word for word in self.arguments if not word.startswith("-")]


def _echo(call: CommandCall) -> str:
    newline = call.arguments[:1] != ["-n"]
    return " ".join(call.arguments[not newline :]) + "\n" * newline


def _cat(call: CommandCall) -> Iterator[bytes]:
    call.options("u")
    for name in call.names or ["-"]:
        yield from call.input if name == "-" else call.guest.files.open(name, os.O_RDONLY).pieces()


def _ls(call: CommandCall) -> Iterator[bytes]:
    options, names, files = call.options("1aAlh"), call.names or ["."], call.guest.files
    for name in names:
        is_directory = files.node(name).is_directory
        text = f"{name}:\n" if is_directory and len(names) > 1 else ""
        for entry in files.list_folder(name) if is_directory else [files.stat(name)]:
            if not is_directory or not entry.filename.startswith(".") or options & {"a", "A"}:
                text += f"{entry if 'l' in options else entry.filename}\n"
        yield text.encode(errors="surrogateescape")


def _uname(call: CommandCall) -> str:
    options = call.options("asnrvmo") or {"s"}
    fields = {"s": "Linux", "n": call.guest.host_name, "r": "6.1.0-simulated", "v": "#1 SMP", "m": "x86_64", "o": "GNU/Linux"}
    return " ".join(text for letter, text in fields.items() if options & {letter, "a"}) + "\n"


def _id(call: CommandCall) -> str:
    options = call.options("ugnG")
    return ("root" if "n" in options else "0" if options else "uid=0(root) gid=0(root) groups=0(root)") + "\n"


def _size(kib: int, options: set[str]) -> str:
    if "h" in options:
        power = min(max(kib.bit_length() - 1, 0) // 10, 3)
        return f"{kib / 1024**power:.1f}{'KMGT'[power]}"
    return str(-(-kib // 1024) if "m" in options else kib)


def _free(call: CommandCall) -> str:
    options, guest = call.options("kmh"), call.guest
    left = guest.memory_kib - guest.used_kib
    text = " " * 8 + "".join(f"{name:>12}" for name in ("total", "used", "free", "shared", "buff/cache", "available"))
    text += "\nMem:    " + "".join(f"{_size(kib, options):>12}" for kib in (guest.memory_kib, guest.used_kib, left, 0, 0, left))
    return text + "\nSwap:   " + "".join(f"{_size(kib, options):>12}" for kib in (guest.swap_kib, 0, guest.swap_kib)) + "\n"


def _df(call: CommandCall) -> str:
    options = call.options("hkm")
    block = "Size" if "h" in options else "1M-blocks" if "m" in options else "1K-blocks"
    text = f"Filesystem   {block:>9}      Used Available Use% Mounted on\n"
    for device, place, size in call.guest.disks:
        used = call.guest.files.used // 1024 if place == "/" else 0
        figures = " ".join(f"{_size(kib, options):>9}" for kib in (size, used, size - used))
        text += f"{device:<12} {figures} {-(-100 * used // size):>3}% {place}\n"
    return text


def _ip(call: CommandCall) -> str:
    if not "address".startswith("".join(call.names[:1])):
        raise Failure(f"{call.names[0]} is not supported: this machine is simulated, and has only ip addr")
    text = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN\n    inet 127.0.0.1/8 scope host lo\n"
    for number, address in enumerate(call.guest.addresses):
        text += f"{number + 2}: eth{number}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n"
        text += f"    inet {address}/24 scope global eth{number}\n"
    return text


def _uptime(call: CommandCall) -> str:
    minutes, users = int(time.monotonic() - call.guest.booted) // 60, len(call.guest.sessions)
    since = f"{minutes // 1440} days, " * (minutes >= 1440) + f"{minutes // 60 % 24:>2}:{minutes % 60:02}"
    clock = time.strftime("%H:%M:%S", time.gmtime())
    return f" {clock} up {since},  {users} user{'s' * (users != 1)},  load average: 0.00, 0.00, 0.00\n"


def _sleep(call: CommandCall) -> str:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", " ".join(call.arguments))
    if match is None:
        raise Failure("usage: sleep N[smhd]")
    call.streams.pause(float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])
    return ""


def _power(call: CommandCall) -> str:
    options = call.options("fhHnpPrw")
    if call.names[:1] not in ([], ["now"], ["+0"]):
        raise Failure(f"{call.names[0]} is not supported: this machine is simulated, and only goes down now")
    call.guest.power(call.name == "reboot" or "r" in options)
    return ""


def _exit(call: CommandCall) -> str:
    number = call.arguments[0] if call.arguments else str(call.status)
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise Failure(f"invalid number: {number}", 2)
    raise Failure("", int(number) & 0xFF)


def _false(call: CommandCall) -> str:
    raise Failure("")


def _stty(call: CommandCall) -> str:
    width, height = call.streams.window
    return f"{height} {width}\n"


def _help(call: CommandCall) -> str:
    return f"This machine is simulated: no operating system runs here. It has these commands:\n  {' '.join(sorted(commands))}\n"


commands: dict[str, Callable[[CommandCall], str | Iterator[bytes]]] = {
    **dict.fromkeys(("halt", "poweroff", "reboot", "shutdown"), _power),
    **{"cat": _cat, "df": _df, "echo": _echo, "exit": _exit, "false": _false, "free": _free, "help": _help, "id": _id},
    **{"ip": _ip, "ls": _ls, "sleep": _sleep, "stty": _stty, "uname": _uname, "uptime": _uptime},
    "hostname": lambda call: f"{call.guest.host_name}\n",
    "nproc": lambda call: f"{call.guest.vcpu}\n",
    "true": lambda call: "",
    "whoami": lambda call: "root\n",
}
