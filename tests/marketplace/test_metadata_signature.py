"""Signatures under attack: what is read of a signed document is what was signed, whatever was done to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import StratusLabError
from stratuslab.marketplace.metadata import Metadata
from stratuslab.marketplace.metadata_signature import examined
from stratuslab.marketplace.metadata_writer import written
from tests.fakes.endorser import Endorser
from tests.marketplace.test_metadata import COMPLETE, NAMESPACES, NOW, TTYLINUX

ENDORSER = Endorser("images@stratuslab.eu")
SIGNED = ENDORSER.signed(f"<rdf:RDF {NAMESPACES}>{COMPLETE}</rdf:RDF>".encode())


def proven(document: bytes) -> list[Metadata]:
    """The entries with a valid signature of their endorser."""
    try:
        return [signed.entry for signed in examined(document, TTYLINUX, NOW) if signed.signer and not signed.problem]
    except StratusLabError:
        return []


(ENTRY,) = proven(SIGNED)


@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 40), st.binary(max_size=6))
def test_a_changed_document_proves_nothing_else(place: int, length: int, inserted: bytes) -> None:
    assert proven(SIGNED[:place] + inserted + SIGNED[place + length :]) in ([], [ENTRY])


@given(st.lists(st.tuples(st.integers(0, len(SIGNED)), st.integers(0, len(SIGNED))), max_size=4), st.integers(0, len(SIGNED)))
def test_parts_of_it_elsewhere_prove_nothing_else(parts: list[tuple[int, int]], place: int) -> None:
    pieces = b"".join(SIGNED[begin:end] for begin, end in parts)
    for document in (SIGNED[:place] + pieces + SIGNED[place:], b"<metadata>" + SIGNED + pieces + b"</metadata>"):
        assert proven(document) in ([], [ENTRY], [ENTRY, ENTRY])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_an_encoding_is_not_part_of_what_is_signed(encoding: str) -> None:
    entry = written(replace(ENTRY, title="Été", created=datetime(2012, 1, 1, tzinfo=timezone.utc)))
    signed = ENDORSER.signed(entry.encode()).decode()
    document = f"<?xml version='1.0' encoding='{encoding}'?>{signed}".encode(encoding)
    assert [one.title for one in proven(document)] == ["Été"]
