"""The settings: which source wins, where each value came from, and what files may hold."""

from __future__ import annotations

import io
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.cloud.endpoint import Credentials
from stratuslab.environment import Environment
from stratuslab.errors import ConfigurationError, ExitStatus, StratusLabError, UsageError
from stratuslab.known_settings import Setting
from stratuslab.settings import DEFAULTS, Settings, load

Load = Callable[..., Settings]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def configured(home: Path) -> Load:
    """Settings of a user with this configuration file, environment and options."""

    def settings(text: str | bytes | None = None, environ: dict[str, str] | None = None, **options: str | None) -> Settings:
        if text is not None:
            path = home / ".stratuslab" / "stratuslab-user.cfg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(Environment(None, None, None, {"HOME": str(home), **(environ or {})}), options)

    return settings


def usual(home: Path) -> str:
    return str(home / ".stratuslab" / "stratuslab-user.cfg")


# --- which source wins ----------------------------------------------------------------------------------------------------

# Every key with its option and its variable, as the manual has them.
KEYS = [
    ("endpoint", "--endpoint", "STRATUSLAB_ENDPOINT"),
    ("username", "--username", "STRATUSLAB_USERNAME"),
    ("password", "--password", "STRATUSLAB_PASSWORD"),
    ("password_file", "--password-file", "STRATUSLAB_PASSWORD_FILE"),
    ("pem_certificate", "--pem-cert", "STRATUSLAB_PEM_CERTIFICATE"),
    ("pem_key", "--pem-key", "STRATUSLAB_PEM_KEY"),
    ("ca_bundle", "--ca-bundle", "STRATUSLAB_CA_BUNDLE"),
    ("timeout", "--timeout", "STRATUSLAB_TIMEOUT"),
    ("marketplace_endpoint", "--marketplace-endpoint", "STRATUSLAB_MARKETPLACE_ENDPOINT"),
    ("pdisk_endpoint", "--pdisk-endpoint", "STRATUSLAB_PDISK_ENDPOINT"),
    ("user_public_key_file", "--key", "STRATUSLAB_KEY"),
    ("instance_type", "--type", "STRATUSLAB_INSTANCE_TYPE"),
    ("default_instance_type", "--default-instance-type", "STRATUSLAB_DEFAULT_INSTANCE_TYPE"),
    ("default_context_method", "--default-context-method", "STRATUSLAB_DEFAULT_CONTEXT_METHOD"),
]


@pytest.mark.parametrize("key, option, variable", KEYS)
def test_option_over_environment_over_section_over_default_section_over_default(
    configured: Load, home: Path, key: str, option: str, variable: str
) -> None:
    default = Setting(DEFAULTS[key], "default") if key in DEFAULTS else None
    assert configured().find(key) == default
    assert configured(f"[default]\n{key} = 1").find(key) == Setting("1", f"{usual(home)} [default]")
    both = f"[default]\n{key} = 1\nselected_section = mine\n[mine]\n{key} = 2\n"
    assert configured(both).find(key) == Setting("2", f"{usual(home)} [mine]")
    assert configured(both, {variable: "3"}).find(key) == Setting("3", variable)
    assert configured(both, {variable: "3"}, **{key: "4"}).find(key) == Setting("4", option)
    assert configured(both, {variable: ""}, **{key: ""}).find(key) == Setting("2", f"{usual(home)} [mine]")
    assert configured(both, {variable: ""}, **{key: None}).get(key) == "2"


def test_empty_is_not_set(configured: Load) -> None:
    settings = configured("[default]\nusername = alice\ntimeout =\n[mine]\nusername =\n", user_config_section="mine")
    assert settings.find("username") is None
    assert settings.get("username") == ""
    assert settings.find("timeout") == Setting("30", "default")


def test_keys_in_any_case(configured: Load) -> None:
    assert configured("[default]\nEndPoint = h\n").get("endpoint") == "h"


# --- where the original leaked --------------------------------------------------------------------------------------------


def test_the_variable_of_the_key_wins_over_the_file(configured: Load) -> None:
    """(a) STRATUSLAB_KEY lost against the file."""
    settings = configured("[default]\nuser_public_key_file = /file.pub", {"STRATUSLAB_KEY": "/variable.pub"})
    assert settings.find("user_public_key_file") == Setting("/variable.pub", "STRATUSLAB_KEY")


def test_an_option_with_the_default_as_its_value_wins_over_the_file(configured: Load) -> None:
    """(b) ``-t m1.small`` was overridden by the file, because it looked like the default."""
    settings = configured("[default]\ninstance_type = c1.xlarge\ntimeout = 5", instance_type="m1.small", timeout="30")
    assert settings.find("instance_type") == Setting("m1.small", "--type")
    assert settings.timeout == 30.0


def test_keys_of_the_file_do_not_become_options(configured: Load) -> None:
    """(c) every option of every command was silently a key as well; now a key says something only where it is asked for."""
    settings = configured("[default]\nvm_name = x\ninstance_number = 20\nis_local_ip = True\nunknown = y\n")
    assert settings.endpoint == Setting("local", "default")
    assert settings.credentials() == Credentials()


def test_keys_without_an_option_are_fine(configured: Load) -> None:
    """(d) pdisk_port and user_private_key_file ended run-instance with a KeyError."""
    settings = configured("[default]\npdisk_port = 8446\nuser_private_key_file = /k\n")
    assert settings.get("pdisk_port") == "8446"
    assert settings.get("user_private_key_file") == "/k"


# --- the file -------------------------------------------------------------------------------------------------------------


def refused(configured: Load, text: str | bytes | None = None, **options: str | None) -> str:
    with pytest.raises(ConfigurationError) as raised:
        settings = configured(text, **options)
        settings.find("endpoint")
        settings.find("password")
    assert raised.value.status == ExitStatus.USAGE
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_nul_character(configured: Load, home: Path) -> None:
    assert "endpoint (" in refused(configured, "[default]\nendpoint = a\0b\n")
    assert refused(configured, endpoint="a\0b") == "endpoint (--endpoint) contains a NUL character"
    for key in ("password", "password_file"):
        with pytest.raises(ConfigurationError, match=r"contains a NUL character$"):
            configured(f"[default]\nusername = a\n{key} = a\0b\n").credentials()


def test_no_file(configured: Load, home: Path) -> None:
    assert configured().endpoint == Setting("local", "default")
    assert refused(configured, config="~/nowhere.cfg") == f'no configuration file "{home}/nowhere.cfg"'


def test_a_named_file(configured: Load, home: Path) -> None:
    (home / "other.cfg").write_text("[default]\nendpoint = other.example.org\n")
    for name in ("~/other.cfg", str(home / "other.cfg")):
        settings = configured("[default]\nendpoint = usual.example.org\n", config=name)
        assert settings.endpoint == Setting("other.example.org", f"{home}/other.cfg [default]")


SECTIONS = "[default]\nendpoint = d\nusername = u\n[one]\nendpoint = 1\n[Two]\nendpoint = 2\n[instance_types]\nbig = 1, 2, 3\n"


def test_sections(configured: Load) -> None:
    assert configured(SECTIONS).get("endpoint") == "d"
    one = configured(SECTIONS, user_config_section="one")
    assert (one.get("endpoint"), one.get("username")) == ("1", "u")
    assert configured(SECTIONS, {"STRATUSLAB_USER_CONFIG_SECTION": "one"}).get("endpoint") == "1"
    option = configured(SECTIONS, {"STRATUSLAB_USER_CONFIG_SECTION": "one"}, user_config_section="Two")
    assert option.get("endpoint") == "2"
    assert configured(SECTIONS, user_config_section="default").get("endpoint") == "d"
    assert dict(one.file.instance_types) == {"big": "1, 2, 3"}
    assert one.cloud_sections == ["one", "Two"]
    assert configured("[default]\n").cloud_sections == ["default"]
    assert dict(configured("[default]\n").file.instance_types) == {}


def test_the_file_selects_a_section(configured: Load) -> None:
    text = SECTIONS.replace("[default]\n", "[default]\nselected_section = one\n")
    assert configured(text).get("endpoint") == "1"
    assert configured(text, user_config_section="Two").get("endpoint") == "2"
    message = refused(configured, text.replace("= one", "= three"))
    assert message.endswith("no section [three] (available: one, Two)")


def test_a_section_that_is_not_there(configured: Load, home: Path) -> None:
    assert refused(configured, SECTIONS, user_config_section="two") == (
        f'{usual(home)}: no section [two] (did you mean "Two"? available: one, Two)'
    )
    assert refused(configured, "[default]\n", user_config_section="two").endswith("(available: none)")


def test_a_section_without_a_file(configured: Load) -> None:
    assert refused(configured, user_config_section="mine").startswith("no section [mine]: the file ")


@pytest.mark.parametrize(
    "text", ["", "\n# nothing\n", "[mine]\nendpoint = h\n", "[Default]\nendpoint = h\n", "[DEFAULT]\na = b\n"]
)
def test_a_file_without_its_main_section(configured: Load, home: Path, text: str) -> None:
    assert refused(configured, text) == f"{usual(home)}: the section [default] is missing"


@pytest.mark.parametrize(
    "text, line",
    [
        ("endpoint = h\n", 1),
        ("# first\n\nendpoint = h\n[default]\n", 3),
        ("[default\nendpoint = h\n", 1),
        ("[default]\nendpoint = h\nthis is no setting\n", 3),
        ("[default]\n\n= value\n", 3),
        ("[default]\nkey without value\n    and a continuation\n", 2),
        (b"[default]\nusername = alice\npassword = caf\xe9\n", 3),
        (b"\xff\xfe[\x00d\x00", 1),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)), 2),
        (b"\x89PNG\r\n\x1a\n", 1),
    ],
)
def test_malformed_lines_are_named(configured: Load, home: Path, text: str | bytes, line: int) -> None:
    assert refused(configured, text).startswith(f"{usual(home)}, line {line}: ")


def test_a_message_never_shows_what_a_line_holds(configured: Load) -> None:
    for text in ("password = S3cret\n", "[default]\npassword S3cret\n", "[default]\npassword = S3cret%\n"):
        assert "S3cret" not in refused(configured, text)


def test_files_that_cannot_be_read(configured: Load, home: Path) -> None:
    (home / "directory").mkdir()
    assert refused(configured, config=str(home / "directory")) == (
        f'cannot read the configuration file "{home}/directory": Is a directory'
    )
    (home / "file").write_text("")
    assert "Not a directory" in refused(configured, config=str(home / "file" / "x.cfg"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(configured: Load, home: Path) -> None:
    secret = home / "secret.cfg"
    secret.write_text("[default]\n")
    secret.chmod(0)
    assert refused(configured, config=str(secret)) == f'cannot read the configuration file "{secret}": Permission denied'


def test_percent_signs(configured: Load) -> None:
    settings = configured("[default]\nhost = h.example.org\nendpoint = https://%(host)s/RPC2\npassword = 100%%\n")
    assert settings.get("endpoint") == "https://h.example.org/RPC2"
    assert settings.get("password") == "100%"
    for value in ("50%", "%x", "%(nothing)s", "%(password)s"):
        message = refused(configured, f"[default]\nendpoint = h\npassword = {value}\n")
        assert 'invalid % in the value of "password" in [default] (write %% for a percent sign)' in message


def test_a_byte_order_mark_and_windows_line_ends(configured: Load) -> None:
    assert configured(b"\xef\xbb\xbf[default]\r\nendpoint = h\r\nusername = u\r\n").get("endpoint") == "h"


def test_the_last_of_several_wins(configured: Load) -> None:
    settings = configured("[default]\nendpoint = 1\nendpoint = 2\n[mine]\na = 1\n[default]\nusername = u\nendpoint = 3\n")
    assert settings.get("endpoint") == "3"
    assert settings.get("username") == "u"


def test_continuation_lines_and_comments(configured: Load) -> None:
    settings = configured("[default]\nendpoints = a\n  b c\n  d\n# comment\n; comment\nusername: u\npassword = a#b;c\n")
    assert settings.get("endpoints") == "a\nb c\nd"
    assert settings.get("username") == "u"
    assert settings.get("password") == "a#b;c"


def test_values_are_taken_literally(configured: Load) -> None:
    settings = configured('[default]\nusername = "zoë"\npassword =  = : [x] \n')
    assert settings.get("username") == '"zoë"'
    assert settings.get("password") == "= : [x]"


@given(content=st.binary(max_size=200) | st.text('[default]\n =:%#;"x', max_size=60).map(str.encode))
def test_any_file_is_settings_or_a_configuration_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-{os.getpid()}.cfg"
    path.write_bytes(content)
    try:
        settings = load(Environment(None, None, None, {"HOME": "/nonexistent"}), {"config": str(path)})
        for key, _, _ in KEYS:
            settings.find(key)
        assert isinstance(settings.file.instance_types, dict)
    except ConfigurationError as error:
        assert str(path) in str(error)


# --- the endpoint ---------------------------------------------------------------------------------------------------------


def test_opennebulas_own_settings_come_after_stratuslabs(configured: Load, home: Path) -> None:
    assert configured().endpoint == Setting("local", "default")
    (home / ".one").mkdir()
    (home / ".one" / "one_auth").write_text("alice:secret\n")
    assert configured().endpoint == Setting(
        "http://localhost:2633/RPC2", f"OpenNebula's default, because {home}/.one/one_auth exists"
    )
    environ = {"ONE_XMLRPC": "http://one:2633/RPC2"}
    assert configured(None, environ).endpoint == Setting("http://one:2633/RPC2", "ONE_XMLRPC")
    assert configured(None, {"ONE_AUTH": "/x"}).endpoint.origin == "OpenNebula's default, because /x exists"
    assert configured("[default]\nendpoint = h\n", environ).endpoint.value == "h"


def test_the_marketplace(configured: Load) -> None:
    assert configured().marketplace_endpoint == Setting("local://marketplace", "default")
    assert configured(endpoint="local").marketplace_endpoint.value == "local://marketplace"
    assert configured(endpoint="h").marketplace_endpoint == Setting("https://marketplace.stratuslab.eu", "default")
    mine = configured(endpoint="local", marketplace_endpoint="https://m")
    assert mine.marketplace_endpoint == Setting("https://m", "--marketplace-endpoint")


@pytest.mark.parametrize("value", ["0", "-1", "abc", "nan", "inf", "1e9", "5s", "86401", " "])
def test_time_outs_that_are_none(configured: Load, value: str) -> None:
    with pytest.raises(UsageError) as raised:
        configured(None, {"STRATUSLAB_TIMEOUT": value}).timeout  # noqa: B018
    assert str(raised.value) == f'invalid timeout "{value}" (STRATUSLAB_TIMEOUT): expected seconds'


def test_time_outs(configured: Load) -> None:
    assert configured().timeout == 30.0
    assert configured(timeout="0.5").timeout == 0.5
    assert configured("[default]\ntimeout = 7\n").timeout == 7.0


@pytest.mark.parametrize("seconds", ["0.001", "86400"])
def test_the_least_and_the_most_time_out(configured: Load, seconds: str) -> None:
    assert configured(timeout=seconds).timeout == float(seconds)


def test_a_time_out_for_services_that_answer_faster(configured: Load) -> None:
    assert configured().timeout_or(5) == 5
    assert configured(timeout="7").timeout_or(5) == 7


def test_how_long_to_wait_is_a_setting_of_its_own(configured: Load) -> None:
    assert configured("[default]\ntimeout = 7\n", {"STRATUSLAB_TIMEOUT": "3"}).wait_timeout(120) == 120
    assert configured("[default]\nwait_timeout = 7\n").wait_timeout(120) == 7
    assert configured(None, {"STRATUSLAB_WAIT_TIMEOUT": "0"}).wait_timeout(120) == 0
    assert configured(wait_timeout="86400000").wait_timeout(120) == 86_400_000  # 1,000 days
    with pytest.raises(UsageError):
        configured(wait_timeout="86400001").wait_timeout(120)
    with pytest.raises(UsageError) as raised:
        configured(wait_timeout="soon").wait_timeout(120)
    assert str(raised.value) == 'invalid wait timeout "soon" (--wait-timeout): expected seconds'


@pytest.mark.parametrize(
    ("value", "on"),
    [*((word, True) for word in ("1", "yes", "TRUE", "on")), *((word, False) for word in ("0", "No", "false", "off"))],
)
def test_yes_and_no(configured: Load, value: str, on: bool) -> None:
    assert configured(notify=value).is_on("notify") == on
    assert not configured().is_on("notify")
    with pytest.raises(UsageError) as raised:
        configured(None, {"STRATUSLAB_NOTIFY_ME": f"{value}x"}).is_on("notify_me")
    assert str(raised.value) == f'invalid notify me "{value.lower()}x" (STRATUSLAB_NOTIFY_ME): expected yes or no'


def test_the_hypervisor(configured: Load) -> None:
    assert configured().hypervisor == ""
    assert configured(hypervisor="qemu").hypervisor == "qemu"
    with pytest.raises(UsageError) as raised:
        configured(hypervisor="kvm").hypervisor  # noqa: B018
    assert str(raised.value) == 'unknown hypervisor "kvm" (--hypervisor) (the embedded cloud has qemu and simulated)'


def test_the_networks_for_downloads(configured: Load, home: Path) -> None:
    assert configured().local_environ == {"HOME": str(home)}
    networks = "10.20.0.7/16, any 2001:db8::/32"
    environ = configured(f"[default]\ndownload_networks = {networks}\n").local_environ
    assert environ == {"HOME": str(home), "STRATUSLAB_DOWNLOAD_NETWORKS": networks}
    with pytest.raises(UsageError) as raised:
        configured(download_networks="any,10.20.0.0/33").local_environ  # noqa: B018
    assert str(raised.value) == (
        'invalid download networks "any,10.20.0.0/33" (--download-networks): "10.20.0.0/33" is not a network '
        '(write 10.20.0.0/16, several separated by commas, or "any")'
    )


def test_what_the_settings_were_read_from(configured: Load, home: Path) -> None:
    settings = configured(SECTIONS, {"STRATUSLAB_X": "", "OTHER": "1"}, user_config_section="one")
    assert settings.variables == ["STRATUSLAB_X"]
    assert settings.file.selected == Setting("one", "--user-config-section")
    assert (settings.file.path, settings.file.clouds) == (Path(usual(home)), ["one", "Two"])
    assert settings.file.raw == [
        *(("default", "endpoint", "d"), ("default", "username", "u")),
        *(("one", "endpoint", "1"), ("Two", "endpoint", "2")),
    ]
    from_environment = configured(SECTIONS, {"STRATUSLAB_USER_CONFIG_SECTION": "one"}).file.selected
    assert from_environment == Setting("one", "STRATUSLAB_USER_CONFIG_SECTION")


def test_what_the_file_has_literally(configured: Load) -> None:
    assert configured("[default]\npassword = 100%%\n").file.raw == [("default", "password", "100%%")]


def test_what_no_file_says(configured: Load) -> None:
    file = configured().file
    assert (file.instance_types, file.clouds, file.raw, file.find("endpoint")) == ({}, [], [], None)


def test_a_file_that_others_can_change(configured: Load, home: Path) -> None:
    configured("[default]\n")
    (home / "pw").write_text("secret\n")
    for path in (Path(usual(home)), home / "pw"):
        path.chmod(0o666)
        with pytest.raises(UsageError, match="other users can write to"):
            configured(username="a", password_file="~/pw").credentials()
        path.chmod(0o600)


def test_the_authorities_that_are_trusted(configured: Load, home: Path) -> None:
    environ = {"REQUESTS_CA_BUNDLE": "/requests.pem"}
    assert configured().ca_bundle == ""
    assert configured(None, environ).ca_bundle == "/requests.pem"
    assert configured("[default]\nca_bundle = ~/ca.pem\n", environ).ca_bundle == f"{home}/ca.pem"
    assert configured(None, environ, ca_bundle="/o.pem").ca_bundle == "/o.pem"


# --- credentials ----------------------------------------------------------------------------------------------------------


def test_user_and_password(configured: Load, home: Path) -> None:
    text = "[default]\nendpoint = h\nusername = alice\npassword = secret\npem_certificate = /c\n"
    assert configured(text).credentials() == Credentials("alice", "secret", origin=f"{usual(home)} [default]")
    environ = {"STRATUSLAB_USERNAME": "bob", "STRATUSLAB_PASSWORD": "hush"}
    assert configured(text, environ).credentials() == Credentials("bob", "hush", origin="STRATUSLAB_USERNAME")
    option = configured(text, environ, username="carol", password="shh")
    assert option.credentials() == Credentials("carol", "shh", origin="--username")


def test_a_user_without_a_password(configured: Load) -> None:
    assert configured(username="alice").credentials() == Credentials("alice", "", origin="--username")


def test_password_files(configured: Load, home: Path) -> None:
    (home / "pw").write_bytes(b"\xef\xbb\xbf s\xc3\xa9cret:with:colons \r\nsecond line\n")
    (home / "other").write_text("other")
    assert configured(username="a", password_file="~/pw").credentials().password == " sécret:with:colons "
    text = "[default]\nusername = a\npassword = in-file\n"
    environ = {"STRATUSLAB_PASSWORD": "in-variable"}
    assert configured(text, environ, password_file="~/pw").credentials().password.startswith(" s")
    assert configured(text, environ, password_file="~/pw", password="in-option").credentials().password == "in-option"
    assert configured(text, {"STRATUSLAB_PASSWORD_FILE": "~/other"}).credentials().password == "other"
    assert configured(text, {"STRATUSLAB_PASSWORD_FILE": "~/other", **environ}).credentials().password == "in-variable"
    assert configured("[default]\nusername = a\npassword_file = ~/other\n").credentials().password == "other"


def test_a_long_password(configured: Load, home: Path) -> None:
    (home / "pw").write_text(f"{'x' * 4094}\nsecond line\n")
    assert configured(username="a", password_file="~/pw").credentials().password == "x" * 4094
    (home / "pw").write_text("x" * 4095)
    assert configured(username="a", password_file="~/pw").credentials().password == "x" * 4095


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_files_may_be_roots(configured: Load, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the whole computer, but not those of any other user."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    (home / "pw").write_text("secret")
    text = "[default]\nusername = a\npassword_file = ~/pw\n"
    assert configured(text).credentials().password == "secret"
    os.chown(home / "pw", 65533, -1)
    with pytest.raises(UsageError, match="belongs to"):
        configured(text).credentials()


@pytest.mark.parametrize(
    "content, message",
    [
        (None, r"cannot read .*: No such file or directory"),
        (b"", "has no password in its first line"),
        (b"\nsecret\n", "has no password in its first line"),
        (b"x" * 4096, "^the first line of the file .* is too long$"),
        (b"\xff\xfe\x00", "is not text"),
        (b"pass\x00word", "contains a control character"),
    ],
)
def test_password_files_that_cannot_be_used(configured: Load, home: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (home / "pw").write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        _ = configured(username="a", password_file="~/pw").credentials().session
    assert "secret" not in str(raised.value)
    with pytest.raises(UsageError, match="Is a directory"):
        configured(username="a", password_file="~/").credentials()


def on_stdin(typed: str) -> Environment:
    return Environment(io.StringIO(typed), None, None, {"HOME": "/nonexistent"})


def test_a_password_on_standard_input() -> None:
    options = {"username": "a", "password_file": "-"}
    settings = load(on_stdin("se cret \r\nsecond\n"), options)
    assert [settings.credentials().password for _ in range(2)] == ["se cret ", "se cret "]
    with pytest.raises(UsageError, match=r"^the first line of standard input has no password \(--password-file\)$"):
        load(on_stdin("\nsecond\n"), options).credentials()
    with pytest.raises(UsageError, match=r"^standard input is closed \(--password-file\)$"):
        load(Environment(None, None, None, {"HOME": "/nonexistent"}), options).credentials()


def test_a_password_is_not_read_from_a_terminal() -> None:
    master, slave = os.openpty()
    os.write(master, b"typed\n")
    with os.fdopen(slave, "r") as terminal:
        environment = Environment(terminal, None, None, {"HOME": "/nonexistent"})
        found = load(environment, {"username": "a", "password_file": "-"}).credentials()
        assert (found.password, terminal.readline()) == ("", "typed\n")
    os.close(master)


def test_the_files_that_passwords_came_from(configured: Load, home: Path) -> None:
    (home / "pw").write_text("secret\n")
    settings = configured(username="a", password_file="~/pw")
    assert settings.password_files == []
    settings.credentials()
    assert settings.password_files == [home / "pw"]


def test_credentials_in_the_endpoint(configured: Load, home: Path) -> None:
    text = "[default]\nendpoint = https://alice:s%%40cret@h/RPC2\nusername = bob\npassword = hush\n"
    found = configured(text).credentials()
    assert found == Credentials("alice", "s@cret", origin=f"in the endpoint, {usual(home)} [default]")
    assert configured(text, username="carol").credentials() == Credentials("carol", "hush", origin="--username")
    without = configured("[default]\nendpoint = https://alice@h/RPC2\npassword = hush\n")
    assert without.credentials().password == "hush"


def test_certificates(configured: Load, home: Path) -> None:
    assert configured(endpoint="h").credentials() == Credentials()
    (home / ".globus").mkdir()
    (home / ".globus" / "usercert.pem").write_text("x")
    globus = Credentials(certificate=f"{home}/.globus/usercert.pem", key=f"{home}/.globus/userkey.pem", origin="default")
    assert configured(endpoint="h").credentials() == globus
    (home / ".one").mkdir()
    (home / ".one" / "one_auth").write_text("alice:secret\n")
    assert configured(endpoint="h").credentials().username == "alice"  # OpenNebula's session comes before the usual certificate
    mine = configured(endpoint="h", pem_certificate="~/c.pem", pem_key="/k.pem").credentials()
    assert mine == Credentials(certificate=f"{home}/c.pem", key="/k.pem", origin="--pem-cert")


def test_opennebulas_session_file(configured: Load, home: Path) -> None:
    (home / ".one").mkdir()
    (home / ".one" / "one_auth").write_text("alice:se:cret\n")
    found = configured().credentials()
    assert found == Credentials("alice", "se:cret", origin=f"OpenNebula's session file, {home}/.one/one_auth")
    (home / "mine").write_text("bob:hush")
    named = configured(None, {"ONE_AUTH": "~/mine"}).credentials()
    assert named == Credentials("bob", "hush", origin=f"ONE_AUTH, {home}/mine")
    assert configured(None, {"STRATUSLAB_USERNAME": "carol"}).credentials().username == "carol"
    assert configured(pem_certificate="/c.pem").credentials().certificate == "/c.pem"


@pytest.mark.parametrize(
    "content, message",
    [
        (None, r"cannot read .*: No such file"),
        (b"", "has no user:password"),
        (b"alice\n", "has no user:password"),
        (b":secret\n", "has no user:password"),
        (b"\xff\xff", "is not text"),
    ],
)
def test_session_files_that_cannot_be_used(configured: Load, home: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (home / "auth").write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        configured(None, {"ONE_AUTH": "~/auth"}).credentials()
    assert "ONE_AUTH" in str(raised.value)
    assert "secret" not in str(raised.value)


# --- no home --------------------------------------------------------------------------------------------------------------


def test_the_system_knows_the_home_where_the_environment_does_not() -> None:
    home = Environment(None, None, None, {}).home
    assert home == Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Environment(None, None, None, {"HOME": ""}).home == home


def test_nobody_knows_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    environment = Environment(None, None, None, {})
    assert environment.home is None
    assert environment.expand("~/x") == Path("~/x")
    settings = load(environment, {})
    assert settings.endpoint == Setting("local", "default")
    assert settings.credentials() == Credentials()


@given(st.dictionaries(st.sampled_from([key for key, _, _ in KEYS if not key.endswith("_file")]), st.text(max_size=20)))
def test_any_option_is_taken_or_a_usage_error(options: dict[str, str]) -> None:
    settings = load(Environment(None, None, None, {"HOME": "/nonexistent"}), options)
    try:
        settings.credentials()
        assert settings.timeout > 0
        assert settings.endpoint.value
        assert settings.marketplace_endpoint.value
        assert isinstance(settings.ca_bundle, str)
    except StratusLabError as error:
        assert error.status == ExitStatus.USAGE
