"""One run of a command: what it was given, and the cloud and the Marketplace that it talks to."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from stratuslab.errors import ExitStatus, UsageError
from stratuslab.known_settings import KNOWN

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

    from stratuslab.cloud.client import Cloud
    from stratuslab.environment import Environment
    from stratuslab.marketplace.marketplace_client import Marketplace
    from stratuslab.output.messages import Messages
    from stratuslab.settings import Settings

_OF_ONE_CLOUD = {
    f"STRATUSLAB_{key}" for key in ("ENDPOINT", "USERNAME", "PASSWORD", "PASSWORD_FILE", "PEM_CERTIFICATE", "PEM_KEY")
}


class Session:
    """One run of a command: its options, its environment, and the cloud, which is opened when first used.

    ``status`` is what the command returns when it raises nothing; ``waits`` says that it waits for instances.
    """

    def __init__(self, options: argparse.Namespace, environment: Environment, messages: Messages, waits: bool = False) -> None:
        from stratuslab.output.output_options import OutputOptions

        self.options = options
        self.environment = environment
        self.messages = messages
        self.status: int = ExitStatus.DONE
        self.output = OutputOptions()
        self.waits = waits

    @cached_property
    def settings(self) -> Settings:
        """The settings from the options, the environment and the configuration file."""
        from stratuslab.settings import load, option_of
        from stratuslab.settings_warnings import doubtful, not_meant

        given = vars(self.options)
        self._check_standard_input(given)
        for key in (*(known.key for known in KNOWN), "config", "user_config_section"):
            if given.get(key) == "":
                # As from a script's variable that is not set: another cloud, say, would be used instead.
                raise UsageError(f"the value of {option_of(key)} is empty")
        if self.waits and given.get("timeout") and not given.get("wait_timeout"):
            # Before there was --wait-timeout, --timeout said how long to wait.
            given = {**given, "timeout": None, "wait_timeout": given["timeout"]}
        settings = load(self.environment, given)
        for text in not_meant(settings):
            self.messages.warning(text)
        for text in doubtful(settings):
            self.messages.note(text)
        return settings

    @staticmethod
    def _check_standard_input(given: Mapping[str, Any]) -> None:
        files = [given.get("password_file"), *given.get("context_file", ()), *(file for _, file in given.get("input_file", ()))]
        # Elsewhere --input are pairs of a name and a value.
        if [*files, *given.get("input", ())].count("-") > 1:
            raise UsageError("standard input can be only one of the files")

    @cached_property
    def cloud(self) -> Cloud:
        from stratuslab.connections import open_cloud

        return open_cloud(self.settings, self.environment, self.messages)

    def cloud_of(self, section: str) -> Cloud:
        """The cloud that a section of the configuration describes, without asking for a password."""
        from stratuslab.connections import open_cloud
        from stratuslab.settings import load

        given = {**vars(self.options), "user_config_section": section}
        # The variables describe a single cloud: applied to all sections they would send all credentials to the same server.
        environ = {name: value for name, value in self.environment.environ.items() if name not in _OF_ONE_CLOUD}
        environment = self.environment._replace(stdin=None, environ=environ)
        return open_cloud(load(environment, given), environment, self.messages)

    @cached_property
    def marketplace(self) -> Marketplace:
        from stratuslab.connections import open_marketplace

        return open_marketplace(self.settings, self.environment, self.messages)
