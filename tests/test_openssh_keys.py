"""SSH keys in lines of authorized_keys, as sshd(8) has them."""

from __future__ import annotations

import base64
import time

import pytest

from stratuslab.openssh_keys import public_key, public_keys


def key_of(kind: str) -> str:
    name = kind.encode()
    return base64.b64encode(len(name).to_bytes(4, "big") + name + b"\0\0\0\x20" + bytes(32)).decode()


ED25519 = f"ssh-ed25519 {key_of('ssh-ed25519')}"


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (ED25519, ""),
        (f"  {ED25519} me@here", ""),
        (f"no-pty {ED25519}", "no-pty"),
        (f'command="echo \\"x y\\"",no-pty {ED25519}', 'command="echo \\"x y\\"",no-pty'),
        (f'command="ssh-rsa {key_of("ssh-rsa")} x" {ED25519}', f'command="ssh-rsa {key_of("ssh-rsa")} x"'),
        (f'path="C:\\x" {ED25519}', 'path="C:\\x"'),
    ],
)
def test_a_key_with_its_options(line: str, options: str):
    found = public_key(line)
    assert found is not None
    assert (found.type, base64.b64encode(found.blob).decode(), found.options) == (*ED25519.split(), options)


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "ssh-rsa-cert-v01@openssh.com"])
def test_other_types(kind: str):
    found = public_key(f"{kind} {key_of(kind)}")
    assert found is not None
    assert found.type == kind


@pytest.mark.parametrize(
    "line",
    ["", "a b c", f"#{ED25519}", ED25519[:-1], f"ssh-rsa {key_of('ssh-ed25519')}", "ssh-rsa AAAAB3NzaC1yc2E=", f"x y {ED25519}"],
)
def test_lines_that_hold_none(line: str):
    assert public_key(line) is None


def test_all_of_a_text():
    text = f"# mine\n{ED25519}\ngarbage\r\nno-pty {ED25519}\n"
    assert [key.options for key in public_keys(text)] == ["", "no-pty"]


@pytest.mark.parametrize("unit", ['\\"', 'a"', '"\\', "ssh-rsa ", '" '])
def test_long_lines_take_no_long_time(unit: str):
    began = time.process_time()
    assert public_key('"' + unit * 20_000) is None
    assert time.process_time() - began < 2
