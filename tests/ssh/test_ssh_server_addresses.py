"""Where an instance listens, as its interfaces tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.opennebula.nic import Nic
from stratuslab.ssh.ssh_server_addresses import listening_points


@pytest.mark.parametrize(
    ("nics", "points"),
    [
        ([], []),
        ([Nic()], []),
        ([Nic(ip="10.0.0.7")], [("10.0.0.7", 22)]),
        ([Nic(ip="10.0.0.7"), Nic(ip="10.0.0.8")], [("10.0.0.7", 22), ("10.0.0.8", 22)]),
        ([Nic(ip="10.0.0.7"), Nic(ip="10.0.0.8", for_ssh=True)], [("10.0.0.8", 22), ("10.0.0.7", 22)]),
        ([Nic(ip="10.0.0.7", external_ip="192.0.2.1")], [("192.0.2.1", 22), ("10.0.0.7", 22)]),
        ([Nic(ip="10.0.0.7", ip6=("2001:DB8:0::7",))], [("10.0.0.7", 22), ("2001:db8::7", 22)]),
        ([Nic(ip6=("fe80::1", "fd00::1", "2001:db8::1"))], [("fd00::1", 22), ("2001:db8::1", 22)]),
        ([Nic(ip="10.0.0.7"), Nic(ip="10.0.0.7")], [("10.0.0.7", 22)]),
        ([Nic(ip="10.0.0.7", external_port_range="9000:9100")], [("node1.example.com", 9021)]),
        ([Nic(ip="10.0.0.7", external_port_range=" 9000 : 9021 ")], [("node1.example.com", 9021)]),
    ],
)
def test_points_in_order(nics: list[Nic], points: list[tuple[str, int]]) -> None:
    assert listening_points(nics, "node1.example.com") == points


def test_aliases_come_last_but_those_for_the_outside_and_the_guests_word_behind_all() -> None:
    nics = [
        Nic(ip="10.0.0.7", ip6=("2001:db8::7",)),
        Nic(ip="10.0.0.8", kind="pci"),
        Nic(ip="10.0.0.9", kind="alias"),
        Nic(ip="192.0.2.1", kind="alias", external=True),
    ]
    reported = ["198.51.100.1", "10.0.0.7", "-oProxyCommand=x"]
    assert [host for host, _ in listening_points(nics, "", reported=reported)] == [
        "192.0.2.1",
        "10.0.0.7",
        "2001:db8::7",
        "10.0.0.8",
        "10.0.0.9",
        "198.51.100.1",
    ]


def test_translated_ports_hide_the_address_of_that_interface_only() -> None:
    nics = [Nic(ip="10.0.0.7", external_port_range="9000:9100"), Nic(ip="192.0.2.7")]
    assert listening_points(nics, "localhost") == [("localhost", 9021), ("192.0.2.7", 22)]


@pytest.mark.parametrize(
    "text", ["9000", "9000:9020", "x:y", "9000:", "0:100", "65530:65540", "-5:100", "9100:9000", "9000:99999"]
)
def test_malformed_port_ranges_are_skipped(text: str) -> None:
    assert listening_points([Nic(ip="10.0.0.7", external_port_range=text)], "node1") == [("10.0.0.7", 22)]


@pytest.mark.parametrize("hostname", ["", "-oProxyCommand=x", "a b", "a/b", "a@b", "host\n"])
def test_a_host_name_that_is_none_has_no_ports(hostname: str) -> None:
    assert listening_points([Nic(ip="10.0.0.7", external_port_range="9000:9100")], hostname) == [("10.0.0.7", 22)]


@pytest.mark.parametrize(
    "text", ["10.0.0", "10.0.0.256", "-oProxyCommand=x", "0.0.0.0", "224.0.0.1", "::", "ff02::1", "example.com"]
)
def test_malformed_addresses_are_skipped(text: str) -> None:
    assert listening_points([Nic(ip=text, external_ip=text, ip6=(text,))], "") == []


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text(ip: str, external: str, ports: str, hostname: str) -> None:
    for host, port in listening_points([Nic(ip=ip, external_ip=external, external_port_range=ports)], hostname):
        assert host
        assert not host.startswith("-")
        assert 0 < port < 65536
