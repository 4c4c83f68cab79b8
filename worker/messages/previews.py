"""What a decision about many messages would touch, and what waits for an approval. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from worker.messages.decisions import DecisionAboutMany, reached, touched_by
from worker.messages.read_models import MessageSummary, find_messages
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import message


@dataclass(frozen=True, slots=True)
class DecisionPreview:
    """A decision would touch ``texts`` messages to ``people`` numbers. ``messages``: the newest of them, first."""

    texts: int
    people: int
    messages: tuple[MessageSummary, ...]

    @property
    def until(self) -> str | None:
        """The id of the newest of them, for the decision. None: there are none."""
        return self.messages[0].id if self.messages else None


@dataclass(frozen=True, slots=True)
class WaitingApproval:
    """The texts of one trigger and one batch that wait for an approval."""

    account: str
    batch_id: str | None
    trigger: str | None
    texts: int
    people: int


def preview(
    runtime: Runtime,
    decision: DecisionAboutMany,
    *,
    batch_id: str | None = None,
    trigger: str | None = None,
    accounts: Collection[str] = (),
    test: bool | None = None,
    limit: int,
) -> DecisionPreview:
    """Return what ``decision`` about the messages of a batch and of a trigger (None: of any) would touch.

    ``accounts`` and ``test``: see ``worker.messages.decisions.reached``.
    """
    m = message.c
    # Through functions, to keep the indexes over batches and triggers out of it, because few messages wait.
    wanted = ((m.batch_id, batch_id), (m.trigger, trigger))
    where: list[ColumnElement[bool]] = [func.coalesce(column, "") == value for column, value in wanted if value]
    where += [*touched_by(decision), *reached(accounts, test)]
    newest = select(m.id).where(*where).order_by(m.id.desc()).limit(limit)
    with reading(runtime.engine) as connection:
        row = connection.execute(select(func.count(), func.count(m.to_number.distinct())).where(*where)).one()
        ids = list(connection.scalars(newest))
    shown = find_messages(runtime, message_ids=ids, limit=limit) if ids else []
    return DecisionPreview(int(row[0]), int(row[1]), tuple(shown))


def waiting_approvals(
    runtime: Runtime, *, accounts: Collection[str] = (), test: bool | None = None
) -> list[WaitingApproval]:
    """Return what waits for an approval, by account, batch and trigger."""
    m = message.c
    groups = (m.account, m.batch_id, m.trigger)
    counts = select(*groups, func.count(), func.count(m.to_number.distinct()))
    waiting = counts.where(*touched_by("approve"), *reached(accounts, test)).group_by(*groups).order_by(*groups)
    with reading(runtime.engine) as connection:
        return [WaitingApproval(*row) for row in connection.execute(waiting)]
