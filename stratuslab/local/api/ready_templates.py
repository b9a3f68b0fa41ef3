"""The embedded cloud's ready-made machine templates, and merging a request into one."""

from __future__ import annotations

from dataclasses import dataclass

from stratuslab.errors import UsageError
from stratuslab.local.api_error import BadTemplate, no_such
from stratuslab.local.engine.template_reader import Template
from stratuslab.opennebula.template_grammar import Attribute, parse, render


@dataclass(frozen=True)
class ReadyTemplate:
    """A machine template; ``text`` is in OpenNebula's template grammar."""

    id: int
    name: str
    text: str

    @property
    def attributes(self) -> list[Attribute]:
        return list(parse(self.text))


_DISK = 'DISK = [ IMAGE = "ttylinux", IMAGE_UNAME = "oneadmin" ]'
_NIC = 'NIC = [ NETWORK = "public", NETWORK_UNAME = "oneadmin" ]'
_CONTEXT = 'CONTEXT = [ NETWORK = "YES" ]'

ALL = (
    ReadyTemplate(0, "tiny", f"CPU = 0.1\nVCPU = 1\nMEMORY = 128\n{_DISK}\n{_NIC}\n{_CONTEXT}\n"),
    ReadyTemplate(1, "large", f"CPU = 2\nVCPU = 4\nMEMORY = 2048\n{_DISK}\n{_NIC}\n{_CONTEXT}\n"),
)


def find(number: int) -> ReadyTemplate:
    """The template of that number; raise APIError."""
    if not 0 <= number < len(ALL):
        raise no_such("virtual machine template", number)
    return ALL[number]


def instantiated(template: ReadyTemplate, name: str, over: str) -> str:
    """The text of the template with the attributes in ``over``, which replace all of the same name.

    Raises APIError if ``over`` is not a template.
    """
    laid = Template(over).attributes
    if name:
        laid = [*((key, value) for key, value in laid if key != "NAME"), ("NAME", name)]
    given = {key for key, _ in laid}
    kept = [(key, value) for key, value in template.attributes if key not in given]
    try:
        return render([*kept, *laid, ("TEMPLATE_ID", str(template.id))])
    except UsageError as error:
        raise BadTemplate(f"Parse error: {error.message}") from None
