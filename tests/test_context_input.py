"""Context variables and cloud-init's user data: what users give, and what arrives in the machine."""

from __future__ import annotations

import email
import gzip
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.context_input import LARGEST_USER_DATA, cloud_init, from_file, from_option
from stratuslab.environment import Environment
from stratuslab.errors import StratusLabError, UsageError

OUTSIDE = Environment(None, None, None, {})


def key(path: Path) -> str:
    return path.read_text()


def unpacked(user_data: str) -> str:
    return gzip.decompress(b64decode(user_data, validate=True)).decode()


def test_the_option() -> None:
    assert from_option("A=1#B_2 = two words ##c=x=y#A=3") == {"A": "3", "B_2": "two words", "c": "x=y"}
    assert from_option("") == {}
    assert from_option("EMPTY=") == {"EMPTY": ""}


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "context"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\n\r\n# c\r\n #A=9\n  B = tw\xc3\xb6 # words\r\nC=one\xe2\x80\xa8line\nA=2")
    assert from_file(OUTSIDE, str(path)) == {"A": "2", "B": "twö # words", "C": "one\u2028line"}


@pytest.mark.parametrize("bad", ["word", "=value", "A B=c", "A-B=c", "Ä=c", "[A]=c"])
def test_what_is_no_pair_is_named(tmp_path: Path, bad: str) -> None:
    with pytest.raises(UsageError, match=r"^--context, pair 2: expected KEY=VALUE \("):
        from_option(f"X=1#{bad}#Y=2")
    path = tmp_path / "context"
    path.write_text(f"X=1\n\n{bad}\n")
    with pytest.raises(UsageError) as raised:
        from_file(OUTSIDE, str(path))
    assert raised.value.message == f"{path}, line 3: expected KEY=VALUE"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, reason in (("missing", "No such file"), (".", "Is a directory"), ("bytes", "is not UTF-8 text")):
        with pytest.raises(UsageError, match=f"--context-file.*{reason}"):
            from_file(OUTSIDE, str(tmp_path / name))
        with pytest.raises(UsageError, match=f"--cloud-init.*{reason}"):
            cloud_init(f"x-shellscript,{tmp_path / name}", key, OUTSIDE)


def test_keys_alone_are_no_user_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"ssh-rsa {name}\n")
    assert cloud_init(f"ssh,{tmp_path}/a # ssh,{tmp_path}/b", key, OUTSIDE) == ("ssh-rsa a\nssh-rsa b", "")
    assert cloud_init("", key, OUTSIDE) == ("", "")


def test_a_multipart(tmp_path: Path) -> None:
    script, config = "#!/bin/sh\necho 'häh?'\n", "#cloud-config\npackages: [vim]\n"
    (tmp_path / "a.sh").write_text(script)
    (tmp_path / "b.yaml").write_text(config)
    (tmp_path / "k").write_text("ssh-rsa k")
    keys, data = cloud_init(f"x-shellscript,{tmp_path}/a.sh#ssh,{tmp_path}/k#text/cloud-config,{tmp_path}/b.yaml", key, OUTSIDE)
    assert keys == "ssh-rsa k"
    message = email.message_from_string(unpacked(data))
    assert message.get_content_type() == "multipart/mixed"
    parts = [
        (part.get_content_type(), part.get_content_charset(), b64decode(str(part.get_payload())).decode())
        for part in message.walk()
        if not part.is_multipart()
    ]
    assert parts == [("text/x-shellscript", "utf-8", script), ("text/cloud-config", "utf-8", config)]


def test_the_same_files_give_the_same_user_data(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    option = f"x-shellscript,{tmp_path}/a"
    assert cloud_init(option, key, OUTSIDE) == cloud_init(option, key, OUTSIDE)


def test_a_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("#!/bin/sh\n")
    assert unpacked(cloud_init(f"none,{tmp_path}/a", key, OUTSIDE)[1]) == "#!/bin/sh\n"
    with pytest.raises(UsageError, match="cannot be combined"):
        cloud_init(f"none,{tmp_path}/a#x-shellscript,{tmp_path}/a", key, OUTSIDE)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", gzip.compress(b"#!/bin/sh", mtime=0), b"\xef\xbb\xbf#cloud-config\r\n"]
)
def test_a_file_as_it_is_to_the_byte(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert gzip.decompress(b64decode(cloud_init(f"none,{tmp_path}/a", key, OUTSIDE)[1])) == content


def test_too_much(tmp_path: Path) -> None:
    import random

    (tmp_path / "a").write_text("".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=40_000)))
    with pytest.raises(UsageError, match=rf"bytes of user data after gzip, at most {LARGEST_USER_DATA} are allowed"):
        cloud_init(f"none,{tmp_path}/a", key, OUTSIDE)
    (tmp_path / "a").write_text("a" * 1_000_000)
    assert cloud_init(f"none,{tmp_path}/a", key, OUTSIDE)[1]


@pytest.mark.parametrize(
    "option",
    ["x", ",file", "x-shellscript,", "x-shellscript", "a b,file", "x\nX-Evil: yes,file", "application/zip,file", "text/,f"],
)
def test_what_is_no_pair_of_type_and_file(option: str) -> None:
    with pytest.raises(UsageError, match=r"--cloud-init: expected TYPE,FILE") as raised:
        cloud_init(option, key, OUTSIDE)
    assert "x-shellscript" in raised.value.hint


def test_the_home_of_nobody() -> None:
    with pytest.raises(UsageError, match="cannot read"):
        cloud_init("x-shellscript,~no-such-user/file", key, OUTSIDE)


@given(st.text('aX=#,/-_ \n"é', max_size=30))
def test_any_option_is_taken_or_a_usage_error(text: str) -> None:
    for read in (from_option, lambda text: cloud_init(text, lambda path: "ssh-rsa k", OUTSIDE)):
        try:
            read(text)
        except StratusLabError as error:
            assert error.status == 2
