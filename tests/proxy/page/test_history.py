"""Requests that have ended: in memory, in the ledger, and both as one list."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from a2py.ledger.row import AnswerColumns, RequestColumns, Row, UsageColumns
from a2py.ledger.store import Store
from a2py.proxy.page import recorder
from tests.paged import Page, open_page
from tests.proxied import SECRET, config, message, run_proxy
from tests.scripted import ScriptedServer, answering


def write(path: Path, count: int, session: str = "s", end: float | None = None, cost: float | None = 0.5) -> None:
    """Put rows of requests into a ledger that ended a second apart, the last one a minute ago."""
    last = time.time() - 60 if end is None else end
    store = Store(str(path))
    store.insert(
        [
            Row(
                last - (count - n) - 1.0,
                RequestColumns("team", session, "", f"m{n}", "1 default"),
                AnswerColumns("d0", "up", "chat", 200, "end_turn", "", 1, "top_k,image" if n == 0 else ""),
                UsageColumns(10, 30, 0, 5, 2, 0, cost, 0.2, 1.0),
            )
            for n in range(count)
        ]
    )
    store.close()


async def every(page: Page, limit: int) -> list[dict[str, Any]]:
    """All rows, read page by page."""
    rows: list[dict[str, Any]] = []
    while True:
        before = f"&before={rows[-1]['id']}" if rows else ""
        answer = await page.get(f"requests?limit={limit}{before}")
        assert answer.status == 200, answer.body
        rows += answer.json["requests"]
        assert len(answer.json["requests"]) <= limit
        if not answer.json["more"]:
            return rows
        assert len(answer.json["requests"]) == limit


@pytest.mark.parametrize("limit", [1, 3, 200])
async def test_memory_and_ledger_are_one_list(limit: int, tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    write(ledger, 5)
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base, ledger=str(ledger))) as proxy,
    ):
        await proxy.ask(message("before the page"))
        async with open_page(proxy, tmp_path) as page:
            for n in range(4):
                await proxy.ask(message(f"{n}"))
            await page.wait_for("now", connections=1)
            rows = await every(page, limit)
            assert [row["id"][:4] for row in rows] == ["req_"] * 4 + ["row_"] * 6
            assert [row["model"] for row in rows[5:]] == ["m4", "m3", "m2", "m1", "m0"]
            assert len({row["id"] for row in rows}) == 10
            ends = [row["time"] + row["seconds"] for row in rows]
            assert ends == sorted(ends, reverse=True)


async def test_rows_that_memory_has_forgotten_come_from_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "ROWS", 3)
    ledger = tmp_path / "usage.db"
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base, ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        for n in range(8):
            await proxy.ask(message(f"{n}", model="test-model"))
        rows = await every(page, 2)
        assert [row["id"][:4] for row in rows] == ["req_"] * 3 + ["row_"] * 5


async def test_a_row_of_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    write(ledger, 2)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        rows = (await page.get("requests")).json["requests"]
        assert rows[1] | {"time": 0} == {
            "id": "row_1",
            "worker": None,
            "time": 0,
            "model": "m0",
            "deployment": "d0",
            "upstream": "up",
            "wire": "chat",
            "route": "1 default",
            "status": 200,
            "stop_reason": "end_turn",
            "error": "",
            "attempts": 1,
            "key": "team",
            "session": "s",
            "agent": "",
            "input_tokens": 10,
            "cache_read_tokens": 30,
            "cache_write_tokens": 0,
            "output_tokens": 5,
            "thinking_tokens": 2,
            "estimated": False,
            "cost": 0.5,
            "first_token": 0.2,
            "seconds": 1.0,
            "degraded": ["top_k", "image"],
            "notes": [],
            "recorded": False,
        }
        detail = (await page.get("requests/row_1")).json
        assert detail["parts"] == [] and detail["attempts"] == [] and detail["model"] == "m0"
        for id in ("row_3", "row_0", "row_-1", "row_x", "row_" + "9" * 19):
            assert (await page.get(f"requests/{id}")).status == 404


async def test_a_session(tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    write(ledger, 3, "one/with slash ✓")
    write(ledger, 2, "two", cost=None)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        one = (await page.get("sessions/one%2Fwith%20slash%20%E2%9C%93")).json
        assert [turn["model"] for turn in one["turns"]] == ["m0", "m1", "m2"]
        assert one["cost"] == 1.5 and one["cache_share"] == 0.75
        two = (await page.get("sessions/two")).json
        assert len(two["turns"]) == 2 and two["cost"] is None
        none = (await page.get("sessions/nobody'%3B--")).json
        assert none == {"turns": [], "cost": None, "cache_share": None}


async def test_a_turn_of_unknown_price_makes_the_sum_unknown(tmp_path: Path) -> None:
    """Also one without output, as for `a2py usage`."""
    ledger = tmp_path / "usage.db"
    write(ledger, 2)
    store = Store(str(ledger))
    took = UsageColumns(1000, 0, 0, 0, 0, 0, None, 0.0, 1.0)
    answer = AnswerColumns("d0", "up", "chat", 200, "end_turn", "", 1, "")
    store.insert([Row(time.time() - 30, RequestColumns("team", "s", "", "m", ""), answer, took)])
    store.close()
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        session = (await page.get("sessions/s")).json
        group = (await page.get("usage?by=session")).json["groups"][0]
    assert session["cost"] is None and group["cost"] is None and len(session["turns"]) == 3
    assert session["cache_share"] == round(60 / (1020 + 60), 4)


async def test_rows_of_the_ledger_have_no_secret(tmp_path: Path) -> None:
    ledger, session = tmp_path / "usage.db", f"a {SECRET}"
    write(ledger, 2, session)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        for path in ("requests", "requests/row_1", f"sessions/{quote(session)}"):
            answer = await page.get(path)
            assert answer.status == 200 and b"a [redacted]" in answer.body and SECRET.encode() not in answer.body


async def test_a_ledger_that_can_t_be_read_is_said_by_every_page(tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    ledger.write_bytes(b"no database " * 100)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        for path in ("requests", "requests/row_1", "sessions/s", "usage"):
            answer = await page.get(path)
            assert answer.status == 500, path
            assert answer.json["error"]["message"] == "The ledger can't be read: file is not a database"


async def test_before_the_first_answer_the_ledger_is_empty(tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        for _ in ("no file", "no table"):
            assert (await page.get("requests")).json == {"requests": [], "more": False}
            assert (await page.get("sessions/s")).json == {"turns": [], "cost": None, "cache_share": None}
            ledger.touch()


async def test_without_a_ledger(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base, ledger=False)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        await page.wait_for("request")
        assert len((await page.get("requests")).json["requests"]) == 1
        for path in ("sessions/x", "usage"):
            answer = await page.get(path)
            assert answer.status == 404 and "ledger" in answer.json["error"]["message"]


async def test_usage_is_that_of_its_page(tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    write(ledger, 3)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        usage = (await page.get("usage?by=key&since=7d")).json
        assert usage["by"] == "key" and usage["groups"][0]["requests"] == 3
        assert (await page.get("usage?by=colour")).status == 400
        for since in ("soon", "9" * 400, "-1d", "%00", "1e999"):
            assert (await page.get(f"usage?since={since}")).status in (200, 400)


HOSTILE = ["x", "-1", "0", "1001", "1e3", "9" * 30, "%00", "%D9%A1", "1%20", "0x10", ""]


@pytest.mark.parametrize("limit", HOSTILE)
async def test_limits_that_are_none(limit: str, tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        answer = await page.get(f"requests?limit={limit}")
        assert answer.status == (400 if limit else 200), answer.body


@pytest.mark.parametrize(
    "before",
    ["x", "req_", "req_" + "x" * 24, "row_", "row_x", "row_-1", "' OR 1", "%00", "req_" + "x" * 5000, "row_1e9"],
)
async def test_marks_that_are_none(before: str, tmp_path: Path) -> None:
    ledger = tmp_path / "usage.db"
    write(ledger, 2)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", ledger=str(ledger))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        answer = await page.get("requests?before=" + before.replace(" ", "%20"))
        assert answer.status in (400, 404), answer.body
        assert (await page.get("requests?before=row_1")).json["requests"] == []
        assert len((await page.get("requests?before=row_999")).json["requests"]) == 2


@pytest.mark.parametrize("id", ["x", "req_%00", "req_" + "é" * 24, "..%2f", "req_" + "x" * 90, "row_" + "1" * 90])
async def test_ids_that_are_none(id: str, tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        for tail in ("", "/parts/client_request", "/export?as=curl"):
            answer = await page.get(f"requests/{id}{tail}".encode().decode("latin-1"))
            assert answer.status in (400, 404), answer.body
