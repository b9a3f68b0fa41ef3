"""Parses the text of a configuration file."""

from __future__ import annotations

import configparser
from pathlib import Path

from stratuslab.errors import ConfigurationError


def parse(path: Path, text: str) -> configparser.ConfigParser:
    """The sections of the file's text. Raises ConfigurationError, which names the wrong line."""
    parser = _parser(strict=False)
    try:
        parser.read_string(text, source=str(path))
    except configparser.MissingSectionHeaderError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}: a setting before the first [section]") from None
    except configparser.ParsingError as error:
        line, _ = error.errors[0]
        raise ConfigurationError(f"{path}, line {line}: syntax error", "expected NAME = VALUE, [section] or # comment") from None
    except configparser.Error:
        raise ConfigurationError(f'syntax error in the configuration file "{path}"') from None
    return parser


def duplicates(text: str) -> list[str]:
    """What the file has twice, in words: the first section or setting of this kind."""
    try:
        _parser(strict=True).read_string(text)
    except configparser.DuplicateOptionError as error:
        return [f'line {error.lineno}: "{error.option}" is set twice in [{error.section}], the last value is used']
    except configparser.DuplicateSectionError as error:
        return [f"line {error.lineno}: a second section [{error.section}], which is joined to the first"]
    return []


def _parser(strict: bool) -> configparser.ConfigParser:
    # [default] is an ordinary section; configparser's DEFAULT gets a name that no file contains.
    return configparser.ConfigParser(default_section="\0", strict=strict)
