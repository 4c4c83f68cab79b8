"""Export, erasure and consents, as an operator meets them."""

from __future__ import annotations

import base64
import json
import stat

import pytest

from tests.cli.conftest import Shell
from worker.runtime import current

ANNA = "+14155552671"
KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def keyed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("VTSYNC_GRANT_KEY", KEY)
    shell.configure('[store]\ngrant_key = { env = "VTSYNC_GRANT_KEY" }\n')
    shell("send", "--to", ANNA, "-m", "Hello Anna")
    return shell


@pytest.mark.parametrize("typed", [ANNA, "(415) 555-2671", "415.555.2671", "1-415-555-2671", "0014155552671"])
def test_a_number_is_read_as_people_type_it(keyed: Shell, typed: str) -> None:
    assert ANNA in keyed("explain", typed).stdout
    assert json.loads(keyed("export", typed).stdout)["phone"] == ANNA
    assert "has opted" not in keyed("consents", "show", typed).stdout


def test_a_number_that_can_be_several_is_asked_about(keyed: Shell) -> None:
    account = 'uid = "u"\ntoken = { env = "CLI_TOKEN" }\nfrom_number = "+447911123456"\n'
    keyed.configure(f'[accounts.london]\n{account}\n[policy]\ncountries = ["US", "GB"]')
    current._runtimes.clear()
    refused = keyed("explain", "020 2555 0100", code=2).stderr
    assert "write it with the country code" in refused
    assert "too few digits" in keyed("explain", "12", code=2).stderr


def test_an_export_goes_to_a_file_that_only_its_owner_can_read(keyed: Shell) -> None:
    path = keyed.folder / "anna.json"
    path.write_text("old")
    path.chmod(0o644)
    keyed("export", ANNA, "--to", "anna.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one["text"] for one in json.loads(path.read_text())["texts"]] == ["Hello Anna"]
    assert "there is no folder" in keyed("export", ANNA, "--to", "nowhere/anna.json", code=2).stderr
    assert "nothing is stored about +14155552679" in keyed("export", "+14155552679", code=1).stderr


def test_forget_shows_what_it_deletes_and_asks(keyed: Shell) -> None:
    asked = keyed("forget", ANNA, code=2).stderr
    assert "texts: 1" in asked
    assert "add --yes. Nothing was done." in asked
    assert "Hello Anna" in keyed("messages").stdout
    done = keyed("forget", ANNA, "--yes").stdout
    assert "texts: 1" in done
    assert "is forgotten: no account texts it" in done
    for place in ("VirtualText itself", "backups", "the CRM", "logs"):
        assert place in done
    assert "Hello Anna" not in keyed("messages").stdout
    told = " ".join(keyed("explain", ANNA).stdout.split())
    assert "forgotten since" in told
    assert "vtsync remember" in told
    refused = keyed.json("send", "--to", ANNA, "-m", "hello", code=1)
    assert "was forgotten on" in refused["reason"]
    again = keyed.json("forget", ANNA, "--yes")
    assert again["rows"]["texts"] == 1
    assert "stored as proof" in keyed("remember", ANNA, "--why", " ", code=2).stderr
    assert "may come back" in keyed("remember", ANNA, "--why", "bought again").stdout
    assert "was not forgotten" in keyed("remember", ANNA, "--why", "bought again", code=1).stderr
    assert keyed.json("send", "--to", ANNA, "-m", "hello")["state"] == "accepted"


def test_forget_without_a_key_says_how_to_make_one(shell: Shell) -> None:
    shell("send", "--to", ANNA, "-m", "Hello Anna")
    for command in (("forget", ANNA), ("forget", ANNA, "--yes")):
        assert "openssl rand -base64 32" in shell(*command, code=2).stderr
    assert "Hello Anna" in shell("messages").stdout


def test_consents_are_imported_shown_and_asked_for(keyed: Shell) -> None:
    keyed.configure('[policy]\nquiet_hours = "none"\nconsent = "required"\n')
    current._runtimes.clear()
    refused = keyed.json("send", "--to", ANNA, "-m", "Your order", code=1)
    assert refused["reason"].startswith("no_consent: no consent of +1415•••2671 is on record")
    assert "no consent of" in keyed("explain", ANNA).stdout
    (keyed.folder / "list.csv").write_text("phone,date,how\n(415) 555-2671,2026-03-04,web form\n12,,\n")
    dry = keyed("consents", "import", "list.csv", "--dry-run", code=1)
    assert "1 consent read" in dry.stdout
    assert "line 3" in dry.stdout
    assert "No consent" in keyed("consents", "show", ANNA).stdout
    assert "1 are new on record" in keyed("consents", "import", "list.csv", code=1).stdout
    assert "there is no file" in keyed("consents", "import", "none.csv", code=1).stderr
    assert "web form" in keyed("consents", "show", ANNA).stdout
    assert keyed.json("send", "--to", ANNA, "-m", "Your order is ready")["state"] == "accepted"
    told = keyed("explain", ANNA).stdout
    assert "consent: yes, by imported" in told
    assert "consent on record then: imported" in told
    assert "consent on record then: none" in told
    keyed("opt-in", "+14155552672", "--why", "on the phone")
    assert "on the phone" in keyed("consents", "show", "+14155552672").stdout
