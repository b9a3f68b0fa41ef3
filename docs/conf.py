"""How Sphinx builds the manual. Man pages are made from the commands' options, when the package is built."""

from __future__ import annotations

import re
from pathlib import Path

_package = Path(__file__).parent.parent / "stratuslab" / "version.py"
_stated = re.search(r'^__version__ = "(.+)"$', _package.read_text("utf-8"), re.MULTILINE)
assert _stated is not None, f"{_package} states no __version__"

project = "StratusLab client"
release = version = _stated[1]
copyright = "the StratusLab client's contributors, Apache License 2.0"
language = "en"
extensions = ["sphinx.ext.autodoc"]
autodoc_typehints = "none"  # the signatures have no room for them
autodoc_member_order = "bysource"
exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "none"
smartquotes = False  # what is shown is what is typed: "--", not a dash

html_theme = "alabaster"
html_theme_options = {
    "description": "Virtual machines on StratusLab and OpenNebula clouds",
    "page_width": "1140px",
    "sidebar_width": "240px",
    "font_family": "system-ui, sans-serif",
    "fixed_sidebar": True,
    "show_powered_by": False,
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["manual.css"]
