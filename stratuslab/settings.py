"""The settings of a command: their values, and where they came from.

Option over environment over configuration file over default, as in the original client: key ``pdisk_endpoint``, option
``--pdisk-endpoint`` and variable ``STRATUSLAB_PDISK_ENDPOINT`` are the same setting. After StratusLab's own settings come those
of an OpenNebula user: ONE_XMLRPC, ONE_AUTH and ``~/.one/one_auth``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stratuslab.configuration_file import MAIN_SECTION, ConfigurationFile
from stratuslab.environment import Environment, is_terminal
from stratuslab.errors import ConfigurationError, UsageError
from stratuslab.known_settings import HYPERVISORS, LOCAL_MARKETPLACE, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from stratuslab.cloud.endpoint import Credentials

DEFAULT_FILE = "~/.stratuslab/stratuslab-user.cfg"
DEFAULT_MARKETPLACE = "https://marketplace.stratuslab.eu"
_DAY = 86400.0
_LONGEST_LINE = 4096  # characters of a password file's first line that are too many
_YES = ("1", "yes", "true", "on")
_NO = ("0", "no", "false", "off")

DEFAULTS: Mapping[str, str] = {
    "pem_certificate": "~/.globus/usercert.pem",
    "pem_key": "~/.globus/userkey.pem",
    "timeout": "30",
    "default_context_method": "one",
}

PREFIX = "STRATUSLAB_"
"""How the names of the client's variables in the environment begin."""

# Settings whose variable is not the prefix and the key in capitals.
_VARIABLES = {"user_public_key_file": "STRATUSLAB_KEY", "selected_section": "STRATUSLAB_USER_CONFIG_SECTION"}


class Settings:
    """Looks settings up by key."""

    def __init__(self, environment: Environment, options: Mapping[str, str | None], file: ConfigurationFile) -> None:
        self._environment = environment
        self._options = options
        self.file = file
        self._standard_input: str | None = None
        self.password_files: list[Path] = []
        """The files from which :meth:`credentials` took a password."""

    @property
    def cloud_sections(self) -> list[str]:
        """The configuration's sections that describe a cloud each; ``[default]`` if there is no other."""
        return self.file.clouds or [MAIN_SECTION]

    @property
    def variables(self) -> list[str]:
        """The names of the variables in the environment that begin with ``STRATUSLAB_``, set or empty."""
        return [name for name in self._environment.environ if name.startswith(PREFIX)]

    def find(self, key: str) -> Setting | None:
        """The setting with that key; None if it is not set and has no default. Empty text counts as not set."""
        for look_up in (self._option, self._variable, self.file.find):
            if found := _usable(key, look_up(key)):
                return found
        return Setting(DEFAULTS[key], "default") if key in DEFAULTS else None

    def _option(self, key: str) -> Setting | None:
        value = self._options.get(key)
        return Setting(value, option_of(key)) if value else None

    def _variable(self, key: str) -> Setting | None:
        name = variable_of(key)
        value = self._environment.environ.get(name)
        return Setting(value, name) if value else None

    def get(self, key: str) -> str:
        """The value of that key, empty if it is not set."""
        found = self.find(key)
        return found.value if found else ""

    @property
    def endpoint(self) -> Setting:
        """The cloud's endpoint: StratusLab's settings, then OpenNebula's, then the embedded cloud."""
        if found := self.find("endpoint"):
            return found
        from stratuslab.cloud.endpoint import LOCAL, OPENNEBULA_PORT

        if variable := self._environment.environ.get("ONE_XMLRPC"):
            return Setting(variable, "ONE_XMLRPC")
        if session := self._session_file():
            # If there is only a session file, OpenNebula's own commands use the daemon on this computer.
            return Setting(f"http://localhost:{OPENNEBULA_PORT}/RPC2", f"OpenNebula's default, because {session[0]} exists")
        return Setting(LOCAL, "default")

    @property
    def marketplace_endpoint(self) -> Setting:
        """The Marketplace: as set, else the embedded one for the embedded cloud, else StratusLab's own."""
        if found := self.find("marketplace_endpoint"):
            return found
        from stratuslab.cloud.endpoint import is_local

        return Setting(LOCAL_MARKETPLACE if is_local(self.endpoint.value) else DEFAULT_MARKETPLACE, "default")

    @property
    def timeout(self) -> float:
        """Seconds to wait for data from a server."""
        return self._seconds("timeout", 1e-3, _DAY)

    def timeout_or(self, usual: float) -> float:
        """The same if it is set, else ``usual``: for services that answer faster than a cloud."""
        found = self.find("timeout")
        return self.timeout if found and found.origin != "default" else usual

    def wait_timeout(self, usual: float) -> float:
        """Seconds to wait for instances if set, else ``usual``."""
        return self._seconds("wait_timeout", 0, 1000 * _DAY) if self.find("wait_timeout") else usual

    def _seconds(self, key: str, least: float, most: float) -> float:
        found = self.find(key)
        assert found is not None
        try:
            seconds = float(found.value)
        except ValueError:
            seconds = -1.0
        if not least <= seconds <= most:
            raise UsageError(f'invalid {key.replace("_", " ")} "{found.value}" ({found.origin}): expected seconds')
        return seconds

    def is_on(self, key: str) -> bool:
        """Whether a setting says yes; it is off where it is not set. Raises UsageError for anything but yes or no."""
        found = self.find(key)
        value = found.value.lower() if found else "no"
        if value not in (*_YES, *_NO):
            raise UsageError(f'invalid {key.replace("_", " ")} "{value}" ({found and found.origin}): expected yes or no')
        return value in _YES

    @property
    def hypervisor(self) -> str:
        """The hypervisor for machines of the embedded cloud; empty to choose automatically. Raises UsageError."""
        found = self.find("hypervisor")
        if found and found.value not in HYPERVISORS:
            known = " and ".join(HYPERVISORS)
            raise UsageError(f'unknown hypervisor "{found.value}" ({found.origin})', f"the embedded cloud has {known}")
        return found.value if found else ""

    @property
    def local_environ(self) -> Mapping[str, str]:
        """The environment for the embedded cloud's processes, with the settings that they need. Raises UsageError."""
        environ, found = self._environment.environ, self.find("download_networks")
        if found is None:
            return environ
        import ipaddress

        for name in found.value.replace(",", " ").split():
            try:
                if name != "any":
                    ipaddress.ip_network(name, strict=False)
            except ValueError:
                raise UsageError(
                    f'invalid download networks "{found.value}" ({found.origin}): "{name}" is not a network',
                    'write 10.20.0.0/16, several separated by commas, or "any"',
                ) from None
        return {**environ, variable_of("download_networks"): found.value}

    @property
    def ca_bundle(self) -> str:
        """A file of certificates to trust instead of the system's; empty for the system's."""
        named = self.get("ca_bundle") or self._environment.environ.get("REQUESTS_CA_BUNDLE", "")
        return str(self._environment.expand(named)) if named else ""

    def credentials(self) -> Credentials:
        """User and password, else the configured client certificate, else OpenNebula's session file, else the usual certificate.
        A user name in the endpoint's URL takes precedence over one that is set, but not over the option.

        The password is empty if none is set; everything is empty if there are no credentials. Raises UsageError for an unusable
        password file or session file.
        """
        from stratuslab.cloud.endpoint import Credentials, credentials_within

        within = credentials_within(self.endpoint.value)
        if within and not self._option("username"):
            name, password = within
            return Credentials(name, password or self._password(), origin=f"in the endpoint, {self.endpoint.origin}")
        if user := self.find("username"):
            return Credentials(user.value, self._password(), origin=user.origin)
        certificate = self.find("pem_certificate")
        assert certificate is not None
        path = self._environment.expand(certificate.value)
        if certificate.origin == "default":
            if session := self._session_file():
                return self._session(*session)
            if not path.is_file():
                return Credentials()
        key = str(self._environment.expand(self.get("pem_key")))
        return Credentials(certificate=str(path), key=key, origin=certificate.origin)

    def _password(self) -> str:
        # A file named by an option takes precedence over a password in the environment, and so on.
        for look_up in (self._option, self._variable, self.file.find):
            if password := _usable("password", look_up("password")):
                return password.value
            named = _usable("password_file", look_up("password_file"))
            if named and named.value == "-":
                return self._typed_in(named.origin)
            if named:
                path = self._environment.expand(named.value)
                text = self._first_line(path, named.origin)
                if not text:
                    raise UsageError(f'the file "{path}" ({named.origin}) has no password in its first line')
                return text
        return ""

    def _typed_in(self, origin: str) -> str:
        """The first line of standard input, read once; empty at a terminal, where the password is asked for without echo."""
        stdin = self._environment.stdin
        if stdin is None:
            raise UsageError(f"standard input is closed ({origin})")
        if is_terminal(stdin):
            return ""
        if self._standard_input is None:
            self._standard_input = stdin.readline().rstrip("\r\n")
        if not self._standard_input:
            raise UsageError(f"the first line of standard input has no password ({origin})")
        return self._standard_input

    def _session_file(self) -> tuple[Path, str] | None:
        if variable := self._environment.environ.get("ONE_AUTH"):
            return self._environment.expand(variable), "ONE_AUTH"
        home = self._environment.home
        usual = home / ".one" / "one_auth" if home else None
        return (usual, "OpenNebula's session file") if usual and usual.is_file() else None

    def _session(self, path: Path, origin: str) -> Credentials:
        from stratuslab.cloud.endpoint import Credentials

        user, colon, password = self._first_line(path, origin).partition(":")
        if not (user and colon):
            raise UsageError(f'the session file "{path}" ({origin}) has no user:password')
        return Credentials(user, password, origin=f"{origin}, {path}")

    def _first_line(self, path: Path, origin: str) -> str:
        from stratuslab.private_files import require_own

        require_own(path, or_root=True)
        self.password_files.append(path)
        try:
            with path.open(encoding="utf-8-sig") as file:
                line = file.readline(_LONGEST_LINE)
        except OSError as error:
            raise UsageError(f'cannot read the file "{path}" ({origin}): {error.strerror}') from None
        except UnicodeDecodeError:
            raise UsageError(f'the file "{path}" ({origin}) is not text') from None
        if len(line) == _LONGEST_LINE:
            raise UsageError(f'the first line of the file "{path}" ({origin}) is too long')
        return line.rstrip("\r\n")


def _usable(key: str, found: Setting | None) -> Setting | None:
    """None for empty text, which counts as not set. Raises ConfigurationError for what no system call takes."""
    if found and "\0" in found.value:
        raise ConfigurationError(f"{key.replace('_', ' ')} ({found.origin}) contains a NUL character")
    return found if found and found.value else None


def option_of(key: str) -> str:
    """The name of the option for a setting."""
    return f"--{_OPTION_NAMES.get(key, key).replace('_', '-')}"


def variable_of(key: str) -> str:
    """The name of the variable in the environment for a setting."""
    return _VARIABLES.get(key, f"{PREFIX}{key.upper()}")


_OPTION_NAMES = {
    "user_public_key_file": "key",
    "pem_certificate": "pem-cert",
    "instance_type": "type",
    "selected_section": "user-config-section",
}


def load(environment: Environment, options: Mapping[str, str | None]) -> Settings:
    """The settings for a command's options (by key; None or empty where not given).

    ``config`` names the file, ``user_config_section`` the section. Raises ConfigurationError, which names the wrong line.
    """
    named = options.get("config")
    file = ConfigurationFile(environment.expanded(named or DEFAULT_FILE), required=bool(named))
    settings = Settings(environment, {**options, "selected_section": options.get("user_config_section")}, file)
    if section := settings.find("selected_section"):
        file.select(section)
    return settings
