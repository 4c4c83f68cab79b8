"""What `vtsync check` says about channels of alerts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.load import load as load_file

EMAIL = 'kind = "email"\nhost = "{host}"\nsender = "a@example.com"\nto = "b@example.com"\n'
REMOTE, HERE = EMAIL.format(host="smtp.example.com"), EMAIL.format(host="127.0.0.1")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def load(tmp_path: Path, channel: str, alerts: str = "") -> object:
    for secret in re.findall(r"SECRET\{(.*?)\}", channel):
        (tmp_path / "secret").write_text(secret, encoding="utf-8")
        channel = channel.replace(f"SECRET{{{secret}}}", '{ file = "secret" }')
    file = tmp_path / "vtsync.toml"
    file.write_text(f"[alerts]\n{alerts}\n[alerts.channels.ops]\n{channel}", encoding="utf-8")
    return load_file(file).alerts


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ('kind = "pigeon"', "pigeon"),
        ('kind = "email"', "host"),
        (REMOTE + 'events = ["sync_faild"]', "sync_failed"),
        (REMOTE + 'security = "none"', "unencrypted to another machine"),
        (REMOTE + 'username = "u"', "password"),
        (REMOTE.replace("b@example.com", "b@@example.com"), "is not an e-mail address"),
        (REMOTE.replace("b@example.com", "Ada <b@example.com>"), "is not an e-mail address"),
        (REMOTE.replace("a@example.com", "nobody"), "is not an e-mail address"),
        ('kind = "webhook"\nurl = "https://x.example"\nsecret = SECRET{short}', "is not a signing secret"),
        ('kind = "webhook"\nurl = "https://x.example"', "secret"),
        (f'kind = "webhook"\nurl = "http://x.example"\nsecret = SECRET{{{SECRET}}}', "unencrypted"),
        ('kind = "slack"\nwebhook_url = SECRET{http://hooks.example/T0/verysecret}', "unencrypted"),
        ('kind = "slack"\nwebhook_url = SECRET{hooks.example}', "is not a URL"),
        ('kind = "slack"\nwebhook_url = "https://hooks.example/T0/verysecret"', "written in the file"),
        ('kind = "slack"\nwebhook_url = { env = "VTSYNC_NOT_SET" }', "is not set"),
    ],
)
def test_a_mistake_is_named(channel: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, channel)
    assert words in str(error.value)
    assert "verysecret" not in str(error.value)
    assert "alerts.channels.ops" in str(error.value)


@pytest.mark.parametrize(
    ("alerts", "words"),
    [
        ('quiet = "22-7"', "is not a span of two times of day"),
        ('quiet = "22:00-22:00"', "is not a span of two times of day"),
        ('quiet = "25:00-07:00"', "is not a span of two times of day"),
        ('time_zone = "Mars/Olympus"', "time_zone"),
        ('digest = "8"', "digest"),
        ('remind_after = "often"', "remind_after"),
    ],
)
def test_a_mistake_in_the_times_is_named(alerts: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, REMOTE, alerts)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "channel",
    [
        REMOTE,
        HERE + 'security = "none"',
        REMOTE + 'security = "none"\nallow_unencrypted = true',
        REMOTE + 'events = ["sync_*", "no_tick"]\nurgent_only = true',
        'kind = "slack"\nwebhook_url = SECRET{https://hooks.example/x}',
        'kind = "slack"\nwebhook_url = SECRET{http://127.0.0.1:9/x}',
        f'kind = "webhook"\nurl = "http://x.example"\nallow_http = true\nsecret = SECRET{{{SECRET}}}',
        'kind = "apprise"\nservice = SECRET{json://localhost}',
    ],
)
def test_what_is_right_is_accepted(channel: str, tmp_path: Path) -> None:
    assert load(tmp_path, channel, 'quiet = "22:00 - 07:00"\ndigest = "08:00"\nremind_after = "24h"')
