"""`vtsync users`: who may sign in to the pages, and where."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

PASSWORD = "correct horse battery"
OIDC = '[web]\npublic_url = "https://t.example"\n{more}[web.oidc]\nissuer = "https://login.example"\nclient_id = "x"\n'
ROLES = 'roles = { ops = "operator" }\n'
PROXY = '[web.proxy_sign_in]\ntrusted = "127.0.0.1"\nuser_header = "Remote-User"\n' + ROLES


@pytest.fixture(autouse=True)
def _typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.cli.users._password", lambda: PASSWORD)


def test_a_user_signs_in_elsewhere_after_a_link(shell: Shell) -> None:
    shell.configure(OIDC.format(more="") + ROLES)
    shell("migrate")
    shell("users", "create", "ana", "--role", "admin")
    assert "signs in by https://login.example from now on" in shell("users", "link", "ana", "17").output
    [ana] = shell.json("users", "list")
    assert (ana["name"], ana["issuer"], ana["subject"]) == ("ana", "https://login.example", "17")
    assert "https://login.example" in shell("users", "list").output
    refused = shell("users", "password", "ana", code=1).output
    assert "ana signs in by https://login.example and has no password here" in refused
    assert "gets the role there" in shell("users", "role", "ana", "viewer", code=1).output
    assert "is the user ana already" in shell("users", "link", "bo", "17", code=1).output
    assert "no user bo" in shell("users", "link", "bo", "18", code=1).output
    assert "[web.proxy_sign_in]" in shell("users", "link", "ana", "ana", "--proxy", code=2).output


def test_a_user_signs_in_by_the_proxy_after_a_link(shell: Shell) -> None:
    shell.configure(PROXY)
    shell("migrate")
    shell("users", "create", "ana")
    assert "[web.oidc]" in shell("users", "link", "ana", "ana", code=2).output
    assert "signs in by proxy from now on" in shell("users", "link", "ana", "ana", "--proxy").output


def test_without_passwords_no_user_gets_one(shell: Shell) -> None:
    shell.configure(OIDC.format(more="passwords = false\n") + ROLES)
    shell("migrate")
    assert "web.passwords is false" in shell("users", "create", "ana", code=1).output


def test_the_check_names_a_provider_that_cannot_be_reached(shell: Shell) -> None:
    shell.configure(OIDC.format(more="").replace("https://login.example", "http://127.0.0.1:9") + ROLES)
    shell("migrate")
    said = shell("check", code=1).output
    assert "127.0.0.1:9 cannot be reached" in said
