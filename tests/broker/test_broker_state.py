"""What is logged about a broker that cannot be used. A new row is one more answer that a server has given."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from worker.broker.broker_state import BrokerState, remedy


@pytest.mark.parametrize(
    ("said", "do"),
    [
        ("READONLY You can't write against a read only replica.", "name the master"),
        ("You can't write against a read only replica.", "name the master"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", "became a replica"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.", "make room"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "maxmemory"),
        ("command not allowed when used memory > 'maxmemory'.", "maxmemory"),
        ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
        ("NOPERM User x has no permissions to run the 'brpop' command", "permissions"),
        ("User x has no permissions to run the 'brpop' command", "permissions"),
        ("NOAUTH Authentication required.", "password"),
        ("Authentication required.", "password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "the password"),
        ("LOADING Redis is loading the dataset in memory", "will be ready soon"),
        ("Redis is loading the dataset in memory", "will be ready soon"),
        ("(0, 0): (403) ACCESS_REFUSED - Login was refused", "RabbitMQ user"),
        ("Error 111 connecting to 127.0.0.1:1. Connection refused.", "start the broker"),
    ],
)
def test_what_to_do(said: str, do: str) -> None:
    assert do in remedy(RuntimeError(said))


def test_each_state_is_one_line() -> None:
    state = BrokerState()
    refused, replica = ConnectionError("refused"), RuntimeError("READONLY")
    with capture_logs() as logged:
        state.works()
        for error in (refused, refused, replica, replica, replica):
            state.failed(error)
        state.works()
        state.works()
        state.failed(refused)
    assert [line["event"] for line in logged] == [
        *["the broker cannot be used; this process waits for it"] * 2,
        "the broker can be used again",
        "the broker cannot be used; this process waits for it",
    ]
