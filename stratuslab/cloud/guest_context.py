"""Writes the CONTEXT of a request under the names that guest packages read; encodes or refuses what a server would change."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stratuslab.cloud.machine_request import MachineRequest
from stratuslab.errors import UsageError
from stratuslab.opennebula.template_grammar import quote

_BASE64_FORMS = {
    "START_SCRIPT": ("START_SCRIPT_BASE64", ""),
    "PASSWORD": ("PASSWORD_BASE64", ""),
    "CRYPTED_PASSWORD": ("CRYPTED_PASSWORD_BASE64", ""),
    "USER_DATA": ("USER_DATA", "USER_DATA_ENCODING"),
    "USERDATA": ("USERDATA", "USERDATA_ENCODING"),
}
"""Variables that OpenNebula's guest packages and cloud-init also accept in base64: the name to use, and the variable that marks
the encoding if the name stays the same."""

_ALTERNATIVES = (
    {"START_SCRIPT", "START_SCRIPT_BASE64"},
    {"PASSWORD", "PASSWORD_BASE64", "CRYPTED_PASSWORD", "CRYPTED_PASSWORD_BASE64"},
    {"USER_DATA", "USER_DATA_ENCODING", "USERDATA", "USERDATA_ENCODING"},
)
"""Variables for the same thing in several forms, of which a guest uses only one."""


def stratuslab_context(request: MachineRequest) -> dict[str, str]:
    """The context under the names that StratusLab's images read."""
    context = {"PUBLIC_KEY": request.public_keys, **_upper_case(request.context)}
    if request.cloud_init:
        context["CLOUD_INIT_USER_DATA"] = request.cloud_init
    for name, value in context.items():
        # OpenNebula 3 writes NAME="VALUE" into the guest's context.sh without escaping, and a shell reads it.
        special = re.search(r'(?<!\\)["`]', literal(f"CONTEXT/{name}", value))
        if special:
            raise UsageError(
                f"CONTEXT/{name} contains {special[0]}, which the shell on this cloud's machines would interpret",
                f"write \\{special[0]} instead, or encode the value",
            )
    return context


def guest_context(request: MachineRequest) -> dict[str, str]:
    """The context under the names that OpenNebula's guest packages and cloud-init read."""
    context = {"SSH_PUBLIC_KEY": request.public_keys, "NETWORK": "YES", **_encoded(_upper_case(request.context))}
    if request.cloud_init:
        context |= {"USER_DATA": request.cloud_init, "USER_DATA_ENCODING": "base64"}
    return {name: literal(f"CONTEXT/{name}", value) for name, value in context.items()}


def laid_over(base: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """A machine template's context with the given variables laid over it; other forms of the same variables are removed."""
    replaced = set().union(*(forms for forms in _ALTERNATIVES if forms & given.keys()))
    return {name: value for name, value in base.items() if name not in replaced} | dict(given)


def _encoded(context: Mapping[str, str]) -> dict[str, str]:
    """The variables, in base64 where the text would arrive altered and the guest accepts base64."""
    from base64 import b64encode

    sent: dict[str, str] = {}
    for name, value in context.items():
        encoded, flag = _BASE64_FORMS.get(name, ("", ""))
        if not encoded or {encoded, flag} & (context.keys() - {name}) or _arrives_unchanged(value):
            sent[name] = value
            continue
        sent[encoded] = b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii")
        if flag:
            sent[flag] = "base64"
    return sent


def _arrives_unchanged(value: str) -> bool:
    try:
        quote(literal("", value))
    except UsageError:
        return False
    return True


def literal(what: str, value: str) -> str:
    """A value for CONTEXT or requirements, where every version of OpenNebula replaces variables and has no escape.

    Raises UsageError for a ``$``: it would arrive altered, or cause an error message that quotes the whole context.
    """
    if "@^_^@" in value:
        raise UsageError(f'{what} contains "@^_^@", which OpenNebula uses to separate variables')
    if "$" in value:
        hint = "encode the value, for example in base64, or pass it as user data (--cloud-init)"
        if what.endswith("PUBLIC_KEY"):
            hint = "remove it from the comment of the public key"
        elif what.endswith("REQUIREMENTS"):
            hint = "write the requirements without it"
        raise UsageError(f'{what} contains "$", which OpenNebula reads as a variable and cannot escape', hint)
    return value


def _upper_case(context: Mapping[str, str]) -> dict[str, str]:
    """The variables as the server names them, in capitals; if two names differ only in case, the later one counts."""
    return {name.upper(): value for name, value in context.items()}
