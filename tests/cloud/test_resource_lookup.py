"""What a cloud has to start machines with, found by id and name; the answers are those of a real OpenNebula 7.4.0."""

from __future__ import annotations

from xmlrpc.client import loads

import pytest

from stratuslab.cloud.client import Cloud
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.cloud.resource_lookup import Resource, ResourceKind, listing
from stratuslab.errors import NotFound, Unreachable, UsageError
from stratuslab.opennebula.error_codes import ErrorCode
from tests.fakes import scripted_server as servers
from tests.fakes.opennebula_answers import failure, recording, success
from tests.fakes.scripted_server import Scripted, ScriptedServer

ALICE = Credentials("alice", "secret")
RECORDED = {
    ResourceKind.IMAGE: ("one.imagepool.info", "74-imagepool.info"),
    ResourceKind.NETWORK: ("one.vnpool.info", "75-vnpool.info"),
    ResourceKind.TEMPLATE: ("one.templatepool.info", "73-templatepool.info"),
}


def cloud_at(server: ScriptedServer) -> Cloud:
    url = f"{server.url}/RPC2"
    return Cloud(HttpTransport(resolve(url, ALICE), ALICE, 5.0, {}), ALICE, url)


@pytest.mark.parametrize(
    "kind, entries",
    [
        (ResourceKind.IMAGE, [Resource(0, "ttylinux", "oneadmin")]),
        (ResourceKind.NETWORK, [Resource(1, "private", "oneadmin"), Resource(0, "public", "oneadmin")]),
        (ResourceKind.TEMPLATE, [Resource(0, "tiny", "oneadmin")]),
    ],
)
def test_recorded_catalogues(scripted: Scripted, kind: ResourceKind, entries: list[Resource]) -> None:
    method, name = RECORDED[kind]
    server = scripted(servers.document(recording(name)))
    cloud = cloud_at(server)
    found = cloud.catalogue(kind)
    assert sorted(map(str, found)) == sorted(map(str, entries))
    assert loads(server.requests[0].body) == (("alice:secret", -2, -1, -1), method)
    for entry in found:
        assert cloud.find(kind, entry.name) == entry
        assert cloud.find(kind, f"{entry.owner}/{entry.name}") == entry
    assert server.connections == 1, "asked once"


def test_an_id_is_looked_up(scripted: Scripted) -> None:
    document = "<IMAGE><ID>17</ID><UNAME>alice</UNAME><NAME>data</NAME><PERSISTENT>1</PERSISTENT></IMAGE>"
    server = scripted(servers.document(success(document)))
    assert cloud_at(server).find(ResourceKind.IMAGE, "17") == Resource(17, "data", "alice", persistent=True)
    assert loads(server.requests[0].body) == (("alice:secret", 17), "one.image.info")


def test_a_document_without_an_id_is_not_one(scripted: Scripted) -> None:
    server = scripted(servers.document(success("<IMAGE><NAME>data</NAME></IMAGE>")))
    with pytest.raises(Unreachable, match="answered without an id"):
        cloud_at(server).find(ResourceKind.IMAGE, "17")


@pytest.mark.parametrize(
    "kind, word", [(ResourceKind.IMAGE, "image"), (ResourceKind.NETWORK, "network"), (ResourceKind.TEMPLATE, "template")]
)
@pytest.mark.parametrize("unknown", ["99", "9999999999"])
def test_an_id_that_is_not_there(scripted: Scripted, kind: ResourceKind, word: str, unknown: str) -> None:
    pool = servers.document(recording(RECORDED[kind][1]))
    gone = servers.document(failure(f"[{RECORDED[kind][0].replace('pool', '')}] Error getting {word} [99].", ErrorCode.NO_EXISTS))
    server = scripted(*([] if len(unknown) > 2 else [gone]), pool)
    with pytest.raises(NotFound) as raised:
        cloud_at(server).find(kind, unknown)
    assert raised.value.message == f'this cloud has no {word} "{unknown}"'
    assert raised.value.hint.startswith("available: oneadmin/")


def test_a_name_that_is_not_there_lists_those_that_are(scripted: Scripted) -> None:
    server = scripted(servers.document(recording("75-vnpool.info")))
    for name in ("local", "alice/public", "PUBLIC", "9" * 11):
        with pytest.raises(NotFound) as raised:
            cloud_at(server).find(ResourceKind.NETWORK, name)
        assert raised.value.message == f'this cloud has no network "{name}"'
        assert (
            raised.value.hint.rpartition("? ")[2]
            == "available: oneadmin/private, oneadmin/public; list them with stratus-list-networks"
        )


def test_a_name_that_several_have(scripted: Scripted) -> None:
    image = "<IMAGE><ID>{}</ID><UNAME>{}</UNAME><NAME>tiny</NAME></IMAGE>"
    server = scripted(servers.document(success(f"<IMAGE_POOL>{image.format(1, 'alice')}{image.format(2, 'bob')}</IMAGE_POOL>")))
    with pytest.raises(UsageError) as raised:
        cloud_at(server).find(ResourceKind.IMAGE, "tiny")
    assert str(raised.value) == 'several images are called "tiny": alice/tiny (1), bob/tiny (2) (use the id or USER/NAME)'
    assert cloud_at(server).find(ResourceKind.IMAGE, "bob/tiny").id == 2


def test_the_marketplaces_identifier_of_an_image(scripted: Scripted) -> None:
    body = (
        "<IMAGE_POOL><IMAGE><ID>3</ID><NAME>x</NAME><TEMPLATE><MARKETPLACE_IDENTIFIER> BN1 </MARKETPLACE_IDENTIFIER></TEMPLATE>"
        "</IMAGE><IMAGE><ID>no number</ID></IMAGE><IMAGE/></IMAGE_POOL>"
    )
    server = scripted(servers.document(success(body)))
    assert cloud_at(server).catalogue(ResourceKind.IMAGE) == [Resource(3, "x", "", "BN1")]


def test_a_machine_template_is_read_with_its_disks(scripted: Scripted) -> None:
    template = "<VMTEMPLATE><ID>5</ID><TEMPLATE><DISK><IMAGE_ID>0</IMAGE_ID></DISK></TEMPLATE></VMTEMPLATE>"
    server = scripted(servers.document(success(template)))
    found = cloud_at(server).machine_template("5")
    assert (found.id, found.vectors("DISK")) == (5, [{"IMAGE_ID": "0"}])
    assert loads(server.requests[0].body) == (("alice:secret", 5), "one.template.info")


def test_long_lists_are_cut() -> None:
    assert listing([], "image") == "no image is visible to you"
    many = [Resource(number, f"i{number:02}", "a") for number in range(20)]
    assert listing(many, "image").endswith("a/i10, a/i11 and more; list them with stratus-search-image")
