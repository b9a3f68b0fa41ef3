"""Check the links of the built manual: that each leads to a page, and to an anchor there. Usage: check_links.py DIRECTORY."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and tag != "link":
                self.links.append(value)


def main(directory: Path) -> int:
    pages = {path: Page(path) for path in directory.rglob("*.html")}
    broken = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[there].anchors if there in pages else set()
            if not there.exists() or (parts.fragment and there in pages and unquote(parts.fragment) not in anchors):
                print(f"{path.relative_to(directory)}: {link} leads nowhere")
                broken += 1
    return 1 if broken or not pages else 0


sys.exit(main(Path(sys.argv[1]).resolve()))
