"""The reader of answers: what real servers say, what broken and hostile ones say, and in which pieces it may come."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from xml.etree.ElementTree import Element, ParseError, fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.cloud import pool_documents, reply
from stratuslab.cloud.bounded_parser import ELEMENT_COST, LARGEST_DOCUMENT, InvalidAnswer
from stratuslab.cloud.reply import Fault, Refused, documents, value
from stratuslab.errors import AuthenticationError, ExitStatus, NotFound, PermissionDenied, StratusLabError, Unreachable
from stratuslab.opennebula.error_codes import ErrorCode, FaultCode
from stratuslab.opennebula.instance import Instance
from tests.fakes.opennebula_answers import RECORDINGS, array, failure, fault, machine, pool, recording, recording_of, success

YES, NO = "<boolean>1</boolean>", "<boolean>0</boolean>"
RECORDED = sorted(path.name.removesuffix(".response.xml") for path in RECORDINGS.glob("[0-9]*.response.xml"))


# --- every recording of OpenNebula 7.4.0 ---------------------------------------------------------------------------------

VALUES = {
    "01-system.version": "7.4.0",
    "10-vm.allocate-hold": "0",
    "40-vm.action-poweroff": "0",
    "51-vm.action-terminate": "0",
    "72-template.instantiate": "20",
}

# The id, name, state, addresses and host of each machine.
MACHINES = {
    "02-vmpool.info-empty": [],
    "13-vm.info-PENDING": [(0, "one-sample", "Pending", "134.158.75.200", "")],
    "14-vm.info-RUNNING": [(0, "one-sample", "Running", "134.158.75.200", "node3")],
    "33-vm.info-BOOT_FAILURE": [(2, "failboot-1", "Boot_Failure", "134.158.75.202", "node2")],
    "35-vm.info-PENDING-unschedulable": [(4, "toobig", "Pending", "", "")],
    "40-vm.info-after-poweroff": [(0, "one-sample", "Poweroff", "134.158.75.200", "node3")],
    "54-vm.info-DONE": [(0, "one-sample", "Done", "134.158.75.200", "node3")],
    "60-vmpool.info-1vm": [(3, "failprolog-1", "Prolog_Failure", "134.158.75.203", "node2")],
    "60c-vmpool.infoextended-1vm": [(3, "failprolog-1", "Prolog_Failure", "134.158.75.203", "node2")],
    "64-vmpool.info-page-0-5": [
        (18, "pend-2", "Running", "10.0.0.13", "node3"),
        (17, "pend-1", "Running", "10.0.0.12", "node1"),
        (14, "failboot-9", "Boot_Failure", "10.0.0.9", "node3"),
        (13, "undep-1", "Undeployed", "10.0.0.8", "node2"),
        (12, "stop-1", "Stopped", "10.0.0.7", "node1"),
    ],
    "65-vmpool.info-page-5-5": [
        (11, "susp-1", "Suspended", "10.0.0.6", "node3"),
        (10, "poff-1", "Poweroff", "10.0.0.5", "node2"),
        (9, "hold-1", "Hold", "10.0.0.4", ""),
        (8, "run-3", "Running", "10.0.0.3", "node3"),
        (7, "run-2", "Running", "10.0.0.2", "node2"),
    ],
    "71-vm.info-BOOT": [(19, "slowboot", "Boot", "134.158.75.205", "node1")],
    "71-vm.info-RUNNING-image-context": [(19, "slowboot", "Running", "134.158.75.205", "node1")],
}

NAMES = {
    "73-templatepool.info": ("VMTEMPLATE", ["tiny"]),
    "74-imagepool.info": ("IMAGE", ["ttylinux"]),
    "75-vnpool.info": ("VNET", ["private", "public"]),
    "77b-user.info-self": ("USER", ["alice"]),
}

# The error, its exit status, its code (None where the kind of error says it), and a part of its message.
ERRORS: dict[str, tuple[type[StratusLabError], int, int | None, str]] = {
    "03-bad-password": (AuthenticationError, 3, None, "User couldn't be authenticated, aborting call."),
    "05-vm.info-unknown-id": (NotFound, 4, None, "Error getting virtual machine [99999]."),
    "06-unknown-method": (Fault, 1, FaultCode.NO_SUCH_METHOD, "Method 'one.vm.nosuch' not defined"),
    "07-wrong-arg-type": (Fault, 1, FaultCode.TYPE, "Parameter that is supposed to be integer is not"),
    "20-vm.info-permission-denied": (PermissionDenied, 3, None, "User [3] : Not authorized to perform USE VM [0]."),
    "21-vm.action-permission-denied": (PermissionDenied, 3, None, "User [3] : Not authorized to perform MANAGE VM [0]."),
    "23-vm.action-wrong-state": (Refused, 1, ErrorCode.ACTION, "This action is not available for state RUNNING"),
    "24c-vm.action-finalize": (Refused, 1, ErrorCode.ACTION, 'Action "finalize" is not supported'),
    "25-vm.action-unknown-id": (NotFound, 4, None, "Error getting virtual machine [99999]."),
    "26-vm.allocate-parse-error": (Refused, 1, ErrorCode.INTERNAL, "expecting CBRACKET or VARIABLE"),
    "27-vm.allocate-no-memory": (Refused, 1, ErrorCode.INTERNAL, "MEMORY attribute must be a positive integer value."),
    "28-vm.allocate-unknown-image": (Refused, 1, ErrorCode.INTERNAL, "does not own an image with name: nosuch"),
    "29-vm.allocate-unknown-network": (Refused, 1, ErrorCode.INTERNAL, "does not own a network with name: nosuch"),
    "29b-vm.allocate-restricted-attr": (PermissionDenied, 3, None, "VM Template includes a restricted attribute MAC."),
    "52-vm.action-terminate-while-shutdown": (Refused, 1, ErrorCode.ACTION, "wrong state SHUTDOWN"),
}


def test_no_recording_is_left_out() -> None:
    assert sorted([*VALUES, *MACHINES, *NAMES, *ERRORS]) == RECORDED


@pytest.mark.parametrize("name", VALUES)
def test_recorded_value(name: str) -> None:
    assert value([recording(name)]) == VALUES[name]


@pytest.mark.parametrize("name", MACHINES)
def test_recorded_machines(name: str) -> None:
    found = [Instance(document) for document in documents([recording(name)], "VM")]
    assert [(one.id, one.name, one.state_label, ",".join(one.addresses), one.hostname) for one in found] == MACHINES[name]
    assert all(one.owner == "alice" and one.vcpu == 1 and one.memory_kib is None for one in found)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_documents(name: str) -> None:
    tag, names = NAMES[name]
    assert [document.findtext("NAME") for document in documents([recording(name)], tag)] == names


@pytest.mark.parametrize("name", ERRORS)
def test_recorded_error(name: str) -> None:
    kind, status, code, message = ERRORS[name]
    for read in (value, lambda chunks: list(documents(chunks, "VM"))):
        with pytest.raises(StratusLabError) as raised:
            read([recording(name)])
        assert type(raised.value) is kind
        assert raised.value.status == status
        assert getattr(raised.value, "code", None) == code
        assert message in raised.value.message
        assert not raised.value.message.startswith("[")


def test_the_reasons_in_recorded_documents() -> None:
    (failed,) = documents([recording("33-vm.info-BOOT_FAILURE")], "VM")
    assert Instance(failed).failed
    assert Instance(failed).message.startswith("Sun Nov 22 06:39:10 2026: DEPLOY: Error: Failed to create domain")
    (waiting,) = documents([recording("35-vm.info-PENDING-unschedulable")], "VM")
    assert not Instance(waiting).failed
    assert Instance(waiting).message == "Sun Nov 22 06:39:25 2026: [HOST] Not enough CPU on hosts: 0,1,2"


# --- the forms of a failure, from 2.2 to 7.4 and through StratusLab's proxy ----------------------------------------------

UNKNOWN = "<string>[VirtualMachineInfo] Error getting virtual machine [7].</string>"


@pytest.mark.parametrize(
    "elements",
    [
        pytest.param([UNKNOWN], id="two elements (2.2)"),
        pytest.param([UNKNOWN, "<i4>1024</i4>"], id="three elements (3.0 to 4.14)"),
        pytest.param([UNKNOWN, "<i4>1024</i4>", "<i4>7</i4>"], id="four elements (5.4)"),
        pytest.param([UNKNOWN, "<i4>1024</i4>", "<i4>7</i4>", "<i8>-1</i8>"], id="five elements (5.12)"),
        pytest.param([UNKNOWN, "<i4>1024</i4>", "<i4>7</i4>", '<ex:i8 xmlns:ex="urn:x">-1</ex:i8>'], id="i8 of an extension"),
        pytest.param([UNKNOWN, "<i4>1024</i4>", "<i4>7</i4>", "<ex:i8>-1</ex:i8>"], id="i8 of an undeclared extension"),
        pytest.param([UNKNOWN, "<int>1024</int>", "<nil/>"], id="nil"),
        pytest.param(["[VirtualMachineInfo] Error getting virtual machine [7].", "<i4>1024</i4>"], id="untyped string"),
        pytest.param([f"\n  {UNKNOWN}\n ", "\n<i4> 1024 </i4>\n"], id="blanks"),
        pytest.param(
            ["<string><![CDATA[[VirtualMachineInfo] Error getting virtual machine [7].]]></string>", "<i4>1024</i4>"], id="CDATA"
        ),
        pytest.param([UNKNOWN, "<i4>1024</i4>", *["<i4>0</i4>"] * 20], id="elements of the future"),
    ],
)
def test_failures_of_all_versions(elements: list[str]) -> None:
    for refused in (NO, "<boolean>false</boolean>", "<i4>0</i4>", "\n <boolean>0</boolean> \n"):
        with pytest.raises(NotFound, match=r"^Error getting virtual machine \[7\]\.$"):
            value([array(refused, *elements)])


@pytest.mark.parametrize(
    "code, kind",
    [
        (256, AuthenticationError),
        (512, PermissionDenied),
        (1024, NotFound),
        (2048, Refused),
        (4096, Refused),
        (8192, Refused),
        (16384, Refused),
        (32768, Refused),
        (65536, Refused),
        (99, Refused),
        (-1, Refused),
    ],
)
def test_error_numbers(code: int, kind: type[StratusLabError]) -> None:
    with pytest.raises(StratusLabError, match=r"^no such luck$") as raised:
        value([failure("[one.vm.info] no such luck", code)])
    assert type(raised.value) is kind
    assert getattr(raised.value, "code", code) == code


def test_the_oldest_servers_send_words_only() -> None:
    with pytest.raises(AuthenticationError):
        value([array(NO, "[VirtualMachinePoolInfo] User couldn't be authenticated, aborting call.")])
    with pytest.raises(Refused, match=r"^Wrong state to perform action$") as raised:
        value([array(NO, "[VirtualMachineAction] Wrong state to perform action")])
    assert raised.value.code == 0


def test_a_failure_without_a_reason_says_so() -> None:
    for elements in ([], [""], ["", "<i4>2048</i4>"], ["[one.vm.action]   ", "no number"]):
        with pytest.raises(Refused, match="the cloud gave no reason"):
            value([array(NO, *elements)])


@pytest.mark.parametrize("code", [-501, -503, -506, 1])
def test_faults(code: int) -> None:
    with pytest.raises(Fault) as raised:
        value([fault(code, "Call is not <valid>")])
    assert raised.value.code == code
    assert raised.value.message == "Call is not <valid>"


def test_faults_that_lack_a_part() -> None:
    with pytest.raises(Fault) as raised:
        value([fault(-506, "")])
    assert (raised.value.message, raised.value.code) == ("", -506)
    with pytest.raises(Fault, match=r"^oh$") as raised:
        value([b"<methodResponse><fault><value><struct><member><name>x</name></member><member><name>faultString</name>"
               b"<value>oh</value></member></struct></value></fault></methodResponse>"])  # fmt: skip


# --- the forms of a success ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elements",
    [
        [YES, "<i4>165</i4>", "<i4>0</i4>"],
        [YES, "<int>165</int>"],
        [YES, "<ex:i8>165</ex:i8>", "<i4>0</i4>"],
        ["<boolean>true</boolean>", "165", "0"],
        ["\n<boolean>\n1 </boolean>", "\n  <i4>165</i4>  \n", "<i4>0</i4>"],
    ],
)
def test_an_id_in_all_forms(elements: list[str]) -> None:
    assert value([array(*elements)]).strip() == "165"


@pytest.mark.parametrize(
    "wrap",
    [
        "<string>{}</string>",
        "{}",
        "\n   <string>\n  {}\n  </string>\n",
        "<string>&lt;?xml version=&quot;1.0&quot; encoding=&quot;UTF-8&quot;?&gt;\n{}</string>",
        '\n<string>  \n&lt;?xml version="1.0"?&gt;{}</string>\n',
    ],
)
def test_a_document_in_all_wraps(wrap: str) -> None:
    escaped = machine(165, name="ä & ö").replace("&", "&amp;").replace("<", "&lt;")
    (found,) = documents([array(YES, wrap.format(escaped), "<i4>0</i4>")], "VM")
    assert Instance(found).id == 165
    assert Instance(found).name == "ä & ö"


def test_a_document_in_cdata() -> None:
    (found,) = documents([array(YES, f"<string><![CDATA[{machine(165)}]]></string>")], "VM")
    assert Instance(found).id == 165


def test_an_empty_listing() -> None:
    for text in ("<VM_POOL></VM_POOL>", "<VM_POOL/>", "\n<VM_POOL> \n </VM_POOL>\n"):
        assert list(documents([success(text)], "VM")) == []


def test_only_the_asked_elements_are_documents() -> None:
    nested = machine(1, template="<VM><ID>2</ID></VM>")
    found = list(documents([success(f"<VM_POOL><OTHER><VM><ID>3</ID></VM></OTHER>{nested}</VM_POOL>")], "VM"))
    assert [Instance(one).id for one in found] == [1]


@pytest.mark.parametrize("encoding", ["UTF-8", "utf-8", "ISO-8859-1", "latin1", "windows-1252", "US-ASCII"])
def test_encodings(encoding: str) -> None:
    name = "Zoë" if encoding != "US-ASCII" else "Zoe"
    text = array(YES, f"<string>{name}</string>", declaration=f'<?xml version="1.0" encoding="{encoding}"?>').decode()
    assert value([text.encode(encoding)]) == name


def test_a_byte_order_mark_and_leading_blanks() -> None:
    assert value([b"\xef\xbb\xbf" + success(5)]) == "5"
    assert value([b"\r\n  " + success(5)]) == "5"
    assert value([success(5).removeprefix(b'<?xml version="1.0" encoding="UTF-8"?>\n')]) == "5"


@pytest.mark.parametrize(
    "encoding", ["no-such", "zlib", "hex", "rot13", "utf-16", "idna", "undefined", "unicode_escape", "utf-7"]
)
def test_encodings_that_no_server_uses(encoding: str) -> None:
    with pytest.raises(InvalidAnswer, match="encoding"):
        value([array(YES, "5", declaration=f'<?xml version="1.0" encoding="{encoding}"?>')])


def test_what_guests_and_drivers_wrote_does_no_harm() -> None:
    name = "bell\x07 null\x00 escape\x1b[31m tab\t del\x7f"
    (found,) = documents([pool([machine(1, name=name)])], "VM")
    assert Instance(found).name == "bell? null? escape?[31m tab\t del\x7f"
    every = "".join(map(chr, range(33)))
    (found,) = documents([pool([machine(1, name=f"a{every}b")])], "VM")
    assert Instance(found).name == f"a{'?' * 9}\t\n{'?' * 2}\n{'?' * 18} b"  # a carriage return is a line's end in XML
    broken = pool([machine(1, name="Zoë")]).replace("ë".encode(), b"\xeb")
    (found,) = documents([broken], "VM")
    assert Instance(found).name == "Zo\ufffd"


# --- in pieces, and cut ---------------------------------------------------------------------------------------------------


def pieces(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    begin = 0
    for cut in sorted({cut % len(data) for cut in cuts}):
        yield data[begin:cut]
        begin = cut
    yield data[begin:]


UMLAUTS = pool(machine(number, name=f"mäschine-{number}-☃", user_template="<A><![CDATA[x<y]]></A>") for number in range(5))


@pytest.mark.parametrize(
    "name",
    [
        "4.14.2/vm.allocate-context-dollar",
        "6.8.0/vm.allocate-context-dollar-dollar",
        "7.4.0/vm.allocate-context-dollar",
    ],
)
def test_a_context_that_the_server_quotes_is_masked(name: str) -> None:
    with pytest.raises(Refused) as raised:
        value([recording_of(name)])
    assert "w0rd" not in raised.value.message
    assert "Error parsing: *** syntax error, unexpected EOA" in raised.value.message


@pytest.mark.parametrize("end", ["", "PW=x. syntax error, y. syntax error, unexpected EOA", "\nPW=x"])
def test_all_that_is_quoted_is_masked(end: str) -> None:
    with pytest.raises(Refused) as raised:
        value([failure(f"[one.vm.allocate] Error parsing: A=x{end}", ErrorCode.INTERNAL)])
    assert "=" not in raised.value.message


@given(st.lists(st.integers(0, 1 << 20), max_size=40), st.sampled_from([UMLAUTS, recording("64-vmpool.info-page-0-5")]))
def test_pieces_make_no_difference(cuts: list[int], answer: bytes) -> None:
    whole = [tostring(document) for document in documents([answer], "VM")]
    assert [tostring(document) for document in documents(pieces(answer, cuts), "VM")] == whole


def test_one_byte_at_a_time() -> None:
    assert len(list(documents((bytes([byte]) for byte in UMLAUTS), "VM"))) == 5
    with pytest.raises(NotFound):
        value(bytes([byte]) for byte in recording("05-vm.info-unknown-id"))


@pytest.mark.parametrize(
    "name", ["01-system.version", "02-vmpool.info-empty", "05-vm.info-unknown-id", "06-unknown-method", "60-vmpool.info-1vm"]
)
def test_cut_at_every_byte(name: str) -> None:
    answer = recording(name).rstrip()
    for length in range(len(answer)):
        for read in (value, lambda chunks: list(documents(chunks, "VM"))):
            with pytest.raises(Unreachable):
                read([answer[:length]])


def test_a_document_that_ends_before_its_string_does() -> None:
    with pytest.raises(InvalidAnswer, match="damaged"):
        list(documents([success("<VM_POOL><VM><ID>1</ID></VM>")], "VM"))
    with pytest.raises(InvalidAnswer, match="damaged"):
        list(documents([success("<VM_POOL><VM><ID>1</VM></VM_POOL>")], "VM"))


OPEN_SECTION = "<ERROR><![CDATA[red <b> & ünï ]]> end ]]></ERROR>"
CROSSED = "<A><B></A></B>"


@pytest.mark.parametrize("cuts", [[], range(1, 4000)], ids=["whole", "one byte at a time"])
@pytest.mark.parametrize(
    ("inside", "message", "damage"),
    [
        (OPEN_SECTION, "red <b> & ünï ]]> end", ""),
        ("<ERROR>a < b & c &nbsp;</ERROR>", "a < b & c &nbsp;", ""),
        ("<ERROR>a\uffffb\ufffe</ERROR>", "a\ufffdb\ufffd", ""),
        (CROSSED, "", "mismatched tag"),
        (f"{OPEN_SECTION}{CROSSED}", "", "mismatched tag"),
    ],
)
def test_a_machine_that_is_not_well_formed_hides_no_other(cuts: Iterable[int], inside: str, message: str, damage: str) -> None:
    machines = [machine(1), machine(2, user_template=inside), machine(3), machine(4, user_template=inside), machine(5)]
    answer = pool(machines)
    found = [Instance(one) for one in documents(pieces(answer, cuts) if cuts else [answer], "VM")]
    assert [one.id for one in found] == [1, 2, 3, 4, 5]
    assert [one.state_label for one in found] == ["Running", *(["-" if damage else "Running", "Running"] * 2)]
    assert [one.message for one in found] == ["", message, "", message, ""]
    assert [bool(one.damage) for one in found] == [False, bool(damage), False, bool(damage), False]
    (alone,) = documents([success(machines[1])], "VM")
    assert (Instance(alone).id, Instance(alone).message) == (2, message)


@pytest.mark.parametrize("cuts", [[], range(1, 1 << 18, 7)], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param("<A><![CDATA[a quoted </VM> and <VM> ]]></A>", id="the tags in a value"),
        pytest.param("<!-- </VM> --><A>1</A><!-- <VM> -->", id="the tags in a comment"),
        pytest.param("<VM><ID>7</ID></VM>", id="a machine in a machine"),
        pytest.param(f"<A>{'x' * (1 << 17)}</A>", id="a large machine"),
        pytest.param("<A>" * 60 + "</A>" * 60, id="a deep machine"),
        pytest.param("<a:B>1</a:B>", id="an undeclared prefix"),
        pytest.param("<?x </VM> ?>", id="the end tag in a processing instruction"),
    ],
)
def test_an_odd_machine_is_read_like_the_others(odd: str, cuts: Iterable[int]) -> None:
    machines = [machine(1), machine(2), machine(3, user_template=odd), machine(4)]
    for between in ("", "\n ", "<!-- <VM></VM> -->", "<OTHER><VM><ID>9</ID></VM></OTHER>"):
        answer = success(f'<?xml version="1.0"?>\n<VM_POOL>{between.join(machines)}</VM_POOL>')
        found = [Instance(one) for one in documents(pieces(answer, cuts) if cuts else [answer], "VM")]
        assert [(one.id, one.state_label, one.damage) for one in found] == [(number, "Running", "") for number in (1, 2, 3, 4)]


MARKUP = ("<VM>", "</VM>", "<A>", "</A>", "<![CDATA[", "]]>", "<!--", "-->", "&amp;", "<VM/>", "x", " ")


@given(st.lists(st.sampled_from(MARKUP), max_size=12))
def test_what_is_cut_at_end_tags_is_what_a_parser_finds(words: list[str]) -> None:
    text = f"<VM_POOL><VM><ID>1</ID></VM>{''.join(words)}<VM><ID>2</ID></VM></VM_POOL>"
    try:
        expected = fromstring(text).findall("VM")
    except ParseError:
        return
    for one in expected:
        one.tail = None  # what stands between machines belongs to none
    assert [*map(tostring, documents([success(text)], "VM"))] == [*map(tostring, expected)]


def test_many_that_are_not_well_formed() -> None:
    broken = "".join(f"<VM><ID>{number}</ID>{CROSSED}</VM>" for number in range(3000))
    found = [Instance(one) for one in documents([success(f"<VM_POOL>{broken}{machine(3000)}</VM_POOL>")], "VM")]
    assert [one.id for one in found] == list(range(3001))
    assert found[-1].state_label == "Running"


@pytest.mark.parametrize("inside", ["<!-- ", "<![CDATA[", "<A b='"])
def test_what_is_not_closed_swallows_no_other(inside: str) -> None:
    machines = [machine(1), machine(2, user_template=inside), machine(3)]
    found = [Instance(one) for one in documents([pool(machines)], "VM")]
    assert [one.id for one in found] == [1, 2, 3]
    assert found[2].state_label == "Running"


def test_a_recording_that_is_not_well_formed() -> None:
    answer = recording_of("3.2.1/vm.info-FAILED-boot-cdata-end-in-message-not-well-formed")
    (found,) = documents([answer], "VM")
    assert Instance(found).message == 'Error deploying virtual machine: ?[31mred? <b>&amp; ünï "quoted" ]]> end'


def test_a_machine_that_is_not_well_formed_and_does_not_end() -> None:
    for answer in (success(f"<VM_POOL><VM><ID>1</ID>{CROSSED}"), success(f"<VM_POOL>{machine(1)}<VM>{CROSSED}</VM></VM_POOL>")):
        with pytest.raises(InvalidAnswer, match="damaged"):
            list(documents([answer], "VM"))


def test_documents_are_handed_out_before_the_answer_ends() -> None:
    whole = pool(machine(number) for number in range(3))
    begin = whole[: whole.index(b"&lt;VM&gt;&lt;ID&gt;2")]  # a document counts as complete when another one has followed it

    def never_ends() -> Iterator[bytes]:
        yield begin
        raise AssertionError("read on before the first documents were handed out")

    assert Instance(next(documents(never_ends(), "VM"))).id == 0


@given(st.data())
def test_damage_is_noticed_or_harmless(data: st.DataObject) -> None:
    """Whatever a line noise does to an answer: a result, or an error that a user can read."""
    answer = bytearray(recording(data.draw(st.sampled_from(RECORDED))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(answer) - 1))
        noise = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"<", b"&", b"</value>", b"<![CDATA[", b"]]>", b"<!"]))
        )
        answer[at : at + data.draw(st.integers(0, 4))] = noise
    for read in (value, lambda chunks: [list(Instance(one).document.iter()) for one in documents(chunks, "VM")]):
        try:
            read([bytes(answer)])
        except StratusLabError as error:
            assert error.message


@given(st.binary(max_size=300))
def test_noise_alone_is_no_answer(noise: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        value([noise])


# --- what is no answer, and what is hostile ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"<html><body>Welcome</body></html>", "a web page"),
        (b"<HTML><body>Welcome", "a web page"),
        (b"<!DOCTYPE html>\n<html><body>", "a web page"),
        (b"\n\n<!doctype html><html>", "not XML|a web page"),
        (b'{"error": 1}', "not XML"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not XML"),
        (b"<methodCall><methodName>x</methodName></methodCall>", "<methodCall> document"),
        (b"<methodResponse/>", "no result"),
        (b"<methodResponse><params/></methodResponse>", "no result"),
        (b"<methodResponse><fault/></methodResponse>", "no result"),
        (array(), "no result"),
        (array(YES), "no result"),
        (success(1) + success(2), "damaged"),
        (success(1) + b"<p>", "damaged"),
    ],
)
def test_what_is_no_answer(body: bytes, message: str) -> None:
    with pytest.raises(InvalidAnswer, match=message) as raised:
        value([body])
    assert raised.value.status == ExitStatus.UNREACHABLE


def test_asking_again_does_not_make_another_server() -> None:
    other = (b"<html><body>Welcome</body></html>", b"<rss/>", b"SSH-2.0-OpenSSH_9.2\r\n")
    for body, lasting in (*((body, True) for body in other), (success(1) + b"<p>", False)):
        with pytest.raises(InvalidAnswer) as raised:
            value([body])
        assert raised.value.lasting is lasting


def test_a_value_where_a_document_is_due() -> None:
    for text in ("5", "", "hello"):
        with pytest.raises(InvalidAnswer):
            list(documents([success(text)], "VM"))


BOMB = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '&a{n - 1};&a{n - 1};'>" for n in range(1, 40)) + "]>"


@pytest.mark.parametrize(
    "declaration",
    [
        BOMB,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/"> %x;]>',
        "<!DOCTYPE methodResponse>",
    ],
)
def test_document_types_are_refused(declaration: str) -> None:
    with pytest.raises(InvalidAnswer, match="document type"):
        value([array(YES, "&a39;", declaration=f'<?xml version="1.0"?>{declaration}')])
    with pytest.raises(InvalidAnswer, match="document type"):
        list(documents([success(f'<?xml version="1.0"?>{declaration}<VM_POOL/>')], "VM"))


def test_what_is_just_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = success(7)
    monkeypatch.setattr(reply, "LARGEST_ANSWER", len(answer))
    assert value([answer[:200], answer[200:]]) == "7"
    with pytest.raises(InvalidAnswer, match="larger than"):
        value([answer, b"\n"])


@pytest.mark.parametrize("answer", [lambda text: failure(text, 2048), lambda text: fault(-501, text)])
def test_no_more_of_a_refusal_than_32768_characters(answer: Callable[[str], bytes]) -> None:
    for length in (1 << 15, (1 << 15) + 1):
        with pytest.raises(StratusLabError) as raised:
            value([answer("x" * length)])
        assert raised.value.message == "x" * (1 << 15)


def test_the_largest_message(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = array(YES, "7" * 1000)
    # Each element counts as ELEMENT_COST characters, and the text between elements counts, too.
    size = answer.count(b"</") * ELEMENT_COST + sum(map(len, fromstring(answer).itertext()))
    monkeypatch.setattr(reply, "LARGEST_DOCUMENT", size)
    assert value([answer]) == "7" * 1000
    monkeypatch.setattr(reply, "LARGEST_DOCUMENT", size - 1)
    with pytest.raises(InvalidAnswer, match="larger than"):
        value([answer])


def test_the_deepest_answer() -> None:
    # The array's values are in seven elements.
    deepest = "<struct><member>" * 13, "</member></struct>" * 13
    assert value([array(YES, "7", "".join(deepest))]) == "7"
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        value([array(YES, "7", "<i4/>".join(deepest))])


def test_undeclared_entities_are_damage() -> None:
    with pytest.raises(InvalidAnswer, match="damaged"):
        value([array(YES, "&nbsp;")])
    (found,) = documents([success("<VM><NAME>&nbsp;</NAME></VM>")], "VM")
    assert Instance(found).name == "&nbsp;"


def test_depth_bombs() -> None:
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        value([array(YES, "<array><data><value>" * 10_000)])
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        list(documents([success("<VM>" + "<A>" * 10_000)], "VM"))
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        list(documents([success("<VM_POOL>" + "<A>" * 10_000)], "VM"))


def begin_of(element: str) -> bytes:
    """An answer up to the beginning of its second element's content."""
    whole = array(YES, element + "HERE")
    return whole[: whole.index(b"HERE")]


FAILED = array(NO, "HERE")
OPEN_ATTRIBUTE = '&lt;VM a="'


@pytest.mark.parametrize(
    "begin, piece",
    [
        pytest.param(begin_of("<string>"), b"7" * 65536, id="text"),
        pytest.param(begin_of(""), b" " * 65536, id="blanks"),
        pytest.param(begin_of("<string>&lt;VM&gt;"), b"x" * 65536, id="a document of text"),
        pytest.param(begin_of("<string>&lt;VM&gt;"), b"&lt;A/&gt;" * 6000, id="a document of elements"),
        pytest.param(begin_of("<string>&lt;VM&gt;"), b'&lt;A a=""/&gt;' * 5000, id="a document of attributes"),
        pytest.param(begin_of(f"<string>{OPEN_ATTRIBUTE}"), b"x" * 65536, id="one attribute"),
        pytest.param(begin_of("<string>&lt;"), b"x" * 65536, id="one name"),
        pytest.param(begin_of("<string>&lt;!--"), b"x" * 65536, id="a comment in the document"),
        pytest.param(begin_of("<string>&lt;VM_POOL&gt;"), b"x" * 65536, id="text between documents"),
        pytest.param(begin_of("<string>&lt;VM_POOL&gt;&lt;VM&gt;&lt;/A&gt;"), b"x" * 65536, id="a damaged document"),
        pytest.param(FAILED[: FAILED.index(b"HERE")], b"x" * 65536, id="a message"),
        pytest.param(FAILED[: FAILED.index(b"HERE")], b"</value><value>" * 4000, id="elements of a failure"),
        pytest.param(begin_of("<string>7</string></value><value>"), b"</value><value>" * 4000, id="elements of a success"),
        pytest.param(b"<methodResponse ", b"x" * 65536, id="a name of an attribute"),
        pytest.param(b"<methodResponse><!--", b"x" * 65536, id="a comment"),
        pytest.param(b"<methodResponse><fault>", b"<member><name>n</name><value>v</value></member>" * 1000, id="members"),
        pytest.param(b"", b" " * 65536, id="nothing"),
    ],
)
def test_endless_answers_end_in_bounded_memory(begin: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are lowered, so that the test takes no gigabyte itself; what matters is that each kind of answer meets one."""
    for module in (reply, pool_documents):
        monkeypatch.setattr(module, "LARGEST_DOCUMENT", 1 << 20)
    monkeypatch.setattr(reply, "LARGEST_ANSWER", 1 << 24)
    for read in (value, lambda chunks: list(documents(chunks, "VM"))):
        tracemalloc.start()
        try:
            with pytest.raises(InvalidAnswer, match="larger than"):
                read(chain([begin], repeat(piece)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 12 << 20


def test_the_bound_is_for_one_document_not_for_all() -> None:
    filler = "x" * (LARGEST_DOCUMENT // 8)
    many: Iterator[Element] = documents((pool(machine(number, name=filler) for number in range(12)),), "VM")
    assert sum(1 for _ in many) == 12


def test_empty_elements_beside_a_result_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "LARGEST_DOCUMENT", 1 << 16)
    begin = b"<?xml version='1.0'?><methodResponse><params><param><value><array><data>"
    with pytest.raises(InvalidAnswer, match="larger than"):
        value([begin, b"<i/>" * 1000])


def test_a_fault_whose_member_has_no_name() -> None:
    said = (
        b"<?xml version='1.0'?><methodResponse><fault><value><struct><member><value>x</value></member></struct></value></fault>"
    )
    with pytest.raises(Fault) as raised:
        value([said, b"</methodResponse>"])
    assert (raised.value.message, raised.value.code) == ("", 0)
