"""Making a connection: cancelled at any moment, it leaves nothing open and disturbs no other connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from a2py.upstream.connect import Resolver, Route, connect
from a2py.upstream.connection import Connection, Phase
from a2py.upstream.origin import Origin
from tests.scripted import Peer, Scripted
from tests.test_proxy_server import certificate, server_context

__all__ = ["certificate"]

#: Turns of the event loop after which the connection below is made, with a margin.
TURNS = 30


class Owner:
    def released(self, connection: Connection) -> None:
        pass

    def gone(self, connection: Connection) -> None:
        pass


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelling_at_any_turn_of_the_loop(scheme: str, certificate: Path) -> None:
    """A transport that outlived its socket once took over, and closed, the next connection that got the same file descriptor."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    async def script(c: Peer) -> None:
        pass

    context = server_context(certificate) if scheme == "https" else None
    async with Scripted(script, tls=context) as upstream:
        route = Route(Origin(scheme, "127.0.0.1", upstream.port), None, str(certificate))
        for turns in range(TURNS):
            cancelled = loop.create_task(connect(route, Resolver(loop), Owner(), loop))
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelled.cancel()
            # It gets the file descriptor that has just become free.
            connection = await asyncio.wait_for(connect(route, Resolver(loop), Owner(), loop), 10)
            for task in await asyncio.gather(cancelled, return_exceptions=True):
                if isinstance(task, Connection):
                    task.close()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert connection.phase is Phase.IDLE, turns
            connection.close()
        assert not complaints
