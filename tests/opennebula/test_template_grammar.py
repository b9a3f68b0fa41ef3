"""The template grammar: what is written is read back, and what cannot be said is refused."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stratuslab.errors import UsageError
from stratuslab.opennebula.template_grammar import HasAttributes, TemplateSyntaxError, parse, quote, render

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
SAYABLE = (
    st.text(st.characters(max_codepoint=0xFFFD, exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n\t"\\'))
    .filter(lambda text: "]]>" not in text and not text.endswith("\\"))
    .filter(bool)
)


@given(SAYABLE)
@example('"')
@example('\\"')
@example('a\\\\"b')
@example("\n")
@example("]]")
@example("x = [ y = z ] # no comment")
def test_every_sayable_value_is_read_back(value: str) -> None:
    assert parse(f"NAME = {quote(value)}\nNEXT = 1") == [("NAME", value), ("NEXT", "1")]


@given(st.text())
def test_every_value_is_written_or_refused(value: str) -> None:
    try:
        written = quote(value)
    except UsageError:
        return
    assert parse(f"A = {written} B = {written}") == [("A", value), ("B", value)]


@given(st.lists(st.tuples(NAMES, SAYABLE | st.dictionaries(NAMES.map(str.upper), SAYABLE, min_size=1, max_size=4)), max_size=6))
def test_whole_templates_are_read_back(attributes: list[tuple[str, str | dict[str, str]]]) -> None:
    assert parse(render(attributes)) == [(name.upper(), value) for name, value in attributes]


ANY = st.text() | st.sampled_from(["", "\\", '"', "]]>", "a\r"])
NAMED = NAMES | st.text(max_size=3)


@given(st.lists(st.tuples(NAMED, ANY | st.dictionaries(NAMED, ANY, max_size=3)), max_size=4))
@example([("DISK", {"SOURCE": ""})])
def test_what_is_rendered_can_be_parsed(attributes: list[tuple[str, str | dict[str, str]]]) -> None:
    try:
        text = render(attributes)
    except UsageError:
        return
    expected = []
    for name, value in attributes:
        said = value if isinstance(value, str) else {key.upper(): part for key, part in value.items() if part}
        expected += [(name.upper(), said)] if said else []
    assert parse(text) == expected


@given(st.text('AB=[],"\\ \n#x]>') | st.text())
def test_what_is_parsed_is_the_same_when_it_is_rendered_again(text: str) -> None:
    try:
        parsed = parse(text)
        again = render(parsed)
    except (TemplateSyntaxError, UsageError):
        return
    assert render(parse(again)) == again


def test_what_is_written() -> None:
    disk = {"TYPE": "swap", "SIZE": "1024", "TARGET": ""}
    assert render([("CPU", "1"), ("NAME", 'my "box"'), ("EMPTY", ""), ("NONE", {}), ("DISK", disk)]) == (
        'CPU = "1"\nNAME = "my \\"box\\""\nDISK = [ TYPE = "swap", SIZE = "1024" ]\n'
    )


@pytest.mark.parametrize(
    "value, message",
    [
        ("a]]>b", '"]]>"'),
        ("bell\x07", "the control character U+0007"),
        ("null\x00", "U+0000"),
        ("smile \U0001f600", "U+1F600: OpenNebula accepts no characters beyond U+FFFF"),
        ("\U00010000", "U+10000: OpenNebula accepts no"),
        ("escape\x1b[31m", "U+001B"),
        ("\x7f", "U+007F"),
        ("\ud800", "U+D800"),
        ("\uffff", "the control character U+FFFF"),
        ("path\\", "ends with a backslash"),
        ('"\\', "ends with a backslash"),
    ],
)
def test_what_cannot_be_said(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"^CONTEXT/X ") as raised:
        quote(value, "CONTEXT/X")
    assert message in raised.value.message
    with pytest.raises(UsageError, match=r"^NAME "):
        render([("NAME", value)])
    with pytest.raises(UsageError, match=r"^DISK/SOURCE "):
        render([("DISK", {"SOURCE": value})])


@pytest.mark.parametrize("name", ["", "A B", "A=B", "Ä", "A\n", "A-B", '"A"', "A]"])
def test_names_that_are_none(name: str) -> None:
    for attributes in ([(name, "x")], [("V", {name: "x"})]):
        with pytest.raises(UsageError, match="is not a valid name for a template attribute"):
            render(attributes)


@pytest.mark.parametrize(
    "text, attributes",
    [
        ("", []),
        ("\n  \n# a comment\n   # and another", []),
        ("cpu=1", [("CPU", "1")]),
        ("CPU = 1 MEMORY = 128", [("CPU", "1"), ("MEMORY", "128")]),
        ("CPU=1 # one\nMEMORY=128", [("CPU", "1"), ("MEMORY", "128")]),
        ("A =\nB = 2", [("A", ""), ("B", "2")]),
        ('A = ""', [("A", "")]),
        ('A = "two\nlines"', [("A", "two\nlines")]),
        ("SOURCE = http://h:80/a", [("SOURCE", "http://h:80/a")]),
        ("D = [ a=1,b = 2 ,\n c=\"3, 4]\" ]", [("D", {"A": "1", "B": "2", "C": "3, 4]"})]),
        ("D=[A=1]D=[A=2]", [("D", {"A": "1"}), ("D", {"A": "2"})]),
        ("R = \"- RUNNING_VMS\"\nS = 1\n", [("R", "- RUNNING_VMS"), ("S", "1")]),
    ],
)  # fmt: skip
def test_templates_of_people(text: str, attributes: list[tuple[str, object]]) -> None:
    assert list(parse(text)) == attributes


@pytest.mark.parametrize(
    "text, line",
    [
        ("CPU=1 MEMORY=[", 1),
        ("CPU", 1),
        ("CPU 1", 1),
        ("= 1", 1),
        ("A = 1\nB = [ C = 1\n", 3),
        ("A = 1\nB = [ C ]", 2),
        ("A = [ B = [ C = 1 ] ]", 1),
        ("A = [ ]", 1),
        ("A = [ B = ]", 1),
        ("A = [ B = 1, ]", 1),
        ("A = [ B = 1 C = 2 ]", 1),
        ('A = "never ends\n', 2),  # a quote that is not closed begins a bare value
        ('A = "]]>"', 1),
        ('\n\n"A" = 1', 3),
        ("A = 1 ]", 1),
        ("Ä = 1", 1),
    ],
)
def test_syntax_errors_tell_the_line(text: str, line: int) -> None:
    with pytest.raises(TemplateSyntaxError, match=rf"^syntax error, expecting .* at line {line}$"):
        parse(text)


@given(st.text('A="\\[], \n#]>1x'))
def test_any_text_is_a_template_or_a_syntax_error(text: str) -> None:
    try:
        for name, value in parse(text):
            assert name == name.upper()
            assert value is not None
    except TemplateSyntaxError:
        pass


def test_long_and_hostile_texts_take_no_time() -> None:
    for text in ('A = "' + '\\"' * 50_000, 'A = "' + "\\" * 50_000, "A = [" + "B = 1," * 20_000, " " * 100_000, "A" * 100_000):
        with contextlib.suppress(TemplateSyntaxError):
            parse(text)


def test_attributes_are_found_by_name() -> None:
    class Kept(HasAttributes):
        attributes = (("A", "1"), ("NIC", {"IP": "x"}), ("A", "2"), ("NIC", {}), ("A", {"B": "3"}), ("NIC", "none"))

    kept = Kept()
    assert (kept.text("A"), kept.text("NIC"), kept.text("B")) == ("1", "none", "")
    assert (kept.vectors("NIC"), kept.vectors("A"), kept.vectors("B")) == ([{"IP": "x"}, {}], [{"B": "3"}], [])
