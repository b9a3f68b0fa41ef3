"""Which proxy is taken for a URL."""

from __future__ import annotations

import pytest

from stratuslab.errors import UsageError
from stratuslab.http_proxy import proxy_for

PROXY = "http://proxy.example.org:3128"


def is_direct(url: str, no_proxy: str) -> bool:
    return proxy_for(url, {"http_proxy": PROXY, "https_proxy": PROXY, "NO_PROXY": no_proxy}) is None


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://10.1.2.3:2633/RPC2", "10.0.0.0/8"),
        ("http://10.1.2.3:2633/RPC2", "192.168.0.0/16 10.1.2.3/16"),
        ("http://10.1.2.3:2633/RPC2", "10.1.2.3:2633"),
        ("http://[fd00::7]:2633/RPC2", "fd00::/8"),
        ("http://[fd00::7]:2633/RPC2", "[fd00:0::7]"),
        ("http://[fd00::7]:2633/RPC2", "[fd00::7]:2633"),
        ("http://[fe80::7%25eth0]:2633/RPC2", "fe80::/10"),
        ("https://cloud.example.org/pswd/xmlrpc", "example.org"),
        ("https://cloud.example.org/pswd/xmlrpc", ".Example.org"),
        ("https://cloud.example.org/pswd/xmlrpc", "*.example.org"),
        ("https://cloud.example.org/pswd/xmlrpc", "cloud.example.org:443"),
        ("https://CLOUD.example.org./pswd/xmlrpc", "x, cloud.example.org"),
        ("https://cloud.example.org/pswd/xmlrpc", "*"),
    ],
)
def test_direct(url: str, no_proxy: str) -> None:
    assert is_direct(url, no_proxy)


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://10.1.2.3:2633/RPC2", "11.0.0.0/8"),
        ("http://10.1.2.3:2633/RPC2", "10.0.0.0/99"),
        ("http://10.1.2.3:2633/RPC2", "10.1.2.3:80"),
        ("http://10.1.2.3:2633/RPC2", "3"),
        ("http://[fd00::7]:2633/RPC2", "fe00::/8,10.0.0.0/8"),
        ("https://cloud.example.org/pswd/xmlrpc", "loud.example.org"),
        ("https://cloud.example.org/pswd/xmlrpc", "10.0.0.0/8"),
        ("https://cloud.example.org/pswd/xmlrpc", "example.org:8443"),
        ("https://cloud.example.org/pswd/xmlrpc", "., ,"),
        ("https://cloud.example.org/pswd/xmlrpc", ""),
    ],
)
def test_through_the_proxy(url: str, no_proxy: str) -> None:
    assert not is_direct(url, no_proxy)


def test_which_variable_counts() -> None:
    other = "http://other.example.org:3128"
    http, https = "http://cloud.example.org:2633/RPC2", "https://cloud.example.org/pswd/xmlrpc"

    def taken(url: str, **environ: str) -> str:
        proxy = proxy_for(url, environ)
        return proxy.geturl() if proxy else ""

    assert taken(http, https_proxy=PROXY) == ""
    assert taken(http, http_proxy=PROXY, all_proxy=other) == PROXY
    assert taken(https, http_proxy=PROXY, ALL_PROXY=other) == other
    assert taken(https, https_proxy="", all_proxy=other) == ""
    with pytest.raises(UsageError, match="all_proxy in the environment is not an HTTP proxy"):
        taken(https, all_proxy="socks5://127.0.0.1:1080")
