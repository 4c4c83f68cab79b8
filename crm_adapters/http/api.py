"""``HttpApi``: requests to one CRM, with the errors of ``crm_adapters.base``."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

import requests

from crm_adapters.base import AdapterError, CredentialsRejected, Services, SourceInvalid, SourceUnavailable
from crm_adapters.clock import current_time
from crm_adapters.http.auth import Auth
from crm_adapters.http.exchange import Exchanges, LostReply, RawReply
from crm_adapters.http.reply import ApiReply
from crm_adapters.http.scrub import without_secrets
from crm_adapters.http.statuses import Asked, Failed, meaning, parse_json, unreadable, without_data

PAUSES = (0.5, 2.0)
"""The seconds before the first and the second repeat of a read."""
LONGEST_PAUSE = 10.0
"""If the CRM asks for a longer pause, the call ends and the engine waits."""
_MOST_REDIRECTS = 3

Parse: TypeAlias = Callable[[bytes], Any]
"""Turns a body into data; None if the body is empty. Raises ValueError for a body that it cannot read."""
Judge: TypeAlias = Callable[[ApiReply], AdapterError | None]
"""A vendor's own rules. Called for every response before the usual table, also for status 200."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """``connect`` and ``read`` are the longest silences, ``call`` is the limit of a call with its repeats, in seconds.

    Texts are written to the CRM in at most a minute; an adapter that needs two calls for it has 50 seconds for both.
    """

    connect: float = 10.0
    read: float = 30.0
    call: float = 50.0


FOR_TEXTS = TimeLimits(connect=5, read=12, call=15)
"""For an adapter that needs up to three calls to write a text."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: str
    shown: str
    reads: bool
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    json: Any = field(repr=False)
    data: Mapping[str, str] | bytes | None = field(repr=False)
    empty: Collection[int]
    record: str
    limit: str
    cost: int


class HttpApi:
    """Requests to one CRM. An adapter builds one in its constructor and closes it in ``close``.

    ``vendor`` is the CRM's name in messages. ``judge`` has the vendor's own rules: it gets every response and returns
    an AdapterError, or None to leave it to the usual table. If it returns CredentialsRejected, a credential that can
    be renewed is renewed once, and the call repeated. ``parse`` reads the bodies of an API without JSON, and
    what it returns is the ``data`` of the replies. ``headers`` are sent with each request.

    Credentials only go to the host of ``base_url``: redirects and addresses of other hosts are refused. No message
    contains a secret, a query, a body, a phone number or an email address.
    """

    def __init__(
        self,
        vendor: str,
        base_url: str,
        auth: Auth,
        services: Services,
        *,
        judge: Judge | None = None,
        parse: Parse = parse_json,
        headers: Mapping[str, str] | None = None,
        times: TimeLimits = TimeLimits(),
        max_bytes: int = 64 << 20,
    ) -> None:
        self.vendor = vendor
        self.base_url = base_url
        self._auth = auth
        self._services = services
        self._judge = judge
        self._parse = parse
        self._headers = {"Accept": "application/json", "User-Agent": "vtsync"} | dict(headers or {})
        self._times = times
        self._max_bytes = max_bytes
        self._exchanges = Exchanges(times.connect, times.read, max_bytes)
        self._quick: list[HttpApi] = []

    def __repr__(self) -> str:
        return f"HttpApi({self.vendor!r})"

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        empty: Collection[int] = (),
        record: str = "",
        limit: str = "",
        cost: int = 1,
    ) -> ApiReply:
        """Read. ``path`` is appended to ``base_url``, or a whole address on the same host, such as a link to a page.

        ``params`` that are None are left out. ``empty`` are the statuses that mean an empty page, such as 204, 304 or
        404. ``record`` is the external id if the request is about one record: then 404 and 410 are RecordGone.
        ``limit`` and ``cost`` are for ``Services.pace``. Raises AdapterError.
        """
        call = self._call("GET", path, params, headers=headers, empty=empty, record=record, limit=limit, cost=cost)
        return self._send(call)

    def search(
        self,
        path: str,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        empty: Collection[int] = (),
        record: str = "",
        limit: str = "",
        cost: int = 1,
    ) -> ApiReply:
        """Read by a request with a body: JSON, or bytes that are sent as they are.

        It may be repeated, so it must not write. See ``get``.
        """
        call = self._call(
            method, path, params, headers=headers, empty=empty, record=record, limit=limit, cost=cost, body=body
        )
        return self._send(call)

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        record: str = "",
        limit: str = "",
        cost: int = 1,
    ) -> ApiReply:
        """Write with a JSON body, or with ``form``. Never repeated, except after a refused token was renewed.

        If the response is lost, it is unknown if the CRM has done it: SourceUnavailable. The engine calls
        ``log_message`` again later, which then has to look for what it wrote. See ``get``.
        """
        call = self._call(
            method,
            path,
            params,
            headers=headers,
            record=record,
            limit=limit,
            cost=cost,
            body=body,
            form=form,
            reads=False,
        )
        return self._send(call)

    def next_link(self, reply: ApiReply, path: str = "") -> str | None:
        """Return the address of the next page, or None: from the ``Link`` header, or from ``path`` in the body.

        Parameters with the credential are removed, so the address can be stored in a cursor.
        """
        found = reply.at(path) if path else reply.link()
        if not isinstance(found, str) or not found.strip():
            return None
        link = urljoin(reply.url or self.base_url, found.strip())
        if _place(link).replace("http:", "https:", 1) == _place(self.base_url):
            link = link.replace("http:", "https:", 1)  # the CRM does not know that a proxy before it speaks TLS
        url = self._address(link)
        parts = urlsplit(url)
        secret = self._auth.signature().parameters
        query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in secret]
        return urlunsplit(parts._replace(query=urlencode(query))) if secret else url

    def for_texts(self) -> HttpApi:
        """Return the same API with short time limits: a text is written in less than a minute. Closed with this one."""
        quick = copy(self)
        quick._times = FOR_TEXTS
        quick._exchanges = Exchanges(FOR_TEXTS.connect, FOR_TEXTS.read, self._max_bytes)
        self._quick.append(quick)
        return quick

    def close(self) -> None:
        """Close the connections."""
        for one in (self, *self._quick):
            one._exchanges.close()

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        *,
        headers: Mapping[str, str] | None,
        record: str,
        limit: str,
        cost: int,
        empty: Collection[int] = (),
        body: Any = None,
        form: Mapping[str, str] | None = None,
        reads: bool = True,
    ) -> _Call:
        url = self._address(path)
        sent = {name: _parameter(value) for name, value in (params or {}).items() if value is not None}
        shown = f"{method} {urlsplit(url).path or '/'}"
        all_headers = self._headers | dict(headers or {})
        json, data = (None, body) if isinstance(body, bytes) else (body, form)
        return _Call(method, url, shown, reads, sent, all_headers, json, data, empty, record, limit, cost)

    def _address(self, path: str) -> str:
        if "://" not in path.partition("?")[0]:
            return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}" if path else self.base_url
        if _origin(path) != _origin(self.base_url):
            raise SourceInvalid(
                f"{self.vendor} refers to another address ({_place(path)}); nothing was sent there, because the"
                f" credential is for {_place(self.base_url)}. Correct the address in the options of this connection"
            )
        return path

    def _send(self, call: _Call) -> ApiReply:
        ends = time.monotonic() + self._times.call
        pauses = iter(PAUSES if call.reads else ())
        renewed = False
        while True:
            self._services.pace(call.limit, call.cost)
            outcome = self._attempt(call, ends)
            if isinstance(outcome, ApiReply):
                return outcome
            if outcome.renews and not renewed and self._auth.renew():
                renewed = True
                continue
            pause = next(pauses, None) if outcome.repeats else None
            if pause is None or outcome.wait > LONGEST_PAUSE:
                break
            pause = max(pause * random.uniform(0.75, 1.25), outcome.wait)
            if time.monotonic() + pause >= ends:
                break
            time.sleep(pause)
        raise outcome.error

    def _attempt(self, call: _Call, ends: float) -> ApiReply | Failed:
        """Send the request once, and follow redirects of reads on the same host."""
        signature = self._auth.signature()
        asked = Asked(
            self.vendor,
            without_secrets(call.shown, signature.secrets),
            call.record,
            self._auth.remedy,
            signature.secrets,
            current_time(),
        )
        url = call.url
        for _ in range(_MOST_REDIRECTS + 1):
            request = requests.Request(
                call.method,
                url,
                headers={**call.headers, **signature.headers},
                params={**call.params, **signature.parameters} if url == call.url else dict(signature.parameters),
                json=call.json,
                data=call.data,
            )
            raw = self._exchanges.send(request, max(ends - time.monotonic(), 0.1))
            if isinstance(raw, LostReply):
                return self._lost(raw, call, asked)
            if raw.status not in (301, 302, 303, 307, 308):
                return self._judged(raw, call, asked, url)
            target = urljoin(url, raw.headers.get("location", ""))
            if not call.reads or call.method != "GET" or _origin(target) != _origin(self.base_url) or target == url:
                break
            url = target
        return Failed(
            SourceInvalid(
                f"{self.vendor} redirects {asked.request} to {_place(target)}, which was not followed: the credential"
                f" is only for {_place(self.base_url)}. Put the right address into the options of this connection"
            )
        )

    def _judged(self, raw: RawReply, call: _Call, asked: Asked, url: str) -> ApiReply | Failed:
        data, is_readable = None, True
        try:
            data = self._parse(raw.body)
        except ValueError:
            is_readable = False
        is_empty = raw.status in call.empty
        reply = ApiReply(self.vendor, asked.request, raw.status, raw.headers, data, url, is_empty=is_empty)
        if self._judge is not None and (error := self._judge(reply)) is not None:
            return Failed(self._safe(error, asked), renews=isinstance(error, CredentialsRejected))
        if is_empty:
            return replace(reply, data=None)
        failed = meaning(raw, data, asked)
        if failed is None and not is_readable:
            failed = unreadable(asked, raw.body)
        if failed is None and call.reads and data is None:
            failed = without_data(asked, raw.status)
        return reply if failed is None else failed

    def _lost(self, lost: LostReply, call: _Call, asked: Asked) -> Failed:
        where = f"{self.vendor} at {_place(self.base_url)}"
        if lost.is_credential:
            return Failed(CredentialsRejected(f"{where}: {lost.reason}; {asked.remedy}"))
        effect = "the next run tries again"
        if not call.reads:
            effect = "it is unknown if this was done" if lost.is_sent else "nothing was written"
        text = f"{where}: {lost.reason} ({asked.request}); {effect}"
        if not lost.is_passing:
            text += ". If this stays, check the address in the options of this connection"
        return Failed(SourceUnavailable(text), repeats=lost.is_passing)

    def _safe(self, error: AdapterError, asked: Asked) -> AdapterError:
        """Remove secrets from the text of an adapter's own error: it may quote the response."""
        error.args = tuple(without_secrets(one, asked.secrets) if isinstance(one, str) else one for one in error.args)
        return error


def quoted(part: object) -> str:
    """Return one part of a path, such as an id, so that it cannot change the path."""
    return quote(str(part), safe="")


def _parameter(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        default = 443 if parts.scheme == "https" else 80
        return (parts.scheme, (parts.hostname or "").lower(), parts.port or default)
    except ValueError:
        return ("", "", None)


def _place(url: str) -> str:
    """Return the scheme and host of an address, for people."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "another address"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"
