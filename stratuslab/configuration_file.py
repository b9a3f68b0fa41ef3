"""The configuration file: its sections, and what they say about a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stratuslab.errors import ConfigurationError
from stratuslab.known_settings import Setting

if TYPE_CHECKING:
    from configparser import ConfigParser
    from pathlib import Path

MAIN_SECTION = "default"
_TYPES_SECTION = "instance_types"


class ConfigurationFile:
    """A configuration file: ``[default]``, one section laid over it, and ``[instance_types]``."""

    def __init__(
        self,
        path: Path | None,
        parser: ConfigParser | None,
        selected: Setting | None = None,
        duplicates: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.duplicates = duplicates
        self._parser = parser
        self.selected = selected

    @property
    def instance_types(self) -> Mapping[str, str]:
        """The user's own instance types as the file has them."""
        if self._parser is None or not self._parser.has_section(_TYPES_SECTION):
            return {}
        return {name: self._value(_TYPES_SECTION, name) for name in self._parser.options(_TYPES_SECTION)}

    @property
    def clouds(self) -> list[str]:
        """The names of the sections other than ``[default]`` and ``[instance_types]``."""
        if self._parser is None:
            return []
        return [name for name in self._parser.sections() if name not in (MAIN_SECTION, _TYPES_SECTION)]

    @property
    def raw(self) -> list[tuple[str, str, str]]:
        """Each setting in ``[default]`` and in a cloud's section: the section, the key, and the value as it is in the file."""
        if self._parser is None:
            return []
        return [
            (section, key, value)
            for section in (MAIN_SECTION, *self.clouds)
            for key, value in self._parser.items(section, raw=True)
        ]

    def find(self, key: str) -> Setting | None:
        """The key's value in the selected section, else in ``[default]``."""
        if self._parser is None:
            return None
        for section in (self.selected.value if self.selected else "", MAIN_SECTION):
            if section and self._parser.has_option(section, key):
                return Setting(self._value(section, key), f"{self.path} [{section}]")
        return None

    def _value(self, section: str, key: str) -> str:
        from configparser import InterpolationError

        assert self._parser is not None
        try:
            return self._parser.get(section, key)
        except InterpolationError:
            raise ConfigurationError(
                f'{self.path}: invalid % in the value of "{key}" in [{section}]', "write %% for a percent sign"
            ) from None


def read_text(name: str, required: bool) -> str | None:
    """The text of a file that belongs to the user or root; None if there is none. Raises ConfigurationError, also for one that is
    ``required``, and UsageError for a file that others could change."""
    try:
        # Most often there is no file, and pathlib takes long to load.
        with open(name, encoding="utf-8-sig") as file:  # noqa: PTH123
            text = file.read()
    except FileNotFoundError:
        if required:
            raise ConfigurationError(f'no configuration file "{name}"') from None
        return None
    except OSError as error:
        raise ConfigurationError(f'cannot read the configuration file "{name}": {error.strerror}') from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{name}, line {line}: not UTF-8 text") from None
    from pathlib import Path

    from stratuslab.private_files import require_own

    require_own(Path(name), or_root=True)
    return text
