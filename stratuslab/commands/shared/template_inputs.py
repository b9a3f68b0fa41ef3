"""The values of a machine template's inputs: as given by --input, else asked for at the terminal, else their defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stratuslab.cloud.machine_request import MachineTemplate
from stratuslab.cloud.user_inputs import UserInput, user_inputs
from stratuslab.commands.base import Session
from stratuslab.commands.shared.confirmation import answered
from stratuslab.environment import Environment
from stratuslab.errors import UsageError
from stratuslab.output.safe_text import one_line


def input_values(session: Session, template: MachineTemplate, said: Collection[str]) -> dict[str, str]:
    """The value of each input that has one; of those that were ``said`` by other options none.

    Raises UsageError for a value that is not of the input's type, for an input that the template does not have, and where a
    mandatory one is missing and there is no terminal to ask at.
    """
    inputs = [one for one in user_inputs(template) if one.name not in said]
    given = _given(session.options.input, [one.name for one in inputs], said, template)
    missing = [one for one in inputs if one.mandatory and one.name not in given]
    asked = missing if session.environment.interactive else []
    without = [one for one in missing if one not in asked and not one.default]
    if without:
        names = ", ".join(f"{one.name} ({one.description})" if one.description else one.name for one in without)
        raise UsageError(
            f'the template "{template.name}" requires {names}', " ".join(f"--input {one.name}=VALUE" for one in without)
        )
    values: dict[str, str] = {}
    for one in inputs:
        text = given.get(one.name, one.default)
        if one in asked:
            values[one.name] = _ask(session.environment, one)
        elif text or one.mandatory:
            values[one.name] = one.value(text)
    return values


def _given(
    pairs: list[tuple[str, str]], known: Collection[str], said: Collection[str], template: MachineTemplate
) -> Mapping[str, str]:
    given = {name.upper(): value for name, value in pairs}
    for name in given:
        if name in said:
            raise UsageError(f"{name} is given twice, by --input and by another option")
        if name not in known:
            raise UsageError(
                f'the template "{template.name}" has no input {name}', f"it has {', '.join(known)}" if known else "it has none"
            )
    return given


def _ask(environment: Environment, one: UserInput) -> str:
    """Ask until the value is of the input's type; an empty answer takes the default."""
    question = f"{one.description} ({one.name})" if one.description else one.name
    if one.choices:
        question += f", {', '.join(one.choices)}"
    elif one.type.startswith("range"):
        question += f", {one.parameters}"
    if one.default and not one.secret:
        question += f" [{one.default}]"
    while True:
        try:
            return one.value(answered(environment, f"{question}: ", secret=one.secret) or one.default)
        except UsageError as error:
            assert environment.stderr is not None
            environment.stderr.write(f"{one_line(str(error))}\n")
