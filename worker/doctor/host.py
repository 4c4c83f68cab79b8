"""This machine: who can read the secrets, room on the disk, open files, packages that are known to do harm."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from config.load import data_dir_of
from config.types import FromFile, in_folder
from worker.doctor.findings import Finding, ok, problem, size, warning

LEAST_FREE, LITTLE_FREE = 500e6, 2e9
FEWEST_FILES = 1024

BAD_RELEASES = {
    "celery": (
        ("5.7.0",),
        "this release exits when Redis becomes unreachable while jobs run",
        'install "celery[redis]>=5.6.3,<5.7"',
    ),
}
BAD_PACKAGES = {
    "phonenumberslite": ("it overwrites parts of phonenumbers, and numbers are read wrongly", "phonenumbers"),
    "niquests": ("it puts another urllib3 in the place of ours, whose time-outs this relies on", "urllib3"),
}


def check_files(config_file: Path) -> Iterator[Finding]:
    """Who can read the secrets and change the configuration."""
    named = (Path.cwd() / ".env", config_file.parent / ".env", *_secret_files(config_file))
    secrets = [path for path in dict.fromkeys(named) if path.is_file()]
    yield from (judge_secret_file(path, path.stat().st_mode) for path in secrets)
    if config_file.is_file() and config_file.stat().st_mode & stat.S_IWOTH:
        yield problem(
            "files",
            f"{config_file} can be written by everybody on this machine",
            "who can write it decides who is texted what",
            f"chmod o-w {config_file}",
        )


def judge_secret_file(path: Path, mode: int) -> Finding:
    """Whether others can read it. Pure."""
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return problem(
            "files",
            f"{path} can be read by everybody on this machine",
            "it holds secrets: who reads them can text your customers",
            f"chmod 640 {path}, and give it the group that runs vtsync",
        )
    return ok("files", f"{path} is not readable for everybody")


def _secret_files(config_file: Path) -> Iterator[Path]:
    """The files that ``{ file = "..." }`` names, whatever else may be wrong with the configuration."""
    try:
        data = tomllib.loads(config_file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return
    tables: list[Any] = [data]
    while tables:
        table = tables.pop()
        if isinstance(table, Mapping):
            if set(table) == {"file"} and isinstance(table["file"], str):
                yield in_folder(table["file"], FromFile(config_file.parent))
            tables.extend(table.values())


def check_data_dir(config_file: Path) -> Iterator[Finding]:
    """Whether ``data_dir`` can be written to, and has room."""
    folder = data_dir_of(config_file)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem(
            "disk",
            f"{existing} cannot be written to by this user",
            "the store, the queue or the sign of life of each process is kept there",
            f"chown it to the user that runs vtsync, or name another folder: data_dir (now {folder})",
        )
        return
    yield judge_room(folder, shutil.disk_usage(existing).free)


def judge_room(folder: Path, free: float) -> Finding:
    """Whether ``free`` bytes are enough. Pure."""
    found = f"{size(free)} free for {folder}"
    if free < LITTLE_FREE:
        level = problem if free < LEAST_FREE else warning
        return level(
            "disk",
            found,
            "on a full disk nothing can be committed, so nothing is sent",
            "make room; `vtsync prune --dry-run` says what this store could forget",
        )
    return ok("disk", found)


def check_limits(config_file: Path) -> Iterator[Finding]:  # noqa: ARG001 - as the other checks of this machine
    """How many files and connections a process may have open, and as whom it runs."""
    yield judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if os.geteuid() == 0:
        yield warning(
            "user",
            "this runs as root",
            "a fault in it could reach the whole machine, and files that it makes are closed to other users",
            "run it as a user of its own (docs/deploy has examples)",
        )


def judge_open_files(limit: int) -> Finding:
    """Whether that many are enough. Pure."""
    if 0 <= limit < FEWEST_FILES:
        return warning(
            "open files",
            f"a process may have {limit} files and connections open",
            "each request, store connection and queue needs one; without any left, work fails",
            f"ulimit -n {4 * FEWEST_FILES}, or LimitNOFILE={4 * FEWEST_FILES} in the systemd unit",
        )
    return ok("open files", f"up to {limit if limit >= 0 else 'any number of'} files and connections a process")


def check_packages(config_file: Path) -> Iterator[Finding]:  # noqa: ARG001 - as the other checks of this machine
    """Packages that are known to break this."""
    installed = {(found.name or "").lower(): found.version for found in metadata.distributions()}
    bad = list(judge_packages(installed))
    if not bad:
        versions = ", ".join(f"{name} {installed.get(name, 'missing')}" for name in ("celery", "kombu", "redis"))
        bad = [ok("packages", versions)]
    yield from bad


def judge_packages(installed: Mapping[str, str]) -> Iterator[Finding]:
    """What of ``installed`` (name to version) does harm. Pure."""
    for name, (releases, why, do) in BAD_RELEASES.items():
        if installed.get(name) in releases:
            yield problem("packages", f"{name} {installed[name]} is installed", why, do)
    for name, (why, spoilt) in BAD_PACKAGES.items():
        if name in installed:
            repair = f"pip install --force-reinstall {spoilt}"
            yield problem("packages", f"{name} is installed beside us", why, f"pip uninstall {name}, then {repair}")
