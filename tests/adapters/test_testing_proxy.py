"""The proxy of the conformance tests shows an adapter what the CRM said."""

from __future__ import annotations

import gzip
from contextlib import closing

import pytest

from crm_adapters.base import SourceUnavailable
from crm_adapters.http import HttpApi, NoAuth
from crm_adapters.services import LocalServices
from crm_adapters.testing import ScriptedProxy
from tests.virtualtext.raw_server import RawServer, answers, http

PEOPLE = b'{"people": [{"id": 1}]}'


def test_compressed_answers_are_passed_on_and_can_be_edited() -> None:
    with (
        RawServer(answers(http(200, gzip.compress(PEOPLE), "Content-Encoding: gzip"))) as crm,
        ScriptedProxy(crm.url) as proxy,
        closing(HttpApi("Acme", proxy.url, NoAuth(), LocalServices())) as api,
    ):
        assert api.get("people").items("people") == [{"id": 1}]
        assert b"Accept-Encoding: gzip" in crm.requests[0]
        proxy.edit(lambda body: body.replace(b"1", b"2"))
        assert api.get("people").items("people") == [{"id": 2}]


def test_what_only_looks_compressed_is_a_failure_of_the_crm() -> None:
    with (
        RawServer(answers(http(200, PEOPLE, "Content-Encoding: gzip"))) as crm,
        ScriptedProxy(crm.url) as proxy,
        closing(HttpApi("Acme", proxy.url, NoAuth(), LocalServices())) as api,
        pytest.raises(SourceUnavailable),
    ):
        api.get("people")
