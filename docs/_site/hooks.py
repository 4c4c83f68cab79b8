"""Builds the documentation from the files as they are: pages of the top folder are added, links between them rewritten.

The same files are read in the repository, where links lead to files. On the site, a link to a page leads to that page,
and a link to another file becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from lists import indented
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

TOP = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the top folder, and their places on the site."""
SHIM = "assets/javascripts/iframe-worker.js"
"""Lets the search work in pages that are opened as files. The theme would load it from another server."""
_SHIM_ELSEWHERE = re.compile(r"https?://[^\"]*/iframe-worker/shim")
_LINK = re.compile(r"\[([^\]\[]*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the top folder."""
    top = Path(config.docs_dir).parent
    for name, place in TOP.items():
        files.append(File.generated(config, place, content=(top / name).read_text("utf-8")))
    files.append(File.generated(config, SHIM, content=Path(__file__).with_name("iframe-worker.js").read_text("utf-8")))
    return files


def on_post_page(output: str, *, page: Page, **_: object) -> str:
    """Load nothing from other servers. Raises ValueError if the page would."""
    found = _SHIM_ELSEWHERE.sub(get_relative_url(SHIM, page.url), output)
    if re.search(r"<(script|link|img)[^>]*(src|href)=\"https?:", found):
        raise ValueError(f"{page.file.src_uri} would load something from another server")
    return found


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    place = page.file.src_uri
    original = {site: name for name, site in TOP.items()}.get(place, f"docs/{place}")
    shown = (*files.documentation_pages(), *(one for one in files.media_files() if one.inclusion.is_included()))
    pages = {f"docs/{one.src_uri}": one.src_uri for one in shown} | TOP
    top = Path(config.docs_dir).parent
    parts = _FENCE.split(indented(markdown))
    return "".join(part if part.startswith("```") else rewritten(part, original, place, pages, top) for part in parts)


def rewritten(markdown: str, original: str, place: str, pages: Mapping[str, str], top: Path) -> str:
    """Return Markdown of the repository's file ``original`` for the page ``place`` of the site.

    ``pages`` has the place of each page and picture by its file. Raises FileNotFoundError if a link leads nowhere.
    """

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        path, hash_, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(original), path))
        if file in pages:
            return f"[{text}]({posixpath.relpath(pages[file], posixpath.dirname(place) or '.')}{hash_}{anchor})"
        if not (top / file).exists():
            raise FileNotFoundError(f"{original}: the link to {target} leads nowhere; correct it")
        return text if "`" in text or not text.endswith(posixpath.basename(file)) else f"`{text}`"

    return _LINK.sub(link, markdown)
