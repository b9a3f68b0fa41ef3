"""stratus-list-networks on the embedded cloud and on what real servers answer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from stratuslab.errors import ExitStatus
from tests.commands.test_answers import document
from tests.fakes import scripted_server as servers
from tests.fakes.opennebula_answers import recording, recording_of, success
from tests.fakes.scripted_opennebula import Clouds
from tests.fakes.scripted_server import Scripted
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Shell


def at(shell: Shell, url: str) -> Shell:
    shell.environ.update(STRATUSLAB_ENDPOINT=url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    return shell


def test_the_list_of_the_manual(shell: Shell) -> None:
    shown = shell("list_networks", "--endpoint", "local")
    page = (CHECKOUT / "docs" / "list-networks.rst").read_text("utf-8")
    assert f"    $ stratus-list-networks\n{re.sub('^', '    ', shown.out.rstrip(), flags=re.MULTILINE)}\n" in page
    assert (shown.status, shown.err) == (0, "")


@pytest.mark.parametrize("profile", ["opennebula-7", "opennebula-4", "stratuslab-3"])
def test_what_is_leased_is_not_free(shell: Shell, stage: Stage, serve: Serve, profile: str) -> None:
    urls = serve(profile=profile)
    at(shell, urls.rpc).environ["STRATUSLAB_MARKETPLACE_ENDPOINT"] = urls.marketplace
    before = document(shell("list_networks", "--format", "json"))["networks"]
    assert shell("run", TTYLINUX, "--network", before[1]["network"]).status == 0
    after = document(shell("list_networks", "--format", "json"))["networks"]
    assert [one["free"] - other["free"] for one, other in zip(before, after, strict=True)] == [0, 1, 0]
    assert [row["network"] for row in after] == ["public", "local", "private"]


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (lambda: recording_of("3.2.1/vnpool.info-all"), "public,0,227,254,10.0.0.1-10.0.0.254"),
        (lambda: recording_of("4.14.2/vnpool.info"), "public,0,239,254,10.1.0.1-10.1.0.254"),
        (lambda: recording_of("6.8.0/vnpool.info-all"), "private,3,199,200,192.168.7.1-192.168.7.200"),
        (lambda: recording("75-vnpool.info"), "private,1,"),
    ],
)
def test_what_real_servers_say(shell: Shell, scripted: Scripted, answer: Callable[[], bytes], rows: str) -> None:
    server = scripted(servers.document(answer()))
    ran = at(shell, f"{server.url}/RPC2")("list_networks", "--format", "csv", "--no-header")
    assert ran.status == 0
    assert any(line.startswith(rows) for line in ran.out.splitlines()), ran.out


def network(number: int, name: str, owner: str = "alice", more: str = "") -> str:
    return f"<VNET><ID>{number}</ID><UNAME>{owner}</UNAME><NAME>{name}</NAME>{more}</VNET>"


def test_each_word_names_its_network(shell: Shell, opennebula: Clouds) -> None:
    named = [
        network(0, "lan"),
        network(1, "lan", "bob"),
        network(2, "7"),
        network(7, "wan"),
        network(9, "x\x9b31m"),
        network(10, ""),
    ]
    cloud = opennebula(things={"vn": dict(enumerate(named))})
    ran = at(shell, cloud.url)("list_networks", "--format", "ids")
    assert ran.out.splitlines()[:4] == ["alice/lan", "bob/lan", "alice/7", "wan"]
    assert "\x9b" not in ran.out
    shown = at(shell, cloud.url)("list_networks")
    assert "\x9b" not in shown.out


def test_odd_ranges(shell: Shell, scripted: Scripted) -> None:
    ranges = [
        "<USED_LEASES>3</USED_LEASES><AR_POOL><AR><IP>10.0.0.5</IP><SIZE>2</SIZE></AR><AR><IP6>fd00::1</IP6><SIZE>18446744073709551616"
        "</SIZE></AR></AR_POOL>",
        "<USED_LEASES>9</USED_LEASES><AR_POOL><AR><MAC>02:00:0a:00:00:01</MAC><SIZE>4</SIZE></AR></AR_POOL>",
        "<AR_POOL><AR><IP>255.255.255.255</IP><SIZE>2</SIZE></AR></AR_POOL>",
        "<RANGE><IP_START>x</IP_START><IP_END>10.0.0.9</IP_END></RANGE><TOTAL_LEASES>many</TOTAL_LEASES>",
        "<TYPE>1</TYPE><TOTAL_LEASES>2</TOTAL_LEASES>",
    ]
    pool = "".join(network(number, f"n{number}", more=more) for number, more in enumerate(ranges))
    server = scripted(servers.document(success(f"<VNET_POOL>{pool}<VNET><ID>x</ID></VNET></VNET_POOL>")))
    rows = document(at(shell, f"{server.url}/RPC2")("list_networks", "--format", "json"))["networks"]
    assert [(row["free"], row["size"]) for row in rows] == [(2**64 - 1, 2**64 + 2), (0, 4), (None, 2), (None, None), (None, None)]
    assert rows[0]["addresses"] == ["10.0.0.5-10.0.0.6", "fd00::1-fd00:0:0:1::"]
    assert [row["addresses"] for row in rows[1:]] == [[], ["255.255.255.255"], ["x-10.0.0.9"], []]


def test_a_network_that_is_not_there(alice: Shell) -> None:
    ran = alice("run", "--network", "lan", TTYLINUX)
    assert ran.status == ExitStatus.NOT_FOUND
    assert "list them with stratus-list-networks" in ran.err
