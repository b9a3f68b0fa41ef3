"""What other users ask for is fetched from public addresses only, whatever name or redirect leads elsewhere."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests

from stratuslab.errors import PermissionDenied
from stratuslab.marketplace import http_get
from stratuslab.marketplace.address_guard import guarded_session
from tests.fakes.certificate_authority import Authority
from tests.fakes.file_server import redirects, whole
from tests.fakes.scripted_server import Scripted

THIS_COMPUTER = ("127.0.0.1", "localhost", "127.1", "2130706433", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]")
OTHERS = ("10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "[fe80::1]", "[fd00::1]")
WITHIN = ("[64:ff9b::7f00:1]", "[2002:7f00:1::]")


def get(url: str, networks: str = "", **options: Any) -> bytes:
    with http_get.get(guarded_session(networks), url, {}, timeout=(2, 2), environ={}, **options) as response:
        return response.content


@pytest.mark.parametrize("host", [*THIS_COMPUTER, *OTHERS, *WITHIN])
def test_other_addresses_are_not_connected_to(scripted: Scripted, host: str) -> None:
    server = scripted(whole(b"secret"))
    with pytest.raises(PermissionDenied, match="not a public one"):
        get(f"http://{host}:{server.port}/")
    assert server.connections == 0


def test_networks_that_are_allowed(scripted: Scripted) -> None:
    for networks in ("127.0.0.0/8", "10.0.0.0/8, 127.0.0.1", "any"):
        assert get(f"{scripted(whole(b'image')).url}/", networks) == b"image"
    with pytest.raises(PermissionDenied):
        get(scripted(whole(b"secret")).url, "127.0.0.2/31")


def test_redirects(scripted: Scripted) -> None:
    server = scripted(redirects("http://127.0.0.2:1/"))
    with pytest.raises(PermissionDenied):
        get(server.url, "127.0.0.1")
    assert server.connections == 1


def test_a_name_that_changes(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was checked is the one that is connected to."""
    server, resolve, asked = scripted(whole(b"image"), whole(b"image")), socket.getaddrinfo, []

    def changing(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "cloud.example.org":
            return resolve(host, *arguments, **options)
        asked.append(host)
        return resolve("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    url = f"http://cloud.example.org:{server.port}/"
    assert get(url, "127.0.0.1") == b"image"
    assert server.requests[0].headers["host"] == f"cloud.example.org:{server.port}"
    with pytest.raises(PermissionDenied):
        get(url, "127.0.0.1")


def test_names_without_an_address() -> None:
    with pytest.raises(requests.ConnectionError, match=r"cannot be resolved"):
        get("http://no.such.host.invalid/")


def test_certificates_are_of_the_name(scripted: Scripted, authority: Authority) -> None:
    server = scripted(whole(b"image"), tls=authority.server("localhost"))
    assert get(f"https://localhost:{server.port}/", "any", verify=str(authority.bundle)) == b"image"
    with pytest.raises(requests.exceptions.SSLError):
        get(f"https://127.0.0.1:{server.port}/", "any", verify=str(authority.bundle))
