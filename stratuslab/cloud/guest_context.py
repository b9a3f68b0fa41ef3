"""CONTEXT: what the guest is told, in the words that it knows, and only what arrives there as it was given."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stratuslab.cloud.machine_request import MachineRequest
from stratuslab.errors import UsageError
from stratuslab.opennebula.template import quote

_BASE64_FORMS = {
    "START_SCRIPT": ("START_SCRIPT_BASE64", ""),
    "PASSWORD": ("PASSWORD_BASE64", ""),
    "CRYPTED_PASSWORD": ("CRYPTED_PASSWORD_BASE64", ""),
    "USER_DATA": ("USER_DATA", "USER_DATA_ENCODING"),
    "USERDATA": ("USERDATA", "USERDATA_ENCODING"),
}
"""Variables that OpenNebula's guest packages and cloud-init also take in base64: under which name, and the variable that says so
where the name stays the same."""

_SAME_THING = (
    {"START_SCRIPT", "START_SCRIPT_BASE64"},
    {"PASSWORD", "PASSWORD_BASE64", "CRYPTED_PASSWORD", "CRYPTED_PASSWORD_BASE64"},
    {"USER_DATA", "USER_DATA_ENCODING", "USERDATA", "USERDATA_ENCODING"},
)
"""Variables that say the same thing in several forms, of which a guest heeds one only."""


def stratuslab_context(request: MachineRequest) -> dict[str, str]:
    """The context in the words of StratusLab's images."""
    context = {"PUBLIC_KEY": request.public_keys, **_in_capitals(request.context)}
    if request.cloud_init:
        context["CLOUD_INIT_USER_DATA"] = request.cloud_init
    for name, value in context.items():
        # OpenNebula 3 writes NAME="VALUE" into the guest's context.sh and escapes nothing, a shell reads it.
        special = re.search(r'(?<!\\)["`]', literal(f"CONTEXT/{name}", value))
        if special:
            raise UsageError(
                f"CONTEXT/{name} contains {special[0]}, which the shell of this cloud's machines would interpret",
                f"write \\{special[0]} for it, or encode the value",
            )
    return context


def guest_context(request: MachineRequest) -> dict[str, str]:
    """The context in the words of OpenNebula's guest packages and of cloud-init's data source."""
    context = {"SSH_PUBLIC_KEY": request.public_keys, "NETWORK": "YES", **_encoded(_in_capitals(request.context))}
    if request.cloud_init:
        context |= {"USER_DATA": request.cloud_init, "USER_DATA_ENCODING": "base64"}
    return {name: literal(f"CONTEXT/{name}", value) for name, value in context.items()}


def laid_over(base: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The context of a machine template with what was given laid over it, and no other form of the same left below."""
    replaced = set().union(*(forms for forms in _SAME_THING if forms & given.keys()))
    return {name: value for name, value in base.items() if name not in replaced} | dict(given)


def _encoded(context: Mapping[str, str]) -> dict[str, str]:
    """The variables, in base64 where the text would not arrive as it is and the guest takes that form, too."""
    from base64 import b64encode

    sent: dict[str, str] = {}
    for name, value in context.items():
        encoded, flag = _BASE64_FORMS.get(name, ("", ""))
        if not encoded or {encoded, flag} & (context.keys() - {name}) or _arrives(value):
            sent[name] = value
            continue
        sent[encoded] = b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii")
        if flag:
            sent[flag] = "base64"
    return sent


def _arrives(value: str) -> bool:
    try:
        quote(literal("", value))
    except UsageError:
        return False
    return True


def literal(what: str, value: str) -> str:
    """The text of CONTEXT or of requirements, where OpenNebula of every version replaces variables and has no escape.

    Raises UsageError for a ``$``: it would arrive as something else, or in an error message with the whole context around it.
    """
    if "@^_^@" in value:
        raise UsageError(f'{what} contains "@^_^@", which OpenNebula uses between variables')
    if "$" in value:
        hint = "encode the value, e.g. in base64, or put it into user data: --cloud-init"
        if what.endswith("PUBLIC_KEY"):
            hint = "remove it from the comment of the public key"
        elif what.endswith("REQUIREMENTS"):
            hint = "write the requirements without it"
        raise UsageError(f'{what} contains "$", which OpenNebula would replace as a variable and cannot escape', hint)
    return value


def _in_capitals(context: Mapping[str, str]) -> dict[str, str]:
    """The variables as the server names them: two whose names differ in case only are one, and the later one counts."""
    return {name.upper(): value for name, value in context.items()}
