"""The main paths through the pages in a real browser, and what axe-core says about each page.

Needs Chromium, its driver and Selenium: on Debian, `apt install chromium chromium-driver`.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from argon2 import PasswordHasher
from sqlalchemy import Engine, insert, update

from config.alerts import Alerts
from config.web import Web
from tests.alerts.conftest import SECRET as HOOK_SECRET
from tests.messages.conftest import Outbox, number
from tests.services import REQUIRED
from tests.web.conftest import furnish, runtime_over
from tests.web.provider import CLIENT, SECRET, running_provider
from worker.core.states import MessageState
from worker.messages.decisions import opt_out_number
from worker.messages.opt_outs import opted_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import alert, contact, delivery, number_review, rejected_record
from worker.web.app import create_app
from worker.web.pausing import pause_connection, pause_trigger
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
SCREENS = tuple(product((DESK, TELEPHONE), ("light", "dark")))
# Buttons that are closer than this are one to a finger. Text that is wider than its box is cut, or must be scrolled.
APART = 6
LAYOUT = """
const shown = css => [...document.querySelectorAll(css)].filter(one => one.checkVisibility() && one.offsetWidth > 1);
const name = one => one.outerHTML.slice(0, 80), flaws = [];
if (document.documentElement.scrollWidth > innerWidth) flaws.push("wider than the screen");
const buttons = shown("button, .button").map(one => [one, one.getBoundingClientRect()]);
for (const [one, a] of buttons) for (const [other, b] of buttons) {
  const across = Math.max(a.left, b.left) - Math.min(a.right, b.right);
  const down = Math.max(a.top, b.top) - Math.min(a.bottom, b.bottom);
  if (one !== other && across < arguments[0] && down < arguments[0])
    flaws.push(`too near: ${name(one)}, ${name(other)}`);
}
for (const one of shown("button, .button, pre, h1, h2, h3, th, .number, .count, time"))
  if (one.scrollWidth > one.clientWidth + 1 && one.clientWidth) flaws.push(`cut: ${name(one)}`);
for (const one of shown(".number, .count, time, button"))
  if (one.getClientRects().length > 1) flaws.push(`broken into lines: ${name(one)}`);
return flaws;
"""
PAUSED = ("/ui", "/ui/connections", "/ui/connections/crm", "/ui/triggers", "/ui/triggers/won")
"""The pages that show what is paused."""


def is_replaced(error: Exception) -> bool:
    """Return True if an element is no longer part of the page. Chromium has two errors for it; Selenium knows one."""
    return any(words in str(error) for words in ("stale element", "does not belong to the document"))


@dataclass
class Visit(Outbox):
    """A browser at the pages, and the outbox behind them."""

    driver: Any
    home: str

    def open(self, place: str) -> None:
        self.driver.get(self.home + place)

    def find(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def controls(self) -> list[Any]:
        """Return everything that one can act on."""
        css = "a[href], button, input:not([type=hidden]), select, summary"
        return list(self.driver.find_elements("css selector", css))

    def press(self, words: str) -> None:
        """Press the button or follow the link with these words, and wait for the next page."""
        path = f"//main//*[self::button or self::a][normalize-space()='{words}']|//header//button[.='{words}']"
        self.leave(lambda: self.click(path))

    def click(self, path: str) -> None:
        """Click an element. If the page replaces it meanwhile, click the new one."""
        from selenium.common.exceptions import WebDriverException

        for _ in range(5):
            try:
                return self.driver.find_element("xpath", path).click()  # type: ignore[no-any-return]
            except WebDriverException as error:
                if not is_replaced(error):
                    raise
        raise AssertionError(f"{path} was replaced again and again")

    def leave(self, how: Callable[[], object]) -> None:
        """Do something that leads to another page, and wait for it."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.wait import WebDriverWait

        here, wait = self.find("html"), WebDriverWait(self.driver, 20)
        how()

        def has_left(_: object) -> bool:
            try:
                here.is_enabled()
            except WebDriverException as error:
                if not is_replaced(error):
                    raise
                return True
            return False

        wait.until(has_left)
        wait.until(lambda driver: driver.execute_script("return document.readyState") == "complete")

    def sign_in(self, name: str = "ana") -> None:
        self.find("[name=name]").send_keys(name)
        self.find("[name=password]").send_keys(PASSWORD)
        self.press("Sign in")

    def look(self, size: tuple[int, int], scheme: str) -> None:
        """Change the size of the screen, and between light and dark."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == TELEPHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def flaws(self) -> list[str]:
        """What axe-core finds that is serious, and what of the layout is wrong."""
        self.driver.execute_script(AXE.read_text("utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run().then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html).join(' ')])));"
        )
        serious = [f"{name}: {where[:200]}" for impact, name, where in found if impact in ("serious", "critical")]
        return serious + list(self.driver.execute_script(LAYOUT, APART))


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ):
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
    furnish(runtime, ops={"kind": "webhook", "url": "http://127.0.0.1:9/", "secret": HOOK_SECRET})
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
    assert visit.find("h1").text == f"{PHONE} Ada Lovelace"
    visit.find("[name=why]").send_keys("she called and asked")
    visit.press("Stop texting this person")
    assert "she called and asked" in visit.find("main").text
    with reading(visit.engine) as connection:
        assert opted_out(connection, [PHONE])[PHONE].detail == "she called and asked"

    visit.open("/ui/triggers/won")
    visit.find("[name=record]").send_keys("1")
    visit.press("Show the text")
    assert visit.find(".draft").text == "Well done, Ada"
    assert "opted out" in visit.find("#one").text  # the policy says so

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
        provider.discovery = {"end_session_endpoint": f"{provider.issuer}/logout"}
        visit.runtime.settings = visit.runtime.settings.model_copy(  # the provider's document is read again
            update={"web": web.model_copy(update={"oidc": web.oidc and web.oidc.model_copy(update={"label": "Ex"})})}
        )
        visit.press("Sign out")
        assert visit.find("h1").text == "Signed out"
        assert "may still be signed in at Ex" in visit.find("main").text
        assert visit.flaws() == []
        visit.press("Sign out there, too")
        assert "Ex sent you back" in visit.find("main").text
        assert visit.flaws() == []
        visit.press("Sign in again")
        assert visit.find("h1").text == "Sign in"


def test_no_page_has_a_serious_flaw(visit: Visit) -> None:
    flaws = {}
    for size, scheme in SCREENS:
        visit.look(size, scheme)
        for place in ("/ui/sign-in", "/ui/signed-out", "/docs"):
            visit.open(place)
            flaws[f"{place} {size[0]} {scheme}"] = visit.flaws()
    sent = visit.send(to=PHONE, text="hello", metadata={"order": "A-17"})
    visit.trigger_text("hello", number(2), state="held", reason="approval: many")
    visit.replied(PHONE, words="Thanks")
    now, name = utcnow(), "a_name_that_is_much_longer_than_the_screen_of_a_telephone_is_wide"
    visit.trigger_text(name, number(3), state="held", reason="breaker: often")
    with writing(visit.engine) as connection:
        connection.execute(insert(number_review).values(phone=PHONE, since=now, excerpt="enough"))
        connection.execute(update(contact).values(push_state="rejected", last_error=f"400: {name}"))
        for key, ended in (("a", None), ("b", now)):
            row = {"key": key, "kind": "sync_failed", "urgent": True, "found": f"{name} failed", "remedy": "wait"}
            times = {"since": now, "seen_at": now, "raised_at": now, "told_at": now, "ended_at": ended}
            connection.execute(insert(alert).values(**row, **times, told_urgent=True))
        for n, (state, target) in enumerate(product(("done", "failed", "due"), ("alert:ops", f"subscriber:{name}"))):
            what = {"event_id": str(n), "target": target, "type": "alert.notice", "payload": "{}", "last_error": name}
            connection.execute(insert(delivery).values(**what, state=state, created_at=now, due_at=now))
        rejected = {"connection": "crm", "key": name, "code": "x", "reason": f"no phone in {name}", "where": "row 3"}
        connection.execute(insert(rejected_record).values(**rejected, since=now, seen_at=now))
    visit.open("/ui/sign-in")
    visit.sign_in()
    unknown = visit.send(to=number(4), text=f"{name} " * 9)
    visit.change(unknown, state=MessageState.UNKNOWN, reason="no_response: the connection broke")
    opt_out_number(visit.runtime, number(4), source="page", detail=name, actor="ana")
    places = [
        "/ui",
        "/ui/connections",
        "/ui/connections/crm?fields",
        "/ui/messages",
        "/ui/messages?trigger=hello",
        "/ui/messages?trigger=hello&day=2099-01-01",
        "/ui/messages?trigger=nothing",
        f"/ui/messages/{sent}",
        f"/ui/messages/{unknown}",
        "/ui/messages/nothing",
        "/ui/messages/all?what=approve&trigger=hello",
        "/ui/messages/all?what=approve&trigger=nothing",
        f"/ui/people/{PHONE}",
        f"/ui/people/{number(4)}",
        f"/ui/people/{number(99)}",
        "/ui/reviews",
        "/ui/triggers",
        "/ui/triggers/won",
        "/ui/triggers/won?record=1",
        "/ui/alerts",
        "/ui/failures",
        "/ui/find?q=ada",
        "/ui/find?q=nobody",
        "/ui/nothing",
        f"/ui/people/{PHONE}/forget",
        "/ui/me",
        "/ui/users",
        "/ui/audit",
    ]
    for size, scheme in SCREENS:
        visit.look(size, scheme)
        for place in places:
            visit.open(place)
            flaws[f"{place} {size[0]} {scheme}"] = visit.flaws()
    pause_connection(visit.runtime, "crm", reason=name, actor="ana")
    pause_trigger(visit.runtime, "won", reason=name, actor="ana")
    for (size, scheme), place in product(SCREENS, PAUSED):
        visit.look(size, scheme)
        visit.open(place)
        flaws[f"paused: {place} {size[0]} {scheme}"] = visit.flaws()
        assert "paused" in visit.find("main").text, place
    assert {place: found for place, found in flaws.items() if found} == {}


def test_no_page_of_a_new_installation_has_a_serious_flaw(visit: Visit) -> None:
    nothing: dict[str, Any] = {"connections": {}, "triggers": {}, "alerts": Alerts()}
    visit.runtime.settings = visit.runtime.settings.model_copy(update=nothing)
    with writing(visit.engine) as connection:
        create_user(connection, "vera", "viewer", PASSWORD, by="test", now=utcnow())
    visit.open("/ui")
    visit.sign_in()
    flaws = {}
    parts = ("", "/connections", "/messages", "/triggers", "/reviews", "/alerts", "/failures")
    for (size, scheme), part in product(SCREENS, parts):
        visit.look(size, scheme)
        visit.open(f"/ui{part}")
        flaws[f"{part} {size[0]} {scheme}"] = visit.flaws()
        assert visit.driver.find_elements("css selector", "thead") == [] or part == "", part  # no head without a row
    visit.press("Sign out")
    visit.sign_in("vera")
    for size, scheme in SCREENS:
        visit.look(size, scheme)
        visit.open("/ui/users")
        assert visit.find("h1").text == "Not allowed"
        flaws[f"refused {size[0]} {scheme}"] = visit.flaws()
    assert {place: found for place, found in flaws.items() if found} == {}


def test_every_control_is_reached_by_the_keyboard_and_seen(visit: Visit) -> None:
    visit.trigger_text("hello", number(2), state="held", reason="approval: many")
    visit.open("/ui")
    visit.sign_in()
    for place in ("/ui", "/ui/alerts", "/ui/triggers/won", f"/ui/people/{PHONE}", "/ui/users"):
        visit.open(place)
        controls = {one.id for one in visit.controls() if one.is_displayed()}
        reached, unseen = set(), []
        for number_of_keys in range(len(controls) + 30):
            visit.find("html" if not number_of_keys else ":focus").send_keys("\ue004")  # Tab
            here = visit.driver.switch_to.active_element
            if number_of_keys == 0:
                assert here.text == "Skip to the content", place
                assert here.rect["x"] >= 0, place
            if here.tag_name == "body":
                break
            reached.add(here.id)
            if here.value_of_css_property("outline-style") == "none":
                unseen.append(here.get_attribute("outerHTML")[:100])
        assert (len(controls - reached), unseen) == (0, []), place


def test_updates_wait_for_a_reader_who_wants_less_motion(visit: Visit) -> None:
    visit.open("/ui")
    visit.sign_in()
    assert visit.find(".pause").text == "Pause updates"
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    visit.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    visit.open("/ui")
    assert visit.find(".pause").text == "Resume updates"
