"""File descriptors: the limit is raised, and no more connections are served than fit into it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from a2py.proxy import files
from tests import process
from tests.proxied import config, message, run_proxy, settle
from tests.scripted import Peer, ScriptedServer, answering


@pytest.mark.parametrize(
    ("limit", "most", "fit"),
    [(0, 2000, 2000), (1024, 2000, 320), (1024, 100, 100), (20_000, 2000, 2000), (64, 10, 1)],
)
def test_connections_fit_into_the_descriptors(limit: int, most: int, fit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "limit", lambda: limit)
    assert files.fit_connections(most) == fit


async def test_no_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "limit", lambda: files.OTHERS + 2 * files.EACH)
    go = asyncio.Event()

    async def slow(c: Peer) -> None:
        await go.wait()
        await answering("Hi")(c)

    async with ScriptedServer(slow) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with proxy.client() as one, proxy.client() as two:
            for busy in (one, two):
                busy.ask("POST", "/v1/messages", message())
            await settle(lambda: len(upstream.requests) == 2)
            async with proxy.client() as three:
                three.ask("GET", "/")
                assert (await three.answer("GET")).status == 529
            go.set()
            for busy in (one, two):
                assert (await busy.answer()).status == 200
        assert any("max_connections" in line["event"] and line["served"] == 2 for line in proxy.lines)
        await settle(lambda: not proxy.server._connections.connections)  # type: ignore[union-attr]
        assert (await proxy.ask(message())).status == 200


@pytest.mark.parametrize(
    ("soft", "hard", "refuses", "becomes"),
    [
        (1024, 524_288, 0, 65_536),
        (256, 512, 0, 512),
        (256, -1, 65_536, 10_240),
        (256, -1, 1, 256),
        (-1, -1, 0, -1),
        (4096, 4096, 0, 4096),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_the_soft_limit_is_raised(
    soft: int, hard: int, refuses: int, becomes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`refuses`: as many and more are refused, as macOS does."""
    import resource

    now = [soft, hard]

    def setrlimit(which: int, limits: tuple[int, int]) -> None:
        if refuses and limits[0] >= refuses:
            raise ValueError("current limit exceeds maximum limit")
        now[:] = limits

    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    files.raise_limit()
    assert now == [becomes, hard] and files.limit() == (0 if becomes == -1 else becomes)


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="no /proc")
def test_a_real_process_has_what_the_system_allows(tmp_path: Path) -> None:
    """Started under a soft limit of 128, as a shell or a service manager may set it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        starting = process.running(tmp_path, [process.deployment("test-model", "http://127.0.0.1:1/v1")])
        with starting as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            line = next(
                line
                for line in Path(f"/proc/{running.pid}/limits").read_text().splitlines()
                if line.startswith("Max open files")
            )
            assert int(line.split()[3]) == min(hard, files.MAX_FILES) > 128
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
