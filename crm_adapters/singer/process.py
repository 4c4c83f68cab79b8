"""Runs a tap: a process of its own group, whose output is read line by line.

The tap gets only a few environment variables, and its configuration in a private folder that is deleted with it. A tap
that is silent for too long is stopped; while the reader is busy, the tap waits for it and the clock stands still. One
thread reads both pipes, and never waits for the end of a pipe that a program of the tap's may keep open.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from crm_adapters.errors import SourceInvalid, SourceUnavailable
from crm_adapters.singer.folder import TapFolder
from crm_adapters.singer.words import TapWords

LONGEST_LINE = 8 << 20
"""Bytes. A longer line is skipped, so that no record fills the memory."""
LONGEST_OUTPUT = 256 << 20
"""Bytes of a catalog."""
TERM_SECONDS = 3.0
LINGER_SECONDS = 1.0
"""After the tap's end, its pipes are read until they are silent for this long, if another program keeps them open."""
QUIET_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_CHUNK = 1 << 16

PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line that is longer than ``LONGEST_LINE``. ``start`` is how it begins."""

    start: bytes


class TapProcess:
    """One run of a tap. Use it as a context manager: leaving it stops the tap and deletes its files."""

    def __init__(
        self, command: Sequence[str], config: str, environment: Sequence[str], timeout: float, what: str
    ) -> None:
        self._command, self._config = [*command], config
        if "/" in self._command[0]:
            self._command[0] = os.path.abspath(self._command[0])  # noqa: PTH100 - links lead into environments
        self._environment = (*PASSED_ON, *environment)
        self._timeout, self._what = timeout, what
        self._words = TapWords(what, json.loads(config))
        self._selector = selectors.DefaultSelector()
        self._silent = self._output_ended = self._end_is_unknown = False
        self._heard = 0.0
        self._folder: TapFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> TapProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, flags: Mapping[str, Any]) -> None:
        """Start the tap. ``flags`` are its arguments; their values go to files. Raises AdapterError."""
        try:
            self._folder = folder = TapFolder()
            arguments = ["--config", str(folder.write("config.json", self._config))]
            for flag, value in flags.items():
                arguments.append(flag)
                if value is not None:
                    arguments.append(str(folder.write(f"{flag.lstrip('-')}.json", json.dumps(value))))
        except OSError as error:
            raise SourceUnavailable(
                f"the files of {self._what} cannot be written ({error.strerror}); the next run tries again"
            ) from None
        self._words.had_state = "--state" in flags
        try:
            self._process = subprocess.Popen(
                [*self._command, *arguments],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder.path,
                env={name: os.environ[name] for name in self._environment if name in os.environ},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceInvalid(
                f"{self._what} cannot be started ({reason}); install it, and name its program in tap"
            ) from None
        folder.note_tap(self._process.pid)
        for stream, data in ((self._process.stdout, "output"), (self._process.stderr, "errors")):
            assert stream is not None  # noqa: S101 - it is a pipe
            self._selector.register(stream, selectors.EVENT_READ, data)
        self._heard = time.monotonic()

    def lines(self) -> Iterator[bytes | TooLong | None]:
        """Yield the lines that the tap writes, and None whenever it writes nothing for some seconds.

        The last line may be cut off by a failure; see ``finish``.
        """
        part, too_long = bytearray(), b""
        quiet_since = time.monotonic()
        while (chunk := self._read()) is not None:
            if not chunk:
                if time.monotonic() - quiet_since > QUIET_SECONDS:
                    yield None
                    quiet_since = time.monotonic()
                continue
            *whole, rest = chunk.split(b"\n")
            for piece in whole:
                part += piece
                yield TooLong(too_long) if too_long or len(part) > LONGEST_LINE else bytes(part)
                part.clear()
                too_long = b""
            part += rest
            if len(part) > LONGEST_LINE:
                too_long = too_long or bytes(part[:_CHUNK])
                part.clear()
            self._heard = quiet_since = time.monotonic()  # the reader may have been busy
        if part or too_long:
            yield TooLong(too_long) if too_long else bytes(part)

    def output(self) -> bytes:
        """Return all that the tap writes. Raises SourceInvalid if that is too much."""
        found = bytearray()
        while (chunk := self._read()) is not None:
            found += chunk
            if len(found) > LONGEST_OUTPUT:
                raise SourceInvalid(f"{self._what} writes a catalog of more than {LONGEST_OUTPUT:,} bytes; set catalog")
        return bytes(found)

    def finish(self) -> None:
        """Wait for the tap's end. Raises an AdapterError unless it ended well."""
        process = self._started
        while not (self._has_exited() and not self._selector.get_map()):
            self._read()
        self._signal(signal.SIGKILL)  # programs that it left behind
        code = process.wait()
        if self._end_is_unknown:
            raise SourceUnavailable(f"nobody knows whether {self._what} ended well; the next run tries again")
        if self._silent:
            raise self._words.silence(self._timeout)
        if code != 0:
            raise self._words.failure(code)

    def has_new_config(self) -> bool:
        """Return True if the tap has changed its configuration file."""
        if self._folder is None:
            return False
        try:
            return (self._folder.path / "config.json").read_text(encoding="utf-8") != self._config
        except (OSError, ValueError):
            return False

    def stop(self) -> None:
        """Stop the tap and everything that it has started, and delete its files."""
        process = self._process
        if process is not None:
            if process.returncode is None:
                self._signal(signal.SIGTERM)
                until = time.monotonic() + TERM_SECONDS
                while not self._has_exited() and time.monotonic() < until:
                    time.sleep(0.01)
                self._signal(signal.SIGKILL)
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._output_ended = True
        self._selector.close()
        if self._folder is not None:
            self._folder.delete()

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None  # noqa: S101 - it was started
        return self._process

    def _read(self) -> bytes | None:
        """Wait a moment for the tap and return what it writes; None at the end."""
        if self._selector.get_map() is None:  # stopped meanwhile
            return None
        found = b""
        ready = self._selector.select(_LOOK_SECONDS) if self._selector.get_map() else []
        for key, _ in ready:
            data = os.read(key.fd, _CHUNK)
            self._heard = time.monotonic()
            if not data:
                self._selector.unregister(key.fileobj)
            if key.data == "errors":
                self._words.hear(data)
            elif data:
                found = data
            else:
                self._output_ended = True
        if not ready:
            self._wait_no_longer()
        return None if self._output_ended and not found else found

    def _wait_no_longer(self) -> None:
        """Nothing came: look whether the tap has ended, or is silent for too long."""
        quiet = time.monotonic() - self._heard
        if not self._selector.get_map():
            time.sleep(0.01)  # it has closed its pipes, and will end in a moment
        has_exited = self._has_exited()
        if not has_exited and quiet > self._timeout:
            self._silent = has_exited = True
            self._signal(signal.SIGKILL)
        if (has_exited and quiet > LINGER_SECONDS) or self._silent:
            for key in list(self._selector.get_map().values()):
                self._selector.unregister(key.fileobj)
            self._output_ended = True

    def _has_exited(self) -> bool:
        """Return True if the tap has ended. Until ``wait``, the number of its group is not given to anybody else."""
        process = self._started
        if process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # its end was taken by somebody else, as when SIGCHLD is ignored
            self._end_is_unknown = True
            return True

    def _signal(self, number: signal.Signals) -> None:
        if self._started.returncode is None and not self._end_is_unknown:  # else the number may belong to somebody else
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._started.pid, number)
