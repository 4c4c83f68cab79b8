"""docs/network.md and nginx.conf say what is true."""

from __future__ import annotations

import re

from config.web import Web
from tests.deploy.files import DEPLOY, ROOT

NGINX = (DEPLOY / "nginx.conf").read_text()
PAGE = (ROOT / "docs" / "network.md").read_text()


def setting(name: str) -> str:
    (value,) = re.findall(rf"^ *{name} ([^;]+);", NGINX, re.MULTILINE)
    return str(value)


def test_nginx_lets_through_what_vtsync_judges() -> None:
    limit = int(setting("client_max_body_size").removesuffix("m")) << 20
    (highest,) = [one.le for one in Web.model_fields["max_body"].metadata if hasattr(one, "le")]
    assert limit >= highest, "whatever web.max_body is, the answer 413 is vtsync's own"
    assert f"{Web().max_body:,} bytes" in PAGE


def test_nginx_waits_longer_than_vtsync_and_repeats_nothing_that_arrived() -> None:
    assert int(setting("proxy_read_timeout").removesuffix("s")) > Web().body_timeout
    assert setting("proxy_next_upstream") == "error"
    assert setting("access_log") == "off"  # the path of a Relay event has a secret


def test_the_page_explains_each_sentence_about_a_proxy_or_a_certificate() -> None:
    listed = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)
    source = (
        (ROOT / "crm_adapters" / "unreachable.py").read_text().replace('"\n    "', "").replace('"\n            "', "")
    )
    for sentence in listed:
        if not re.fullmatch(r"[A-Z_]+", sentence):
            assert sentence.partition(" (HTTP")[0] in source, sentence
    assert len([one for one in listed if " " in one]) >= 10
