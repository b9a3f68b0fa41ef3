"""URLs with secrets in them: what is shown, and who logs in."""

from __future__ import annotations

import pytest

from stratuslab.url_credentials import shown, split_login, without_login


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("https://alice:secret@h/RPC2", "https://h/RPC2"),
        ("https://alice:se@cret@h/RPC2", "https://h/RPC2"),
        ("https://alice:sec/ret@h/RPC2", "https://h/RPC2"),
        ("https://alice:sec?ret#x@h/RPC2", "https://h/RPC2"),
        ("https://alice@h/RPC2", "https://h/RPC2"),
        ("https://alice:se\ncret@h/RPC2", "https://h/RPC2"),
        ("alice:secret@h", "h"),
        ("alice:se//cret@h", "h"),
        ("https://h/RPC2", "https://h/RPC2"),
        ("https://h/image@2.img", "https://h/image@2.img"),
        ("http://h:8080/image@2.img", "http://h:8080/image@2.img"),
        ("http://[::1]:8080/image@2.img", "http://[::1]:8080/image@2.img"),
        (" local ", "local"),
    ],
)
def test_user_and_password_go(text: str, without: str):
    assert without_login(text) == without
    assert shown(text) == without


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://h/x?X-Amz-Signature=abc&X-Amz-Date=1", "https://h/x?X-Amz-Signature=***&X-Amz-Date=***"),
        ("https://u:p@h/x?abc", "https://h/x?***"),
        ("https://h/x?token=abc#part", "https://h/x?token=***#part"),
        ("https://h/x?mail=a@b&token=abc", "https://h/x?mail=***&token=***"),
    ],
)
def test_a_query_is_masked(url: str, text: str):
    assert shown(url) == text


def test_who_logs_in():
    assert split_login("https://al%40ice:p%2Fw@h:1/x?y#z") == ("https://h:1/x?y#z", ("al@ice", "p/w"))
    assert split_login("https://h/x@y") == ("https://h/x@y", None)
    with pytest.raises(ValueError):
        split_login("https://[h/")
