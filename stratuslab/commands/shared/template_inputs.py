"""The values of a machine template's inputs: from --input and --input-file, else asked for at the terminal, else the defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stratuslab.cloud.machine_request import MachineTemplate
from stratuslab.cloud.user_inputs import UserInput, user_inputs
from stratuslab.commands.session import Session
from stratuslab.commands.shared.terminal_questions import answered
from stratuslab.context_input import user_text
from stratuslab.environment import Environment
from stratuslab.errors import UsageError
from stratuslab.output.safe_text import one_line


def input_values(session: Session, template: MachineTemplate, other_options: Collection[str]) -> dict[str, str]:
    """The values of the inputs, without those that ``other_options`` set.

    Raises UsageError for a value that does not fit the input's type, for an unknown input, and for a mandatory input that is
    missing when there is no terminal to ask for it.
    """
    inputs = [one for one in user_inputs(template) if one.name not in other_options]
    given = _given(session, [one.name for one in inputs], other_options, template)
    missing = [one for one in inputs if one.mandatory and one.name not in given]
    prompted = missing if session.environment.interactive else []
    without = [one for one in missing if one not in prompted and not one.default]
    if without:
        names = ", ".join(f"{one.name} ({one.description})" if one.description else one.name for one in without)
        how = (f"--input-file {one.name}=FILE" if one.secret else f"--input {one.name}=VALUE" for one in without)
        raise UsageError(f'the template "{template.name}" requires {names}', " ".join(how))
    values: dict[str, str] = {}
    for one in inputs:
        text = given.get(one.name, one.default)
        if one in prompted:
            values[one.name] = _ask(session.environment, one)
        elif text or one.mandatory:
            values[one.name] = one.value(text)
    return values


def _given(
    session: Session, known: Collection[str], other_options: Collection[str], template: MachineTemplate
) -> Mapping[str, str]:
    """The values of --input and those in the files of --input-file, without the last line break."""
    files = session.options.input_file
    texts = ((name, user_text(session.environment, path, "--input-file").removesuffix("\n")) for name, path in files)
    pairs = [*session.options.input, *((name, text.removesuffix("\r")) for name, text in texts)]
    given = {name.upper(): value for name, value in pairs}
    if len(given) < len(pairs):
        raise UsageError("an input is given more than once")
    for name in given:
        if name in other_options:
            raise UsageError(f"{name} is given both by --input and by another option")
        if name not in known:
            raise UsageError(f'the template "{template.name}" has no input {name}', f"available: {', '.join(known) or 'none'}")
    return given


def _ask(environment: Environment, one: UserInput) -> str:
    """Ask until the value fits the input's type; an empty answer means the default."""
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
