"""What the project's own files promise: their processes exist, their links lead somewhere, locks carry no URLs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from worker.cli import load_commands

app = load_commands()
ROOT = Path(__file__).parents[1]
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback} | {
    group.name for group in app.registered_groups
}
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_carry_versions_and_hashes_and_no_urls(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    packages = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    assert len(packages) > 30
    assert text.count("--hash=sha256:") >= len(packages)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_pictures_are_small_and_shown() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000, f"{picture.name} is too large for the repository"
        assert f"images/{picture.name})" in text, f"no page shows {picture.name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document: Path) -> None:
    for command in re.findall(r"`vtsync ([a-z][a-z-]*)", document.read_text()):
        assert command in COMMANDS, f"{document.name} names `vtsync {command}`"


def test_make_has_what_the_documents_name() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for target in re.findall(r"^make (\w+)", document.read_text(), re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{document.name} names make {target}"


def test_ci_calls_the_readme_s_test_command_with_servers_required() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "VTSYNC_REQUIRE_SERVICES=1" in script
    for command in ("make test", "make demo", "make lint"):
        assert command in script
    assert "make test" in (ROOT / "README.md").read_text()
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False).returncode == 0


def test_no_stray_file_lies_at_the_top() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.partition("/")[0] for name in listed.splitlines()}
    usual = {".ci", ".dockerignore", ".env.example", ".gitignore", "LICENSE", "SECURITY.md", "mkdocs.yml"}
    given = "pyproject.toml worker crm_adapters tests config docker-compose.yml Procfile README.md docs bench Makefile"
    ours = {"CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "vtsync.py", "vtsync_testing.py"}
    locks = {name for name in top if name.startswith("requirements") and name.endswith(".lock")}
    assert top - usual - set(given.split()) - ours - locks == set()
