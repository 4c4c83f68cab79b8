"""Responses that are lost while the Relay reports every text: what was lost is settled, and nothing else is.

Each scenario raises AssertionError when a promise is broken, and returns its figures.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.faults.crowd import Figures, number
from tests.faults.servers import free_port, listens
from tests.harness import Fleet, until

SECRET = "a-secret-of-at-least-24-characters"
RELAY_SECONDS = 35
"""How late the Relay reports texts: later than a record without a response would be repeated without it."""
ECHO_WAIT = 'echo_wait = "70s"'
RECORD = "vtsync.record_message"
SEND = "vtsync.send_message"
WARM_UP = 9_000
"""A person whose record is reported at once, so that reports are known to come."""
DUPLICATE_SECONDS = 1
"""``policy.duplicate_window``, at its shortest: the second text of a pair is intended."""
GROUP = 3
"""Pairs at a time: more failures in a row would pause the account."""


def prepare_relay(fleet: Fleet, account: str = ECHO_WAIT, *, read_timeout: float = 20.0) -> None:
    """A fleet with its HTTP side, to which the sandbox reports every text in both formats."""
    port, secret = free_port(), fleet.folder / "relay_secret"
    secret.write_text(SECRET)
    fleet.configure(
        f'[web]\npublic_url = "http://127.0.0.1:{port}"\n',
        account=f'relay_secret = {{ file = "{secret}" }}\n{account}',
        policy=f'duplicate_window = "{DUPLICATE_SECONDS}s"\nmax_per_contact = 1000',
        connect_timeout=read_timeout / 2,
        read_timeout=read_timeout,
    )
    migrated = fleet.run("migrate")
    assert migrated.exit_code == 0, migrated.output
    fleet.sandbox.behaviour.switch({"relay": {"shape": "both", "gap_seconds": 0.2, "access_token": True}})
    fleet.start("web", "--port", str(port))
    until("the HTTP side", lambda: listens(port))
    registered = fleet.run("relay", "register")
    assert registered.exit_code == 0, registered.output


def lost_records(fleet: Fleet, people: int, texts: int, share: float, kills: int = 0, seed: int = 1) -> Figures:
    """For a share of the records the response is lost after VirtualText stored them; workers are killed meanwhile.

    The Relay reports the account's records, but late.
    """
    rng = random.Random(seed)
    # What a killed worker held is free again when its longest request would have ended.
    prepare_relay(fleet, read_timeout=3.0 if kills else 20.0)
    worker, began = fleet.start("worker"), time.monotonic()
    fleet.start("beat")
    _report(fleet, [WARM_UP], 1)
    until("the first report of a record", lambda: fleet.states()["confirmed"] == 1, 60)
    fleet.sandbox.behaviour.switch({"relay": {"delay_seconds": RELAY_SECONDS}})
    fleet.sandbox.add_fault(endpoint="record", action="drop", when="after", probability=share)
    if kills:  # a kill finds requests on their way, half of them carried out already
        for when, probability in (("after", 0.5), ("before", 1)):
            fleet.sandbox.add_fault(endpoint="record", action="delay", when=when, probability=probability, delay_ms=100)
    _report(fleet, range(people), texts)
    for index in range(kills):
        mark = (index + rng.random()) / kills * 0.8 * people * texts
        until("records to be stored", partial(_stored_more_than, fleet, mark), 600)
        fleet.kill(worker)
        worker = fleet.start("worker")
    wanted = people * texts + 1
    until("every record to end", lambda: (s := fleet.states())["accepted"] + s["confirmed"] == wanted, 900)
    lost = sum(one.written and one.action == "drop" for one in fleet.sandbox.injections())
    vanished = fleet.query("SELECT count(*) FROM message_event WHERE reason LIKE 'vanished:%'")[0][0]
    figures: Figures = {
        "records": wanted - 1,
        "responses lost after the record was stored": lost,
        "kills of workers": kills,
        "records of killed workers": vanished,
        "seconds": round(time.monotonic() - began, 1),
    }
    return figures | verify_records(fleet, people, texts)


def _report(fleet: Fleet, people: Sequence[int], texts: int) -> None:
    """Report texts as a service does, which sends the second text of a person after the first.

    A record that is accepted after a later one of its conversation was stored stands behind it. So a worker that is
    killed while it accepts the first texts would change their order, and that would be nobody's fault.
    """
    start = datetime.now(UTC) - timedelta(hours=2)
    with fleet.service() as service:
        for n in range(texts):
            if n:
                until("the texts before to be accepted", lambda wanted=n: _accepted(fleet) > wanted * len(people), 60)
            for person in people:
                record = {
                    "account": "main",
                    "to": number(person),
                    "message": f"text {n}",
                    "carrier": "twilio",
                    "carrier_message_id": f"SM{person}-{n}",
                    "sent_at": (start + timedelta(minutes=n)).isoformat(),
                }
                service.send_task(RECORD, kwargs=record, ignore_result=True)


def _accepted(fleet: Fleet) -> int:
    return fleet.states().total()


def _stored_more_than(fleet: Fleet, mark: float) -> bool:
    return len(fleet.sandbox.messages("recorded")) > mark


def verify_records(fleet: Fleet, people: int, texts: int) -> Figures:
    """Every record stands in its conversation once, in the order of sending, and nobody was texted."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for message in fleet.sandbox.messages("recorded"):
        if message.to == number(WARM_UP):
            continue
        found[message.to].append(message.text)
    wanted = [f"text {n}" for n in range(texts)]
    twice = sum(times - 1 for here in found.values() for times in Counter(here).values())
    missing = sum(len(set(wanted) - set(found[number(person)])) for person in range(people))
    disordered = sum(list(dict.fromkeys(here)) != sorted(set(here)) for here in found.values())
    texted = len(fleet.sandbox.messages("sent_by_platform"))
    assert (twice, missing, disordered, texted) == (0, 0, 0, 0), (
        f"{twice} records stand there twice, {missing} are missing, {disordered} conversations are out of order,"
        f" {texted} people were texted"
    )
    return {"there twice": twice, "missing": missing, "conversations out of order": disordered, "texted": texted}


def twins(fleet: Fleet, pairs: int) -> Figures:
    """Each person is sent the same text twice: one request is lost on its way, the response to the other one arrives.

    The report of the second text must not confirm the first one.
    """
    prepare_relay(fleet)
    fleet.start("worker")
    fleet.start("beat")
    for first in range(0, pairs, GROUP):
        group, sent = range(first, min(first + GROUP, pairs)), len(fleet.sandbox.messages())
        fleet.sandbox.add_fault(endpoint="send", action="drop", when="before", calls=len(group))
        _send(fleet, group, "first")
        until("the first of each pair to be lost", partial(_lost_are, fleet, group.stop), 60)
        time.sleep(DUPLICATE_SECONDS + 0.1)
        _send(fleet, group, "second")
        wanted = sent + len(group)
        until("the second to be sent", partial(_there_are, fleet, wanted), 60)
    fleet.sandbox.wait_for_relay(60)
    until("every report to be processed", lambda: _processed(fleet) == 2 * pairs, 60)
    rows = fleet.query("SELECT idempotency_key, state FROM message")
    ends = Counter((key.partition("-")[0], state) for key, state in rows)
    wrong, right = ends["first", "confirmed"], ends["second", "confirmed"]
    assert (wrong, right) == (0, pairs), f"{wrong} of {pairs} lost texts were confirmed, and {right} of those sent"
    assert ends["first", "unknown"] == pairs
    return {"pairs": pairs, "lost texts that were confirmed": wrong, "sent texts that were confirmed": right}


def _send(fleet: Fleet, pairs: Iterable[int], which: str) -> None:
    with fleet.service() as service:
        for n in pairs:
            text = {"account": "main", "to": number(n), "message": "Your order is ready."}
            service.send_task(SEND, kwargs=text | {"idempotency_key": f"{which}-{n}"}, ignore_result=True)


def _lost_are(fleet: Fleet, count: int) -> bool:
    """Whether so many texts have been lost, whatever was learned about them since."""
    rows = fleet.query("SELECT count(DISTINCT message_id) FROM message_event WHERE to_state = 'unknown'")
    return bool(rows) and rows[0][0] >= count


def _there_are(fleet: Fleet, count: int) -> bool:
    return len(fleet.sandbox.messages()) == count


def _processed(fleet: Fleet) -> int:
    rows = fleet.query("SELECT count(*) FROM inbox_event WHERE state IN ('done', 'ignored')")
    return int(rows[0][0]) if rows else 0
