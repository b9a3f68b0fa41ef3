"""What xmlrpc-c serves besides OpenNebula's methods, asked by the standard library's own client over HTTP."""

from __future__ import annotations

import http.client
import xmlrpc.client
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.local.templates import SMALL

ME = "alice:secret"


@pytest.fixture
def server(serve: Serve, stage: Stage) -> Any:
    return xmlrpc.client.ServerProxy(serve().rpc)


def test_which_methods_there_are(server: Any, serve: Serve) -> None:
    names = server.system.listMethods()
    assert {"one.vm.info", "one.vmpool.infoextended", "one.vm.rename", "system.multicall"} <= set(names)
    old_server: Any = xmlrpc.client.ServerProxy(serve(profile="stratuslab-3").rpc)
    older = old_server.system.listMethods()
    assert {"one.vm.info", "one.vm.action"} <= set(older)
    assert {"one.vm.rename", "one.system.version", "one.vmpool.infoextended"}.isdisjoint(older)
    for name in names:
        assert server.system.methodHelp(name)
    assert server.system.methodSignature("one.vm.action") == [["array", "string", "string", "int"]]
    assert server.system.methodSignature("one.image.info") == [["array", "string", "int"]]
    assert server.system.methodSignature("one.hostpool.info") == [["array", "string"]]
    assert server.system.methodSignature("system.listMethods") == "undef"
    for ask in (server.system.methodHelp, server.system.methodSignature):
        with pytest.raises(xmlrpc.client.Fault) as fault:
            ask("one.nothing")
        assert fault.value.faultCode == -506


def test_several_calls_at_once(server: Any) -> None:
    several: Any = xmlrpc.client.MultiCall(server)
    several.one.vm.allocate(ME, SMALL + 'LABELS="a <b> & c"\n')
    several.one.vmpool.info(ME, -3, -1, -1, -1)
    several.one.vm.info("alice:wrong", 1)
    several.system.listMethods()
    made, listed, refused, names = list(several())
    assert made == [True, 1, 0]
    assert ElementTree.fromstring(listed[1]).findtext("VM/USER_TEMPLATE/LABELS") == "a <b> & c"
    assert refused[0] is False
    assert refused[2:] == [256, -1, -1]
    assert "system.multicall" in names


def test_a_call_within_that_is_no_call(server: Any) -> None:
    def asked(*calls: Any) -> Any:
        return server.system.multicall(list(calls))

    (unknown, version) = asked(
        {"methodName": "one.nothing", "params": [ME]}, {"methodName": "one.system.version", "params": [ME]}
    )
    assert (unknown["faultCode"], version) == (-506, [[True, "7.4.0", 0]])
    assert asked() == []
    for bad, code in (
        ({"methodName": "system.multicall", "params": [[]]}, -507),
        ({"methodName": "one.vm.info"}, -501),
        ("one.vm.info", -501),
        ({"methodName": 1, "params": []}, -501),
    ):
        with pytest.raises(xmlrpc.client.Fault) as fault:
            asked(bad)
        assert fault.value.faultCode == code
    with pytest.raises(xmlrpc.client.Fault):
        server.system.multicall("x")


def test_a_long_integer_within(serve: Serve) -> None:
    body = xmlrpc.client.dumps(([{"methodName": "one.vm.info", "params": [ME, 5]}],), "system.multicall")
    parts = urlsplit(serve().rpc)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("POST", parts.path, body.replace("int>", "i8>"), {"Content-Type": "text/xml"})
    answer = connection.getresponse().read()
    connection.close()
    assert b"-501" in answer
