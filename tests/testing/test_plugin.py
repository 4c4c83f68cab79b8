"""The fixture in the tests of another service, and the examples of docs/enqueue.md, in one session of pytest."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from config.load import load
from tests.testing import documented
from tests.testing.documented import BLOCKS, CALLBACK_ORIGIN, NOT_RUN, ROOT, RUN, block
from worker.testing.settings import TOKEN, BadSettings, read_settings, sandbox_accounts, write_settings

pytest_plugins = ["pytester"]


@pytest.fixture
def alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of another service, whose pytest has no plugin but ours."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "vtsync_testing")
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path}:{ROOT}")
    for name in [name for name in os.environ if name.startswith("VTSYNC_")]:
        monkeypatch.delenv(name)
    return pytester


def test_a_service_s_tests_and_every_example(alone: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("CALLBACK_ORIGIN", receiver)
    settings = block("python", "# conftest.py")
    assert CALLBACK_ORIGIN in settings
    alone.makepyfile(
        shop=block("python", "# shop.py"),
        test_shop=block("python", "# test_shop.py"),
        conftest=settings.replace(CALLBACK_ORIGIN, receiver),
        worker="OURS = False",
        config="OURS = False",
        documented=Path(documented.__file__)
        .read_text("utf-8")
        .replace("Path(__file__).parents[2]", f"Path({str(ROOT)!r})"),
        test_service=(ROOT / "tests" / "testing" / "services.py").read_text("utf-8"),
    )
    result = alone.runpytest_subprocess("-q", "-rA", "--no-fold-skipped", "--durations=9", "-p", "no:cacheprovider")
    assert result.ret == 0, result.stdout.str()
    lines = [line for line in result.outlines if line.startswith(("PASSED", "SKIPPED"))]
    for program in ("node", "php", "curl"):
        wanted = "SKIPPED" if shutil.which(program) is None else "PASSED"
        ran = [line.split()[0] for line in lines if f"in_{program}" in line]
        assert ran == [wanted] * 4, (program, lines)


def test_each_example_is_run_or_says_why_not() -> None:
    known = [*RUN, *NOT_RUN]
    assert [
        code for language, code in BLOCKS if not any(language == name and words in code for name, words in known)
    ] == []
    for language, words in known:
        assert block(language, words)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("data_dir = 'x'", "data_dir belongs to the fixture"),
        ("[store]\nurl = 'x'", "store belongs to the fixture"),
        ("[broker]\nurl = 'x'", "broker belongs to the fixture"),
        ("[policy", "not valid TOML"),
    ],
)
def test_what_a_test_cannot_set(text: str, why: str) -> None:
    with pytest.raises(BadSettings, match=why):
        read_settings(text)


def test_settings_are_merged_with_the_defaults() -> None:
    merged = read_settings("[policy]\nmax_per_contact = 2\n[worker]\ntick_every = '5s'")
    assert merged["policy"] == {"quiet_hours": "none", "max_per_contact": 2}
    assert merged["worker"] == {"tick_every": "5s"}


def test_every_account_is_in_the_sandbox(tmp_path: Path) -> None:
    given = read_settings("[accounts.main]\nuid = 'live'\n[accounts.support]\nfrom_number = '+12025550199'")
    write_settings(tmp_path / "vtsync.toml", given, "http://127.0.0.1:1", "http://127.0.0.1:2")
    accounts = load(tmp_path / "vtsync.toml").accounts
    known = {(one.uid, one.token) for one in sandbox_accounts(given)}
    assert known == {("main", TOKEN), ("support", TOKEN)}
    assert {(one.uid.get_secret_value(), one.token.get_secret_value()) for one in accounts.values()} == known
    assert {one.api_url for one in accounts.values()} == {"http://127.0.0.1:1"}
    assert len({str(one.relay_secret and one.relay_secret.get_secret_value()) for one in accounts.values()}) == 2
    assert accounts["support"].from_number == "+12025550199"


@pytest.mark.parametrize(
    "value",
    [
        "'a \"quoted\" ü 👋\\u007f\\t'",
        '"""two\nlines"""',
        "[1, 2.5, -0.0, true, inf, 1e100]",
        "{ a = { 'b c' = [] } }",
        "2026-11-29",
        "2026-11-29T10:00:00Z",
        "09:30:00",
    ],
)
def test_what_is_written_is_what_was_read(tmp_path: Path, value: str) -> None:
    given = read_settings(f"value = {value}")
    with suppress(BadSettings):  # vtsync has no such key
        write_settings(tmp_path / "vtsync.toml", given, "http://127.0.0.1:1", "http://127.0.0.1:2")
    written = tomllib.loads((tmp_path / "vtsync.toml").read_text("utf-8"))
    assert written["value"] == given["value"]


def test_pytest_finds_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module = import_module(project["entry-points"]["pytest11"]["vtsync"])
    assert {"vtsync_sandbox", "vtsync_settings"} <= set(vars(module))
    assert not any(one.startswith("pytest") for one in project["dependencies"])


def test_a_run_that_does_not_use_it_imports_only_the_plugin() -> None:
    code = "import pytest, sys; old = set(sys.modules); import vtsync_testing; print(*set(sys.modules) - old)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert set(done.stdout.split()) == {"vtsync_testing"}, done.stderr
