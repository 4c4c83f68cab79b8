"""The worker's side of the embedded broker: Kombu's folder of files, changed so that a killed worker loses no message.

Senders use Kombu's own ``filesystem://``. Kombu's worker side deletes a message when it takes it, so a killed worker
loses its jobs; it may take a message that is still being written; and Celery acknowledges messages only between waits,
which are two seconds long. Here a worker moves a message into a folder of its own, and deletes it when it is
acknowledged. A lock that ends with the process, however the process ends, protects the folder. Once it is free, another
worker puts the messages back.
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

from worker.broker.raw_messages import MALFORMED, envelope_of
from worker.broker.unacked import TakenJobs
from worker.core.clock import file_system_seconds
from worker.core.private_files import close_to_others, private_file, private_folder

POLL_SECONDS = 0.01
"""The pause between two looks at the folder. One look at an empty folder takes some microseconds."""
RECOVER_SECONDS = 2.0
UNREADABLE_AFTER_SECONDS = 2.0
"""A message that cannot be read after this time is not still being written."""

log = logging.getLogger(__name__)


class TakenMessages:
    """The messages that one process works on, in a folder that others empty when the process is gone."""

    def __init__(self, queue: Path, taken: Path) -> None:
        self._queue, self._taken = queue, taken
        private_folder(taken)
        name = uuid.uuid4().hex
        self._folder, self._lock_path = taken / name, taken / f"{name}.lock"
        self._lock = _locked_file(self._lock_path)
        private_folder(self._folder)
        self._held: dict[str, str] = {}

    def take(self, name: str) -> dict[str, Any] | None:
        """Take a message from the queue; None if another process has it or it is still being written."""
        path = self._queue / name
        try:
            payload = envelope_of(path.read_bytes(), _queue_of(name))
            if MALFORMED in payload["headers"] and not self._is_complete(path):
                return None
            path.rename(self._folder / name)
            close_to_others(self._folder / name)  # its sender may have another umask
        except FileNotFoundError:
            return None
        except OSError:
            self._put_aside(path)
            return None
        self._held[payload["properties"]["delivery_tag"]] = name
        return payload

    def done(self, tag: str) -> None:
        """Delete a message that is done; does nothing for one that is not held."""
        if name := self._held.pop(tag, None):
            (self._folder / name).unlink(missing_ok=True)

    def give_back(self, tag: str) -> bool:
        """Put a message back at its old position in the queue. False: it is not held."""
        name = self._held.pop(tag, None)
        if name is None:
            return False
        (self._folder / name).rename(self._queue / name)
        return True

    def recover(self) -> None:
        """Put back the messages of processes that are gone."""
        for lock_path in self._taken.glob("*.lock"):
            if lock_path == self._lock_path:
                continue
            with contextlib.suppress(FileNotFoundError, BlockingIOError), lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _empty(lock_path.with_suffix(""), self._queue)
                lock_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Put back the remaining messages and remove the folder."""
        _empty(self._folder, self._queue)
        self._held.clear()
        self._lock_path.unlink(missing_ok=True)
        self._lock.close()

    def _is_complete(self, path: Path) -> bool:
        """Return whether nobody is still writing the file. Kombu locks it meanwhile; others may not."""
        with path.open("rb") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            now = file_system_seconds(self._lock.fileno())  # the clock that also dated the message
            return now - path.stat().st_mtime > UNREADABLE_AFTER_SECONDS

    def _put_aside(self, path: Path) -> None:
        """Rename what is no readable file, so that it is looked at once only."""
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".unreadable"))
            log.error("a file of the queue cannot be opened; it was renamed to %s.unreadable", path.stem)


def count_taken(taken: Path) -> TakenJobs:
    """Count the messages that the workers of this folder have taken."""
    by_process = {lock: len(list(lock.with_suffix("").glob("*.msg"))) for lock in taken.glob("*.lock")}
    gone = [lock for lock in by_process if _is_free(lock)]
    return TakenJobs(sum(by_process.values()), sum(by_process[lock] for lock in gone))


def _is_free(lock_path: Path) -> bool:
    """Return whether the process that held the lock is gone."""
    try:
        with lock_path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):  # it has just ended and put everything back, or it runs
        return False
    return True


def _queue_of(name: str) -> str:
    """Return the queue that a file's name says; empty if the name is not a message's."""
    queue, dot, ending = name.partition(".")[2].rpartition(".")
    return queue if dot and ending == "msg" else ""


def _locked_file(path: Path) -> IO[str]:
    """Create a file that is locked before others can see it."""
    hidden = path.with_suffix(".new")
    opened = private_file(hidden).open("w")
    fcntl.flock(opened, fcntl.LOCK_EX)
    hidden.rename(path)
    return opened


def _empty(folder: Path, queue: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            path.rename(queue / path.name)
        folder.rmdir()


class QoS(virtual.QoS):
    """Acknowledges messages in the folder too."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge the message."""
        super().ack(delivery_tag)
        self.channel.taken.done(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Put the message back, or delete it."""
        super().reject(delivery_tag, requeue=requeue)
        self.channel.taken.done(delivery_tag)


class Channel(filesystem.Channel):
    """Takes messages from the folder: of each queue in turn, the oldest first."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken: TakenMessages | None = None
        self._turn = 0
        self._recovered_at = 0.0

    @property
    def taken(self) -> TakenMessages:
        """Return the messages of this channel; only a channel that takes messages has any."""
        if self._taken is None:
            queue = Path(self.data_folder_in)
            self._taken = TakenMessages(queue, queue.parent / "taken")
        return self._taken

    def count_taken(self) -> TakenJobs:
        """Count the messages that were taken and not acknowledged yet."""
        return count_taken(Path(self.data_folder_in).parent / "taken")

    def _get_many(self, queues: Sequence[str], timeout: float | None = None) -> None:  # noqa: ARG002
        """Deliver as many messages as the channel may take; raises Empty when there is none."""
        if time.monotonic() - self._recovered_at > RECOVER_SECONDS:
            self._recovered_at = time.monotonic()
            self.taken.recover()
        room = self.qos.can_consume_max_estimate()  # None: no limit
        delivered = 0
        for queue, name in self._in_turn(queues):
            if room is not None and delivered >= room:
                break
            payload = self.taken.take(name)
            if payload is not None:
                self.connection._deliver(payload, queue)
                delivered += 1
        if not delivered:
            raise Empty

    def _in_turn(self, queues: Sequence[str]) -> Iterator[tuple[str, str]]:
        waiting: dict[str, list[str]] = {queue: [] for queue in queues}
        for name in sorted(os.listdir(self.data_folder_in)):  # noqa: PTH208 - ten times a Path's speed
            if (queue := _queue_of(name)) in waiting:
                waiting[queue].append(name)
        self._turn += 1
        start = self._turn % max(len(waiting), 1)
        rows = [*waiting.items()][start:] + [*waiting.items()][:start]
        for column in zip_longest(*(names for _, names in rows)):
            for (queue, _), name in zip(rows, column, strict=True):
                if name is not None:
                    yield queue, name

    def _restore(self, message: Any) -> None:
        if not self.taken.give_back(message.delivery_tag):
            super()._restore(message)

    def close(self) -> None:
        """Put every message back."""
        super().close()
        if self._taken is not None:
            self._taken.close()
            self._taken = None


class Transport(filesystem.Transport):
    """Waits briefly, because Celery acknowledges between waits."""

    Channel = Channel
    polling_interval = POLL_SECONDS

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:
        """Wait for messages for a moment; raises socket.timeout when there is none."""
        super().drain_events(connection, timeout=min(timeout or POLL_SECONDS, POLL_SECONDS))
