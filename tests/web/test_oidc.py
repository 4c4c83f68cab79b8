"""Sign-in by OpenID Connect, against a provider on this machine: who comes in, and what proves nothing."""

from __future__ import annotations

import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha512
from typing import Any

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import OKPKey
from sqlalchemy import select, update

from config.sign_in import OidcSignIn
from config.web import Web
from tests.web.conftest import ORIGIN, Staff
from tests.web.provider import (
    ACCESS_TOKEN,
    AUTH_METHODS,
    CLIENT,
    SECRET,
    rsa_key,
    signed,
    signed_list,
    signed_with_the_public_key,
    unsigned,
)
from worker.doctor.sign_in import check_sign_in, doubts_about
from worker.identity.id_token import IdTokenRefused, read_key_set, verified_claims
from worker.identity.metadata import ProviderFailed, read_metadata
from worker.identity.provider import KEPT
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import web_session, web_sign_in, web_user
from worker.web.identities import link_user
from worker.web.users import UserRefused, create_user, set_disabled, set_password, set_role, set_totp

PASSWORD = "correct horse battery"


def test_a_person_signs_in_and_gets_the_role_of_their_group(staff: Staff) -> None:
    assert 'href="/ui/sign-in/oidc?next=%2Fui%2Freviews"' in staff.http.get("/ui/sign-in?next=/ui/reviews").text
    answer = staff.sign_in("/ui/reviews")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/reviews")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert staff.http.get("/ui/me").status_code == 200
    assert staff.users() == [("ana", "operator", staff.provider.issuer, "17")]
    assert staff.audit() == [("ana", "signed_in", "")]
    with reading(staff.engine) as connection:
        expires = connection.scalar(select(web_session.c.expires_at))
        assert connection.execute(select(web_sign_in)).all() == []
    assert expires is not None
    assert expires - utcnow() < timedelta(hours=12, seconds=1)


def test_a_form_of_such_a_session_needs_its_token(staff: Staff) -> None:
    staff.sign_in()
    assert staff.http.post("/ui/sign-out", data={"csrf": "0" * 64}, headers=ORIGIN).status_code == 403
    page = staff.http.get("/ui/me").text
    csrf = page.split('name="csrf" value="')[1][:64]
    answer = staff.http.post("/ui/sign-out", data={"csrf": csrf}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/signed-out/oidc")
    assert "may still be signed in" in staff.http.get("/ui/signed-out/oidc").text
    assert staff.http.get("/ui").status_code == 303


def test_the_role_is_read_again_at_each_sign_in(staff: Staff) -> None:
    staff.sign_in()
    staff.provider.person["groups"] = ["all", "boss"]
    staff.sign_in()
    assert staff.users() == [("ana", "admin", staff.provider.issuer, "17")]
    staff.provider.person["groups"] = []
    assert "gives you no role here" in staff.sign_in().text


def test_a_name_that_changes_there_is_the_same_user_here(staff: Staff) -> None:
    staff.sign_in()
    staff.provider.person["preferred_username"] = "ana.married"
    staff.sign_in()
    staff.provider.person["sub"] = "18"
    staff.sign_in()
    assert [(name, subject) for name, *_, subject in staff.users()] == [("ana", "17"), ("ana.married", "18")]


# What proves nothing

Change = Callable[[dict[str, Any]], dict[str, Any]]

BROKEN: dict[str, tuple[Change, Callable[..., str], str]] = {
    # what is changed in the claims, how they are signed, what the person reads
    "another nonce": (lambda c: c | {"nonce": "x"}, signed, "claim nonce"),
    "no nonce": (lambda c: {k: v for k, v in c.items() if k != "nonce"}, signed, "claim nonce"),
    "another audience": (lambda c: c | {"aud": "another"}, signed, "claim aud"),
    "several audiences, made for another": (lambda c: c | {"aud": [CLIENT, "x"], "azp": "x"}, signed, "claim azp"),
    "several audiences, made for nobody": (lambda c: c | {"aud": [CLIENT, "x"]}, signed, "claim azp"),
    "another issuer": (lambda c: c | {"iss": "https://evil.example"}, signed, "claim iss"),
    "expired": (lambda c: c | {"exp": c["iat"] - 3600}, signed, "claim exp"),
    "no expiry": (lambda c: {k: v for k, v in c.items() if k != "exp"}, signed, "claim exp"),
    "a word as expiry": (lambda c: c | {"exp": "tomorrow"}, signed, "claim exp"),
    "of the future": (lambda c: c | {"iat": c["iat"] + 7200, "nbf": c["iat"] + 7200}, signed, "claim iat"),
    "of another access token": (lambda c: c | {"at_hash": "x"}, signed, "claim at_hash"),
    "not signed": (lambda c: c, unsigned, "signature or form"),
    "signed with the public key": (lambda c: c, signed_with_the_public_key, "signature or form"),
    "signed with an unknown key": (lambda c: c, lambda c, _: signed(c, rsa_key("two")), "does not publish"),
    "signed with another key of the same name": (
        lambda c: c,
        lambda c, key: signed(c, type(key).import_key(rsa_key("two").as_dict(private=True) | {"kid": "one"})),
        "signature or form",
    ),
    "cut": (lambda c: c, lambda c, key: signed(c, key)[:-20], "signature or form"),
    "no token": (lambda c: c, lambda *_: "x.y", "signature or form"),
    "claims that are a list": (lambda c: c, lambda c, key: signed_list([c], key), "signature or form"),
    "nobody": (lambda c: {k: v for k, v in c.items() if k != "sub"}, signed, "claim sub"),
    "a number as subject": (lambda c: c | {"sub": 17}, signed, "the provider"),
    "an endless subject": (lambda c: c | {"sub": "x" * 300}, signed, "who you are"),
    "no claim of groups": (lambda c: c | {"groups": None}, signed, "did not send the claim groups"),
    "no group": (lambda c: c | {"groups": []}, signed, "gives you no role here"),
    "a group of another name": (lambda c: c | {"groups": ["Ops", "opsx", 5]}, signed, "gives you no role here"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_token_that_proves_nothing_is_refused(staff: Staff, broken: str) -> None:
    staff.provider.change, staff.provider.sign, says = BROKEN[broken]
    answer = staff.sign_in()
    assert answer.status_code == 403, answer.text
    assert says in answer.text
    assert staff.users() == []
    assert [(actor, action) for actor, action, _ in staff.audit()] == [("unknown name", "sign_in_refused")]
    with reading(staff.engine) as connection:
        assert connection.execute(select(web_session)).all() == []


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("error=access_denied&error_description=not%20assigned%0A%3Cb%3E", "not assigned &lt;b&gt;"),
        ("error=login_required", "login_required"),
        ("code=", "has no code"),
        ("code=never-given", "does not accept the code of this sign-in (invalid_grant)"),
        ("code=x&iss=https://evil.example", "another provider"),
    ],
)
def test_answers_without_a_code_that_counts(staff: Staff, said: str, says: str) -> None:
    place, _, query = staff.begin().partition("?")
    state = query.split("state=")[1]
    answer = staff.http.get(f"{place}?{said}&state={state}")
    assert answer.status_code in (403, 503)
    assert says in answer.text
    assert staff.users() == []


def test_an_answer_works_once(staff: Staff) -> None:
    place = staff.begin()
    cookies = dict(staff.http.cookies)
    assert staff.http.get(place).headers["location"] == "/ui"
    staff.http.cookies.clear()
    staff.http.cookies.update(cookies)
    again = staff.http.get(place)
    assert (again.status_code, "was used already" in again.text) == (403, True)
    assert staff.http.get("/ui").status_code == 303


@pytest.mark.parametrize("whose", ["nobody's", "another browser's", "too old", "another state"])
def test_an_answer_of_another_browser_is_refused(staff: Staff, whose: str) -> None:
    place = staff.begin()
    if whose != "another state":
        held = dict(staff.http.cookies)
        staff.http.cookies.clear()
    if whose == "another browser's":
        staff.begin()
    elif whose == "too old":
        staff.http.cookies.update(held)
        with writing(staff.engine) as connection:
            connection.execute(update(web_sign_in).values(expires_at=utcnow() - timedelta(seconds=1)))
    elif whose == "another state":
        right, place = place, f"{place.partition('state=')[0]}state={'0' * 64}"
    refused = staff.http.get(place)
    assert (refused.status_code, "begin again" in refused.text) == (403, True)
    assert staff.users() == []
    assert staff.audit() == []  # nobody fills the trail with it
    if whose == "another state":  # nor ends the sign-in of the person
        assert staff.http.get(right).headers["location"] == "/ui"


# Keys that change, providers that are down


def test_a_new_key_of_the_provider_is_read_at_once(staff: Staff) -> None:
    staff.sign_in()
    reads = staff.provider.key_reads
    staff.sign_in()
    assert staff.provider.key_reads == reads
    staff.provider.keys = [rsa_key("one"), rsa_key("two")]
    assert staff.sign_in().headers["location"] == "/ui"
    assert staff.provider.key_reads == reads + 1


def test_keys_are_read_once_more_for_each_sign_in_with_an_unknown_key(staff: Staff) -> None:
    staff.sign_in()
    staff.provider.sign = lambda claims, _: signed(claims, rsa_key("two"))
    for reads in (2, 3):
        assert "does not publish" in staff.sign_in().text
        assert staff.provider.key_reads == reads


def test_a_key_that_was_withdrawn_ends(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    staff.sign_in()
    staff.provider.keys = [rsa_key("two")]
    staff.provider.sign = lambda claims, _: signed(claims, rsa_key("one"))
    monkeypatch.setattr("worker.identity.provider.KEPT", KEPT * 0)
    assert "does not publish" in staff.sign_in().text


FAILING: dict[str, tuple[dict[str, Any], tuple[int, bytes] | None, str]] = {
    # what discovery says otherwise, the answer to the exchange, what the person reads
    "another issuer": ({"issuer": "https://other.example"}, None, "web.oidc.issuer is"),
    "no way for a secret": (
        {AUTH_METHODS: ["private_key_jwt"]},
        None,
        "only by private_key_jwt, and not by its secret",
    ),
    "a document elsewhere": ({"jwks_uri": "{issuer}/moved"}, None, "sends us to another address (HTTP 301)"),
    "a slash more": ({"issuer": "{issuer}/"}, None, "also in a slash at the end"),
    "no endpoint": ({"token_endpoint": None}, None, "no token_endpoint"),
    "an endpoint in clear": ({"token_endpoint": "http://192.0.2.1/t"}, None, "does not begin with https://"),
    "a place of no kind": ({"jwks_uri": "file:///etc/passwd"}, None, "no jwks_uri"),
    "no keys": ({"jwks_uri": "{issuer}/nothing"}, None, "answered HTTP 404"),
    "no key that counts": ({"jwks_uri": "{issuer}/.well-known/openid-configuration"}, None, "no key that can verify"),
    "only shared secrets": ({"id_token_signing_alg_values_supported": ["HS256"]}, None, "signs with none of"),
    "the client is refused": ({}, (401, b'{"error": "invalid_client"}'), "correct web.oidc.client_id"),
    "the client is refused in other words": ({}, (401, b'{"error": "access_denied"}'), "correct web.oidc.client_id"),
    "the code is refused": ({}, (400, b'{"error": "invalid_grant"}'), "begin again"),
    "no JSON": ({}, (200, b"<html>"), "begin again"),
    "deep JSON": ({}, (200, b"[" * 100_000), "begin again"),
    "no id_token": ({}, (200, b'{"access_token": "a"}'), "without an id_token"),
    "an error of the server": ({}, (500, b""), "answered HTTP 500; try again"),
    "an endless answer": ({}, (200, b'{"x": "' + b"x" * 600_000 + b'"}'), "ended early"),
}


@pytest.mark.parametrize("failing", FAILING)
def test_a_provider_that_fails_says_so_and_passwords_still_work(staff: Staff, failing: str) -> None:
    discovery, staff.provider.token_answer, says = FAILING[failing]
    issuer = staff.provider.issuer
    staff.provider.discovery = {
        name: one.format(issuer=issuer) if isinstance(one, str) else one for name, one in discovery.items()
    }
    answer = staff.http.get("/ui/sign-in/oidc")
    if not discovery:
        place = requests.get(answer.headers["location"], allow_redirects=False, timeout=10).headers["location"]
        answer = staff.http.get(place)
    assert answer.status_code == 503
    assert says in answer.text
    assert SECRET not in answer.text
    found = [one for one in check_sign_in(staff.runtime.settings) if one.level != "ok"]
    is_refused = failing.startswith("the client is refused")
    assert [says in f"{one.found} {one.do}" for one in found] == ([True] if discovery or is_refused else [])
    with_a_password(staff)


def test_a_provider_that_is_slow_says_so(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.identity.provider.ANSWER_SECONDS", 0.2)
    place, is_over = staff.begin(), threading.Event()
    staff.provider.before_token = lambda: is_over.wait(10) and None
    answer = staff.http.get(place)
    is_over.set()
    assert (answer.status_code, "gave no answer" in answer.text) == (503, True)
    assert staff.users() == []


def test_a_provider_that_is_down_says_so(staff: Staff) -> None:
    staff.configure(issuer="http://127.0.0.1:9")
    answer = staff.http.get("/ui/sign-in/oidc")
    assert (answer.status_code, "127.0.0.1:9 cannot be reached" in answer.text) == (503, True)
    assert 'name="password"' in answer.text
    with_a_password(staff)


def with_a_password(staff: Staff) -> None:
    with writing(staff.engine) as connection:
        create_user(connection, "bo", "viewer", PASSWORD, by="test", now=utcnow())
    data = {"name": "bo", "password": PASSWORD}
    assert staff.http.post("/ui/sign-in", data=data, headers=ORIGIN).status_code == 303


def test_those_who_wait_for_the_provider_are_few(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr("worker.web.pages.oidc._IN_LINE", full)
    assert staff.http.get("/ui/sign-in/oidc").status_code == 429


# Who is let in

BY_EMAIL: dict[str, Any] = {"role_claim": "email", "roles": {"a@example.com": "admin"}}
NESTED: dict[str, Any] = {"role_claim": "realm_access.roles"}
LET_IN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # the configuration, the person, the role or what they read
    ({"other_role": "viewer"}, {"groups": []}, "viewer"),
    ({"other_role": "viewer"}, {"groups": "boss"}, "admin"),
    ({"required_claims": {"hd": "example.com"}}, {"hd": "example.com"}, "operator"),
    ({"required_claims": {"hd": "example.com"}}, {}, "the claim hd"),
    ({"required_claims": {"hd": "example.com"}}, {"hd": "example.com.evil"}, "the claim hd"),
    ({"email_domains": ["example.com"]}, {"email": "a@Example.com", "email_verified": True}, "operator"),
    ({"email_domains": ["example.com"]}, {"email": "a@example.com", "email_verified": "true"}, "operator"),
    ({"email_domains": ["example.com"]}, {"email": "a@example.com", "email_verified": False}, "no verified email"),
    ({"email_domains": ["example.com"]}, {"email": "a@example.com"}, "does not say whether"),
    ({"email_domains": ["example.com"]}, {"email": "a@evil-example.com", "email_verified": True}, "not of example"),
    ({"email_domains": ["example.com"]}, {"email": "a@example.com@evil.com", "email_verified": True}, "not of exam"),
    (
        {"role_claim": "email", "roles": {"a@example.com": "admin"}},
        {"email": "a@example.com", "email_verified": True},
        "admin",
    ),
    (BY_EMAIL, {"email": "a@example.com"}, "does not say whether your email address is verified"),
    (BY_EMAIL, {}, "did not send the email address"),
    (BY_EMAIL | {"trust_email": True}, {"email": "a@example.com"}, "admin"),
    (BY_EMAIL | {"trust_email": True}, {"email": "a@example.com", "email_verified": False}, "no verified email"),
    (BY_EMAIL | {"trust_email": True}, {"email": "a@example.com", "email_verified": None}, "no verified email"),
    (BY_EMAIL, {"email": "a@example.com", "xms_edov": "1"}, "admin"),
    (BY_EMAIL, {"email": "a@example.com", "xms_edov": True, "email_verified": False}, "no verified email"),
    (BY_EMAIL | {"other_role": "viewer"}, {"email": "a@example.com"}, "viewer"),
    (NESTED, {"realm_access": {"roles": ["boss"]}}, "admin"),
    (NESTED, {"realm_access.roles": ["boss"]}, "admin"),
    (NESTED, {"realm_access.roles": ["boss"], "realm_access": {"roles": ["boss"]}}, "admin"),
    (NESTED, {"realm_access.roles": ["boss"], "realm_access": {"roles": ["all"]}}, "can be read in two ways"),
    (NESTED, {"realm_access": ["boss"]}, "did not send the claim realm_access.roles"),
    ({"required_claims": {"org.id": "7"}}, {"org": {"id": "7"}}, "operator"),
    ({"required_claims": {"org.id": "7"}}, {"org": {"id": "8"}}, "the claim org.id"),
    ({"roles": {"/ops": "admin"}}, {"groups": ["/ops"]}, "admin"),
    ({"roles": {"/ops": "admin"}}, {"groups": ["/staff/ops", "ops"]}, "gives you no role"),
    # Too many groups for a token: who they are is not known, so nothing is given, not even to all others.
    ({"other_role": "viewer"}, {"groups": None, "_claim_names": {"groups": "src1"}}, "the provider left out groups"),
    ({"other_role": "viewer"}, {"_claim_names": {"groups": "src1"}, "groups": "src1"}, "the provider left out groups"),
    (NESTED | {"other_role": "viewer"}, {"_claim_names": {"realm_access": "a"}}, "left out realm_access.roles"),
    (NESTED | {"other_role": "viewer"}, {"_claim_names": {"groups": "a"}, "hasgroups": True}, "viewer"),
    ({"role_claim": "https://example.com/roles"}, {"https://example.com/roles": ["all"]}, "viewer"),
]


def test_groups_that_are_left_out_of_a_short_token_are_refused(staff: Staff) -> None:
    staff.configure(other_role="viewer")
    staff.provider.person = {"sub": "17", "hasgroups": True}
    assert "the provider left out groups" in staff.sign_in().text
    assert staff.users() == []


@pytest.mark.parametrize(("changes", "person", "expected"), LET_IN)
def test_who_is_let_in(staff: Staff, changes: dict[str, Any], person: dict[str, Any], expected: str) -> None:
    staff.configure(**changes)
    staff.provider.person |= person
    answer = staff.sign_in()
    roles = [role for _, role, _, _ in staff.users()]
    assert roles == [expected] if answer.status_code == 303 else expected in answer.text


# Claims of the userinfo endpoint

USERINFO: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # the id_token, the userinfo endpoint, the role or what the person reads
    ({}, {"sub": "17", "groups": ["boss"]}, "admin"),
    ({"groups": ["all"]}, {"sub": "17", "groups": ["boss"]}, "viewer"),
    ({}, {"sub": "18", "groups": ["boss"]}, "answered about somebody else"),
    ({}, {"groups": ["boss"]}, "answered about somebody else"),
    ({}, {"sub": "17"}, "did not send the claim groups"),
    ({"_claim_names": {"groups": "src1"}}, {"sub": "17", "groups": ["boss"]}, "left out groups"),
]
BOSS, OTHER = {"email": "boss@example.com"}, {"email": "eve@example.org"}
VERIFIED, UNVERIFIED = {"email_verified": True}, {"email_verified": False}
UNSAID, REFUSED = "does not say whether your email address is verified", "has no verified email address"
EMAILS_OF_USERINFO: list[tuple[dict[str, Any], dict[str, Any], bool, str]] = [
    # the id_token, the userinfo endpoint, trust_email, the role or what the person reads
    ({}, BOSS | VERIFIED, False, "admin"),
    (BOSS, BOSS | VERIFIED, False, "admin"),
    (BOSS | VERIFIED, OTHER | UNVERIFIED, False, "admin"),
    (BOSS, OTHER | VERIFIED, False, UNSAID),
    (VERIFIED, BOSS, False, UNSAID),
    (VERIFIED, BOSS | UNVERIFIED, False, REFUSED),
    (BOSS, {"xms_edov": True}, False, UNSAID),
    ({}, BOSS, True, "admin"),
    (UNVERIFIED, BOSS, True, REFUSED),
    (UNVERIFIED, BOSS | VERIFIED, True, REFUSED),
    (BOSS, OTHER | UNVERIFIED, True, REFUSED),
]


@pytest.mark.parametrize(("claims", "userinfo", "trust_email", "expected"), EMAILS_OF_USERINFO)
def test_an_email_address_is_verified_by_the_answer_that_has_it(
    staff: Staff, claims: dict[str, Any], userinfo: dict[str, Any], trust_email: bool, expected: str
) -> None:
    staff.provider.person, staff.provider.userinfo = {"sub": "17"} | claims, {"sub": "17"} | userinfo
    staff.configure(userinfo=True, trust_email=trust_email, role_claim="email", roles={"boss@example.com": "admin"})
    answer = staff.sign_in()
    roles = [role for _, role, *_ in staff.users()]
    assert roles == [expected] if answer.status_code == 303 else expected in answer.text


@pytest.mark.parametrize(("claims", "userinfo", "expected"), USERINFO)
def test_claims_of_the_userinfo_endpoint(
    staff: Staff, claims: dict[str, Any], userinfo: dict[str, Any], expected: str
) -> None:
    staff.provider.person, staff.provider.userinfo = {"sub": "17"} | claims, userinfo
    staff.configure(userinfo=True)
    answer = staff.sign_in()
    roles = [role for _, role, *_ in staff.users()]
    assert roles == [expected] if answer.status_code == 303 else expected in answer.text


def test_the_userinfo_endpoint_is_asked_only_if_the_configuration_says_so(staff: Staff) -> None:
    staff.provider.person, staff.provider.userinfo = {"sub": "17"}, {"sub": "17", "groups": ["boss"]}
    assert "did not send the claim groups" in staff.sign_in().text
    assert staff.users() == []


@pytest.mark.parametrize(
    ("discovery", "says"),
    [({}, "has no userinfo_endpoint"), ({"userinfo_endpoint": "{issuer}/nothing"}, "nothing answered HTTP 404")],
)
def test_a_userinfo_endpoint_that_is_not_there(staff: Staff, discovery: dict[str, str], says: str) -> None:
    staff.configure(userinfo=True)
    issuer = staff.provider.issuer
    staff.provider.discovery = {name: one.format(issuer=issuer) for name, one in discovery.items()}
    answer = staff.sign_in() if discovery else staff.http.get("/ui/sign-in/oidc")
    assert (answer.status_code, says in answer.text) == (503, True)
    assert staff.users() == []


# What the provider is asked for, and what it answers instead of a code


def test_how_recently_and_how_the_person_must_sign_in_there(staff: Staff) -> None:
    staff.configure(prompt="login", max_age="1h")
    refused = staff.sign_in()
    assert (staff.provider.asked["prompt"], staff.provider.asked["max_age"]) == ("login", "3600")
    assert "auth_time" in refused.text
    staff.provider.person["auth_time"] = int(utcnow().timestamp()) - 3600 - 120
    assert "too long ago" in staff.sign_in().text
    staff.provider.person["auth_time"] = "now"
    assert "auth_time" in staff.sign_in().text
    assert staff.users() == []
    staff.provider.person["auth_time"] = int(utcnow().timestamp()) - 3600 - 30  # within the difference of the clocks
    assert staff.sign_in().status_code == 303


def test_nothing_is_asked_for_unless_the_configuration_says_so(staff: Staff) -> None:
    staff.sign_in()
    assert not {"prompt", "max_age"} & set(staff.provider.asked)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ({"error": "access_denied"}, "ask there whether you may use these pages"),
        ({"error": "interaction_required"}, "do what the provider asks"),
        ({"error": "temporarily_unavailable"}, "try again in a minute"),
        ({"error": "invalid_scope"}, "correct web.oidc.scopes"),
        ({"error": "something", "error_description": "a <b>\nlong\tstory" + "x" * 900}, "a &lt;b&gt; long story"),
        ({"error": "access_denied", "iss": "https://evil.example"}, "of another provider"),
        ({"code": "", "error": ""}, "begin again, or ask an admin"),
        ({}, "has no code"),
    ],
)
def test_an_answer_without_a_code_says_what_to_do(staff: Staff, error: dict[str, str], says: str) -> None:
    place = staff.begin()
    state = place.partition("state=")[2]
    answer = staff.http.get("/ui/sign-in/oidc/answer", params=error | {"state": state})
    assert (answer.status_code, says in answer.text) == (403, True)
    assert "x" * 300 not in answer.text
    assert staff.http.get(place).status_code == 403  # this sign-in has ended


@pytest.mark.parametrize("methods", [["client_secret_basic"], ["client_secret_post"]])
def test_how_the_client_proves_itself_can_be_chosen(staff: Staff, methods: list[str]) -> None:
    staff.provider.discovery = {AUTH_METHODS: methods}
    other = {"client_secret_basic": "client_secret_post", "client_secret_post": "client_secret_basic"}[methods[0]]
    staff.configure(client_auth=other)
    assert "refuses the client" in staff.sign_in().text
    staff.configure(client_auth=methods[0])
    assert staff.sign_in().status_code == 303


def test_the_clocks_may_differ_a_little(staff: Staff) -> None:
    staff.provider.change = lambda c: c | {"iat": c["iat"] + 40, "nbf": c["iat"] + 40}
    assert staff.sign_in().status_code == 303
    staff.provider.change = lambda c: c | {"exp": c["iat"] - 40}
    assert staff.sign_in().status_code == 303


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("is_right", [True, False])
def test_the_hash_of_the_access_token_with_an_edwards_curve(staff: Staff, algorithm: str, is_right: bool) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "ed", "use": "sig"})
    digest = sha512(ACCESS_TOKEN.encode() if is_right else b"another").digest()[:32]
    staff.provider.keys = [key]  # type: ignore[list-item]
    staff.provider.person["at_hash"] = urlsafe_b64encode(digest).decode().rstrip("=")
    staff.provider.sign = lambda claims, key: jwt.encode(
        {"alg": algorithm, "kid": "ed"}, claims, key, algorithms=[algorithm]
    )
    answer = staff.sign_in()
    assert answer.status_code == 303 if is_right else "claim at_hash" in answer.text


def test_google_may_write_its_older_name_and_nobody_else(staff: Staff) -> None:
    keys, google = read_key_set(staff.provider.published()), "https://accounts.google.com"

    def read(issuer: str, said: str) -> str:
        now = utcnow()
        times = {"iat": int(now.timestamp()), "exp": int(now.timestamp()) + 60}
        token = signed({"iss": said, "aud": "x", "sub": "17", "nonce": "n", **times}, rsa_key("one"))
        claims = verified_claims(token, keys, issuer=issuer, client_id="x", nonce="n", access_token=None, now=now)
        return str(claims["iss"])

    assert read(google, google) == google
    assert read(google, "accounts.google.com") == "accounts.google.com"
    for issuer, said in [(google, "accounts.google.com.evil"), ("https://login.example", "login.example")]:
        with pytest.raises(IdTokenRefused, match="claim iss"):
            read(issuer, said)


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri", "authorization_endpoint"])
def test_a_provider_elsewhere_cannot_send_us_to_this_machine(name: str) -> None:
    issuer = "https://login.example.com"
    document = {one: f"{issuer}/{one}" for one in ("token_endpoint", "jwks_uri", "authorization_endpoint")}
    oidc = OidcSignIn(issuer=issuer, client_id="x", roles={"ops": "admin"})
    assert read_metadata(oidc, document | {"issuer": issuer}).client_auth == "none"
    for place in ("http://127.0.0.1:6379/", "http://localhost/x", "file:///etc/passwd", "https://x y/"):
        with pytest.raises(ProviderFailed, match=name):
            read_metadata(oidc, document | {"issuer": issuer, name: place})


# Signing out


def test_the_session_at_the_provider_ends_there(staff: Staff) -> None:
    staff.provider.discovery = {"end_session_endpoint": f"{staff.provider.issuer}/logout?x=1"}
    staff.sign_in()
    page = staff.sign_out()
    assert 'href="/ui/sign-out/oidc"' in page
    asked = staff.http.get("/ui/sign-out/oidc")
    there = asked.headers["location"]
    assert (asked.status_code, there.partition("?x=1&")[0]) == (303, f"{staff.provider.issuer}/logout")
    assert "id_token_hint" not in there
    back = requests.get(there, allow_redirects=False, timeout=10).headers["location"]
    forged = f"{back.partition('state=')[0]}state={'0' * 64}"
    assert "sent you back" not in staff.http.get(forged).text
    assert "sent you back" not in staff.http.get("/ui/signed-out/oidc?state=é").text
    assert "sent you back" in staff.http.get(back).text


@pytest.mark.parametrize("endpoint", [None, 5, "http://192.0.2.1/out", "javascript:alert(1)"])
def test_a_provider_without_a_sign_out_is_named(staff: Staff, endpoint: Any) -> None:
    staff.provider.discovery = {"end_session_endpoint": endpoint}
    staff.sign_in()
    page = staff.sign_out()
    assert "names no page that ends that session" in page
    assert "javascript" not in page
    assert "names no page" in staff.http.get("/ui/sign-out/oidc").text
    staff.configure(sign_out_url="https://login.example.com/out")
    assert 'href="https://login.example.com/out"' in staff.http.get("/ui/signed-out/oidc").text


def test_a_provider_that_is_down_keeps_nobody_from_signing_out(staff: Staff) -> None:
    staff.sign_in()
    csrf = staff.http.get("/ui/me").text.split('name="csrf" value="')[1][:64]
    assert staff.http.post("/ui/sign-out", data={"csrf": csrf}, headers=ORIGIN).status_code == 303
    staff.configure(issuer="http://127.0.0.1:9")
    for place in ("/ui/signed-out/oidc", "/ui/sign-out/oidc"):
        answer = staff.http.get(place)
        assert (answer.status_code, "cannot be asked now" in answer.text) == (200, True)
    assert staff.http.get("/ui").status_code == 303


# What `vtsync check` finds


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"client_secret": None}, "refuses the client, which has no client_secret"),
        ({"client_secret": "wrong"}, "refuses the client"),
        ({"client_id": "wrong"}, "refuses the client"),
        ({"scopes": ["profile", "teams"]}, "does not name the scope teams"),
        ({"role_claim": "preferred_username"}, "roles are given by preferred_username"),
        ({"userinfo": True}, "has no userinfo_endpoint"),
    ],
)
def test_the_check_finds_a_mistake(staff: Staff, changes: dict[str, Any], says: str) -> None:
    staff.provider.discovery = {"scopes_supported": ["openid", "profile", "email"]}
    assert [one.level for one in check_sign_in(staff.runtime.settings)] == ["ok"]
    staff.configure(**changes)
    assert says in " ".join(one.found for one in check_sign_in(staff.runtime.settings) if one.level != "ok")


def test_the_check_says_what_only_a_sign_in_shows(staff: Staff) -> None:
    [before] = check_sign_in(staff.runtime.settings)
    assert "knows the client;" in before.found
    assert "does not say whether it sends the claim groups" in before.found
    staff.provider.discovery = {"claims_supported": ["sub", "groups"]}
    staff.provider.token_answer = (500, b"")
    [after] = check_sign_in(staff.runtime.settings)
    assert "groups" not in after.found
    assert "whether it knows the client is not known" in after.found


ENTRA = {"issuer": f"https://login.microsoftonline.com/{'1' * 8}-{'2222-' * 3}{'5' * 12}/v2.0", "client_id": "x"}


@pytest.mark.parametrize(
    ("oidc", "says"),
    [
        ({"roles": {"Texting operators": "operator"}}, "no object ID, such as Texting operators"),
        ({"roles": {"11111111-2222-3333-4444-555555555555": "operator"}}, ""),
        ({"role_claim": "roles", "roles": {"vtsync.admin": "admin"}}, ""),
        ({"role_claim": "roles", "roles": {"x": "admin"}, "email_domains": "example.com"}, "whether they are verified"),
        ({"role_claim": "email", "roles": {"a@b.example": "admin"}, "trust_email": True}, ""),
    ],
)
def test_what_is_doubtful_with_entra(oidc: dict[str, Any], says: str) -> None:
    made = OidcSignIn.model_validate(ENTRA | oidc)
    endpoints = dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), "https://x.example/")
    found = [one.found for one in doubts_about(made, read_metadata(made, endpoints | {"issuer": made.issuer}))]
    assert (len(found), says in " ".join(found)) == (1 if says else 0, True)


# Users


def test_a_password_user_of_the_same_name_is_not_taken_over(staff: Staff) -> None:
    with writing(staff.engine) as connection:
        create_user(connection, "ana", "admin", PASSWORD, by="test", now=utcnow())
    refused = staff.sign_in()
    assert refused.status_code == 403
    assert "there is another user ana here already" in refused.text
    assert staff.users() == [("ana", "admin", None, None)]
    assert staff.audit()[-1] == ("unknown name", "sign_in_refused", f"{staff.provider.issuer} 17")
    with writing(staff.engine) as connection:
        link_user(connection, "ana", staff.provider.issuer, "17")
    assert staff.sign_in().headers["location"] == "/ui"
    assert staff.users() == [("ana", "operator", staff.provider.issuer, "17")]
    data = {"name": "ana", "password": PASSWORD}
    staff.http.cookies.clear()
    assert staff.http.post("/ui/sign-in", data=data, headers=ORIGIN).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        lambda connection: set_password(connection, "ana", PASSWORD),
        lambda connection: set_role(connection, "ana", "admin"),
        lambda connection: set_totp(connection, "ana", b"x"),
        lambda connection: link_user(connection, "bo", "x", "17"),
        lambda connection: link_user(connection, "nobody", "x", "18"),
    ],
)
def test_what_a_user_from_elsewhere_does_not_have_here(staff: Staff, change: Callable[..., None]) -> None:
    staff.sign_in()
    with writing(staff.engine) as connection:
        connection.execute(update(web_user).values(issuer="x"))
        with pytest.raises(UserRefused):
            change(connection)


def test_a_user_who_is_disabled_here_stays_out(staff: Staff) -> None:
    staff.sign_in()
    with writing(staff.engine) as connection:
        set_disabled(connection, "ana", utcnow())
    assert staff.http.get("/ui").status_code == 303
    assert "is disabled here" in staff.sign_in().text


@pytest.mark.parametrize("web", [{}, {"oidc": None}, {"oidc": {"issuer": "https://other.example"}}])
def test_sessions_end_when_the_provider_is_no_longer_configured(staff: Staff, web: dict[str, Any]) -> None:
    staff.sign_in()
    if "oidc" in web:
        oidc = web["oidc"] and staff.runtime.settings.web.oidc.model_copy(update=web["oidc"])  # type: ignore[union-attr]
        changed = staff.runtime.settings.web.model_copy(update={"oidc": oidc})
        staff.runtime.settings = staff.runtime.settings.model_copy(update={"web": changed})
    assert staff.http.get("/ui").status_code == (303 if web else 200)


def test_without_passwords_nobody_signs_in_with_one(staff: Staff) -> None:
    with_a_password(staff)
    assert staff.http.get("/ui").status_code == 200
    web = staff.runtime.settings.web.model_copy(update={"passwords": False})
    staff.runtime.settings = staff.runtime.settings.model_copy(update={"web": web})
    assert staff.http.get("/ui").status_code == 303
    refused = staff.http.post("/ui/sign-in", data={"name": "bo", "password": PASSWORD}, headers=ORIGIN)
    assert (refused.status_code, "nobody signs in with a password" in refused.text) == (429, True)
    assert 'name="password"' not in staff.http.get("/ui/sign-in").text
    assert staff.sign_in().headers["location"] == "/ui"


def test_the_routes_are_there_only_with_a_provider(staff: Staff) -> None:
    staff.runtime.settings = staff.runtime.settings.model_copy(update={"web": Web()})
    answer = "/ui/sign-in/oidc/answer?code=x&state=y"
    for place in ("/ui/sign-in/oidc", answer, "/ui/signed-out/oidc", "/ui/sign-out/oidc"):
        assert staff.http.get(place).status_code == 404


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example/ui", "/v1/messages"])
def test_nobody_is_sent_elsewhere(staff: Staff, following: str) -> None:
    assert staff.sign_in(following).headers["location"] == "/ui"


def test_too_many_attempts_from_one_address_wait(staff: Staff) -> None:
    answers = {staff.http.get("/ui/sign-in/oidc/answer?code=x&state=y").status_code for _ in range(40)}
    assert answers == {403, 429}
