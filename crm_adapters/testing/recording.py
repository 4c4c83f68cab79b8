"""Records what an adapter and its CRM say to each other, and replays it in tests, without the CRM and a credential.

Record once, by hand, with an account that holds a few made-up people:

    record_adapter(lambda: AcmeAdapter(options, FieldMapping()), Path("tests/acme.json"))

Replay in a test. The options may hold any token:

    def test_acme_as_recorded():
        replay_adapter(lambda: AcmeAdapter(options, FieldMapping()), Path("tests/acme.json"))

The file is tagged with the adapter's ``api_version``. The test fails if the adapter now calls another version, makes a
request that was not recorded or no longer makes a recorded one, or reads something else from the same responses.

Secrets, phone numbers, email addresses, names and addresses are replaced before the file is written, hosts too.
**Look through the file before you publish it**: free text may hold more.
"""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from pydantic import BaseModel, SecretStr
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from config.redact import is_secret_name
from crm_adapters.base import Adapter, ContactChange, Cursor, ListsIds, Page
from crm_adapters.testing.scrubbing import SUBSTITUTE, PersonalData, Scrubber

Make: TypeAlias = Callable[[], Adapter]
Steps: TypeAlias = Callable[[Adapter], Any]
Json: TypeAlias = dict[str, Any]

FORMAT = 1
PAGES = 3
"""How many pages a recording has of each pull."""

_HOST = "https://recorded-{}.test"
_KEPT_HEADERS = re.compile(
    r"content-type|link|date|location|retry-after|etag|last-modified|.*(?:limit|page|total|count|next|cursor|version).*"
)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?|(?<!\d)[12]\d{9}(?:\d{3})?(?!\d)"
)
_NEAR = timedelta(days=1)


class UnrecordedRequest(AssertionError):
    """The adapter makes a request that is not in the recording. The text names the most similar one."""


def read_steps(adapter: Adapter, pages: int = PAGES) -> Json:
    """Use an adapter as the engine does: check, describe, the first pages of a listing, and those after its cursor."""
    report, fields = adapter.check(), adapter.describe()
    listing, cursor = _some(adapter.pull(None), pages)
    following, _cursor = _some(adapter.pull(cursor), pages)
    ids = sorted(one for part in adapter.live_ids() for one in part) if isinstance(adapter, ListsIds) else None
    result = {
        "check": report.summary,
        "fields": [asdict(one) for one in fields],
        "listing": listing,
        "then": following,
        "live_ids": ids,
    }
    return dict(json.loads(json.dumps(result, default=str)))


def record_adapter(
    make: Make,
    path: Path,
    *,
    steps: Steps = read_steps,
    private: tuple[str, ...] = (),
    replace: Mapping[str, str] | None = None,
) -> None:
    """Use a real CRM and write the recording to ``path``.

    ``steps`` uses the adapter and returns JSON; a recording of writes needs its own. ``private`` are further fields
    that are personal. ``replace`` is text to replace, such as the name of your company. The recording is replayed
    before it is written, so a file that exists works.
    """
    data = PersonalData()
    taken: list[_Exchange] = []
    adapter = make()
    secrets = set(_secrets(adapter))
    try:
        with _intercepted(_recorder(taken)):
            steps(_watched(adapter, data))
    finally:
        adapter.close()
    assert taken, "the adapter made no request with the library requests, so there is nothing to record"
    scrubber = Scrubber(data, secrets, private, replace)
    recording = {
        "format": FORMAT,
        "adapter": type(adapter).name,
        "api_version": _api_version(adapter),
        "recorded_at": datetime.now(UTC).isoformat(),
        "exchanges": [one.scrubbed(scrubber) for one in _with_hosts(taken)],
    }
    results = _replayed(make, recording, steps, replace)
    text = json.dumps({**recording, "results": results}, indent=1, ensure_ascii=False) + "\n"
    for secret in secrets:
        assert len(secret) < 4 or secret not in text, "a secret is left in the recording, so it was not written"
    path.write_text(text, encoding="utf-8")


def replay_adapter(make: Make, path: Path, *, steps: Steps = read_steps, update: bool = False) -> None:
    """Use an adapter with recorded responses, and fail if it does or reads anything else than when it was recorded.

    ``update``: the adapter reads the same responses in another way on purpose; store what it reads now.
    """
    recording = json.loads(path.read_text(encoding="utf-8"))
    assert recording["format"] == FORMAT, f"{path} has another format; record it again"
    results = _replayed(make, recording, steps)
    if update:
        text = json.dumps({**recording, "results": results}, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
        return
    before, now = _lines(recording["results"]), _lines(results)
    if before != now:
        difference = "\n".join(islice(difflib.unified_diff(before, now, "recorded", "now", lineterm="", n=2), 40))
        raise AssertionError(f"the adapter reads something else from the same responses:\n{difference}")


@dataclass
class _Exchange:
    method: str
    url: str
    body: Any
    status: int
    headers: dict[str, str]
    data: Any
    text: str | None

    def scrubbed(self, scrubber: Scrubber) -> Json:
        parts = urlsplit(self.url)
        request: Json = {
            "method": self.method,
            "url": scrubber.url(parts._replace(query="").geturl()),
            "query": scrubber.pairs(parse_qsl(parts.query, keep_blank_values=True)),
            "body": scrubber.value(self.body),
        }
        response: Json = {
            "status": self.status,
            "headers": {name: scrubber.header(value) for name, value in self.headers.items()},
        }
        response |= {"json": scrubber.value(self.data)} if self.text is None else {"text": scrubber.text(self.text)}
        return {"request": request, "response": response}


class _Replay:
    """Answers requests from a recording, each exchange once and in its order."""

    def __init__(self, recording: Json, replace: Mapping[str, str] | None) -> None:
        self.left: list[Json] = list(recording["exchanges"])
        self._replace = replace or {}
        self._all = list(self.left)
        self._recorded_at = datetime.fromisoformat(recording["recorded_at"])
        self._hosts: dict[str, str] = {}
        self.failure: UnrecordedRequest | None = None

    def __call__(self, _adapter: HTTPAdapter, request: requests.PreparedRequest, **_settings: Any) -> requests.Response:
        actual = _in_text(_request_of(request), self._replace)
        for index, exchange in enumerate(self.left):
            if self._matches(actual, exchange["request"]):
                del self.left[index]
                return self._response(request, exchange)
        self.failure = UnrecordedRequest(self._explained(actual))
        raise self.failure

    def _matches(self, actual: Json, recorded: Json) -> bool:
        here, there = urlsplit(actual["url"]), urlsplit(recorded["url"])
        bound = self._hosts.get(f"{there.scheme}://{there.netloc}", f"{here.scheme}://{here.netloc}")
        return (
            actual["method"] == recorded["method"]
            and bound == f"{here.scheme}://{here.netloc}"
            and self._same(unquote(here.path), unquote(there.path))
            and self._same(sorted(map(list, actual["query"])), sorted(map(list, recorded["query"])))
            and self._same(actual["body"], recorded["body"])
        )

    def _same(self, actual: Any, recorded: Any, name: str = "") -> bool:
        if isinstance(actual, Mapping) and isinstance(recorded, Mapping):
            return actual.keys() == recorded.keys() and all(
                self._same(value, recorded[key], key) for key, value in actual.items()
            )
        if isinstance(actual, list) and isinstance(recorded, list):
            is_pair = len(actual) == 2 and all(isinstance(one, str) for one in (actual[0], recorded[0]))
            names = ["", str(actual[0])] if is_pair else [""] * len(actual)
            return len(actual) == len(recorded) and all(map(self._same, actual, recorded, names))
        if actual == recorded:
            return True
        if type(actual) is not type(recorded):
            return False
        if isinstance(actual, str) and (is_secret_name(name) or _is_substituted(actual, recorded)):
            return True
        return self._same_text(str(actual), str(recorded))

    def _same_text(self, actual: str, recorded: str) -> bool:
        """Return True if the texts differ only in times that are close to now, and to the time of the recording."""
        if _TIME.sub("", actual) != _TIME.sub("", recorded):
            return False
        now = datetime.now(UTC)
        return all(
            one == other or (_is_near(one, now) and _is_near(other, self._recorded_at))
            for one, other in zip(_TIME.findall(actual), _TIME.findall(recorded), strict=True)
        )

    def _response(self, request: requests.PreparedRequest, exchange: Json) -> requests.Response:
        here, there = urlsplit(request.url or ""), urlsplit(exchange["request"]["url"])
        self._hosts.setdefault(f"{there.scheme}://{there.netloc}", f"{here.scheme}://{here.netloc}")
        answer = exchange["response"]
        response = requests.Response()
        response.status_code = answer["status"]
        response.headers = CaseInsensitiveDict({name: self._local(value) for name, value in answer["headers"].items()})
        body = answer["text"] if "text" in answer else "" if answer["json"] is None else json.dumps(answer["json"])
        content: Any = self._local(body).encode()
        response._content = content
        response._content_consumed = True  # type: ignore[attr-defined]
        response.request = request
        response.url = request.url or ""
        return response

    def _local(self, text: str) -> str:
        """Put the hosts that the adapter calls now in place of the recorded ones."""
        for recorded, actual in self._hosts.items():
            text = text.replace(recorded, actual)
        return text

    def _explained(self, actual: Json) -> str:
        line = _line(actual)
        used = [_line(one["request"]) for one in self._all if one not in self.left]
        left = [_line(one["request"]) for one in self.left]
        near = difflib.get_close_matches(line, left, n=1, cutoff=0.0)
        again = " It was recorded, and has been made already." if line in used else ""
        nearest = f" The most similar recorded one that is left: {near[0]}" if near else " No recorded request is left."
        return f"the adapter makes a request that was not recorded: {line}.{again}{nearest}"


def _replayed(make: Make, recording: Json, steps: Steps, replace: Mapping[str, str] | None = None) -> Any:
    """``replace`` is for the adapter that was just recorded: it still sends what was replaced."""
    adapter = make()
    try:
        kind, version = type(adapter).name, _api_version(adapter)
        assert kind == recording["adapter"], (
            f'the recording is of the adapter "{recording["adapter"]}", not of "{kind}"'
        )
        assert version == recording["api_version"], (
            f"the recording is of version {recording['api_version']} of the API, and the adapter calls {version}:"
            " record it again"
        )
        replay = _Replay(recording, replace)
        with _intercepted(replay):
            try:
                results = steps(adapter)
            except Exception as error:
                # An adapter may turn the failure into an error of its own.
                if replay.failure is not None and error is not replay.failure:
                    raise replay.failure from error
                raise
        if replay.failure is not None:
            raise replay.failure
        left = [_line(one["request"]) for one in replay.left]
        assert not left, f"the adapter no longer makes {len(left)} recorded requests, such as {left[0]}"
        return json.loads(json.dumps(results, default=str))
    finally:
        adapter.close()


@contextmanager
def _intercepted(send: Callable[..., requests.Response]) -> Iterator[None]:
    """Let ``send`` answer every request of the library requests."""

    def answer(adapter: HTTPAdapter, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        return send(adapter, request, **settings)

    with patch.object(HTTPAdapter, "send", answer):
        yield


def _recorder(taken: list[_Exchange]) -> Callable[..., requests.Response]:
    usual = HTTPAdapter.send

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        response = usual(adapter, request, **settings)
        content = response.content  # read whole; the adapter reads it again from memory
        asked = _request_of(request)
        headers = {name.lower(): value for name, value in response.headers.items()}
        kept = {name: value for name, value in headers.items() if _KEPT_HEADERS.fullmatch(name)}
        try:
            data, text = (json.loads(content) if content.strip() else None), None
        except ValueError:
            data, text = None, content.decode("utf-8", "replace")
        url = request.url or ""
        taken.append(_Exchange(asked["method"], url, asked["body"], response.status_code, kept, data, text))
        return response

    return send


def _with_hosts(taken: list[_Exchange]) -> Iterator[_Exchange]:
    """Replace each host that was called by one that does not exist, in addresses and in responses."""
    origins = dict.fromkeys(f"{parts.scheme}://{parts.netloc}" for one in taken if (parts := urlsplit(one.url)))
    hosts = {origin: _HOST.format(number) for number, origin in enumerate(origins, 1)}

    for one in taken:
        changed = _in_text([one.url, one.body, one.headers, one.data, one.text], hosts)
        yield _Exchange(one.method, changed[0], changed[1], one.status, *changed[2:])


def _in_text(value: Any, replace: Mapping[str, str]) -> Any:
    """Replace texts wherever they are in JSON."""
    text = json.dumps(value)
    for old, new in replace.items():
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    return json.loads(text)


def _request_of(request: requests.PreparedRequest) -> Json:
    """Return what counts of a request: not its headers, which hold the credential."""
    parts = urlsplit(request.url or "")
    body = request.body.decode("utf-8", "replace") if isinstance(request.body, bytes) else request.body
    sent: Any = body
    if isinstance(body, str):
        if "urlencoded" in str(request.headers.get("Content-Type", "")):
            sent = dict(parse_qsl(body, keep_blank_values=True))
        else:
            try:
                sent = json.loads(body)
            except ValueError:
                sent = body
    url = parts._replace(query="", fragment="").geturl()
    query = parse_qsl(parts.query, keep_blank_values=True)
    return {"method": request.method or "", "url": url, "query": query, "body": sent}


def _watched(adapter: Adapter, data: PersonalData) -> Adapter:
    """Let ``data`` learn from each record that the adapter reads."""
    pull = adapter.pull

    def learning(cursor: Cursor | None) -> Iterator[Page]:
        for page in pull(cursor):
            for change in page.changes:
                if isinstance(change, ContactChange):
                    data.learn(adapter, change)
            yield page

    adapter.pull = learning  # type: ignore[method-assign]
    return adapter


def _some(pages: Iterator[Page], count: int) -> tuple[list[Any], Cursor | None]:
    changes: list[Any] = []
    cursor: Cursor | None = None
    for page in islice(pages, count):
        changes += [one._asdict() if isinstance(one, ContactChange) else asdict(one) for one in page.changes]
        cursor = page.cursor
    return changes, cursor


def _secrets(adapter: Adapter) -> Iterator[str]:
    """Yield the secrets in an adapter's options and in its grant."""
    options = adapter.options
    values = options.model_dump() if isinstance(options, BaseModel) else dict(vars(options))
    left: list[tuple[str, Any]] = list(values.items())
    grant = adapter.services.grant.current() if adapter.services.grant is not None else None
    left += [(f"secret {name}", value) for name, value in (grant or {}).items() if name.endswith("token")]
    while left:
        name, value = left.pop()
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, Mapping):
            left += [(str(key), item) for key, item in value.items()]
        elif isinstance(value, str) and is_secret_name(name):
            yield value


def _api_version(adapter: Adapter) -> str | None:
    version = type(adapter).api_version
    return None if version is None else version.name


def _is_substituted(actual: str, recorded: str) -> bool:
    """Return True if the recorded text has substitutes of the scrubber, and is the same around them."""
    parts = SUBSTITUTE.split(recorded)
    return len(parts) > 1 and re.fullmatch(".+?".join(map(re.escape, parts)), actual, re.DOTALL) is not None


def _is_near(text: str, moment: datetime) -> bool:
    try:
        if text.isdecimal():
            at = datetime.fromtimestamp(int(text) / (1000 if len(text) > 10 else 1), UTC)
        else:
            at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return False
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return abs(at - moment) <= _NEAR


def _line(request: Json) -> str:
    query = "&".join(f"{name}={value}" for name, value in request["query"])
    body = "" if request["body"] is None else f" {json.dumps(request['body'], ensure_ascii=False)}"
    path = urlsplit(request["url"]).path
    return f"{request['method']} {path}{'?' if query else ''}{query}{body}"[:500]


def _lines(results: Any) -> list[str]:
    return json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
