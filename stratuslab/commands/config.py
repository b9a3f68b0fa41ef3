"""stratus-config: all settings and where they came from; whether they work; shell completion."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.completion_scripts import KINDS, SHELLS, offered, script
from stratuslab.commands.session import Session
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.known_settings import KNOWN, Setting
from stratuslab.output.result_columns import SECTIONS, SETTINGS
from stratuslab.results import CloudCheck, Listing, Result, TextLine
from stratuslab.settings_warnings import ORIGINALS
from stratuslab.url_credentials import shown


class SettingRow(NamedTuple):
    """A setting: its value (secrets are masked) and origin, both empty where it is not set."""

    key: str
    value: str
    origin: str


class SectionRow(NamedTuple):
    """A section of the configuration that describes a cloud; its endpoint (empty: not set), and whether it is selected."""

    name: str
    endpoint: str
    selected: bool


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("actions").add_argument
    add("--check", action="store_true", help="check first that the cloud accepts you")
    add("--list-sections", action="store_true", help="list the clouds in the configuration instead")
    add("--completion", choices=SHELLS, help="print the completion of all commands for a shell, and exit")
    add("--values-of", choices=KINDS, metavar="KIND", help="print what completion offers: " + ", ".join(KINDS))
    further = parser.add_argument_group("more settings")
    further.add_argument("--marketplace-endpoint", metavar="URL", help="the Marketplace")


def _run(session: Session) -> Iterator[Result]:
    if session.options.completion:
        yield TextLine(script(session.options.completion).rstrip("\n"))
        return
    if session.options.values_of:
        yield from map(TextLine, offered(session, session.options.values_of))
        return
    for section, key, _ in session.settings.file.raw:
        if key in ORIGINALS:
            session.messages.note(f'{session.settings.file.path} [{section}]: "{key}" is not used any more')
    if session.options.list_sections:
        yield Listing(list(_sections(session)))
        return
    failure = None
    if session.options.check:
        try:
            yield _checked(session)
        except StratusLabError as error:
            failure = error
    yield Listing([_row(session, known.key) for known in KNOWN])
    if failure is not None:
        raise failure


def _sections(session: Session) -> Iterator[SectionRow]:
    selected = session.settings.file.selected
    endpoints = {section: value for section, key, value in session.settings.file.raw if key == "endpoint"}
    for name in session.settings.cloud_sections:
        endpoint = shown(endpoints.get(name) or endpoints.get("default", ""))
        yield SectionRow(name, endpoint, name == (selected.value if selected else "default"))


def _row(session: Session, key: str) -> SettingRow:
    found = _setting(session, key)
    return SettingRow(key, _masked(key, found.value), found.origin) if found and found.value else SettingRow(key, "", "")


def _setting(session: Session, key: str) -> Setting | None:
    """The effective setting, which may come from another place than its own key: OpenNebula's files, the endpoint's URL."""
    settings = session.settings
    match key:
        case "endpoint":
            return settings.endpoint
        case "marketplace_endpoint":
            return settings.marketplace_endpoint
        case "selected_section":
            return settings.file.selected
        case "ca_bundle" if settings.ca_bundle:
            return settings.find(key) or Setting(settings.ca_bundle, "REQUESTS_CA_BUNDLE")
        case "username" | "password":
            return settings.find(key) or _from_credentials(session, key)
        case _:
            return settings.find(key)


def _from_credentials(session: Session, key: str) -> Setting | None:
    try:
        credentials = session.settings.credentials()
    except UsageError as error:  # a file that cannot be read: --check reports it; show the other settings
        return Setting("-", str(error)) if key == "password" else None
    value = credentials.username if key == "username" else credentials.password
    return Setting(value, session.settings.get("password_file") or credentials.origin) if value else None


def _masked(key: str, value: str) -> str:
    if key == "password":
        return "***"
    return shown(value) if key.endswith("endpoint") else value


def _checked(session: Session) -> CloudCheck:
    """Ask the cloud for its version, and for one of the user's machines, which requires valid credentials."""
    cloud = session.cloud
    version = cloud.server.version
    next(iter(cloud.instances()), None)
    return CloudCheck(cloud.name, version, cloud.user)


COMMAND = Command(
    "stratus-config",
    "Show every setting and where it came from; passwords are masked.",
    _add_arguments,
    _run,
    related=("stratus-copy-config",),
    epilog="""examples:
  stratus-config --check                    do endpoint and credentials work?
  stratus-config --columns value --no-header --filter key=endpoint
                                            one value, for a script
  eval "$(stratus-config --completion bash)"
                                            completion in this shell
""",
    rows=lambda options: SECTIONS if options.list_sections else SETTINGS,
)
