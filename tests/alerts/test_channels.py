"""Each alert reaches a real SMTP server, a webhook and a chat once when it begins and once when it ends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from config.alert_kinds import AlertKind
from config.alerts import Alerts, EmailChannel
from tests.alerts.conftest import (
    LOGIN,
    NOON,
    SECRET,
    Heard,
    Mailbox,
    Watch,
    email_to,
    mail_server,
    server_context,
    webhook_to,
)
from tests.deliveries.conftest import on_sqlite
from worker.alerts.evaluate import is_due
from worker.alerts.listing import open_alerts
from worker.core.findings import Finding, problem, warning
from worker.deliveries.alert_channels import try_channel
from worker.store.db import writing
from worker.store.leases import new_lease
from worker.store.models import utcnow
from worker.store.tables import alert, delivery, maintenance_lock

LONG = timedelta(minutes=10)
NIGHT = NOON.replace(hour=23)


def failed(name: str = "crm") -> Finding:
    found = "its last sync failed: no answer"
    return warning(AlertKind.SYNC_FAILED, f"connection {name}", found, "w", "do something")


def stopped() -> Finding:
    return problem(AlertKind.ACCOUNT_STOPPED, "account main", "is stopped: 401", "w", "correct it")


@on_sqlite
@pytest.mark.parametrize("kind", AlertKind)
def test_each_kind_is_told_once_on_change_and_once_at_its_end(
    kind: AlertKind, watch: Watch, mailbox: Mailbox, hook: Heard
) -> None:
    watch.configure({"mail": email_to(mailbox), "hook": webhook_to(hook)})
    finding = warning(kind, "connection crm", "has a state", "w", "act")
    for _ in range(5):
        watch.look(finding)
        watch.deliver()
    assert mailbox.subjects == [f"vtsync: 1 new alert ({kind.words})"]
    watch.look(after=LONG)
    watch.deliver()
    watch.look(after=LONG)
    watch.deliver()
    assert mailbox.subjects[1:] == [f"vtsync: 1 ended alert ({kind.words})"]
    assert [[len(one["data"][part]) for part in ("began", "lasts", "ended")] for one in hook.bodies] == [
        [1, 0, 0],
        [0, 0, 1],
    ]
    assert hook.bodies[0]["data"]["began"][0]["kind"] == kind


def test_several_alerts_at_once_are_one_notice_and_a_new_one_is_told_alone(watch: Watch, mailbox: Mailbox) -> None:
    watch.configure({"mail": email_to(mailbox)})
    watch.look(failed(), failed("shop"), stopped())
    watch.deliver()
    watch.look(failed(), failed("shop"), stopped(), failed("third"))
    watch.deliver()
    assert mailbox.subjects == [
        "vtsync: 3 new alerts (sync failed ×2, account stopped)",
        "vtsync: 1 new alert (sync failed)",
    ]
    first, second = (mail.get_content() for mail in mailbox.mails)
    assert "- urgent: account main: is stopped (since 2026-03-04 12:01 UTC)" in first
    assert "What to do: correct it" in first
    assert "third" in second
    assert "shop" not in second
    assert mailbox.mails[0]["To"] == "ops@example.com, boss@example.com"


@on_sqlite
def test_the_night_holds_what_is_not_urgent_and_the_morning_releases_it(watch: Watch, mailbox: Mailbox) -> None:
    watch.configure({"mail": email_to(mailbox)}, quiet="22:00-07:00")
    watch.look(failed(), stopped(), at=NIGHT)
    watch.look(failed(), stopped())
    watch.deliver()
    assert mailbox.subjects == ["vtsync: 1 new alert (account stopped)"]
    morning = NIGHT + timedelta(hours=8)
    watch.look(failed(), stopped(), at=morning - timedelta(minutes=1))
    watch.look(failed(), stopped(), at=morning)
    watch.look(failed(), stopped())
    watch.deliver()
    assert mailbox.subjects[1:] == ["vtsync: 1 new alert (sync failed)"]


@on_sqlite
def test_the_end_of_what_people_know_of_is_told_in_the_morning(watch: Watch, mailbox: Mailbox) -> None:
    watch.configure({"mail": email_to(mailbox)}, quiet="22:00-07:00")
    watch.look(failed(), at=NIGHT - timedelta(hours=2))
    watch.look(failed("shop"), at=NIGHT)  # begins and ends at night: only the digest has it
    watch.look(at=NIGHT + timedelta(hours=1))
    watch.deliver()
    assert len(mailbox.mails) == 1
    watch.look(at=NIGHT + timedelta(hours=8))
    watch.look()
    watch.deliver()
    assert mailbox.subjects[1:] == ["vtsync: 1 ended alert (sync failed)"]
    assert "connection crm" in mailbox.mails[1].get_content()


@on_sqlite
def test_a_channel_gets_what_it_asked_for(watch: Watch, mailbox: Mailbox, hook: Heard) -> None:
    watch.configure({"mail": email_to(mailbox, urgent_only=True), "hook": webhook_to(hook, events=["sync_*"])})
    watch.look(failed(), stopped())
    watch.look(after=LONG)
    watch.deliver()
    assert mailbox.subjects == ["vtsync: 1 new alert (account stopped)", "vtsync: 1 ended alert (account stopped)"]
    assert [one["data"]["title"] for one in hook.bodies] == [
        "vtsync: 1 new alert (sync failed)",
        "vtsync: 1 ended alert (sync failed)",
    ]


@on_sqlite
def test_the_digest_comes_once_a_day_with_what_is_open_and_what_has_ended(watch: Watch, mailbox: Mailbox) -> None:
    watch.configure({"mail": email_to(mailbox)}, digest="08:00", time_zone="UTC")
    watch.look(failed(), failed("shop"))
    watch.look(failed(), after=LONG)
    watch.deliver()
    mailbox.mails.clear()
    morning = (NOON + timedelta(days=1)).replace(hour=8)
    for at in (morning - timedelta(minutes=2), morning, morning + timedelta(minutes=1)):
        watch.look(failed(), at=at)
        watch.deliver()
    assert mailbox.subjects == ["vtsync: 1 open alert (sync failed), 1 ended alert (sync failed)"]
    watch.look(at=morning + timedelta(hours=1))
    watch.deliver()
    mailbox.mails.clear()
    watch.look(at=morning + timedelta(days=2))
    watch.deliver()
    assert mailbox.mails == [], "there is nothing to say"


@on_sqlite
def test_a_reminder_after_the_time_that_was_asked_for(watch: Watch, mailbox: Mailbox) -> None:
    watch.configure({"mail": email_to(mailbox)}, remind_after="2h")
    for hours in (0, 1, 2, 3, 4):
        watch.look(failed(), at=NOON + timedelta(hours=hours))
    watch.deliver()
    assert sorted(mailbox.subjects) == [
        "vtsync: 1 new alert (sync failed)",
        "vtsync: 1 open alert (sync failed)",
        "vtsync: 1 open alert (sync failed)",
    ]


def test_a_channel_that_fails_is_tried_again_given_up_and_delays_nobody(
    watch: Watch, mailbox: Mailbox, hook: Heard
) -> None:
    watch.configure({"mail": email_to(mailbox), "hook": webhook_to(hook)})
    mailbox.answer = "554 no"
    watch.look(failed())
    watch.deliver()
    states = {row.target: (row.state, row.attempts) for row in watch.rows(delivery)}
    assert states == {"alert:mail": ("due", 1), "alert:hook": ("done", 1)}
    for _ in range(9):
        watch.deliver()
    given_up = next(row for row in watch.rows(delivery) if row.target == "alert:mail")
    assert (given_up.state, given_up.attempts) == ("failed", 10)
    assert "answered 554" in given_up.last_error
    assert len(hook.bodies) == 1


@on_sqlite
def test_what_failed_once_arrives_with_the_next_try(watch: Watch, mailbox: Mailbox) -> None:
    watch.configure({"mail": email_to(mailbox)})
    mailbox.answer = "451 later"
    watch.look(failed())
    watch.deliver()
    mailbox.answer = "250 OK"
    watch.deliver()
    watch.deliver()
    assert len(mailbox.mails) == 1


def test_a_process_killed_after_the_commit_loses_nothing_and_repeats_nothing(watch: Watch, hook: Heard) -> None:
    watch.configure({"hook": webhook_to(hook)})
    assert watch.look(failed())
    assert [row.state for row in watch.rows(delivery)] == ["due"], "committed, whoever delivers it"
    watch.look(failed())  # another process goes on
    assert len(watch.rows(delivery)) == 1
    watch.deliver()
    assert len(hook.bodies) == 1


def test_a_process_killed_before_the_commit_leaves_it_to_the_next(
    watch: Watch, hook: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.configure({"hook": webhook_to(hook)})
    with monkeypatch.context() as broken:
        broken.setattr("worker.alerts.evaluate._send", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.look(failed())
    assert watch.rows(alert) == []
    watch.look(failed())
    watch.deliver()
    assert len(hook.bodies) == 1


def test_only_one_process_evaluates(watch: Watch, hook: Heard) -> None:
    watch.configure({"hook": webhook_to(hook)})
    watch.look(failed())
    assert not is_due(watch.runtime, watch.now)
    assert not watch.look(failed("shop"), after=timedelta(seconds=10))
    held = new_lease(utcnow(), 300)
    with writing(watch.runtime.engine) as db:
        values = {"lease_owner": held.owner, "lease_until": held.until}
        db.execute(update(maintenance_lock).where(maintenance_lock.c.name == "alerts").values(values))
    assert not is_due(watch.runtime, watch.now + LONG)
    assert not watch.look(failed("shop"), after=LONG)
    assert len(watch.rows(alert)) == 1


@on_sqlite
def test_a_check_that_fails_hides_no_other_and_ends_nothing(watch: Watch, hook: Heard) -> None:
    from worker.alerts.evaluate import evaluate

    def broken(_: Any) -> list[Finding]:
        raise ZeroDivisionError

    watch.configure({"hook": webhook_to(hook)})
    watch.look(failed())
    evaluate(watch.runtime, watch.now + LONG, [broken, lambda _: [stopped()]])
    assert {row.kind: row.ended_at for row in watch.rows(alert)} == {"sync_failed": None, "account_stopped": None}


@on_sqlite
def test_subscribers_hear_of_alerts_even_at_night(watch: Watch, hook: Heard) -> None:
    watch.configure({}, quiet="00:00-23:59")
    alerts = watch.runtime.settings.alerts
    subscriber = {"url": hook.url, "secret": SECRET, "events": ["alert.*"]}
    settings = type(watch.runtime.settings).model_validate({"subscribers": {"ops": subscriber}})
    watch.runtime.settings = settings.model_copy(update={"alerts": alerts})
    for _ in range(3):
        watch.look(failed())
        watch.deliver()
    watch.look(after=LONG)
    watch.deliver()
    assert [(one["type"], one["data"]["kind"]) for one in hook.bodies] == [
        ("alert.raised", "sync_failed"),
        ("alert.ended", "sync_failed"),
    ]


@on_sqlite
def test_without_a_channel_nothing_is_evaluated(watch: Watch) -> None:
    assert not is_due(watch.runtime, NOON)
    assert not watch.look(failed())
    assert watch.rows(alert) == []


@on_sqlite
def test_a_chat_gets_a_text_without_control_characters(watch: Watch, chat: Heard) -> None:
    watch.configure({"ops": {"kind": "slack", "webhook_url": chat.url}})
    watch.look(warning(AlertKind.SYNC_LATE, "connection crm", "<!channel> & more", "w", "d"))
    watch.deliver()
    (body,) = chat.bodies
    assert "&lt;!channel&gt; &amp; more" in body["text"]
    assert body["text"].startswith("*vtsync: 1 new alert (sync late)*")


@on_sqlite
def test_open_alerts_are_listed(watch: Watch, hook: Heard) -> None:
    watch.configure({"hook": webhook_to(hook)})
    watch.look(failed(), stopped())
    watch.look(stopped(), after=LONG)
    assert [(one.kind, one.urgent) for one in open_alerts(watch.runtime)] == [("account_stopped", True)]


def channel(box: Mailbox, **more: Any) -> EmailChannel:
    made = Alerts.model_validate({"channels": {"mail": email_to(box, **more)}}).channels["mail"]
    assert isinstance(made, EmailChannel)
    return made


@pytest.mark.parametrize(
    ("security", "login", "problem_"),
    [
        ("starttls", {}, "answered 530"),
        ("starttls", {"username": "ops", "password": "right"}, ""),
        ("starttls", {"username": "ops", "password": "wrong"}, "refuses the username or the password (535)"),
        ("tls", {"username": "ops", "password": "right"}, ""),
        ("none", {}, "answered 530"),
    ],
)
def test_mail_servers_with_tls_and_a_login(
    security: str,
    login: dict[str, str],
    problem_: str,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    tls = server_context(certificate)
    options: dict[str, Any] = {"ssl_context": tls} if security == "tls" else {"tls_context": tls}
    options |= LOGIN | ({"auth_require_tls": False} if security == "tls" else {})
    with mail_server(**options) as box:
        found = try_channel(channel(box, security=security, **login))
        assert problem_ in found if problem_ else found == "", found
        assert len(box.mails) == (0 if problem_ else 1)


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    with mail_server(tls_context=server_context(certificate)) as box:
        assert "cannot be verified" in try_channel(channel(box, security="starttls"))
        assert box.mails == []


def test_a_server_without_starttls_gets_no_mail(mailbox: Mailbox) -> None:
    assert "STARTTLS" in try_channel(channel(mailbox, security="starttls"))
    assert mailbox.mails == []


def test_the_test_says_what_it_is(mailbox: Mailbox) -> None:
    assert try_channel(channel(mailbox)) == ""
    (mail,) = mailbox.mails
    assert mail["Subject"] == "vtsync: test of this alert channel"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_service_of_apprise_hears_the_notice(watch: Watch, chat: Heard) -> None:
    pytest.importorskip("apprise")
    watch.configure({"any": {"kind": "apprise", "service": chat.url.replace("http://", "json://")}})
    watch.look(failed())
    watch.deliver()
    (body,) = chat.bodies
    assert body["title"] == "vtsync: 1 new alert (sync failed)"
    assert "connection crm" in body["message"]


@pytest.mark.parametrize("service", ["no-such-service://x", ""])
def test_a_service_that_apprise_does_not_know_is_given_up_with_a_remedy(service: str) -> None:
    pytest.importorskip("apprise")
    made = Alerts.model_validate({"channels": {"any": {"kind": "apprise", "service": service or "x://"}}})
    assert "apprise does not know" in try_channel(made.channels["any"])


def test_without_the_package_apprise_the_channel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.deliveries.alert_channels.find_spec", lambda _: None)
    made = Alerts.model_validate({"channels": {"any": {"kind": "apprise", "service": "json://x"}}})
    assert "pip install" in try_channel(made.channels["any"])
