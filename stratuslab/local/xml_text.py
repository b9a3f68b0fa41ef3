"""Pieces of XML text as OpenNebula writes them: compact, values of templates as CDATA, the rest plain."""

from __future__ import annotations

from collections.abc import Iterable

from stratuslab.opennebula.template import Attribute


def escape(text: str) -> str:
    """The text with what XML reserves replaced, without the network code that the standard library's function imports."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cdata(text: str) -> str:
    """The text as CDATA; the end mark, which an XML template can hold, is divided between two sections."""
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def element(name: str, value: str | int) -> str:
    """A plain element, in the short form where it is empty."""
    return wrapped(name, escape(str(value)))


def wrapped(name: str, content: str) -> str:
    """An element around markup, in the short form where that is empty."""
    return f"<{name}>{content}</{name}>" if content else f"<{name}/>"


def attributes(pairs: Iterable[Attribute]) -> str:
    """Template attributes in their order, those inside a vector by name."""
    return "".join(
        f"<{name}>{cdata(value)}</{name}>"
        if isinstance(value, str)
        else f"<{name}>{''.join(f'<{key}>{cdata(value[key])}</{key}>' for key in sorted(value))}</{name}>"
        for name, value in pairs
    )
