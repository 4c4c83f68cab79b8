"""What the contact list answers, on the wire: each fault that the sandbox has, as the engine understands it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.faults.contact_list import ANSWERS
from worker.contacts.list_answer import ListAnswer, list_answer
from worker.limits.account_proof import prove_account
from worker.sandbox import Sandbox
from worker.virtualtext.client import VirtualTextClient
from worker.virtualtext.outcomes import Endpoint

REFUSED = {"400, must be admin", "401", "403"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[VirtualTextClient]:
    sandbox.reset()
    endpoint = Endpoint("sandbox", "sandbox-token", sandbox.api_url, sandbox.create_url, read_timeout=2.0)
    with closing(VirtualTextClient(endpoint)) as made:
        yield made


@pytest.mark.parametrize("name", ANSWERS)
def test_a_fault_of_the_list_alone_is_told_from_an_outage(
    sandbox: Sandbox, client: VirtualTextClient, name: str
) -> None:
    (known,) = sandbox.seed_contacts([("+14155550101", "Anna", "")])
    fault: dict[str, Any] = ANSWERS[name]
    number = sandbox.add_fault(endpoint="list", **fault)
    expected = ListAnswer.REFUSED if name in REFUSED else ListAnswer.FAILED
    assert list_answer(client.list_contacts()) is expected
    assert prove_account(client).works
    assert prove_account(client, [known]).works
    sandbox.remove_faults(number)
    sandbox.add_fault(**fault)  # everything answers like this now
    assert not prove_account(client, [known]).works


@pytest.mark.parametrize(("behaviour", "kind"), [(True, ListAnswer.TOO_LARGE), (False, ListAnswer.READ)])
def test_the_lists_of_the_platform(
    sandbox: Sandbox, client: VirtualTextClient, behaviour: bool, kind: ListAnswer
) -> None:
    sandbox.behaviour.list_timeout = behaviour
    assert list_answer(client.list_contacts()) is kind


def test_a_platform_that_is_not_there_is_an_outage(sandbox: Sandbox) -> None:
    nowhere = Endpoint("sandbox", "sandbox-token", "http://127.0.0.1:9", sandbox.create_url, read_timeout=1.0)
    with closing(VirtualTextClient(nowhere)) as client:
        assert list_answer(client.list_contacts()) is ListAnswer.OUTAGE
        assert not prove_account(client).works
