"""The documents of machine templates."""

from __future__ import annotations

from stratuslab.local.api import ready_templates
from stratuslab.local.api.documents.element_tables import OWNED, elements, written
from stratuslab.local.engine.engine import Engine
from stratuslab.local.xml_writer import attributes, escape

_TEMPLATE = elements(f"{OWNED} REGTIME=0 TEMPLATE")


def templates(_engine: Engine, release: int, number: int | None = None) -> list[str]:
    """All machine templates, or that of the number."""
    return [_document(template, release) for template in ready_templates.ALL if number in (None, template.id)]


def _document(template: ready_templates.ReadyTemplate, release: int) -> str:
    # 3.x adds its own name and id to a template.
    own = [("NAME", template.name), ("TEMPLATE_ID", str(template.id))] if release < 4 else []
    content = {
        "ID": template.id,
        "NAME": escape(template.name),
        "TEMPLATE": attributes(sorted([*template.attributes, *own], key=lambda attribute: attribute[0])),
    }
    return written("VMTEMPLATE", _TEMPLATE, release, content)
