"""stratus-show-image: entries of a Marketplace, and images and templates of an OpenNebula cloud."""

from __future__ import annotations

import re

import pytest

from stratuslab.errors import ExitStatus
from tests.commands.test_answers import document
from tests.commands.test_list_networks import at
from tests.commands.test_search_image import MINE
from tests.fakes.scripted_opennebula import Clouds
from tests.harness import CHECKOUT, TTYLINUX, Shell


def test_the_image_of_the_manual(shell: Shell) -> None:
    ran = shell("show_image", "ttylinux", "--endpoint", "local")
    page = (CHECKOUT / "docs" / "show-image.rst").read_text("utf-8")
    assert f"    $ stratus-show-image ttylinux\n{re.sub('^', '    ', ran.out.rstrip(), flags=re.MULTILINE)}\n" in page
    assert (ran.status, ran.err) == (0, "")


def test_every_form(own: Shell) -> None:
    url = f"{own.environ['STRATUSLAB_MARKETPLACE_ENDPOINT']}/metadata/{MINE}"
    for word in (MINE, MINE[:10], "base", "base@alice", url, f"{url}/alice@example.org/2026-11-22T10:00:00Z"):
        (row,) = document(own("show_image", word, "--format", "json"))["details"]
        assert (row["image"], row["os_version"], row["signature"]) == (MINE, "12.5", "none")
        assert row["checksums"] == ["SHA-1:639ac4915da045efa809bd02b2609d9d3f932e85"]


def test_the_document_itself(own: Shell) -> None:
    ran = own("show_image", MINE, "--metadata")
    assert (ran.status, "<dcterms:title>mine &amp; yoursé</dcterms:title>" in ran.out) == (0, True)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("nosuch", ExitStatus.NOT_FOUND),
        ("A" * 27, ExitStatus.NOT_FOUND),
        ("https://example.org/x", ExitStatus.USAGE),
        ("http://127.0.0.1:1/metadata/" + TTYLINUX, ExitStatus.UNREACHABLE),
    ],
)
def test_what_cannot_be_shown(own: Shell, word: str, status: int) -> None:
    assert document(own("show_image", word, "--format", "json"))["errors"][0]["status"] == status
    assert own("show_image", word).status == status


def test_an_image_and_a_template_of_an_opennebula_cloud(shell: Shell, opennebula: Clouds) -> None:
    rights = "<PERMISSIONS><OWNER_U>1</OWNER_U><GROUP_U>1</GROUP_U><OTHER_U>{}</OTHER_U></PERMISSIONS>"
    image = (
        f"<IMAGE><ID>4</ID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME>tiny</NAME>{rights.format(0)}<TYPE>0</TYPE><SIZE>64</SIZE>"
        f"<TEMPLATE><MARKETPLACE_IDENTIFIER>{TTYLINUX}</MARKETPLACE_IDENTIFIER></TEMPLATE></IMAGE>"
    )
    template = (
        f"<VMTEMPLATE><ID>5</ID><UNAME>bob</UNAME><GNAME>users</GNAME><NAME>large</NAME>{rights.format(1)}<TEMPLATE><CPU>0.5</CPU>"
        "<VCPU>8</VCPU><MEMORY>16384</MEMORY><DISK><IMAGE>tiny</IMAGE></DISK><DISK><IMAGE_ID>7</IMAGE_ID></DISK>"
        "<NIC><NETWORK>lan</NETWORK></NIC><PASSWORD>hunter2</PASSWORD></TEMPLATE></VMTEMPLATE>"
    )
    broken = image.replace("<ID>4", "<ID>6").replace("tiny", "broken").replace("<TYPE>0", "<STATE>5</STATE><TYPE>2")
    cloud = opennebula(things={"image": {4: image, 6: broken}, "template": {5: template}})
    alice = at(shell, cloud.url)
    for word in ("one:tiny", "tiny", TTYLINUX):
        (row,) = document(alice("show_image", word, "--format", "json"))["details"]
        assert (row["image"], row["size_bytes"], row["users"]) == ("one:tiny", 64 << 20, ["owner alice", "group users"])
    (row,) = document(alice("show_image", "one:broken", "--format", "json"))["details"]
    assert (row["kind"], row["status"], row["deprecated"]) == ("disk", "deprecated", "in error on this cloud")
    (row,) = document(alice("show_image", "template:5", "--format", "json"))["details"]
    assert (row["cpu"], row["memory_mib"], row["disks"], row["networks"]) == ("8", "16384", ["tiny", "7"], ["lan"])
    assert "everybody" in row["users"]
    shown = alice("show_image", "template:large", "--metadata")
    assert ("<MEMORY>16384</MEMORY>" in shown.out, "hunter2" in shown.out) == (True, False)
    assert alice("show_image", "A" * 27).status == ExitStatus.NOT_FOUND
    assert "list them with stratus-search-image" in alice("show_image", "template:none").err


def test_a_url_that_is_none_of_an_entry(shell: Shell) -> None:
    ran = shell("show_image", "https://alice:secret@example.org/image.gz")
    assert (ran.status, ran.out) == (ExitStatus.USAGE, "")
    assert "https://example.org/image.gz is not the URL of an image's entry in a Marketplace" in ran.err
    assert "secret" not in ran.err
