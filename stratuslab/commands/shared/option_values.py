"""Checks option values for argparse: numbers, addresses, labels, lists."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from stratuslab.commands.shared.instance_argument import is_id

if TYPE_CHECKING:
    from datetime import datetime


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        # int() alone would also accept "1_000", " 5 " and digits of other scripts.
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < 20 and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f'invalid value "{text[:40]}": expected a whole number from {least} to {most}')

    return read


def size_in_mib(unit: str, least: int, most: int) -> Callable[[str], int]:
    """A size in MiB: ``512M``, ``1.5G``, or a number of ``unit`` (``M`` or ``G``); from ``least`` to ``most`` MiB."""
    from stratuslab.byte_sizes import read_size

    def read(text: str) -> int:
        found = read_size(text if text[-1:].isalpha() else text + unit)
        if found is None or found % (1 << 20) or not least <= found >> 20 <= most:
            limits = f"from {_with_unit(least)} to {_with_unit(most)}"
            raise argparse.ArgumentTypeError(f'invalid size "{text}": expected {unit}B, or a unit as in 512M or 2G; {limits}')
        return found >> 20

    return read


def _with_unit(mib: int) -> str:
    units = ((1 << 20, "T"), (1 << 10, "G"))
    return next((f"{mib // size}{unit}" for size, unit in units if mib >= size), f"{mib}M")


def positive_share(text: str) -> float:
    """A number above 0."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 100_000:
        raise argparse.ArgumentTypeError(f'invalid value "{text}": expected a number above 0')
    return share


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address, or nothing."""
    if not text:
        return ""
    from ipaddress import ip_address as read

    try:
        return str(read(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f'invalid IP address "{text}"') from None


def label(text: str) -> str:
    """A label; OpenNebula stores several separated by commas."""
    if not text.strip() or "," in text:
        raise argparse.ArgumentTypeError(f'invalid label "{text}": expected text without commas')
    return text.strip()


def machine_name(text: str) -> str:
    """A name by which a machine can be found again: an id is not, and other characters than those that it shows are not."""
    if found := next((char for char in text if not char.isprintable()), ""):
        raise argparse.ArgumentTypeError(f"invalid name: it contains the invisible character U+{ord(found):04X}")
    if not text or text != text.strip():
        raise argparse.ArgumentTypeError(f'invalid name "{text}": it is empty, or has blanks around it')
    if is_id(text.replace(" ", "")):
        raise argparse.ArgumentTypeError(f'invalid name "{text}": commands would take it for an id')
    return text


def name_prefix(text: str) -> str:
    """What names begin with; a number follows."""
    machine_name(f"{text}1")
    return text


def name_and_value(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; the value may be empty."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError("expected NAME=VALUE")  # without the text, which may be a password
    return name.strip(), value


def running_or_ssh(text: str) -> str:
    """``running`` or ``ssh``, the states in which a machine is ready; in the form of a state's label."""
    if text.lower() not in ("running", "ssh"):
        raise argparse.ArgumentTypeError(f'invalid state "{text}": expected running or ssh')
    return text.title()


def any_state(text: str) -> str:
    """``ssh``, or a state as the table shows it, in any case; in the form of a state's label."""
    from stratuslab.opennebula.states import SSH, Lcm, State

    label = text.replace("-", "_").title()
    if label not in {state.name.title() for state in (*State, *Lcm)} | {SSH}:
        raise argparse.ArgumentTypeError(f'invalid state "{text}": expected ssh or a state as in the table, such as running')
    return label


def interval(text: str) -> float:
    """Seconds from 0.1 to 86400, for --watch."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f'invalid interval "{text}": expected 0.1 to 86400 seconds (put ids before --watch)')
    return seconds


def date(text: str) -> datetime:
    """A day, or a time, in UTC unless it has an offset."""
    from datetime import datetime, timezone

    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f'"{text[:40]}" is not a date: expected one such as 2026-11-22') from None
