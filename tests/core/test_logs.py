"""Nothing that must not be in a log gets there, whoever writes it and however it is wrapped."""

from __future__ import annotations

import json
import logging
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from worker.core.log_lines import LONGEST_LINE
from worker.core.logs import set_up_logging

SECRETS = ("+14155550101", "uid:tok3n", "pa55word")


def _write_everything() -> None:
    log = structlog.get_logger("vtsync")
    log.info("sent", to="+14155550101", nested={"numbers": ["+14155550101"]}, url="redis://:pa55word@host/0")
    try:
        raise RuntimeError(  # noqa: TRY301
            "Bearer uid:tok3n for +14155550101 at postgresql://user:pa55word@host/db"
        )
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("celery.app.trace").error("Task %s raised for +14155550101", "t", exc_info=True)
    logging.getLogger("kombu").warning("cannot reach %s", "amqp://user:pa55word@host//")


@pytest.mark.parametrize("style", ["json", ""])
def test_numbers_and_credentials_are_masked_everywhere(
    style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VTSYNC_LOG", style)
    set_up_logging()
    _write_everything()
    written = capsys.readouterr().err
    for secret in SECRETS:
        assert secret not in written
    assert written.count("+1415•••0101") >= 5
    assert "RuntimeError" in written


LONG = "x" * 50_000
LINES: dict[str, dict[str, Any]] = {
    "a long value": {"value": LONG},
    "a long event": {"event": LONG},
    "many values": {f"value{number}": LONG for number in range(200)},
    "many long names": {f"{number}{'n' * 3000}": 1 for number in range(100)},
    "a long list": {"value": [LONG] * 100},
    "a deep value": {"value": {"a": {"b": {"c": {"d": {"e": {"f": LONG}}}}}}},
    "an object": {"value": Path(LONG)},
    "characters of several bytes": {"value": "\U0001f600" * 10_000},
    "half a character": {"value": "\ud83d" * 10_000},
}


@pytest.mark.parametrize("style", ["json", ""])
@pytest.mark.parametrize("line", LINES)
def test_a_line_is_never_long(
    line: str, style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VTSYNC_LOG", style)
    set_up_logging()
    structlog.get_logger("vtsync").info(**{"event": "something"} | LINES[line])
    logging.getLogger("a.library").error("%s", LINES[line])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for written in lines:
        assert len(written.encode("utf-8", "replace")) <= LONGEST_LINE
        assert " more)" in written or "fields_left_out" in written
        if style == "json":
            json.loads(written)


def test_a_traceback_is_cut_too_and_keeps_what_was_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VTSYNC_LOG", "json")
    set_up_logging()
    try:
        raise RuntimeError(LONG)  # noqa: TRY301
    except RuntimeError:
        structlog.get_logger("vtsync").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) <= LONGEST_LINE
    assert json.loads(line)["event"] == "failed"
    assert "RuntimeError" in json.loads(line)["exception"]


def test_the_end_of_a_long_traceback_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(depth: int) -> None:
        if depth == 0:
            raise RuntimeError("the cause")
        with suppress(KeyError):
            fail(depth - 1)

    set_up_logging()
    try:
        fail(200)
    except RuntimeError:
        logging.getLogger("worker").exception("failed")
    assert "RuntimeError: the cause" in capsys.readouterr().err


HIDDEN: dict[str, tuple[str, str]] = {
    "a number": ("to +14155550101 now", "+14155550101"),
    "a number in a URL": ("GET /contacts?phone=%2B14155550101", "14155550101"),
    "a bearer token": ("Authorization: Bearer uid:tok3n", "tok3n"),
    "a basic credential": ("Authorization: Basic dXNlcjpwYTU1d29yZA==", "dXNlcjpwYTU1d29yZA"),
    "an API key": (f"key vtk_0123456789ab_{'S' * 43} used", "S" * 43),
    "the secret of the Relay's URL": ("POST /relay/r3lay-secret-of-24-characters HTTP/1.1", "r3lay"),
    "the secret of a CRM's URL": ("POST /crm/hub/w3bhook-secret?x=1", "w3bhook"),
    "a password in a URL": ("postgresql://user:pa55word@host/db", "pa55word"),
    "a token in a query": ("GET https://x.example/a?access_token=t0k3n&b=1", "t0k3n"),
    "a consent's code": ("GET /connect/callback?code=c0d3&state=5tate", "c0d3"),
    "a row that PostgreSQL quotes": ("failed\nDETAIL:  Failing row contains (1, Dear Ada, ...).", "Dear Ada"),
    "a number where a long value is cut": ("x" * 1995 + "+14155550101" + "x" * 1000, "14155550101"),
    "a secret in the middle of a long value": (
        "x" * 4000 + " Bearer " + "s3cret-" * 300 + " " + "x" * 4000,
        "s3cret",
    ),
    "a secret where a long value is cut": ("x" * 1970 + " Bearer " + "s3cret-" * 100, "s3cret"),
}


@pytest.mark.parametrize("style", ["json", ""])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_hidden(
    hidden: str, style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VTSYNC_LOG", style)
    set_up_logging()
    text, secret = HIDDEN[hidden]
    assert secret in text
    structlog.get_logger("vtsync").info("something", value=text, values=[{"value": text}])
    structlog.get_logger("vtsync").info(text)
    logging.getLogger("a.library").warning(text)
    try:
        raise RuntimeError(text)  # noqa: TRY301
    except RuntimeError:
        logging.getLogger("a.library").exception("failed")
    assert secret not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("logger", "level", "shown"),
    [
        ("vtsync", "debug", True),
        ("worker.messages.delivery", "debug", True),
        ("celery.pool", "debug", False),  # it would show the bodies of jobs
        ("amqp", "debug", False),
        ("sqlalchemy.engine.Engine", "debug", False),
        ("celery.worker.consumer.connection", "info", True),
        ("kombu.connection", "warning", False),
        ("celery.worker.strategy", "info", False),
    ],
)
def test_debug_is_for_our_own_lines(
    logger: str, level: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VTSYNC_LOG_LEVEL", "debug")
    set_up_logging()
    getattr(logging.getLogger(logger), level)("a line")
    assert ("a line" in capsys.readouterr().err) is shown


def test_a_line_that_cannot_be_formatted_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    logging.getLogger("a.library").error("%d texts", "+14155550101")
    assert capsys.readouterr().err == "a line of the logger a.library could not be written\n"


def test_an_error_that_nobody_catches_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()

    def fail() -> None:
        raise RuntimeError("no reply from +14155550101")

    thread = threading.Thread(target=fail, name="a-thread")
    thread.start()
    thread.join()
    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    written = capsys.readouterr().err
    assert "+14155550101" not in written
    assert written.count("RuntimeError: no reply from") == 2
    assert "the thread a-thread ended with an error" in written


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VTSYNC_LOG", "json")
    set_up_logging()
    _write_everything()
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["info", "error", "error", "warning"]
    assert lines[0]["nested"] == {"numbers": ["+1415•••0101"]}
