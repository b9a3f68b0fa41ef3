"""Translates the engine's error messages, worded as OpenNebula 7.4 does, into those of older versions."""

from __future__ import annotations

from stratuslab.local import api_error
from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.api_error import APIError, Restricted, WrongState
from stratuslab.local.store.stored_records import User
from stratuslab.opennebula.error_codes import ErrorCode

_ALLOCATING = "Error allocating a new virtual machine."
_WORDS_OF_3: dict[type, str] = {
    api_error.BadVariable: "",
    api_error.NoSuchImage: "Could not get disk image for VM.",
    api_error.NoSuchNetwork: "Could not get virtual network for VM.",
}


def allocation(refusal: APIError, profile: ServerProfile, user: User) -> APIError:
    """The error of one.vm.allocate and one.template.instantiate."""
    if refusal.code not in (ErrorCode.INTERNAL, ErrorCode.AUTHORIZATION):
        return refusal
    number = profile.number
    if number < (4,):
        reason = _WORDS_OF_3.get(type(refusal), refusal.text)
        if isinstance(refusal, Restricted):
            reason = f"VM Template includes a restricted attribute {refusal.attribute}."
        return APIError(ErrorCode.INTERNAL, f"{_ALLOCATING} {reason}".strip())
    if isinstance(refusal, api_error.BadCapacity) and number < (7,) and not user.is_administrator:
        # These servers check an ordinary user's quotas first, which need the numbers.
        text = f"user [{user.id}] {refusal.text.rstrip('.')}"
        return APIError(ErrorCode.AUTHORIZATION, text if number < (5,) else f"User [{user.id}] : {text}.")
    if number < (5,) and isinstance(refusal, Restricted):
        return APIError(refusal.code, f"User [{user.id}] : VM Template includes a restricted attribute {refusal.attribute}.")
    if number < (5,) and refusal.code == ErrorCode.INTERNAL:
        return APIError(ErrorCode.INTERNAL, f"{_ALLOCATING} {refusal.text}")
    return refusal


def action(refusal: APIError, profile: ServerProfile, name: str, instance: int) -> APIError:
    """The error of an action of one.vm.action."""
    number = profile.number
    if isinstance(refusal, api_error.Unsupported):
        if number < (4,):
            return APIError(ErrorCode.INTERNAL, "Internal error. Action result not defined")
        what = "Virtual machine action" if number < (5,) else "Action"
        return APIError(ErrorCode.ACTION, f'{what} "{name}" is not supported')
    if refusal.code != ErrorCode.ACTION:
        return refusal
    if number < (4,):
        return APIError(ErrorCode.ACTION, "Wrong state to perform action" if isinstance(refusal, WrongState) else refusal.text)
    if number < (5,):
        name = profile.aliases.get(name, name)
        return APIError(ErrorCode.ACTION, f'Error performing action "{name}" on virtual machine [{instance}]. {refusal.text}')
    return APIError(ErrorCode.ACTION, f'Error performing action "{name}": {refusal.text}')
