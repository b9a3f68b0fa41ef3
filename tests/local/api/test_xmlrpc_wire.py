"""XML-RPC to the byte: recorded requests are answered as the recordings have it."""

from __future__ import annotations

import re
import xmlrpc.client
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.local.api.xmlrpc_wire import RpcFault, read_call
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT
from tests.local.conftest import Caller
from tests.local.templates import RECORDED

RECORDINGS = CHECKOUT / "tests" / "wire" / "opennebula-7.4.0"
PASSWORDS = {"oneadmin": "opennebula", "alice": "alicepw", "bob": "bobpw"}


def respond(stage: Stage, name: str) -> bytes:
    engine = stage.engine

    def authenticate(session: str):
        user, _, password = session.partition(":")
        return engine.user(user) if PASSWORDS.get(user) == password else None

    body = (RECORDINGS / f"{name}.request.xml").read_bytes()
    return b"".join(answer(engine, authenticate, [body], SERVER_PROFILES["opennebula-7"]))


@pytest.fixture
def recorded_users(stage: Stage) -> None:
    for name in ("alice", "bob"):
        stage.engine.user(name)


@pytest.mark.usefixtures("recorded_users")
@pytest.mark.parametrize(
    "name",
    [
        "01-system.version",
        "02-vmpool.info-empty",
        "03-bad-password",
        "05-vm.info-unknown-id",
        "06-unknown-method",
        "25-vm.action-unknown-id",
        "27-vm.allocate-no-memory",
        "28-vm.allocate-unknown-image",
        "29-vm.allocate-unknown-network",
        "29b-vm.allocate-restricted-attr",
    ],
)
def test_the_same_bytes_as_recorded(stage: Stage, name: str) -> None:
    theirs = (RECORDINGS / f"{name}.response.xml").read_bytes().strip()
    ours = respond(stage, name).strip()
    assert ours == theirs


@pytest.mark.usefixtures("recorded_users")
@pytest.mark.parametrize(
    "name",
    ["20-vm.info-permission-denied", "21-vm.action-permission-denied", "23-vm.action-wrong-state", "24c-vm.action-finalize"],
)
def test_the_same_bytes_about_a_running_instance(stage: Stage, name: str) -> None:
    stage.engine.allocate(stage.engine.user("alice"), RECORDED)
    # Theirs had the number 0, which is none of ours.
    stage.engine.store.query("UPDATE instances SET id = 0")
    stage.actors.living.add(0)
    stage.runs(0)
    assert respond(stage, name).strip() == (RECORDINGS / f"{name}.response.xml").read_bytes().strip()


def test_a_parse_error_has_the_recorded_number(stage: Stage) -> None:
    answered: Any = xmlrpc.client.loads(respond(stage, "26-vm.allocate-parse-error"))[0][0]
    ok, message, code, number, _ = answered
    assert (ok, code, number) == (False, 8192, -1)
    assert message.startswith("[one.vm.allocate] Parse error: syntax error")


def request(*values: str, method: str = "one.vm.info") -> bytes:
    parameters = "".join(f"<param><value>{value}</value></param>" for value in values)
    return (
        f"<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>".encode()
    )


INTEGER = "Parameter that is supposed to be integer is not"


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (request("<string>s</string>", "<string>1</string>"), -501, INTEGER),
        (request("<string>s</string>", "<i8>1</i8>"), -501, INTEGER),
        (request("<string>s</string>", "<boolean>1</boolean>"), -501, INTEGER),
        (request("<string>s</string>", "1"), -501, INTEGER),
        (request("<string>s</string>", f"<int>{2**31}</int>"), -501, INTEGER),
        (request("<string>s</string>"), -501, "Not enough parameters"),
        (request("<int>1</int>", "<int>1</int>"), -501, "Parameter that is supposed to be a string is not"),
        (request(), -501, "Not enough parameters"),
        (request("<string>s</string>", "<string>CPU=1</string>", "<int>1</int>", method="one.vm.allocate"), -501, "boolean"),
        (b"rubbish", -503, "Call XML not a proper XML-RPC call.  Call is not valid XML.  syntax error"),
        (b"", -503, "no element found"),
        (request("<string>s</string>")[:-9], -503, "Call is not valid XML"),
        (request("<string>a\x01b</string>"), -503, "not well-formed"),
        (request("<string>s</string>", "<int>x</int>"), -503, "proper XML-RPC call"),
        (request("<string>s</string>", f"<int>{'9' * 5000}</int>"), -503, "proper XML-RPC call"),
        (b"<methodResponse/>", -503, "not a method call"),
        (b"<html><body>hello</body></html>", -503, "not a method call"),
        (b"<!DOCTYPE methodCall [<!ENTITY a 'b'>]>" + request("&a;")[21:], -503, "document type"),
        (request("<string>s</string>", method="one.vm.nosuch"), -506, "Method 'one.vm.nosuch' not defined"),
    ],
)
def test_faults(call: Caller, body: bytes, code: int, text: str) -> None:
    fault = call.raw(body)
    assert isinstance(fault, xmlrpc.client.Fault)
    assert fault.faultCode == code
    assert text in fault.faultString


def test_what_is_left_over_is_ignored(call: Caller) -> None:
    assert call("one.system.version", 1, "x", True, [1], {"a": 2}) == [True, "7.4.0", 0]
    assert call("one.vmpool.info", -3, -1, -1, -1, "", 5)[0] is True


def test_text_survives_the_way(call: Caller) -> None:
    name = "<b> & \"quoted\" 'single' ]] \N{SNOWMAN}"
    assert call("one.vm.allocate", 'CPU=1\nMEMORY=1\nNAME="' + name.replace('"', '\\"') + '"')[0]
    document = call("one.vm.info", 1)[1]
    assert re.search(r"<NAME>(.*)</NAME>", document)[1] == "&lt;b&gt; &amp; \"quoted\" 'single' ]] \N{SNOWMAN}"  # type: ignore[index]


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_body_does_harm(body: bytes) -> None:
    try:
        read_call([body])
    except RpcFault as fault:
        assert fault.code == -503
