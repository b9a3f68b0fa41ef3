"""How Sphinx builds the manual."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_package = Path(__file__).parent.parent / "stratuslab" / "version.py"
_stated = re.search(r'^__version__ = "(.+)"$', _package.read_text("utf-8"), re.MULTILINE)
assert _stated is not None, f"{_package} states no __version__"

project = "StratusLab client"
release = version = _stated[1]
copyright = "the StratusLab client's contributors, Apache License 2.0"
language = "en"
sys.path.append(str(Path(__file__).with_name("_extensions")))
extensions = ["option_reference", "sphinx.ext.autodoc", "sphinx_copybutton"]
autodoc_typehints = "none"  # the signatures have no room for them
autodoc_member_order = "bysource"
exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "none"
smartquotes = False  # what is shown is what is typed: "--", not a dash

copybutton_prompt_text = "$ "  # what is copied: the command lines of a session, without the prompt and the output

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["manual.css"]


class IndexOfTables(SphinxTransform):
    """Gives what the tables of the manual explain (settings, states, statuses) an anchor and a place in the index."""

    default_priority = 400  # before Sphinx collects the index

    def apply(self, **kwargs: object) -> None:
        title = self.document.next_node(nodes.title)
        page = "" if title is None else title.astext()
        for row in self.document.findall(nodes.row):
            cell = row[0]
            words = [literal.astext() for literal in cell.findall(nodes.literal)]
            entries: list[str] = []
            if page == "Exit statuses" and cell.astext().isdigit():
                entries = [f"exit status {cell.astext()}"]
            elif page == "Configuration" and re.fullmatch("[a-z_]+", cell.astext()):
                variable = row[1].astext()
                entries = [f"{cell.astext()} (setting)", *([variable] if variable.startswith("STRATUSLAB_") else [])]
            elif page == "The life of a machine" and words:
                entries = [f"{word} (state)" for word in words]
            if not entries:
                continue
            anchor = nodes.make_id(entries[0].split(" (")[0])
            while anchor in self.document.ids:
                anchor += "-more"
            target = nodes.target("", "", ids=[anchor])
            self.document.note_explicit_target(target)
            index = addnodes.index(entries=[("single", entry, anchor, "", None) for entry in entries])
            link = nodes.reference("", "#", refid=anchor, classes=["headerlink"], reftitle="Link to this entry")
            cell.insert(0, [index, target])
            cell.next_node(nodes.paragraph).append(link)


def setup(app: Sphinx) -> None:
    """Make the tables part of the index."""
    app.add_transform(IndexOfTables)
