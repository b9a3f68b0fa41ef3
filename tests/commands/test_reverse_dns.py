"""Host names side by side and within a budget."""

from __future__ import annotations

import threading
import time

from stratuslab.commands.shared.reverse_dns import host_names


def numbered(address: str) -> str:
    return f"vm-{address.rpartition('.')[2]}.example.org"


def test_names() -> None:
    assert host_names(["10.0.0.1", "10.0.0.2"], numbered) == {"10.0.0.1": "vm-1.example.org", "10.0.0.2": "vm-2.example.org"}
    assert host_names([], numbered) == {}


def test_addresses_without_a_name_are_left_out() -> None:
    def some(address: str) -> str:
        if address == "10.0.0.1":
            raise OSError("no name")
        if address == "10.0.0.2":
            raise UnicodeError("a name that is none")
        return "" if address == "10.0.0.3" else "named"

    assert host_names([f"10.0.0.{n}" for n in range(1, 5)], some) == {"10.0.0.4": "named"}


def test_this_computers_addresses_are_not_looked_up() -> None:
    asked: list[str] = []

    def lookup(address: str) -> str:
        asked.append(address)
        return "name"

    assert host_names(["127.0.0.1", "127.9.9.9", "::1", "10.0.0.1"], lookup) == {"10.0.0.1": "name"}
    assert asked == ["10.0.0.1"]


def test_they_are_looked_up_side_by_side() -> None:
    together = threading.Barrier(20, timeout=10)

    def lookup(address: str) -> str:
        together.wait()
        return numbered(address)

    assert len(host_names([f"10.0.0.{n}" for n in range(20)], lookup, budget=10)) == 20


def test_each_is_looked_up_once() -> None:
    asked: list[str] = []

    def lookup(address: str) -> str:
        asked.append(address)
        return "name"

    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(500)]
    assert len(host_names(addresses, lookup, budget=10)) == 500
    assert sorted(asked) == sorted(addresses)


def test_a_slow_name_service_does_not_hang_the_table() -> None:
    awake = threading.Event()

    def lookup(address: str) -> str:
        if address != "10.0.0.1":
            awake.wait(10)
        return "quick"

    begin = time.monotonic()
    assert host_names(["10.0.0.1", *(f"10.1.0.{n}" for n in range(100))], lookup, budget=0.3) == {"10.0.0.1": "quick"}
    assert time.monotonic() - begin < 5
    awake.set()


def test_no_budget_at_all() -> None:
    awake = threading.Event()
    assert host_names(["10.0.0.1"], lambda address: f"late {awake.wait(10)}", budget=0) == {}
    awake.set()
