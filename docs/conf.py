"""How Sphinx builds the manual: HTML by default, man pages with ``-b man``."""

from __future__ import annotations

import re
from pathlib import Path

_package = Path(__file__).parent.parent / "stratuslab" / "__init__.py"
_stated = re.search(r'^__version__ = "(.+)"$', _package.read_text("utf-8"), re.MULTILINE)
assert _stated is not None, f"{_package} states no __version__"

project = "StratusLab client"
release = version = _stated[1]
copyright = "the StratusLab client's contributors, Apache License 2.0"
language = "en"
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

_commands = {
    "run-instance": ("stratus-run-instance", "start virtual machines on a cloud"),
    "describe-instance": ("stratus-describe-instance", "show the state of virtual machines"),
    "connect-instance": ("stratus-connect-instance", "log in to a virtual machine"),
    "kill-instance": ("stratus-kill-instance", "stop virtual machines and release what they hold"),
    "local-cloud": ("stratus-local-cloud", "serve, show and reset the embedded cloud"),
}
man_pages = [(page, name, purpose, "", 1) for page, (name, purpose) in _commands.items()]
