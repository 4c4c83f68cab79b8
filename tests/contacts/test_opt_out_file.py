"""Lists of opt-outs of other systems: which columns, dates and answers are understood. A row is one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.contacts.opt_out_file import OptOutFile, UnusableOptOutFile, read_opt_out_file

ANNA, BEN = "+14155550101", "+14155550102"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAY = datetime(2025, 5, 1, tzinfo=UTC)
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)

ONE: dict[str, tuple[str, datetime | None, str, str]] = {
    # what it is: (the file, since, source, reason) of one opt-out of Anna
    "our own export": (
        'phone,since,source,reason,account\r\n+14155550101,2025-05-01T12:00:00+00:00,relay,"wrote ""STOP""",main\r\n',
        NOON,
        "relay",
        'wrote "STOP"',
    ),
    "only numbers": ("+14155550101\n", None, "", ""),
    "only numbers as people write them": ("(415) 555-0101\n415-555-0101\n", None, "", ""),
    "numbers and dates without a header": ("+14155550101,2025-05-01\n", MAY, "", ""),
    "a header alone in its column": ("Phone\n4155550101\n", None, "", ""),
    "Excel: byte order mark, semicolons": (
        "\ufeffPhone Number;Date;Reason\r\n(415) 555-0101;5/1/2025;STOP\r\n",
        MAY,
        "",
        "STOP",
    ),
    "Twilio's message log": (
        'To,Body,Date Sent,Status,Timestamp\n+14155550101,stop,,,"Thu, 01 May 2025 12:00:00 +0000"\n',
        NOON,
        "",
        "stop",
    ),
    "Klaviyo": (
        "Email,Phone Number,SMS Consent,SMS Consent Timestamp\na@b.co,+14155550101,UNSUBSCRIBED,2025-05-01 12:00:00\n"
        "b@b.co,+14155550102,SUBSCRIBED,2025-05-01 12:00:00\n",
        NOON,
        "",
        "",
    ),
    "Attentive": ("phone,opted_out_at,channel\n14155550101,2025-05-01T12:00:00Z,text\n", NOON, "text", ""),
    "a flag": ("Mobile,Opted Out\n+14155550101,true\n+14155550102,false\n", None, "", ""),
    "an empty flag": ("Mobile,Opted Out\n+14155550101,x\n+14155550102,\n", None, "", ""),
    "a consent": ("Mobile,SMS Consent\n+14155550101,no\n+14155550102,yes\n", None, "", ""),
    "an explicit no outranks an unknown status": (
        "Mobile,Opted Out,Status\n+14155550101,yes,active\n+14155550102,no,active\n",
        None,
        "",
        "",
    ),
    "a log of STOP and START": (
        "phone,action,date\n+14155550101,START,2025-01-01\n+14155550101,STOP,2025-05-01\n+14155550102,STOP,2025-05-01\n"
        "+14155550102,START,2025-06-01\n",
        MAY,
        "",
        "",
    ),
    "the older of two rows": ("phone,date\n+14155550101,2025-07-01\n+14155550101,2025-05-01\n", MAY, "", ""),
    "milliseconds": ("phone,created_at\n+14155550101,1746100800000\n", NOON, "", ""),
    "tabs and accents": ("Teléfono\tFecha\n+14155550101\t2025-05-01\n", MAY, "", ""),
}


def read(folder: Path, text: str, region: str | None = "US", column: str | None = None) -> OptOutFile:
    path = folder / "list.csv"
    path.write_bytes(text.encode())
    return read_opt_out_file(path, region, NOW, column)


@pytest.mark.parametrize("case", ONE)
def test_one_opt_out(case: str, tmp_path: Path) -> None:
    text, since, source, reason = ONE[case]
    found = read(tmp_path, text)
    assert (found.unusable, found.doubtful) == ([], [])
    assert {phone: (one.since, one.source, one.reason) for phone, one in found.opt_outs.items()} == {
        ANNA: (since, source, reason)
    }


DOUBTFUL = {
    "date,phone\nsoon,+14155550101\n": 'line 2: its date "soon" cannot be read; it counts as opted out now',
    "date,phone\n2099-01-01,+14155550101\n": 'line 2: its date "2099-01-01" cannot be read; it counts as opted out now',
    "date,phone\n1825-01-01,+14155550101\n": 'line 2: its date "1825-01-01" cannot be read; it counts as opted out now',
    "status,phone\nperhaps,+14155550101\n": 'line 2: its status "perhaps" is not known; it counts as opted out',
    "consent,phone\nunclear,+14155550101\n": 'line 2: its status "unclear" is not known; it counts as opted out',
}


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_is_not_understood_counts_as_opted_out_and_is_named(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, text)
    assert found.opt_outs[ANNA].since is None
    assert [": ".join(one) for one in found.doubtful] == [DOUBTFUL[text]]


def test_a_row_that_cannot_be_used_stops_no_other(tmp_path: Path) -> None:
    found = read(tmp_path, 'phone,date\n12,\n,\n"a"b,\n+14155550101,\n1.41556E+10,\n\n+14155550102,2025-05-01')
    assert sorted(found.opt_outs) == [ANNA, BEN]
    assert [place for place, _why in found.unusable] == ["line 2", "line 4", "line 6"]


def test_a_number_without_its_country_needs_the_region(tmp_path: Path) -> None:
    found = read(tmp_path, "phone\n4155550101\n+14155550102\n", region=None)
    assert list(found.opt_outs) == [BEN]
    assert "--region" in found.unusable[0][1]


@pytest.mark.parametrize(
    ("text", "column", "error"),
    [
        ("", None, "is empty"),
        ("name,email\na,b\n", None, 'no column with a usual name for a phone number.*--phone-column.*"name", "email"'),
        ("From,To\n+14155550101,+14155550102\n", None, "two columns of numbers"),
        ("name,email\na,b\n", "Cell", 'has no column "Cell"'),
        ('phone\n"+14155550101\n', None, "not closed"),
        ("%PDF-1.7\n", None, ""),
    ],
)
def test_a_file_that_is_no_list_is_refused(text: str, column: str | None, error: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableOptOutFile, match=f"(?s){error}"):
        read(tmp_path, text, column=column)


def test_the_column_can_be_named(tmp_path: Path) -> None:
    found = read(tmp_path, "From,To,Body\n+14155550101,+14155550102,STOP\n", column="from")
    assert {phone: one.reason for phone, one in found.opt_outs.items()} == {ANNA: "STOP"}


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnusableOptOutFile, match="there is no file"):
        read_opt_out_file(tmp_path / "none.csv", "US", NOW)
