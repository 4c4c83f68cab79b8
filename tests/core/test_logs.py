"""Nothing that must not be in a log gets there, whoever writes it and however it is wrapped."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog

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


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VTSYNC_LOG", "json")
    set_up_logging()
    _write_everything()
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["info", "error", "error", "warning"]
    assert lines[0]["nested"] == {"numbers": ["+1415•••0101"]}
