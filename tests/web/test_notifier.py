"""Workers are told from a thread of its own, whatever the broker does."""

from __future__ import annotations

import threading

from worker.web.notifier import Notifier


def test_a_caller_does_not_wait_and_each_thing_is_told_once() -> None:
    told: list[tuple[str, ...]] = []
    begun, broker_is_back = threading.Event(), threading.Event()

    def send(*what: str) -> None:
        begun.set()
        broker_is_back.wait(10)
        told.append(what)

    notifier = Notifier(send)
    notifier.start()
    notifier.notify("first")
    assert begun.wait(10)
    for _ in range(100):
        notifier.notify("deliver", "main")
        notifier.notify("first")
    assert told == [], "all of it was asked for while the broker answered nothing"
    broker_is_back.set()
    notifier.stop()
    # What was committed while the first was being told is told again.
    assert sorted(told) == [("deliver", "main"), ("first",), ("first",)]


def test_an_error_ends_neither_the_thread_nor_what_comes_after() -> None:
    told: list[tuple[str, ...]] = []

    def send(*what: str) -> None:
        told.append(what)
        if len(told) == 1:
            raise RuntimeError("Retry limit exceeded while trying to reconnect to the Celery result store backend.")

    notifier = Notifier(send)
    notifier.start()
    notifier.notify("first")
    notifier.notify("second")
    notifier.stop(10)
    assert told == [("first",), ("second",)]


def test_a_broker_that_never_answers_does_not_keep_the_process() -> None:
    never = threading.Event()
    notifier = Notifier(lambda *_: never.wait(30))
    notifier.start()
    notifier.notify("first")
    notifier.stop(0.1)
    assert not never.is_set()
    never.set()
