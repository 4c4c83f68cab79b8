"""The worker's side of the embedded broker: Kombu's folder of files, made to lose nothing when a worker is killed.

Whoever sends uses Kombu's own ``filesystem://``. Kombu's worker side deletes a message when it takes it, so that a
killed worker takes its jobs along; it may take one that is still being written; and Celery settles what is done only
between its waits, which are two seconds long. Here a message that is taken is moved into a folder of its worker's own
and deleted when it is acknowledged. The folder belongs to a lock that ends with the process, however that ends:
another worker then puts the messages back.
"""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,misc,unused-ignore"

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from queue import Empty
from typing import IO, Any

from kombu.transport import filesystem, virtual
from kombu.utils.json import loads

POLL_SECONDS = 0.01
"""Between two looks at the folder; one look at an empty folder takes some microseconds."""
RECOVER_SECONDS = 2.0
UNREADABLE_AFTER_SECONDS = 60.0
"""A message that cannot be read by then is not being written any more."""

log = logging.getLogger(__name__)


class Hand:
    """The messages that one process works on, in a folder that others empty when the process is gone."""

    def __init__(self, queue: Path, taken: Path) -> None:
        self._queue, self._taken = queue, taken
        taken.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        self._folder, self._lock_path = taken / name, taken / f"{name}.lock"
        self._lock = _locked_file(self._lock_path)
        self._folder.mkdir()
        self._held: dict[str, str] = {}

    def take(self, name: str) -> dict[str, Any] | None:
        """A message of the queue, now ours; None when another has it or it is still being written."""
        path = self._queue / name
        try:
            payload: dict[str, Any] = loads(path.read_text())
            tag = payload["properties"]["delivery_tag"]
            path.rename(self._folder / name)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            self._put_aside_when_old(path)
            return None
        self._held[tag] = name
        return payload

    def done(self, tag: str) -> None:
        """The message is settled; nothing happens for one that is not held."""
        if name := self._held.pop(tag, None):
            (self._folder / name).unlink(missing_ok=True)

    def give_back(self, tag: str) -> bool:
        """Back to its old place in the queue. False: it is not held."""
        name = self._held.pop(tag, None)
        if name is None:
            return False
        (self._folder / name).rename(self._queue / name)
        return True

    def recover(self) -> None:
        """Put back what processes that are gone had in hand."""
        for lock_path in self._taken.glob("*.lock"):
            if lock_path == self._lock_path:
                continue
            with contextlib.suppress(FileNotFoundError, BlockingIOError), lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _empty(lock_path.with_suffix(""), self._queue)
                lock_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Put back what is left, and be gone."""
        _empty(self._folder, self._queue)
        self._held.clear()
        self._lock_path.unlink(missing_ok=True)
        self._lock.close()

    def _put_aside_when_old(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > UNREADABLE_AFTER_SECONDS:
                path.rename(path.with_suffix(".unreadable"))
                log.error("%s is no task message; it was put aside as %s.unreadable", path.name, path.stem)


def _locked_file(path: Path) -> IO[str]:
    """A file that nobody sees before it is locked."""
    hidden = path.with_suffix(".new")
    opened = hidden.open("w")
    fcntl.flock(opened, fcntl.LOCK_EX)
    hidden.rename(path)
    return opened


def _empty(folder: Path, queue: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            path.rename(queue / path.name)
        folder.rmdir()


class QoS(virtual.QoS):
    """Settles messages in the folder too."""

    def ack(self, delivery_tag: str) -> None:
        """The message is done."""
        super().ack(delivery_tag)
        self.channel.hand.done(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """The message goes back, or away."""
        super().reject(delivery_tag, requeue=requeue)
        self.channel.hand.done(delivery_tag)


class Channel(filesystem.Channel):
    """Takes messages from the folder, the oldest of each queue in turn."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hand: Hand | None = None
        self._turn = 0
        self._recovered_at = 0.0

    @property
    def hand(self) -> Hand:
        """What this channel works on; only a channel that takes messages has one."""
        if self._hand is None:
            queue = Path(self.data_folder_in)
            self._hand = Hand(queue, queue.parent / "taken")
        return self._hand

    def _get_many(self, queues: Sequence[str], timeout: float | None = None) -> None:  # noqa: ARG002
        """Deliver as many as there is room for; raises Empty when there is none."""
        if time.monotonic() - self._recovered_at > RECOVER_SECONDS:
            self._recovered_at = time.monotonic()
            self.hand.recover()
        room = self.qos.can_consume_max_estimate()  # None: no limit
        delivered = 0
        for queue, name in self._in_turn(queues):
            if room is not None and delivered >= room:
                break
            payload = self.hand.take(name)
            if payload is not None:
                self.connection._deliver(payload, queue)
                delivered += 1
        if not delivered:
            raise Empty

    def _in_turn(self, queues: Sequence[str]) -> Iterator[tuple[str, str]]:
        waiting: dict[str, list[str]] = {queue: [] for queue in queues}
        for name in sorted(os.listdir(self.data_folder_in)):  # noqa: PTH208 - ten times a Path's speed
            queue, dot, ending = name.partition(".")[2].rpartition(".")
            if dot and ending == "msg" and queue in waiting:
                waiting[queue].append(name)
        self._turn += 1
        start = self._turn % max(len(waiting), 1)
        rows = [*waiting.items()][start:] + [*waiting.items()][:start]
        for column in zip_longest(*(names for _, names in rows)):
            for (queue, _), name in zip(rows, column, strict=True):
                if name is not None:
                    yield queue, name

    def _restore(self, message: Any) -> None:
        if not self.hand.give_back(message.delivery_tag):
            super()._restore(message)

    def close(self) -> None:
        """Give everything back."""
        super().close()
        if self._hand is not None:
            self._hand.close()
            self._hand = None


class Transport(filesystem.Transport):
    """Short waits, because Celery acknowledges between them."""

    Channel = Channel
    polling_interval = POLL_SECONDS

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:
        """Wait for messages; raises socket.timeout soon when there is none."""
        super().drain_events(connection, timeout=min(timeout or POLL_SECONDS, POLL_SECONDS))
