"""Looks at one response of an unknown API and says how to read it: its list, ids, pages, times and fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from config.fields import FieldMapping
from crm_adapters.base import CrmField
from crm_adapters.fields import find_columns, find_id, fold
from crm_adapters.http import ApiReply, flatten, moment_of
from crm_adapters.policy_columns import PolicyColumn, policy_column
from crm_adapters.rest.fields import SAMPLES, type_of
from crm_adapters.rest.options import TIME_FORMATS
from crm_adapters.rest.signs import PagingSigns, paging_signs

_DEEPEST = 3
_SIZES = frozenset("limit perpage pagesize size count maxresults take top results rows maxsize".split())
_OFFSETS = frozenset("offset start skip startat from".split())
_PAGES = frozenset("page pagenumber pageno pageindex p".split())
_CHANGED = re.compile(r"updat|modif|chang|lastedit|touched")
_SINCE = re.compile(r"since|after|updat|modif|chang")
_PHONE = re.compile(r"\+?[\d\s()./-]{7,20}")
_PHONE_NAME = re.compile(r"phone|mobil|cell|telef|handy|sms")
_TOKEN_PARAMETERS = {
    "nextpagetoken": "page_token",
    "nexttoken": "token",
    "nextcursor": "cursor",
    "nextpagecursor": "cursor",
    "after": "after",
    "endcursor": "starting_after",
}


class UnsuitableResponse(ValueError):
    """The response has no records that the adapter could read. The text says why, and what to try."""


@dataclass
class Understood:
    """What a response shows. ``doubts`` are the guesses that a person must compare with the API's manual.

    ``paging`` and ``since`` are tables as they are written in the options; ``since`` is None if its parameter is not
    known. ``columns`` are the fields for the phone, name and email that have no usual name.
    """

    url: str
    path: str
    params: dict[str, str]
    records: str
    id: str
    count: int
    fields: list[CrmField]
    paging: dict[str, Any]
    page_size: int | None = None
    changed: str = ""
    changed_format: str = "iso"
    since: dict[str, Any] | None = None
    deleted: str = ""
    omits: tuple[str, ...] = ()
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def understand(reply: ApiReply, asked: str) -> Understood:
    """Return what a response to the address ``asked`` shows. Raises UnsuitableResponse."""
    records, items = _the_list(reply)
    properties = [flatten(item) for item in items]
    names = tuple(dict.fromkeys(name for record in properties for name in record))
    parts = urlsplit(asked)
    folder, _, last = parts.path.rstrip("/").rpartition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    found = Understood(
        f"{parts.scheme}://{parts.netloc}{folder}",
        last,
        query,
        records,
        _id_of(items, names),
        len(items),
        [_field(name, properties) for name in names],
        {"kind": "none"},
    )
    found.omits = tuple(name for name in names if any(name.partition(".")[0] not in item for item in items))
    _find_size(found)
    _find_paging(found, reply)
    _find_changes(found, properties)
    _find_roles(found, properties, names)
    marks = [one.name for one in found.fields if policy_column(one) is PolicyColumn.DELETED]
    found.deleted = next(iter(marks), "")
    return found


def _the_list(reply: ApiReply) -> tuple[str, list[Mapping[str, Any]]]:
    """Return the path of the longest list of objects, and its entries."""
    lists = {path: items for path, items in _lists(reply.data, "", 1) if path != "errors"}
    objects = {path: [one for one in items if isinstance(one, Mapping)] for path, items in lists.items()}
    path = max(objects, key=lambda one: (len(objects[one]), -one.count(".")), default=None)
    if path is not None and objects[path]:
        return path, objects[path]
    data = reply.data
    if isinstance(data, Mapping) and data.get("errors"):
        raise UnsuitableResponse(
            "The response has errors and no records. If this is a GraphQL API, it needs an adapter of its own: see"
            " docs/writing-adapters.md"
        )
    if any(lists.values()):
        raise UnsuitableResponse(
            "The response lists single values, not records. Use the address that returns the records themselves"
        )
    if lists:
        raise UnsuitableResponse(
            f'The list at "{next(iter(lists))}" is empty, so nothing can be learned from it. Try it with an account'
            " that has some records, or with other parameters"
        )
    if isinstance(data, Mapping):
        names = ", ".join(map(str, list(data)[:8])) or "no fields"
        raise UnsuitableResponse(
            f"The response has no list of records: it has {names}. It may be a single record or an overview. Use the"
            " address that lists contacts"
        )
    raise UnsuitableResponse(
        "The response is a single value, not a list of records. Use the address that lists contacts"
    )


def _lists(data: Any, path: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(data, list):
        yield path, data
    elif isinstance(data, Mapping) and depth <= _DEEPEST:
        for key, value in data.items():
            yield from _lists(value, f"{path}.{key}" if path else str(key), depth + 1)


def _id_of(items: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return the field that identifies each record. Raises UnsuitableResponse."""
    wanted = find_id(tuple(names))
    endings = [name for name in names if fold(name).endswith(("id", "key", "uuid"))]
    for name in dict.fromkeys([*(["id"] if "id" in names else []), *([wanted] if wanted else []), *endings]):
        values = [flatten(item).get(name) for item in items]
        filled = all(isinstance(value, str | int) and not isinstance(value, bool) and value != "" for value in values)
        if filled and len(set(values)) == len(values):
            return name
    raise UnsuitableResponse(
        f"The records have no field that identifies each of them (there are {', '.join(names[:8])}). Without an id that"
        " never changes, records cannot be kept apart; ask the vendor for one, or use an export with the csv adapter"
    )


def _field(name: str, records: Sequence[Mapping[str, Any]]) -> CrmField:
    values = [record[name] for record in records if record.get(name) not in (None, "")]
    return CrmField(name, type=type_of(values), values=tuple(dict.fromkeys(str(one)[:60] for one in values))[:SAMPLES])


def _find_size(found: Understood) -> None:
    name = next((one for one in found.params if fold(one) in _SIZES and found.params[one].isdecimal()), None)
    if name is not None:
        found.page_size = int(found.params.pop(name))
        found.paging["size"] = name


def _find_paging(found: Understood, reply: ApiReply) -> None:
    signs, size = paging_signs(reply), {"size": found.paging["size"]} if "size" in found.paging else {}
    paging, doubt = _paging_of(signs, reply, found)
    found.paging = paging | (size if paging["kind"] != "none" else {})
    if doubt:
        found.doubts.append(doubt)
    if paging["kind"] != "none" and not size:
        found.doubts.append("paging.size: the parameter with the number of records of a page, often limit or per_page")


def _paging_of(signs: PagingSigns, reply: ApiReply, found: Understood) -> tuple[dict[str, Any], str]:
    number = _take(found.params, _PAGES)
    offset = _take(found.params, _OFFSETS)
    more = next(iter(signs.flags), "")
    flag = {"more": more} if more else {}
    if signs.link:
        return {"kind": "link"}, ""
    for path, token in signs.tokens.items():
        if isinstance(token, str) and re.match(r"https?://|/", token):
            return {"kind": "link", "next": path}, ""
        if isinstance(token, int) and fold(path).endswith("page"):
            return {"kind": "page", "parameter": number or "page"} | flag, "" if number else _guess("page", "page")
        last = fold(path.rpartition(".")[2])
        parameter = next((one for one in found.params if "cursor" in fold(one) or "token" in fold(one)), "")
        found.params.pop(parameter, None)
        guess = _TOKEN_PARAMETERS.get(last, "cursor")
        return (
            {"kind": "cursor", "parameter": parameter or guess, "next": path} | flag,
            "" if parameter else _guess("paging.parameter", guess),
        )
    if number or signs.pages:
        last_page = {"last": next(iter(signs.pages))} if signs.pages else {}
        return {"kind": "page", "parameter": number or "page"} | last_page | flag, "" if number else _guess(
            "page", "page"
        )
    total = next(iter(signs.totals), "")
    if offset or (total and signs.totals[total] > found.count) or any(signs.flags.values()):
        told = {"total": total} if total else {}
        return {"kind": "offset", "parameter": offset or "offset"} | told | flag, (
            "" if offset else _guess("paging.parameter", "offset") + ". It may also be a page number or a token"
        )
    if total or reply.data == [] or found.count < 10:
        return {"kind": "none"}, ""
    return {"kind": "none"}, (
        f"paging: nothing shows that there is more than these {found.count} records; look it up, because a list without"
        " its further pages makes the other records count as deleted"
    )


def _take(params: dict[str, str], names: frozenset[str]) -> str:
    name = next((one for one in params if fold(one) in names and params[one].isdecimal()), "")
    params.pop(name, None)
    return name


def _guess(option: str, value: str) -> str:
    return f'{option}: "{value}" is a guess'


def _find_changes(found: Understood, records: Sequence[Mapping[str, Any]]) -> None:
    times = [one.name for one in found.fields if _is_time(one.name, records)]
    found.changed = next((name for name in times if _CHANGED.search(fold(name))), "")
    value = next((record[found.changed] for record in records if record.get(found.changed)), None)
    if isinstance(value, int | float):
        found.changed_format = TIME_FORMATS[2] if value > 100_000_000_000 else TIME_FORMATS[1]
    asked = next((one for one in found.params if _SINCE.search(fold(one)) and moment_of(found.params[one])), "")
    if asked and found.changed:
        given = found.params.pop(asked)
        form = "iso" if "-" in given else "epoch_ms" if len(given) > 11 else "epoch"
        found.since = {"parameter": asked, "field": found.changed} | ({} if form == "iso" else {"format": form})


def _is_time(name: str, records: Sequence[Mapping[str, Any]]) -> bool:
    values = [record[name] for record in records if record.get(name) not in (None, "", 0)]
    is_number = all(
        isinstance(value, int | float) and not isinstance(value, bool) and value > 10**8 for value in values
    )
    is_text = all(isinstance(value, str) and "-" in value for value in values)
    return bool(values) and (is_number or is_text) and all(moment_of(value) is not None for value in values)


def _find_roles(found: Understood, records: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> None:
    """Find the fields for the phone, name and email: by usual names, else by parts of names and by values."""
    usual = find_columns(names, FieldMapping())
    full = usual.full_name or usual.name_parts or usual.bare_name
    found.roles = {"phone": usual.phones, "full_name": full, "email": usual.emails}
    guessed = {
        "phone": [name for name in names if _holds_phones(name, records)],
        "full_name": _names_within(names),
        "email": [name for name in names if _holds(name, records, "@")],
    }
    for role, columns in guessed.items():
        if not found.roles[role] and columns:
            found.columns[role] = tuple(columns[:3])
        elif not found.roles[role]:
            found.doubts.append(f"fields.{role}: no field was recognised; name it under [connections.crm.fields]")


def _holds_phones(name: str, records: Sequence[Mapping[str, Any]]) -> bool:
    values = [str(record[name]).partition(";")[0] for record in records if record.get(name) not in (None, "")]
    return bool(values) and bool(_PHONE_NAME.search(fold(name))) and all(map(_PHONE.fullmatch, values))


def _holds(name: str, records: Sequence[Mapping[str, Any]], mark: str) -> bool:
    values = [record[name] for record in records if record.get(name) not in (None, "")]
    return bool(values) and all(isinstance(value, str) and mark in value and " " not in value for value in values)


def _names_within(names: Sequence[str]) -> list[str]:
    """Return fields such as ``name.first`` and ``name.last``: read backwards, they are usual names."""
    backwards = {" ".join(reversed(name.split(".")[-2:])): name for name in names if "." in name}
    columns = find_columns(tuple(backwards), FieldMapping())
    return [backwards[one] for one in columns.name_parts or columns.full_name]
