"""What stratus-run-instance finds on clouds of OpenNebula, what it sends them, and what it refuses to send."""

from __future__ import annotations

import sys
from base64 import b64decode
from collections.abc import Mapping
from xml.etree.ElementTree import tostring

import pytest

from stratuslab.cloud.reply import documents
from stratuslab.errors import ExitStatus
from stratuslab.opennebula.instance import LABELS_ATTRIBUTE, TOKEN_ATTRIBUTE
from stratuslab.opennebula.template_grammar import Attribute, parse
from tests.commands.test_search_image import small_entry
from tests.fakes.mishaps import Mishap, whole
from tests.fakes.opennebula_answers import failure, recording_of
from tests.fakes.scripted_opennebula import Clouds, ScriptedOpenNebula
from tests.fakes.scripted_server import ScriptedServer, document
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Ran, Shell

DEAD = "http://127.0.0.1:1"  # nothing listens there


def image(number: int, name: str, *, persistent: bool = False, more: str = "") -> str:
    return (
        f"<IMAGE><ID>{number}</ID><UNAME>alice</UNAME><NAME>{name}</NAME><PERSISTENT>{persistent:d}</PERSISTENT>"
        f"<TEMPLATE>{more}</TEMPLATE></IMAGE>"
    )


def machine_template(number: int, name: str, inside: str) -> str:
    return f"<VMTEMPLATE><ID>{number}</ID><UNAME>oneadmin</UNAME><NAME>{name}</NAME><TEMPLATE>{inside}</TEMPLATE></VMTEMPLATE>"


NETWORK = "<VNET><ID>4</ID><UNAME>oneadmin</UNAME><NAME>public</NAME></VNET>"


@pytest.fixture
def cloud(opennebula: Clouds) -> Clouds:
    """Start clouds that have two images and a network."""

    def start(version: str = "7.4.0") -> ScriptedOpenNebula:
        things = {
            "image": {
                0: image(0, "ttylinux", more=f"<MARKETPLACE_IDENTIFIER>{TTYLINUX}</MARKETPLACE_IDENTIFIER>"),
                3: image(3, "data", persistent=True),
            },
            "vn": {4: NETWORK},
        }
        return opennebula(version, things=things)

    return start


def at(shell: Shell, cloud: ScriptedOpenNebula) -> Shell:
    shell.environ.update(STRATUSLAB_ENDPOINT=cloud.url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    return shell


def sent(cloud: ScriptedOpenNebula) -> list[Attribute]:
    """The template of the one machine that was started."""
    (text,) = (
        str(arguments[0] if method == "one.vm.allocate" else arguments[3])
        for method, arguments in cloud.calls
        if method in ("one.vm.allocate", "one.template.instantiate")
    )
    return list(parse(text))


def vectors(cloud: ScriptedOpenNebula, name: str) -> list[Mapping[str, str]]:
    return [value for key, value in sent(cloud) if key == name and not isinstance(value, str)]


def refusing(answer: bytes) -> Mishap:
    return lambda conversation, method, _: conversation.send(whole(answer))


# --- images ---------------------------------------------------------------------------------------------------------------


def test_the_clouds_own_image_needs_no_marketplace(shell: Shell, cloud: Clouds) -> None:
    """StratusLab's Marketplace, which nobody named here, may be gone."""
    small = cloud()
    ran = at(shell, small)("run", "-q", TTYLINUX)
    assert (ran.status, ran.err) == (0, "")
    assert vectors(small, "DISK")[0] == {"IMAGE_ID": "0"}
    assert small.counted()["one.imagepool.info"] == 1
    assert at(shell, cloud())("run", TTYLINUX).err == (
        f"stratus-run-instance: image {TTYLINUX} is the cloud's own image alice/ttylinux (0); not looked up in the Marketplace\n"
    )


def test_a_marketplace_that_was_named_and_is_gone(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    ran = at(shell, small)("run", "--marketplace-endpoint", DEAD, TTYLINUX)
    assert ran.status == 0
    assert vectors(small, "DISK")[0] == {"IMAGE_ID": "0"}
    assert ran.err.count("\n") == 1
    assert "the cloud's own image alice/ttylinux (0)" in ran.err


@pytest.mark.parametrize("version", ["7.4.0", ""])
def test_a_title_and_a_marketplace_that_is_gone(shell: Shell, cloud: Clouds, version: str) -> None:
    """The catalogue on this computer says which image it is, and a line says from when that is."""
    body = small_entry(0, b"<dcterms:title>penguin</dcterms:title>").replace(f"A{0:026}".encode(), TTYLINUX.encode())
    server = ScriptedServer(document(b"<metadata>" + body + b"</metadata>"))
    at(shell, cloud(version)).environ["STRATUSLAB_MARKETPLACE_ENDPOINT"] = server.url
    assert shell("search_image", "--format", "ids").out == f"{TTYLINUX}\n"
    server.close()
    ran = at(shell, (small := cloud(version)))("run", "penguin")
    assert ran.status == 0, ran.err
    first, *more = ran.err.splitlines()
    assert "; using its catalogue as of 20" in first
    # StratusLab's clouds fetch images from the Marketplace themselves.
    assert ["the cloud's own image alice/ttylinux (0)" in line for line in more] == ([True] if version else [])
    source = f"{shell.environ['STRATUSLAB_MARKETPLACE_ENDPOINT']}/metadata/{TTYLINUX}"
    assert vectors(small, "DISK")[0].items() >= ({"IMAGE_ID": "0"} if version else {"SOURCE": source}).items()
    assert shell("run", "tux").status == ExitStatus.NOT_FOUND
    shell.environ["STRATUSLAB_NO_CACHE"] = "yes"
    assert shell("run", "penguin").status == ExitStatus.UNREACHABLE


def test_an_identifier_that_nobody_has(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    ran = at(shell, small)("run", "--marketplace-endpoint", DEAD, "A" * 27)
    assert ran.status == ExitStatus.NOT_FOUND
    assert f'this cloud has no image with the identifier "{"A" * 27}"' in ran.err
    assert small.machines == {}
    old = at(shell, cloud(""))("run", "--marketplace-endpoint", DEAD, "A" * 27)
    assert old.status == ExitStatus.UNREACHABLE, "StratusLab's clouds fetch images from there themselves"


@pytest.mark.parametrize("version", ["", "4.14.2", "7.4.0"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("one:99",),
        ("one:9999999999",),
        ("template:99",),
        ("one:nosuch",),
        ("template:nosuch",),
        ("--network", "77", "one:0"),
        ("--network", "nosuch", "one:0"),
        ("--readonly-disk", "one:99", "one:0"),
        ("--persistent-disk", "99", "one:0"),
    ],
)
def test_what_is_not_there_is_4(shell: Shell, cloud: Clouds, version: str, arguments: tuple[str, ...]) -> None:
    small = cloud(version)
    ran = at(shell, small)("run", *arguments)
    assert ran.status == ExitStatus.NOT_FOUND, ran.err
    assert small.machines == {}


@pytest.mark.parametrize("version", ["3.2.1", "6.8.0"])
def test_a_network_that_the_server_does_not_find(shell: Shell, cloud: Clouds, version: str) -> None:
    """3.2.1 says the same where all addresses are taken: the list of networks tells which it is."""
    answer = refusing(recording_of(f"{version}/vm.allocate-unknown-network-name"))
    small = cloud("" if version == "3.2.1" else version)
    small.mishaps["one.vm.allocate"] = [answer]
    ran = at(shell, small)("run", "--local-ip", "one:0")
    assert ran.status == ExitStatus.NOT_FOUND
    assert 'this cloud has no network "oneadmin/local"' in ran.err
    if version == "3.2.1":
        small.mishaps["one.vm.allocate"] = [answer]
        assert at(shell, small)("run", "one:0").status == ExitStatus.FAILED


def test_an_image_of_the_machine_template_that_is_gone(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    small.things["template"] = {0: machine_template(0, "t", "<DISK><IMAGE_ID>99</IMAGE_ID></DISK>")}
    gone = failure("[one.template.instantiate] DISK 0: Image with ID: 99 does not exist", 8192)
    small.mishaps["one.template.instantiate"] = [refusing(gone)]
    ran = at(shell, small)("run", "template:0")
    assert (ran.status, "disks of the machine template" in ran.err) == (ExitStatus.NOT_FOUND, True)


# --- disks ----------------------------------------------------------------------------------------------------------------

UUID = "9ab1a1c1-0000-4000-8000-123456789abc"


@pytest.mark.parametrize("name", ["3", "data", "alice/data", "one:data"])
def test_a_persistent_image_is_attached(shell: Shell, cloud: Clouds, name: str) -> None:
    small = cloud()
    assert at(shell, small)("run", "-q", "--persistent-disk", name, TTYLINUX).status == 0
    assert [disk.get("IMAGE_ID") for disk in vectors(small, "DISK")] == ["0", None, "3"]
    assert small.counted()["one.imagepool.info"] == 1, "asked once"


def test_an_image_that_is_not_persistent_is_refused(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    ran = at(shell, small)("run", "--persistent-disk", "ttylinux", "one:0")
    assert ran.status == ExitStatus.USAGE
    assert "image alice/ttylinux (0) is not persistent" in ran.err
    assert small.machines == {}


@pytest.mark.parametrize("name", ["3", "data", "alice/data", "one:3"])
def test_an_image_is_attached_read_only(shell: Shell, cloud: Clouds, name: str) -> None:
    small = cloud()
    assert at(shell, small)("run", "-q", "--readonly-disk", name, "one:0").status == 0
    assert vectors(small, "DISK")[-1] == {"IMAGE_ID": "3", "READONLY": "YES"}


@pytest.mark.parametrize(
    "endpoint, source",
    [
        ("pdisk.example.org", "pdisk:pdisk.example.org:8445:"),
        ("https://pdisk.example.org:8445", "pdisk:pdisk.example.org:8445:"),
        ("https://joe:pw@pdisk.example.org/pdisk/", "pdisk:https://pdisk.example.org/pdisk/"),
        ("http://pdisk.example.org:8080/pdisk", "pdisk:http://pdisk.example.org:8080/pdisk/"),
    ],
)
def test_volumes_of_stratuslabs_clouds(shell: Shell, cloud: Clouds, endpoint: str, source: str) -> None:
    """Since 14.06 the source holds the service's URL as it is."""
    small = cloud("")
    ran = at(shell, small)("run", "--pdisk-endpoint", endpoint, "--persistent-disk", UUID, "one:0")
    assert ran.status == 0, ran.err
    assert vectors(small, "DISK")[-1]["SOURCE"] == source + UUID


def test_a_persistent_image_that_is_called_by_a_uuid(shell: Shell, cloud: Clouds) -> None:
    small = cloud("6.8.0")
    small.things["image"][5] = image(5, UUID, persistent=True)
    assert at(shell, small)("run", "-q", "--persistent-disk", UUID, "one:0").status == 0
    assert [disk.get("IMAGE_ID") for disk in vectors(small, "DISK")] == ["0", None, "5"]


def test_a_volume_where_there_are_none(shell: Shell, cloud: Clouds) -> None:
    small = cloud("6.8.0")
    small.mishaps["one.vm.allocate"] = [refusing(recording_of("6.8.0/vm.allocate-source-block-disk"))]
    ran = at(shell, small)("run", "--persistent-disk", UUID, "one:0")
    assert ran.status == ExitStatus.FAILED
    assert "--persistent-disk, --readonly-disk: NAME" in ran.err


# --- texts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["", "4.14.2", "7.4.0"])
@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--context", "DB_PW=pa$w0rd"), 'CONTEXT/DB_PW contains "$"'),
        (("--context", "DB_PW=pa\U0001f600w0rd"), "CONTEXT/DB_PW contains U+1F600"),
        (("--vm-name", "\U0001f600"), "NAME contains U+1F600"),
        (("--label", "\U0001f600"), "LABELS contains U+1F600"),
        (("--vm-requirements", 'NAME = "$NAME"'), 'REQUIREMENTS contains "$"'),
        (("-u", "\U0001f600"), "user name or password contains U+1F600"),
    ],
)
@pytest.mark.parametrize("what", ["one:0", "template:0"])
def test_what_would_not_arrive_is_refused_before_it_is_sent(
    shell: Shell, cloud: Clouds, version: str, what: str, arguments: tuple[str, ...], words: str
) -> None:
    small = cloud(version)
    small.things["template"] = {0: machine_template(0, "t", "")}
    ran = at(shell, small)("run", "-vvv", *arguments, what)
    assert ran.status == ExitStatus.USAGE, ran.err
    assert words in ran.err
    assert "w0rd" not in ran.err
    assert small.machines == {}


def test_a_key_with_a_variable_in_its_comment(shell: Shell, cloud: Clouds) -> None:
    key = shell.home / ".ssh" / "id_ed25519.pub"
    key.write_text(key.read_text().replace("user@", "$user@"))
    ran = at(shell, cloud())("run", "one:0")
    assert ran.status == ExitStatus.USAGE
    assert "remove it from the comment of the public key" in ran.err


def test_scripts_and_passwords_arrive_in_base64(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    context = "START_SCRIPT=echo $HOME#CRYPTED_PASSWORD=$6$salt$hash#USERDATA=${X} \U0001f600"
    assert at(shell, small)("run", "-q", "--context", context, "one:0").status == 0
    (told,) = vectors(small, "CONTEXT")
    decoded = {name: b64decode(told[name]).decode() for name in ("START_SCRIPT_BASE64", "CRYPTED_PASSWORD_BASE64", "USERDATA")}
    assert list(decoded.values()) == ["echo $HOME", "$6$salt$hash", "${X} \U0001f600"]
    assert told["USERDATA_ENCODING"] == "base64"
    assert not {"START_SCRIPT", "CRYPTED_PASSWORD"} & told.keys()


def test_a_carriage_return_arrives_unchanged(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    assert at(shell, small)("run", "-q", "--context", "A=1\r\n2", "one:0").status == 0
    assert vectors(small, "CONTEXT")[0]["A"] == "1\r\n2"


def test_the_servers_words_hold_no_context(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    small.mishaps["one.vm.allocate"] = [refusing(recording_of("7.4.0/vm.allocate-context-dollar"))]
    ran = at(shell, small)("run", "-vvv", "one:0")
    assert ran.status == ExitStatus.FAILED
    assert "w0rd" not in ran.out + ran.err
    assert "as a variable" in ran.err
    assert "--network" not in ran.err


# --- machine templates ----------------------------------------------------------------------------------------------------


def test_a_template_before_4_is_merged_and_allocated(shell: Shell, cloud: Clouds) -> None:
    """3.2.1's instantiate takes a name, and silently nothing else."""
    small = cloud("")
    (document,) = documents([recording_of("3.2.1/template.info-tt")], "VMTEMPLATE")
    small.things["template"] = {0: tostring(document, "unicode")}
    ran = at(shell, small)("run", "--swap", "64", "--label", "a", "--vm-name", "mine", "template:tt")
    assert ran.status == 0, ran.err
    assert small.counted()["one.template.instantiate"] == 0
    attributes = dict(sent(small))
    assert (attributes["NAME"], attributes["MEMORY"], attributes[LABELS_ATTRIBUTE]) == ("mine", "64", "a")
    assert str(attributes[TOKEN_ATTRIBUTE]).endswith("/1")
    assert [disk.get("TYPE", "image") for disk in vectors(small, "DISK")] == ["image", "swap"]
    (context,) = vectors(small, "CONTEXT")
    assert (context["FOO"], context["PUBLIC_KEY"][:12]) == ("bar", "ssh-ed25519 ")


def test_the_bus_of_a_template_before_4(shell: Shell, cloud: Clouds) -> None:
    """3.2.1 takes a disk's bus from its target."""
    small = cloud("")
    (document,) = documents([recording_of("3.2.1/template.info-tt")], "VMTEMPLATE")
    small.things["template"] = {0: tostring(document, "unicode")}
    ran = at(shell, small)("run", "--volatile-disk", "1", "--vm-disks-bus", "virtio", "template:tt")
    assert ran.status == 0, ran.err
    assert [disk["TARGET"] for disk in vectors(small, "DISK")] == ["vda", "vdc"]  # vdb is for swap space


@pytest.mark.parametrize("version", ["", "7.4.0"])
def test_no_swap_disk_where_none_is_wanted(shell: Shell, cloud: Clouds, version: str) -> None:
    small = cloud(version)
    assert at(shell, small)("run", "-q", "--swap", "0", "one:0").status == 0
    assert len(vectors(small, "DISK")) == 1


# --- inputs of a machine template -----------------------------------------------------------------------------------------

INPUTS = {
    "ROOTPW": "M|password|Root password",
    "SIZE": "O|number|Size||5",
    "NOTE": "O|text|Note| |",
    "FLAVOUR": "M|list|Flavour|plain,sweet|plain",
}


def asking(small: ScriptedOpenNebula, inputs: Mapping[str, str], more: str = "") -> None:
    """The cloud gets a template that asks for these inputs."""
    asked = "".join(f"<{name}>{text}</{name}>" for name, text in inputs.items())
    context = "<CONTEXT><NETWORK>YES</NETWORK><ROOTPW>$ROOTPW</ROOTPW></CONTEXT>"
    small.things["template"] = {0: machine_template(0, "t", f"{context}<USER_INPUTS>{asked}</USER_INPUTS>{more}")}


def test_the_inputs_of_a_recorded_template(shell: Shell, cloud: Clouds) -> None:
    small = cloud("5.12.0.4")
    (document,) = documents([recording_of("5.12.0.4/template.info-user-inputs")], "VMTEMPLATE")
    small.things["template"] = {1: tostring(document, "unicode")}
    ran = at(shell, small)("run", "template:inputs")
    assert ran == Ran(
        2, "", 'stratus-run-instance: the template "inputs" requires ROOTPW (Root password) (--input-file ROOTPW=FILE)\n'
    )
    assert small.machines == {}
    kept = shell.home / "rootpw"
    kept.write_text('pa$w"rd\n')
    ran = at(shell, small)("run", "-vvv", "--input-file", f"ROOTPW={kept}", "template:inputs")
    assert ran.status == 0, ran.err
    attributes = dict(sent(small))
    assert (attributes["ROOTPW"], attributes["SIZE"]) == ('pa$w"rd', "5"), "a plain attribute holds a $ well"
    assert vectors(small, "CONTEXT")[0]["ROOTPW"] == "$ROOTPW", "which the server replaces by that, as it is"
    assert "pa$w" not in ran.out + ran.err


@pytest.mark.parametrize("version", ["", "4.14.2", "7.4.0"])
def test_given_inputs_and_defaults(shell: Shell, cloud: Clouds, version: str) -> None:
    small = cloud(version)
    asking(small, INPUTS)
    assert at(shell, small)("run", "-q", "--input", "rootpw=x", "--input", "SIZE=", "template:t").status == 0
    attributes = dict(sent(small))
    assert {name: attributes.get(name) for name in INPUTS} == {"ROOTPW": "x", "SIZE": None, "NOTE": None, "FLAVOUR": "plain"}


@pytest.mark.parametrize(
    "text, value, sent_as",
    [
        ("M|text|x", "a b", "a b"),
        ("M|text|x", "", None),
        ("M|text64|x", "a b", "YSBi"),
        ("M|number|x", "-5", "-5"),
        ("M|number|x", "5.5", None),
        ("M|number|x", "five", None),
        ("M|number-float|x", "5.5", "5.5"),
        ("M|number-float|x", "nan", None),
        ("M|range|x|1..10|", "10", "10"),
        ("M|range|x|1..10|", "11", None),
        ("M|range|x|1..ten|", "11", "11"),
        ("M|range-float|x|-1.5..2.5|", "-1.5", "-1.5"),
        ("M|range-float|x|-1.5..2.5|", "2.6", None),
        ("M|list|x|a,b|", "b", "b"),
        ("M|list|x|a,b|", "c", None),
        ("M|list-multiple|x|a,b,c|", "a,c", "a,c"),
        ("M|list-multiple|x|a,b,c|", "a,d", None),
        ("M|boolean|x", "yes", "YES"),
        ("M|boolean|x", "1", None),
        ("M|fixed|x||same", "same", "same"),
        ("M|fixed|x||same", "other", None),
        ("M|password|x", "", None),
        ("O|number|x", "five", None),
        ("M|something-new|x|a|b", "five", "five"),
        ("M", "five", "five"),
    ],
)
def test_values_are_checked_by_type(shell: Shell, cloud: Clouds, text: str, value: str, sent_as: str | None) -> None:
    small = cloud()
    asking(small, {"X": text})
    ran = at(shell, small)("run", "-q", "--input", f"X={value}", "template:t")
    assert ran.status == (ExitStatus.USAGE if sent_as is None else 0), ran.err
    if sent_as is None:
        assert "for the input X: " in ran.err
        assert small.machines == {}
    else:
        assert dict(sent(small))["X"] == sent_as


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--input", "ROOTPW=x", "--input", "COLOUR=blue", "template:t"), 'the template "t" has no input COLOUR (available: '),
        (("--input", "hunter2", "template:t"), "expected NAME=VALUE"),
        (("--input", "ROOTPW=x", "--input", "rootpw=y", "template:t"), "more than once"),
        (("--input", "ROOTPW=x", "--input-file", "ROOTPW=-", "template:t"), "more than once"),
        (("--input-file", "ROOTPW=-", "--password-file", "-", "template:t"), "standard input can be only one"),
        (("--input-file", "ROOTPW=/nonexistent", "template:t"), "/nonexistent"),
        (("--input", "A=1", "one:0"), "--input requires a machine template"),
        (("--input", "ROOTPW=x", "--input", "MEMORY=64", "--ram", "64", "template:t"), "MEMORY is given both"),
        (("--input", "ROOTPW=hunter2\U0001f600", "template:t"), "ROOTPW contains U+1F600"),
    ],
)
def test_inputs_that_cannot_be(shell: Shell, cloud: Clouds, arguments: tuple[str, ...], words: str) -> None:
    small = cloud()
    asking(small, {**INPUTS, "MEMORY": "M|range||64..128|64"})
    ran = at(shell, small)("run", *arguments)
    assert (ran.status, small.machines) == (ExitStatus.USAGE, {})
    assert words in ran.err
    assert "hunter2" not in ran.err


def test_the_size_may_be_an_input(shell: Shell, cloud: Clouds) -> None:
    for arguments, memory in ((), "64"), (("--ram", "100"), "100"), (("--input", "MEMORY=128"), "128"):
        small = cloud()
        asking(small, {"MEMORY": "M|range||64..128|64"}, "<INPUTS_ORDER>MEMORY</INPUTS_ORDER>")
        assert at(shell, small)("run", "-q", *arguments, "template:t").status == 0
        assert [value for name, value in sent(small) if name == "MEMORY"] == [memory]


def test_mandatory_inputs_are_asked_for_at_a_terminal(shell: Shell, cloud: Clouds) -> None:
    small = cloud()
    asking(small, {"FLAVOUR": "M|list|Flavour|plain,sweet|plain", "COUNT": "M|range|How many|1..3|", "SIZE": "O|number|Size||5"})
    shell.terminal = True
    ran = at(shell, small)("run", "-q", "template:t", stdin="\n9\n2\n")
    assert ran.status == 0
    assert ran.err == (
        "Flavour (FLAVOUR), plain, sweet [plain]: How many (COUNT), 1..3: "
        'invalid value "9" for the input COUNT: expected 1 to 3\nHow many (COUNT), 1..3: '
    )
    attributes = dict(sent(small))
    assert (attributes["FLAVOUR"], attributes["COUNT"], attributes["SIZE"]) == ("plain", "2", "5")
    ran = at(shell, small)("run", "-q", "template:t", stdin="")
    assert (ran.status, ran.err.splitlines()[-1]) == (1, "stratus-run-instance: cancelled")
    assert len(small.machines) == 1


def test_a_password_is_asked_for_without_echo(shell: Shell, cloud: Clouds) -> None:
    pexpect = pytest.importorskip("pexpect")
    small = cloud()
    asking(small, INPUTS)
    environ = {**at(shell, small).environment(), "PYTHONPATH": str(CHECKOUT)}
    script = str(CHECKOUT / "bin" / "stratus-run-instance")
    child = pexpect.spawn(
        sys.executable, [script, "--input", "FLAVOUR=sweet", "template:t"], env=environ, encoding="utf-8", timeout=20
    )
    child.expect_exact("Root password (ROOTPW): ")
    child.waitnoecho()
    child.send("hush\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    assert "hush" not in child.before
    assert dict(sent(small))["ROOTPW"] == "hush"


@pytest.mark.parametrize(
    ("option", "value", "sent"),
    [
        ("--ram", "1G", 'MEMORY = "1024"'),
        ("--ram", "1536", 'MEMORY = "1536"'),
        ("--swap", "1.5g", 'SIZE = "1536"'),
        ("--volatile-disk", "500M", 'SIZE = "500"'),
        ("--volatile-disk", "2", 'SIZE = "2048"'),
    ],
)
def test_sizes_take_units(alice: Shell, option: str, value: str, sent: str) -> None:
    assert sent in alice("run", "--dry-run", option, value, TTYLINUX).out


@pytest.mark.parametrize("value", ["0.5K", "-1", "1X", "9999999T", "", "1.00001G"])
def test_a_size_that_is_none_is_refused_with_units_and_limits(alice: Shell, value: str) -> None:
    ran = alice("run", "--dry-run", f"--ram={value}", TTYLINUX)
    assert (ran.status, ran.out) == (ExitStatus.USAGE, "")
    assert "expected MB, or a unit as in 512M or 2G; from 1M to 2047T" in ran.err


def test_filters_take_units(alice: Shell, stage: Stage) -> None:
    assert alice("run", TTYLINUX).status == 0
    stage.runs(1)
    stage.polled(1, 5.0, 200 * 1024)
    assert alice("describe", "--filter", "memory>100M", "--format", "ids").out == "1\n"
    assert alice("describe", "--filter", "memory_kib>1G", "--format", "ids").out == ""
    assert alice("describe", "--filter", "id>1G").status == ExitStatus.USAGE
