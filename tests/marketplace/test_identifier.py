"""The identifier of an image: the published vectors, the round trip, and files that are compressed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import UsageError
from stratuslab.marketplace.identifier import (
    identifier_from_sha1,
    is_identifier,
    sha1_from_identifier,
)

VECTORS = {
    "c319bbd5afc0a22ba3eaed0507c39383ec28eeff": "MMZu9WvwKIro-rtBQfDk4PsKO7_",
    "137510490f881c7ceffb8b8f6fac7726d223e5db": "BN1EEkPiBx87_uLj2-sdybSI-Xb",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709": "No5o-5ea0sNMlW_75VgGJCv2AcJ",
    "0" * 40: "A" * 27,
    "f" * 40: "P" + "_" * 26,
    "639ac4915da045efa809bd02b2609d9d3f932e85": "GOaxJFdoEXvqAm9ArJgnZ0_ky6F",
}


@pytest.mark.parametrize(("sha1", "identifier"), VECTORS.items())
def test_published_vectors(sha1: str, identifier: str) -> None:
    assert identifier_from_sha1(sha1) == identifier
    assert sha1_from_identifier(identifier) == sha1
    assert is_identifier(identifier)


@given(st.integers(0, 2**160 - 1))
def test_round_trip_keeps_leading_zeros(number: int) -> None:
    sha1 = f"{number:040x}"
    identifier = identifier_from_sha1(sha1)
    assert is_identifier(identifier)
    assert sha1_from_identifier(identifier) == sha1


@pytest.mark.parametrize("digits", ["000abc", "ABC", "0" * 50 + "abc"])
def test_a_sha1_is_a_number(digits: str) -> None:
    assert identifier_from_sha1(digits) == identifier_from_sha1("0" * 37 + "abc")


@pytest.mark.parametrize("digits", ["", "0x12", "g" * 40, "1" * 41, "1_0", " 12", "12\n", "-1", "١٢"])
def test_no_sha1(digits: str) -> None:
    with pytest.raises(UsageError, match="not a SHA-1"):
        identifier_from_sha1(digits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BN1EEkPiBx87_uLj2-sdybSI-X",
        "BN1EEkPiBx87_uLj2-sdybSI-Xbb",
        "BN1EEkPiBx87_uLj2-sdybSI-Xb\n",
        "BN1EEkPiBx87/uLj2+sdybSI-Xb",
        "Q" + "A" * 26,
        "_" * 27,
        "BN1EEkPiBx87\\_uLj2-sdybSI-Xb",
    ],
)
def test_no_identifier(text: str) -> None:
    assert not is_identifier(text)
    with pytest.raises(UsageError, match="not an image identifier"):
        sha1_from_identifier(text)
