"""The ledger of a running proxy: a row for each answer, whatever its end, with what the upstream counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from a2py.cli.main import main
from a2py.deployment import Deployment
from a2py.ledger.query import sum_by
from a2py.ledger.row import LENGTH, Row
from a2py.prices import Price, Rates
from a2py.proxy.log import Record
from tests import process
from tests.proxied import SESSION, Running, config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, completion, refusing, text

PRICE = Price(Rates(1e-6, 2e-6, 1e-7, 3e-6))


def rows(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM answers ORDER BY id")]


def count_rows(path: Path) -> int:
    """Count rows, 0 as long as the file is being made."""
    try:
        return len(rows(path)) if path.exists() else 0
    except sqlite3.OperationalError:
        return 0


async def flush_rows(proxy: Running, path: Path) -> list[dict[str, Any]]:
    keeper = proxy.services.books.keeper
    assert keeper is not None
    await asyncio.wrap_future(keeper.writer.flush())
    return rows(path)


def chat_usage(prompt: int, completion: int, cached: int = 0, thinking: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


async def test_a_row_has_what_the_upstream_counted(tmp_path: Path) -> None:
    path = tmp_path / "state" / "usage.db"

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*text("Hello", tokens=chat_usage(100, 20, 60, 5)))
        c.end()

    async with ScriptedServer(script) as upstream:
        settings = config(
            deployments=(deployment(upstream.base, id="d0", price=PRICE),), master_key="sk-master", ledger=str(path)
        )
        async with run_proxy(settings) as proxy:
            headers = {"x-api-key": "sk-master", SESSION: "s1", "x-claude-code-agent-id": "a1"}
            assert not path.exists(), "the file is made with the first row"
            assert (await proxy.ask(message("secret content"), headers=headers)).status == 200
            (row,) = await flush_rows(proxy, path)
            metrics = (await proxy.ask(None, "/metrics", "GET", headers=headers)).body.decode()
    assert abs(row.pop("time") - time.time()) < 600
    assert 0 < row.pop("first") <= row.pop("seconds")
    assert row.pop("cost") == pytest.approx(40 * 1e-6 + 60 * 1e-7 + 20 * 2e-6)
    assert row == {
        "id": 1,
        "key": "master",
        "session": "s1",
        "agent": "a1",
        "model": "test-model",
        "deployment": "d0",
        "upstream": "upstream-model",
        "wire": "chat",
        "route": "",
        "status": 200,
        "stop": "end_turn",
        "error": "",
        "attempts": 1,
        "input": 40,
        "cache_read": 60,
        "cache_write": 0,
        "output": 20,
        "thinking": 5,
        "estimated": 0,
        "degraded": "",
    }
    data = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"secret content" not in data and b"sk-master" not in data and b"Hello" not in data
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert 'a2py_cost_dollars_total{deployment="d0",key="master"} 0.000086' in metrics
    assert 'a2py_key_requests_total{key="master",status="200"} 1' in metrics
    assert 'a2py_key_tokens_total{key="master",direction="output"} 20' in metrics


async def test_counting_tokens_and_refused_strangers_are_no_answers(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with ScriptedServer(answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(config(upstream.base, master_key="sk-master", ledger=str(path))) as proxy:
            assert (await proxy.ask(message())).status == 401
            headers = {"x-api-key": "sk-master"}
            assert (await proxy.ask(message(stream=False), "/v1/messages/count_tokens", headers=headers)).status == 200
            assert (await proxy.ask({**message(), "model": "nobody"}, headers=headers)).status == 404
            (row,) = await flush_rows(proxy, path)
    assert (row["model"], row["status"], row["error"], row["deployment"], row["cost"]) == (
        "nobody",
        404,
        "not_found",
        "",
        None,
    )


async def test_a_cut_answer_and_one_whose_client_left_count_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    arrival = asyncio.Event()

    async def cut(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"role": "assistant", "content": "word " * 40}))
        await c.drain()
        c.close()

    async def hang(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"role": "assistant", "content": "word " * 80}))
        await c.drain()
        await c.wait_disconnect()
        arrival.set()

    async def silent(c: Peer) -> None:
        await c.wait_disconnect()

    async with (
        ScriptedServer(cut, hang, silent) as upstream,
        run_proxy(config(upstream.base, ledger=str(path))) as proxy,
    ):
        assert (await proxy.ask(message())).names[-1] == "error"
        async with proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await client.head()
            assert b"message_start" in await client.piece()
        await asyncio.wait_for(arrival.wait(), 10)
        async with proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await settle(lambda: len(upstream.requests) == 3)
        await settle(lambda: not proxy.services.running.exchanges)
        broken, leaver, unheard = await flush_rows(proxy, path)
    assert broken["status"] == 200 and broken["error"] == "upstream" and broken["estimated"] == 1
    assert broken["input"] > 0 and broken["output"] == 51
    assert leaver["status"] == 499 and leaver["error"] == "" and leaver["output"] == 101 and leaver["estimated"] == 1
    assert unheard["status"] == 499 and unheard["output"] == 0 and unheard["estimated"] == 1
    assert unheard["input"] == broken["input"]
    group = sum_by(str(path), "model")[0]
    assert (group.requests, group.errors, group.estimated) == (3, 1, 3)


@pytest.mark.parametrize("where", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("has_head", [True, False])
async def test_an_answer_that_nobody_waited_for_costs_its_input(
    tmp_path: Path, where: str, stream: bool, has_head: bool
) -> None:
    """The upstream has worked. An exact 0 would be wrong, and the ledger would have less than a budget."""
    path = tmp_path / "usage.db"
    came = asyncio.Event()

    async def silent(c: Peer) -> None:
        if has_head:
            c.head(200, SSE)
            await c.drain()
        came.set()
        await c.wait_disconnect()

    async with ScriptedServer(silent) as upstream:
        first = deployment(upstream.base, price=Price(Rates(1e-3, 1e-3)))
        async with run_proxy(config(deployments=(first,), ledger=str(path))) as proxy:
            async with proxy.client() as client:
                client.ask("POST", where, message("word " * 1000, stream=stream))
                await came.wait()
                client.reset()
            await settle(lambda: not proxy.services.running.exchanges)
            (row,) = await flush_rows(proxy, path)
            assert "a2py_tokens_estimated_total" in (await proxy.ask(None, "/metrics", "GET")).body.decode()
    assert row["status"] == 499 and row["estimated"] == 1 and row["output"] == 0
    assert 900 < row["input"] < 2000 and row["cost"] == pytest.approx(row["input"] * 1e-3)


async def test_what_an_upstream_without_an_answer_took_is_estimated(tmp_path: Path) -> None:
    """It may have worked until the time was up. One that refuses, or is not there, has done nothing."""
    path = tmp_path / "usage.db"

    async def silent(c: Peer) -> None:
        await c.wait_disconnect()

    async with ScriptedServer(silent) as slow, ScriptedServer(refusing(503)) as busy:
        settings = config(
            deployments=(
                deployment(slow.base, "slow", id="s", timeout=0.2, stream_timeout=0.2),
                deployment(busy.base, "busy", id="b"),
                deployment("http://127.0.0.1:9/v1", "gone", id="g"),
            ),
            ledger=str(path),
        )
        async with run_proxy(settings) as proxy:
            for name in ("slow", "busy", "gone"):
                assert (await proxy.ask({**message(), "model": name})).status >= 500
            rows = await flush_rows(proxy, path)
    assert [(row["model"], bool(row["input"]), row["output"], row["estimated"]) for row in rows] == [
        ("slow", True, 0, 1),
        ("busy", False, 0, 0),
        ("gone", False, 0, 0),
    ]


async def test_attempts_of_one_answer_are_summed(tmp_path: Path) -> None:
    """An attempt that breaks off after its usage, before anything was delivered, was counted by the upstream, too."""
    path = tmp_path / "usage.db"

    async def fail(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk(usage=chat_usage(1000, 7)), {"error": {"message": "overloaded", "code": 503}})
        c.end()

    cheap = Price(Rates(1e-6, 1e-6))
    async with ScriptedServer(fail) as first, ScriptedServer(answering("Hi")) as second:
        settings = config(
            deployments=(
                deployment(first.base, id="d0", price=PRICE),
                deployment(second.base, "other", id="d1", price=cheap),
            ),
            fallbacks={"test-model": ("other",)},
            master_key="sk-m",
            ledger=str(path),
        )
        async with run_proxy(settings) as proxy:
            assert (await proxy.ask(message(), headers={"x-api-key": "sk-m"})).status == 200
            (row,) = await flush_rows(proxy, path)
            metrics = (await proxy.ask(None, "/metrics", "GET", headers={"x-api-key": "sk-m"})).body.decode()
    for name, label, direction, tokens in (
        ("tokens_estimated", "deployment", "input", {"d0": 1000, "d1": 11}),
        ("tokens_estimated", "deployment", "output", {"d0": 7, "d1": 3}),
        ("key_tokens", "key", "input", {"master": 1011}),
        ("key_tokens", "key", "output", {"master": 10}),
    ):
        for one, count in tokens.items():
            assert f'a2py_{name}_total{{{label}="{one}",direction="{direction}"}} {count}\n' in metrics
    assert (row["model"], row["deployment"], row["attempts"]) == ("test-model", "d1", 2)
    assert (row["input"], row["output"]) == (1011, 10)
    assert row["cost"] == pytest.approx(1000 * 1e-6 + 7 * 2e-6 + 14 * 1e-6)


async def test_what_passes_through_has_a_row(tmp_path: Path) -> None:
    """OpenAI's endpoint, with Codex' session header; the tokens are the upstream's own."""
    path = tmp_path / "usage.db"

    async def script(c: Peer) -> None:
        c.reply({**completion("Hi"), "usage": chat_usage(100, 20, 60, 5)})

    async with ScriptedServer(script) as upstream:
        settings = config(deployments=(deployment(upstream.base, id="d0", price=PRICE),), ledger=str(path))
        async with run_proxy(settings) as proxy:
            body = {"model": "test-model", "messages": [{"role": "user", "content": "Hi"}]}
            assert (await proxy.ask(body, "/v1/chat/completions", headers={"session_id": "codex-1"})).status == 200
            assert (await proxy.ask(body, "/v1/chat/completions", headers={"conversation_id": "c"})).status == 200
            row, other = await flush_rows(proxy, path)
    assert other["session"] == "c", "whatever names a session for its deployment names it here"
    assert (row["session"], row["model"], row["deployment"], row["estimated"]) == ("codex-1", "test-model", "d0", 0)
    assert (row["input"], row["cache_read"], row["output"], row["thinking"]) == (40, 60, 20, 5)
    assert row["cost"] == pytest.approx(40 * 1e-6 + 60 * 1e-7 + 20 * 2e-6)


async def test_a_stream_that_passes_and_ends_with_the_upstreams_error_counts_as_one(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hi"}), chunk(usage=chat_usage(9, 3)), {"error": {"message": "sk-secret"}})
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, ledger=str(path))) as proxy:
        answer = await proxy.ask({**message(), "max_tokens": 5}, "/v1/chat/completions")
        assert answer.status == 200 and b"sk-secret" in answer.body, "as it came"
        (row,) = await flush_rows(proxy, path)
        assert "sk-secret" not in proxy.log
    assert (row["status"], row["error"], row["input"], row["output"]) == (200, "upstream", 9, 3)
    assert sum_by(str(path), "model")[0].errors == 1


async def test_a_file_that_cannot_be_written_stops_no_answer(tmp_path: Path) -> None:
    """Locked, then broken, then deleted: each answer is given, and each row is there once it can be written."""
    path = tmp_path / "usage.db"
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, ledger=str(path))) as proxy:
        keeper = proxy.services.books.keeper
        assert keeper is not None
        await proxy.ask(message())
        await flush_rows(proxy, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await proxy.ask(message())).status == 200
            with pytest.raises(OSError, match="locked"):
                await flush_rows(proxy, path)
            assert (await proxy.ask(None, "/usage", "GET")).status == 500
            assert (await proxy.ask(message())).status == 200
            other.execute("ROLLBACK")
        assert len(await flush_rows(proxy, path)) == 3
        assert keeper.writer.lost_rows == 0
        path.unlink()
        assert (await proxy.ask(message())).status == 200
        assert len(await flush_rows(proxy, path)) == 1, "a new file"
        events = [line["event"] for line in proxy.lines if line["event"].startswith("ledger")]
    assert events == ["ledger can't be written", "ledger is written again"]


async def test_the_end_of_the_server_does_not_wait_for_a_file_system_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from a2py.ledger.store import Store
    from a2py.proxy import bookkeeper

    free = threading.Event()
    monkeypatch.setattr(Store, "insert", lambda *args: free.wait(60))
    monkeypatch.setattr(bookkeeper, "CLOSE_SECONDS", 0.01)
    try:
        async with ScriptedServer(answering("Hi")) as upstream:
            settings = config(upstream.base, ledger=str(tmp_path / "usage.db"))
            async with run_proxy(settings) as proxy:
                assert (await proxy.ask(message())).status == 200
            last = [line for line in proxy.lines if line["event"] == "ledger rows lost"]
        assert [line["rows"] for line in last] == [1] and "does not answer" in last[0]["error"]
    finally:
        free.set()


async def test_nothing_is_made_where_it_is_off(tmp_path: Path) -> None:
    async with ScriptedServer(answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(config(upstream.base, ledger=False), ledger=str(tmp_path / "usage.db")) as proxy:
            assert (await proxy.ask(message())).status == 200
            assert (await proxy.ask(None, "/usage", "GET")).status == 404
            assert proxy.services.books.keeper is None
    assert not os.listdir(tmp_path)


async def test_a_reload_moves_the_ledger(tmp_path: Path) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    async with ScriptedServer(answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(config(upstream.base, ledger=True), ledger=str(first)) as proxy:
            await proxy.ask(message())
            proxy.services.reload(config(upstream.base, ledger=str(second)))
            await proxy.ask(message())
            assert len(await flush_rows(proxy, second)) == 1
            proxy.services.reload(config(upstream.base, ledger=False))
            await proxy.ask(message())
    assert len(rows(first)) == len(rows(second)) == 1


async def test_without_sqlite_it_is_off_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2py.proxy import bookkeeper

    monkeypatch.setattr(bookkeeper, "find_spec", lambda name: None)
    async with ScriptedServer(answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(config(upstream.base, ledger=str(tmp_path / "usage.db"))) as proxy:
            assert [(await proxy.ask(message())).status for _ in range(2)] == [200, 200]
            assert [line["event"] for line in proxy.lines].count("no ledger") == 1
    assert not os.listdir(tmp_path)


async def test_long_names_are_cut_before_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 rows may wait for a file that can't be written: with all of a header they would take 80 MB."""
    records: list[Record] = []
    long = {SESSION: "s" * 8000, "x-claude-code-agent-id": "a" * 8000}
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, ledger=False)) as proxy:
        monkeypatch.setattr(proxy.services.books, "keep", records.append)
        await proxy.ask(message(), headers=long)
        await proxy.ask({**message(), "model": "nobody"}, headers=long)
    assert [(len(one.account.session), len(one.account.agent)) for one in records] == [(128, 128)] * 2


async def test_a_file_system_that_hangs_holds_up_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading waits for it, for a while. The threads in which names are looked up stay free."""
    from a2py.ledger import query
    from a2py.proxy import bookkeeper

    free, path = threading.Event(), tmp_path / "usage.db"
    running = 0

    def hang(*args: Any) -> list[Any]:
        nonlocal running
        running += 1
        free.wait(60)
        return []

    monkeypatch.setattr(query, "sum_by", hang)
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, ledger=str(path))) as proxy:
        keeper = proxy.services.books.keeper
        assert keeper is not None
        try:
            answers = [asyncio.ensure_future(proxy.ask(None, "/usage", "GET")) for _ in range(40)]
            await settle(lambda: running == bookkeeper.MAX_READERS)
            assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 30) == 7
            assert (await proxy.ask(message())).status == 200
            free.set()
            assert {one.status for one in await asyncio.gather(*answers)} == {200} and running == 40
            free.clear()
            monkeypatch.setattr(bookkeeper, "READ_SECONDS", 0.01)
            for _ in range(bookkeeper.MAX_READERS + 1):
                answer = await proxy.ask(None, "/usage", "GET")
                assert answer.status == 500 and "does not answer" in answer.json["error"]["message"]
        finally:
            free.set()


HOSTILE = (
    "'; DROP TABLE answers; --",
    '"quoted" `ticks` \\',
    "nul\0nul",
    "half \ud83d pair",
    "\x1b[2J\u202e\r\n",
    "=1+1",
    "é" * 200,
)


async def test_hostile_names_are_rows_like_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of models, sessions and agents: quotes, NULs, halves of surrogate pairs, control characters, a megabyte."""
    path = tmp_path / "usage.db"
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, ledger=str(path))) as proxy:
        count = 0
        for name in (*HOSTILE, "x" * (1 << 20)):
            session = {"user_id": json.dumps({"session_id": name})}
            statuses = [
                (await proxy.ask({**message(metadata=session), "model": name})).status,
                (await proxy.ask(message(metadata=session))).status,
                (await proxy.ask({**message(), "model": name}, "/v1/chat/completions")).status,
            ]
            assert statuses[0] in (400, 404) and statuses[1] == 200 and statuses[2] in (400, 404), (name[:20], statuses)
            header = name.encode("utf-8", "replace").translate(None, b"\0\r\n")[:4000].decode("latin-1")
            headers = [("x-claude-code-session-id", header), ("x-claude-code-agent-id", header)]
            async with proxy.client() as client:
                client.ask("POST", "/v1/messages", message(), headers)
                assert (await client.answer()).status in (200, 400)
            count += 1
        rows = await flush_rows(proxy, path)
        pages = [await proxy.ask(None, f"/usage?by={by}", "GET") for by in ("model", "session", "agent")]
    assert count * 2 <= len(rows) <= count * 4
    assert max(len(str(value)) for row in rows for value in row.values()) <= 256
    assert not any("\0" in str(value) for row in rows for value in row.values())
    for page in pages:
        assert page.status == 200 and sum(group["requests"] for group in page.json["groups"]) == len(rows)
    assert {group["session"] for group in pages[1].json["groups"]} >= {HOSTILE[0], HOSTILE[1], HOSTILE[5]}
    for by in ("model", "session", "agent"):
        for form in ("--csv", "--json", None):
            assert main(["usage", "--ledger", str(path), "--by", by, *([form] if form else [])]) == 0
            out = capsys.readouterr().out
            assert not set("\0\x1b\u202e\r") & set(out if form != "--json" else json.dumps(json.loads(out)))


async def test_what_an_upstream_says_is_cut_before_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stop reason, which the native wire passes on as it is."""

    async def script(c: Peer) -> None:
        c.reply(
            {
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [{"type": "text", "text": "Hi"}],
                "stop_reason": "x" * 300_000,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )

    async with ScriptedServer(script) as upstream:
        one = deployment(upstream.base[:-3], wire="native", auth="x-api-key")
        async with run_proxy(config(deployments=(one,), ledger=str(tmp_path / "usage.db"))) as proxy:
            keeper = proxy.services.books.keeper
            assert keeper is not None
            rows: list[Row] = []
            monkeypatch.setattr(keeper.writer, "add", rows.append)
            assert (await proxy.ask(message(stream=False))).status == 200
    (row,) = rows
    assert max(len(value) for part in row[1:] for value in part if isinstance(value, str)) <= LENGTH


async def test_asking_for_the_usage_makes_no_file(tmp_path: Path) -> None:
    async with ScriptedServer(answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(config(upstream.base, ledger=str(tmp_path / "usage.db"))) as proxy:
            for by in ("model", "day"):
                answer = await proxy.ask(None, f"/usage?by={by}", "GET")
                assert (answer.status, answer.json) == (200, {"by": by, "groups": []})
            assert not os.listdir(tmp_path)
            await proxy.ask(message())
            assert len((await proxy.ask(None, "/usage", "GET")).json["groups"]) == 1


async def test_the_ledger_of_a_home_is_read_where_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    async with ScriptedServer(answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(config(upstream.base, ledger="~/usage.db")) as proxy:
            assert (await proxy.ask(message(stream=False))).status == 200
            assert len(await flush_rows(proxy, tmp_path / "usage.db")) == 1
            page = (await proxy.ask(None, "/usage?by=model", "GET")).json
    assert [group["requests"] for group in page["groups"]] == [1]


async def test_the_usage_page(tmp_path: Path) -> None:
    path, hostile = tmp_path / "usage.db", 'x"; DROP TABLE answers; --\u202e<script>'
    async with ScriptedServer(answering("Hi"), refusing(500), answering("Hi")) as upstream:
        one = Deployment(**{**_fields(deployment(upstream.base)), "price": PRICE})
        two = deployment(upstream.base, "local")
        async with run_proxy(config(deployments=(one, two), master_key="sk-m", ledger=str(path))) as proxy:
            key = {"x-api-key": "sk-m"}
            metadata = {"user_id": json.dumps({"session_id": hostile})}
            await proxy.ask(message(metadata=metadata), headers=key)
            await proxy.ask(message(), headers={**key, SESSION: "s2"})
            await proxy.ask({**message(), "model": "local"}, headers={**key, SESSION: "s2"})
            assert (await proxy.ask(None, "/usage", "GET")).status == 401
            by_model = (await proxy.ask(None, "/usage", "GET", headers=key)).json["groups"]
            by_session = (await proxy.ask(None, "/usage?by=session&since=1h", "GET", headers=key)).json["groups"]
            one_session = (await proxy.ask(None, "/usage?by=key&session=s2", "GET", headers=key)).json["groups"]
            assert (await proxy.ask(None, "/usage?by=nothing", "GET", headers=key)).status == 400
            assert (await proxy.ask(None, "/usage?since=never", "GET", headers=key)).status == 400
    keys = {
        "requests",
        "errors",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "cost",
        "estimated",
    }
    assert set(by_model[0]) == {"model", *keys, "known_cost", "unpriced"}
    by_name = {row["model"]: row for row in by_model}
    assert (by_name["test-model"]["requests"], by_name["test-model"]["errors"]) == (2, 1)
    assert by_name["test-model"]["cost"] == pytest.approx(11e-6 + 6e-6)
    assert by_name["local"]["cost"] is None and by_name["local"]["output_tokens"] == 3
    assert {row["session"] for row in by_session} == {hostile, "s2"}
    assert len(one_session) == 1 and one_session[0]["requests"] == 2 and one_session[0]["cost"] is None


def _fields(source: Deployment) -> dict[str, Any]:
    return {name: getattr(source, name) for name in source.__dataclass_fields__}


# -- processes ---------------------------------------------------------------------------------------------------------


@contextmanager
def upstream_process(folder: Path) -> Iterator[str]:
    """The demo upstream as a process of its own."""
    port = process.free_port()
    command = [sys.executable, "-m", "a2py", "demo", "--port", str(port), "--pace", "0"]
    with open(folder / "demo.log", "w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        running.terminate()
        running.wait(30)


def _wait(port: int) -> None:
    import socket

    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the demo does not listen")


def _ask(base: str, key: str, body: Mapping[str, Any]) -> None:
    request = urllib.request.Request(
        f"{base}/v1/messages", json.dumps(body).encode(), {"x-api-key": key, "content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix")
def test_a_killed_worker_loses_at_most_its_last_second(tmp_path: Path) -> None:
    """Two workers share one file; what was answered a second before a kill -9 is there, and so is what the other
    answers."""
    path = tmp_path / "usage.db"
    with upstream_process(tmp_path) as base:
        models = [process.deployment("m", base, "demo", "openai")]
        with process.running(tmp_path, models, flags=["--num-workers", "2"], a2py={"ledger": str(path)}) as proxy:
            body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]}
            for _ in range(20):
                _ask(proxy.base, proxy.key, body)
            deadline = time.monotonic() + 60
            while count_rows(path) < 20:  # "within a second": not measured, but awaited
                assert time.monotonic() < deadline
                time.sleep(0.05)
            workers = _children(proxy.pid)
            assert len(workers) == 2
            os.kill(workers[0], signal.SIGKILL)
            for _ in range(20):
                _ask(proxy.base, proxy.key, body)
    assert len(rows(path)) == 40, "the end of the server writes the last rows"


def _children(pid: int) -> list[int]:
    out = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                out.append(int(entry.name))
        except OSError:
            continue
    return out


@pytest.mark.integration
def test_nothing_is_imported_where_it_is_off(tmp_path: Path) -> None:
    """A whole answer with `ledger: false`: no SQLite, no module of the ledger, no file."""
    script = """
import asyncio, sys
from tests.proxied import config, message, run_proxy
from tests.scripted import ScriptedServer, answering

async def main(ledger):
    async with ScriptedServer(answering("Hi")) as upstream:
        async with run_proxy(config(upstream.base, ledger=ledger), ledger="usage.db") as proxy:
            assert (await proxy.ask(message())).status == 200
            assert (await proxy.ask(None, "/metrics", "GET")).status == 200

def loaded():
    return sorted(name for name in sys.modules if name.startswith(("a2py.ledger", "sqlite3", "_sqlite3")))

asyncio.run(main(False))
print(loaded())
asyncio.run(main(True))
print("a2py.ledger.store" in loaded() and "sqlite3" in loaded())
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines() == ["[]", "True"], result.stderr
    assert os.listdir(tmp_path) == ["usage.db"]
