"""Whose echo it is, where several texts have the same numbers and content."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core.states import MessageState as S
from worker.inbox.echo_choice import EchoCandidate, EchoChoice, EchoPending, choose_text

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
UNDECIDED = EchoPending.UNDECIDED


def text(id_: str, state: S, *, remote: str = "", ago: float | None = None, **more: bool) -> EchoCandidate:
    """A text; ``ago``: for how many minutes it has had an echo."""
    return EchoCandidate(id_, state, remote, None if ago is None else NOW - timedelta(minutes=ago), **more)


# Texts, the oldest first; the echo's id; whose echo it is.
CHOICES: list[tuple[str, list[EchoCandidate], str, str | EchoPending | None]] = [
    ("nothing of ours", [], "e1", None),
    ("an accepted one", [text("a", S.ACCEPTED)], "e1", "a"),
    ("an unknown one", [text("u", S.UNKNOWN)], "e1", "u"),
    ("one in flight, whose echo overtakes its response", [text("d", S.DISPATCHING)], "e1", "d"),
    ("a record that waits", [text("q", S.QUEUED, unanswered=True)], "e1", "q"),
    ("a text that provably was not sent", [text("q", S.QUEUED)], "e1", None),
    ("twins: the accepted one first", [text("u", S.UNKNOWN), text("a", S.ACCEPTED)], "e1", "a"),
    ("twins: first in either order", [text("a", S.ACCEPTED), text("u", S.UNKNOWN)], "e1", "a"),
    ("twins without id", [text("u", S.UNKNOWN), text("a", S.ACCEPTED)], "", "a"),
    ("twins: accepted with an id", [text("u", S.UNKNOWN), text("a", S.ACCEPTED, remote="e1")], "e1", "a"),
    ("twins: accepted with an id, echo without", [text("u", S.UNKNOWN), text("a", S.ACCEPTED, remote="e1")], "", "a"),
    ("another id is another text", [text("u", S.UNKNOWN), text("a", S.ACCEPTED, remote="e1")], "e2", "u"),
    (
        "a surplus echo settles the unknown one",
        [text("u", S.UNKNOWN), text("a", S.CONFIRMED, remote="e1", ago=1)],
        "e2",
        "u",
    ),
    ("the same echo again", [text("u", S.UNKNOWN), text("a", S.CONFIRMED, remote="e1", ago=1)], "e1", "a"),
    ("the second format is no surplus", [text("u", S.UNKNOWN), text("a", S.CONFIRMED, remote="e1", ago=1)], "", "a"),
    ("the first format was without id", [text("u", S.UNKNOWN), text("a", S.CONFIRMED, ago=1)], "e1", "a"),
    ("of a delivered one, too", [text("u", S.UNKNOWN), text("a", S.DELIVERED, remote="e1", ago=1)], "", "a"),
    ("later it is another text", [text("u", S.UNKNOWN), text("a", S.CONFIRMED, remote="e1", ago=11)], "", "u"),
    ("two unknown ones: the older", [text("u1", S.UNKNOWN), text("u2", S.UNKNOWN)], "e1", "u1"),
    ("two accepted ones: the older", [text("a1", S.ACCEPTED), text("a2", S.ACCEPTED)], "e1", "a1"),
    (
        "two accepted ones: the second",
        [text("a1", S.CONFIRMED, remote="e1", ago=1), text("a2", S.ACCEPTED)],
        "e2",
        "a2",
    ),
    ("an unknown one and one in flight", [text("u", S.UNKNOWN), text("d", S.DISPATCHING)], "e1", UNDECIDED),
    ("two in flight", [text("d1", S.DISPATCHING), text("d2", S.DISPATCHING)], "e1", UNDECIDED),
    ("one accepted, one in flight", [text("d", S.DISPATCHING), text("a", S.ACCEPTED)], "e1", UNDECIDED),
    (
        "one in flight, the other reported without id",
        [text("a", S.CONFIRMED, ago=1), text("d", S.DISPATCHING)],
        "e1",
        UNDECIDED,
    ),
    (
        "one in flight, the other reported",
        [text("a", S.CONFIRMED, remote="e1", ago=1), text("d", S.DISPATCHING)],
        "e2",
        "d",
    ),
    ("found by a person: its echo may come", [text("u", S.UNKNOWN), text("p", S.CONFIRMED)], "e1", "p"),
    ("a receipt came first", [text("u", S.UNKNOWN), text("r", S.FAILED)], "e1", "r"),
    (
        "sent twice, so reported twice",
        [text("u", S.UNKNOWN), text("r", S.CONFIRMED, remote="e1", ago=30, unanswered=True, repeated=True)],
        "e2",
        "r",
    ),
]


def owner(choice: EchoChoice) -> str | EchoPending | None:
    return choice.id if isinstance(choice, EchoCandidate) else choice


@pytest.mark.parametrize(("texts", "echo", "whose"), [one[1:] for one in CHOICES], ids=[one[0] for one in CHOICES])
def test_choices(texts: list[EchoCandidate], echo: str, whose: str | EchoPending | None) -> None:
    assert owner(choose_text(texts, echo, NOW)) == whose


@dataclass
class Twin:
    """One of several identical texts, and what really happens to it."""

    reaches: bool
    heard: bool
    """Its response arrives."""
    names_id: bool
    """Its response names its id."""
    echoes: list[bool]
    """Its echoes in their order: with an id or without."""


TWINS = st.builds(
    Twin,
    reaches=st.booleans(),
    heard=st.booleans(),
    names_id=st.booleans(),
    echoes=st.sampled_from([[True], [True, False], [False, True], [True, True]]),
)


@dataclass
class World:
    """The store as the echoes find it: what each text is, and the echoes that are not decided yet."""

    twins: list[Twin]
    store: dict[int, EchoCandidate] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def starts(self, n: int) -> None:
        self.store[n] = EchoCandidate(str(n), S.DISPATCHING)

    def answers(self, n: int) -> None:
        """As ``finish_attempt`` stores it: an echo that came first has confirmed the text already."""
        one = self.store[n]
        if one.state is not S.DISPATCHING:
            return
        accepted = self.twins[n].reaches and self.twins[n].heard
        remote = f"e{n}" if accepted and self.twins[n].names_id else one.remote_id
        state = S.ACCEPTED if accepted else S.UNKNOWN
        self.store[n] = replace(one, state=state, remote_id=remote, unanswered=not accepted)

    def echo(self, id_: str) -> None:
        if id_:
            self.seen.add(id_)
        self.waiting.append(id_)
        self.decide()

    def decide(self) -> None:
        waiting, self.waiting = self.waiting, []
        for id_ in waiting:
            known = next((n for n, one in self.store.items() if id_ and one.remote_id == id_), None)
            choice = choose_text(list(self.store.values()), id_, NOW)
            if known is not None:
                assert isinstance(choice, EchoCandidate)
            if choice is UNDECIDED:
                self.waiting.append(id_)
            elif isinstance(choice, EchoCandidate):
                state = S.CONFIRMED if choice.echoed_at is None else choice.state
                remote = choice.remote_id or id_
                self.store[int(choice.id)] = replace(choice, state=state, remote_id=remote, echoed_at=NOW)


@settings(max_examples=1500)
@given(st.lists(TWINS, min_size=1, max_size=5), st.data())
def test_no_more_texts_are_confirmed_than_went_out_and_no_accepted_one_loses_its_echo(
    twins: list[Twin], data: st.DataObject
) -> None:
    """Starts, responses and echoes in any order that the world allows."""
    world = World(twins)
    steps: dict[int, list[tuple[str, str]]] = {}
    for n, twin in enumerate(twins):
        after = [("echo", f"e{n}" if with_id else "") for with_id in twin.echoes if twin.reaches]
        place = data.draw(st.integers(0, len(after)), label=f"the response to {n} comes after")
        steps[n] = [("start", ""), *after[:place], ("answer", ""), *after[place:]]
    while any(steps.values()):
        n = data.draw(st.sampled_from([n for n, left in steps.items() if left]), label="next")
        what, id_ = steps[n].pop(0)
        {"start": world.starts, "answer": world.answers}.get(what, lambda _, id_=id_: world.echo(id_))(n)
        world.decide()
        echoed = [one for one in world.store.values() if one.echoed_at is not None]
        assert len(echoed) <= sum(one.reaches for one in twins)
    assert world.waiting == [], "with every response known, every echo is decided"
    echoed = [one for one in world.store.values() if one.echoed_at is not None]
    assert len(echoed) == len(world.seen), "each distinct echo confirms one text"
    accepted = [n for n, twin in enumerate(twins) if twin.reaches and twin.heard]
    assert [n for n in accepted if world.store[n].echoed_at is None] == []
