from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.states import MessageKind
from worker.policy.decide import Expire, Go, Hold, OptedOut, PolicyDecision, PolicyFacts, Suppress, decide

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SOON, AGO = NOW + timedelta(minutes=5), NOW - timedelta(minutes=5)
STOPPED = OptedOut(datetime(2026, 3, 1, 8, 30, tzinfo=UTC), "virtualtext")
PLAIN = PolicyFacts(
    kind=MessageKind.SEND, expires_at=NOW + timedelta(hours=24), opted_out=None, to_number="+14155552671"
)


def brief(decision: PolicyDecision) -> tuple[str, str, datetime | None]:
    match decision:
        case Go():
            return ("go", "", None)
        case Hold():
            return ("hold", decision.code, decision.until)
        case Suppress():
            return ("suppress", decision.code, None)
        case Expire():
            return ("expire", "", None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("go", "", None)),
        ({"batch_verdict": "approved"}, ("go", "", None)),
        ({"due_at": NOW}, ("go", "", None)),
        ({"expires_at": None}, ("go", "", None)),
        ({"opted_out": STOPPED}, ("suppress", "opted_out", None)),
        ({"expires_at": AGO}, ("expire", "", None)),
        ({"expires_at": NOW}, ("expire", "", None)),
        ({"expires_at": NOW + timedelta(microseconds=1)}, ("go", "", None)),
        ({"contact_deleted": True}, ("suppress", "record_deleted", None)),
        ({"phone_changed": True}, ("suppress", "phone_changed", None)),
        ({"batch_verdict": "open"}, ("hold", "run", None)),
        ({"batch_verdict": "over_limit"}, ("hold", "approval", None)),
        ({"due_at": SOON}, ("hold", "scheduled", SOON)),
        # Where several apply: what ends a text comes before what delays it, and the opt-out before everything.
        ({"opted_out": STOPPED, "expires_at": AGO}, ("suppress", "opted_out", None)),
        ({"opted_out": STOPPED, "batch_verdict": "open"}, ("suppress", "opted_out", None)),
        ({"expires_at": AGO, "contact_deleted": True}, ("expire", "", None)),
        ({"expires_at": AGO, "batch_verdict": "over_limit"}, ("expire", "", None)),
        ({"contact_deleted": True, "phone_changed": True}, ("suppress", "record_deleted", None)),
        ({"phone_changed": True, "batch_verdict": "open"}, ("suppress", "phone_changed", None)),
        ({"batch_verdict": "over_limit", "due_at": SOON}, ("hold", "approval", None)),
    ],
)
def test_decisions(change: dict[str, object], expected: tuple[str, str, datetime | None]) -> None:
    assert brief(decide(replace(PLAIN, **change), NOW)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("opted_out", "to_number", "words"),
    [
        (
            STOPPED,
            "+14155552671",
            "+1415•••2671 opted out on 2026-03-01 (VirtualText answered 451);"
            " no account texts it until the person sends START",
        ),
        (
            replace(STOPPED, source="cli"),
            "",
            "this number opted out on 2026-03-01 (entered by hand); no account texts it until `vtsync opt-in` lifts it",
        ),
        (
            replace(STOPPED, source="number_changed"),
            "+14155552671",
            "+1415•••2671 follows an opt-out since 2026-03-01: its CRM record had another number, which had opted out;"
            ' if the opt-out does not apply here, lift it with `vtsync opt-in NUMBER --why "..."`',
        ),
        (
            replace(STOPPED, source="import"),
            "",
            "this number opted out on 2026-03-01 (imported from the list of another system); no account texts it until"
            " `vtsync opt-in` lifts it",
        ),
        (
            replace(STOPPED, source="of a later version"),
            "",
            "this number opted out on 2026-03-01 (of a later version);"
            " no account texts it until `vtsync opt-in` lifts it",
        ),
    ],
)
def test_an_opt_out_says_since_when_from_whom_and_until_what(opted_out: OptedOut, to_number: str, words: str) -> None:
    decision = decide(replace(PLAIN, opted_out=opted_out, to_number=to_number), NOW)
    assert decision == Suppress("opted_out", words)


def test_reasons_name_the_time_and_the_next_step() -> None:
    late = decide(replace(PLAIN, expires_at=NOW), NOW)
    assert late == Expire("it had to be sent before 2026-03-02 12:00:00 UTC and was not; late texts are not sent")
    early = decide(replace(PLAIN, due_at=SOON), NOW)
    assert isinstance(early, Hold)
    assert early.reason == "it is due at 2026-03-02 12:05:00 UTC"
    many = decide(replace(PLAIN, batch_verdict="over_limit"), NOW)
    assert isinstance(many, Hold)
    assert "policy.blast_limit" in many.reason
    assert "vtsync approve" in many.reason


TIMES = st.none() | st.integers(-3, 3).map(lambda minutes: NOW + timedelta(minutes=minutes))
VIEWS = st.builds(
    PolicyFacts,
    kind=st.just(MessageKind.SEND),
    expires_at=TIMES,
    opted_out=st.none() | st.just(STOPPED),
    batch_verdict=st.sampled_from(["none", "open", "over_limit", "approved"]),
    due_at=TIMES,
    phone_changed=st.booleans(),
    contact_deleted=st.booleans(),
    to_number=st.sampled_from(["", "+14155552671"]),
)


@given(VIEWS)
def test_a_text_goes_exactly_when_nothing_speaks_against_it(view: PolicyFacts) -> None:
    free = (
        view.opted_out is None
        and (view.expires_at is None or view.expires_at > NOW)
        and view.batch_verdict in ("none", "approved")
        and (view.due_at is None or view.due_at <= NOW)
        and not (view.phone_changed or view.contact_deleted)
    )
    assert isinstance(decide(view, NOW), Go) == free


@given(VIEWS)
def test_an_opted_out_number_is_never_texted_held_or_expired(view: PolicyFacts) -> None:
    assert isinstance(decide(replace(view, opted_out=STOPPED), NOW), Suppress)


@given(VIEWS)
def test_every_no_has_words_and_every_hold_ends(view: PolicyFacts) -> None:
    decision = decide(view, NOW)
    if not isinstance(decision, Go):
        assert len(decision.reason.split()) > 3
    if isinstance(decision, Hold):
        # Either at a time to come, or by the end of the run, or by a person: nothing waits for nobody.
        assert (decision.until is None) == (decision.code in ("run", "approval"))
        assert decision.until is None or decision.until > NOW


@given(VIEWS, st.integers(-12, 14))
def test_the_same_question_has_the_same_answer_in_every_time_zone(view: PolicyFacts, hours: int) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert brief(decide(view, NOW)) == brief(decide(view, elsewhere))


@given(VIEWS)
def test_a_record_texts_nobody_and_always_goes(view: PolicyFacts) -> None:
    assert decide(replace(view, kind=MessageKind.RECORD), NOW) == Go()
