"""Assertions and helpers of the conformance tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import json
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    UnreadableRecord,
)

MOST_PAGES = 3000
"""More pages than any test needs."""


def bounded(pages: Iterable[Page], most: int = MOST_PAGES) -> Iterator[Page]:
    """Yield the pages; fail if they do not end."""
    before: object = None
    for number, page in enumerate(pages, 1):
        assert isinstance(page, Page), f"pull yields {type(page).__name__} instead of Page"
        assert isinstance(page.changes, Sequence), "the changes of a page are a list or a tuple"
        this = page.changes and (page.cursor, [_key(change) for change in page.changes])
        assert not this or this != before, f"the pull repeats page {number - 1} and its cursor {page.cursor}"
        assert number <= most, f"the pull does not end: {most} pages were read, and more come"
        before = this
        yield page


def _key(change: ContactChange | UnreadableRecord) -> str:
    return change.external_id if isinstance(change, ContactChange) else change.key


def changes_of(pages: Iterable[Page], most: int = MOST_PAGES) -> Iterator[ContactChange]:
    """Yield every change; fail on a record that could not be read, and if the pages do not end."""
    for page in bounded(pages, most):
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
    for page in bounded(pages):
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


def assert_flat(properties: Properties, what: str) -> None:
    """Fail if a value is not a scalar, or a name is not a text."""
    for name, value in properties.items():
        assert isinstance(name, str), f"names of properties are text, in {what} there is {name!r}"
        assert name.strip(), f"a property of {what} has no name"
        scalar = value is None or isinstance(value, str | int | float)
        assert scalar, f"values are text, numbers, true, false or None; {name} of {what} is a {type(value).__name__}"


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


def ends_within(seconds: float, use: Callable[[], Any], give_up: Callable[[], None]) -> Any:
    """Call ``use`` in a thread and return its result or raise its error.

    If it does not end in time, call ``give_up``, which must make it end, and fail.
    """
    result: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result.append(use())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the caller
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    late = thread.is_alive()
    if late:
        give_up()
        thread.join(seconds)
    assert not late, f"it waits for more than {seconds:g} seconds; set a time-out for connecting and for reading"
    if errors:
        raise errors[0]
    return result[0]


def assert_for_people(error: AdapterError, names: Iterable[str], secrets: Iterable[str]) -> None:
    """Fail if an error does not name its source and the remedy, or shows a secret."""
    text = str(error)
    assert type(error) is not AdapterError, "raise the subclass that says what should be done"
    named = any(name.casefold() in text.casefold() for name in names)
    assert named, f"the error names none of {short_list(names)}: {text!r}"
    remedy = re.search(r"[\w)][;:,.(] ?.*\w", text)
    assert remedy, f"the error does not say what to do: {text!r}"
    assert_hidden("".join(traceback.format_exception(error)), secrets)


def assert_hidden(text: str, secrets: Iterable[str]) -> None:
    """Fail if a text contains a secret."""
    for secret in secrets:
        before, found, after = text.partition(secret)
        assert not found, f"a secret can be read: {before[-200:]}[the secret]{after[:200]}"


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
