"""The embedded cloud against recordings of real daemons: in the same situation it answers with the same elements, in the same
order, of the same types, empty where theirs are empty.

Each file of ``tests/wire/opennebula-VERSION/`` is named METHOD-SITUATION, and each situation is found in a table of
``recorded_situations``: one that nobody knows fails. What may differ is listed in ``recorded_differences``, with the reason.
"""

from __future__ import annotations

import difflib
import re
import xmlrpc.client
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from stratuslab.local.engine.scheduler import Capacity
from tests.fakes.staged_cloud import configure
from tests.local.api.recorded_differences import DIFFERENCES
from tests.local.api.recorded_situations import CALLS, DOCUMENTS, IN_USE, NOT_COMPARABLE, PROFILE_OF, Scene
from tests.local.conftest import Caller

WIRE = Path(__file__).parents[2] / "wire"
RECORDINGS = sorted(WIRE.glob("opennebula-*/*.response.xml"))
# Its position is a number that was never set, and its grammar another parser's.
_PARSE_ERROR = re.compile(r"(Parse error: syntax error, ).*")


def shape(element: Element, above: str = "") -> Iterator[str]:
    """The paths of all elements in document order, with what is empty marked. A run of ids is one: it is a list of any length."""
    path = f"{above}/{element.tag}"
    empty = not len(element) and not (element.text or "").strip()
    yield path + (" (empty)" if empty else "")
    before = ""
    for child in element:
        if child.tag != "ID" or before != "ID":
            yield from shape(child, path)
        before = child.tag


def differences(scene: Scene, theirs: Element, ours: Element) -> list[str]:
    """What differs and is not expected to."""
    expected = [
        paths
        for versions, names, paths, _ in DIFFERENCES
        if re.fullmatch(versions, scene.version) and re.fullmatch(names, scene.name)
    ]
    lines = difflib.unified_diff(list(shape(theirs)), list(shape(ours)), "recorded", "ours", lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return [line for line in changed if not any(re.fullmatch(paths, line[1:].removesuffix(" (empty)")) for paths in expected)]


def found(table: Iterable[tuple[str, Any]], name: str) -> Any:
    value = next((value for words, value in table if re.fullmatch(words, name)), None)
    if value is None:
        pytest.fail(f"no situation is known for the words of {name}: add it to a table of recorded_situations")
    return value


def plain(text: str) -> str:
    """A message without its numbers, and without what a parser makes of a syntax error."""
    return re.sub(r"\d+", "N", _PARSE_ERROR.sub(r"\1", text))


def readable(body: bytes) -> bytes:
    """An answer that can be parsed: 3.2 hands control characters and ``]]>`` of a driver's message on as they are."""
    body = re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", b"", body)
    return re.sub(rb"(?s)(MESSAGE(?:>|&gt;)).*?((?:<|&lt;)/MESSAGE)", rb"\1x\2", body).replace(b"]]>", b"]]&gt;")


def version_and_words(path: Path) -> tuple[str, str]:
    return path.parent.name.removeprefix("opennebula-"), re.sub(r"\A\d+[a-z]?-", "", path.name.removesuffix(".response.xml"))


def parametrized(path: Path) -> Any:
    version, words = version_and_words(path)
    why = next((why for names, why in NOT_COMPARABLE if re.fullmatch(names, words)), "")
    return pytest.param(
        path,
        version,
        words,
        id=f"{version}-{path.name.removesuffix('.response.xml')}",
        marks=[pytest.mark.skip(reason=why)] if why else [],
    )


def test_there_are_recordings_of_each_version() -> None:
    assert {version_and_words(path)[0] for path in RECORDINGS} == set(PROFILE_OF)
    assert len(RECORDINGS) > 200


def test_every_exception_is_about_a_recording() -> None:
    recorded = [version_and_words(path) for path in RECORDINGS]
    for versions, names, *_ in (*DIFFERENCES, *((".*", words) for words, _ in NOT_COMPARABLE)):
        assert any(re.fullmatch(versions, version) and re.fullmatch(names, words) for version, words in recorded), names


@pytest.mark.parametrize(("path", "version", "name"), list(map(parametrized, RECORDINGS)))
def test_recording(call: Caller, monkeypatch: pytest.MonkeyPatch, path: Path, version: str, name: str) -> None:
    scene = Scene(call, monkeypatch, version, name)
    configure(call.stage.engine, capacity=Capacity(10000, 10**9))
    try:
        theirs: Any = xmlrpc.client.loads(readable(path.read_bytes()))[0][0]
    except xmlrpc.client.Fault as fault:
        ours = found(CALLS, name)(scene)
        assert isinstance(ours, xmlrpc.client.Fault), ours
        assert (ours.faultCode, plain(ours.faultString)) == (fault.faultCode, plain(fault.faultString))
        return
    if theirs[0] is True and isinstance(theirs[1], str) and theirs[1].startswith("<"):
        recorded = ElementTree.fromstring(theirs[1].encode())
        ours = found(DOCUMENTS, name)(scene, recorded)
        assert (len(ours), ours[0], ours[2]) == (len(theirs), True, theirs[2]), ours
        compare(scene, recorded, ElementTree.fromstring(ours[1].encode()))
        return
    ours = found(CALLS, name)(scene)
    assert [type(element) for element in ours] == [type(element) for element in theirs], ours
    assert (ours[0], ours[2]) == (theirs[0], theirs[2]), ours
    if isinstance(theirs[1], str):
        assert plain(ours[1]) == plain(theirs[1])


def compare(scene: Scene, theirs: Element, ours: Element) -> None:
    """Compare two documents. A pool of machines, templates or figures has the same members; in a pool of other objects each
    of the recorded ones is like one of ours, used or not, and they are in the same order."""
    assert theirs.tag == ours.tag
    if theirs.tag in ("VM_POOL", "VMTEMPLATE_POOL", "MONITORING_DATA"):
        pairs = list(zip(theirs, ours, strict=True))
    elif theirs.tag.endswith("_POOL"):
        assert {descending(theirs), descending(ours)} != {True, False}
        pairs = [(member, next((like for like in ours if in_use(like) == in_use(member)), ours[0])) for member in theirs]
    else:
        pairs = [(theirs, ours)]
    for member, like in pairs:
        assert differences(scene, member, like) == []


def in_use(element: Element) -> bool:
    return any(element.find(sign) is not None for sign in IN_USE)


def descending(pool: Element) -> bool | None:
    """Whether the newest come first; None where that cannot be seen."""
    numbers = [int(member.findtext("ID", "")) for member in pool]
    return None if len(numbers) < 2 else numbers[0] > numbers[-1]
