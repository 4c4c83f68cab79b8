"""A small Singer tap over a file of JSON lines, and what taps do wrong. It runs as a program of its own.

Its configuration: ``path`` (the records, each with ``id`` and ``changed``), ``does`` (what it does wrong, or "").
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "integer"]},
        "full_name": {"type": ["null", "string"]},
        "mobile": {"type": ["null", "string"]},
        "email": {"type": ["null", "string"]},
        "note": {"type": ["null", "string"], "title": "Notes"},
        "owner": {"type": ["null", "object"], "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}},
        "address": {"type": ["null", "object"], "properties": {"city": {"type": ["null", "string"]}}},
        "changed": {"type": ["null", "string"], "format": "date-time"},
        "is_deleted": {"type": ["null", "boolean"]},
    },
}
DEALS = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "title": {"type": "string"},
        "contact_id": {"type": ["null", "string"]},
        "changed": {"type": "string", "format": "date-time"},
    },
}


def stream(name: str, schema: dict, key: list) -> dict:
    root = {"breadcrumb": [], "metadata": {"table-key-properties": key, "inclusion": "available"}}
    return {"tap_stream_id": name, "stream": name, "schema": schema, "key_properties": key, "metadata": [root]}


def write(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def argument(flag: str) -> dict:
    if flag not in sys.argv:
        return {}
    with open(sys.argv[sys.argv.index(flag) + 1]) as file:  # noqa: PTH123
        return json.load(file)


def records(path: str, since: str) -> list:
    with open(path) as file:  # noqa: PTH123
        rows = [json.loads(line) for line in file if line.strip()]
    return sorted((row for row in rows if row.get("changed", "") >= since), key=lambda row: row.get("changed", ""))


def chosen(catalog: dict, name: str) -> set:
    for one in catalog.get("streams", []):
        if one["stream"] == name:
            return {
                entry["breadcrumb"][1]
                for entry in one["metadata"]
                if len(entry["breadcrumb"]) == 2 and entry["metadata"].get("selected")
            }
    return set()


def sync(config: dict, catalog: dict, state: dict) -> None:  # noqa: C901 - a list of mistakes
    does = config.get("does", "")
    since = state.get("bookmarks", {}).get("contacts", "")
    if does == "says nothing of its stream":
        return
    if does == "says":  # lines as they are; strings may hold surrogates for bytes
        sys.stdout.buffer.write("".join(f"{line}\n" for line in config["says"]).encode(errors="surrogateescape"))
    if does == "says" or does == "ends in an odd way":
        end_oddly(config)
        return
    if state and Path(config["path"] + ".expired").exists():
        sys.stderr.write("CRITICAL the bookmark is not valid any more\n")
        sys.exit(1)
    if does == "writes no state" or does == "writes an empty state first":
        since = ""
    if does == "writes an empty state first":
        write(type="STATE", value={})
    if does == "prints other things":
        sys.stdout.write('INFO starting\n\n[1, 2]\n{"type": "METRIC"}\n' + "x" * 100_000 + "\n")
    fields = chosen(catalog, "contacts")
    key = [] if does == "has no key" else ["id"]
    write(type="SCHEMA", stream="contacts", schema=SCHEMA, key_properties=key)
    for number, row in enumerate(records(config["path"], since)):
        if does == "fails after a state" and number == config.get("after", 3):
            sys.stderr.write(f"CRITICAL server error, token {config.get('token')}\n")
            sys.exit(1)
        if does == "fails at its credentials":
            sys.stderr.write("CRITICAL 401 Unauthorized for ann@example.com\n")
            sys.exit(1)
        if does == "falls silent" and number == 1:
            child = os.fork()  # taps start programs of their own
            if child:
                write_pids(config, [os.getpid(), child])
            time.sleep(600)
        if does == "writes a line without end" and number == 1:
            sys.stdout.write('{"type": "RECORD", "stream": "contacts", "record": {"id": "' + "x" * (9 << 20) + '"}}\n')
        if "broken" in row:
            write(type="RECORD", stream="contacts", record=row["broken"])
            continue
        write(
            type="RECORD",
            stream="contacts",
            record={name: value for name, value in row.items() if not fields or name in fields},
        )
        if does not in ("writes no state", "writes progress markers") and row.get("changed"):
            write(type="STATE", value={"bookmarks": {"contacts": row["changed"]}})
    if does == "writes progress markers":
        write(type="STATE", value={"bookmarks": {"contacts": {"progress_markers": {"at": "x"}}}})
    if config.get("deals"):
        write(type="SCHEMA", stream="deals", schema=DEALS, key_properties=["id"])
        for deal in records(config["deals"], ""):
            write(type="RECORD", stream="deals", record=deal)
    if does == "activates a version":
        write(type="ACTIVATE_VERSION", stream="contacts", version=7)


def end_oddly(config: dict) -> None:
    """Do what ``ends`` says, after the output."""
    ends = config.get("ends", "")
    sys.stdout.flush()
    if ends.startswith("signal "):
        os.kill(os.getpid(), int(ends.split()[1]))
    if ends == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.stdout.flush()
        write_pids(config, [os.getpid()])
        time.sleep(600)
    if ends == "closes its output":
        sys.stdout.flush()
        os.close(1)
        time.sleep(config.get("seconds", 0.3))
        os._exit(config.get("code", 0))
    if ends in ("leaves a child", "leaves a child of another session"):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            if ends.endswith("session"):
                os.setsid()
            time.sleep(20)
            os._exit(0)
        write_pids(config, [child])
    if ends == "talks much":
        for number in range(20_000):
            sys.stderr.write(f"INFO page {number} " + "x" * 200 + "\n")
        sys.stderr.write("y" * 3_000_000)
        sys.stderr.write("\nHTTPError: 503 Server Error\n" + "INFO closing\n" * 500)
        sys.exit(1)
    if ends == "changes its configuration":
        with open(sys.argv[sys.argv.index("--config") + 1], "a") as file:  # noqa: PTH123
            file.write(" ")
    if ends.startswith("fails: "):
        sys.stderr.write(ends.removeprefix("fails: ") + "\n")
        sys.exit(1)


def write_pids(config: dict, pids: list) -> None:
    with open(config["pids"], "w") as file:  # noqa: PTH123
        file.write(" ".join(map(str, pids)))


def main() -> None:
    config = argument("--config")
    if "--discover" in sys.argv:
        if config.get("does") == "cannot discover":
            sys.stdout.write("Usage: tap [--catalog]\n")
            return
        records(config["path"], "")
        key = [] if config.get("does") == "has no key" else ["id"]
        sys.stdout.write(json.dumps({"streams": [stream("contacts", SCHEMA, key), stream("deals", DEALS, ["id"])]}))
        return
    if config.get("does") == "keeps what it gets":
        with open(config["kept"], "w") as file:  # noqa: PTH123
            kept = {"catalog": argument("--catalog"), "environment": dict(os.environ), "folder": str(Path.cwd())}
            json.dump(kept, file)
    sync(config, argument("--catalog") or argument("--properties"), argument("--state"))


main()
