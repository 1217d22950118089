"""The page of a proxy with two workers: whichever worker it reaches, it sees both."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.commands import a2py, serving
from tests.paged import Page, begin_session, stop
from tests.process import free_port
from tests.proxied import message, settle
from tests.scripted import Raw

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
#: Connections after which both workers have had some.
MANY = 40


async def make_token(url: str, folder: Path) -> str:
    result = await asyncio.to_thread(a2py, "ui", "--print", "--url", url, cwd=folder)
    assert result.returncode == 0, result
    return result.stdout.strip().partition("#")[2]


@asynccontextmanager
async def two_workers(folder: Path) -> AsyncIterator[tuple[Page, str]]:
    """An open page at a proxy with two workers, and the proxy's URL."""
    with serving("--demo", "--num-workers", "2", "--port", str(free_port()), cwd=folder) as server:
        url = await asyncio.to_thread(lambda: server.url)
        port = urlsplit(url).port or 0
        answers = [await begin_session(port, token) for token in [await make_token(url, folder)]]
        page = Page(port, answers[0].json["bearer"])
        watching = asyncio.ensure_future(page.watch())
        try:
            await page.wait_for("state")
            yield page, url
        finally:
            await stop(watching)


async def ask(page: Page, text: str, model: str = "demo") -> int:
    async with Raw(page.port) as client:
        client.ask("POST", "/v1/messages", message(text, model=model, stream=False))
        return (await client.answer()).status


async def test_one_page_sees_both_workers(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (page, _):
        assert page.lines[0]["workers"] == 2
        answers = await asyncio.gather(*(page.get("models") for _ in range(MANY)))
        assert {answer.status for answer in answers} == {200}, "each worker knows the bearer"

        # The other worker records from the moment in which it hears of the page.
        while len({line["worker"] for line in page.lines if line["type"] == "request"}) < 2:
            assert await ask(page, "Hello") == 200
        for n in range(MANY):
            assert await ask(page, f"question {n}") == 200
        await settle(lambda: page.now["minute"]["requests"] >= MANY)
        rows = [line for line in page.lines if line["type"] == "request"]
        assert {row["worker"] for row in rows} == {0, 1}

        page_rows = (await page.get(f"requests?limit={len(rows)}")).json["requests"]
        assert {row["id"] for row in page_rows} == {row["id"] for row in rows}
        for row in rows[-8:]:
            detail = (await page.get(f"requests/{row['id']}")).json
            assert detail["recorded"] and len(detail["parts"]) == 4, row
            part = (await page.get(f"requests/{row['id']}/parts/client_request")).json
            assert "question" in part["text"]
        latest = {row["worker"]: row for row in rows}
        for row in latest.values():
            answers = await asyncio.gather(*(page.post(f"requests/{row['id']}/replay") for _ in range(4)))
            assert {answer.status for answer in answers} == {200}, "whichever worker is reached"


async def test_a_token_is_redeemed_once_on_all_workers(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (page, url):
        for _ in range(3):
            token = await make_token(url, tmp_path)
            answers = await asyncio.gather(*(begin_session(page.port, token) for _ in range(8)))
            assert sorted(answer.status for answer in answers) == [200] + [401] * 7
