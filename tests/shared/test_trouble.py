"""What the log says of a Redis that can't be used: where, why, what to do, and no login."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, RedisError, ResponseError

from a2py.shared.store import Store
from a2py.shared.trouble import LinkError, compose, describe, find_place
from tests import redis_server
from tests.redis_server import RedisServer

ALONE = "; until then each process has the limits for itself"
ADDRESS = "start it, or correct `router_settings.redis_host` and `router_settings.redis_port`"
SECRET = "hidden-word"


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **values: object) -> None:
        self.lines.append(f"{event} {values}")

    def warning(self, event: str, **values: object) -> None:
        assert values == {"processes": 1}
        self.lines.append(event)


async def first_line(url: str, **options: Any) -> str:
    log = Log()
    store = Store(url, options, log)
    store.start()
    try:
        for _ in range(1500):
            if log.lines:
                return log.lines[0]
            await asyncio.sleep(0.01)
        raise AssertionError("nothing in the log")
    finally:
        await store.close()


@asynccontextmanager
async def listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    """Yield `host:port` of a server."""
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()


async def answer_as_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.real
@pytest.mark.skipif(bool(redis_server.missing()), reason=redis_server.missing())
@pytest.mark.parametrize(
    ("password", "login", "path", "words"),
    [
        ("right", f":{SECRET}@", "", "refuses the password: correct `router_settings.redis_password` (or "),
        ("right", f"{SECRET}:{SECRET}@", "", "refuses the password: correct `router_settings.redis_password` (or "),
        ("right", "", "", "asks for a password: set `router_settings.redis_password`"),
        ("", f":{SECRET}@", "", "has no password for this user: remove `router_settings.redis_password`, or add"),
        ("right", ":right@", "/99", "does not have that database: correct `router_settings.redis_db`"),
        ("", "", "/99", "does not have that database: correct `router_settings.redis_db`"),
    ],
)
async def test_a_redis_that_refuses(tmp_path: Path, password: str, login: str, path: str, words: str) -> None:
    with RedisServer(tmp_path, ("--requirepass", password)) as server:
        line = await first_line(f"redis://{login}127.0.0.1:{server.port}{path}")
    assert line.startswith(f"Redis at 127.0.0.1:{server.port} {words}") and line.endswith(ALONE), line
    assert SECRET not in line and "right" not in line


@pytest.mark.real
@pytest.mark.skipif(bool(redis_server.missing()), reason=redis_server.missing())
async def test_a_user_without_permission(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with Redis.from_url(server.url) as client:
            await client.acl_setuser("bob", enabled=True, passwords=[f"+{SECRET}"], commands=["+ping"])
        line = await first_line(server.url, username="bob", password=SECRET)
    assert "does not allow this user what a2py needs: allow it scripts and the keys `{a2py:1}:*`" in line
    assert SECRET not in line


async def test_nobody_listens() -> None:
    line = await first_line(f"redis://u:{SECRET}@127.0.0.1:1")
    assert line.startswith("Redis at 127.0.0.1:1 can't be reached (") and f"): {ADDRESS}{ALONE}" in line
    assert SECRET not in line
    assert "Redis at /no/such.sock can't be reached" in await first_line("unix:///no/such.sock")


async def test_a_host_that_does_not_exist() -> None:
    line = await first_line("redis://no-such-host.invalid:6379")
    assert line.startswith("Redis at no-such-host.invalid:6379 can't be found (")
    assert f"): correct `router_settings.redis_host`{ALONE}" in line


async def test_another_program() -> None:
    async with listen(answer_as_http) as place:
        line = await first_line(f"redis://{place}")
    assert line.startswith(f"Redis at {place} ") and "`router_settings.redis_port`" in line


async def test_a_server_that_hangs_up() -> None:
    async with listen(hang_up) as place:
        line = await first_line(f"redis://{place}")
    assert line.startswith(
        f"Redis at {place} closed the connection: if TLS is spoken there, or another program listens"
    )


async def test_tls_where_none_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2py.shared.link.CONNECT_SECONDS", 0.1)
    async with listen(stay_silent) as place:
        line = await first_line(f"rediss://{place}")
        assert line.startswith(f"Redis at {place} makes no connection within 0.1 s: {ADDRESS}; if no TLS is spoken ")
        assert "correct `router_settings.redis_ssl`" in line
    async with listen(answer_as_http) as place:
        line = await first_line(f"rediss://{place}")
        assert "fails at TLS" in line and "correct `router_settings.redis_ssl`" in line
        line = await first_line(f"rediss://{place}?ssl_ca_certs=/no/such.pem")
        assert "a file of its TLS options is missing: correct `ssl_*`" in line


def make_error(cause: BaseException) -> RedisError:
    error = RedisError(f"Error connecting to {SECRET}")
    error.__cause__ = cause
    return error


CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
CERTIFICATE.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (make_error(CERTIFICATE), "can't be verified (self-signed certificate): name its CA by `ssl_ca_certs`"),
        (BusyLoadingError("LOADING"), "is still loading its data: until it is back, each"),
        (ReadOnlyError("READONLY"), "is a replica, which can't be written: name its primary by `redis-host-key`"),
        (AuthenticationError(f"WRONGPASS {SECRET}"), "refuses the password: correct `REDIS_PASSWORD`"),
        (ResponseError(f"unknown command 'AUTH', with args: '{SECRET}'"), "refuses the login (ResponseError): correct"),
        (ResponseError("SELECT is not allowed in cluster mode"), "does not have that database: correct"),
        (RedisError(SECRET), "can't be used (RedisError): correct the address"),
    ],
)
def test_what_an_error_means(error: BaseException, words: str) -> None:
    keys = {"password": "REDIS_PASSWORD", "host": "redis-host-key"}
    line = compose(describe(error, 2.0, False), "h:1", keys, 3)
    assert line.startswith("Redis at h:1 ") and words in line and SECRET not in line
    assert line.endswith("each process keeps to its part of the limits")


def test_what_redis_says_is_no_template() -> None:
    assert "refuses a call ({host})" in compose(LinkError("refuses a call ({host})"), "h:1", {}, 1)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h", "h:6379"),
        (f"rediss://u:{SECRET}@h:1/0?password={SECRET}", "h:1"),
        (f"redis://u:{SECRET}@[::1]", "[::1]:6379"),
        ("redis://[::1]:7", "[::1]:7"),
        (f"unix://:{SECRET}@/run/a%20b.sock?db=1", "/run/a b.sock"),
    ],
)
def test_where_it_is(url: str, place: str) -> None:
    assert find_place(url) == place
