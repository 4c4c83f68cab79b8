"""Every table and column that can hold something about a person is classified, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sqlmodel import SQLModel

from worker.people.document import with_tables
from worker.people.registry import OWNED, TABLES, Holds

DOCUMENT = Path(__file__).parents[2] / "docs" / "privacy.md"
HELP = "classify it in worker/people/registry.py: one word for a column, one entry for a table"


def test_every_column_of_every_table_is_classified() -> None:
    stored = {f"{table.name}.{column.name}" for table in SQLModel.metadata.sorted_tables for column in table.columns}
    classified = [
        f"{one.table.name}.{name}" for one in TABLES for names in one.columns.values() for name in names.split()
    ]
    assert stored - set(classified) == set(), HELP
    assert set(classified) - stored == set(), "these columns do not exist any more"
    assert [name for name, times in Counter(classified).items() if times > 1] == []


def test_each_table_has_one_entry_that_names_columns_which_exist() -> None:
    assert len({one.table.name for one in TABLES}) == len(TABLES)
    for one in TABLES:
        named = {*one.by, *one.mentions, *one.json, *([one.account] if one.account else [])}
        assert named <= set(one.table.columns.keys()), one.table.name


def test_what_tells_who_somebody_is_belongs_to_them_and_is_exported() -> None:
    for one in TABLES:
        personal = {name for name, what in one.holds.items() if what in (Holds.IDENTITY, Holds.CONTENT)}
        if one.table.name == "forgotten":
            continue  # the number is there only while it is being erased
        assert not personal or one.owner is not None or personal <= set(one.mentions), f"{one.table.name}: {personal}"
    assert all(one.section for one in OWNED)
    assert len({one.section for one in OWNED}) == len(OWNED)


def test_rows_that_others_are_found_by_are_erased_after_them() -> None:
    order = [one.table for one in OWNED]
    for table in order:
        for key in table.foreign_keys:
            assert order.index(table) < order.index(key.column.table), f"{table.name} refers to {key.column.table.name}"


def test_the_tables_in_the_document_are_current() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(document) == document, "run `python -m worker.people.document docs/privacy.md`"
