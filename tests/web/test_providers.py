"""The providers that people have, with the configurations of docs/openid-connect.md: sign-in, sign-out and `check`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.web.conftest import Staff
from tests.web.provider import SECRET
from tests.web.providers import KNOWN, KnownProvider
from worker.doctor.sign_in import check_sign_in

PAGE = (Path(__file__).parents[2] / "docs" / "openid-connect.md").read_text("utf-8")


def documented(known: KnownProvider) -> dict[str, Any]:
    """The table `[web.oidc]` of a provider's section."""
    section = PAGE.split(f"\n## {known.section}\n")[1].split("\n## ")[0]
    example = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)[known.example]
    oidc: dict[str, Any] = tomllib.loads(example)["web"]["oidc"]
    return oidc


def here(base: str, value: Any) -> Any:
    """An address of the provider as one of the tests' provider."""
    return re.sub(r"^https://[^/]+", base, value) if isinstance(value, str) else value


@pytest.fixture(params=KNOWN, ids=[known.name for known in KNOWN])
def known(request: pytest.FixtureRequest) -> KnownProvider:
    chosen: KnownProvider = request.param
    return chosen


@pytest.fixture
def staff(known: KnownProvider, staff: Staff) -> Staff:
    provider, base = staff.provider, staff.provider.issuer
    oidc = documented(known)
    assert oidc["issuer"] == known.discovery["issuer"]
    provider.client, provider.issuer = oidc["client_id"], here(base, oidc["issuer"])
    provider.discovery = {name: here(base, value) for name, value in known.discovery.items()}
    provider.person, provider.userinfo, provider.scope_of = dict(known.claims), known.userinfo, known.scope_of
    staff.configure(**oidc | {"issuer": provider.issuer, "client_secret": SECRET})
    return staff


def test_a_person_signs_in_with_the_documented_configuration(known: KnownProvider, staff: Staff) -> None:
    answer = staff.sign_in()
    assert answer.status_code == 303, answer.text
    assert staff.users() == [(known.user, known.role, staff.provider.issuer, known.claims["sub"])]


def test_a_person_whose_groups_are_not_sent_is_refused(known: KnownProvider, staff: Staff) -> None:
    keep = {"sub", "azp", "hd"}
    staff.provider.person = {name: one for name, one in known.claims.items() if name in keep}
    staff.provider.userinfo = known.userinfo and {"sub": known.claims["sub"]}
    answer = staff.sign_in()
    if "other_role" in documented(known):
        assert [role for _, role, *_ in staff.users()] == ["viewer"]
    else:
        assert (answer.status_code, "the provider did not send the claim" in answer.text) == (403, True)
        assert staff.users() == []


def test_the_check_finds_nothing_to_correct(known: KnownProvider, staff: Staff) -> None:
    [finding] = check_sign_in(staff.runtime.settings)
    assert (finding.level, "can be used" in finding.found) == ("ok", True)


def test_the_session_there_ends_or_is_named(known: KnownProvider, staff: Staff) -> None:
    staff.sign_in()
    page = staff.sign_out()
    assert f"still be signed in at {documented(known)['label']}" in page
    link = re.search(r'class="button" href="([^"]*)"', page)
    assert (link is not None) == known.signs_out
    if link is None:
        assert "names no page" in page
    elif link[1].startswith("/"):
        there = staff.http.get(link[1]).headers["location"]
        assert urlsplit(there).path == urlsplit(known.discovery["end_session_endpoint"]).path
        assert parse_qs(urlsplit(there).query)["client_id"] == [documented(known)["client_id"]]
        back = requests.get(there, allow_redirects=False, timeout=10).headers["location"]
        assert back.startswith("http://testserver/ui/signed-out/oidc?state=")
        assert "sent you back" in staff.http.get(back).text
        assert "sent you back" not in staff.http.get(back).text
    else:
        assert link[1] == documented(known)["sign_out_url"]
