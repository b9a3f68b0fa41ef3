"""The table of instance types: the guide's, and the user's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import UsageError
from stratuslab.instance_types import BUILT_IN, DEFAULT, InstanceType, choose, table


def test_the_guides_types() -> None:
    assert [(kind.name, kind.cpu, kind.ram, kind.swap) for kind in table({}).values()] == [
        ("c1.medium", 1, 256, 1024),
        ("c1.xlarge", 4, 2048, 2048),
        ("m1.large", 2, 512, 1024),
        ("m1.small", 1, 128, 1024),
        ("m1.xlarge", 2, 1024, 1024),
        ("t1.micro", 1, 128, 512),
    ]
    assert choose(table({}), DEFAULT).name == "m1.small"


@pytest.mark.parametrize("text", ["1,2,3", "(1, 2, 3)", "1,,2,,3", " 1 ; 2 ; 3 ", "1 2 3", "1 CPU, 2 MB, 3 MB", "01, 002, 3"])
def test_forms_of_a_size(text: str) -> None:
    assert table({"mine": text})["mine"] == InstanceType("mine", 1, 2, 3)


def test_no_swap_is_a_size() -> None:
    assert table({"mine": "1, 1, 0"})["mine"].swap == 0


def test_the_users_own_win_and_are_sorted_in() -> None:
    types = table({"zeta": "1, 1, 1", "m1.small": "8, 8, 8", "alpha": "2, 2, 2"})
    assert types["m1.small"] == InstanceType("m1.small", 8, 8, 8)
    assert list(types) == sorted([*(kind.name for kind in BUILT_IN), "alpha", "zeta"])


@pytest.mark.parametrize(
    "text",
    ["", "44", ",", "1, 2", "1, 2, 3, 4", "(0, 1, 0)", "1, 0, 0", "(0,0,0,0,)", ",c,c,c", "-1, 2, 3", "1, 2.5, 3", "1" * 5000],
)
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"invalid instance type .mine = .* in \[instance_types\]") as raised:
        table({"mine": text})
    assert "CPUs, RAM in MB, swap in MB" in raised.value.hint


@given(st.text(max_size=40))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        mine = table({"mine": text})["mine"]
    except UsageError:
        return
    assert mine.cpu > 0
    assert mine.ram > 0
    assert mine.swap >= 0


def test_an_unknown_type_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match=r'^unknown instance type "huge"') as raised:
        choose(table({"alpha": "1, 1, 1"}), "huge")
    assert raised.value.hint == "available: alpha, c1.medium, c1.xlarge, m1.large, m1.small, m1.xlarge, t1.micro"
