"""Writes XML as OpenNebula does: compact, values of templates as CDATA, the rest as plain text."""

from __future__ import annotations

from collections.abc import Iterable

from stratuslab.opennebula.template_grammar import Attribute

# No XML document can hold these, escaped or not. A driver's message has them where it is colored.
_NO_CHARACTERS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF))


def escape(text: str) -> str:
    """The text with &, < and > escaped. The standard library's function would import its network code."""
    return text.translate(_NO_CHARACTERS).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cdata(text: str) -> str:
    """The text as CDATA. An end mark in it is split between two sections."""
    return "<![CDATA[" + text.translate(_NO_CHARACTERS).replace("]]>", "]]]]><![CDATA[>") + "]]>"


def wrapped(name: str, content: str) -> str:
    """An element around markup, ``<NAME/>`` if that is empty."""
    return f"<{name}>{content}</{name}>" if content else f"<{name}/>"


def attributes(pairs: Iterable[Attribute]) -> str:
    """Template attributes in the given order; those of a vector are sorted."""
    return "".join(
        f"<{name}>{cdata(value) if isinstance(value, str) else attributes(sorted(value.items()))}</{name}>"
        for name, value in pairs
    )
