"""Texts as HTML notes, for CRMs whose history holds notes and knows no idempotency keys. Pure.

The last line of a note is a mark with the text's own id. Look for it with ``is_note_of`` before writing a note.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from crm_adapters.base import CrmMessage

_MARK = re.compile(r"\[vtsync ([^\]\s]+)\]")


def note_title(message: CrmMessage) -> str:
    """Return what a note is about, in two words."""
    return "Text received" if message.direction == "in" else "Text sent"


def note_of(message: CrmMessage, title: str = "") -> str:
    """Return the HTML of a note: the numbers, the text with its line breaks and spaces, links to media, the mark.

    ``title`` is for CRMs that show ``note_title`` anyway.
    """
    numbers = f"{title or note_title(message)} from {escape(message.from_number)} to {escape(message.to_number)}"
    links = [f'<a href="{escape(url)}">{escape(url)}</a>' for url in message.media]
    paragraphs = [numbers, _html(message.text), *links, f"[vtsync {escape(message.id)}]"]
    return "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)


def is_note_of(body: Any, message_id: str) -> bool:
    """Return True if this is the note of the text with this id, however the CRM stores HTML."""
    marks = _MARK.findall(unescape(body)) if isinstance(body, str) else []
    return bool(marks) and marks[-1] == message_id


def _html(text: str) -> str:
    lines = text.replace("\x00", "").replace("\r\n", "\n").split("\n")
    return "<br>".join(re.sub("^ | (?= )| $", "&nbsp;", escape(line)) for line in lines)
