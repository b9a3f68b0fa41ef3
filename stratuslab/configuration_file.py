"""The configuration file: its sections, and what they say about a cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stratuslab.errors import ConfigurationError
from stratuslab.known_settings import Setting
from stratuslab.suggestion import did_you_mean, join_hints

if TYPE_CHECKING:
    from configparser import ConfigParser, SectionProxy
    from pathlib import Path

MAIN_SECTION = "default"
_TYPES_SECTION = "instance_types"


class ConfigurationFile:
    """A configuration file: ``[default]``, the section ``selected`` laid over it, and ``[instance_types]``.

    ``path`` is None without a file; ``duplicates`` names the first section or setting that occurs twice. Raises
    ConfigurationError, which names the wrong line, and UsageError for a file that others could change.
    """

    def __init__(self, name: str, required: bool = False) -> None:
        self.path: Path | None = None
        self.duplicates: list[str] = []
        self.selected: Setting | None = None
        self._name = name
        self._sections: Mapping[str, SectionProxy] = {}
        text = _text(name, required)
        if text is None:
            return
        from pathlib import Path

        from stratuslab.private_files import require_own

        self.path = Path(name)
        require_own(self.path, or_root=True)
        parser, self.duplicates = _parsed(self.path, text)
        self._sections = {section: parser[section] for section in parser.sections()}
        if MAIN_SECTION not in self._sections:
            raise ConfigurationError(f"{self.path}: the section [{MAIN_SECTION}] is missing")

    def select(self, section: Setting) -> None:
        """Lay a section over ``[default]``. Raises ConfigurationError if the file does not have it."""
        if self.path is None:
            raise ConfigurationError(f'no section [{section.value}]: the file "{self._name}" does not exist')
        if section.value not in self._sections:
            others = join_hints(did_you_mean(section.value, self.clouds), f"available: {', '.join(self.clouds) or 'none'}")
            raise ConfigurationError(f"{self.path}: no section [{section.value}]", others)
        self.selected = section

    @property
    def instance_types(self) -> Mapping[str, str]:
        """The user's own instance types as the file has them."""
        return {name: self._value(_TYPES_SECTION, name) for name in self._sections.get(_TYPES_SECTION, ())}

    @property
    def clouds(self) -> list[str]:
        """The names of the sections other than ``[default]`` and ``[instance_types]``."""
        return [name for name in self._sections if name not in (MAIN_SECTION, _TYPES_SECTION)]

    @property
    def raw(self) -> list[tuple[str, str, str]]:
        """Each setting in ``[default]`` and in a cloud's section: the section, the key, and the value as it is in the file."""
        return [
            (section, key, self._sections[section].get(key, "", raw=True))
            for section in (MAIN_SECTION, *self.clouds)
            for key in self._sections.get(section, ())
        ]

    def find(self, key: str) -> Setting | None:
        """The key's value in the selected section, else in ``[default]``."""
        for section in (self.selected.value if self.selected else "", MAIN_SECTION):
            if key in self._sections.get(section, ()):
                return Setting(self._value(section, key), f"{self.path} [{section}]")
        return None

    def _value(self, section: str, key: str) -> str:
        from configparser import InterpolationError

        try:
            return self._sections[section][key]
        except InterpolationError:
            raise ConfigurationError(
                f'{self.path}: invalid % in the value of "{key}" in [{section}]', "write %% for a percent sign"
            ) from None


def _text(name: str, required: bool) -> str | None:
    try:
        # Most often there is no file, and pathlib takes long to load.
        with open(name, encoding="utf-8-sig") as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        if required:
            raise ConfigurationError(f'no configuration file "{name}"') from None
        return None
    except OSError as error:
        raise ConfigurationError(f'cannot read the configuration file "{name}": {error.strerror}') from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{name}, line {line}: not UTF-8 text") from None


def _parsed(path: Path, text: str, strict: bool = True) -> tuple[ConfigParser, list[str]]:
    """The sections, and what the file has twice."""
    from configparser import ConfigParser, DuplicateOptionError, DuplicateSectionError, MissingSectionHeaderError, ParsingError

    # [default] is an ordinary section; configparser's DEFAULT gets a name that no file contains.
    parser, twice = ConfigParser(default_section="\0", strict=strict), ""
    try:
        parser.read_string(text)
    except DuplicateOptionError as error:
        twice = f'line {error.lineno}: "{error.option}" is set twice in [{error.section}], the last value is used'
    except DuplicateSectionError as error:
        twice = f"line {error.lineno}: a second section [{error.section}], which is joined to the first"
    except MissingSectionHeaderError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}: a setting before the first [section]") from None
    except ParsingError as error:
        line, _ = error.errors[0]
        raise ConfigurationError(f"{path}, line {line}: syntax error", "expected NAME = VALUE, [section] or # comment") from None
    return (_parsed(path, text, strict=False)[0], [twice]) if twice else (parser, [])
