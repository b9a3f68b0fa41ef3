"""Secrets that are masked, and what is none and stays."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from stratuslab.opennebula.instance import Instance
from stratuslab.output.instance_details_text import details_lines
from stratuslab.output.redaction import masked, masked_text, masked_value, masks_of
from stratuslab.output.terminal import Terminal
from stratuslab.output.vm_document_text import document_lines
from stratuslab.results import InstanceDetails


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("DB_PASSWORD", "x", "***"),
        ("PASSWD", "x", "***"),
        ("ONEGATE_TOKEN", "x", "***"),
        ("AWS_SECRET_ACCESS_KEY", "x", "***"),
        ("CLOUD_INIT_USER_DATA", "x", "***"),
        ("USERDATA", "x", "***"),
        ("START_SCRIPT_BASE64", "x", "***"),
        ("DB_PASSWORD", "", ""),
        ("SSH_PUBLIC_KEY", "ssh-rsa AAAA", "ssh-rsa AAAA"),
        ("CLOUD_INIT_AUTHORIZED_KEYS", "c3No", "c3No"),
        ("NOTE", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\nrest", "***\nrest"),
        ("USER", "admin:hunter2", "admin:***"),
        ("DB_LOGIN", "admin:hun:ter2", "admin:***"),
        ("USER_HOME", "https://example.org/", "https://example.org/"),
        ("USER_HOME", "c://admin", "c://admin"),
        ("USER", "admin:", "admin:"),
        ("USER", "an admin: yes", "an admin: yes"),
        ("PORT", "admin:22", "admin:22"),
        ("UNAME", "alice", "alice"),
        ("IMAGE", "https://example.org/a?token=hunter2&sig=x#part", "https://example.org/a?token=***&sig=***#part"),
        ("IMAGE", "see https://example.org/a? or b=1", "see https://example.org/a? or b=1"),
        ("NOTE", "-----BEGIN RSA PRIVATE KEY-----\ncut off", "***"),
    ],
)
def test_values(name: str, value: str, shown: str) -> None:
    assert masked_value(name, value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:x@example.org/y", "https://bob:***@example.org/y"),
        ("https://ghp_hunter2@example.org/y", "https://***@example.org/y"),
        ("https://example.org:8443/y@z", "https://example.org:8443/y@z"),
        ("--password=x --user=bob", "--password=*** --user=bob"),
        ('token: "a b" c', "token: *** c"),
        ('password=\\"a b\\" c', "password=*** c"),
        ("api_key='x'", "api_key=***"),
        ("password is wrong", "password is wrong"),
        ("Error parsing: DISK_ID=0@^_^@X=a$$b@^_^@. syntax error, at 1", "Error parsing: *** syntax error, at 1"),
        ("Error parsing: A=$$b@^_^@", "Error parsing: ***"),
        ("Error parsing: X. syntax error, at 1", "Error parsing: X. syntax error, at 1"),
        ("password=***", "password=***"),
    ],
)
def test_free_text(text: str, shown: str) -> None:
    assert masked_text(text) == shown


def test_a_login_in_a_template() -> None:
    assert masked('CONTEXT = [ DB_USER = "admin:hunter2", USER = "a" ]') == 'CONTEXT = [ DB_USER = "admin:***", USER = "a" ]'


def test_templates() -> None:
    template = 'CONTEXT = [ DB_PASSWORD = "a\\"b", SCRIPT_EXEC = "mount --password=x /y", A = "1" ]\n'
    assert masked(template) == 'CONTEXT = [ DB_PASSWORD = "***", SCRIPT_EXEC = "mount --password=*** /y", A = "1" ]\n'


OTHER_SECRETS = "KEY PIN SALT JWT BEARER COOKIE SIGNATURE DB_KEY TLS_KEY SESSION_COOKIE DB_PIN WIFI_PSK DEPLOY_KEY JWT_VALUE"


@pytest.mark.parametrize("name", OTHER_SECRETS.split())
def test_names_of_other_secrets(name: str) -> None:
    assert masked_value(name, "hunter2") == "***"
    assert "hunter2" not in masked(f'CONTEXT = [ {name} = "hunter2" ]')


@pytest.mark.parametrize("name", ["MYSQL_PWD", "DB_PW", "ROOTPW", "ONE_AUTH", "HTTP_AUTHORIZATION", "SIGNING_KEY", "LICENSE_KEY"])
def test_names_of_secrets(name: str) -> None:
    assert masked_value(name, "hunter2") == "***"


@pytest.mark.parametrize("name", ["AUTHORIZED_KEYS", "AUTHOR", "PUBLIC_KEY", "SPWX", "KEYMAP", "PIN_POLICY", "PINNED", "BASALT"])
def test_names_of_what_is_no_secret(name: str) -> None:
    assert masked_value(name, "plain") == "plain"


@pytest.mark.parametrize("text", ["Authorization: Bearer hunter2", "pwd=hunter2", "https://u:p@hunter2@h/x"])
def test_secrets_in_free_text(text: str) -> None:
    assert "hunter2" not in masked_text(text)


def test_what_a_template_asks_for_as_a_password() -> None:
    inputs = "<USER_INPUTS><ROOT>M|password|Root</ROOT><SIZE>O|number|Size||5</SIZE></USER_INPUTS>"
    given = "<ROOT>hunter2</ROOT><SIZE>5</SIZE>"
    text = f"<VM><CONTEXT>{given}</CONTEXT><USER_TEMPLATE>{given}{inputs}</USER_TEMPLATE></VM>"
    shown = "\n".join(document_lines(fromstring(text)))
    assert "hunter2" not in shown
    assert "<ROOT>M|password|Root</ROOT>" in shown
    assert shown.count("<ROOT>***</ROOT>") == 2
    context = f"<TEMPLATE><CONTEXT>{given}</CONTEXT></TEMPLATE>"
    instance = Instance(fromstring(f"<VM><ID>1</ID>{context}<USER_TEMPLATE>{inputs}</USER_TEMPLATE></VM>"))
    lines = "\n".join(details_lines(InstanceDetails(instance, None, (), 1_900_000_000), Terminal(80, True)))
    assert ("ROOT = ***" in lines, "SIZE = 5" in lines, "hunter2" in lines) == (True, True, False)


def test_a_password_that_was_asked_for_is_masked_where_the_template_inserted_it() -> None:
    inputs = "<USER_INPUTS><DB>M|password|Database</DB><PIN>O|password|x||12</PIN></USER_INPUTS>"
    user = f"<USER_TEMPLATE><DB>hunter2</DB><PIN>12</PIN>{inputs}</USER_TEMPLATE>"
    context = "<CONTEXT><URL>db=hunter2 port=12</URL><ROOT>hunter2</ROOT></CONTEXT>"
    document = fromstring(f"<VM><ID>1</ID><TEMPLATE>{context}</TEMPLATE>{user}</VM>")
    shown = "\n".join(document_lines(document))
    lines = "\n".join(details_lines(InstanceDetails(Instance(document), None, (), 1_900_000_000), Terminal(80, True)))
    assert ("<URL>db=*** port=12</URL>" in shown, "<PIN>***</PIN>" in shown, "hunter2" in shown) == (True, True, False)
    assert ("URL = db=*** port=12" in lines, "ROOT = ***" in lines, "hunter2" in lines) == (True, True, False)


def _declared(values: list[str]) -> Element:
    """A VM document whose template asked for that many passwords, with what the user gave."""
    inputs = "".join(f"<P{number}>M| password |x</P{number}>" for number in range(len(values)))
    given = "".join(f"<P{number}> {value} </P{number}>" for number, value in enumerate(values))
    return fromstring(f"<VM><USER_TEMPLATE>{given}<USER_INPUTS>{inputs}</USER_INPUTS></USER_TEMPLATE></VM>")


@pytest.mark.parametrize(
    ("passwords", "text", "shown"),
    [
        (["abcd"], "x abcd y", "x *** y"),
        (["abc"], "x abc y", "x abc y"),  # so short that it would be found everywhere
        (["hunter", "hunter2", "hunter2b"], "hunter2b", "***"),  # the end of a longer one stays secret as well
        (["hunter2"], "password=other", "password=***"),
        (["hunter2"], "", ""),
        ([f"secret{number}" for number in range(100, 164)], "plain", "plain"),
        ([f"secret{number}" for number in range(100, 165)], "plain", "***"),  # so many that looking for each costs too much
        ([f"secret{number}" for number in range(100, 165)], "", ""),
    ],
)
def test_passwords_inside_of_other_values(passwords: list[str], text: str, shown: str) -> None:
    assert masks_of(_declared(passwords))("NOTE", text) == shown


def test_the_default_of_a_password_that_a_template_asks_for() -> None:
    assert masked_value("ROOT", "M|password|Root| |hunter2") == "M|password|Root| |***"
    assert masked_value("ROOT", "O|password|Root||") == "O|password|Root||"
    assert masked_value("SIZE", "O|number|Size| |5") == "O|number|Size| |5"
    template = 'USER_INPUTS = [ ROOT = "M|password|Root| |hunter2", SIZE = "M|number|Size| |5" ]\n'
    assert masked(template) == 'USER_INPUTS = [ ROOT = "M|password|Root| |***", SIZE = "M|number|Size| |5" ]\n'
