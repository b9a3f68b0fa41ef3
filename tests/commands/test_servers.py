"""All four commands against each family of servers, through each way in: session string, HTTP Basic, client certificate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.api.http_server import Urls
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.opennebula.states import Lcm
from tests.fakes.certificate_authority import Authority
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.fakes.tls_front import TlsFront
from tests.harness import TTYLINUX, Ran, Shell

USERS = {"alice": "s%cr:t é"}


@dataclass
class Site:
    """A user's shell set up for a cloud, and the hands that move its machines."""

    shell: Shell
    stage: Stage


@pytest.fixture(params=sorted(SERVER_PROFILES))
def served(request: pytest.FixtureRequest, stage: Stage, serve: Serve) -> Urls:
    return serve(users=USERS, profile=request.param)


@pytest.fixture(params=["session", "basic", "certificate"])
def site(request: pytest.FixtureRequest, shell: Shell, stage: Stage, served: Urls, authority: Authority, tmp_path: Path) -> Site:
    shell.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"] = served.marketplace
    if request.param == "certificate":
        front = TlsFront(served.rpc, authority, USERS)
        request.addfinalizer(front.close)
        certificate, key = authority.client(tmp_path, "alice")
        shell.environ.update(
            STRATUSLAB_ENDPOINT=f"{front.url}/xmlrpc",
            STRATUSLAB_PEM_CERTIFICATE=str(certificate),
            STRATUSLAB_PEM_KEY=str(key),
            STRATUSLAB_CA_BUNDLE=str(authority.bundle),
        )
    else:
        endpoint = served.rpc if request.param == "session" else served.proxy.replace("pswd/", "")
        shell.environ.update(STRATUSLAB_ENDPOINT=endpoint, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD=USERS["alice"])
    return Site(shell, stage)


def test_the_four_commands(site: Site) -> None:
    shell, stage = site.shell, site.stage
    ran = shell("run", "-n", "2", "--vm-name", "node", "--volatile-disk", "1", "--context", "A=1", TTYLINUX)
    assert (ran.status, ran.err.count("\n")) == (0, 1)
    assert 'all 2 machines will be called "node"' in ran.err
    assert "     Public ip: 127.101.0.1\n" in ran.out

    stage.runs(1)
    stage.polled(1, cpu_percent=12.4, memory_kib=131072)
    stage.engine.machine_reached(2, Lcm.PROLOG)
    stage.engine.machine_failed(2, Lcm.PROLOG, "Image sha1 checksum check failed.")
    listed = shell("describe")
    assert (listed.status, listed.err) == (0, "")
    first, second = listed.out.splitlines()[1:]
    assert first.split() == ["1", "Running", "1", "131072", "12", "127.101.0.1", "node"]
    state = second.split()[1]
    assert state in ("Failed", "Prolog_Failure")
    assert "sha1 checksum check failed" in shell("describe", "-v", "2").out

    refused = shell("connect", "2")
    assert refused.status == ExitStatus.INSTANCE_FAILED
    assert "machine 2 failed" in refused.err

    assert shell("kill", "1", "2") == Ran(0, "", "")
    assert [line.split()[1] for line in shell("describe", "1", "2").out.splitlines()[1:]] == ["Done", "Done"]
    assert shell("describe", "99").status == ExitStatus.NOT_FOUND


def test_no_level_shows_a_secret(site: Site) -> None:
    shell, stage = site.shell, site.stage
    context = "DB_PASSWORD=hunter2#API_TOKEN=correct-horse#SCRIPT_EXEC=mount --password=battery-staple"
    ran = shell("run", "-vvv", "--context", context, TTYLINUX)
    stage.engine.machine_reached(1, Lcm.PROLOG)
    stage.engine.machine_failed(1, Lcm.PROLOG, "cannot read https://bob:secret-of-bob@example.org/x")
    said = ran.out + ran.err
    for level in ("-q", "-v", "-vv", "-vvv"):
        shown = shell("describe", level, "1")
        listed = shell("describe", level)
        assert (shown.status, listed.status) == (0, 0)
        said += shown.out + shown.err + listed.out + listed.err
    for form in ("json", "csv"):
        said += shell("describe", "--format", form).out
    assert "https://bob:***@example.org/x" in said
    assert "<API_TOKEN>***</API_TOKEN>" in said
    secrets = ("hunter2", "correct-horse", "battery-staple", "secret-of-bob", USERS["alice"], "s%25cr%3At")
    assert [secret for secret in secrets if secret in said] == []


def test_images_and_networks_by_name(shell: Shell, stage: Stage, served: Urls) -> None:
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD=USERS["alice"])
    for name in ("one:1", "one:ttylinux", "one:oneadmin/ttylinux"):
        assert shell("run", "-q", "--network", "oneadmin/private", name).out.partition(", ")[2].startswith("127.103."), name
    both = shell("run", "--network", "public", "--network", "2", "one:1")
    assert both.status == 0
    assert len(shell("describe", "4").out.splitlines()[1].split()[5].split(",")) == 2
    unknown = shell("run", "one:nosuch")
    assert unknown.status == ExitStatus.NOT_FOUND
    assert "oneadmin/ttylinux" in unknown.err
    unknown = shell("run", "--network", "nosuch", "one:1")
    assert unknown.status == ExitStatus.NOT_FOUND
    assert "oneadmin/public" in unknown.err


def test_machine_templates(shell: Shell, stage: Stage, served: Urls) -> None:
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD=USERS["alice"])
    assert shell("run", "template:tiny").status == 0
    assert shell("run", "--vm-name", "big one", "--cpu", "3", "--swap", "64", "--network", "private", "template:1").status == 0
    tiny, large = (stage.engine.instance(ADMINISTRATOR, number) for number in (1, 2))
    assert (tiny.text("VCPU"), tiny.memory_mib, [disk.get("IMAGE") for disk in tiny.vectors("DISK")]) == ("1", 128, ["ttylinux"])
    context = tiny.vectors("CONTEXT")[0]
    assert (context.get("SSH_PUBLIC_KEY") or context["PUBLIC_KEY"]).startswith("ssh-ed25519 ")
    assert (large.name, large.text("VCPU"), large.memory_mib) == ("big one", "3", 2048)
    assert [disk.get("TYPE") for disk in large.vectors("DISK")] == ["FILE", "swap"]
    assert [nic["NETWORK"] for nic in large.vectors("NIC")] == ["private"]
    unknown = shell("run", "template:nosuch")
    assert unknown.status == ExitStatus.NOT_FOUND
    assert "oneadmin/tiny" in unknown.err


def test_the_marketplaces_password_stays_here(shell: Shell, stage: Stage, serve: Serve) -> None:
    served = serve(users=USERS, profile="stratuslab-3")
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD=USERS["alice"])
    endpoint = served.marketplace.replace("://", "://joe:hunter2@")
    assert shell("run", "--marketplace-endpoint", endpoint, "--no-check-image-url", "A" * 27).status == ExitStatus.INSTANCE_FAILED
    record = stage.engine.instance(ADMINISTRATOR, 1)
    assert "hunter2" not in str(vars(record))


def test_other_users(shell: Shell, stage: Stage, serve: Serve) -> None:
    served = serve(users={"alice": "secret", "oneadmin": "nebula"})
    shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_MARKETPLACE_ENDPOINT=served.marketplace)
    alice, admin = ("-u", "alice", "-p", "secret"), ("-u", "oneadmin", "-p", "nebula")
    assert shell("run", *alice, TTYLINUX).status == 0
    assert shell("describe", *admin).out.count("\n") == 1
    assert shell("describe", *admin, "--all-users").out.count("\n") == 2
    assert shell("describe", *admin, "--user-id", "2").out.count("\n") == 2
    assert shell("describe", *alice, "--user-id", "0").out.count("\n") == 1


def test_several_clouds_side_by_side(shell: Shell, tmp_path: Path, serve: Serve) -> None:
    clouds = {name: serve({"u": "p"}, cloud=Stage(tmp_path / name)) for name in ("lal", "grnet")}
    sections = "".join(
        f"[{name}]\nendpoint = {served.rpc}\nmarketplace_endpoint = {served.marketplace}\n" for name, served in clouds.items()
    )
    config = shell.home / ".stratuslab" / "stratuslab-user.cfg"
    config.parent.mkdir()
    config.write_text(f"[default]\nusername = u\npassword = p\n{sections}[down]\nendpoint = http://127.0.0.1:1\n")
    for name in clouds:
        assert shell("run", "-S", name, "--vm-name", f"at-{name}", TTYLINUX).status == 0
    ran = shell("describe", "--all-sections")
    assert ran.status == ExitStatus.PARTIAL
    assert [line.split()[0] for line in ran.out.splitlines()] == ["cloud", "lal", "grnet"]
    assert [line.split()[-1] for line in ran.out.splitlines()] == ["name", "at-lal", "at-grnet"]
    assert "[down]" in ran.err
    # A variable that names one cloud does not make all sections ask it.
    shell.environ.update(STRATUSLAB_ENDPOINT=clouds["grnet"].rpc, STRATUSLAB_USERNAME="nobody", STRATUSLAB_PASSWORD="x")
    assert shell("describe", "--all-sections").out == ran.out
    assert shell("describe", "--all-sections", "--endpoint", clouds["lal"].rpc).status == ExitStatus.USAGE


def test_wrong_credentials_name_the_user_and_where_they_come_from(shell: Shell, served: Urls) -> None:
    session = shell.home / "one_auth"
    session.write_text("alice:wrong-secret\n")
    shell.environ.update(ONE_XMLRPC=served.rpc, ONE_AUTH=str(session))
    ran = shell("describe")
    assert ran.status == ExitStatus.DENIED
    assert '"alice"' in ran.err
    assert str(session) in ran.err
    assert "wrong-secret" not in ran.err
    session.write_text(f"alice:{USERS['alice']}\n")
    assert shell("describe").status == 0


def test_a_private_authority_has_to_be_named(shell: Shell, served: Urls, authority: Authority) -> None:
    front = TlsFront(served.rpc, authority)
    login = ("--endpoint", f"{front.url}/RPC2", "-u", "alice", "-p", USERS["alice"])
    ran = shell("describe", *login)
    assert ran.status == ExitStatus.UNREACHABLE
    assert all(word in ran.err for word in ("--ca-bundle", "ca_bundle", "REQUESTS_CA_BUNDLE"))
    assert shell("describe", *login, "--ca-bundle", str(authority.bundle)).status == 0
    shell.environ["REQUESTS_CA_BUNDLE"] = str(authority.bundle)
    assert shell("describe", *login).status == 0
    front.close()


@pytest.mark.parametrize("path", ["/", "/rpc2", "/pswd/other"])
def test_the_wrong_path_is_named_with_the_usual_forms(shell: Shell, served: Urls, path: str) -> None:
    endpoint = served.rpc.removesuffix("/RPC2") + path
    if path == "/":
        endpoint += "nothing/here"
    ran = shell("describe", "--endpoint", endpoint, "-u", "alice", "-p", "x")
    assert ran.status == ExitStatus.UNREACHABLE
    assert endpoint.rstrip("/") in ran.err
    assert "RPC2" in ran.err
    assert "xmlrpc" in ran.err
