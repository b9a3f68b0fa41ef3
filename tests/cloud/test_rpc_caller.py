"""The XML of requests: what ``xmlrpc.client`` writes for the same call."""

from __future__ import annotations

from xmlrpc.client import dumps, loads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.cloud.rpc_caller import _method_call
from stratuslab.errors import UsageError
from stratuslab.opennebula.numeric_constants import LARGEST_ID

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF))


@given(st.lists(st.one_of(TEXT, st.booleans(), st.integers(-(2**31) + 1, LARGEST_ID))))
def test_requests(arguments: list[object]) -> None:
    assert _method_call("one.vm.info", tuple(arguments)) == dumps(tuple(arguments), "one.vm.info")  # type: ignore[arg-type]


def test_a_carriage_return_arrives() -> None:
    assert loads(_method_call("one.vm.update", ("a\r\nb",))) == (("a\r\nb",), "one.vm.update")


def test_a_number_that_xmlrpc_cannot_carry() -> None:
    with pytest.raises(UsageError, match="ids end at 2147483647"):
        _method_call("one.vm.info", (LARGEST_ID + 1,))
