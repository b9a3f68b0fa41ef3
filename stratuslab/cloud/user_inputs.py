"""USER_INPUTS: values that a machine template asks for when it is instantiated (OpenNebula 4.0 and later)."""

from __future__ import annotations

import re
from typing import NamedTuple

from stratuslab.cloud.machine_request import MachineTemplate
from stratuslab.errors import UsageError

_NUMBERS = {"number": r"-?\d+", "range": r"-?\d+", "number-float": r"-?\d+(\.\d+)?", "range-float": r"-?\d+(\.\d+)?"}


class UserInput(NamedTuple):
    """One input, written ``M|TYPE|DESCRIPTION|PARAMETERS|DEFAULT`` in the template; O instead of M makes it optional.

    ``parameters`` are ``MIN..MAX`` of a range and ``A,B,C`` of a list. Unknown types accept any text.
    """

    name: str
    mandatory: bool
    type: str
    description: str = ""
    parameters: str = ""
    default: str = ""

    @classmethod
    def read(cls, name: str, text: str) -> UserInput:
        """The input that this text in a template describes."""
        need, kind, *rest = (part.strip() for part in f"{text}|".split("|"))
        return cls(name, need != "O", kind, *[*rest, "", "", ""][:3])

    @property
    def secret(self) -> bool:
        return self.type == "password"

    @property
    def choices(self) -> list[str]:
        """The choices of a list; empty for other types."""
        return self.parameters.split(",") if self.type.startswith("list") else []

    def value(self, text: str) -> str:
        """The text in the form that is sent. Raises UsageError if it does not fit the type, without quoting a secret."""
        if self.type == "boolean" and text.upper() in ("YES", "NO"):
            return text.upper()
        reason = self._objection(text)
        if reason:
            shown = "" if self.secret else f' "{text}"'
            raise UsageError(f"invalid value{shown} for the input {self.name}: {reason}")
        if self.type == "text64":
            from base64 import b64encode

            return b64encode(text.encode()).decode("ascii")
        return text

    def _objection(self, text: str) -> str:
        if not text:
            return "it must not be empty"
        if self.type == "fixed" and text != self.default:
            return f'it is always "{self.default}"'
        if self.type == "boolean":
            return "expected YES or NO"
        if self.type in _NUMBERS and not re.fullmatch(_NUMBERS[self.type], text, re.ASCII):
            return "expected a number" if self.type.endswith("float") else "expected a whole number"
        bounds = re.fullmatch(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)", self.parameters, re.ASCII)
        if self.type.startswith("range") and bounds and not float(bounds[1]) <= float(text) <= float(bounds[2]):
            return f"expected {bounds[1]} to {bounds[2]}"
        several = text.split(",") if self.type == "list-multiple" else [text]
        if self.choices and not set(several) <= set(self.choices):
            return f"expected one of {', '.join(self.choices)}"
        return ""


def user_inputs(template: MachineTemplate) -> list[UserInput]:
    """The template's inputs in its order (INPUTS_ORDER); the default of an input without one is the template's value."""
    inputs = [UserInput.read(name, text) for vector in template.vectors("USER_INPUTS") for name, text in vector.items()]
    order = template.text("INPUTS_ORDER").split(",")
    inputs.sort(key=lambda one: order.index(one.name) if one.name in order else len(order))
    return [one if one.default else one._replace(default=template.text(one.name)) for one in inputs]
