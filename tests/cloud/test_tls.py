"""TLS: whom the client believes, and how it shows who it is."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stratuslab.cloud.delivery_failures import DroppedEarly, NeverSent
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.errors import AuthenticationError, Unreachable, UsageError
from tests.fakes import scripted_server as servers
from tests.fakes.certificate_authority import Authority
from tests.fakes.opennebula_answers import success
from tests.fakes.scripted_server import Scripted

ALICE = Credentials("alice", "secret")
ANSWER = success(165)


def fetch(url: str, bundle: Path | str = "", credentials: Credentials = ALICE, **environ: str) -> bytes:
    transport = HttpTransport(resolve(url, credentials), credentials, 5.0, environ, ca_bundle=str(bundle))
    return b"".join(transport.post(b"<call/>"))


def wants_certificate(authority: Authority, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    tls = authority.server("127.0.0.1")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.maximum_version = newest
    authority.ca.configure_trust(tls)
    return tls


def test_a_private_authority(scripted: Scripted, authority: Authority) -> None:
    server = scripted(servers.document(ANSWER), tls=authority.server("127.0.0.1", "localhost"))
    assert fetch(f"{server.url}/RPC2", authority.bundle) == ANSWER
    assert fetch(f"https://localhost:{server.port}/RPC2", authority.bundle) == ANSWER


def not_trusted(url: str, bundle: Path | str) -> str:
    with pytest.raises(NeverSent, match=r"the TLS certificate of .* is not trusted: ") as raised:
        fetch(url, bundle)
    assert raised.value.status == 8
    return str(raised.value)


def test_an_unknown_authority(scripted: Scripted, authority: Authority, stranger: Authority) -> None:
    server = scripted(servers.document(ANSWER), tls=stranger.server("127.0.0.1"))
    for bundle in (authority.bundle, ""):
        assert "--ca-bundle FILE, the key ca_bundle or REQUESTS_CA_BUNDLE" in not_trusted(f"{server.url}/RPC2", bundle)
    assert server.requests == []


def test_an_expired_certificate(scripted: Scripted, authority: Authority) -> None:
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    tls = authority.server("127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday)
    server = scripted(servers.document(ANSWER), tls=tls)
    said = not_trusted(f"{server.url}/RPC2", authority.bundle)
    assert "expired" in said
    assert "renew it" in said
    assert "--ca-bundle" not in said
    assert server.requests == []


def test_a_certificate_that_is_not_valid_yet(scripted: Scripted, authority: Authority) -> None:
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    tls = authority.server("127.0.0.1", not_before=tomorrow, not_after=tomorrow + timedelta(days=9))
    said = not_trusted(f"{scripted(servers.document(ANSWER), tls=tls).url}/RPC2", authority.bundle)
    assert "not yet valid (this computer's clock is probably wrong" in said


def test_a_self_signed_certificate(scripted: Scripted, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make one")
    made = tmp_path / "own.pem"
    for_loopback = ["-subj", "/CN=cloud", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(made), "-out", f"{made}.crt", *for_loopback],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{made}.crt", made)
    server = scripted(servers.document(ANSWER), tls=tls)
    said = not_trusted(f"{server.url}/RPC2", "")
    assert "self-signed certificate (if you know this server: name its certificate with --ca-bundle FILE" in said
    assert fetch(f"{server.url}/RPC2", f"{made}.crt") == ANSWER


def test_a_certificate_for_another_host(scripted: Scripted, authority: Authority) -> None:
    server = scripted(servers.document(ANSWER), tls=authority.server("cloud.example.org"))
    said = not_trusted(f"{server.url}/RPC2", authority.bundle)
    assert "127.0.0.1" in said
    assert "use the name that the certificate was issued for" in said
    assert "--ca-bundle" not in said
    assert server.requests == []


def test_plain_http_where_tls_is_meant(scripted: Scripted) -> None:
    def answer(conversation: servers.Conversation) -> None:
        assert conversation.socket.recv(1 << 16)
        conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = scripted(answer)
    with pytest.raises(NeverSent, match=r"cannot use TLS with .* \(is it an http:// endpoint\?\)"):
        fetch(f"https://127.0.0.1:{server.port}/RPC2")


def test_tls_where_plain_http_is_meant(scripted: Scripted, authority: Authority) -> None:
    server = scripted(servers.document(ANSWER), tls=authority.server("127.0.0.1"))
    with pytest.raises(Unreachable):
        fetch(f"http://127.0.0.1:{server.port}/RPC2")
    assert server.requests == []


def test_a_server_that_is_silent_in_the_handshake(scripted: Scripted) -> None:
    server = scripted(lambda conversation: conversation.closing.wait(servers.PATIENCE) and None)
    transport = HttpTransport(resolve(f"https://127.0.0.1:{server.port}/RPC2", ALICE), ALICE, 0.2, {})
    with pytest.raises(NeverSent, match=r"does not answer within 0\.2 s"):
        list(transport.post(b"<call/>"))


@pytest.mark.parametrize("abruptly", [True, False])
def test_a_handshake_that_is_dropped(scripted: Scripted, abruptly: bool) -> None:
    """Overloaded servers do so now and then, so that reads are worth another try."""

    def drops(conversation: servers.Conversation) -> None:
        conversation.socket.recv(1 << 16)
        if abruptly:
            conversation.reset()

    server = scripted(drops)
    with pytest.raises(DroppedEarly, match="dropped the connection while it was being established"):
        fetch(f"https://127.0.0.1:{server.port}/RPC2")


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\x00\xff"])
def test_bundles_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(UsageError, match=r'the CA bundle ".*ca\.pem" cannot be used: [\w ]+$'):
        fetch("https://127.0.0.1:9/RPC2", bundle)


def test_a_directory_of_authorities(scripted: Scripted, authority: Authority, tmp_path: Path) -> None:
    """What OpenSSL's rehash makes, and REQUESTS_CA_BUNDLE may name."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to name the file in the directory")
    name = subprocess.check_output([openssl, "x509", "-hash", "-noout", "-in", str(authority.bundle)], text=True).strip()
    (tmp_path / f"{name}.0").write_bytes(authority.bundle.read_bytes())
    server = scripted(servers.document(ANSWER), tls=authority.server("127.0.0.1"))
    assert fetch(f"{server.url}/RPC2", tmp_path) == ANSWER


# --- client certificates --------------------------------------------------------------------------------------------------


def test_a_client_certificate(scripted: Scripted, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.client(tmp_path, "alice")
    server = scripted(servers.document(ANSWER), tls=wants_certificate(authority))
    mine = Credentials(certificate=str(certificate), key=str(key))
    assert fetch(f"{server.url}/xmlrpc", authority.bundle, mine) == ANSWER
    assert server.requests[0].target == "/cert/xmlrpc"
    assert "authorization" not in server.requests[0].headers
    assert "alice" in str(server.certificates[0])


def test_certificate_and_key_in_one_file(scripted: Scripted, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.client(tmp_path, "alice")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    server = scripted(servers.document(ANSWER), tls=wants_certificate(authority))
    assert fetch(f"{server.url}/cert/xmlrpc", authority.bundle, Credentials(certificate=str(both))) == ANSWER


def test_a_user_name_is_preferred_to_the_certificate(scripted: Scripted, authority: Authority) -> None:
    server = scripted(servers.document(ANSWER), tls=authority.server("127.0.0.1"))
    both = Credentials("alice", "secret", certificate="/no/such/file", key="/no/such/key")
    assert fetch(f"{server.url}/xmlrpc", authority.bundle, both) == ANSWER
    assert server.requests[0].target == "/pswd/xmlrpc"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_that_is_wanted_and_not_there(scripted: Scripted, authority: Authority, newest: ssl.TLSVersion) -> None:
    server = scripted(servers.document(ANSWER), tls=wants_certificate(authority, newest=newest))
    with pytest.raises((AuthenticationError, Unreachable)) as raised:
        fetch(f"{server.url}/cert/xmlrpc", authority.bundle)
    assert server.requests == []
    if newest == ssl.TLSVersion.TLSv1_3:
        assert isinstance(raised.value, AuthenticationError)
        assert "--pem-cert" in str(raised.value)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_a_stranger(
    scripted: Scripted, authority: Authority, stranger: Authority, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    certificate, key = stranger.client(tmp_path, "mallory")
    server = scripted(servers.document(ANSWER), tls=wants_certificate(authority, newest=newest))
    with pytest.raises(AuthenticationError, match="rejected the TLS client certificate") as raised:
        fetch(f"{server.url}/xmlrpc", authority.bundle, Credentials(certificate=str(certificate), key=str(key)))
    assert raised.value.status == 3
    assert server.requests == []


def test_certificates_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.client(tmp_path, "alice")
    other_certificate, other_key = authority.client(tmp_path, "bob")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    missing = tmp_path / "missing.pem"
    for mine in (
        Credentials(certificate=str(missing), key=str(key)),
        Credentials(certificate=str(certificate), key=str(missing)),
        Credentials(certificate=str(nonsense), key=str(key)),
        Credentials(certificate=str(certificate), key=str(nonsense)),
        Credentials(certificate=str(certificate), key=str(other_key)),
        Credentials(certificate=str(certificate)),
        Credentials(certificate=str(tmp_path), key=str(key)),
    ):
        with pytest.raises(UsageError, match=r"cannot be used: [\w ,]+ \(see --pem-cert and --pem-key") as raised:
            fetch("https://127.0.0.1:9/xmlrpc", authority.bundle, mine)
        assert mine.certificate in raised.value.message
    assert other_certificate.is_file()


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(authority: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    certificate, key = authority.client(tmp_path, "alice")
    loaded = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(UsageError, match="the key must have no passphrase"):
        fetch("https://127.0.0.1:9/xmlrpc", authority.bundle, Credentials(certificate=str(certificate), key=str(key)))


# --- through a proxy ------------------------------------------------------------------------------------------------------


def test_a_tunnel_through_a_proxy(scripted: Scripted, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.client(tmp_path, "alice")
    origin = scripted(servers.document(ANSWER), tls=wants_certificate(authority))
    proxy = scripted(servers.forwards)
    mine = Credentials(certificate=str(certificate), key=str(key))
    assert fetch(f"{origin.url}/xmlrpc", authority.bundle, mine, https_proxy=f"http://bob:pw@127.0.0.1:{proxy.port}") == ANSWER
    (connect,) = proxy.requests
    assert (connect.method, connect.target) == ("CONNECT", f"127.0.0.1:{origin.port}")
    assert connect.headers["proxy-authorization"].startswith("Basic ")
    assert origin.requests[0].target == "/cert/xmlrpc"
    assert "proxy-authorization" not in origin.requests[0].headers


def test_a_proxy_cannot_pretend(scripted: Scripted, authority: Authority, stranger: Authority) -> None:
    pretender = scripted(servers.document(ANSWER), tls=stranger.server("127.0.0.1"))
    proxy = scripted(servers.forwards)
    with pytest.raises(NeverSent, match="is not trusted"):
        fetch(f"{pretender.url}/pswd/xmlrpc", authority.bundle, https_proxy=proxy.url)
    assert pretender.requests == []
