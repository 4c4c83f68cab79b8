"""200 hostile rows among 200 good ones: the good ones arrive, every bad one is explained, nothing is lost."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.faults.crowd import Figures, number
from tests.harness import Fleet

GOOD = 200
CONFIGURATION = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "crm.csv", encoding = "utf-8", settle_seconds = 0 }
"""
HEADER = b"id,name,email,mobile"
LINE = re.compile(r"line (\d+)$")


@dataclass(frozen=True)
class Row:
    """A line of the export. ``reason``: a part of why it must be rejected, and ``corrected`` what replaces it then."""

    kind: str
    line: bytes
    reason: str = ""
    corrected: bytes = b""
    contact: tuple[str, str] | None = None
    """Number and name in VirtualText, in the end."""


def good_rows() -> list[Row]:
    return [
        Row("good", f"{n},Person {n},p{n}@example.org,{number(n)}".encode(), contact=(number(n), f"Person {n}"))
        for n in range(GOOD)
    ]


def hostile_rows_made() -> list[Row]:
    """25 of each of eight kinds. One of the binary ones holds a field of 10 MB instead."""
    rows = [row for n in range(25) for row in _fine(n) + _bad(n)]
    rows[rows.index(next(row for row in rows if row.kind == "binary"))] = _bad_row(
        "a field of 10 MB", b"big," + b"x" * 10_000_000 + b",," + number(2000).encode(), "more than 1,048,576", "big", 0
    )
    return rows


def _fine(n: int) -> list[Row]:
    """Strange to look at, and right as they are."""
    names = {
        "emoji": f"\U0001f469\u200d\U0001f680 Zo\u00eb \U0001f389 {n}",
        "CSV injection": f"=cmd|'/c calc'!A{n}",
        "right to left": f"\u05e9\u05dc\u05d5\u05dd \u202e\u0639\u0631\u0628\u064a {n}",
    }
    rows = [Row("empty line", b"")]
    for index, (kind, name) in enumerate(names.items()):
        phone = number(1000 + 100 * index + n)
        known = phone if name.startswith("=") else name  # a formula is no name
        rows.append(Row(kind, f'{kind[0]}{n},"{name}",,{phone}'.encode(), contact=(phone, known)))
    return rows


def _bad(n: int) -> list[Row]:
    two = f"t{n},Two Numbers,,{number(2 * n)} / {number(2 * n + 1)}".encode()
    latin = f"u{n},Fran".encode() + b"\xe7ois,," + number(2200 + n).encode()
    again = f"{n},Person {n},p{n}@example.org,{number(2300 + n)}".encode()  # the same person with another number
    return [
        _bad_row(
            "binary", b"\x00\x01\x02\xff\xfe,\x00,\x07,\x00" + str(n).encode(), "bytes that are not text", f"b{n}", n
        ),
        _bad_row("two numbers", two, "more than one number", f"t{n}", 100 + n),
        _bad_row("invalid UTF-8", latin, "bytes that are not text", f"u{n}", 200 + n),
        _bad_row("repeated id", again, "more than once", f"d{n}", 300 + n),
    ]


def _bad_row(kind: str, line: bytes, reason: str, key: str, index: int) -> Row:
    phone, name = number(2000 + index), f"Corrected {key}"
    return Row(kind, line, reason, f"{key},{name},,{phone}".encode(), (phone, name))


def hostile_rows(fleet: Fleet) -> Figures:
    """Sync them, read the explanations, correct them, sync again."""
    fleet.configure(CONFIGURATION)
    path, rows = fleet.folder / "crm.csv", [*good_rows(), *hostile_rows_made()]
    _write(path, [row.line for row in rows])
    done = fleet.run("sync")
    assert done.exit_code == 0, done.output
    rejected = fleet.json("status", "--rejected", "--limit", "1000")
    synced = _verify_contacts(fleet, [row for row in rows if not row.reason])
    _verify_explained(rejected, rows)
    empty = sum(not row.line for row in rows)
    assert len(rows) == synced + len(rejected) + empty, "a row is lost"
    _write(path, [row.corrected or row.line for row in rows])
    done = fleet.run("sync")
    assert done.exit_code == 0, done.output
    left = fleet.json("status", "--rejected", "--limit", "1000")
    assert left == [], left[:3]
    kinds = Counter(row.kind for row in rows if row.kind != "good")
    figures: Figures = {f"hostile: {kind}": count for kind, count in kinds.items()}
    return figures | {
        "rows": len(rows),
        "synced exactly": synced,
        "rejected, each with line and reason": len(rejected),
        "empty lines": empty,
        "rejections left after correcting": len(left),
        "synced exactly after correcting": _verify_contacts(fleet, rows),
    }


def _write(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"\n".join([HEADER, *lines]) + b"\n")


def _verify_contacts(fleet: Fleet, rows: list[Row]) -> int:
    """Exactly the contacts of these rows, by number and name; how many."""
    there = Counter((contact["phoneNumber"], contact["fullName"]) for contact in fleet.sandbox.contacts())
    wanted = Counter(row.contact for row in rows if row.contact is not None)
    assert there == wanted, f"missing {list(wanted - there)[:3]}, too many {list(there - wanted)[:3]}"
    return there.total()


def _verify_explained(rejected: list[dict[str, str]], rows: list[Row]) -> None:
    """Every bad row by its line, with the right reason; and no other."""
    reasons = {int(found[1]): one["reason"] for one in rejected if (found := LINE.search(one["where"]))}
    wanted = {line: row for line, row in enumerate(rows, start=2) if row.reason}
    assert reasons.keys() == wanted.keys(), sorted(reasons.keys() ^ wanted.keys())[:5]
    for line, row in wanted.items():
        assert row.reason in reasons[line], f"{row.kind}, line {line}: {reasons[line]}"
