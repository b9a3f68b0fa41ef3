"""Answers of XML-RPC servers, written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from tests.harness import CHECKOUT

RECORDINGS = CHECKOUT / "tests" / "wire" / "opennebula-7.4.0"


def recording(name: str) -> bytes:
    """The answer of a real OpenNebula 7.4.0."""
    return (RECORDINGS / f"{name}.response.xml").read_bytes()


def recording_of(name: str) -> bytes:
    """The answer ``VERSION/FILE`` of a real server of that version."""
    version, _, file = name.partition("/")
    return (RECORDINGS.parent / f"opennebula-{version}" / f"{file}.response.xml").read_bytes()


def array(*values: str, declaration: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> bytes:
    """An answer with these elements; each is the markup inside its ``value``."""
    inner = "".join(f"<value>{value}</value>" for value in values)
    text = f"<methodResponse><params><param><value><array><data>{inner}</data></array></value></param></params></methodResponse>"
    return (declaration + text).encode()


def success(value: object) -> bytes:
    """What OpenNebula answers when it did what was asked: an id or a document."""
    typed = f"<i4>{value}</i4>" if isinstance(value, int) else f"<string>{escape(str(value))}</string>"
    return array("<boolean>1</boolean>", typed, "<i4>0</i4>")


def failure(message: str, code: int, number: int = -1) -> bytes:
    """What OpenNebula 5.12 and later answers when it refuses."""
    return array(
        "<boolean>0</boolean>",
        f"<string>{escape(message)}</string>",
        f"<i4>{code}</i4>",
        f"<i4>{number}</i4>",
        "<i8>-1</i8>",
    )


def fault(code: int, message: str) -> bytes:
    """What an XML-RPC library answers to what is no call."""
    return (
        '<?xml version="1.0"?>\n<methodResponse><fault><value><struct>'
        f"<member><name>faultCode</name><value><int>{code}</int></value></member>"
        f"<member><name>faultString</name><value><string>{escape(message)}</string></value></member>"
        "</struct></value></fault></methodResponse>"
    ).encode()


def machine(
    number: int,
    *,
    state: int = 3,
    lcm: int = 3,
    name: str = "",
    template: str = "",
    user_template: str = "",
    uid: int = 2,
    stime: int = 1795329551,
) -> str:
    """A small VM document."""
    return (
        f"<VM><ID>{number}</ID><UID>{uid}</UID><UNAME>alice</UNAME><NAME>{escape(name or f'one-{number}')}</NAME>"
        f"<STATE>{state}</STATE><LCM_STATE>{lcm}</LCM_STATE><STIME>{stime}</STIME>"
        f"<TEMPLATE><CPU>1</CPU><MEMORY>128</MEMORY><VCPU>1</VCPU>{template}</TEMPLATE><MONITORING/>"
        f"<USER_TEMPLATE>{user_template}</USER_TEMPLATE></VM>"
    )


def pool(machines: Iterable[str]) -> bytes:
    """The answer to a listing."""
    return success(f"<VM_POOL>{''.join(machines)}</VM_POOL>")
