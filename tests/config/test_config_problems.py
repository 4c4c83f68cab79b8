"""What a person is told about each mistake in the configuration: which key, what is wrong, what to do."""

# ruff: noqa: E501 - the table has one mistake a line
from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from config.errors import ConfigError, ConfigProblem

ErrorOf = Callable[[str], ConfigError]

ACCOUNT = """
[accounts.main]
uid = { env = "VTSYNC_UID" }
token = { env = "VTSYNC_TOKEN" }
from_number = "+14155550100"
"""
CRM = ACCOUNT + '[connections.crm]\nadapter = "csv"\naccount = "main"\n'
TRIGGER = CRM + '[triggers.ready]\nconnections = "crm"\nmessage = "Ready."\n'
CREATED = TRIGGER + 'on = "created"\n'
CHANGED = TRIGGER + 'on = "changed"\nfield = "status"\n'
OIDC = '[web]\npublic_url = "https://t.example"\n[web.oidc]\nissuer = "https://login.example"\nclient_id = "x"\n'
OIDC_ROLES = OIDC + 'roles = { ops = "operator" }\n'
PROXY = '[web.proxy_sign_in]\nuser_header = "Remote-User"\nroles = { ops = "admin" }\n'
UNSET = '[accounts.main]\ntoken = { env = "VTSYNC_TOKEN" }\nfrom_number = "+14155550100"\n'

# (file, key, words of the value, words of the message, words of the remedy)
MISTAKES = {
    "issuer in clear": (OIDC_ROLES.replace("https://login", "http://login"), "web.oidc.issuer", '"http://login.example"', "does not begin with https://", "copy the issuer"),
    "issuer with a query": (OIDC_ROLES.replace("login.example", "login.example/?a=b"), "web.oidc.issuer", "?a=b", "is not the address of an issuer", "copy the issuer"),
    "issuer of all tenants": (OIDC_ROLES.replace("login.example", "login.microsoftonline.com/common/v2.0"), "web.oidc.issuer", "common", "accounts of all organizations", "ID of your tenant"),
    "issuer of all organizations": (OIDC_ROLES.replace("login.example", "login.microsoftonline.us/organizations/v2.0"), "web.oidc.issuer", "organizations", "accounts of all organizations", "login.microsoftonline.us/1111"),
    "issuer with a placeholder": (OIDC_ROLES.replace("login.example", "login.example/{tenantid}/v2.0"), "web.oidc.issuer", "{tenantid}", "has a placeholder", "ID of your tenant"),
    "issuer that is the document": (OIDC_ROLES.replace("login.example", "login.example/.well-known/openid-configuration"), "web.oidc.issuer", "well-known", "is the address of the discovery document", "`issuer`"),
    "client secret that is not set": (OIDC_ROLES + 'client_secret = { env = "OIDC_NOT_SET" }', "web.oidc.client_secret", "(hidden)", "not set", "OIDC_NOT_SET"),
    "a way for the client that is none": (OIDC_ROLES + 'client_auth = "private_key_jwt"', "web.oidc.client_auth", '"private_key_jwt"', "allowed values", "client_secret_post"),
    "a sign-out that is a script": (OIDC_ROLES + 'sign_out_url = "javascript:alert(1)"', "web.oidc.sign_out_url", "javascript", "is not a link", "/oauth2/sign_out"),
    "issuer that is no address": (OIDC_ROLES.replace("https://login.example", "https://"), "web.oidc.issuer", '"https://"', "is not a web address", "write a URL"),
    "issuer left out": (OIDC_ROLES.replace("issuer", "#"), "web.oidc.issuer", None, "missing", 'issuer = "https://login.example.com"'),
    "client secret in the file": (OIDC_ROLES + 'client_secret = "hush"', "web.oidc.client_secret", "(hidden)", "written in the file", "env"),
    "no map of roles": (OIDC, "web.oidc.roles", None, "nobody would get a role", 'roles = { "name of a group" = "admin" }'),
    "a role that does not exist": (OIDC + 'roles = { ops = "owner" }', "web.oidc.roles.ops", '"owner"', "allowed values", '"viewer", "operator" or "admin"'),
    "OpenID Connect without public_url": (OIDC_ROLES.replace("public_url", "#"), "web.public_url", None, "sends people back", "public_url ="),
    "everybody with a Google account": (OIDC.replace("login.example", "accounts.google.com") + 'other_role = "viewer"', "web.oidc.other_role", '"viewer"', "would admit everybody", 'hd = "example.com"'),
    "a domain with an @": (OIDC_ROLES + 'email_domains = "@example.com"', "web.oidc.email_domains[0]", '"@example.com"', "is not a domain", "follows the @"),
    "no way to sign in": ("[web]\npasswords = false", "web.passwords", "false", "leaves no way", "[web.oidc]"),
    "proxies left out": (PROXY, "web.proxy_sign_in.trusted", None, "missing", 'trusted = ["127.0.0.1"]'),
    "no proxies": (PROXY + "trusted = []", "web.proxy_sign_in.trusted", None, "names no proxy", "127.0.0.1"),
    "everybody is a proxy": (PROXY + 'trusted = ["10.0.0.0/8", "0.0.0.0/0"]', "web.proxy_sign_in.trusted", None, "trusts 0.0.0.0/0", "addresses of your proxies"),
    "half of everybody is a proxy": (PROXY + 'trusted = "128.0.0.0/1"', "web.proxy_sign_in.trusted", "128.0.0.0/1", "trusts 128.0.0.0/1", "addresses of your proxies"),
    "everybody with IPv6 is a proxy": (PROXY + 'trusted = "::/0"', "web.proxy_sign_in.trusted", "::/0", "trusts ::/0", "addresses of your proxies"),
    "no map of roles for a proxy": (PROXY.replace("roles", "#") + 'trusted = "::1"', "web.proxy_sign_in.roles", None, "nobody would get a role", "roles ="),
    "a header that browsers send": (PROXY.replace("Remote-User", "user-agent") + 'trusted = "::1"', "web.proxy_sign_in.user_header", '"user-agent"', "browsers", "Remote-User"),
    "a header with an underscore": (PROXY.replace("Remote-User", "REMOTE_USER") + 'trusted = "::1"', "web.proxy_sign_in.user_header", '"REMOTE_USER"', "is not the name of a header", "X-Forwarded-User"),
    "a link to a script": (PROXY + 'trusted = "::1"\nsign_out_url = "javascript:alert(1)"', "web.proxy_sign_in.sign_out_url", "javascript", "is not a link", "/oauth2/sign_out"),
    "unknown key, nearly right": (ACCOUNT + "read_timout = 40", "accounts.main.read_timout", None, "not a key", '"read_timeout"'),
    "unknown key, other case": (ACCOUNT + "readTimeout = 40", "accounts.main.readTimeout", None, "not a key", '"read_timeout"'),
    "unknown key, with a dash": (ACCOUNT + "read-timeout = 40", "accounts.main.read-timeout", None, "not a key", '"read_timeout"'),
    "unknown key, like no other": (ACCOUNT + "zzz = 1", "accounts.main.zzz", None, "not a key", "allowed are: uid, token"),
    "unknown table": ('[conections.crm]\nadapter = "csv"', "conections", None, "not a key", '"connections"'),
    "key in the wrong table": (ACCOUNT + "blast_limit = 5", "accounts.main.blast_limit", None, "not a key", "[policy]"),
    "key at the top that belongs below": ("blast_limt = 5", "blast_limt", None, "not a key", "[policy] as blast_limit"),
    "top key below a table": (ACCOUNT + 'data_dir = "x"', "accounts.main.data_dir", None, "not a key", "top of the file"),
    "connection in the singular": (CREATED + 'connection = "crm"', "triggers.ready.connection", None, "not a key", '"connections"'),
    "name of the account left out": ('[accounts]\nfrom_number = "+14155550100"', "accounts.from_number", "(hidden)", "not a table", "[accounts.main]"),
    "section is a text": ('accounts = "main"', "accounts", "(hidden)", "not a table", "[accounts]"),
    "missing key": ('[accounts.main]\nuid = "u"\ntoken = { env = "VTSYNC_TOKEN" }', "accounts.main.from_number", None, "missing", 'from_number = "+1'),
    "missing secret": ('[accounts.main]\nuid = "u"\nfrom_number = "+14155550100"', "accounts.main.token", None, "missing", '{ env = "VTSYNC_TOKEN" }'),
    "missing message": (TRIGGER.replace("message", "#") + 'on = "created"', "triggers.ready.message", None, "missing", 'message = "'),
    "number in quotes": (ACCOUNT + 'concurrency = "16"', "accounts.main.concurrency", '"16"', "not a whole number", "without quotes"),
    "true for a number": (ACCOUNT + "concurrency = true", "accounts.main.concurrency", "true", "not a whole number", "whole number"),
    "fraction for a whole number": (ACCOUNT + "concurrency = 1.5", "accounts.main.concurrency", "1.5", "not a whole number", "whole number"),
    "number out of range": (ACCOUNT + "concurrency = 500", "accounts.main.concurrency", "500", "out of range", "from 1 up to 200"),
    "number above a bound": (ACCOUNT + "connect_timeout = 0", "accounts.main.connect_timeout", "0", "out of range", "above 0 up to 60"),
    "share above one": (CRM + "max_missing_share = 20", "connections.crm.max_missing_share", "20", "out of range", "from 0 up to 1"),
    "not a number at all": (CRM + "max_missing_share = nan", "connections.crm.max_missing_share", "nan", "out of range", "from 0"),
    "enormous number": ("policy.blast_limit = 0x" + "f" * 5000, "policy.blast_limit", "more than 30 digits", "out of range", "up to 1000000"),
    "word for yes": (CRM + 'enabled = "yes"', "connections.crm.enabled", '"yes"', "neither true nor false", "without quotes"),
    "text without quotes": (CHANGED + "to = 5", "triggers.ready.to", "5", "not a text", "quotes"),
    "list of numbers": (CHANGED.replace('"crm"\nmessage', '["crm", 5]\nmessage'), "triggers.ready.connections[1]", "5", "not a text", "quotes"),
    "table for a list": (CREATED + "media = { a = 1 }", "triggers.ready.media", None, "not a list", '["a", "b"]'),
    "unknown word": (TRIGGER + 'on = "changd"', "triggers.ready.on", '"changd"', "allowed values", '"created", "changed", "entered" or "date"'),
    "kind left out": (TRIGGER, "triggers.ready.on", None, "missing", 'on = "created"'),
    "option of another kind": (CHANGED + 'at = "10:00"', "triggers.ready.at", '"10:00"', 'does not apply to on = "changed"', 'on = "date"'),
    "option of two other kinds": (TRIGGER + 'on = "entered"\ncondition = "x"\nfield = "y"', "triggers.ready.field", '"y"', 'does not apply to on = "entered"', 'on = "changed" or "date"'),
    "entered without condition": (TRIGGER + 'on = "entered"', "triggers.ready.condition", None, 'on = "entered" needs it', "condition = \"status == 'ready'"),
    "date without field": (TRIGGER + 'on = "date"', "triggers.ready.field", None, 'on = "date" needs it', 'field = "appointment"'),
    "number for a date option": (TRIGGER + 'on = "date"\nfield = "x"\nevery_year = 1', "triggers.ready.every_year", "1", "neither true nor false", "true or false"),
    "trigger is a text": (CRM + '[triggers]\nready = "x"', "triggers.ready", "(hidden)", "not a table", "[triggers.ready]"),
    "phone without plus": (ACCOUNT.replace("+1415", "1415"), "accounts.main.from_number", '"14155550100"', "E.164", "+14155552671"),
    "phone with spaces": (ACCOUNT.replace("+1415", "+1 415 "), "accounts.main.from_number", '"+1 415 5550100"', "E.164", "nothing between"),
    "hours over midnight": ('policy.text_from = "20:00"\npolicy.text_until = "08:00"', "policy.text_until", '"08:00"', "not later than text_from (20:00)", "hours of the same day"),
    "hours that never begin": ('policy.text_from = "20:00"', "policy.text_until", '"20:00"', "no text would ever be sent", "hours of the same day"),
    "hours of a trigger that end before those above it": (CREATED + '[triggers.ready.policy]\ntext_until = "08:00"', "triggers.ready.policy.text_until", '"08:00"', "not later than policy.text_from (09:00)", "hours of the same day"),
    "hours of a trigger that begin after those of its connection": (CRM + '[connections.crm.policy]\ntext_until = "12:00"\n' + CREATED.removeprefix(CRM) + '[triggers.ready.policy]\ntext_from = "13:00"', "triggers.ready.policy.text_from", '"13:00"', "not earlier than connections.crm.policy.text_until (12:00)", "hours of the same day"),
    "a cap of the account for a trigger": (CREATED + "[triggers.ready.policy]\nmax_per_account = 5", "triggers.ready.policy.max_per_account", None, "counts the texts of a whole account", "[accounts.<name>.policy]"),
    "a consent of one trigger": (CREATED + '[triggers.ready.policy]\nconsent = "required"', "triggers.ready.policy.consent", None, "decides about a person", "write it in [policy]"),
    "a consent of one connection": (CRM + '[connections.crm.policy]\nconsent = "required"', "connections.crm.policy.consent", None, "decides about a person", "write it in [policy]"),
    "two expiries of a trigger": (CREATED + 'expires_after = "1h"\n[triggers.ready.policy]\nexpires_after = "2h"', "triggers.ready.policy.expires_after", None, "also set as triggers.ready.expires_after", "keep one"),
    "misspelt key of a policy below": (CREATED + "[triggers.ready.policy]\nblast_limt = 5", "triggers.ready.policy.blast_limt", None, "not a key", '"blast_limit"'),
    "holidays of nowhere": ('policy.holidays = "xx"', "policy.holidays[0]", '"xx"', "neither a country", '"none"'),
    "a holiday that is no day": ('policy.holidays = ["us", "02-30"]', "policy.holidays[1]", '"02-30"', "not a day of the calendar", '"12-24"'),
    "duration without unit": ("policy.expires_after = 24", "policy.expires_after", "24", "not a duration", '"24h"'),
    "duration of nothing": ('worker.lease = "0s"', "worker.lease", '"0s"', "between one second", '"90s"'),
    "duration without end": ('worker.lease = "999999999d"', "worker.lease", '"999999999d"', "ten years", '"7d"'),
    "country in small letters": (CRM + 'default_region = "us"', "connections.crm.default_region", '"us"', "not a country", 'did you mean "US"'),
    "UK": (CRM + 'default_region = "UK"', "connections.crm.default_region", '"UK"', "not a country", 'did you mean "GB"'),
    "no country": (CRM + 'default_region = "XX"', "connections.crm.default_region", '"XX"', "not a country", "two-letter"),
    "schedule of four fields": (CRM + 'schedule = "0 8 * *"', "connections.crm.schedule", '"0 8 * *"', "4 fields; it needs five", "* * 1-5"),
    "schedule past the hour": (CRM + 'schedule = "60 * * * *"', "connections.crm.schedule", '"60 * * * *"', "between 0 and 59", "five fields"),
    "schedule that never runs": (CRM + 'schedule = "0 0 30 2 *"', "connections.crm.schedule", '"0 0 30 2 *"', "never run", "five fields"),
    "schedule in words": (CRM + 'schedule = "hourly"', "connections.crm.schedule", '"hourly"', "not a schedule", '"15m"'),
    "web address without scheme": (CREATED + 'media = "example.com/a.png"', "triggers.ready.media[0]", '"example.com/a.png"', "web address", "https://"),
    "picture of this machine": (CREATED + 'media = "http://localhost:8080/a.png"', "triggers.ready.media[0]", "localhost", "only a private network knows", "public URL"),
    "picture of a private network": (CREATED + 'media = "https://10.0.0.1/a.png"', "triggers.ready.media[0]", "10.0.0.1", "private network", "public URL"),
    "web address with bad port": (CREATED + 'media = "https://example.com:99999/a"', "triggers.ready.media[0]", "99999", "web address", "https://"),
    "web address with a password": (CREATED + 'media = "https://me:pw@example.com/a"', "triggers.ready.media[0]", '"https://***@example.com/a"', "password", "must not hold"),
    "unencrypted API": (ACCOUNT + 'api_url = "http://api.example.com"\ncreate_url = "https://api.example.com"', "accounts.main.api_url", '"http://api.example.com"', "unencrypted", "allow_http = true"),
    "one URL of two": (ACCOUNT + 'api_url = "https://api.example.com"', "accounts.main.create_url", None, "missing although api_url", "set create_url"),
    "impatient read time-out": (ACCOUNT + "read_timeout = 30", "accounts.main.read_timeout", "30", "30 seconds", "31 or more"),
    "impatient towards one of two hosts": (ACCOUNT + 'api_url = "http://localhost:1"\ncreate_url = "https://x.example.com"\nread_timeout = 1', "accounts.main.read_timeout", "1", "30 seconds", "31 or more"),
    "relay secret no URL": (ACCOUNT + 'relay_secret = { env = "VTSYNC_SLASHES" }\n', "accounts.main.relay_secret", "(hidden)", "part of a URL", "openssl rand -hex 24"),
    "relay secret twice": (ACCOUNT + 'relay_secret = { env = "VTSYNC_TOKEN" }\n' + ACCOUNT.replace("main", "other").replace("VTSYNC_UID", "VTSYNC_SLASHES") + 'relay_secret = { env = "VTSYNC_TOKEN" }\n', "accounts.other.relay_secret", "(hidden)", 'also the secret of account "main"', "its own"),
    "same user twice": (ACCOUNT + ACCOUNT.replace("main", "other"), "accounts.other.uid", "(hidden)", 'same VirtualText user as account "main"', "keep one"),
    "unusable name": (ACCOUNT.replace("accounts.main", 'accounts."a b"'), 'accounts."a b"', None, "not a usable name", "letters, digits"),
    "unknown account": (CRM.replace('account = "main"', 'account = "mian"'), "connections.crm.account", '"mian"', "no account", 'did you mean "main"? The accounts are: main'),
    "no account at all": ('[connections.crm]\nadapter = "csv"\naccount = "main"', "connections.crm.account", '"main"', "no account", "[accounts.<name>]"),
    "unknown connection": (CREATED.replace('"crm"\nmessage', '"crn"\nmessage'), "triggers.ready.connections", '"crn"', "no connection", 'did you mean "crm"'),
    "unknown connection in a list": (CREATED.replace('"crm"\nmessage', '["crm", "shop"]\nmessage'), "triggers.ready.connections[1]", '"shop"', "no connection", "The connections are: crm"),
    "no connection": (CREATED.replace('"crm"\nmessage', "[]\nmessage"), "triggers.ready.connections", "[]", "never fire", "The connections are: crm"),
    "changed without field": (TRIGGER + 'on = "changed"', "triggers.ready.field", None, 'on = "changed" needs it', 'field = "status"'),
    "created with field": (CREATED + 'field = "status"', "triggers.ready.field", '"status"', 'does not apply to on = "created"', 'on = "changed"'),
    "created with from": (CREATED + 'from = "a"', "triggers.ready.from", '"a"', 'does not apply to on = "created"', "remove it"),
    "created with to": (CREATED + 'to = "a"', "triggers.ready.to", '"a"', 'does not apply to on = "created"', "remove it"),
    "from and to the same": (CHANGED + 'from = "a"\nto = "a"', "triggers.ready.to", '"a"', "never fire", "another value"),
    "empty text": (CREATED.replace('"Ready."', '"  "'), "triggers.ready.message", '"  "', "empty text", "text to send"),
    "variable not set": (UNSET + 'uid = { env = "VTSYNC_NOWHERE" }', "accounts.main.uid", "(hidden)", "VTSYNC_NOWHERE is not set", ".env"),
    "secret file not there": (UNSET + 'uid = { file = "/nowhere/uid" }', "accounts.main.uid", "(hidden)", "/nowhere/uid: No such file", "into that file"),
    "strange reference": (UNSET + 'uid = { vault = "x" }', "accounts.main.uid", "(hidden)", "not a reference", '{ env = "NAME" }'),
    "token written out": (ACCOUNT.replace('{ env = "VTSYNC_TOKEN" }', '"abc"'), "accounts.main.token", "(hidden)", "written in the file", 'token = { env = "VTSYNC_TOKEN" }'),
    "token is an address": (ACCOUNT.replace('{ env = "VTSYNC_TOKEN" }', '"https://x"'), "accounts.main.token", "(hidden)", "written in the file", "{ env"),
    "whole credential as uid": (UNSET + 'uid = "abc:def"', "accounts.main.uid", "(hidden)", "colon", "before the colon"),
    "uid with a space": (UNSET + 'uid = "Bearer abc"', "accounts.main.uid", "(hidden)", "spaces", "Bearer"),
    "uid as a number": (UNSET + "uid = 1234567", "accounts.main.uid", "(hidden)", "not a reference", '{ env = "NAME" }'),
    "store with a password": ('store.url = "postgresql+psycopg://me:pw@db/x"', "store.url", "(hidden)", "URL with a password", '{ env = "VTSYNC_STORE_URL" }'),
    "store with a password parameter": ('store.url = "postgresql+psycopg://db/x?password=pw"', "store.url", "(hidden)", "URL with a password", "{ env"),
    "store without a driver": ('store.url = "postgresql://me@db/x"', "store.url", "(hidden)", "not a database", "postgresql+psycopg://"),
    "store is a path": ('store.url = "vtsync.db"', "store.url", "(hidden)", "written in the file", "{ env"),
    "broker with a password": ('broker.url = "redis://:pw@host/0"', "broker.url", "(hidden)", "URL with a password", '{ env = "VTSYNC_BROKER_URL" }'),
    "broker of another kind": ('broker.url = "kafka://host"', "broker.url", "(hidden)", "not a broker", "redis://"),
    "folder is a number": ("data_dir = 5", "data_dir", "5", "not a path", "quotes"),
    "folder of the system": ('data_dir = "/"', "data_dir", '"/"', "folder of the operating system", "only vtsync uses"),
    "folder of nobody": ('data_dir = "~nobody-like-this/x"', "data_dir", '"~nobody-like-this/x"', "no such home", "whole path"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_its_key_its_value_and_the_way_out(mistake: str, error_of: ErrorOf) -> None:
    text, key, value, message, remedy = MISTAKES[mistake]
    error = error_of(text)
    [problem] = [problem for problem in error.problems if problem.key == key]
    assert (problem.value is None) == (value is None)
    assert (value or "") in (problem.value or "")
    assert message in problem.message
    assert remedy in problem.remedy
    assert str(problem) in str(error)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_is_one_problem(mistake: str, error_of: ErrorOf) -> None:
    text, key, *_ = MISTAKES[mistake]
    assert {problem.key for problem in error_of(text).problems} == {key}


def test_a_wrong_kind_hides_no_other_mistake(error_of: ErrorOf) -> None:
    error = error_of(
        CRM + '[triggers.x]\nconnections = "crm"\non = "changd"\nurgent = "yes"\nfeild = "status"\nat = "9"'
    )
    assert [problem.key.removeprefix("triggers.x.") for problem in error.problems] == [
        "on",
        "at",
        "message",
        "urgent",
        "feild",
    ]


def test_everything_is_reported_at_once_and_by_table(error_of: ErrorOf) -> None:
    error = error_of("""
        data_dir = 5
        colour = "blue"
        [accounts.main]
        uid = { env = "VTSYNC_NOWHERE" }
        token = "written-out"
        from_number = "0415"
        read_timeout = 10
        [connections.crm]
        adapter = 7
        account = "man"
        [triggers.x]
        connections = "crn"
        on = "changed"
        [triggers.y]
        connections = "crm"
        on = "created"
        to = "Ready"
        message = ""
        """)
    assert [problem.key for problem in error.problems] == [
        "data_dir",
        "accounts.main.uid",
        "accounts.main.token",
        "accounts.main.from_number",
        "accounts.main.read_timeout",
        "connections.crm.adapter",
        "connections.crm.account",
        "triggers.x.message",
        "triggers.x.field",
        "triggers.x.connections",
        "triggers.y.message",
        "triggers.y.to",
        "colour",
    ]
    assert "has 13 problems:" in str(error)


SYNTAX = {
    "value without quotes": ("[policy]\nexpires_after = 24h\n", "line 2, column 19", "line 2:  expires_after = 24h"),
    "no equals sign": ("[policy]\nblast_limit 5\n", "line 2, column 13", "line 2:"),
    "header never closed": ("[policy\nblast_limit = 5\n", "line 1, column 8", "line 1:  [policy"),
    "table twice": ("[policy]\n[policy]\n", "line 2, column 8", "line 2:  [policy]"),
    "key twice": ("[policy]\nblast_limit = 1\nblast_limit = 2\n", "line 3, column 16", "line 3:  blast_limit = 2"),
    "quote never closed": ('data_dir = """x\n', "and then the file ends", "not closed"),
    "number without end": ("policy.blast_limit = " + "9" * 5000, "not valid TOML", "far too long"),
    "lists in lists in lists": ("x = " + "[" * 5000, "too deeply", "fewer levels"),
    "line separator in a text": ('data_dir = "a\u2028b"\nx = = 1\n', "line 2, column 5", "line 2:  x = = 1"),
}


@pytest.mark.parametrize("case", SYNTAX)
def test_a_syntax_error_shows_where_and_the_line_itself(case: str, error_of: ErrorOf) -> None:
    text, where, line = SYNTAX[case]
    [problem] = error_of(text).problems
    assert problem.key == ""
    assert where in problem.message
    assert line in problem.remedy


def test_an_error_survives_pickling() -> None:
    error = ConfigError([ConfigProblem("a.b", "5", "is odd", "make it even")], "/etc/vtsync.toml")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) != ""


def test_the_same_problem_is_told_once() -> None:
    problem = ConfigProblem("a.b", "5", "is odd", "make it even")
    assert ConfigError([problem, problem]).problems == (problem,)
