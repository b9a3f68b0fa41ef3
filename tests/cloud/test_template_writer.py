"""The template of a machine, read back as the server reads it, in both dialects."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, MachineTemplate, NetworkRequest
from stratuslab.cloud.template_writer import DISK_PREFIXES, template
from stratuslab.cloud.version_differences import ServerVersion
from stratuslab.errors import UsageError
from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from stratuslab.opennebula.template_grammar import parse

STRATUSLAB, TODAY = ServerVersion(), ServerVersion("7.4.0")
SERVERS = (STRATUSLAB, ServerVersion("4.14.2"), ServerVersion("5.12.0"), TODAY)
METADATA = "https://marketplace.stratuslab.eu/metadata/BN1EEkPiBx87_uLj2-sdybSI-Xb"
PLAIN = MachineRequest(ImageDisk(METADATA), cpu=2, ram=512, swap=1024, token="t-1/1")
FULL = replace(
    PLAIN,
    cpu_share=0.5,
    name="my machine",
    volatile_disks=(3072,),
    persistent_disks=(ImageDisk("pdisk:pdisk.example.org:8445:5d6f7a1e"),),
    readonly_disks=(ImageDisk("https://marketplace.stratuslab.eu/metadata/XXX"),),
    bus="virtio",
    networks=(NetworkRequest("local", "oneadmin", address="10.0.0.7"), NetworkRequest(id=4)),
    public_keys="ssh-rsa AAAA one@example.org\nssh-rsa BBBB two@example.org",
    context={"COLOUR": "blue", "WORDS": 'say "hello, [you]" = # \\n'},
    cloud_init="H4sIAAAA",
    vnc_port=5901,
    vnc_listen="0.0.0.0",
    requirements='HYPERVISOR = "kvm" & FREE_CPU > 60',
    inbound_ports=("22", "80"),
)


def vectors(text: str, name: str) -> list[Mapping[str, str]]:
    return [value for key, value in parse(text) if key == name and not isinstance(value, str)]


def attribute(text: str, name: str) -> str | None:
    values = [value for key, value in parse(text) if key == name and isinstance(value, str)]
    assert len(values) <= 1
    return values[0] if values else None


def test_stratuslab_in_the_order_of_its_client() -> None:
    request = replace(FULL, context={"COLOUR": "blue", "WORDS": "say hello, [you] = # \\n"})
    assert parse(template(request, STRATUSLAB)) == [
        ("CPU", "0.5"),
        ("VCPU", "2"),
        ("MEMORY", "512"),
        ("RANK", "- RUNNING_VMS"),
        ("REQUIREMENTS", 'HYPERVISOR = "kvm" & FREE_CPU > 60'),
        ("NAME", "my machine"),
        ("DISK", {"SOURCE": METADATA, "DRIVER": "raw", "TARGET": "vda", "SAVE": "no", "READONLY": "no"}),
        ("DISK", {"TYPE": "swap", "SIZE": "1024", "TARGET": "vdb", "READONLY": "no"}),
        ("DISK", {"TYPE": "fs", "FORMAT": "ext3", "SIZE": "3072", "TARGET": "vdc", "READONLY": "no", "SAVE": "no"}),
        ("DISK", {"SOURCE": "pdisk:pdisk.example.org:8445:5d6f7a1e", "TARGET": "vdd", "TYPE": "block"}),
        (
            "DISK",
            {
                "SOURCE": "https://marketplace.stratuslab.eu/metadata/XXX",
                "DRIVER": "raw",
                "TARGET": "vde",
                "READONLY": "no",
                "SAVE": "no",
            },
        ),
        ("NIC", {"NETWORK": "local", "NETWORK_UNAME": "oneadmin", "IP": "10.0.0.7"}),
        ("NIC", {"NETWORK_ID": "4"}),
        ("GRAPHICS", {"TYPE": "vnc", "PORT": "5901", "LISTEN": "0.0.0.0", "KEYMAP": "en-us"}),
        (
            "CONTEXT",
            {
                "PUBLIC_KEY": "ssh-rsa AAAA one@example.org\nssh-rsa BBBB two@example.org",
                "COLOUR": "blue",
                "WORDS": "say hello, [you] = # \\n",
                "CLOUD_INIT_USER_DATA": "H4sIAAAA",
                "TARGET": "hdd",
            },
        ),
        ("INBOUND_PORTS", "22,80"),
        (TOKEN_ATTRIBUTE, "t-1/1"),
    ]


def test_opennebula() -> None:
    assert parse(template(FULL, TODAY)) == [
        ("NAME", "my machine"),
        ("CPU", "0.5"),
        ("VCPU", "2"),
        ("MEMORY", "512"),
        ("SCHED_REQUIREMENTS", 'HYPERVISOR = "kvm" & FREE_CPU > 60'),
        ("DISK", {"SOURCE": METADATA, "DRIVER": "raw", "DEV_PREFIX": "vd"}),
        ("DISK", {"TYPE": "swap", "SIZE": "1024", "DEV_PREFIX": "vd"}),
        ("DISK", {"TYPE": "fs", "FORMAT": "raw", "SIZE": "3072", "DEV_PREFIX": "vd"}),
        ("DISK", {"SOURCE": "pdisk:pdisk.example.org:8445:5d6f7a1e", "TYPE": "block", "DEV_PREFIX": "vd"}),
        (
            "DISK",
            {
                "SOURCE": "https://marketplace.stratuslab.eu/metadata/XXX",
                "DRIVER": "raw",
                "READONLY": "YES",
                "DEV_PREFIX": "vd",
            },
        ),
        ("NIC", {"NETWORK": "local", "NETWORK_UNAME": "oneadmin", "IP": "10.0.0.7"}),
        ("NIC", {"NETWORK_ID": "4"}),
        ("GRAPHICS", {"TYPE": "vnc", "PORT": "5901", "LISTEN": "0.0.0.0"}),
        (
            "CONTEXT",
            {
                "SSH_PUBLIC_KEY": "ssh-rsa AAAA one@example.org\nssh-rsa BBBB two@example.org",
                "NETWORK": "YES",
                "COLOUR": "blue",
                "WORDS": 'say "hello, [you]" = # \\n',
                "USER_DATA": "H4sIAAAA",
                "USER_DATA_ENCODING": "base64",
            },
        ),
        (TOKEN_ATTRIBUTE, "t-1/1"),
    ]


@pytest.mark.parametrize("bus", DISK_PREFIXES)
def test_disks_never_share_a_target(bus: str) -> None:
    """The original gave every further disk the target c; the contextualisation is always at hdd."""
    for volatile, persistent, readonly in product((0, 1, 4), repeat=3):
        request = replace(
            PLAIN,
            bus=bus,
            volatile_disks=(1024,) * volatile,
            persistent_disks=(ImageDisk("pdisk:h:1:u"),) * persistent,
            readonly_disks=(ImageDisk("https://x/y"),) * readonly,
        )
        if volatile + persistent + readonly > 9:
            with pytest.raises(UsageError, match="too many disks"):
                template(request, STRATUSLAB)
            continue
        text = template(request, STRATUSLAB)
        targets = [disk["TARGET"] for disk in vectors(text, "DISK")]
        assert len(targets) == 2 + volatile + persistent + readonly
        assert targets[:2] == [DISK_PREFIXES[bus] + "a", DISK_PREFIXES[bus] + "b"]
        taken = [*targets, vectors(text, "CONTEXT")[0]["TARGET"]]
        assert len(set(taken)) == len(taken)
        assert all(target.startswith(DISK_PREFIXES[bus]) for target in targets)


def test_the_bus_is_ide_where_nobody_says() -> None:
    assert vectors(template(PLAIN, STRATUSLAB), "DISK")[0]["TARGET"] == "hda"
    assert all("DEV_PREFIX" not in disk and "TARGET" not in disk for disk in vectors(template(FULL_WITHOUT_BUS, TODAY), "DISK"))


FULL_WITHOUT_BUS = replace(FULL, bus="")


@pytest.mark.parametrize("server", SERVERS)
def test_ports_of_the_console(server: ServerVersion) -> None:
    (console,) = vectors(template(PLAIN, server), "GRAPHICS")
    assert console.get("PORT") == ("-1" if server == STRATUSLAB else None)
    (console,) = vectors(template(replace(PLAIN, vnc_port=0), server), "GRAPHICS")
    assert console["PORT"] == "0"


@pytest.mark.parametrize("server", SERVERS)
def test_every_request_carries_its_token(server: ServerVersion) -> None:
    for request in (PLAIN, replace(FULL, context={}), replace(PLAIN, template=MachineTemplate(3))):
        assert attribute(template(request, server), TOKEN_ATTRIBUTE) == "t-1/1"


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_empty_is_left_out(server: ServerVersion) -> None:
    """3.2 reads "" as two quote characters."""
    text = template(PLAIN, server)
    assert '""' not in text
    names = [name for name, _ in parse(text)]
    assert not {"NAME", "REQUIREMENTS", "SCHED_REQUIREMENTS", "INBOUND_PORTS"} & set(names)
    assert [disk.get("TYPE") for disk in vectors(text, "DISK")] == [None, "swap"]
    assert "IP" not in vectors(text, "NIC")[0]
    assert "LISTEN" not in vectors(text, "GRAPHICS")[0]


def test_no_swap() -> None:
    request = replace(PLAIN, swap=0)
    for server in SERVERS:  # 3.2 would make a disk of size 0, and fail
        assert len(vectors(template(request, server), "DISK")) == 1
    with_volatile = vectors(template(replace(request, volatile_disks=(1024,)), STRATUSLAB), "DISK")
    assert [disk["TARGET"] for disk in with_volatile] == ["hda", "hdc"], "as where there is swap space"


def test_an_image_of_a_datastore() -> None:
    disk = vectors(template(replace(PLAIN, root=ImageDisk(image_id=0)), TODAY), "DISK")[0]
    assert disk == {"IMAGE_ID": "0"}


@pytest.mark.parametrize("cpu, share, written", [(1, None, "1"), (1024, None, "1024"), (4, 0.1, "0.1"), (4, 2.5, "2.5")])
@pytest.mark.parametrize("server", SERVERS)
def test_cpu(server: ServerVersion, cpu: int, share: float | None, written: str) -> None:
    text = template(replace(PLAIN, cpu=cpu, cpu_share=share), server)
    assert (attribute(text, "CPU"), attribute(text, "VCPU"), attribute(text, "MEMORY")) == (written, str(cpu), "512")


@pytest.mark.parametrize("server", SERVERS)
def test_context_names_are_the_same_in_any_case(server: ServerVersion) -> None:
    """The server writes them in capitals: two that differ in case only are one, and which of them won would be chance."""
    text = template(
        replace(PLAIN, public_keys="ours", context={"colour": "blue", "Ssh_Public_Key": "mine", "target": "x"}), server
    )
    names = [line.partition(" = ")[0] for line in text.split("CONTEXT = [")[1].split("]")[0].strip().split(", ")]
    assert len({name.upper() for name in names}) == len(names)
    (context,) = vectors(text, "CONTEXT")
    assert context["COLOUR"] == "blue"
    assert context["SSH_PUBLIC_KEY"] == "mine"
    assert context["TARGET"] == ("hdd" if server == STRATUSLAB else "x")


@given(
    st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), st.text(max_size=30), max_size=4),
    st.text(max_size=30),
    st.sampled_from(SERVERS),
)
def test_what_users_say_arrives_or_is_refused(context: dict[str, str], name: str, server: ServerVersion) -> None:
    try:
        text = template(replace(PLAIN, name=name, context=context), server)
    except UsageError:
        return
    assert (attribute(text, "NAME") or "") == name
    (arrived,) = vectors(text, "CONTEXT")
    for key in context.keys() - {"NETWORK", "TARGET"}:  # which have values of ours
        assert arrived.get(key, "") == context[key]


@pytest.mark.parametrize(
    "change, what",
    [
        ({"name": "a\x07b"}, "NAME"),
        ({"name": "a]]>b"}, "NAME"),
        ({"name": "smile \U0001f600"}, "NAME"),
        ({"labels": ("\U0001f600",)}, "LABELS"),
        ({"context": {"A": "ends in \\"}}, "CONTEXT/A"),
        ({"context": {"A B": "x"}}, '"A B"'),
        ({"context": {"": "x"}}, '""'),
        ({"public_keys": "ssh-rsa \x00"}, "PUBLIC_KEY"),
        ({"requirements": "\x1b"}, "REQUIREMENTS"),
        ({"root": ImageDisk("https://x/]]>")}, "DISK/SOURCE"),
    ],
)
@pytest.mark.parametrize("server", SERVERS)
def test_what_no_template_can_hold(server: ServerVersion, change: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError) as raised:
        template(replace(PLAIN, **change), server)  # type: ignore[arg-type]
    assert what in raised.value.message


# --- variables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["pa$w0rd", "$NAME", "a$$b", "5$", "${X}", "$USER[SSH_PUBLIC_KEY]"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_variable_in_the_context_is_refused(server: ServerVersion, value: str) -> None:
    """There is no escape in any version: it would arrive as something else."""
    with pytest.raises(UsageError) as raised:
        template(replace(PLAIN, context={"db_pw": value}), server)
    assert raised.value.message == 'CONTEXT/DB_PW contains "$", which OpenNebula reads as a variable and cannot escape'
    assert value not in str(raised.value)


@pytest.mark.parametrize("value", ['say "hi"', "`id`", '"'])
def test_what_a_shell_would_interpret_is_refused_where_nothing_is_escaped(value: str) -> None:
    """OpenNebula 3 writes context.sh in double quotes, later ones in single quotes, escaped."""
    with pytest.raises(UsageError, match="CONTEXT/A contains"):
        template(replace(PLAIN, context={"A": value}), STRATUSLAB)
    escaped = value.replace('"', '\\"').replace("`", "\\`")
    assert vectors(template(replace(PLAIN, context={"A": escaped}), STRATUSLAB), "CONTEXT")[0]["A"] == escaped
    assert vectors(template(replace(PLAIN, context={"A": value}), TODAY), "CONTEXT")[0]["A"] == value


@pytest.mark.parametrize("server", SERVERS)
def test_where_else_variables_are_replaced(server: ServerVersion) -> None:
    with pytest.raises(UsageError, match=r"PUBLIC_KEY.*comment of the public key"):
        template(replace(PLAIN, public_keys="ssh-ed25519 AAAA $me"), server)
    with pytest.raises(UsageError, match="REQUIREMENTS"):
        template(replace(PLAIN, requirements='NAME = "$NAME"'), server)
    with pytest.raises(UsageError, match="CONTEXT/A"):
        template(replace(PLAIN, context={"A": "1@^_^@B=2"}), server)


@pytest.mark.parametrize("server", SERVERS)
def test_where_they_are_not(server: ServerVersion) -> None:
    text = template(replace(PLAIN, name="5$ box", labels=("$a",)), server)
    assert (attribute(text, "NAME"), attribute(text, "LABELS")) == ("5$ box", "$a")


@pytest.mark.parametrize("value", ["echo $HOME \U0001f600", "ends in \\", "[[ a ]]>b"])
@pytest.mark.parametrize(
    "name, sent, flag",
    [
        ("START_SCRIPT", "START_SCRIPT_BASE64", {}),
        ("password", "PASSWORD_BASE64", {}),
        ("CRYPTED_PASSWORD", "CRYPTED_PASSWORD_BASE64", {}),
        ("USER_DATA", "USER_DATA", {"USER_DATA_ENCODING": "base64"}),
        ("USERDATA", "USERDATA", {"USERDATA_ENCODING": "base64"}),
    ],
)
def test_what_guests_take_in_base64_is_sent_so_where_it_must_be(name: str, sent: str, flag: dict[str, str], value: str) -> None:
    (context,) = vectors(template(replace(PLAIN, context={name: value}), TODAY), "CONTEXT")
    assert context == {"NETWORK": "YES", sent: b64encode(value.encode()).decode(), **flag}
    (context,) = vectors(template(replace(PLAIN, context={name: "plain"}), TODAY), "CONTEXT")
    assert context == {"NETWORK": "YES", name.upper(): "plain"}
    with pytest.raises(UsageError):
        template(replace(PLAIN, context={name: value}), STRATUSLAB)


def test_both_forms_given_by_the_user_stay_as_they_are() -> None:
    with pytest.raises(UsageError, match="CONTEXT/PASSWORD "):
        template(replace(PLAIN, context={"PASSWORD": "a$b", "PASSWORD_BASE64": "eA=="}), TODAY)


def test_one_form_of_a_password_and_a_script_is_left() -> None:
    """Guests heed one form only, and not always the one that was laid over the template."""
    old = {"PASSWORD_BASE64": "eA==", "START_SCRIPT": "old", "USER_DATA_ENCODING": "base64", "A": "$NAME"}
    base = MachineTemplate(3, attributes=(("CONTEXT", old),))
    context = {"PASSWORD": "x", "START_SCRIPT": "a $b", "USER_DATA": "#!/bin/sh"}
    (sent,) = vectors(template(replace(PLAIN, template=base, context=context), TODAY), "CONTEXT")
    assert sent == {
        "A": "$NAME",
        "NETWORK": "YES",
        "PASSWORD": "x",
        "START_SCRIPT_BASE64": "YSAkYg==",
        "USER_DATA": "#!/bin/sh",
    }


# --- machine templates ----------------------------------------------------------------------------------------------------

BASE = MachineTemplate(
    3,
    "base",
    (
        ("NAME", "base"),
        ("CPU", "0.1"),
        ("DISK", {"IMAGE_ID": "0", "DEV_PREFIX": "vd"}),
        ("NIC", {"NETWORK_ID": "0"}),
        ("CONTEXT", {"SSH_PUBLIC_KEY": "$USER[SSH_PUBLIC_KEY]", "NETWORK": "YES"}),
        ("TEMPLATE_ID", "3"),
    ),
)


def test_a_machine_template_is_read() -> None:
    read = MachineTemplate.read(
        fromstring(
            "<VMTEMPLATE><ID>3</ID><NAME>base</NAME><TEMPLATE><CPU>1</CPU><CONTEXT><NETWORK><![CDATA[YES]]></NETWORK><X/></CONTEXT>"
            "<DISK><IMAGE_ID><![CDATA[0]]></IMAGE_ID></DISK><DISK><TYPE> fs </TYPE></DISK></TEMPLATE></VMTEMPLATE>"
        )
    )
    context = {"NETWORK": "YES", "X": ""}
    assert read == MachineTemplate(
        3, "base", (("CPU", "1"), ("CONTEXT", context), ("DISK", {"IMAGE_ID": "0"}), ("DISK", {"TYPE": "fs"}))
    )
    assert (read.text("CPU"), read.vectors("DISK"), read.context) == ("1", [{"IMAGE_ID": "0"}, {"TYPE": "fs"}], context)
    assert MachineTemplate.read(fromstring("<VMTEMPLATE><ID>4</ID></VMTEMPLATE>")) == MachineTemplate(4)
    assert MachineTemplate.read(fromstring("<VMTEMPLATE><ID>x</ID></VMTEMPLATE>")) == MachineTemplate(0)


def test_nothing_but_key_and_token_is_laid_over_where_nothing_is_asked() -> None:
    request = MachineRequest(ImageDisk(), cpu=0, ram=0, swap=0, token="t", template=BASE, networks=(), public_keys="ssh-rsa A")
    assert parse(template(request, TODAY)) == [
        ("CONTEXT", {"SSH_PUBLIC_KEY": "ssh-rsa A", "NETWORK": "YES"}),
        (TOKEN_ATTRIBUTE, "t"),
    ]


def test_before_4_the_template_is_merged_here() -> None:
    """There one.template.instantiate takes a name only, and loses all else silently."""
    request = replace(
        FULL, template=BASE, cpu=0, cpu_share=None, ram=0, bus="", networks=(), labels=("a", "b"), context={"COLOUR": "blue"}
    )
    assert parse(template(request, ServerVersion("3.8.3"))) == [
        ("NAME", "my machine"),
        ("CPU", "0.1"),
        ("NIC", {"NETWORK_ID": "0"}),
        ("TEMPLATE_ID", "3"),
        ("REQUIREMENTS", 'HYPERVISOR = "kvm" & FREE_CPU > 60'),
        ("DISK", {"IMAGE_ID": "0", "DEV_PREFIX": "vd"}),
        ("DISK", {"TYPE": "swap", "SIZE": "1024", "TARGET": "vdb", "READONLY": "no"}),
        ("DISK", {"TYPE": "fs", "FORMAT": "ext3", "SIZE": "3072", "TARGET": "vdc", "READONLY": "no", "SAVE": "no"}),
        ("DISK", {"SOURCE": "pdisk:pdisk.example.org:8445:5d6f7a1e", "TARGET": "vdd", "TYPE": "block"}),
        (
            "DISK",
            {
                "SOURCE": "https://marketplace.stratuslab.eu/metadata/XXX",
                "DRIVER": "raw",
                "TARGET": "vde",
                "READONLY": "no",
                "SAVE": "no",
            },
        ),
        ("GRAPHICS", {"TYPE": "vnc", "PORT": "5901", "LISTEN": "0.0.0.0", "KEYMAP": "en-us"}),
        (
            "CONTEXT",
            {
                "SSH_PUBLIC_KEY": "$USER[SSH_PUBLIC_KEY]",
                "NETWORK": "YES",
                "PUBLIC_KEY": "ssh-rsa AAAA one@example.org\nssh-rsa BBBB two@example.org",
                "COLOUR": "blue",
                "CLOUD_INIT_USER_DATA": "H4sIAAAA",
                "TARGET": "hdd",
            },
        ),
        ("LABELS", "a,b"),
        (TOKEN_ATTRIBUTE, "t-1/1"),
    ]


def test_before_4_a_bus_gives_the_templates_disks_other_targets() -> None:
    disks = (("DISK", {"IMAGE_ID": "0", "TARGET": "hda"}), ("DISK", {"IMAGE_ID": "1", "TARGET": "hdb"}))
    base = MachineTemplate(3, attributes=(*disks, ("CONTEXT", {"TARGET": "sdb"})))
    text = template(replace(PLAIN, template=base, bus="scsi"), ServerVersion("3.8.3"))
    assert [disk["TARGET"] for disk in vectors(text, "DISK")] == ["sda", "sdc", "sdd"]
    assert vectors(text, "CONTEXT")[0]["TARGET"] == "sdb"


def test_before_4_further_disks_are_on_the_bus_of_the_templates_disks() -> None:
    base = MachineTemplate(3, attributes=(("DISK", {"IMAGE_ID": "0", "TARGET": "sda"}),))
    text = template(replace(PLAIN, template=base), ServerVersion("3.8.3"))
    assert [disk["TARGET"] for disk in vectors(text, "DISK")] == ["sda", "sdb"]


@pytest.mark.parametrize("server", SERVERS)
def test_a_name_that_no_request_can_hold_is_refused_with_a_template_too(server: ServerVersion) -> None:
    with pytest.raises(UsageError, match=r"^NAME contains the control character"):
        template(replace(PLAIN, template=BASE, name="a\x07b"), server)


def test_before_4_nothing_asked_leaves_the_disks() -> None:
    request = MachineRequest(ImageDisk(), cpu=0, ram=0, swap=0, token="t", template=BASE, networks=(), public_keys="ssh-rsa A")
    text = template(request, STRATUSLAB)
    assert vectors(text, "DISK") == [{"IMAGE_ID": "0", "DEV_PREFIX": "vd"}]
    assert (attribute(text, "CPU"), attribute(text, "NAME"), attribute(text, TOKEN_ATTRIBUTE)) == ("0.1", None, "t")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("port", "listen", "is_asked_for"), [(-1, "", False), (0, "", True), (5901, "", True), (-1, "127.0.0.1", True)]
)
def test_another_console_than_the_templates_where_it_is_asked_for(
    server: ServerVersion, port: int, listen: str, is_asked_for: bool
) -> None:
    request = replace(PLAIN, template=MachineTemplate(3), vnc_port=port, vnc_listen=listen)
    assert bool(vectors(template(request, server), "GRAPHICS")) == is_asked_for


def test_further_disks_keep_those_of_the_template() -> None:
    request = replace(FULL, template=BASE)
    disks = vectors(template(request, TODAY), "DISK")
    assert disks[0] == {"IMAGE_ID": "0", "DEV_PREFIX": "vd"}
    assert [disk.get("TYPE", "image") for disk in disks] == ["image", "swap", "fs", "block", "image"]


# --- versions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version, stratuslab, kill, shutdown",
    [
        ("", True, ("finalize", "terminate-hard", "delete"), ("shutdown", "terminate")),
        ("3.8.3", True, ("finalize", "terminate-hard", "delete"), ("shutdown", "terminate")),
        ("4.0.0", False, ("delete", "terminate-hard", "finalize"), ("shutdown", "terminate")),
        ("4.4.1", False, ("delete", "terminate-hard", "finalize"), ("shutdown", "terminate")),
        ("4.14.2", False, ("delete", "terminate-hard", "finalize"), ("shutdown", "terminate")),
        ("5.0.0", False, ("terminate-hard", "delete", "finalize"), ("terminate", "shutdown")),
        ("5", False, ("terminate-hard", "delete", "finalize"), ("terminate", "shutdown")),
        ("7.4.0", False, ("terminate-hard", "delete", "finalize"), ("terminate", "shutdown")),
        ("10.2", False, ("terminate-hard", "delete", "finalize"), ("terminate", "shutdown")),
        ("OpenNebula 6.8.0 EE", False, ("terminate-hard", "delete", "finalize"), ("terminate", "shutdown")),
        ("nightly", False, ("terminate-hard", "delete", "finalize"), ("terminate", "shutdown")),
    ],
)
def test_actions_by_version(version: str, stratuslab: bool, kill: tuple[str, ...], shutdown: tuple[str, ...]) -> None:
    server = ServerVersion(version)
    assert server.is_stratuslab is stratuslab
    assert server.kill_actions == kill
    assert server.shutdown_actions == shutdown


@pytest.mark.parametrize(
    "version, pages, whole_listing, reasons, figures",
    [
        ("", False, "one.vmpool.info", True, True),
        ("4.4.1", False, "one.vmpool.info", True, True),
        ("4.6.0", True, "one.vmpool.info", True, True),
        ("5.6.2", True, "one.vmpool.info", True, True),
        ("5.8.0", True, "", False, True),
        ("5.8.1", True, "one.vmpool.infoextended", False, True),
        ("5.10.5", True, "one.vmpool.infoextended", False, True),
        ("5.12.0.4", True, "one.vmpool.infoextended", False, False),
        ("6.2.0", True, "one.vmpool.infoextended", False, False),
        ("6.4.0", True, "one.vmpool.infoextended", True, False),
        ("7.4.0", True, "one.vmpool.infoextended", True, False),
        ("nightly", True, "one.vmpool.infoextended", True, False),
    ],
)
def test_listings_by_version(version: str, pages: bool, whole_listing: str, reasons: bool, figures: bool) -> None:
    server = ServerVersion(version)
    assert (server.has_pages, server.whole_listing) == (pages, whole_listing)
    assert (server.listing_has_reasons, server.listing_has_figures) == (reasons, figures)
