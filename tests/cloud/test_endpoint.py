"""The forms of an endpoint: what each is taken for, and what is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stratuslab.cloud.endpoint import Credentials, Endpoint, credentials_within, is_local, resolve
from stratuslab.errors import UsageError
from stratuslab.url_credentials import shown

ALICE = Credentials("alice", "secret")
CERTIFICATE = Credentials(certificate="/c.pem", key="/k.pem")


@pytest.mark.parametrize(
    "text, url",
    [
        ("cloud.example.org", "https://cloud.example.org:2634/pswd/xmlrpc"),
        ("  cloud.example.org\n", "https://cloud.example.org:2634/pswd/xmlrpc"),
        ("cloud.example.org/", "https://cloud.example.org:2634/pswd/xmlrpc"),
        ("cloud.example.org:", "https://cloud.example.org:2634/pswd/xmlrpc"),
        ("http-proxy.example.org", "https://http-proxy.example.org:2634/pswd/xmlrpc"),
        ("192.0.2.7", "https://192.0.2.7:2634/pswd/xmlrpc"),
        ("2001:db8::7", "https://[2001:db8::7]:2634/pswd/xmlrpc"),
        ("[2001:db8::7]", "https://[2001:db8::7]:2634/pswd/xmlrpc"),
        ("[2001:db8::7]:8443", "https://[2001:db8::7]:8443/pswd/xmlrpc"),
        ("cloud.example.org:8443", "https://cloud.example.org:8443/pswd/xmlrpc"),
        ("cloud.example.org:8443/", "https://cloud.example.org:8443/pswd/xmlrpc"),
        ("cloud.example.org:8443/xmlrpc", "https://cloud.example.org:8443/pswd/xmlrpc"),
        ("cloud.example.org:2633/RPC2", "http://cloud.example.org:2633/RPC2"),
        ("cloud.example.org:2633", "http://cloud.example.org:2633/RPC2"),
        ("cloud.example.org/one-proxy/xmlrpc", "https://cloud.example.org/one-proxy/pswd/xmlrpc"),
        ("localhost", "http://localhost:2633/RPC2"),
        ("127.0.0.1", "http://127.0.0.1:2633/RPC2"),
        ("::1", "http://[::1]:2633/RPC2"),
        ("[::1]", "http://[::1]:2633/RPC2"),
        ("[::1]:9000", "http://[::1]:9000/RPC2"),
        ("http://[fe80::1%25eth0]:2633", "http://[fe80::1%25eth0]:2633/RPC2"),
        ("http://[fe80::1%eth0]:2633", "http://[fe80::1%25eth0]:2633/RPC2"),
        ("[fe80::1%Eth0.5]:2633", "http://[fe80::1%25Eth0.5]:2633/RPC2"),
        ("fe80::1%eth0", "https://[fe80::1%25eth0]:2634/pswd/xmlrpc"),
        ("localhost:9000", "http://localhost:9000/RPC2"),
        ("localhost/", "http://localhost:2633/RPC2"),
        ("localhost/RPC2", "http://localhost:2633/RPC2"),
        ("localhost:9000/RPC2", "http://localhost:9000/RPC2"),
        ("localhost:9000/RPC2/", "http://localhost:9000/RPC2"),
        ("https://cloud.example.org", "https://cloud.example.org/pswd/xmlrpc"),
        ("https://cloud.example.org/", "https://cloud.example.org/pswd/xmlrpc"),
        ("https://cloud.example.org:2634/xmlrpc", "https://cloud.example.org:2634/pswd/xmlrpc"),
        ("https://cloud.example.org:2634/xmlrpc/", "https://cloud.example.org:2634/pswd/xmlrpc"),
        ("https://cloud.example.org/one-proxy/xmlrpc", "https://cloud.example.org/one-proxy/pswd/xmlrpc"),
        ("https://cloud.example.org/pswd/xmlrpc", "https://cloud.example.org/pswd/xmlrpc"),
        ("https://cloud.example.org/cert/xmlrpc", "https://cloud.example.org/cert/xmlrpc"),
        ("https://cloud.example.org/RPC2", "https://cloud.example.org/RPC2"),
        ("http://cloud.example.org:2633", "http://cloud.example.org:2633/RPC2"),
        ("http://cloud.example.org:2633/", "http://cloud.example.org:2633/RPC2"),
        ("http://cloud.example.org:2633/RPC2//", "http://cloud.example.org:2633/RPC2"),
        ("HTTP://Cloud.Example.ORG:2633/RPC2", "http://cloud.example.org:2633/RPC2"),
        ("http://[2001:db8::7]:2633/RPC2", "http://[2001:db8::7]:2633/RPC2"),
        ("https://alice:secret@cloud.example.org/RPC2", "https://cloud.example.org/RPC2"),
        ("https://cloud.example.org/ünï code", "https://cloud.example.org/%C3%BCn%C3%AF%20code"),
        ("https://cloud.example.org/a%20b", "https://cloud.example.org/a%20b"),
        ("bücher.example", "https://xn--bcher-kva.example:2634/pswd/xmlrpc"),
        ("under_score.example", "https://under_score.example:2634/pswd/xmlrpc"),
    ],
)
def test_forms(text: str, url: str) -> None:
    assert resolve(text, ALICE).url == url


def test_a_certificate_goes_by_another_path() -> None:
    assert resolve("cloud.example.org", CERTIFICATE).url == "https://cloud.example.org:2634/cert/xmlrpc"
    assert resolve("https://h/one-proxy/xmlrpc", CERTIFICATE).url == "https://h/one-proxy/cert/xmlrpc"
    assert resolve("https://h/RPC2", CERTIFICATE).url == "https://h/RPC2"


def test_http_basic_is_for_the_proxy_only() -> None:
    assert resolve("cloud.example.org", ALICE).basic
    assert resolve("https://h/pswd/xmlrpc", ALICE).basic
    assert not resolve("https://h/RPC2", ALICE).basic
    assert not resolve("localhost", ALICE).basic
    assert not resolve("https://h/pswd/xmlrpc", CERTIFICATE).basic


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not a host name"),
        ("  ", "not a host name"),
        ("://", "not a host name"),
        ("http://", "not a host name"),
        ("https:///xmlrpc", "not a host name"),
        ("ftp://cloud.example.org/", "not a host name or an http"),
        ("file:///etc/passwd", "not a host name"),
        ("two words", "not a host name"),
        ("https://two words/", "not a host name"),
        ("https://[::1", "not a host name"),
        ("http://[fe80::1%25]:2633", "not a host name"),
        ("http://[fe80::1%25a/b]:2633", "not a host name"),
        ("https://[zzz]/", "not a host name"),
        ("[not:an:address]:80", "not a host name"),
        ("a:b:c", "an invalid port|not a host name"),
        ("a..b", "not a host name"),
        (".example.org", "not a host name"),
        ("a" * 64 + ".example.org", "not a host name"),
        ("https://exa\u2100mple.org/", "not a host name"),
        ("cloud.example.org:port", "an invalid port"),
        ("cloud.example.org:99999", "an invalid port"),
        ("cloud.example.org:0", "an invalid port"),
        ("cloud.example.org:-1", "an invalid port"),
        ("https://cloud.example.org:http/", "an invalid port"),
        ("https://cloud.example.org/xmlrpc?a=b", "query"),
        ("https://cloud.example.org/xmlrpc#top", "fragment"),
        ("cloud.example.org\nusername = alice", "not a host name"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        resolve(text, ALICE)
    assert raised.value.status == 2


@given(st.text(max_size=60) | st.from_regex(r"(https?://)?[a-z:@/\[\].%?#0-9 -]{0,30}", fullmatch=True))
@example("//[")
@example("http://[]")
@example("http://a]b")
@example("\ud800")
@example("https://h/\ud800")
@example("http://\u0661:\u0662")
@example("http://h:\u0662/")
def test_any_text_is_an_endpoint_or_a_usage_error(text: str) -> None:
    credentials_within(text)
    shown(text)
    try:
        endpoint = resolve(text, ALICE)
    except UsageError:
        return
    assert isinstance(endpoint, Endpoint)
    parts = urlsplit(endpoint.url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.path.startswith("/")
    assert endpoint.url.isascii()
    assert not parts.username
    assert resolve(endpoint.url, ALICE).url == endpoint.url


@pytest.mark.parametrize(
    "text, within",
    [
        ("https://alice:secret@h/RPC2", ("alice", "secret")),
        ("https://a%40b:s%2Fe%3Ac@h/RPC2", ("a@b", "s/e:c")),
        ("https://alice@h/RPC2", ("alice", "")),
        ("https://alice:p@ss@h/RPC2", ("alice", "p@ss")),
        ("alice:secret@h", ("alice", "secret")),
        ("alice:secret@h:2634/xmlrpc", ("alice", "secret")),
        ("alice:secret@localhost", ("alice", "secret")),
        ("https://h/RPC2", None),
        ("https://h/a@b", None),
        ("h:2634", None),
        ("https://[::1", None),
        ("", None),
    ],
)
def test_credentials_within(text: str, within: tuple[str, str] | None) -> None:
    assert credentials_within(text) == within


SECRET = st.text("sécret0@:/?#[]% ", min_size=1, max_size=12).map(lambda text: f"S3cr{text}t")


@given(SECRET, st.sampled_from(["https://alice:{}@h/RPC2", "alice:{}@h", "http://alice:{}@h:port/", "ftp://alice:{}@h", "{}@"]))
def test_messages_hold_no_secret(secret: str, form: str) -> None:
    text = form.format(secret)
    assert "S3cr" not in shown(text)
    try:
        assert "S3cr" not in resolve(text, ALICE).url
    except UsageError as error:
        assert "S3cr" not in str(error)


def test_the_embedded_cloud() -> None:
    assert is_local("local")
    assert is_local(" local\n")
    assert not is_local("localhost")
    assert not is_local("local.example.org")


def test_session_strings() -> None:
    assert ALICE.session == "alice:secret"
    assert CERTIFICATE.session == "dummy:pass"
    assert Credentials("zoë", "p:w").session == "zoë:p:w"


def test_what_credentials_say_of_themselves() -> None:
    assert str(Credentials("alice", "secret", origin="ONE_AUTH, /a")) == 'user "alice" (ONE_AUTH, /a)'
    assert str(Credentials("alice", "secret")) == 'user "alice"'
    assert str(CERTIFICATE) == 'certificate "/c.pem"'


@pytest.mark.parametrize("bad", ["pass\nword", "\x00", "tab\t", "\udcff", "\x7f"])
def test_credentials_that_no_call_can_carry(bad: str) -> None:
    for user, password in ((bad, "secret"), ("alice", f"S3cret{bad}")):
        with pytest.raises(UsageError, match="STRATUSLAB_PASSWORD") as raised:
            _ = Credentials(user, password, origin="STRATUSLAB_PASSWORD").session
        assert "S3cret" not in str(raised.value)
