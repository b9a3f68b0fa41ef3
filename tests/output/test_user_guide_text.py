"""Answers as text: the user guide's transcripts to the byte, and what becomes of facts that no guide foresaw."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.commands.config import SettingRow
from stratuslab.diagnosis.explanation import Explanation, ExplanationKind
from stratuslab.instance_types import BUILT_IN, InstanceType, table
from stratuslab.opennebula.instance import Instance
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.result_columns import INSTANCES, SETTINGS, TYPES
from stratuslab.output.safe_text import width
from stratuslab.output.user_guide_text import banner
from stratuslab.output.user_guide_text import lines as laid_out
from stratuslab.results import (
    InstanceRow,
    InstanceStarted,
    LaunchBegins,
    LaunchEnds,
    Listing,
    Result,
    TextLine,
)

READ = Instance(Element("VM"))  # the row was read from a document, whatever was in it
ROW = InstanceRow(165, "Running", 1, 0, 0.0, ["vm-201.lal.stratuslab.eu"], "one-165", instance=READ)
SECOND = InstanceRow(166, "Pending", 1, 0, 0.0, ["vm-202.lal.stratuslab.eu"], "one-166", instance=READ)


def lines(answer: Result, *, quiet: bool = False, notes: bool = False) -> list[str]:
    return list(laid_out(answer, OutputOptions(INSTANCES, quiet=quiet, notes=notes)))


def launched(place: int, number: int, network: str, address: str) -> InstanceStarted:
    return InstanceStarted(place, network, address, InstanceRow(number))


def text(*answers: Result, quiet: bool = False, notes: bool = False) -> str:
    return "".join(line + "\n" for answer in answers for line in lines(answer, quiet=quiet, notes=notes))


def listed_types(types: Iterable[InstanceType], selected: str) -> str:
    rows = [(one, one.name == selected) for one in types]
    return "".join(line + "\n" for line in laid_out(Listing(rows), OutputOptions(TYPES)))


# --- the guide ------------------------------------------------------------------------------------------------------------


def test_run() -> None:
    assert text(LaunchBegins(1), launched(1, 165, "public", "134.158.75.201"), LaunchEnds()) == (
        " :::::::::::::::::::::::::\n"
        " :: Starting machine(s) ::\n"
        " :::::::::::::::::::::::::\n"
        " :: Starting 1 machine\n"
        " :: Machine 1 (vm ID: 165)\n"
        "     Public ip: 134.158.75.201\n"
        " :: Done!\n"
    )


def test_run_of_several() -> None:
    shown = text(LaunchBegins(2), launched(1, 5, "local", "10.0.0.1"), launched(2, 6, "my net", ""), LaunchEnds()).splitlines()
    assert shown[3:] == [
        " :: Starting 2 machines",
        " :: Machine 1 (vm ID: 5)",
        "     Local ip: 10.0.0.1",
        " :: Machine 2 (vm ID: 6)",
        "     My Net ip: -",
        " :: Done!",
    ]


def test_run_for_scripts() -> None:
    answers = (LaunchBegins(1), launched(1, 5507, "public", "134.158.75.75"), launched(2, 5508, "public", ""), LaunchEnds())
    assert text(*answers, quiet=True) == "5507, 134.158.75.75\n5508, \n"


def test_describe_all() -> None:
    assert text(Listing([ROW, SECOND])) == (
        "id  state     vcpu memory    cpu% host/ip                  name\n"
        "165 Running   1    0         0    vm-201.lal.stratuslab.eu one-165\n"
        "166 Pending   1    0         0    vm-202.lal.stratuslab.eu one-166\n"
    )


@pytest.mark.parametrize(
    "state, cpu, line",
    [
        ("Running", 1.0, "165 Running   1    131072    1    vm-201.lal.stratuslab.eu one-165\n"),
        ("Unknown", 0.0, "165 Unknown   1    131072    0    vm-201.lal.stratuslab.eu one-165\n"),
        ("Done", 0.0, "165 Done      1    131072    0    vm-201.lal.stratuslab.eu one-165\n"),
    ],
)
def test_describe_one(state: str, cpu: float, line: str) -> None:
    shown = text(Listing([ROW._replace(state=state, cpu_percent=cpu, memory_kib=131072)]))
    assert shown == "id  state     vcpu memory    cpu% host/ip                  name\n" + line


def test_list_types() -> None:
    assert listed_types(BUILT_IN, "m1.small") == (
        "  Type              CPU        RAM       SWAP\n"
        "  c1.medium       1 CPU     256 MB    1024 MB\n"
        "  c1.xlarge       4 CPU    2048 MB    2048 MB\n"
        "  m1.large        2 CPU     512 MB    1024 MB\n"
        "* m1.small        1 CPU     128 MB    1024 MB\n"
        "  m1.xlarge       2 CPU    1024 MB    1024 MB\n"
        "  t1.micro        1 CPU     128 MB     512 MB\n"
    )


def test_the_star_marks_the_selected_type() -> None:
    starred = [line for line in listed_types(BUILT_IN, "c1.xlarge").splitlines() if line.startswith("*")]
    assert starred == ["* c1.xlarge       4 CPU    2048 MB    2048 MB"]


# --- what the guide does not show -----------------------------------------------------------------------------------------


def test_an_empty_table() -> None:
    assert text(Listing([])) == "id  state     vcpu memory    cpu% host/ip                 name\n"


def test_the_widths_are_those_of_the_original() -> None:
    """A value that fills its column makes it one wider than the longest; the header follows."""
    names = {23: 24, 24: 25, 25: 26, 40: 41}
    for length, room in names.items():
        header, row = text(Listing([ROW._replace(places=["h" * length])])).splitlines()
        assert header.index("name") - header.index("host/ip") == room
        assert row.index("one-165") == header.index("name")


def test_long_values_move_header_and_all_rows() -> None:
    failed = SECOND._replace(id=1_234_567, state="Prolog_Migrate_Poweroff_Failure", memory_kib=10**10, cpu_percent=12345.6)
    header, *rows = text(Listing([ROW, failed])).splitlines()
    assert rows[1].startswith("1234567 Prolog_Migrate_Poweroff_Failure 1    10000000000 12346 ")
    for title, first, second in (("state", "Running", "Prolog"), ("cpu%", "0 ", "12346"), ("name", "one-165", "one-166")):
        assert rows[0].index(first, header.index(title)) == rows[1].index(second, header.index(title)) == header.index(title)


def test_missing_facts_are_a_dash() -> None:
    row = InstanceRow(7, "-", None, 0, 0.0, [], "", instance=READ)
    assert text(Listing([row])).splitlines()[1] == "7   -         -    0         0    -                       -"


def test_several_addresses() -> None:
    assert "  10.0.0.1,10.0.0.2,2001:db8::1 one-165" in text(
        Listing([ROW._replace(places=["10.0.0.1", "10.0.0.2", "2001:db8::1"])])
    )


def test_notes_stand_below_their_row_when_asked_for() -> None:
    noted = SECOND._replace(explanation=Explanation(ExplanationKind.WAITING, step="PENDING", message="no\nCPU\x1b[0m left"))
    assert text(Listing([noted, ROW])).count("\n") == 3
    assert text(Listing([noted, ROW]), notes=True) == (
        "id  state     vcpu memory    cpu% host/ip                  name\n"
        "166 Pending   1    0         0    vm-202.lal.stratuslab.eu one-166\n"
        '    waits for a host: "no CPU?[0m left"\n'
        "165 Running   1    0         0    vm-201.lal.stratuslab.eu one-165\n"
    )


def test_several_clouds_have_a_column_of_their_own() -> None:
    shown = text(Listing([ROW._replace(cloud="lal"), SECOND._replace(cloud="grnet-kn", id=7)]))
    assert shown == (
        "cloud    id  state     vcpu memory    cpu% host/ip                  name\n"
        "lal      165 Running   1    0         0    vm-201.lal.stratuslab.eu one-165\n"
        "grnet-kn 7   Pending   1    0         0    vm-202.lal.stratuslab.eu one-166\n"
    )


@pytest.mark.parametrize("name", ["Zoë", "Zoe\u0308", "日本語", "กำลัง", "नमस्ते", "a\u200bb", "👩\u200d🔬", "\u2068x"])
def test_columns_stay_straight_on_a_terminal(name: str) -> None:
    first, second = ROW._replace(places=[name]), SECOND._replace(places=["vm"])
    header, *rows = text(Listing([first, second])).splitlines()
    columns = [
        width(line[: line.index(word)]) for line, word in zip((header, *rows), ("name", "one-165", "one-166"), strict=True)
    ]
    assert len(set(columns)) == 1


@pytest.mark.parametrize("value", ["Zoe\u0308", "日本語", "กำลัง"])
def test_columns_that_tabulate_draws_stay_straight(value: str) -> None:
    rows = [SettingRow("first", value, "default"), SettingRow("second", "abc", "default")]
    shown = list(laid_out(Listing(rows), OutputOptions(SETTINGS)))
    places = [width(line[: line.index(word)]) for line, word in zip(shown, ("origin", "default", "default"), strict=True)]
    assert len(set(places)) == 1


def test_type_names_of_users_keep_the_layout() -> None:
    types = table({"日本": "1, 2, 3", "a\x1b[31m": "1, 2, 3", "rather-a-long-name": "16, 65536, 0"})
    shown = listed_types(types.values(), "日本")
    assert "\x1b" not in shown
    by_name = {line[2:].split()[0]: line for line in shown.splitlines()}
    assert width(by_name["日本"]) == width(by_name["m1.small"]) == width(by_name["a?[31m"])
    assert by_name["rather-a-long-name"] == "  rather-a-long-name     16 CPU   65536 MB       0 MB"


def test_a_line_is_as_it_is() -> None:
    assert text(TextLine("http://127.0.0.1:2633/RPC2")) == "http://127.0.0.1:2633/RPC2\n"


def test_banners() -> None:
    assert banner("Hi") == [" ::::::::", " :: Hi ::", " ::::::::"]


ANYTHING = st.text(max_size=20)


@given(
    st.lists(
        st.builds(
            InstanceRow,
            id=st.integers(-1, 2**31),
            state=st.just("Running"),
            vcpu=st.none() | st.integers(0, 10**6),
            memory_kib=st.integers(0, 2**63),
            cpu_percent=st.floats(0, 1e18),
            places=st.lists(ANYTHING, max_size=3),
            name=ANYTHING,
            note=ANYTHING,
            instance=st.just(READ),
        ),
        max_size=4,
    )
)
def test_a_row_is_one_line_whatever_it_holds(rows: list[InstanceRow]) -> None:
    shown = list(lines(Listing(rows)))
    assert len(shown) == len(rows) + 1
    for line in shown:
        assert len(line.splitlines()) == 1
        assert line == line.rstrip()
        line.encode()


@given(ANYTHING, ANYTHING)
def test_a_type_is_one_line_whatever_it_is_called(name: str, network: str) -> None:
    (_, line) = listed_types([InstanceType(name, 1, 2, 3)], "").split("\n")[:-1]
    assert len(line.splitlines()) == 1
    assert len(list(lines(launched(1, 2, network, network)))) == 2
