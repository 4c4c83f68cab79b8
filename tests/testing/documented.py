"""The examples of docs/enqueue.md, as they are written there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "enqueue.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
CALLBACK_ORIGIN = "http://127.0.0.1:8000"


def block(language: str, containing: str) -> str:
    """The one example in a language that has these words."""
    (found,) = [code for name, code in BLOCKS if name == language and containing in code]
    return str(found)


RUN = {
    ("python", "vtsync = Celery("),
    ("python", "vtsync = requests.Session()"),
    ("python", "def send_texts("),
    ("python", "def wait_until_ended("),
    ("python", "standardwebhooks"),
    ("python", "def verified("),
    ("python", "# shop.py"),
    ("python", "# test_shop.py"),
    ("python", "# conftest.py"),
    ("js", "async function sendText("),
    ("js", "function verified("),
    ("php", "function send_text("),
    ("sh", "curl "),
    ("sh", "vtsync keys create"),
}
"""The examples that tests run: here, and the two called ``verified`` in tests/deliveries/test_docs.py, too."""
NOT_RUN = {("js", "standardwebhooks"): "needs a package of npm"}
