"""Lines and rows in the width of a terminal: nothing is wider, and no id, command or address is broken."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from worker.cli.layout import lay_out, wrap

ID = "01a229b075d875688b558ca70e279310"
URL = "https://crm.example.org/people/1042/view?tab=everything-about-them"
WRAPPED = {
    # what: (the line, width, hang, lines)
    "it fits": ("  two  spaces stay", 20, 0, ["  two  spaces stay"]),
    "nothing": ("", 20, 0, [""]),
    "between words": ("one two three", 8, 0, ["one two", "three"]),
    "as its first line is indented": ("  one two three", 9, 0, ["  one two", "  three"]),
    "by at least so much": ("one two three", 9, 4, ["one two", "    three"]),
    "a command stays whole": ("now run `vtsync sync crm`", 18, 0, ["now run", "`vtsync sync crm`"]),
    "unless it cannot": ("`vtsync sync crm people`", 12, 0, ["`vtsync sync", "crm people`"]),
    "a count stays with its word": ("you have 1,042 texts", 14, 0, ["you have", "1,042 texts"]),
    "a day stays with its time": ("at 2026-03-01 10:30:00", 15, 0, ["at", "2026-03-01 10:30:00"]),
    "an id is not broken": (f"see {ID}", 16, 0, ["see", ID]),
    "an address is not broken": (f"at {URL} now", 40, 0, ["at", URL, "now"]),
    "text without spaces is": ("山田太郎様", 4, 0, ["山田", "太郎", "様"]),
}


@pytest.mark.parametrize("what", WRAPPED)
def test_a_line_is_wrapped(what: str) -> None:
    line, width, hang, expected = WRAPPED[what]
    assert wrap(line, width, hang) == expected


COLUMNS = ["Id", "State", "#Tries", "Target", "Why"]
ROWS = [
    ("0e279310", "failed", 10, "crm:people:17", "the receiver answered HTTP 500"),
    ("8b558ca7", "due", 1, "subscriber:warehouse-of-the-northern-branch", f"look at {URL}"),
]


def test_a_wide_terminal_gets_a_table_and_counts_are_at_the_right() -> None:
    heading, lines = lay_out(COLUMNS, ROWS, 200)
    assert heading[0].split() == ["Id", "State", "Tries", "Target", "Why"]
    assert [line[: heading[0].index("Target")] for line in lines] == [
        "0e279310  failed     10  ",
        "8b558ca7  due         1  ",
    ]


def test_a_narrow_terminal_gets_a_block_for_each_row() -> None:
    assert lay_out(COLUMNS, ROWS, 60, ["Id", "State"]) == (
        [],
        [
            "0e279310  failed",
            "    Tries: 10",
            "    Target: crm:people:17",
            "    Why: the receiver answered HTTP 500",
            "8b558ca7  due",
            "    Tries: 1",
            "    Target: subscriber:warehouse-of-the-northern-branch",
            "    Why: look at",
            f"      {URL}",
        ],
    )


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_only_what_must_stay_whole_is_wider_than_the_terminal(width: int) -> None:
    words = {word for row in ROWS for cell in row for word in str(cell).split()}
    heading, lines = lay_out(COLUMNS, ROWS, width, ["Id", "State"])
    assert [line for line in (*heading, *lines) if cell_len(line) > width and line.split()[-1] not in words] == []
    shown = "\n".join(lines)
    assert [word for word in words if word not in shown] == []


LONG = "a sentence of many words, which says what happened and what a person can do about it now. " * 5
READABLE = {
    # what: (rows, width, a table is readable)
    "a sentence in few lines": ([("crm", LONG[:90])], 60, True),
    "a sentence in many lines": ([("crm", LONG)], 60, False),
    "the same on a wide terminal": ([("crm", LONG)], 120, True),
    "a long name beside a sentence": ([("a-name-of-forty-characters-without-spaces", LONG[:90])], 60, False),
    "an empty column takes no room": ([("", LONG[:90])], 30, True),
}


@pytest.mark.parametrize("what", READABLE)
def test_a_table_that_would_squeeze_its_columns_becomes_blocks(what: str) -> None:
    rows, width, readable = READABLE[what]
    heading, _ = lay_out(["Name", "Why"], rows, width)
    assert bool(heading) is readable


def test_lines_within_a_cell_and_control_characters_stay_in_their_column() -> None:
    _, lines = lay_out(["A", "B"], [("one\ntwo", "x\x1b[2Jy")], 40)
    assert lines == ["one  x\\x1b[2Jy", "two"]
