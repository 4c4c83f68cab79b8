"""The main paths through the pages in a real browser, and what axe-core says about each page.

Needs Chromium, its driver and Selenium: on Debian, `apt install chromium chromium-driver`.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from argon2 import PasswordHasher
from sqlalchemy import Engine, insert

from config.web import Web
from tests.messages.conftest import Outbox, number
from tests.services import REQUIRED
from tests.web.conftest import runtime_over
from tests.web.provider import CLIENT, SECRET, running_provider
from worker.core.states import MessageState
from worker.messages.opt_outs import opted_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import number_review
from worker.web.app import create_app
from worker.web.users import create_user

selenium = pytest.importorskip("selenium", reason="Selenium is not installed")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (REQUIRED or (BROWSER and DRIVER)), reason="Chromium and chromedriver are not installed"
)

AXE = Path(__file__).parent / "axe" / "axe.min.js"
PASSWORD = "correct horse battery"
PHONE = number(1)
DESK, TELEPHONE = (1280, 900), (390, 844)


@dataclass
class Visit(Outbox):
    """A browser at the pages, and the outbox behind them."""

    driver: Any
    home: str

    def open(self, place: str) -> None:
        self.driver.get(self.home + place)

    def find(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def press(self, words: str) -> None:
        """Press the button or follow the link with these words, and wait for the next page."""
        path = f"//main//*[self::button or self::a][normalize-space()='{words}']|//header//button[.='{words}']"
        self.leave(self.driver.find_element("xpath", path).click)

    def leave(self, how: Callable[[], object]) -> None:
        """Do something that leads to another page, and wait for it."""
        from selenium.webdriver.support.expected_conditions import staleness_of
        from selenium.webdriver.support.wait import WebDriverWait

        here = self.find("html")
        how()
        WebDriverWait(self.driver, 20).until(staleness_of(here))

    def sign_in(self) -> None:
        self.find("[name=name]").send_keys("ana")
        self.find("[name=password]").send_keys(PASSWORD)
        self.press("Sign in")

    def look(self, size: tuple[int, int], scheme: str) -> None:
        """Change the size of the screen, and between light and dark."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == TELEPHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def flaws(self) -> list[str]:
        """What axe-core finds that is serious, and whether the page is wider than the screen."""
        self.driver.execute_script(AXE.read_text("utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run().then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html).join(' ')])));"
        )
        serious = [f"{name}: {where[:200]}" for impact, name, where in found if impact in ("serious", "critical")]
        wide = self.driver.execute_script("return document.documentElement.scrollWidth > innerWidth")
        return serious + (["wider than the screen"] if wide else [])


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    browser.set_script_timeout(30)
    yield browser
    browser.quit()


@pytest.fixture
def visit(
    engine: Engine, hinted: list[tuple[str, ...]], driver: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Visit]:
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr("worker.web.users._hasher", lambda: hasher)
    runtime = runtime_over(engine)
    with writing(engine) as connection:
        create_user(connection, "ana", "admin", PASSWORD, by="test", now=utcnow())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(runtime), log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        visit = Visit(runtime, runtime.fake, driver, f"http://127.0.0.1:{listener.getsockname()[1]}")
        driver.delete_all_cookies()
        visit.look(DESK, "light")
        yield visit
        server.should_exit = True
        thread.join(20)


def test_the_main_paths(visit: Visit) -> None:
    batch = [visit.trigger_text("hello", number(n), str(n), state="held", reason="approval: many") for n in range(3)]
    unknown = visit.send(to=number(5), text="was I sent?")
    visit.change(unknown, state=MessageState.UNKNOWN, reason="no_response: the connection broke")

    visit.open("/ui/messages?trigger=hello")  # signing in leads on to the page that was asked for
    visit.sign_in()
    assert visit.find("h1").text == "Messages"

    visit.press("Approve all that wait")
    assert visit.find("h1").text == "Approve 3 texts to 3 people?"
    assert {visit.state(one) for one in batch} == {MessageState.HELD}
    visit.press("Approve 3 texts")
    assert {visit.state(one) for one in batch} == {MessageState.QUEUED}

    visit.open("/ui")
    visit.press("Look")
    visit.leave(visit.find("tbody a").click)
    visit.press("It was sent")
    assert visit.state(unknown) == MessageState.CONFIRMED

    visit.find("#q").send_keys(PHONE)
    visit.leave(visit.find("#q").submit)
    assert visit.find("h1").text == PHONE
    visit.find("[name=why]").send_keys("she called and asked")
    visit.press("Stop texting this person")
    assert "she called and asked" in visit.find("main").text
    with reading(visit.engine) as connection:
        assert opted_out(connection, [PHONE])[PHONE].detail == "she called and asked"

    visit.press("Sign out")
    assert visit.find("h1").text == "Sign in"
    visit.open(f"/ui/people/{PHONE}")
    assert visit.find("h1").text == "Sign in"


def test_a_person_signs_in_at_a_provider_on_another_site(visit: Visit) -> None:
    with running_provider() as provider:
        provider.issuer = provider.issuer.replace("127.0.0.1", "localhost")
        oidc = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "roles": {"ops": "operator"}}
        web = Web.model_validate({"public_url": visit.home, "oidc": oidc | {"label": "Example"}})
        visit.runtime.settings = visit.runtime.settings.model_copy(update={"web": web})
        visit.open("/ui/reviews")
        assert visit.flaws() == []
        provider.person["sub"] = "18"  # the fixture's user has the name ana
        visit.press("Sign in with Example")
        assert "there is another user ana here already" in visit.find("main").text
        provider.person["preferred_username"] = "bo"
        visit.open("/ui/reviews")
        visit.press("Sign in with Example")
        assert visit.find("h1").text == "Replies that may mean stop"
        visit.open("/ui/me")
        assert visit.flaws() == []
        visit.press("Sign out")
        assert visit.find("h1").text == "Signed out"
        assert visit.flaws() == []
        visit.press("Sign in again")
        assert visit.find("h1").text == "Sign in"


def test_no_page_has_a_serious_flaw(visit: Visit) -> None:
    flaws = {}
    visit.open("/ui/sign-in")
    flaws["sign-in"] = visit.flaws()
    sent = visit.send(to=PHONE, text="hello", metadata={"order": "A-17"})
    visit.trigger_text("hello", number(2), state="held", reason="approval: many")
    visit.replied(PHONE, words="Thanks")
    with writing(visit.engine) as connection:
        connection.execute(insert(number_review).values(phone=PHONE, since=utcnow(), excerpt="enough"))
    visit.sign_in()
    places = [
        "/ui",
        "/ui/connections",
        "/ui/messages",
        f"/ui/messages/{sent}",
        "/ui/messages/all?what=approve&trigger=hello",
        f"/ui/people/{PHONE}",
        "/ui/reviews",
        "/ui/triggers",
        "/ui/find?q=nobody",
        "/ui/me",
        "/ui/users",
        "/ui/audit",
    ]
    for size, scheme in ((DESK, "light"), (TELEPHONE, "dark")):
        visit.look(size, scheme)
        for place in places:
            visit.open(place)
            flaws[f"{place} {scheme}"] = visit.flaws()
    assert {place: found for place, found in flaws.items() if found} == {}
