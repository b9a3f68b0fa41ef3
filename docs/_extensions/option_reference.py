"""The directive ``options``: the options of a command, generated from its parser, each with an anchor and in the index.

Its argument is a command and its action (``local-cloud volumes create``); ``:group:`` names the one group of options to list.
Its content may add to what ``--help`` says: the name of an option, and below it, indented, what else there is to say of it.
Options that several commands have are on a page of their own (``SHARED``), to which the list of each command refers.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from stratuslab.commands.completion import commands
from stratuslab.commands.man_page import value_name

SHARED = (
    ("choosing-machines", "kill-instance", "machines"),
    ("login-options", "copy-files", "login"),
    ("login-options", "copy-files", "address and port"),
    ("answers", "config", "output format"),
    ("common-options", "config", "cloud"),
    ("common-options", "config", "output"),
    ("common-options", "config", "options"),
)
"""Groups of options that several commands have: their page, a command that has them, and their title there."""


def parsers(path: str) -> list[argparse.ArgumentParser]:
    """The parser of a command, and below it those of the actions that the path names."""
    name, *actions = path.split()
    found = [command.parser() for command in commands() if command.prog == f"stratus-{name}"]
    for action in actions:
        (below,) = (each for each in found[-1]._actions if isinstance(each, argparse._SubParsersAction))
        found.append(below.choices[action])
    return found


def groups(parser: argparse.ArgumentParser) -> dict[str, list[argparse.Action]]:
    """The options in each of the parser's groups, by their titles."""
    return {
        group.title or "": [action for action in group._group_actions if action.option_strings] for group in parser._action_groups
    }


def keys(actions: list[argparse.Action]) -> set[tuple[str, str | None]]:
    """What makes options the same in two commands."""
    return {(action.dest, action.help) for action in actions}


def escaped(text: str) -> str:
    """The text as reStructuredText that means just this; options, commands and quoted words are set as code."""
    parts = re.split(r'(--[a-z][\w-]*(?:=[\w-]+)?|stratus-[a-z-]+(?: --[a-z-]+)?|(?<!\w)~?/[\w./-]+|"[^"]+")', text)
    return "".join(
        f"``{part.strip(chr(34))}``\\ " if index % 2 else re.sub(r"([^\w\s]|_)", r"\\\1", part)
        for index, part in enumerate(parts)
    )


class Options(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {"group": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        above, parser = [None, *parsers(self.arguments[0])][-2:]
        listed = groups(parser)
        more = self._more()
        pages: list[str] = []
        if "group" in self.options:
            listed = {"": listed[self.options["group"]]}
            program = "None"
        else:
            program = parser.prog
            elsewhere = {action.dest for action in above._actions} if above else set()
            mine = keys(parser._actions)
            for page, command, title in SHARED:
                shared = keys(groups(parsers(command)[0])[title])
                dests = {dest for dest, _ in shared}
                if shared <= mine and not dests <= elsewhere:
                    pages.append(page)
                    elsewhere |= dests
            listed = {title: [one for one in actions if one.dest not in elsewhere] for title, actions in listed.items()}
        text = "\n".join(self._text(parser, program, listed, more, list(dict.fromkeys(pages))))
        if more:
            raise self.error(f"{self.arguments[0]} lists no option {', '.join(more)}")
        return self.parse_text_to_nodes(text, allow_section_headings=False)

    def _text(
        self,
        parser: argparse.ArgumentParser,
        program: str,
        listed: dict[str, list[argparse.Action]],
        more: dict[str, list[str]],
        pages: list[str],
    ) -> Iterator[str]:
        yield from (f".. program:: {program}", "")
        if program != "None":
            yield from ("::", "", f"    {parser.format_usage().removeprefix('usage: ')}", "")
        headings = len([title for title, actions in listed.items() if actions]) > 1
        for title, actions in listed.items():
            if headings and actions:
                yield from (f".. rubric:: {title[0].upper()}{title[1:]}", "")
            for action in actions:
                value = "" if action.nargs == 0 else f" {value_name(action)}"
                yield from (f".. option:: {', '.join(action.option_strings)}{value}", "")
                text = escaped(parser._get_formatter()._expand_help(action))
                yield f"   {text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
                for name in action.option_strings:
                    yield from (f"   {line}" for line in more.pop(name, []))
                yield ""
        if pages:
            *first, last = (f":doc:`{page}`" for page in pages)
            yield f"See also {', '.join(first)}{' and ' if first else ''}{last}."

    def _more(self) -> dict[str, list[str]]:
        """By the name of an option, what the content adds."""
        found: dict[str, list[str]] = {}
        for line in self.content:
            if line[:1].strip():
                found[line.strip()] = lines = []
            elif not found:
                raise self.error("the content begins without the name of an option")
            else:
                lines.append(line[3:])
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("options", Options)
    return {"parallel_read_safe": True}
