"""Redis over TLS and behind Sentinels: what the URL says, and a fleet on the real thing."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from celery import Celery
from pydantic import ValidationError

from config.models import Broker, Settings
from tests.faults.servers import OwnRedis, OwnSentinel, free_port, own_authority
from tests.harness import fleet, until
from worker.broker.settings import celery_settings, describe
from worker.broker.urls import read_broker_url, redis_pool

PASSWORD = "not-easily-guessed"
SENTINELS = (
    "sentinel://:redis-pw@a:26379/3;sentinel://b"
    "?master_name=texts&sentinel_password=sentinel-pw&tls=true&ssl_ca_certs=/ca.pem"
)


def test_a_plain_url_is_left_as_it_is() -> None:
    for url in ("redis://user:p%40ss@host:6380/2", "redis://host", "amqp://u:p@host:5672//", "amqp://a//;amqp://b//"):
        read = read_broker_url(url)
        assert (read.url, read.tls) == (url, None)
    assert read_broker_url("redis://host/0?protocol=3&x=a%2Fb").url == "redis://host/0?protocol=3&x=a%2Fb"


def test_the_number_of_the_database_may_be_a_parameter() -> None:
    for url in ("redis://host:6380?db=3", "redis://host:6380/?db=3", "redis://host:6380/3?db=3"):
        assert Broker(url=url).url is not None
        assert read_broker_url(url).url == "redis://host:6380/3"
        assert redis_pool(read_broker_url(url), {}).connection_kwargs["db"] == 3
        assert celery_settings(Settings(broker=Broker(url=url)))["broker_url"] == "redis://host:6380/3"
    assert read_broker_url("sentinel://a?db=3;sentinel://b").url == "sentinel://a/3;sentinel://b/3"


def test_tls_checks_the_server_unless_it_is_told_not_to() -> None:
    assert read_broker_url("rediss://host/0").tls == {"ssl_cert_reqs": "required"}
    lax = read_broker_url("rediss://host/0?ssl_cert_reqs=none&ssl_ca_certs=%2Fetc%2Fca.pem&ssl_check_hostname=false")
    assert lax.url == "rediss://host/0"
    assert lax.tls == {"ssl_cert_reqs": "none", "ssl_ca_certs": "/etc/ca.pem", "ssl_check_hostname": False}
    rabbit = read_broker_url("amqps://host//?ssl_ca_certs=/ca.pem")
    assert rabbit.amqp_tls() == {"ca_certs": "/ca.pem", "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}


def test_each_sentinel_is_asked_in_the_same_way() -> None:
    read = read_broker_url(SENTINELS)
    assert read.url == "sentinel://:redis-pw@a:26379/3;sentinel://:redis-pw@b/3"
    assert read.master_name == "texts"
    tls = {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": "required"}
    assert read.tls == tls
    assert read.sentinel_options({"socket_timeout": 2}) == {
        "socket_timeout": 2,
        "password": "sentinel-pw",
        "ssl": True,
        **tls,
    }


def test_broker_results_and_limits_speak_alike_and_nobody_is_shown_a_password() -> None:
    settings = Settings(broker=Broker(url=SENTINELS, limits_url=SENTINELS))
    made = celery_settings(settings)
    assert made["broker_url"] == made["result_backend"] == read_broker_url(SENTINELS).url
    assert made["broker_use_ssl"] == made["redis_backend_use_ssl"] == read_broker_url(SENTINELS).tls
    for options in (made["broker_transport_options"], made["result_backend_transport_options"]):
        assert (options["master_name"], options["sentinel_kwargs"]["password"]) == ("texts", "sentinel-pw")
    for secret in ("redis-pw", "sentinel-pw"):
        assert secret not in describe(settings) + repr(settings)
    rabbit = celery_settings(Settings(broker=Broker(url="amqp://host//", result_url="rediss://host/1")))
    assert (rabbit["result_backend"], rabbit["redis_backend_use_ssl"]) == (
        "rediss://host/1",
        {"ssl_cert_reqs": "required"},
    )
    assert "broker_use_ssl" not in rabbit


def test_no_thread_but_the_main_loop_changes_the_prefetch_count() -> None:
    """Celery's own restoring of it after a lost connection runs in task threads, and breaks the connection."""
    for url in ("amqp://host//", "redis://host/1"):
        assert celery_settings(Settings(broker=Broker(url=url)))["worker_enable_prefetch_count_reduction"] is False


@pytest.mark.parametrize(
    "broker",
    [
        {"limits_url": "amqp://host//"},
        {"result_url": "amqp://host//"},
        {"url": "redis://a/0;sentinel://b/0"},
        {"url": "rediss://a/0?ssl_cert_reqs=maybe"},
        {"url": "redis://a:port/0"},
        {"url": "redis://a/2?db=3"},
        {"url": "redis://a?db=three"},
    ],
)
def test_what_cannot_be_is_refused(broker: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Broker(**broker)  # type: ignore[arg-type]


def service(url: str) -> Celery:
    """Another service's Celery, with what the documentation tells it to set."""
    read = read_broker_url(url)
    other = Celery("another-service", set_as_current=False)
    options = {"master_name": read.master_name, "sentinel_kwargs": read.sentinel_options({"socket_timeout": 2})}
    other.conf.update(
        broker_url=read.url,
        result_backend=read.url,
        broker_transport_options=options,
        result_backend_transport_options=options,
    )
    if read.tls is not None:
        other.conf.update(broker_use_ssl=read.tls, redis_backend_use_ssl=read.tls)
    return other


def job(url: str, number: int) -> dict[str, object]:
    arguments = {"account": "main", "to": f"+1415555{number:04d}", "message": "hello"}
    with service(url) as other:
        result = other.send_task("vtsync.send_message", kwargs=arguments)
        # A worker that lost its broker tries again after 2, 4, 6 ... seconds, up to 30.
        answer: dict[str, object] = result.get(timeout=80, interval=0.05)
        result.forget()
        result.backend = None  # whenever it is collected, Celery would seek its server, for 100 s once that is gone
    return answer


@pytest.mark.redis
def test_redis_over_tls_carries_jobs_results_and_limits(tmp_path: Path) -> None:
    authority, certificate, key = own_authority(tmp_path)
    port = free_port()
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority)]
    server = OwnRedis(tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *files)
    plain = f"rediss://127.0.0.1:{port}/0"
    url = f"{plain}?ssl_ca_certs={authority}"
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
            redis.Redis(connection_pool=redis_pool(read_broker_url(plain), {})).ping()
        made = stack.enter_context(fleet(tmp_path, broker=url))
        made.configure(account="texts_per_second = 50.0")
        worker = made.start("worker")
        assert job(url, 101)["ok"] is True
        until("the text", lambda: len(made.sandbox.messages()) == 1)
        assert redis.Redis(port=server.port).keys("vtsync:limits*"), "the limits are counted there, too"
        assert worker.poll() is None


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[OwnRedis, str]]:
    """A master that has a replica, and the URL of the Sentinel that watches them."""
    login = ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
    master = OwnRedis(tmp_path, *login, name="master")
    replica = OwnRedis(tmp_path, *login, "--replicaof", f"127.0.0.1 {master.port}", name="replica")
    sentinel = OwnSentinel(tmp_path, master, "texts", PASSWORD)
    with ExitStack() as stack:
        for server in (master, replica, sentinel):
            stack.callback(server.kill)
            server.start()
        asked = redis.Redis(port=sentinel.port, password=PASSWORD)
        until("the Sentinel to know the replica", lambda: asked.sentinel_slaves("texts"))
        yield (
            master,
            f"sentinel://:{PASSWORD}@127.0.0.1:{sentinel.port}/0?master_name=texts&sentinel_password={PASSWORD}",
        )


@pytest.mark.redis
def test_a_fleet_follows_the_sentinels_to_another_master(tmp_path: Path, watched: tuple[OwnRedis, str]) -> None:
    master, url = watched
    with fleet(tmp_path, broker=url) as made:
        made.configure(account="texts_per_second = 100.0")
        made.sandbox.add_fault(endpoint="send", action="delay", delay_ms=300)
        running = [made.start("worker"), made.start("beat"), made.start("web", "--port", str(port := free_port()))]
        assert job(url, 1)["ok"] is True
        key = made.run("keys", "create", "test", "--scope", "messages:write").stdout.strip()
        for number in range(2, 42):
            assert _post(port, key, number) == 202
        until("the first texts", lambda: len(made.sandbox.messages()) >= 3)
        master.kill()
        assert _post(port, key, 42) == 202, "the HTTP side waits for no broker"
        until("every text", lambda: made.states()["accepted"] == 42)
        assert job(url, 43)["ok"] is True, "the new master carries jobs"
        until("the text after it", lambda: made.states()["accepted"] == 43)
        assert [process.poll() for process in running] == [None] * 3
        texted = [message.to for message in made.sandbox.messages()]
        assert len(texted) == len(set(texted)) == 43


def _post(port: int, key: str, number: int) -> int:
    body = f'{{"to": "+1415555{number:04d}", "message": "hello"}}'
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/messages", body.encode(), headers)
    with until("the HTTP side", lambda: _answered(request)) as answer:
        status: int = answer.status
        return status


def _answered(request: urllib.request.Request) -> object:
    try:
        return urllib.request.urlopen(request, timeout=10)
    except ConnectionError:
        return None
    except urllib.error.URLError as error:
        if isinstance(error, urllib.error.HTTPError):
            raise
        return None
