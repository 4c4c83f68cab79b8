"""Checks this machine: file permissions, disk space, limits, and packages that are known to break vtsync."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from config.load import data_dir_of
from config.types import FromFile, in_folder
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.private_files import open_to_others

FREE_MINIMUM, FREE_LOW = 500e6, 2e9
OPEN_FILES_MINIMUM = 1024
CONTAINER_SECRETS = Path("/run/secrets")
"""Docker, Podman and Compose put the secrets of one container here, readable by each of its users."""

BAD_RELEASES = {
    "celery": (
        ("5.7.0",),
        "this release exits when Redis becomes unreachable during a job",
        'install "celery[redis]>=5.6.3,<5.7"',
    ),
}
BAD_PACKAGES = {
    "phonenumberslite": ("it overwrites parts of phonenumbers, so vtsync reads numbers wrongly", "phonenumbers"),
    "niquests": ("it replaces urllib3, and vtsync relies on the timeouts of the original", "urllib3"),
}


def check_files(config_file: Path) -> Iterator[Finding]:
    """Check who can read the secrets and change the configuration."""
    named = (Path.cwd() / ".env", config_file.parent / ".env", *_secret_files(config_file))
    secrets = [path for path in dict.fromkeys(named) if path.is_file()]
    yield from (judge_secret_file(path, path.stat().st_mode) for path in secrets)
    if config_file.is_file() and config_file.stat().st_mode & stat.S_IWOTH:
        yield problem(
            FindingCode.FILES_OPEN,
            "files",
            f"every user of this machine can write {config_file}",
            "whoever can write it decides who gets which text",
            f"chmod o-w {config_file}",
        )


def judge_secret_file(path: Path, mode: int) -> Finding:
    """Judge whether other users can read a secret. Pure."""
    if path.is_relative_to(CONTAINER_SECRETS):
        return ok("files", f"only this container can read {path}")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return problem(
            FindingCode.FILES_OPEN,
            "files",
            f"every user of this machine can read {path}",
            "it contains secrets; whoever reads them can text your customers",
            f"chmod 640 {path}, and set its group to the one that runs vtsync",
        )
    return ok("files", f"other users cannot read {path}")


def check_data_files(config_file: Path) -> Iterator[Finding]:
    """Check that only this user can use what is in ``data_dir``."""
    folder = data_dir_of(config_file)
    if folder.is_dir():
        yield judge_data_files(folder, open_to_others(folder))


def judge_data_files(folder: Path, found: Sequence[Path]) -> Finding:
    """Judge what other users of this machine may read or change, of ``folder`` and what is in it. Pure."""
    if not found:
        return ok("data files", f"only the owner of {folder} can use what is in it")
    level = problem if folder in found else warning  # a closed folder protects what is in it
    others = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return level(
        FindingCode.FILES_OPEN,
        "data files",
        f"other users of this machine can use {found[0]}{others}",
        "these files hold phone numbers, texts and jobs; whoever can write there can text your customers",
        f"chmod -R go= {folder}",
    )


def _secret_files(config_file: Path) -> Iterator[Path]:
    """Yield the files that ``{ file = "..." }`` names, even if the configuration has mistakes."""
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
    """Check that ``data_dir`` can be written and has free space."""
    folder = data_dir_of(config_file)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem(
            FindingCode.DATA_DIR_READ_ONLY,
            "disk",
            f"this user cannot write to {existing}",
            "the store, the queue and the liveness files of the processes are there",
            f"chown it to the user that runs vtsync, or set data_dir to another folder (now {folder})",
        )
        return
    yield judge_free_space(folder, shutil.disk_usage(existing).free)


def judge_free_space(folder: Path, free: float) -> Finding:
    """Judge whether ``free`` bytes are enough. Pure."""
    found = f"{format_size(free)} free for {folder}"
    if free < FREE_LOW:
        level = problem if free < FREE_MINIMUM else warning
        return level(
            FindingCode.DISK_FULL,
            "disk",
            found,
            "on a full disk vtsync can commit nothing, so it sends nothing",
            "free some space; `vtsync prune --dry-run` shows what the store could delete",
        )
    return ok("disk", found)


def check_limits() -> Iterator[Finding]:
    """Check how many files a process may open, and which user runs it."""
    yield judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if os.geteuid() == 0:
        yield warning(
            FindingCode.RUNS_AS_ROOT,
            "user",
            "vtsync runs as root",
            "a flaw in it could affect the whole machine, and other users cannot use the files that it creates",
            "run it as a separate user (docs/deploy has examples)",
        )


def judge_open_files(limit: int) -> Finding:
    """Judge the limit of open files. Pure."""
    if 0 <= limit < OPEN_FILES_MINIMUM:
        return warning(
            FindingCode.OPEN_FILES_LOW,
            "open files",
            f"a process may open only {limit} files and connections",
            "each request, store connection and queue needs one; work fails when none is left",
            f"ulimit -n {4 * OPEN_FILES_MINIMUM}, or LimitNOFILE={4 * OPEN_FILES_MINIMUM} in the systemd unit",
        )
    return ok("open files", f"a process may open {limit if limit >= 0 else 'any number of'} files and connections")


def check_packages() -> Iterator[Finding]:
    """Check for installed packages that are known to break vtsync."""
    installed = {(found.name or "").lower(): found.version for found in metadata.distributions()}
    bad = list(judge_packages(installed))
    if not bad:
        versions = ", ".join(f"{name} {installed.get(name, 'missing')}" for name in ("celery", "kombu", "redis"))
        bad = [ok("packages", versions)]
    yield from bad


def judge_packages(installed: Mapping[str, str]) -> Iterator[Finding]:
    """Find harmful packages among ``installed`` (name to version). Pure."""
    for name, (releases, why, do) in BAD_RELEASES.items():
        if installed.get(name) in releases:
            yield problem(FindingCode.PACKAGE_UNSUITABLE, "packages", f"{name} {installed[name]} is installed", why, do)
    for name, (why, original) in BAD_PACKAGES.items():
        if name in installed:
            repair = f"pip install --force-reinstall {original}"
            yield problem(
                FindingCode.PACKAGE_UNSUITABLE,
                "packages",
                f"{name} is installed in the same environment",
                why,
                f"pip uninstall {name}, then {repair}",
            )


def format_size(amount: float) -> str:
    """Format a number of bytes: ``1.5 GB``."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
