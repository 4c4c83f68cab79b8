"""Who stands in the CRM exports of a scenario, and what must be true of them in VirtualText afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.harness import Fleet

AREAS = ("212", "312", "415", "503", "617", "702", "808", "917")
FIRST_OF_PEOPLE, FIRST_OF_SERVICE = 70_000, 76_000
Figures = dict[str, object]


def number(index: int) -> str:
    """The n-th of 80,000 valid numbers."""
    return f"+1{AREAS[index % len(AREAS)]}555{index // len(AREAS):04d}"


@dataclass(frozen=True)
class Crowd:
    """``contacts`` people in crm.csv whom nobody texts, and in people.csv one of old and ``texts`` new ones.

    Each of the new ones is to be texted once, and so is each of ``jobs`` more, whom a service texts.
    """

    contacts: int
    texts: int
    word: str = "Person"
    jobs: int = 0

    def write(self, folder: Path) -> None:
        write_export(folder / "crm.csv", 0, self.contacts, self.word)
        write_export(folder / "people.csv", FIRST_OF_PEOPLE, self.texts + 1)

    def wanted(self) -> dict[str, tuple[str, str]]:
        """Number -> (full name, email), as VirtualText must have them."""
        named = [(n, self.word) for n in range(self.contacts)]
        named += [(FIRST_OF_PEOPLE + n, "Person") for n in range(self.texts + 1)]
        return {number(n): (f"{word} {n}", f"p{n}@example.org") for n, word in named}

    def new_people(self) -> set[str]:
        return {number(FIRST_OF_PEOPLE + n) for n in range(1, self.texts + 1)} | set(self.of_service())

    def of_service(self) -> list[str]:
        return [number(FIRST_OF_SERVICE + n) for n in range(self.jobs)]


def write_export(path: Path, start: int, count: int, word: str = "Person") -> None:
    """A whole export of ``count`` people, put in place at once."""
    part = path.with_suffix(".part")
    rows = (f"{n},{word} {n},p{n}@example.org,{number(n)}\n" for n in range(start, start + count))
    part.write_text("id,name,email,mobile\n" + "".join(rows), encoding="utf-8")
    part.replace(path)


def verify(fleet: Fleet, crowd: Crowd) -> Figures:
    """Every contact exact and there once; every person texted once or listed as unknown; nothing left to do.

    What was sent and stored is taken from the sandbox, what is unknown from the command that an operator has.
    """
    return _verify_contacts(fleet, crowd) | _verify_texts(fleet, crowd) | _verify_nothing_left(fleet)


def _verify_contacts(fleet: Fleet, crowd: Crowd) -> Figures:
    contacts, wanted = fleet.sandbox.contacts(), crowd.wanted()
    twice = [phone for phone, count in Counter(c["phoneNumber"] for c in contacts).items() if count > 1]
    assert not twice, f"{len(twice)} phones are there twice: {twice[:5]}"
    there = {c["phoneNumber"]: (c["fullName"], c["email"]) for c in contacts}
    assert there.keys() == wanted.keys(), f"missing {len(wanted - there.keys())}, too many {len(there - wanted.keys())}"
    wrong = [phone for phone in wanted if there[phone] != wanted[phone]]
    assert not wrong, f"{len(wrong)} contacts are not as the CRM has them: {wrong[:5]}"
    return {
        "contacts wanted": len(wanted),
        "contacts in VirtualText": len(contacts),
        "phones there twice": len(twice),
        "contacts that differ from the CRM": len(wrong),
    }


def _verify_texts(fleet: Fleet, crowd: Crowd) -> Figures:
    sent = Counter(message.to for message in fleet.sandbox.messages("sent_by_platform"))
    twice = [phone for phone, count in sent.items() if count > 1]
    assert not twice, f"{len(twice)} people were texted twice: {twice[:5]}"
    accepted = {m["to_number"] for m in fleet.json("messages", "--state", "accepted", "--limit", "100000")}
    listed = fleet.json("messages", "--state", "unknown", "--limit", "100000")
    unknown = {m["to_number"] for m in listed}
    for one in listed:
        assert f"vtsync resolve {one['id']}" in one["reason"], f"it is not said what to do about {one}"
    assert accepted | unknown == crowd.new_people(), "somebody is neither texted nor listed, or should not have been"
    assert not accepted & unknown
    assert accepted <= sent.keys() <= accepted | unknown, "the store and VirtualText disagree about who was texted"
    return {
        "people to be texted": len(crowd.new_people()),
        "people texted": len(sent),
        "texted twice": len(twice),
        "known to be sent": len(accepted),
        "listed as unknown, with what to do": len(unknown),
        "of the unknown, had been sent": len(unknown & sent.keys()),
    }


def _verify_nothing_left(fleet: Fleet) -> Figures:
    """With the fleet stopped, one more sync: whatever it asked VirtualText would be work that had been left."""
    fleet.end()
    before = _requests(fleet)
    done = fleet.run("sync")
    assert done.exit_code == 0, done.output
    made = _requests(fleet) - before
    assert made == 0, f"a sync of unchanged records made {made} requests"
    return {"requests of the next sync": made}


def _requests(fleet: Fleet) -> int:
    return sum(sum(outcomes.values()) for outcomes in fleet.sandbox.counts().values())
