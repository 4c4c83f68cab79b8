"""Messages that are no proper jobs: a table. To try another one, add a value or a row.

Each row changes one thing about a good job, in the form that Celery sends or in the plain one. ``REFUSED`` ones must
become a dead letter, ``DONE`` ones a text. Rows in ``RAW`` are what Redis or a folder can hold instead of an envelope.
"""

from __future__ import annotations

import base64
import gzip
import json
import pickle
from dataclasses import dataclass, field
from typing import Any

SECRET = "the-content-of-a-text"
"""A part of each job's text, which no log may show."""
DEEP = "[" * 100_000
LEFT_OUT = object()
"""The value of a header that the message does not have."""

# A header, and values that it cannot have.
REFUSED_HEADERS: dict[str, list[Any]] = {
    "task": [
        *(LEFT_OUT, None, True, 17, 1.5, "", " ", [], ["vtsync.send_message"], {}, {"a": 1}, "x" * 5000, "a\x00b"),
        *("vtsync.nothing", "vtsync.send_message ", "VTSYNC.SEND_MESSAGE", "os.system", "celery.map", "celery.chain"),
        *("celery.chord_unlock", "celery.group", "celery.accumulate", "celery.starmap", "../../etc/passwd", "\u202e"),
        *("+14155550100", "a\nb", "%s%n", "{task}", "vtsync.send_message\x00"),
    ],
    "id": [True, 17, 1.5, "", " ", [], ["a"], {}, {"a": 1}, "x" * 5000, "a\x00b", "a\nb", "\u202e", [[[]]], "a\tb"],
    "retries": [True, False, -1, 1.5, "1", "", [], {}, [1], 2_000_000, "many", {"a": 1}],
    "eta": [
        *(True, 17, 1.5, "", "soon", [], {}, [1], "2026-13-01T00:00:00", "9999-12-31T23:59:59+00:00", "now"),
        *("0001-01-01T00:00:00+00:00", "1e9", "2026-01-01T25:00:00", "x" * 5000, {"a": 1}, "10000-01-01T00:00:00"),
    ],
    "expires": [
        *(True, 17, 1.5, "", "soon", [], {}, [1], "2026-13-01T00:00:00", "9999-12-31T23:59:59+00:00", "never"),
        *("0001-01-01T00:00:00+00:00", "1e9", {"a": 1}),
    ],
}
# A header, and values that do not matter, so that the job is done.
DONE_HEADERS: dict[str, list[Any]] = {
    "timelimit": [None, [], [1], [1, 2, 3], "ab", 17, {"a": 1, "b": 2}, [{}, []]],
    "root_id": [17],
    "parent_id": [[]],
    "group": [{"a": 1}],
    "shadow": [["a"]],
    "argsrepr": [[SECRET]],
    "stamped_headers": [17, ["a"]],
    "ignore_result": ["no"],
    "replaced_task_nesting": ["a"],
    "headers": [17],
    "get": [17],
    "delivery_info": [17],
    "hostname": [[]],
    "reply_to": [[]],
    "chord": [17],
    "vtsync_sent_at": ["a"],
}
# What stands in the body instead of a job. A string is the body itself; anything else is written as JSON.
REFUSED_BODIES: list[Any] = [
    *("", " ", "null", "true", "false", "17", "-1.5", '"a"', "NaN", "[]", "[1]", "[[], {}]", "[[], {}, {}, {}]"),
    *("{", "}", "[", "]", '{"a":', '"', "'", "\x00", "\ufeff", "hello", "<xml/>", "a: b", "[1, 2, 3,]", "9" * 5000),
    *(b"\xff\xfe", b"\x80", b"\x00" * 100, b"\xc3\x28", pickle.dumps({"a": 1}), gzip.compress(b"{}"), DEEP),
    *("[" + "1," * 1000 + "1]", '{"__type__": "datetime", "__value__": 17}', '{"__type__": "uuid", "__value__": "a"}'),
    *([17, {}, {}], ["a", {}, {}], [{}, {}, {}], [True, {}, {}], [[], [], {}], [[], "a", {}], [[], 17, {}]),
    *([[], True, {}], [[], {}, []], [[], {}, 17], [[], {}, "a"], [[], {}, True], ["ab", "cd", "ef"], [1, 2, 3]),
    *({}, {"account": "main"}, {"to": "+14155550100"}, {"message": SECRET}, {"a": 1, "b": 2, "c": 3}, {"args": 17}),
    *({"kwargs": 17}, {"args": {}, "kwargs": {}}, {"args": [], "kwargs": []}, {"args": "abc"}, {"kwargs": "abc"}),
    *({"args": [], "kwargs": {"self": 1}}, {"args": [1] * 100}, {"self": 1}, {"": 1}, {SECRET: 1}, "x" * 1_000_001),
]
# Arguments that a good job does not have.
REFUSED_ARGUMENTS: list[dict[str, Any]] = [
    *({"account": one} for one in (None, 17, [], {}, "", "nobody", SECRET, "x" * 5000, "\x00")),
    *({"to": one} for one in (None, 17, [], {}, "", "4155550100", "+1", "\ud800", "x" * 5000, "+12025550100")),
    *({"message": one} for one in (17, [], {}, "", " ", "\x00", SECRET * 5000)),
    *({"media": one} for one in (17, {}, "a", [17], ["a"], ["ftp://a/b"], [{}], ["https://a/b"] * 100)),
    *({"send_at": one} for one in (17, [], {}, "", "soon", "2026-01-01T00:00:00", "9999-01-01T00:00:00Z")),
    *({"send_at": "2020-01-01T00:00:00Z"}, {"expires_at": 17}, {"media": "http://localhost/a"}),
    *({"metadata": one} for one in (17, {"a": []}, {"a": "x" * 3000}, {"": 1}, {"a": 2**70})),
    *({"callback_url": one} for one in (17, "a")),
    *({"urgent": one} for one in (17, "yes", [], {})),
    *({"idempotency_key": one} for one in (17, [], {}, " ", "x" * 5000, "auto:a", "a\nb")),
    *({one: 1} for one in ("self", "task", "args_", "to_number", "x" * 5000, "\x00", "+14155550100")),
]
# What follows the job, for Celery's own form.
SIGNATURE = {"task": "a", "args": [], "kwargs": {}, "options": 17}
REFUSED_EMBEDS: list[dict[str, Any]] = [
    {name: value}
    for name in ("callbacks", "errbacks", "chain")
    for value in (17, "a", {"task": "a"}, [17], [[]], ["a"], [{}], [{"task": 17}])
] + [{"chord": value} for value in (17, "a", [], [17], {}, {"task": []}, {"task": "a"}, SIGNATURE)]
DONE_EMBEDS: list[dict[str, Any]] = [{"callbacks": None, "errbacks": [], "chain": [], "chord": None}, {"a": 17}]
REFUSED_TYPES: list[Any] = [
    *("application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "text/xml", "a", "json"),
    *("application/data", "x" * 200),
]
REFUSED_ENCODINGS: list[Any] = ["gzip", "utf-16", "base64", "latin-1", "nothing", "x" * 200]
# Calls of our own tasks, which only our own processes send.
REFUSED_CALLS: list[tuple[str, Any]] = [
    *(("vtsync.tick", one) for one in ([["a"], {}, {}], [[], {"a": "b"}, {}], {}, {"a": 1})),
    *(("vtsync.deliver_messages", one) for one in ([[], {}, {}], [[17], {}, {}], [[{}], {}, {}], [["a", "b"], {}, {}])),
    *(("vtsync.push_contacts", one) for one in ([[[]], {}, {}], [[], {"account": None}, {}])),
    *(("vtsync.run_sync", one) for one in ([[], {}, {}], [[1], {}, {}], [["a", 17], {}, {}], [["a"] * 3, {}, {}])),
    *(("vtsync.set_aside", one) for one in ([[], {}, {}], [[1] * 6, {}, {}])),
    *(("vtsync.sync_connection", one) for one in ({}, {"connection": 17}, {"connection": "nothing"}, [[], {}, {}])),
    *(("vtsync.record_message", one) for one in ({}, {"account": "main", "to": "+14155550100"}, [[1] * 20, {}, {}])),
]
# What a queue of Redis or a file can be instead of an envelope.
RAW: list[bytes] = [
    *(b"", b" ", b"null", b"true", b"17", b'"a"', b"[]", b"[1]", b"{", b"hello", b"\x00", b"\xff\xfe", DEEP.encode()),
    *(pickle.dumps({"a": 1}), gzip.compress(b"{}"), b"{}", b'{"body": 17}', b'{"body": []}', b'{"body": {"a": 1}}'),
    *(b'{"headers": 17}', b'{"headers": [1]}', b'{"headers": "a"}', b'{"properties": 17}', b'{"properties": [1]}'),
    *(b'{"body": "~", "properties": {"body_encoding": "%s"}}' % one for one in (b"gzip", b"BASE64", b"rot13")),
    *(b'{"body": "~", "properties": {"body_encoding": %s}}' % one for one in (b"17", b"[1]", b'"base64"')),
    *(b'{"body": "~", "headers": {"compression": %s}}' % one for one in (b"17", b"[1]", b'"nothing"', b'"zlib"')),
    *(b'{"body": "~", "content-type": %s}' % one for one in (b"17", b"[1]", b'{"a": 1}')),
    *(b'{"body": "~", "content-encoding": %s}' % one for one in (b"17", b"[1]", b'{"a": 1}')),
    *(b'{"body": "~", "properties": {"priority": %s}}' % one for one in (b"Infinity", b'"a"', b"[1]")),
    *(b'{"body": "~", "properties": {"delivery_info": %s}}' % one for one in (b"17", b"[1]", b'{"exchange": "x"}')),
    *(b'{"body": "~", "properties": {"delivery_tag": %s}}' % one for one in (b"17", b"[1]", b'{"a": 1}', b'"t"')),
    b'{"body": "~\\ud800"}',
]
RAW = [item.replace(b"~", b"%d" % number) for number, item in enumerate(RAW)]


@dataclass(frozen=True)
class Poison:
    """One message. ``number`` makes it different from all others."""

    number: int
    done: bool = False
    headers: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""
    content_type: str | None = "application/json"
    content_encoding: str | None = "utf-8"
    documented: bool = False
    """Use the shortest envelope, as services in other languages do."""

    def envelope(self) -> bytes:
        """The message as Redis and the folder hold it."""
        if self.documented:
            return json.dumps({"headers": self.headers, "body": self.body.decode()}).encode()
        return json.dumps(
            {
                "body": base64.b64encode(self.body).decode(),
                "headers": self.headers,
                "content-type": self.content_type,
                "content-encoding": self.content_encoding,
                "properties": {"body_encoding": "base64", "delivery_tag": "always-the-same"},
            }
        ).encode()


def job(number: int) -> dict[str, Any]:
    """The arguments of a good job."""
    return {"account": "main", "to": f"+1415555{number:04d}", "message": f"{SECRET} {number}"}


def _pairs(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


def poison(first: int) -> list[Poison]:
    """Every message of the table, numbered from ``first``."""
    rows: list[Poison] = []

    def add(body: Any, task: Any = "vtsync.send_message", *, done: bool = False, **changes: Any) -> None:
        number = first + len(rows)
        headers = {"task": task, "id": f"poison-{number}"} | changes.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not LEFT_OUT}
        content = body(number) if callable(body) else body
        raw = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else None
        rows.append(Poison(number, done, headers, json.dumps(content).encode() if raw is None else raw, **changes))

    for name, value in _pairs(REFUSED_HEADERS):
        add(job, headers={name: value})
    for name, value in _pairs(DONE_HEADERS):
        add(job, headers={name: value}, done=True)
    for body in REFUSED_BODIES:
        add(body)
    for arguments in REFUSED_ARGUMENTS:
        add(lambda number, arguments=arguments: job(number) | arguments)
    for embed in [*REFUSED_EMBEDS, *DONE_EMBEDS]:
        add(lambda number, embed=embed: [[], job(number), embed], done=embed in DONE_EMBEDS)
    for kind in REFUSED_TYPES:
        add(job, content_type=kind)
    for encoding in REFUSED_ENCODINGS:
        add(job, content_encoding=encoding)
    for task, body in REFUSED_CALLS:
        add(body, task)
    add(job, headers={"id": LEFT_OUT})
    add(lambda number: job(number) | {"idempotency_key": f"key-{number}"}, headers={"id": LEFT_OUT}, done=True)
    add(job, content_type=None, content_encoding=None, done=True)
    add(job, content_type="Application/JSON; charset=UTF-8", content_encoding="UTF-8", done=True)
    add(lambda number: b"\xef\xbb\xbf" + json.dumps(job(number)).encode(), done=True)
    add(lambda number: {"args": [*job(number).values()]}, done=True)
    add(lambda number: {"task": "vtsync.send_message", "id": f"old-{number}", "args": [], "kwargs": job(number)},
        headers={"task": LEFT_OUT, "id": LEFT_OUT}, done=True)  # fmt: skip
    return rows
