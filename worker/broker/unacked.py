"""Takes back the jobs of workers that are gone from a Redis broker, within a minute.

Redis does not know which connection took a message. Kombu notes taken messages in two keys, and returns them to their
queues after the visibility time-out, which must be longer than the longest task: 40 minutes. So each channel that takes
messages is an *owner*. Its name is part of the tags of its messages, and a key with a short lifetime shows that it is
alive. The workers look for messages whose owner is gone, one worker at a time, and put them back.

A channel that is closed is no owner any more: what it had taken is delivered again, as RabbitMQ does it. A job that is
done twice does nothing twice.
"""

# Kombu has no types.
# mypy: disable-error-code="no-untyped-call,unused-ignore"

from __future__ import annotations

import threading
import time
import uuid
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import structlog

ALIVE = "vtsync:owner:"
"""The beginning of the keys of owners."""
LOOKING = "vtsync:owners-looked-at"
_SEPARATOR = "."
_REFRESHES = 4
"""How often an owner shows that it is alive within the time after which it counts as gone."""

log = structlog.get_logger(__name__)


class TakenJobs(NamedTuple):
    """How many messages workers have taken and not acknowledged. ``left_behind``: those of workers that are gone."""

    in_progress: int
    left_behind: int


def new_tag(owner: str) -> str:
    """Return a tag for a message that this owner takes."""
    return f"{owner}{_SEPARATOR}{uuid.uuid4()}"


def owner_of(tag: str) -> str:
    """Return the owner in a tag; empty: it is a tag of Kombu or of an earlier version, which names none."""
    owner, separator, _ = tag.partition(_SEPARATOR)
    return owner if separator else ""


class OwnerKeeper:
    """Shows that this process's channels are alive, and takes back the messages of owners that are gone."""

    def __init__(self) -> None:
        self._owners: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def own(self, channel: Any) -> str:
        """Make the channel an owner before it takes a message. Return its name.

        Raises the errors of Redis, also if the server accepts no writes.
        """
        with self._lock:
            if (owner := self._owners.get(channel)) is not None:
                return owner
        owner = uuid.uuid4().hex
        with channel.conn_or_acquire() as client:
            client.set(f"{ALIVE}{owner}", 1, px=_milliseconds(channel))
        with self._lock:
            self._owners[channel] = owner
            if self._thread is None:
                connection = channel.connection.client.clone()
                self._thread = threading.Thread(target=self._keep, args=(connection,), daemon=True, name="owners")
                self._thread.start()
        return owner

    def _keep(self, connection: Any) -> None:
        """Run forever, and continue after errors: the main loop reports that the broker cannot be used."""
        since: float | None = None
        failing = False
        while True:
            wait = 1.0
            try:
                channel = connection.default_channel
                now = time.monotonic()
                since = now if since is None else since
                self._show_alive(channel)
                # After an outage of Redis, all processes first get the time to show that they are alive.
                if now - since > channel.take_back_after:
                    take_back(channel)
                wait = channel.take_back_after / _REFRESHES
                failing = False
            except Exception as error:  # noqa: BLE001 - this thread must not end before its process
                if not failing:  # one line for each outage
                    log.debug("owners of messages could not be kept", error=type(error).__name__)
                failing = True
                since = None
                _close(connection)
            time.sleep(wait)

    def _show_alive(self, channel: Any) -> None:
        with self._lock:
            alive = [owner for one, owner in self._owners.items() if not one.closed]
        with channel.conn_or_acquire() as client:
            for owner in alive:
                # A server whose memory is full still accepts this one.
                if not client.pexpire(f"{ALIVE}{owner}", _milliseconds(channel)):
                    client.set(f"{ALIVE}{owner}", 1, px=_milliseconds(channel))


def take_back(channel: Any) -> int:
    """Put the messages of owners that are gone back into their queues. Return how many.

    Of several processes that call this at the same time, one does it.
    """
    with channel.conn_or_acquire() as client:
        if not client.set(LOOKING, 1, px=_milliseconds(channel) // 6, nx=True):
            return 0
        lost = _lost_tags(client, channel)
        for tag in lost:
            channel.qos.restore_by_tag(tag, client)
    if lost:
        log.warning("jobs of workers that are gone were taken back", jobs=len(lost))
    return len(lost)


def count_taken(channel: Any) -> TakenJobs:
    """Count the messages that were taken and not acknowledged yet."""
    with channel.conn_or_acquire() as client:
        return TakenJobs(client.hlen(channel.unacked_key), len(_lost_tags(client, channel)))


def _lost_tags(client: Any, channel: Any) -> list[str]:
    tags = [tag.decode() if isinstance(tag, bytes) else tag for tag in client.zrange(channel.unacked_index_key, 0, -1)]
    named = {owner for owner in map(owner_of, tags) if owner}
    gone = {owner for owner in named if not client.exists(f"{ALIVE}{owner}")}
    return [tag for tag in tags if owner_of(tag) in gone]


def _milliseconds(channel: Any) -> int:
    return int(channel.take_back_after * 1000)


def _close(connection: Any) -> None:
    try:
        connection.collect()
    except Exception:  # noqa: BLE001 - it is thrown away
        log.debug("a broken connection could not be closed")


owners = OwnerKeeper()
"""The owners of this process."""
