"""Measures the overhead of the client: requests/s of ours and of ``session.post``, against the bare urllib3 pool.

    python bench/client.py [--threads 1 16] [--latency-ms 0] [--seconds 1.0] [--rounds 5]

All three have the same time-outs, which take a tenth of the time. They take turns within each round, so that other load
on the machine affects all of them. The result is the median of the ratios of the rounds; absolute figures mean little.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import orjson  # noqa: E402
import requests  # noqa: E402
import urllib3  # noqa: E402
from requests.adapters import HTTPAdapter  # noqa: E402

from worker.virtualtext.client import VirtualTextClient  # noqa: E402
from worker.virtualtext.outcomes import ContactBody, Endpoint  # noqa: E402

FIELDS = {"phoneNumber": "+14155552671", "fullName": "Ada Lovelace", "email": "ada@example.com"}
REFERENCE = "urllib3 pool"


@contextmanager
def fake_server(latency_ms: float = 0.0) -> Iterator[str]:
    """Start a responder in its own process and yield its base URL."""
    command = [sys.executable, str(ROOT / "bench" / "fake_server.py"), "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def contestants(base: str, threads: int) -> dict[str, Callable[[], object]]:
    """Return three ways to update one contact."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=threads))
    headers = {"Authorization": "Bearer uid:token", "Content-Type": "application/json"}
    client = VirtualTextClient(Endpoint("uid", "token", base, base, concurrency=threads))
    contact = ContactBody(FIELDS["phoneNumber"], FIELDS["fullName"], FIELDS["email"])
    timeout = urllib3.Timeout(connect=2.5, read=40)
    pool = urllib3.HTTPConnectionPool("127.0.0.1", int(base.rsplit(":", 1)[1]), maxsize=threads, timeout=timeout)

    def plain_requests() -> None:
        answer = session.post(f"{base}/api/contacts/c1", json=FIELDS, headers=headers, timeout=(5, 40))
        assert answer.json()["id"]

    def ours() -> None:
        assert client.update_contact("c1", contact).done

    def bare_pool() -> None:
        answer = pool.urlopen("POST", "/api/contacts/c1", orjson.dumps(FIELDS), headers, retries=False, redirect=False)
        assert orjson.loads(answer.data)["id"]

    return {REFERENCE: bare_pool, "this client": ours, "requests session.post": plain_requests}


def rate(call: Callable[[], object], threads: int, seconds: float) -> float:
    """Return the calls per second of ``threads`` threads."""
    counts = [0] * threads
    start = threading.Barrier(threads + 1)

    def work(index: int) -> None:
        call()  # connects
        start.wait()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            call()
            counts[index] += 1

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with fake_server(options.latency_ms) as base:
        for threads in options.threads:
            calls = contestants(base, threads)
            rounds = [
                {name: rate(call, threads, options.seconds) for name, call in calls.items()}
                for _ in range(options.rounds)
            ]
            print(f"{threads} thread(s), {options.latency_ms:g} ms")
            for name in calls:
                rates = [one[name] for one in rounds]
                ratio = statistics.median(one[name] / one[REFERENCE] for one in rounds)
                print(f"  {name:22} {statistics.median(rates):8,.0f}/s   {ratio:.2f} of the pool")


if __name__ == "__main__":
    main()
