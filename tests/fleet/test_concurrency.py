"""Hints that come while the work runs make it go round once more, and never run it twice at once."""

from __future__ import annotations

import threading

import pytest

from worker.fleet.concurrency import once_at_a_time


def test_a_hint_during_the_work_makes_it_run_again() -> None:
    rounds: list[int] = []

    def work() -> bool:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            assert once_at_a_time("push", "a", work) is False
        return True

    assert once_at_a_time("push", "a", work) is True
    assert rounds == [0, 1]


def test_work_that_says_it_is_useless_does_not_go_round_again() -> None:
    rounds: list[int] = []

    def work() -> bool:
        rounds.append(1)
        once_at_a_time("push", "b", work)
        return False

    once_at_a_time("push", "b", work)
    assert len(rounds) == 1


def test_an_error_leaves_the_way_free() -> None:
    def fail() -> bool:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        once_at_a_time("push", "c", fail)
    assert once_at_a_time("push", "c", lambda: False) is True


def test_it_never_runs_twice_at_once_and_the_last_hint_is_served() -> None:
    running, most, rounds = 0, 0, 0
    lock = threading.Lock()

    def work() -> bool:
        nonlocal running, most, rounds
        with lock:
            running += 1
            most = max(most, running)
            rounds += 1
        with lock:
            running -= 1
        return True

    threads = [threading.Thread(target=once_at_a_time, args=("push", "d", work)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert rounds >= 1
