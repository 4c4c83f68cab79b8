"""The command that encrypts, re-encrypts or decrypts what the store holds already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import FAILED, USAGE, Json, app, fail, open_store_runtime, say, show_json, table
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.core.content_cipher import ContentCipher


@app.command()
def encrypt(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the rows that would be rewritten.")] = False,
    vacuum: Annotated[
        bool,
        typer.Option(
            "--vacuum", help="Then rewrite the database's files, so that no old values remain in them. Stop the fleet."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Store all content as [store] says: encrypt it, encrypt it with a new first key, or decrypt it.

    The fleet may run meanwhile. An interrupted run is continued by the same command.
    """
    from worker.core.content_cipher import ContentUnreadable
    from worker.store import content
    from worker.store.db import reading
    from worker.store.sealed import cipher_of

    runtime = open_store_runtime()
    cipher = cipher_of(runtime.engine.dialect)
    if cipher is None:
        fail(
            "the configuration has no key, so nothing is encrypted; set"
            ' store.encryption_key = { env = "VTSYNC_STORE_KEY" } to a key that `openssl rand -base64 32` makes'
            " (docs/operations.md, Encryption of content)",
            USAGE,
        )
    rewritten: dict[str, int] = {}
    try:
        if not dry_run:
            with reading(runtime.engine) as connection:
                total = sum(one.rows for one in content.count_outdated(connection))
            with progress("rewriting rows") as report:
                for one in content.rewrite_content(runtime.engine):
                    rewritten[one.table] = max(rewritten.get(one.table, 0), one.rows)
                    report(sum(rewritten.values()), total)
        if vacuum and not dry_run:
            content.vacuum(runtime.engine)
        with reading(runtime.engine) as connection:
            left = content.count_outdated(connection)
    except ContentUnreadable as error:
        fail(f"{error}; the rows before it are done, the others are unchanged", FAILED)
    wanted = f"with the key {cipher.key_id}" if cipher.seals else "in clear"
    if json:
        show_json({"key": cipher.key_id if cipher.seals else None, "rewritten": rewritten, "left": left})
    elif dry_run:
        table(["Table", "#Would be rewritten"], ((one.table, f"{one.rows:,}") for one in left))
        say("" if left else f"All content is stored {wanted}.")
    else:
        table(["Table", "#Rewritten"], ((name, f"{rows:,}") for name, rows in rewritten.items()))
        if left:
            rows = counted(sum(one.rows for one in left), "row")
            fail(
                f"{rows} are not stored {wanted}: a process writes them in another way. Give every process the same"
                " store.encryption_key and store.encrypt, restart it, and run `vtsync encrypt` again",
                FAILED,
            )
        say(f"All content is stored {wanted}.{_other_keys(cipher)}")
    if left and not dry_run:
        raise typer.Exit(FAILED)


def _other_keys(cipher: ContentCipher) -> str:
    if not cipher.seals:
        return " You can remove store.encryption_key."
    others = cipher.key_ids[1:]
    return (
        f" You can remove {' and '.join(f'the key {one}' for one in others)} from the configuration." if others else ""
    )
