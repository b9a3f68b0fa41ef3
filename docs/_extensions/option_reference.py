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

from stratuslab.commands.completion_scripts import commands
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
        self.more = self._more()
        if "group" in self.options:
            lines = [".. program:: None", "", *self._listed(parser, groups(parser)[self.options["group"]])]
        else:
            lines = [*self._command(parser, above)]
        if self.more:
            raise self.error(f"{self.arguments[0]} lists no option {', '.join(self.more)}")
        return self.parse_text_to_nodes("\n".join(lines))

    def _command(self, parser: argparse.ArgumentParser, above: argparse.ArgumentParser | None) -> Iterator[str]:
        """The synopsis of a command or an action, its own options, and the pages of the others."""
        elsewhere = {action.dest for action in above._actions} if above else set()
        pages: list[str] = []
        for page, command, title in SHARED:
            shared = keys(groups(parsers(command)[0])[title])
            dests = {dest for dest, _ in shared}
            if shared <= keys(parser._actions) and not dests <= elsewhere:
                pages.append(f":doc:`{page}`")
                elsewhere |= dests
        own = {title: [one for one in actions if one.dest not in elsewhere] for title, actions in groups(parser).items()}
        own = {title: actions for title, actions in own.items() if actions}
        yield from (f".. program:: {parser.prog}", "", "::", "", f"    {parser.format_usage().removeprefix('usage: ')}", "")
        for title, actions in own.items():
            if len(own) > 1:
                yield from (f".. rubric:: {title[0].upper()}{title[1:]}", "")
            yield from self._listed(parser, actions)
        if pages:
            *first, last = dict.fromkeys(pages)
            yield f"See also {', '.join(first)}{' and ' if first else ''}{last}."

    def _listed(self, parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> Iterator[str]:
        for action in actions:
            value = "" if action.nargs == 0 else f" {value_name(action)}"
            yield from (f".. option:: {', '.join(action.option_strings)}{value}", "")
            text = escaped(parser._get_formatter()._expand_help(action))
            yield f"   {text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
            for name in action.option_strings:
                yield from (f"   {line}" for line in self.more.pop(name, []))
            yield ""

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
