"""A running proxy in front of scripted upstreams, for the tests of a2py/proxy.

Knows: Config and Server. Must not know: what any test checks.
Use: `async with run_proxy(config(upstream.base)) as proxy: …`; leaving it asserts that no task, answer or connection is
left."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

import a2py
from a2py.config import Config, Settings
from a2py.deployment import Deployment
from a2py.proxy.log import Log
from a2py.proxy.server import Listen, Server
from tests.scripted import Answer, Raw

#: The upstream's key: it must never show anywhere.
SECRET = "sk-very-secret-upstream-key"
#: Small enough for a test, large enough that a loaded machine does not fire them by chance.
FAST = {"num_retries": 0, "drain_seconds": 5.0, "discover": False}

#: Header in which Claude Code sends its session.
SESSION = "x-claude-code-session-id"


def deployment(base: str, name: str = "test-model", **changes: Any) -> Deployment:
    default = Deployment(name=name, id=f"{name}/1", provider="scripted", model="upstream-model", base=base, key=SECRET)
    return replace(default, **changes) if changes else default


def config(*bases: str, deployments: tuple[Deployment, ...] = (), master_key: str = "", **settings: Any) -> Config:
    """One deployment of `test-model` for each base, and `deployments`; `settings`: attributes of Settings."""
    every = tuple(deployment(base, id=f"d{n}") for n, base in enumerate(bases)) + deployments
    return Config(deployments=every, settings=Settings(**{**FAST, **settings}), master_key=master_key)


class Running:
    """`lines`: the log so far, as objects."""

    def __init__(self, server: Server, port: int, out: io.StringIO) -> None:
        self.server = server
        self.services = server.services
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self._out = out

    @property
    def busy(self) -> set[Any]:
        """Connections whose request is not answered yet."""
        connections = self.services.connections
        assert connections is not None
        return connections.busy

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._out.getvalue().splitlines()]

    @property
    def log(self) -> str:
        return self._out.getvalue()

    def client(self) -> Raw:
        return Raw(self.port)

    async def ask(
        self, body: Any, path: str = "/v1/messages", method: str = "POST", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        async with self.client() as client:
            client.ask(method, path, body, tuple((headers or {}).items()))
            return await client.answer(method)


@asynccontextmanager
async def run_proxy(
    settings: Config, *, collect: bool = True, crashes: bool = False, discover: bool = False, **more: Any
) -> AsyncIterator[Running]:
    """`collect`: run the garbage collector at the end; `crashes`: the test makes the proxy crash; `discover`: ask upstreams
    what they are, which scripts do not expect otherwise; `more`: of `Server`."""
    settings = replace(settings, settings=replace(settings.settings, discover=discover))
    out = io.StringIO()
    before = asyncio.all_tasks()
    server = Server(settings, log=Log(out, "json"), **more)
    addresses = await server.start(Listen("127.0.0.1", 0))
    running = Running(server, addresses[0][1], out)
    try:
        yield running
        assert crashes or not [line for line in running.lines if line["event"] == "crash"], running.log
        await settle(lambda: not server.services.running.exchanges)
        await settle(lambda: server.services.upstream.connections == server.services.upstream.idle)
    finally:
        await server.close()
    await settle(lambda: not [task for task in asyncio.all_tasks() - before if _ours(task)])
    assert not server.services.running.exchanges, "an answer is left"
    assert not server.services.upstream.connections, "an upstream connection is left"
    assert not running.busy, "a connection is left"
    assert not server.services.router.line.waiting, "somebody waits"
    assert not server.services.limits.running, "a slot of a deployment is left"
    assert not any(use.held for use in server.services.limits.usage().values()), "reserved tokens are left"
    assert SECRET not in running.log
    if collect:
        gc.collect()


#: Where their code lies: a checkout may itself be named a2py, with these tests in it.
_OURS = tuple(os.path.dirname(str(module.__file__)) + os.sep for module in (a2py, aiohttp))


def _ours(task: asyncio.Task[Any]) -> bool:
    """Whether the proxy or aiohttp started it (not a scripted peer)."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(_OURS)


async def settle(condition: Any, seconds: float = 60.0) -> None:
    """Wait until `condition()` holds. `seconds`: only so that a fault ends."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"did not settle: {list(asyncio.all_tasks())}"
        await asyncio.sleep(0.005)


def message(text: str = "Hi", stream: bool = True, **more: Any) -> dict[str, Any]:
    """A small request."""
    body = {"model": "test-model", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}
    return {**body, "stream": True} if stream else body
