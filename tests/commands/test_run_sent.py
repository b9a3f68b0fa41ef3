"""What stratus-run-instance finds on clouds of OpenNebula, what it sends them, and what it refuses to send."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from xml.etree.ElementTree import tostring

import pytest

from stratuslab.cloud.reply import documents
from stratuslab.errors import ExitStatus
from stratuslab.opennebula.instance import LABELS_ATTRIBUTE, TOKEN_ATTRIBUTE
from stratuslab.opennebula.template import Attribute, parse
from tests.cloud.answers import failure, recording_of
from tests.cloud.small_opennebula import Mishap, SmallOpenNebula, servers_answer
from tests.harness import TTYLINUX, Shell

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
def cloud() -> Iterator[Callable[..., SmallOpenNebula]]:
    """Start small clouds that end with the test."""
    running: list[SmallOpenNebula] = []

    def start(version: str = "7.4.0") -> SmallOpenNebula:
        things = {
            "image": {
                0: image(0, "ttylinux", more=f"<MARKETPLACE_IDENTIFIER>{TTYLINUX}</MARKETPLACE_IDENTIFIER>"),
                3: image(3, "data", persistent=True),
            },
            "vn": {4: NETWORK},
        }
        running.append(SmallOpenNebula(version, things=things))
        return running[-1]

    yield start
    for one in running:
        one.server.close()


def at(shell: Shell, cloud: SmallOpenNebula) -> Shell:
    shell.environ.update(STRATUSLAB_ENDPOINT=cloud.url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    return shell


def sent(cloud: SmallOpenNebula) -> list[Attribute]:
    """The template of the one machine that was started."""
    (text,) = (
        str(arguments[0] if method == "one.vm.allocate" else arguments[3])
        for method, arguments in cloud.calls
        if method in ("one.vm.allocate", "one.template.instantiate")
    )
    return list(parse(text))


def vectors(cloud: SmallOpenNebula, name: str) -> list[Mapping[str, str]]:
    return [value for key, value in sent(cloud) if key == name and not isinstance(value, str)]


def refusing(answer: bytes) -> Mishap:
    return lambda cloud, talk, method, _: servers_answer(talk, answer)


# --- images ---------------------------------------------------------------------------------------------------------------


def test_the_clouds_own_image_needs_no_marketplace(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    """StratusLab's Marketplace, which nobody named here, may be gone."""
    small = cloud()
    ran = at(shell, small)("run", "-q", TTYLINUX)
    assert (ran.status, ran.err) == (0, "")
    assert vectors(small, "DISK")[0] == {"IMAGE_ID": "0"}
    assert small.counted()["one.imagepool.info"] == 1
    assert at(shell, cloud())("run", TTYLINUX).err == (
        f"stratus-run-instance: image {TTYLINUX} is the cloud's own image alice/ttylinux (0); not looked up in the Marketplace\n"
    )


def test_a_marketplace_that_was_named_and_is_gone(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    small = cloud()
    ran = at(shell, small)("run", "--marketplace-endpoint", DEAD, TTYLINUX)
    assert ran.status == 0
    assert vectors(small, "DISK")[0] == {"IMAGE_ID": "0"}
    assert ran.err.count("\n") == 1
    assert "the cloud's own image alice/ttylinux (0)" in ran.err


def test_an_identifier_that_nobody_has(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
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
def test_what_is_not_there_is_4(
    shell: Shell, cloud: Callable[..., SmallOpenNebula], version: str, arguments: tuple[str, ...]
) -> None:
    small = cloud(version)
    ran = at(shell, small)("run", *arguments)
    assert ran.status == ExitStatus.NOT_FOUND, ran.err
    assert small.machines == {}


@pytest.mark.parametrize("version", ["3.2.1", "6.8.0"])
def test_a_network_that_the_server_does_not_find(shell: Shell, cloud: Callable[..., SmallOpenNebula], version: str) -> None:
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


def test_an_image_of_the_machine_template_that_is_gone(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    small = cloud()
    small.things["template"] = {0: machine_template(0, "t", "<DISK><IMAGE_ID>99</IMAGE_ID></DISK>")}
    gone = failure("[one.template.instantiate] DISK 0: Image with ID: 99 does not exist", 8192)
    small.mishaps["one.template.instantiate"] = [refusing(gone)]
    ran = at(shell, small)("run", "template:0")
    assert (ran.status, "disks of the machine template" in ran.err) == (ExitStatus.NOT_FOUND, True)


# --- disks ----------------------------------------------------------------------------------------------------------------

UUID = "9ab1a1c1-0000-4000-8000-123456789abc"


@pytest.mark.parametrize("name", ["3", "data", "alice/data", "one:data"])
def test_a_persistent_image_is_attached(shell: Shell, cloud: Callable[..., SmallOpenNebula], name: str) -> None:
    small = cloud()
    assert at(shell, small)("run", "-q", "--persistent-disk", name, TTYLINUX).status == 0
    assert [disk.get("IMAGE_ID") for disk in vectors(small, "DISK")] == ["0", None, "3"]
    assert small.counted()["one.imagepool.info"] == 1, "asked once"


def test_an_image_that_is_not_persistent_is_refused(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    small = cloud()
    ran = at(shell, small)("run", "--persistent-disk", "ttylinux", "one:0")
    assert ran.status == ExitStatus.USAGE
    assert "image alice/ttylinux (0) is not persistent" in ran.err
    assert small.machines == {}


@pytest.mark.parametrize("name", ["3", "data", "alice/data", "one:3"])
def test_an_image_is_attached_read_only(shell: Shell, cloud: Callable[..., SmallOpenNebula], name: str) -> None:
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
def test_volumes_of_stratuslabs_clouds(shell: Shell, cloud: Callable[..., SmallOpenNebula], endpoint: str, source: str) -> None:
    """Since 14.06 the source holds the service's URL as it is."""
    small = cloud("")
    ran = at(shell, small)("run", "--pdisk-endpoint", endpoint, "--persistent-disk", UUID, "one:0")
    assert ran.status == 0, ran.err
    assert vectors(small, "DISK")[-1]["SOURCE"] == source + UUID


def test_a_volume_where_there_are_none(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
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
    shell: Shell, cloud: Callable[..., SmallOpenNebula], version: str, what: str, arguments: tuple[str, ...], words: str
) -> None:
    small = cloud(version)
    small.things["template"] = {0: machine_template(0, "t", "")}
    ran = at(shell, small)("run", "-vvv", *arguments, what)
    assert ran.status == ExitStatus.USAGE, ran.err
    assert words in ran.err
    assert "w0rd" not in ran.err
    assert small.machines == {}


def test_a_key_with_a_variable_in_its_comment(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    key = shell.home / ".ssh" / "id_ed25519.pub"
    key.write_text(key.read_text().replace("user@", "$user@"))
    ran = at(shell, cloud())("run", "one:0")
    assert ran.status == ExitStatus.USAGE
    assert "remove it from the comment of the public key" in ran.err


def test_scripts_and_passwords_arrive_in_base64(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    small = cloud()
    context = "START_SCRIPT=echo $HOME#CRYPTED_PASSWORD=$6$salt$hash#USERDATA=${X} \U0001f600"
    assert at(shell, small)("run", "-q", "--context", context, "one:0").status == 0
    (told,) = vectors(small, "CONTEXT")
    decoded = {name: b64decode(told[name]).decode() for name in ("START_SCRIPT_BASE64", "CRYPTED_PASSWORD_BASE64", "USERDATA")}
    assert list(decoded.values()) == ["echo $HOME", "$6$salt$hash", "${X} \U0001f600"]
    assert told["USERDATA_ENCODING"] == "base64"
    assert not {"START_SCRIPT", "CRYPTED_PASSWORD"} & told.keys()


def test_a_carriage_return_arrives(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    small = cloud()
    assert at(shell, small)("run", "-q", "--context", "A=1\r\n2", "one:0").status == 0
    assert vectors(small, "CONTEXT")[0]["A"] == "1\r\n2"


def test_the_servers_words_hold_no_context(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
    small = cloud()
    small.mishaps["one.vm.allocate"] = [refusing(recording_of("7.4.0/vm.allocate-context-dollar"))]
    ran = at(shell, small)("run", "-vvv", "one:0")
    assert ran.status == ExitStatus.FAILED
    assert "w0rd" not in ran.out + ran.err
    assert "for a variable" in ran.err
    assert "--network" not in ran.err


# --- machine templates ----------------------------------------------------------------------------------------------------


def test_a_template_before_4_is_merged_and_allocated(shell: Shell, cloud: Callable[..., SmallOpenNebula]) -> None:
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


@pytest.mark.parametrize("version", ["", "7.4.0"])
def test_no_swap_disk_where_none_is_wanted(shell: Shell, cloud: Callable[..., SmallOpenNebula], version: str) -> None:
    small = cloud(version)
    assert at(shell, small)("run", "-q", "--swap", "0", "one:0").status == 0
    assert len(vectors(small, "DISK")) == 1
