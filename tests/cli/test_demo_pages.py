"""The pages that a kept demo offers."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from rich.console import Console

from worker.core.isolated import isolated
from worker.demo.run import _offer_pages
from worker.demo.setting import Setting


def offered(setting: Setting) -> str:
    written = io.StringIO()
    _offer_pages(Console(file=written, width=200), setting)
    return written.getvalue()


def test_a_kept_demo_has_a_user_of_the_pages(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    assert offered(setting) == ""  # it failed before it began
    setting.connect({"api_url": "http://127.0.0.1:1", "create_url": "http://127.0.0.1:2"})
    setting.configure()
    subprocess.run(isolated("vtsync", "migrate"), env=setting.environment(), check=True, capture_output=True)
    words = offered(setting)
    assert "vtsync web --port 8765" in words
    assert "sign in at http://127.0.0.1:8765/ui" in words
    mine = {name: value for name, value in setting.environment().items() if name != "DEMO_TOKEN"}  # .env has it
    listed = subprocess.run(
        isolated("vtsync", "users", "list", "--json"), env=mine, check=True, capture_output=True, text=True
    )
    assert '"demo"' in listed.stdout
    assert '"admin"' in listed.stdout
