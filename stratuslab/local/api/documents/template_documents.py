"""The documents of machine templates."""

from __future__ import annotations

from stratuslab.local.api import machine_templates
from stratuslab.local.api.documents.elements import OWNED, SHARED, elements, permissions, written
from stratuslab.local.api.documents.elements import pool as pool_of
from stratuslab.local.engine.engine import Engine
from stratuslab.local.xml_text import attributes, escape

_TEMPLATE = elements(f"{OWNED} REGTIME=0 TEMPLATE")


def pool(engine: Engine, release: int) -> str:
    """All machine templates."""
    return pool_of("VMTEMPLATE_POOL", [_document(template, release) for template in machine_templates.ALL], release)


def template(engine: Engine, release: int, number: int) -> str:
    """One machine template. Raises APIError."""
    return _document(machine_templates.find(number), release)


def _document(template: machine_templates.MachineTemplate, release: int) -> str:
    # 3.x writes into a template what it is called itself.
    own = [("NAME", template.name), ("TEMPLATE_ID", str(template.id))] if release < 4 else []
    content = {
        "ID": template.id,
        "NAME": escape(template.name),
        "PERMISSIONS": permissions(SHARED),
        "TEMPLATE": attributes(sorted([*template.attributes, *own], key=lambda attribute: attribute[0])),
    }
    return written("VMTEMPLATE", _TEMPLATE, release, content)
