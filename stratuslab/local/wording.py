"""What the families of servers say when they refuse: the engine's refusals, which have 7.4's words, in those of another."""

from __future__ import annotations

from stratuslab.local.flavours import Flavour
from stratuslab.local.record import User
from stratuslab.local.refusal import (
    BadCapacity,
    BadVariable,
    NoSuchImage,
    NoSuchNetwork,
    Refusal,
    Restricted,
    Unsupported,
    WrongState,
)
from stratuslab.opennebula.numbers import ErrorCode

_ALLOCATING = "Error allocating a new virtual machine."


def allocation(refusal: Refusal, flavour: Flavour, user: User) -> Refusal:
    """The refusal of one.vm.allocate and one.template.instantiate."""
    if refusal.code not in (ErrorCode.INTERNAL, ErrorCode.AUTHORIZATION):
        return refusal
    number = flavour.number
    if number < (4,):
        return Refusal(ErrorCode.INTERNAL, f"{_ALLOCATING} {_of_3(refusal)}".strip())
    if isinstance(refusal, BadCapacity) and number < (7,) and not user.is_administrator:
        # An ordinary user's quotas are looked at first, and they need the numbers.
        text = f"user [{user.id}] {refusal.text.rstrip('.')}"
        return Refusal(ErrorCode.AUTHORIZATION, text if number < (5,) else f"User [{user.id}] : {text}.")
    if number < (5,) and refusal.code == ErrorCode.INTERNAL:
        return Refusal(ErrorCode.INTERNAL, f"{_ALLOCATING} {refusal.text}")
    return refusal


def _of_3(refusal: Refusal) -> str:
    if isinstance(refusal, BadVariable):
        return ""
    if isinstance(refusal, NoSuchImage):
        return "Could not get disk image for VM."
    if isinstance(refusal, NoSuchNetwork):
        return "Could not get virtual network for VM."
    if isinstance(refusal, Restricted):
        return f"VM Template includes a restricted attribute {refusal.attribute}."
    return refusal.text


def action(refusal: Refusal, flavour: Flavour, name: str, instance: int) -> Refusal:
    """The refusal of the named action of one.vm.action."""
    number = flavour.number
    if isinstance(refusal, Unsupported):
        if number < (4,):
            return Refusal(ErrorCode.INTERNAL, "Internal error. Action result not defined")
        what = "Virtual machine action" if number < (5,) else "Action"
        return Refusal(ErrorCode.ACTION, f'{what} "{name}" is not supported')
    if refusal.code != ErrorCode.ACTION:
        return refusal
    if number < (4,):
        return Refusal(ErrorCode.ACTION, "Wrong state to perform action" if isinstance(refusal, WrongState) else refusal.text)
    if number < (5,):
        name = flavour.aliases.get(name, name)
        return Refusal(ErrorCode.ACTION, f'Error performing action "{name}" on virtual machine [{instance}]. {refusal.text}')
    return Refusal(ErrorCode.ACTION, f'Error performing action "{name}": {refusal.text}')
