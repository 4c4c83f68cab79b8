"""Checks that content is stored as the configuration asks for: encrypted with the first key, or in clear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.text import counted
from worker.runtime import Runtime
from worker.store.content import Outdated, count_outdated
from worker.store.db import reading
from worker.store.sealed import cipher_of
from worker.store.store_key import CLEAR, rewritten

_WHAT = "encryption"


def check_encryption(runtime: Runtime) -> Iterator[Finding]:
    """Count the rows that are stored in another way. Reads all tables with content."""
    with reading(runtime.engine) as db:
        cipher = cipher_of(db.dialect)
        if cipher is not None:
            yield from judge_encryption(cipher.key_id if cipher.seals else CLEAR, count_outdated(db))


def judge_encryption(wanted: str, outdated: Sequence[Outdated]) -> Iterator[Finding]:
    """Judge how content is stored; ``wanted`` is the id of a key, or CLEAR. Pure."""
    rows, old, unknown = (sum(getattr(one, name) for one in outdated) for name in ("rows", "old_key", "unknown_key"))
    if unknown:
        yield problem(
            FindingCode.CONTENT_KEY_MISSING,
            _WHAT,
            f"{counted(unknown, 'row')} encrypted with a key that store.encryption_key does not hold",
            "no process can read them: their texts are not sent, and their contacts are not synced",
            "put that key back into store.encryption_key, after the others",
        )
    if wanted == CLEAR:
        if rows > unknown:
            yield _left(rows - unknown, "still encrypted", "store.encryption_key is needed for them")
        elif not rows:
            yield ok(_WHAT, "off: all content is in clear, and store.encryption_key can be removed")
        return
    if clear := rows - old:
        yield _left(clear, "still in clear", "whoever reads the database or a backup reads them")
    if old > unknown:
        why = "the old key must stay in store.encryption_key until they are rewritten"
        yield _left(old - unknown, "encrypted with an old key", why)
    if not rows:
        yield ok(_WHAT, f"all content is encrypted with the key {wanted}")


def pending_rewrite(db: Connection) -> Iterator[Finding]:
    """Yield what waits for `vtsync encrypt`. Reads no table with content unless something does."""
    cipher = cipher_of(db.dialect)
    if cipher is not None and rewritten(db)[0] != (wanted := cipher.key_id if cipher.seals else CLEAR):
        yield from (one for one in judge_encryption(wanted, count_outdated(db)) if one.command)


def _left(count: int, found: str, why: str) -> Finding:
    do = "rewrite them while the fleet runs"
    return warning(
        FindingCode.CONTENT_NOT_REWRITTEN,
        _WHAT,
        f"{counted(count, 'row')} {found}",
        why,
        do,
        command="vtsync encrypt",
        count=count,
    )
