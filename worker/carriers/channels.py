"""Names the channels of carriers that are neither SMS nor MMS. VirtualText has conversations of SMS and MMS only."""

from __future__ import annotations

import re
from typing import Any

from worker.carriers.provider import CarrierText
from worker.carriers.reading import as_text

_NAMES = {
    "whatsapp": "WhatsApp",
    "rcs": "RCS",
    "rbm": "RCS",
    "messenger": "Messenger",
    "facebook": "Messenger",
    "instagram": "Instagram",
    "viber": "Viber",
    "viberservice": "Viber",
    "telegram": "Telegram",
    "line": "LINE",
    "wechat": "WeChat",
    "kakaotalk": "KakaoTalk",
    "applebc": "Apple Messages",
    "imessage": "iMessage",
}
_NAME = re.compile(r"[^\W\d_]")
_SHORT_CODE = re.compile(r"\+?[0-9]{3,6}")
_PREFIX = re.compile(r"([A-Za-z_]{2,20}):(.+)", re.DOTALL)


def channel_named(value: Any) -> str:
    """Return the name of the channel that a carrier's word stands for; "" for SMS, MMS and no word."""
    word = "".join(letter for letter in as_text(value).casefold() if letter.isalpha())
    if not word or word.endswith(("sms", "mms")) or word.startswith(("sms", "mms")):
        return ""
    return _NAMES.get(word) or word[:20]


def channel_of_address(address: str) -> str:
    """Return the channel of an address such as ``whatsapp:+12125550123``; "" if it names none."""
    found = _PREFIX.fullmatch(address.strip())
    return channel_named(found[1]) if found else ""


def not_in_virtualtext(text: CarrierText) -> str:
    """Return why VirtualText cannot hold this text, for a person; "" if it can.

    A text needs two phone numbers: it cannot be recorded as sent from a name or from a short code.
    """
    if text.channel:
        return f"a message by {text.channel}; VirtualText holds SMS and MMS only"
    for role, number in (("from", text.from_number), ("to", text.to_number)):
        if _NAME.search(number):
            return f'a text {role} the name "{number[:20]}"; VirtualText holds texts between phone numbers only'
        if _SHORT_CODE.fullmatch(number.strip()):
            return f"a text {role} the short code {number.strip()}; VirtualText holds texts between phone numbers only"
    return ""
