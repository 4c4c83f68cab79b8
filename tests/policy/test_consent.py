"""Is a consent on record? The table of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.policy.consent import ConsentStatement, consent_at

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=100)


def said(day: int, answer: str = "yes", source: str = "relay", record: str = "17", **more: object) -> ConsentStatement:
    of_record = source == "crm"
    values = {
        "at": START + timedelta(days=day),
        "given_at": None,
        "kind": "consent",
        "answer": answer,
        "source": source,
        "account": "main",
        "connection": "crm" if of_record else None,
        "external_id": record if of_record else None,
        "field": "sms" if of_record else "",
        "words": "",
        "actor": "sync" if of_record else "ann",
    }
    return ConsentStatement(**values | more)  # type: ignore[arg-type]


TABLE = [
    # what was said, the days of opt-outs, the day that is asked about, the day of the consent that counts
    ([], [], 100, None),
    ([said(1)], [], 100, 1),
    ([said(1)], [], 0, None),
    ([said(1), said(5)], [], 100, 5),
    ([said(1)], [2], 100, None),
    ([said(1)], [2], 1, 1),
    ([said(1), said(3)], [2], 100, 3),
    ([said(3)], [3], 100, None),
    ([said(3, source="import", given_at=START + timedelta(days=1))], [2], 100, None),
    ([said(3, source="import", given_at=START + timedelta(days=1))], [], 2, None),
    ([said(3, source="import", given_at=START + timedelta(days=1))], [], 3, 3),
    ([said(1, source="crm")], [], 100, 1),
    ([said(1, source="crm"), said(2, "no", "crm")], [], 100, None),
    ([said(1, source="crm"), said(2, "gone", "crm")], [], 100, None),
    ([said(1, source="crm"), said(2, "unknown", "crm")], [], 100, None),
    ([said(1, source="crm"), said(2, "no", "crm")], [], 1, 1),
    ([said(1, source="crm"), said(2, "no", "crm", "18")], [], 100, 1),
    ([said(1, source="crm"), said(2, "no", "crm"), said(3, source="crm")], [], 100, 3),
    ([said(1, source="crm")], [2], 100, 1),  # the record says so still; the opt-out has a rule of its own
    ([said(1, "yes", "crm", kind="do_not_text")], [], 100, None),
    ([said(1), said(2, "no", "crm")], [], 100, 1),  # the rule of the CRM's own field decides about that
]


@pytest.mark.parametrize(("statements", "outs", "day", "counts"), TABLE)
def test_the_consent_that_counts(
    statements: list[ConsentStatement], outs: list[int], day: int, counts: int | None
) -> None:
    found = consent_at(statements, [START + timedelta(days=one) for one in outs], START + timedelta(days=day))
    assert (None if found is None else (found.at - START).days) == counts


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (said(1, source="crm", words="Yes"), 'crm 17, field "sms": "Yes"'),
        (said(1, words='wrote "START"'), 'by text (ann): "wrote "START""'),
        (said(1, source="cli"), "entered by hand (ann)"),
        (said(1, source="import", words="web form"), 'imported (ann): "web form"'),
    ],
)
def test_it_says_who_said_so(statement: ConsentStatement, words: str) -> None:
    assert str(statement) == words
