"""OpenNebula's own Python client as a client of the embedded cloud."""

from __future__ import annotations

import pytest

from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX
from tests.local.templates import RECORDED

pyone = pytest.importorskip("pyone")


def test_a_life_through_pyone(serve: Serve, stage: Stage) -> None:
    one = pyone.OneServer(serve({"alice": "secret"}).rpc, session="alice:secret")
    assert one.system.version() == "7.4.0"
    assert list(one.vmpool.info(-2, -1, -1, -1).VM) == []
    image = next(image for image in one.imagepool.info(-2, -1, -1).IMAGE if image.NAME == "ttylinux")
    assert image.TEMPLATE["MARKETPLACE_IDENTIFIER"] == TTYLINUX
    assert {network.NAME for network in one.vnpool.info(-2, -1, -1).VNET} == {"public", "local", "private"}
    number = one.vm.allocate(RECORDED + f"DISK=[IMAGE_ID={image.ID}]\n", False)
    stage.runs(number)
    stage.polled(number, 2.5, 65536)
    instance = one.vm.info(number)
    assert (instance.NAME, instance.STATE, instance.LCM_STATE, instance.UNAME) == ("one-sample", 3, 3, "alice")
    assert instance.TEMPLATE["NIC"]["IP"] == "127.101.0.1"
    assert int(instance.MONITORING.MEMORY) == 65536
    assert instance.HISTORY_RECORDS.HISTORY[-1].HOSTNAME == "localhost"
    assert [vm.ID for vm in one.vmpool.info(-3, -1, -1, -1).VM] == [number]
    assert [vm.ID for vm in one.vmpool.infoextended(-3, -1, -1, -1).VM] == [number]
    assert one.user.info(-1).NAME == "alice"
    assert one.vm.action("terminate-hard", number) == number
    assert one.vm.info(number).STATE == 6
    with pytest.raises(pyone.OneNoExistsException):
        one.vm.info(99999)
    with pytest.raises(pyone.OneActionException):
        one.vm.action("finalize", number)
    with pytest.raises(pyone.OneInternalException):
        one.vm.allocate("CPU=1", False)
    with pytest.raises(pyone.OneAuthenticationException):
        pyone.OneServer(serve({"bob": "b"}).rpc, session="bob:wrong").system.version()


@pytest.mark.parametrize("profile", ["opennebula-4", "opennebula-5", "opennebula-6"])
def test_servers_of_other_versions(serve: Serve, stage: Stage, profile: str) -> None:
    """Documents of other versions are read by the schema of 7.x."""
    one = pyone.OneServer(serve({"alice": "secret"}, profile).rpc, session="alice:secret")
    image = next(image for image in one.imagepool.info(-2, -1, -1).IMAGE if image.NAME == "ttylinux")
    number = one.template.instantiate(0, "mine")
    stage.runs(number)
    assert (one.vm.info(number).LCM_STATE, one.vm.info(number).TEMPLATE["TEMPLATE_ID"]) == (3, "0")
    assert [vm.NAME for vm in one.vmpool.info(-3, -1, -1, -1).VM] == ["mine"]
    assert one.image.info(image.ID).NAME == "ttylinux"
    assert {network.NAME for network in one.vnpool.info(-2, -1, -1).VNET} == {"private", "local", "public"}
    assert one.vn.info(0).AR_POOL.AR[0].IP == "127.101.0.1"
    assert [host.NAME for host in one.hostpool.info().HOST] == ["localhost"]
    assert {template.NAME for template in one.templatepool.info(-2, -1, -1).VMTEMPLATE} == {"tiny", "large"}
    assert {datastore.NAME for datastore in one.datastorepool.info().DATASTORE} == {"default", "system"}
    ended = "delete" if profile != "opennebula-6" else "terminate-hard"
    assert one.vm.action(ended, number) == number
