"""Renders pages: templates, times, masks, and the headers that keep a browser from running anything else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from worker.core.clock import utcnow
from worker.core.phones import mask
from worker.core.text import counted
from worker.web.pages.queries import COUNTED
from worker.web.sessions import Session

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STATIC = {
    "ui.css": "text/css; charset=utf-8",
    "ui.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
_SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "macOS")),
    *(("CrOS", "ChromeOS"), ("Linux", "Linux")),
)
HIDDEN = "••••••"


def page(
    template: str, session: Session | None, values: Mapping[str, Any] | None = None, *, status: int = 200, **more: Any
) -> Response:
    """Return a page. ``session`` decides what is masked; without one, the page has no navigation."""
    masks = Masks(session)
    context = {"session": session, "masks": masks, "static": static_urls(), "status": status, **(values or {}), **more}
    html = _environment().get_template(template).render(context)
    return Response(html, status, HEADERS, "text/html; charset=utf-8")


class Masks:
    """What this person may see: viewers get no numbers and no texts."""

    def __init__(self, session: Session | None) -> None:
        self.shows_all = session is not None and session.person.may("operator")

    def phone(self, number: str) -> str:
        """Return a number as this person may see it."""
        return number if self.shows_all else mask(number)

    def body(self, text: str) -> str:
        """Return a text, a name or an email address as this person may see it."""
        return text if self.shows_all or not text else HIDDEN

    def why(self, reason: str) -> Markup:
        """Return the reason of a state, whose code is before the colon. The rest may quote what a person wrote."""
        code, colon, explanation = reason.partition(":")
        return prose(f"{words(code)}{colon}{explanation}" if self.shows_all else words(code))


@cache
def static_file(name: str) -> bytes:
    """Return a file of the pages."""
    return files("worker.web.pages").joinpath("static", name).read_bytes()


@cache
def static_urls() -> dict[str, str]:
    """Return the address of each file, which changes with its content."""
    return {name: f"/ui/static/{name}?{hashlib.sha256(static_file(name)).hexdigest()[:12]}" for name in STATIC}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("worker.web.pages"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "prose": prose,
        "sentence": sentence,
        "when": when,
        "exact": exact,
        "lasting": lasting,
        "counted": counted,
        "query": query,
        "words": words,
        "schedule": schedule,
        "browser": browser,
        "breakable": breakable,
        "about": about,
        "bars": bars,
    }
    return environment


def when(moment: datetime | None) -> Markup:
    """Return a time element: how long ago, with the exact time beside it."""
    if moment is None:
        return Markup("never")
    return _time(moment, _ago(moment - utcnow()))


def exact(moment: datetime) -> Markup:
    """Return a time element that shows the exact time, with how long ago it is beside it."""
    return Markup('<time class="exact" datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), _ago(moment - utcnow()), _exact(moment)
    )


def lasting(moment: datetime) -> Markup:
    """Return a time element: how long something lasts since then, with the exact time beside it."""
    return _time(moment, _length(utcnow() - moment) or "less than a minute")


def _time(moment: datetime, shown: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), _exact(moment), shown)


def _exact(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _ago(difference: timedelta) -> str:
    length = _length(difference)
    if not length:
        return "now"
    return f"in {length}" if difference > timedelta(0) else f"{length} ago"


def _length(difference: timedelta) -> str:
    size = abs(difference.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if size >= 2 * length:
            return f"{size / length:.0f} {unit}"
    return "" if size < 60 else "a minute"


def prose(text: str) -> Markup:
    """Return a sentence in which commands between backquotes are shown as such."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else piece for number, piece in enumerate(pieces)
    )


def sentence(text: str) -> Markup:
    """Return what a check or an error says, which begins small and has no full stop, as a sentence."""
    return prose(f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}") if text else Markup()


def query(values: Mapping[str, Any], **changed: Any) -> str:
    """Return a query string of these values; empty ones are left out."""
    kept = {name: value for name, value in {**values, **changed}.items() if value not in (None, "")}
    return f"?{urlencode(kept)}" if kept else "?"


def about(count: int, most: int = COUNTED) -> str:
    """Return a count, or that there are more than are counted."""
    return f"{count:,}" if count <= most else f"{most:,}+"


def words(code: str) -> str:
    """Return a code such as ``opted_out`` as words."""
    return code.replace("_", " ")


def schedule(written: str) -> str:
    """Return the schedule of a connection as words: ``15m`` as "every 15m". Cron lines have their name before them."""
    if written in ("by hand", "disabled"):
        return written
    return f"cron {written}" if " " in written else f"every {written}"


def breakable(name: str) -> Markup:
    """Return a name that a narrow column breaks after an underscore rather than within a word."""
    return Markup("_<wbr>").join(name.split("_"))


def browser(agent: str) -> str:
    """Return what a browser says of itself as a person knows it: ``Firefox on Linux``. What is not known stays."""
    names = [next((name for mark, name in known if mark in agent), "") for known in (_BROWSERS, _SYSTEMS)]
    return " on ".join(names) if all(names) else agent


def bars(runs: Sequence[tuple[str, int, str]]) -> Markup:
    """Draw runs as bars, oldest first: (state, size, title). The titles are for screen readers, too.

    The heights are logarithms: beside a run that read everything, the others would not be seen.
    """
    largest = math.log1p(max((size for _, size, _ in runs), default=0)) or 1
    parts = [
        Markup('<rect class="run {}" x="{}" y="{}" width="5" height="{}"><title>{}</title></rect>').format(
            state, 7 * number, 24 - height, height, title
        )
        for number, (state, size, title) in enumerate(runs)
        for height in [max(3, round(24 * math.log1p(size) / largest))]
    ]
    label = f"the last {counted(len(runs), 'run')}"
    return Markup('<svg class="bars" role="img" aria-label="{}" viewBox="0 0 {} 24">{}</svg>').format(
        label, 7 * max(len(runs), 1), Markup("").join(parts)
    )
