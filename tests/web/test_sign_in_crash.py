"""The web process is killed in the middle of a sign-in: the person signs in again, and nothing is left half."""

from __future__ import annotations

from pathlib import Path

import requests

from tests.harness import fleet, until
from tests.web.provider import CLIENT, SECRET, running_provider
from tests.web.test_serve import answers, free_port

CONFIGURATION = """
[web]
public_url = "http://127.0.0.1:{port}"
[web.oidc]
issuer = "{issuer}"
client_id = "{client}"
client_secret = {{ file = "{secret}" }}
roles = {{ ops = "operator" }}
"""
LEFT = "SELECT (SELECT count(*) FROM web_sign_in), (SELECT count(*) FROM web_user), (SELECT count(*) FROM web_session)"


def test_a_sign_in_that_a_kill_interrupts_begins_again(tmp_path: Path) -> None:
    with fleet(tmp_path) as made, running_provider() as provider:
        port = free_port()
        (tmp_path / "secret").write_text(SECRET)
        values = {"port": port, "issuer": provider.issuer, "client": CLIENT, "secret": tmp_path / "secret"}
        made.configure(more=CONFIGURATION.format(**values))
        assert made.run("migrate").exit_code == 0
        home, browser = f"http://127.0.0.1:{port}", requests.Session()

        def start() -> None:
            web = made.start("web", "--port", str(port))
            until("the pages", lambda: answers(f"{home}/health/ready"))
            provider.before_token = lambda: made.kill(web)

        start()
        place = browser.get(f"{home}/ui/sign-in/oidc", timeout=20, allow_redirects=False).headers["location"]
        answer = browser.get(place, timeout=20, allow_redirects=False).headers["location"]
        try:  # killed after the sign-in was used up, and before the provider said who it is
            browser.get(answer, timeout=20)
        except requests.ConnectionError:
            pass
        else:
            raise AssertionError("the process was not killed")
        assert made.query(LEFT) == [(0, 0, 0)]

        start()
        provider.before_token = lambda: None
        again = browser.get(answer, timeout=20)
        assert (again.status_code, "was used already" in again.text) == (403, True)
        signed_in = browser.get(f"{home}/ui/sign-in/oidc", timeout=20)
        assert (signed_in.status_code, signed_in.url) == (200, f"{home}/ui")
        assert made.query(LEFT) == [(0, 1, 1)]
