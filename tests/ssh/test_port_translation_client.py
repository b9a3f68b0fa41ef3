"""StratusLab's port translation service, asked over real HTTP; what it sent is not trusted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import StratusLabError, Unreachable
from stratuslab.ssh import port_translation_client
from stratuslab.ssh.port_translation_client import translated_port
from tests.fakes.scripted_server import Answer, Scripted, chunked, closes, document, endless, hangs, head


@pytest.fixture
def service(scripted: Scripted) -> Callable[[Answer], str]:
    return lambda answer: f"127.0.0.1:{scripted(answer).port}"


def says(value: object) -> Answer:
    return document(json.dumps(value).encode(), kind="application/json")


@pytest.mark.parametrize(
    ("answer", "port"),
    [
        ({"7": [[22, 10022], [80, 10080]]}, 10022),
        ({"7": [["22", "10022"]]}, 10022),
        ({"7": [[22, 10022], [22, 10023]]}, 10022),
        ({"7": [[22, 0], [22, 70000], [22], 5, None, [22, True], [22, -1], [22, "x"], [22, 10022]]}, 10022),
        ({"8": [[22, 10022]]}, None),
        ({"7": []}, None),
        ({"7": {"22": 10022}}, None),
        ({}, None),
        ([], None),
        ("7", None),
        (None, None),
    ],
)
def test_ports(service: Callable[[Answer], str], answer: object, port: int | None) -> None:
    assert translated_port(service(says(answer)), 7, 22, 5, {}) == port


def test_another_port_is_said(service: Callable[[Answer], str]) -> None:
    with pytest.raises(StratusLabError, match="the gateway does not translate port 22 of machine 7, only 80, 443"):
        translated_port(service(says({"7": [[443, 10443], [80, 10080]]})), 7, 22, 5, {})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (document(b"<html>", status="404 Not Found"), "HTTP status 404"),
        (document(b"<html>", status="500 Oh"), "HTTP status 500"),
        (document(b"<html>"), "is not JSON"),
        (document(b"\xff\xfe"), "is not JSON"),
        (document(b"[" * 100_000), "is not JSON"),
        (endless(head(), b" " * 65536), "too long or too slow"),
        (chunked([b"{"], finished=False), "port translation service"),
        (closes, "no connection"),
        (hangs, "no answer in time"),
    ],
)
def test_what_may_answer_instead(service: Callable[[Answer], str], answer: Answer, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=why) as caught:
        translated_port(service(answer), 7, 22, 0.5 if answer is hangs else 5, {})
    assert "--pat-service-host" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("host", ["", "a b", "host.invalid", "127.0.0.1:1", "127.0.0.1:x", "[::", "x" * 300])
def test_services_that_are_none(host: str) -> None:
    with pytest.raises(Unreachable, match="port translation service"):
        translated_port(host, 7, 22, 0.5, {})


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


@given(_json, _json)
def test_any_document(pair: object, document: object) -> None:
    for value in (document, {"7": pair}, {"7": [pair]}, {"7": [[pair, 22]]}):
        for port, gateway in port_translation_client._ports(value, 7).items():
            assert 0 < port < 65536
            assert 0 < gateway < 65536


def test_netrc_is_not_sent_and_the_proxy_chosen_as_for_clouds(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server, proxy = scripted(says({"7": [[22, 10022]]})), scripted(document(b"", "407 Proxy Authentication Required"))
    host = f"127.0.0.1:{server.port}"
    assert translated_port(host, 7, 22, 5, {"http_proxy": proxy.url, "no_proxy": "127.0.0.0/8"}) == 10022
    assert "authorization" not in server.requests[0].headers
    with pytest.raises(Unreachable, match=rf"^the proxy 127\.0\.0\.1:{proxy.port} requires a user name"):
        translated_port(host, 7, 22, 5, {"http_proxy": proxy.url})
