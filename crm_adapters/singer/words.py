"""What a tap says on standard error, and what its failure means. Pure."""

from __future__ import annotations

import json
import re
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from crm_adapters.errors import AdapterError, CredentialsRejected, CursorExpired, SourceInvalid, SourceUnavailable
from crm_adapters.http.scrub import one_line

LINES = 40
LONGEST = 16 << 10
"""Bytes of a line that are kept."""
SHORTEST_SECRET = 6

_TELLING = re.compile(
    rb"error|exception|critical|fatal|fail|denied|refused|unauthori[sz]ed|forbidden|expired|invalid|missing",
    re.IGNORECASE,
)
_ERROR = re.compile(rb"(Error|Exception)\b[^:]*: |CRITICAL|FATAL|\bERROR\b")
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]{4,})@")
_CREDENTIALS = re.compile(
    r"\b401\b|unauthori[sz]ed|(invalid|bad|wrong|expired)[_ ](grant|client|token|credentials|api[_ ]?key)"
    r"|(?<!proxy )authentication (failed|error)|EXPIRED_(ACCESS_)?TOKEN|INVALID_LOGIN|INVALID_SESSION_ID",
    re.IGNORECASE,
)
_CURSOR = r"(bookmark|sync[_ -]?token|(?:(?:singer|tap'?s?|saved|stored|sync|input) )?state(?: file)?|cursor)"
_REFUSED = r"(expired|invalid|unknown|malformed|not valid|no longer valid|too old)"
_STATE = re.compile(rf"\b{_CURSOR} (\S+ )?(is|has|was) (\w+ )?{_REFUSED}|\b{_REFUSED}[ _]{_CURSOR}\b", re.IGNORECASE)
_CONFIGURATION = re.compile(
    r"config(uration)? validation failed|config(uration)? is missing|missing required (config|key|setting|propert)"
    r"|is a required property|unrecognized arguments|no such option|ModuleNotFoundError|ImportError",
    re.IGNORECASE,
)


class TapWords:
    """The last lines of a tap's standard error, and those that look like errors."""

    def __init__(self, what: str, config: Any) -> None:
        self.had_state = False
        self._what = what
        self._secrets = set(_secrets(config))
        self._last: deque[bytes] = deque(maxlen=LINES)
        self._telling: deque[bytes] = deque(maxlen=LINES)
        self._part = bytearray()

    def hear(self, data: bytes) -> None:
        """Take in what the tap wrote; b"" is the end."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._end_line()
        self._add(rest)
        if not data:
            self._end_line()

    def silence(self, timeout: float) -> SourceUnavailable:
        """Return the error for a tap that was stopped because it wrote nothing."""
        return SourceUnavailable(
            f"{self._what} wrote nothing for {timeout:g} seconds and was stopped; the next run tries again. "
            f"If it needs longer, raise timeout{self._said()}"
        )

    def failure(self, code: int) -> AdapterError:
        """Return the error for an exit code other than 0."""
        lines = [line.decode("utf-8", "replace") for line in self._telling or self._last]
        if self.had_state and any(map(_STATE.search, lines)):
            return CursorExpired(f"{self._what} no longer accepts its state{self._said()}")
        if any(map(_CREDENTIALS.search, lines)):
            return CredentialsRejected(
                f"{self._what} says that its credentials are refused; correct them in config{self._said()}"
            )
        if any(map(_CONFIGURATION.search, lines)):
            return SourceInvalid(
                f"{self._what} does not run with this configuration; correct config, or how it is installed"
                f"{self._said()}"
            )
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            reason = ", perhaps because the memory was full" if -code == signal.SIGKILL else ""
            return SourceUnavailable(
                f"{self._what} was ended by the signal {name}{reason}; the next run tries again{self._said()}"
            )
        return SourceUnavailable(
            f"{self._what} failed with exit code {code}; the next run tries again. If it goes on failing, run the tap "
            f"by hand{self._said()}"
        )

    def _add(self, piece: bytes) -> None:
        self._part += piece[: max(LONGEST - len(self._part), 0)]

    def _end_line(self) -> None:
        line = bytes(self._part).strip()
        self._part.clear()
        if line:
            self._last.append(line)
            if _TELLING.search(line):
                self._telling.append(line)

    def _said(self) -> str:
        """Return the last words of the tap that look like an error, or its very last ones."""
        lines = [line for line in self._telling if _ERROR.search(line)] or self._telling or self._last
        text = one_line(lines[-1].decode("utf-8", "replace"), self._secrets) if lines else ""
        return f'. It said: "{text}"' if text else ""


def _secrets(value: Any) -> Iterator[str]:
    """Yield the texts of a configuration, any of which may be a secret that the tap repeats in an error.

    A key file is one text: its lines, and what its JSON holds, are secrets, too.
    """
    if isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)
    elif isinstance(value, str) and len(value) >= SHORTEST_SECRET:
        yield value
        yield from _PASSWORD_IN_URL.findall(value)
        yield from (line for line in value.splitlines() if len(line) >= SHORTEST_SECRET and line != value)
        with suppress(ValueError, RecursionError):
            yield from _secrets(json.loads(value) if value.lstrip().startswith(("{", "[")) else None)
