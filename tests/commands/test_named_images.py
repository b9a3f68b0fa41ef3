"""What stratus-run-instance takes for an image besides its identifier: titles, tags, and beginnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from tests.commands.test_list_networks import at
from tests.commands.test_search_image import MINE
from tests.fakes.scripted_opennebula import Clouds
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Shell


@pytest.mark.parametrize(
    ("word", "identifier"),
    [
        ("ttylinux", TTYLINUX),
        ("TTYlinux", TTYLINUX),
        (TTYLINUX[:8], TTYLINUX),
        ("base", MINE),
        ("base@alice", MINE),
        ("base@alice@example.org", MINE),
        ("mine & yoursé", MINE),
    ],
)
def test_a_word_that_stands_for_one_image(own: Shell, stage: Stage, word: str, identifier: str) -> None:
    ran = own("run", word)
    assert (ran.status, ran.err) == (0, "")
    assert stage.engine.store.query("SELECT image FROM instances") == [(identifier,)]


@pytest.mark.parametrize("word", ["ttylinus", TTYLINUX[:7], "base@bob", "", "@", "ttylinux@"])
def test_a_word_that_stands_for_none(own: Shell, word: str) -> None:
    ran = own("run", word)
    assert (ran.status, ran.out) == (ExitStatus.USAGE if not word else ExitStatus.NOT_FOUND, "")
    assert "stratus-search-image" in ran.err or not word
    assert ('did you mean "ttylinux"?' in ran.err) == (word in ("ttylinus", "ttylinux@"))


def test_several_images_are_listed(own: Shell, tmp_path: Path, entry: bytes) -> None:
    other = entry.replace(MINE.encode(), TTYLINUX.encode()).replace(b"mine &amp; yours", b"base").replace(b"alice@", b"dave@")
    other = other.replace(b"639ac4915da045efa809bd02b2609d9d3f932e85", b"137510490f881c7ceffb8b8f6fac7726d223e5db")
    (tmp_path / "other.xml").write_bytes(other)
    assert own("local_cloud", "add-entry", str(tmp_path / "other.xml")).status == 0
    ran = own("run", "base")
    assert (ran.status, ran.out) == (ExitStatus.USAGE, "")
    assert f"{TTYLINUX} (dave@example.org, 2026-11-22)" in ran.err
    assert f"{MINE} (alice@example.org, 2026-11-22)" in ran.err
    assert own("run", "base@dave").status == 0


def test_a_name_on_an_opennebula_cloud(shell: Shell, opennebula: Clouds) -> None:
    image = "<IMAGE><ID>4</ID><UNAME>alice</UNAME><NAME>tiny</NAME><TYPE>0</TYPE></IMAGE>"
    template = "<VMTEMPLATE><ID>5</ID><UNAME>alice</UNAME><NAME>{}</NAME><TEMPLATE/></VMTEMPLATE>"
    cloud = opennebula(things={"image": {4: image}, "template": {5: template.format("large")}})
    assert at(shell, cloud.url)("run", "tiny").status == 0
    assert at(shell, cloud.url)("run", "large").status == 0
    assert [cloud.counted()[method] for method in ("one.vm.allocate", "one.template.instantiate")] == [1, 1]
    cloud.things["template"][5] = template.format("tiny")
    ran = at(shell, cloud.url)("run", "tiny")
    assert (ran.status, "one:tiny" in ran.err, "template:tiny" in ran.err) == (ExitStatus.USAGE, True, True)


def test_an_expired_image_is_refused_with_what_is_newer(alice: Shell, tmp_path: Path, entry: bytes) -> None:
    alice.environ["STRATUSLAB_LOCAL_DIR"] = str(tmp_path / "cloud")
    old = entry.replace(b"2027-11", b"2026-11").replace(b"2026-11-22", b"2021-11-22")
    new = entry.replace(MINE.encode(), b"P__________________________").replace(
        b"639ac4915da045efa809bd02b2609d9d3f932e85", b"f" * 40
    )
    for name, one in (("old", old), ("new", new)):
        (tmp_path / name).write_bytes(one)
        assert alice("local_cloud", "add-entry", str(tmp_path / name)).status == 0
    ran = alice("run", "--marketplace-endpoint", alice.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"], MINE)
    assert (ran.status, ran.out) == (ExitStatus.FAILED, "")
    assert f"image {MINE}: its metadata expired on 2021-11-22 (newer: P__________________________; " in ran.err
    allowed = alice("run", "--allow-expired", MINE)
    assert (allowed.status, "expired on 2021-11-22" in allowed.err) == (0, True)
