"""Assertions and helpers of the conformance tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from crm_adapters.base import (
    Adapter,
    AdapterError,
    ContactChange,
    ContactFields,
    Cursor,
    Page,
    Properties,
)


def changes_of(pages: Iterable[Page]) -> Iterator[ContactChange]:
    """Yield every change; fail on a record that could not be read."""
    for page in pages:
        for change in page.changes:
            assert isinstance(change, ContactChange), f"a good record was not readable: {change.reason}"
            yield change


def by_id(changes: Iterable[ContactChange]) -> dict[str, tuple[dict[str, Any], bool]]:
    """Return the properties of each record, and whether it is deleted, by external id."""
    return {change.external_id: (dict(change.properties), change.deleted) for change in changes}


def through_storage(cursor: Cursor | None) -> Cursor | None:
    """Return the cursor as it comes back from the database."""
    return None if cursor is None else dict(json.loads(json.dumps(dict(cursor))))


def whole_second_now() -> datetime:
    """Return the current time in whole seconds: many CRMs store no fractions."""
    return datetime.now(UTC).replace(microsecond=0)


def last_cursor(pages: Iterable[Page]) -> Cursor | None:
    """Read all pages and return the cursor of the last one."""
    cursor: Cursor | None = None
    for page in pages:
        cursor = page.cursor
    return cursor


def live_changes() -> int:
    """Count the changes in memory."""
    # Compare the exact type: isinstance would make the lazy proxies of some libraries load.
    return sum(type(one) is ContactChange for one in gc.get_objects())


def assert_json(value: Mapping[str, Any], what: str) -> None:
    """Fail if a value changes when it is stored as JSON and read again."""
    try:
        stored = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} cannot be stored as JSON: {error}") from error
    assert stored == value, f"JSON changes {what}: {short_list(value.items())}"


def assert_contact_fields(fields: ContactFields) -> None:
    """Fail if a contact field has the wrong type or an empty phone is listed."""
    assert isinstance(fields.full_name, str), "full_name is text"
    assert isinstance(fields.email, str), "email is text"
    for name, text in fields.phones:
        assert isinstance(name, str), "a phone names its field"
        assert isinstance(text, str), "a phone is text"
        assert text.strip(), "empty phones are left out"


def assert_readable(adapter: Adapter, properties: Properties) -> None:
    """Fail if ``contact_fields`` raises for these properties."""
    try:
        fields = adapter.contact_fields(properties)
    except Exception as error:
        raise AssertionError(f"contact_fields raises {error!r} for {short_list(properties.items())}") from error
    assert_contact_fields(fields)


def error_of(use: Any) -> AdapterError:
    """Call ``use`` and return the AdapterError that it raises; fail if it raises none."""
    try:
        use()
    except AdapterError as error:
        return error
    except Exception as error:
        raise AssertionError(f"it raises {error!r}, which is not an AdapterError") from error
    raise AssertionError("it raises nothing")


def refusal_text(options: type[BaseModel], secret: str) -> str:
    """Return the error text when each option holds the secret in a wrong form."""
    wrong: dict[str, Any] = {name: {"wrong": [secret]} for name in options.model_fields}
    try:
        options.model_validate(wrong)
    except ValidationError as error:
        return str(error)
    return ""


def short_list(things: Iterable[Any]) -> str:
    """Return the first five things as text, and how many more there are."""
    listed = sorted(str(thing)[:100] for thing in things)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") or "none"
