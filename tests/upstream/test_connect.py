"""Making a connection: cancelled at any moment, it leaves nothing open and disturbs no other connection."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.errors import ApiError
from a2py.messages.types import Prepared
from a2py.upstream import Upstream, client
from a2py.upstream.connect import Resolver, Route, connect
from a2py.upstream.connection import Connection, Phase
from a2py.upstream.failure import cause_of
from a2py.upstream.origin import Origin
from tests.proxied import config, settle
from tests.proxy.test_server import certificate, server_context
from tests.scripted import Peer, ScriptedServer

__all__ = ["certificate"]

#: Turns of the event loop after which the connection below is made, with a margin.
TURNS = 30


class Owner:
    def take_back(self, connection: Connection) -> None:
        pass

    def remove(self, connection: Connection) -> None:
        pass


@pytest.mark.filterwarnings(
    "ignore:unclosed transport:ResourceWarning"
)  # of start_tls that was cancelled (CPython 3.10)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelling_at_any_turn_of_the_loop(scheme: str, certificate: Path) -> None:
    """A transport that outlived its socket once took over, and closed, the next connection that got the same file
    descriptor."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    async def script(c: Peer) -> None:
        pass

    context = server_context(certificate) if scheme == "https" else None
    async with ScriptedServer(script, tls=context) as upstream:
        route = Route(Origin(scheme, "127.0.0.1", upstream.port), None, str(certificate))
        for turns in range(TURNS):
            connecting = loop.create_task(connect(route, Resolver(loop), Owner(), loop))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            # It gets the file descriptor that has just become free.
            connection = await asyncio.wait_for(connect(route, Resolver(loop), Owner(), loop), 10)
            for task in await asyncio.gather(connecting, return_exceptions=True):
                if isinstance(task, Connection):
                    task.close()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert connection.phase is Phase.IDLE, turns
            connection.close()
        gc.collect()
        assert not complaints


class Body(bytes):
    """A request's body that can be counted."""


def count(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_closed_connection_needs_no_garbage_collector(scheme: str, certificate: Path) -> None:
    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        c.close()

    context = server_context(certificate) if scheme == "https" else None
    async with ScriptedServer(script, tls=context) as server:
        target = replace(config(server.base).deployments[0], ssl_verify=str(certificate))
        upstream = Upstream()
        before = count(Connection)
        with no_collector():
            for _ in range(5):
                response = await upstream.send(
                    target, Prepared(f"{server.base}/x", {}, b"x", False), total=5, silence=5
                )
                assert await response.whole(100) == b"ok"
                response.leave(is_complete=True)
            await settle(lambda: count(Connection) == before)
        await upstream.close()


async def test_a_connect_that_takes_too_long_keeps_no_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error names the limit that has passed, which may be the request's own."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        target = config(url).deployments[0]
        upstream = Upstream()
        with no_collector():
            for total, words in ((None, "time: 0.05 s"), (0.03, r"time: 0\.0[0-3]\d* s")):
                with pytest.raises(ApiError, match=words):
                    await upstream.send(target, Prepared(url, {}, Body(b"x"), False), total=total, silence=None)
            await settle(lambda: count(Body) == 0)
        await upstream.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ssl.SSLError(1, "x"), "tls"), (ssl.SSLError(), "tls"), (OSError(), "connect"), (ValueError(), "connect")],
)
def test_causes_of_errors_that_say_little(error: Exception, kind: str) -> None:
    """One that is not OpenSSL's own has no `reason`."""
    assert cause_of(error).kind == kind
