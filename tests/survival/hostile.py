"""200 hostile rows among 200 good ones: the good ones arrive, every bad one is explained, nothing is lost."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.fleet import Fleet
from tests.survival.scenarios import Figures, number

GOOD = 200
CONFIGURATION = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = { path = "crm.csv", encoding = "utf-8", settle_seconds = 0 }
"""
LINE = re.compile(r"line (\d+)")


def rows() -> list[tuple[str, bytes]]:
    """(what it is, the row). "fine": strange to look at, and good; "empty": not a record at all."""
    made: list[tuple[str, bytes]] = []
    for n in range(25):
        text = number(1000 + n)
        made += [
            ("empty", b""),
            ("binary", b"\x00\x01\x02\xff\xfe,\x00,\x07,\x00" + str(n).encode()),
            ("fine", f"e{n},\U0001f469\u200d\U0001f680 Zo\u00eb \U0001f389,,{text}".encode()),
            ("two numbers", f"t{n},Two Numbers,,{number(2 * n)} / {number(2 * n + 1)}".encode()),
            ("invalid UTF-8", f"u{n},Fran".encode() + b"\xe7ois,," + number(3000 + n).encode()),
            ("fine", f"i{n},\"=cmd|'/c calc'!A{n}\",,{number(1100 + n)}".encode()),
            ("fine", f"r{n},\u05e9\u05dc\u05d5\u05dd \u202e\u0639\u0631\u0628\u064a,,{number(1200 + n)}".encode()),
            ("repeated id", f"{n},Somebody Else,,{number(4000 + n)}".encode()),
        ]
    made[8 * 3 + 1] = ("10 MB field", b"big," + b"x" * 10_000_000 + b",,+12125550000")
    return made


def write(path: Path, hostile: list[bytes]) -> None:
    good = [f"{n},Person {n},p{n}@example.org,{number(n)}".encode() for n in range(GOOD)]
    path.write_bytes(b"\n".join([b"id,name,email,mobile", *good, *hostile]) + b"\n")


def hostile_rows(fleet: Fleet) -> Figures:
    """Sync them, read the explanations, correct them, sync again."""
    fleet.configure(CONFIGURATION)
    path, made = fleet.folder / "crm.csv", rows()
    write(path, [row for _, row in made])
    done = fleet.run("sync")
    assert done.returncode == 0, done.stdout + done.stderr
    rejected = fleet.json("status", "--rejected", "--limit", "1000")
    there = Counter(contact["phoneNumber"] for contact in fleet.sandbox.contacts())
    assert all(count == 1 for count in there.values())
    assert {number(n) for n in range(GOOD)} <= set(there), "a good row is missing"
    kinds = Counter(what for what, _ in made)
    assert len(there) == GOOD + kinds["fine"]
    assert all(one["reason"] and one["where"] for one in rejected)
    lines = {int(found[1]) for one in rejected if (found := LINE.search(one["where"]))}
    wanted = {GOOD + 2 + index for index, (what, _) in enumerate(made) if what not in ("fine", "empty")}
    assert lines == wanted, (sorted(wanted - lines)[:5], sorted(lines - wanted)[:5])
    write(path, [f"c{n},Corrected {n},,{number(5000 + n)}".encode() for n in range(len(made))])
    assert fleet.run("sync", "--accept-removals").returncode == 0
    left = fleet.json("status", "--rejected", "--limit", "1000")
    assert left == [], left[:3]
    return {
        "good rows": GOOD,
        "hostile rows": len(made),
        "of these fine after all": kinds["fine"],
        "empty lines": kinds["empty"],
        "rejected with a reason and a line": len(rejected),
        "contacts in VirtualText": len(there),
        "rejections left after correcting": len(left),
    }
