"""What people mistype. A row is a command, its exit code, and words that it says. test_nonsense.py has the rest."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

ROWS: list[tuple[str, int, str]] = [
    # command, exit code, what it says
    ("web --port 70000", 2, "'--port': Input should be less than or equal to 65535"),
    ("web --port -1", 2, "'--port': Input should be greater than or equal to 0"),
    ("web --port http", 2, "'--port': Input should be a valid integer"),
    ("web --host nowhere.invalid", 2, "it would listen on nowhere.invalid, beyond this machine"),
    ("web --host 127.0.0.1 --port 99999999999999999999", 2, "less than or equal to 65535"),
    ("sandbox --api-port 70000", 2, "less than or equal to 65535"),
    ("sandbox --host nowhere.invalid", 1, "cannot listen on nowhere.invalid"),
    ("sandbox --relay-url relay", 2, '--relay-url: "relay" is not a web address; write one such as http://'),
    ("adapters rest --try nowhere", 2, '--try: "nowhere" is not a web address; write one such as https://'),
    ("adapters rest --try http://127.0.0.1:1/x --header X", 2, '--header takes "Name: value"'),
    ("adapters rest --try http://127.0.0.1:1/x --token-env NOTHING", 2, "NOTHING is not set"),
    ("adapters nothing", 2, 'there is no adapter "nothing"'),
    ("worker --queues nothing", 2, 'there is no queue "nothing"; there are: intake'),
    ("worker --queues ,", 2, "--queues names no queue; there are: intake"),
    ("worker --metrics-port 0", 2, "greater than or equal to 1"),
    ("messages --state nothing", 2, 'there is no state "nothing"'),
    ("messages --limit 0", 2, "greater than or equal to 1"),
    ("messages --limit 99999999999999999999", 2, "less than or equal to 1000000"),
    ("messages --limit -5", 2, "greater than or equal to 1"),
    ("messages --number 12", 2, '"12"'),
    ("status --contacts nothing", 2, 'there is no state "nothing"'),
    ("plan --limit -1", 2, "greater than or equal to 0"),
    ("sync nothing", 2, 'there is no connection "nothing"'),
    ("plan nothing", 2, 'there is no connection "nothing"'),
    ("fields nothing", 2, 'there is no connection "nothing"'),
    ("send --to 12 --message hi", 2, '"12"'),
    ("send --to +14155550101 --message hi --at tomorrow", 2, "send_at"),
    ("send --to +14155550101 --message hi --account nobody", 2, 'there is no account "nobody"'),
    ("explain nobody", 2, "write it with the country code"),
    ("approve", 2, "give a batch, message ids or --trigger"),
    ("approve --trigger nothing", 1, "there is no trigger nothing"),
    ("cancel nothing", 1, "there is no message or batch nothing"),
    ("resolve nothing --sent", 1, "there is no message nothing"),
    ("forwards retry -- -1", 2, "greater than or equal to 1"),
    ("keys create shop --scope nothing", 2, "nothing"),
    ("keys create shop --scope messages:read --account nobody", 2, 'there is no account "nobody"'),
    ("keys revoke nothing", 1, 'there is no active key "nothing"'),
    ("health --role cook", 2, 'there is no role "cook"'),
    ("health --max-age 0", 2, "greater than or equal to 1"),
    ("init .", 2, "exists already and was not changed"),
    ("init /dev/null/x", 2, "cannot be written"),
    ("init nowhere/vtsync.toml", 2, "cannot be written"),
    ("--config . status", 2, "cannot be read: Is a directory"),
    ("--config /dev/null/x status", 2, "/dev/null/x"),
    ("--config nowhere.toml check", 2, "does not exist"),
    ("nothing", 2, "No such command"),
    ("status --nothing", 2, "No such option"),
]


@pytest.mark.parametrize(("command", "code", "said"), ROWS, ids=[row[0] for row in ROWS])
def test_a_bad_option_is_named(shell: Shell, command: str, code: int, said: str) -> None:
    done = shell(*command.split(), code=code)
    assert said in done.output
    assert "Traceback" not in done.output
