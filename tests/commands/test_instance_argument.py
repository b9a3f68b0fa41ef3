"""Which instances words mean, against a cloud over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.cloud.client import Cloud
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.commands.shared.instance_argument import select
from stratuslab.errors import NotFound, UsageError
from stratuslab.opennebula.numeric_constants import LARGEST_ID
from tests.fakes.opennebula_answers import machine
from tests.fakes.scripted_opennebula import ScriptedOpenNebula
from tests.harness import TTYLINUX, Shell

NAMES = {1: "web", 2: "db", 3: "web", 4: "Ümlaut & <b>", 5: "two words", 12: "12a"}


@pytest.fixture(scope="module")
def one() -> Iterator[ScriptedOpenNebula]:
    small = ScriptedOpenNebula(machines={number: machine(number, name=name) for number, name in NAMES.items()})
    yield small
    small.server.close()


@pytest.fixture
def cloud(one: ScriptedOpenNebula) -> Cloud:
    one.calls.clear()
    alice = Credentials("alice", "secret")
    return Cloud(HttpTransport(resolve(one.url, alice), alice, 5.0, {}), alice, one.url)


def test_ids_are_taken_as_they_are_and_nothing_is_asked(cloud: Cloud, one: ScriptedOpenNebula) -> None:
    assert select(cloud, ["7", "0", "007", "99999", "7"]) == ([7, 0, 99999], [])
    assert one.calls == []


def test_names_are_looked_up_with_one_listing(cloud: Cloud, one: ScriptedOpenNebula) -> None:
    assert select(cloud, ["db", "3", "two words", "Ümlaut & <b>", "12a", "db", "2"]) == ([2, 3, 5, 4, 12], [])
    assert one.counted()["one.vmpool.info"] == 1


def test_a_name_that_nobody_has(cloud: Cloud) -> None:
    ids, (error,) = select(cloud, ["nobody", "db"])
    assert ids == [2]
    assert isinstance(error, NotFound)
    assert str(error) == 'no machine is called "nobody" (stratus-describe-instance lists yours)'
    assert isinstance(select(cloud, [""])[1][0], NotFound)
    assert isinstance(select(cloud, ["WEB"])[1][0], NotFound)


def test_a_name_that_several_have(cloud: Cloud) -> None:
    ids, (error,) = select(cloud, ["web"])
    assert ids == []
    assert isinstance(error, UsageError)
    assert str(error) == 'several machines are called "web": 1, 3 (use an id)'


def test_numbers_that_no_id_has(cloud: Cloud, one: ScriptedOpenNebula) -> None:
    ids, errors = select(cloud, [str(LARGEST_ID), str(LARGEST_ID + 1), "9" * 5000])
    assert ids == [LARGEST_ID]
    assert all(isinstance(error, NotFound) and len(error.message) < 120 for error in errors)
    assert len(errors) == 2
    assert one.calls == []


@given(st.lists(st.sampled_from([*NAMES.values(), "1", "2", "77", "nobody", "\u0661", "1_0", "+1", "-1"]), max_size=6))
def test_each_word_is_an_id_or_an_error(one: ScriptedOpenNebula, words: list[str]) -> None:
    alice = Credentials("alice", "secret")
    ids, errors = select(Cloud(HttpTransport(resolve(one.url, alice), alice, 5.0, {}), alice, one.url), words)
    assert len(set(ids)) == len(ids)
    unknown = {word for word in words if word in ("web", "nobody", "\u0661", "1_0", "+1", "-1")}
    assert len(errors) == len(unknown)


def test_a_name_that_is_nearly_one_is_suggested(alice: Shell) -> None:
    assert alice("run", "-q", "--vm-name", "worker", TTYLINUX).status == 0
    assert 'no machine is called "workr" (did you mean "worker"?)' in alice("describe", "workr").err
    assert "did you mean" not in alice("describe", "xyz").err
