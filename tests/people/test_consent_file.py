"""A list of consents: what is read, what is named as unusable, and what an import does not do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.people.conftest import ANN, BEN, Scene
from worker.contacts.contact_file import UnusableFile
from worker.messages.consents import consents_of
from worker.messages.decisions import opt_in_number
from worker.people.consent_file import ListedConsent, import_consents, read_consent_file, read_consents
from worker.store.db import reading, writing
from worker.store.models import utcnow

NOW = datetime(2026, 12, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        ({"phone": "(415) 555-2671"}, ListedConsent(ANN, None, "")),
        ({"Phone": ANN, "How": "web form"}, ListedConsent(ANN, None, "web form")),
        ({"Mobile": "415-555-2671", "Date": "2026-03-04", "source": "paper"}, ListedConsent(ANN, MARCH, "paper")),
        ({"phone": ANN, "given_at": "3/4/2026"}, ListedConsent(ANN, MARCH, "")),
        ({"phone": ANN, "consent date": "2026-03-04T01:00:00+01:00"}, ListedConsent(ANN, MARCH, "")),
        ({"phone": ANN, "SMS consent": "Yes"}, ListedConsent(ANN, None, "")),
        ({"phone": ANN, "opt-in": "true", "proof": "checkbox"}, ListedConsent(ANN, None, "checkbox")),
    ],
)
def test_what_people_write_is_read(cells: dict[str, str], read: ListedConsent) -> None:
    found = read_consents([("line 2", cells)], "US", NOW)
    assert [(one.phone, one.given_at, one.words) for one in found.consents] == [(read.phone, read.given_at, read.words)]
    assert found.unusable == []


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("a quote is not closed", "a quote is not closed"),
        ({"phone": ""}, "no phone number"),
        ({"name": "Ann"}, "no phone number"),
        ({"phone": "12"}, "too few digits"),
        ({"phone": ANN, "consent": "no"}, 'its column "consent" says "no"'),
        ({"phone": ANN, "consent": ""}, "which is no yes"),
        ({"phone": ANN, "consent": "unsubscribed"}, "which is no yes"),
        ({"phone": ANN, "date": "soon"}, "no certain date"),
        ({"phone": ANN, "date": "2027-01-01"}, "in the future"),
    ],
)
def test_what_is_not_certain_is_named(cells: dict[str, str] | str, why: str) -> None:
    found = read_consents([("line 2", cells)], "US", NOW)
    assert found.consents == []
    assert found.unusable[0][0] == "line 2"
    assert why in found.unusable[0][1]


def test_a_file_with_a_header_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('Phone;How\n"(415) 555-2671";"bei der Prüfung"\n4155552672;\n', encoding="utf-16")
    found = read_consent_file(path, "US", NOW)
    assert [(one.phone, one.words) for one in found.consents] == [(ANN, "bei der Prüfung"), (BEN, "")]
    with pytest.raises(UnusableFile, match="there is no file"):
        read_consent_file(tmp_path / "none.csv", "US", NOW)


def test_an_import_adds_once_and_lifts_no_opt_out(scene: Scene) -> None:
    scene.writes(BEN, "STOP")
    listed = [ListedConsent(ANN, MARCH, "web form"), ListedConsent(BEN, MARCH, "web form")]
    runtime = scene.runtime()
    first = import_consents(runtime, [*listed, listed[0]], "ann")
    again = import_consents(runtime, listed, "ann")
    assert (first.added, first.known, first.opted_out) == (2, 1, (BEN,))
    assert (again.added, again.known) == (0, 2)
    assert scene.state(scene.texts(BEN, "Hello")) == "suppressed"
    with reading(scene.engine) as db:
        (one,) = consents_of(db, [ANN])[ANN]
    assert (one.source, one.given_at, one.words, one.actor) == ("import", MARCH, "web form", "ann")


def test_a_consent_from_before_the_stop_does_not_count_after_it(scene: Scene) -> None:
    scene.policy = scene.policy.model_copy(update={"consent": "required"})
    scene.writes(ANN, "STOP")
    import_consents(scene.runtime(), [ListedConsent(ANN, MARCH, "web form")], "ann")
    with writing(scene.engine) as db:  # somebody lifts the opt-out without a consent, as an earlier version did
        from worker.messages.opt_outs import remove_opt_out

        remove_opt_out(db, ANN, source="cli", detail="a mistake", now=utcnow())
    assert scene.state(scene.texts(ANN, "Hello")) == "suppressed"
    with writing(scene.engine) as db:
        opt_in_number(db, ANN, source="cli", detail="on the phone", actor="ann", now=utcnow())
    assert scene.state(scene.texts(ANN, "Hello again")) == "queued"
