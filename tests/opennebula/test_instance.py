"""The VM document: all versions' forms, and documents in which things are missing or make no sense."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratuslab.opennebula.document_values import Usage
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.lock import Lock
from stratuslab.opennebula.nic import Nic
from stratuslab.opennebula.states import Phase


def instance(inner: str) -> Instance:
    return Instance(fromstring(f"<VM>{inner}</VM>"))


OLD = """
<ID>165</ID><UID>3</UID><UNAME>alice</UNAME><NAME>one-165</NAME><LAST_POLL>1340000000</LAST_POLL><STATE>3</STATE>
<LCM_STATE>3</LCM_STATE><STIME>1340000000</STIME><ETIME>0</ETIME><MEMORY>131072</MEMORY><CPU>1</CPU>
<TEMPLATE><CPU><![CDATA[ 1 ]]></CPU><MEMORY><![CDATA[128]]></MEMORY><VCPU><![CDATA[ 2 ]]></VCPU>
<CONTEXT><PUBLIC_KEY><![CDATA[ssh-rsa AAAA a]]></PUBLIC_KEY><target><![CDATA[hdd]]></target></CONTEXT>
<NIC><BRIDGE>br0</BRIDGE><IP><![CDATA[
 134.158.75.201 ]]></IP><NETWORK>public</NETWORK></NIC><STRATUSLAB_REQUEST>t-1</STRATUSLAB_REQUEST></TEMPLATE>
<HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>node1</HOSTNAME></HISTORY><HISTORY><SEQ>1</SEQ><HOSTNAME>node2</HOSTNAME>
</HISTORY></HISTORY_RECORDS>
"""

NEW = """
<ID>165</ID><UNAME>alice</UNAME><NAME>one-165</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><STIME>1795329551</STIME>
<TEMPLATE><CPU>0.5</CPU><MEMORY>128</MEMORY><VCPU>2</VCPU><NIC><IP><![CDATA[134.158.75.201]]></IP></NIC></TEMPLATE>
<MONITORING><CPU><![CDATA[99.6]]></CPU><MEMORY><![CDATA[131072]]></MEMORY></MONITORING>
<USER_TEMPLATE><STRATUSLAB_REQUEST><![CDATA[t-1]]></STRATUSLAB_REQUEST></USER_TEMPLATE>
<HISTORY_RECORDS><HISTORY><HOSTNAME><![CDATA[node2]]></HOSTNAME></HISTORY></HISTORY_RECORDS>
"""


def test_3_x() -> None:
    found = instance(OLD)
    assert (found.id, found.name, found.owner, found.state_label) == (165, "one-165", "alice", "Running")
    assert (found.vcpu, found.memory_kib, found.cpu_percent) == (2, 131072, 1.0)
    assert found.addresses == ("134.158.75.201",)
    assert found.nics == (Nic(ip="134.158.75.201", network="public"),)
    assert found.hostname == "node2"
    assert found.token == "t-1"
    assert found.context == {"PUBLIC_KEY": "ssh-rsa AAAA a", "TARGET": "hdd"}
    assert found.public_keys == "ssh-rsa AAAA a"
    assert not found.failed
    assert not found.done
    assert instance("<STATE>6</STATE>").done
    assert instance("<STATE>3</STATE><LCM_STATE>36</LCM_STATE>").failed


def test_7_x() -> None:
    found = instance(NEW)
    assert (found.vcpu, found.memory_kib, found.cpu_percent) == (2, 131072, 99.6)
    assert (found.hostname, found.token) == ("node2", "t-1")
    assert instance("").damage == ""
    assert Instance(Element("VM", damage="cut off")).damage == "cut off"


@pytest.mark.parametrize(
    "inner, message",
    [
        ("<STATE>7</STATE><TEMPLATE><ERROR><MESSAGE>no image</MESSAGE><TIMESTAMP>x</TIMESTAMP></ERROR></TEMPLATE>", "no image"),
        ("<STATE>3</STATE><USER_TEMPLATE><ERROR><![CDATA[Sun: DEPLOY: no]]></ERROR></USER_TEMPLATE>", "Sun: DEPLOY: no"),
        ("<STATE>1</STATE><USER_TEMPLATE><SCHED_MESSAGE>no CPU</SCHED_MESSAGE></USER_TEMPLATE>", "no CPU"),
        # It failed to boot, and an administrator has made it anew.
        (
            "<STATE>1</STATE><USER_TEMPLATE><ERROR>DEPLOY: no</ERROR><SCHED_MESSAGE>no CPU</SCHED_MESSAGE></USER_TEMPLATE>",
            "no CPU",
        ),
        ("<STATE>1</STATE><USER_TEMPLATE><ERROR>DEPLOY: no</ERROR></USER_TEMPLATE>", ""),
        ("<STATE>3</STATE><USER_TEMPLATE><SCHED_MESSAGE>no CPU</SCHED_MESSAGE></USER_TEMPLATE>", ""),  # it found a place since
        ("<STATE>3</STATE><USER_TEMPLATE/>", ""),
        ("", ""),
    ],
)
def test_messages(inner: str, message: str) -> None:
    assert instance(inner).message == message


@pytest.mark.parametrize(
    "nics, addresses",
    [
        ("", ()),
        ("<NIC/>", ()),
        ("<NIC><IP/></NIC>", ()),
        ("<NIC><IP>10.0.0.1</IP></NIC><NIC><NETWORK>x</NETWORK></NIC><NIC><IP>10.0.0.2</IP></NIC>", ("10.0.0.1", "10.0.0.2")),
        ("<NIC><IP6_LINK>fe80::1</IP6_LINK><IP6_GLOBAL>2001:db8::1</IP6_GLOBAL></NIC>", ("2001:db8::1",)),
        ("<NIC><IP6>2001:db8::2</IP6><IP6_ULA>fd00::1</IP6_ULA></NIC>", ("2001:db8::2", "fd00::1")),
        ("<NIC><IP6>2001:db8::2</IP6><IP>10.0.0.1</IP></NIC>", ("10.0.0.1", "2001:db8::2")),
        (
            "<NIC><IP>10.0.0.1</IP><EXTERNAL_IP>192.0.2.1</EXTERNAL_IP></NIC><NIC_ALIAS><IP>10.0.0.2</IP></NIC_ALIAS>"
            "<PCI><TYPE>NIC</TYPE><IP>10.0.0.3</IP></PCI><PCI><IP>10.0.0.9</IP></PCI>",
            ("10.0.0.1", "192.0.2.1", "10.0.0.2", "10.0.0.3"),
        ),
    ],
)
def test_addresses(nics: str, addresses: tuple[str, ...]) -> None:
    assert instance(f"<TEMPLATE>{nics}</TEMPLATE>").addresses == addresses


def test_what_only_the_guest_reports_comes_last() -> None:
    reported = "10.0.0.1, 127.0.0.1,fe80::1 192.0.2.7, x, ::1,0.0.0.0," + ",".join(f"192.0.2.{n}" for n in range(100, 200))
    found = instance(
        "<TEMPLATE><NIC><IP>10.0.0.1</IP></NIC></TEMPLATE>"
        f"<MONITORING><GUEST_IP>198.51.100.4</GUEST_IP><GUEST_IP_ADDRESSES>{reported}</GUEST_IP_ADDRESSES></MONITORING>"
    )
    assert found.addresses[:4] == ("10.0.0.1", "198.51.100.4", "192.0.2.7", "192.0.2.100")
    assert len(found.guest_addresses) == 16


def test_the_deletion_of_3_x_is_called_so() -> None:
    deleted = instance("<STATE>3</STATE><LCM_STATE>15</LCM_STATE>")
    assert (deleted.state_label, deleted.phase) == ("Delete", Phase.LEAVING)
    resubmitted = instance("<STATE>3</STATE><LCM_STATE>15</LCM_STATE><USER_TEMPLATE/>")
    assert (resubmitted.state_label, resubmitted.phase) == ("Cleanup_Resubmit", Phase.COMING)


def test_a_lock() -> None:
    assert instance("<LOCK><LOCKED>2</LOCKED><OWNER>7</OWNER><TIME>99</TIME></LOCK>").lock == Lock("manage", 7, 99)
    assert instance("<LOCK><LOCKED>1</LOCKED></LOCK>").lock == Lock("use", None, None)
    assert instance("<LOCK><LOCKED>0</LOCKED></LOCK>").lock is None
    assert instance("").lock is None


def test_what_a_nic_tells_of_the_way_in() -> None:
    outside = "<EXTERNAL_IP>192.0.2.1</EXTERNAL_IP><EXTERNAL_PORT_RANGE>100:200</EXTERNAL_PORT_RANGE>"
    (found,) = instance(f"<TEMPLATE><NIC><IP>10.0.0.1</IP>{outside}<SSH>yes</SSH></NIC></TEMPLATE>").nics
    assert found == Nic(ip="10.0.0.1", external_ip="192.0.2.1", external_port_range="100:200", for_ssh=True)


@pytest.mark.parametrize(
    "text, vcpu", [("", 1), ("2", 2), (" 2 ", 2), ("2.0", 2), ("many", None), ("NaN", None), ("inf", None), ("1e999", None)]
)
def test_cpus(text: str, vcpu: int | None) -> None:
    assert instance(f"<TEMPLATE><VCPU>{text}</VCPU></TEMPLATE>").vcpu == vcpu


@pytest.mark.parametrize("text", ["", "-", "n/a", "NaN", "-inf", "9" * 400])
def test_figures_that_are_none(text: str) -> None:
    for inner in (
        f"<MEMORY>{text}</MEMORY><CPU>{text}</CPU>",
        f"<MONITORING><MEMORY>{text}</MEMORY><CPU>{text}</CPU></MONITORING>",
    ):
        found = instance(inner)
        assert (found.memory_kib, found.cpu_percent) == (None, None)
        assert (found.last_memory_kib, found.last_cpu_percent) == (0, 0.0)


FIGURES = "<MONITORING><CPU>0</CPU><MEMORY>2048</MEMORY><TIMESTAMP>1795811952</TIMESTAMP></MONITORING>"


@pytest.mark.parametrize(
    "inner, cpu_percent, memory_kib",
    [
        (f"<STATE>3</STATE><LCM_STATE>3</LCM_STATE>{FIGURES}", 0.0, 2048),
        (f"<STATE>3</STATE><LCM_STATE>24</LCM_STATE>{FIGURES}", 0.0, 2048),  # HOTPLUG_SNAPSHOT: it runs all the while
        (f"<STATE>3</STATE><LCM_STATE>16</LCM_STATE>{FIGURES}", None, None),
        (f"<STATE>3</STATE><LCM_STATE>2</LCM_STATE>{FIGURES}", None, None),
        (f"<STATE>3</STATE><LCM_STATE>39</LCM_STATE>{FIGURES}", None, None),
        (f"<STATE>1</STATE><LCM_STATE>0</LCM_STATE>{FIGURES}", None, None),  # 6.8 has what it used before it came back here
        (f"<STATE>8</STATE><LCM_STATE>0</LCM_STATE>{FIGURES}", None, None),
        (f"<STATE>6</STATE><LCM_STATE>0</LCM_STATE>{FIGURES}", None, None),
        ("<STATE>3</STATE><LCM_STATE>3</LCM_STATE><LAST_POLL>0</LAST_POLL><MEMORY>0</MEMORY><CPU>0</CPU>", None, None),
        ("<STATE>3</STATE><LCM_STATE>3</LCM_STATE><LAST_POLL>9</LAST_POLL><MEMORY>7</MEMORY><CPU>0</CPU>", 0.0, 7),
        ("<STATE>3</STATE><LCM_STATE>3</LCM_STATE><MONITORING/>", None, None),
    ],
)
def test_only_what_runs_has_figures(inner: str, cpu_percent: float | None, memory_kib: int | None) -> None:
    found = instance(inner)
    assert (found.cpu_percent, found.memory_kib) == (cpu_percent, memory_kib)


@pytest.mark.parametrize(("booted", "memory_kib"), [(1795811952, 2048), (1795811953, None)])
def test_figures_from_before_it_was_resumed_are_not_its_figures(booted: int, memory_kib: int | None) -> None:
    records = f"<HISTORY><RSTIME>1795800000</RSTIME></HISTORY><HISTORY><RSTIME>{booted}</RSTIME></HISTORY>"
    history = f"<HISTORY_RECORDS>{records}</HISTORY_RECORDS>"
    assert instance(f"<STATE>3</STATE><LCM_STATE>3</LCM_STATE>{FIGURES}{history}").memory_kib == memory_kib


def test_one_figure_without_the_other() -> None:
    found = instance("<STATE>3</STATE><LCM_STATE>3</LCM_STATE><MONITORING><MEMORY>2048</MEMORY></MONITORING>")
    assert (found.memory_kib, found.cpu_percent) == (2048, None)


def test_figures_from_elsewhere() -> None:
    stale = instance(f"<ID>7</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE>{FIGURES}")
    record = fromstring("<MONITORING><CPU>12.5</CPU><ID>7</ID><MEMORY>4096</MEMORY><TIMESTAMP>1</TIMESTAMP></MONITORING>")
    fresh, none = Instance(stale.document, Usage.of(record)), Instance(stale.document, Usage())
    assert (fresh.id, fresh.cpu_percent, fresh.memory_kib) == (7, 12.5, 4096)
    assert (none.id, none.cpu_percent, none.memory_kib) == (7, None, None)
    assert stale.memory_kib == 2048


WHOLE = """
<ID>7</ID><UID>3</UID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME>web</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE>
<STIME>1795329551</STIME><ETIME>1795329600</ETIME><LAST_POLL>1795329560</LAST_POLL>
<TEMPLATE><CPU>0.5</CPU><MEMORY>128</MEMORY><CONTEXT><SSH_PUBLIC_KEY>ssh-rsa A</SSH_PUBLIC_KEY><EMPTY/></CONTEXT>
<NIC><NETWORK>public</NETWORK></NIC><NIC/><NIC_ALIAS><NETWORK>other</NETWORK></NIC_ALIAS></TEMPLATE>
<USER_TEMPLATE><LABELS>web, ,test </LABELS><ERROR>Sun: no</ERROR><ERROR_MONITOR>Mon: gone</ERROR_MONITOR>
<STRATUSLAB_SIMULATED>no KVM</STRATUSLAB_SIMULATED></USER_TEMPLATE>
<HISTORY_RECORDS><HISTORY><VM_MAD>xen</VM_MAD></HISTORY><HISTORY><VM_MAD>kvm</VM_MAD></HISTORY></HISTORY_RECORDS>
"""


def test_each_part_of_a_document() -> None:
    found = instance(WHOLE)
    assert (found.owner_id, found.owner, found.group) == (3, "alice", "users")
    assert (found.cpu_share, found.memory_requested) == ("0.5", "128")
    assert (found.started, found.ended, found.last_poll) == (1795329551, 1795329600, 1795329560)
    assert (found.networks, found.labels) == (("public",), ("web", "test"))
    assert (found.public_keys, found.context["EMPTY"]) == ("ssh-rsa A", "")
    assert (found.hypervisor, len(found.history), found.is_of_3_x) == ("kvm", 2, False)
    assert (found.message, found.dated_message, found.monitoring_error) == ("Sun: no", "Sun: no", "Mon: gone")
    assert found.simulated_because == "no KVM"
    assert instance(WHOLE.replace("1795329600", "0").replace("1795329560", "-1")).ended is None


def test_parts_of_a_document_of_3_x() -> None:
    found = instance(
        "<LAST_POLL>-1</LAST_POLL><TEMPLATE><LABELS>web</LABELS>"
        "<ERROR><MESSAGE>first</MESSAGE><TIMESTAMP>Sun</TIMESTAMP></ERROR>"
        "<ERROR><MESSAGE> no image </MESSAGE><TIMESTAMP>Mon</TIMESTAMP></ERROR></TEMPLATE>"
        "<HISTORY_RECORDS><HISTORY><VMMMAD>vmm_xen</VMMMAD></HISTORY><HISTORY><VMMMAD>vmm_kvm</VMMMAD></HISTORY></HISTORY_RECORDS>"
    )
    assert (found.hypervisor, found.labels, found.last_poll) == ("kvm", ("web",), 0)
    assert (found.message, found.dated_message) == ("no image", "Mon: no image")
    undated = instance("<TEMPLATE><ERROR><MESSAGE>no image</MESSAGE></ERROR></TEMPLATE>")
    assert (undated.message, undated.dated_message) == ("no image", "no image")
    # An administrator wrote a newer message, as in later versions.
    other = instance(
        "<TEMPLATE><ERROR><MESSAGE>old</MESSAGE><TIMESTAMP>Sun</TIMESTAMP></ERROR></TEMPLATE>"
        "<USER_TEMPLATE><ERROR>Mon: new</ERROR></USER_TEMPLATE>"
    )
    assert other.dated_message == "Mon: new"


def test_an_empty_document() -> None:
    found = Instance(Element("VM"))
    assert (found.id, found.name, found.owner, found.state, found.lcm_state) == (-1, "", "", None, None)
    assert (found.state_label, found.vcpu, found.memory_kib, found.cpu_percent) == ("-", 1, None, None)
    assert (found.addresses, found.hostname, found.context, found.message, found.token) == ((), "", {}, "", "")
    assert (found.failed, found.done, found.public_keys) == (False, False, "")
    assert (found.hypervisor, found.history, found.disks, found.guest_addresses) == ("", (), (), ())
    assert (found.started, found.ended, found.last_poll, found.lock) == (None, None, 0, None)


TAGS = """
ID NAME UNAME STATE LCM_STATE CPU MEMORY VCPU MONITORING TEMPLATE USER_TEMPLATE NIC IP IP6 ERROR MESSAGE SCHED_MESSAGE CONTEXT
PUBLIC_KEY HISTORY_RECORDS HISTORY HOSTNAME SSH
"""


@st.composite
def elements(draw: st.DrawFn, depth: int = 2) -> Element:
    element = Element(draw(st.sampled_from(TAGS.split())))
    element.text = draw(st.none() | st.sampled_from(["", "7", "-1", "1e9", "x", " 3 "]))
    if depth:
        element.extend(draw(st.lists(elements(depth=depth - 1), max_size=3)))
    return element


@settings(max_examples=60)
@given(st.lists(elements(), max_size=5))
def test_any_document_can_be_shown(inner: list[Element]) -> None:
    document = Element("VM")
    document.extend(inner)
    found = Instance(document)
    for name in [name for name in dir(Instance) if not name.startswith("_") and name != "document"]:
        getattr(found, name)
