"""The probes as rows, for the page: on the demo by the whole proxy, and when nobody waits for them any more."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from a2py.cli.check.finding import FAIL, FOUND, NO, OK, SKIPPED, Finding
from a2py.cli.check.probes import PROBES
from a2py.cli.check.rows import describe, probe_rows
from a2py.upstream import Upstream
from tests.commands import a2py, serving
from tests.paged import Page, begin_session
from tests.process import free_port
from tests.proxied import deployment, settle
from tests.scripted import Peer, ScriptedServer, refusing


def test_a_row_says_what_was_found() -> None:
    assert describe("reach", Finding(OK, "answers", "", {})) == {
        "probe": PROBES["reach"].title,
        "result": "ok",
        "detail": "answers",
        "advice": "",
    }
    row = describe("tools", Finding(FOUND, "works", "look", {"tools": False}))
    assert row["result"] == "ok" and row["advice"] == "look; with these quirks: tools: False"
    assert [describe("tools", Finding(state, ""))["result"] for state in (NO, FAIL, SKIPPED)] == [
        "no",
        "fail",
        "skipped",
    ]


async def test_each_probe_has_a_row() -> None:
    async with ScriptedServer(refusing(401, "no such key")) as server:
        upstream = Upstream()
        try:
            rows = [row async for row in probe_rows(deployment(server.base), upstream)]
        finally:
            await upstream.close()
    assert [row["probe"] for row in rows] == [row.title for row in PROBES.values()]
    assert rows[0]["result"] == "fail" and rows[-1]["result"] == "skipped"


async def test_probes_end_when_nobody_waits_for_them() -> None:
    async def hangs(c: Peer) -> None:
        await c.wait_disconnect()

    async with ScriptedServer(hangs) as server:
        upstream = Upstream()
        async with aclosing(probe_rows(deployment(server.base), upstream)) as rows:  # type: ignore[type-var]
            first = asyncio.ensure_future(rows.__anext__())
            await settle(lambda: server.requests)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(server.someone_left.wait(), 10)
        await upstream.close()


async def test_the_page_runs_them(tmp_path: Path) -> None:
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        url = await asyncio.to_thread(lambda: server.url)
        link = await asyncio.to_thread(a2py, "ui", "--print", "--url", url, cwd=tmp_path)
        port = urlsplit(url).port or 0
        token = link.stdout.strip().partition("#")[2]
        page = Page(port, (await begin_session(port, token)).json["bearer"])
        answer = await page.post("check", {"model": None})
        rows = [orjson.loads(line) for line in answer.body.splitlines()]
        assert rows[-1] == {"type": "end"} and len(rows) == len(PROBES) + 1
        assert rows[0]["result"] == "ok" and rows[0]["model"] == "demo"
