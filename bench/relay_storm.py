"""Sends Relay events at a steady rate while texts are sent, measures response times, and checks that none is lost.

    python bench/relay_storm.py [--rate 2000] [--seconds 30] [--texts 300] [--store postgresql+psycopg://...] \\
        [--redis redis://127.0.0.1:6379/7]

It runs a real `vtsync web` and a real `vtsync worker`. Another process sends each event at its scheduled time, whether
earlier ones were answered or not, and measures from that time. Exits with 1 if an event was not answered with 200 or is
not in the store, or if a text was sent twice or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults.servers import empty_redis, free_port, own_schema
from tests.harness import Fleet, fleet, until

SECRET = "a-secret-of-at-least-24-characters"
CONNECTIONS = 64
TIMEOUT_SECONDS = 600.0
OURS = "+12025550100"


def event(number: int) -> bytes:
    """Return reply number n. Each is from another person and has its own id."""
    body = {
        "MessageID": f"storm-{number}",
        "ConversationID": f"c{number % 5000}",
        "ToNumber": OURS,
        "FromNumber": f"+1415555{2000 + number % 7000:04d}",
        "MessageBody": f"Thanks, see you then! ({number})",
        "MessageDirection": "in",
        "TextableUserID": "sandbox",
        "ContactName": "Ada",
        "ContactEmail": "ada@example.org",
        "Media": [],
    }
    return json.dumps(body).encode()


async def load(port: int, rate: float, seconds: float) -> dict[str, object]:
    """Post the events. Return the seconds of each and the number of answers by status."""
    waiting: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    took: list[float] = []
    answers: dict[str, int] = {}

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (one := await waiting.get())[0] >= 0:
            body = event(one[0])
            head = f"POST /relay/{SECRET} HTTP/1.1\r\nHost: storm\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            try:
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                status = answer.split(b" ", 2)[1].decode()
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                status = type(error).__name__
            took.append(time.monotonic() - one[1])
            answers[status] = answers.get(status, 0) + 1
            if status != "200":  # neither its body nor the rest of the connection matters
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    tasks = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    began, number = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        while number < min(now, seconds) * rate:
            waiting.put_nowait((number, began + number / rate))
            number += 1
        await asyncio.sleep(0.002)
    for _ in tasks:
        waiting.put_nowait((-1, 0.0))
    await asyncio.gather(*tasks)
    return {"sent": number, "seconds": time.monotonic() - began, "took": took, "answers": answers}


def storm(made: Fleet, options: argparse.Namespace) -> bool:
    """Run it and print the figures. Return whether nothing was lost."""
    (made.folder / "secret").write_text(SECRET)
    made.configure(
        account=f'relay_secret = {{ file = "{made.folder / "secret"}" }}', read_timeout=10, connect_timeout=5
    )
    assert made.run("migrate").exit_code == 0
    port = free_port()
    made.sandbox.state.webhooks["sandbox"] = f"http://127.0.0.1:{port}/relay/{SECRET}"
    made.start("web", "--port", str(port))
    until("the HTTP API", lambda: _ready(port))
    made.start("worker")
    other = made.service()
    for index in range(options.texts):
        job = {"account": "main", "to": f"+1212555{2000 + index:04d}", "message": f"text {index}"}
        other.send_task("vtsync.send_message", kwargs=job, ignore_result=True)
    command = [sys.executable, __file__, "--load", str(port), "--rate", str(options.rate)]
    loading = subprocess.run(
        [*command, "--seconds", str(options.seconds)], stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_SECONDS
    )
    result = json.loads(loading.stdout)
    return _judge(made, result, options.texts)


def _ready(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1)
    except (urllib.error.URLError, OSError):
        return False
    return True


def _judge(made: Fleet, result: dict[str, object], texts: int) -> bool:
    sent, answers = int(str(result["sent"])), result["answers"]
    took = sorted(result["took"])  # type: ignore[call-overload]
    stored = _count(made, "inbox_event WHERE payload LIKE '%storm-%'")
    at_end = time.monotonic()
    print(f"  events {sent:,}, answered in {float(str(result['seconds'])):.1f} s: {answers}")
    print(
        f"  answered in: p50 {statistics.median(took) * 1000:.1f} ms   p99 {_part(took, 0.99) * 1000:.1f} ms"
        f"   longest {took[-1] * 1000:.0f} ms"
    )
    print(f"  stored {stored:,}, lost {sent - stored:,}", flush=True)
    until("the inbox", lambda: not _count(made, "inbox_event WHERE state = 'new'"), TIMEOUT_SECONDS)
    until("the texts", lambda: made.states()["confirmed"] == texts, TIMEOUT_SECONDS)
    replies = _count(made, "inbound_message")
    print(f"  worked through {time.monotonic() - at_end:.0f} s after the last; replies {replies:,}")
    sent_to = [message.to for message in made.sandbox.messages("sent_by_platform")]
    print(
        f"  texts {texts}, sent {len(sent_to)}, of them twice {len(sent_to) - len(set(sent_to))}, {dict(made.states())}"
    )
    return answers == {"200": sent} and sent == stored == replies and len(sent_to) == len(set(sent_to)) == texts


def _count(made: Fleet, what: str) -> int:
    return int(made.query(f"SELECT count(*) FROM {what}")[0][0])


def _part(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2000, help="events a second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=30, help="(%(default)g)")
    parser.add_argument("--texts", type=int, default=300, help="texts that are sent meanwhile (%(default)s)")
    parser.add_argument("--store", metavar="URL", help="use PostgreSQL instead of SQLite, in a temporary schema")
    parser.add_argument("--redis", metavar="URL", help="use this broker instead of files; ITS DATABASE IS EMPTIED")
    parser.add_argument("--load", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(asyncio.run(load(options.load, options.rate, options.seconds))))
        return 0
    store, broker = "PostgreSQL" if options.store else "SQLite", "Redis" if options.redis else "files"
    print(f"{options.rate:g} events a second for {options.seconds:g} s on {store} and {broker}", flush=True)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-storm-"))
        store_url = stack.enter_context(own_schema(options.store)) if options.store else None
        broker_url = stack.enter_context(empty_redis(options.redis)) if options.redis else None
        made = stack.enter_context(fleet(Path(folder), store=store_url, broker=broker_url))
        kept = storm(made, options)
    print("  nothing lost" if kept else "  BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
