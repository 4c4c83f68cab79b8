"""The result of a check, for `vtsync check`, `doctor`, `status`, `health` and ``/health/fleet``.

Checks produce findings; each command or endpoint selects the ones it needs and renders them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import TypeAlias

from config.alert_kinds import AlertKind

DOCS = "docs/findings.md"
"""The page that explains each code, under a heading of the same name."""


class FindingCode(StrEnum):
    """The stable names of the findings that are no alert. ``docs/findings.md`` says what each means."""

    ACCOUNT_UNUSABLE = auto()
    BROKER_PERMISSIONS = auto()
    BROKER_UNREACHABLE = auto()
    CARRIER_LIST_UNREADABLE = auto()
    CHECK_FAILED = auto()
    CHECK_TIMED_OUT = auto()
    CHOICE_UNKNOWN = auto()
    CLOCK_WRONG = auto()
    CONFIGURATION_MISTAKE = auto()
    CONNECTIONS_FEW = auto()
    CONNECTION_UNUSABLE = auto()
    CONSENT_MISSING = auto()
    CONTACTS_REFUSED = auto()
    CONTENT_KEY_MISSING = auto()
    CONTENT_NOT_REWRITTEN = auto()
    COUNTRY_NOT_ALLOWED = auto()
    CREATES_UNKNOWN = auto()
    CREDENTIAL_MISSING = auto()
    CREDENTIAL_UNCERTAIN = auto()
    CREDENTIAL_UNUSED = auto()
    DATA_DIR_READ_ONLY = auto()
    DEAD_LETTERS = auto()
    DISK_FULL = auto()
    EVENTS_FAILED = auto()
    FIELDS_UNKNOWN = auto()
    FIELD_MISSING = auto()
    FIELD_UNUSED = auto()
    FILES_OPEN = auto()
    HIGH_BLAST_LIMIT = auto()
    LIMITS_NOT_SHARED = auto()
    LIST_UNAVAILABLE = auto()
    LONG_REQUESTS = auto()
    LONG_SILENCE = auto()
    MACHINES_APART = auto()
    NETWORK_FILE_SYSTEM = auto()
    NOT_CHECKED = auto()
    NOT_LINKED = auto()
    NO_LEGAL_HOURS = auto()
    NO_PASSWORD = auto()
    NO_QUIET_HOURS = auto()
    NO_RELAY = auto()
    NUMBER_KEY_MISSING = auto()
    OPEN_FILES_LOW = auto()
    PACKAGE_MISSING = auto()
    PACKAGE_UNSUITABLE = auto()
    PAUSED = auto()
    PERMISSION_UNKNOWN = auto()
    POOLER_TIME_OUTS = auto()
    PROCESS_HANGS = auto()
    PROCESS_WAITS = auto()
    QUEUES_SHARED = auto()
    QUEUE_WAITS = auto()
    QUEUE_WITHOUT_WORKER = auto()
    RECORDS_REJECTED = auto()
    REDIS_EVICTS = auto()
    REDIS_FULL = auto()
    REDIS_NOT_PERSISTENT = auto()
    REDIS_SHARED = auto()
    RELAY_SECRET_SHORT = auto()
    RUNS_AS_ROOT = auto()
    SERVER_UNSUPPORTED = auto()
    SIGN_IN_DOUBTFUL = auto()
    SIGN_IN_UNUSABLE = auto()
    STORE_SLOW = auto()
    STORE_UNUSABLE = auto()
    TEST_MODE = auto()
    TIME_ZONE_UNKNOWN = auto()
    UNENCRYPTED = auto()
    UPDATES_FAIL = auto()
    VALUES_UNREADABLE = auto()
    VERSIONS_DIFFER = auto()
    WEB_NOT_RUNNING = auto()
    WEB_UNPROTECTED = auto()
    WORK_ABANDONED = auto()
    WRITE_AHEAD_LOG_LONG = auto()


Code: TypeAlias = AlertKind | FindingCode


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, but perhaps not for long or not as expected."""
    PROBLEM = "problem"
    """Something does not work, or a text could be lost or sent by mistake."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``why`` it matters, what to ``do`` now, and the ``code`` are empty when nothing is wrong.

    ``what`` names the subject, such as ``account main``; ``found`` describes its state. ``command`` is the first
    command to run, where there is one. ``count`` is the number of rows that the finding stands for. ``since``: when the
    oldest of these rows began to wait, or when this state began; None: that is not known.
    """

    what: str
    level: Level
    found: str
    why: str = ""
    do: str = ""
    command: str = ""
    count: int = 1
    since: datetime | None = None
    code: Code | None = None

    @property
    def alert(self) -> AlertKind | None:
        """Return the alert that people get when this begins and when it ends; None: they see it when they look."""
        return self.code if isinstance(self.code, AlertKind) else None

    @property
    def docs(self) -> str:
        """Return the place in the documentation that explains this; "" when nothing is wrong."""
        return f"{DOCS}#{self.code}" if self.code else ""

    @property
    def mark(self) -> str:
        """Return the code as a line ends with it: `` [no_relay]``; "" when nothing is wrong."""
        return f" [{self.code}]" if self.code else ""

    @property
    def detail(self) -> str:
        """What was found and what to do, as one line."""
        return f"{self.found}; {self.do}" if self.do else self.found


def ok(what: str, found: str) -> Finding:
    """Make a finding that needs no action."""
    return Finding(what, Level.OK, found)


def warning(
    code: Code,
    what: str,
    found: str,
    why: str,
    do: str,
    *,
    command: str = "",
    count: int = 1,
    since: datetime | None = None,
) -> Finding:
    """Make a finding that somebody should look at."""
    return Finding(what, Level.WARNING, found, why, do, command, count, since, code)


def problem(
    code: Code,
    what: str,
    found: str,
    why: str,
    do: str,
    *,
    command: str = "",
    since: datetime | None = None,
) -> Finding:
    """Make a finding that somebody must fix."""
    return Finding(what, Level.PROBLEM, found, why, do, command, since=since, code=code)
