"""What an open page is told, what is kept for it, and that nothing of it is left when it closes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from pathlib import Path

import orjson
import pytest

from a2py.proxy.page import desk, live, reader, recorder, snapshot
from a2py.proxy.page.site import site_of
from a2py.proxy.recording import Body, Room
from tests.paged import Page, open_page, sign_in, write_secret
from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, refusing, text


async def test_hello_and_state(tmp_path: Path) -> None:
    with_limits = deployment("http://127.0.0.1:9/v1", "limited", id="l", rpm=7, max_parallel=3)
    broken = deployment("http://127.0.0.1:9/v1", "broken", id="b", problem="set a key")
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", deployments=(with_limits, broken))) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        hello, state = page.lines[:2]
        assert hello["type"] == "hello" and hello["workers"] == 1 and hello["recording"] == "page"
        assert hello["ledger"] is False and hello["keys"] is False and hello["tools"] == []
        assert abs(hello["time"] - hello["started"]) < 60
        one, two, three = state["deployments"]
        assert (one["id"], one["name"], one["wire"], one["problem"]) == ("d0", "test-model", "chat", None)
        assert two["limits"] == {"rpm": 7, "tpm": 0, "max_parallel": 3} and two["used"]["rpm"] == 0
        assert three["problem"] == "set a key"


async def test_a_running_request_and_its_end(tmp_path: Path) -> None:
    goes_on = asyncio.Event()

    async def slow(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*(chunk({"content": "word "}) for _ in range(5)))
        await goes_on.wait()
        c.events(*text("end"))
        c.end()

    async with (
        ScriptedServer(slow) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        asking = asyncio.ensure_future(proxy.ask(message(), headers={"x-claude-code-session-id": "s1"}))
        await settle(lambda: any(line.get("running") and line["running"][0]["output_tokens"] for line in page.lines))
        (running,) = next(line for line in page.lines if line.get("running") and line["running"][0]["output_tokens"])[
            "running"
        ]
        assert running["model"] == "test-model" and running["deployment"] == "d0" and running["session"] == "s1"
        assert running["output_tokens"] == 5 and running["attempt"] == 1 and running["place"] is None
        goes_on.set()
        await asking
        row = await page.wait_for("request")
        assert row["id"] == running["id"] and row["output_tokens"] == 3 and row["seconds"] > 0
        await settle(lambda: page.now["minute"]["requests"] and not page.now["running"])
        assert page.now["minute"] == {
            "requests": 1,
            "errors": 0,
            "input_tokens": 11,
            "output_tokens": 3,
            "cost": None,
        }


async def test_failures_and_retries_are_told(tmp_path: Path) -> None:
    scripts = (refusing(500, "first"), answering("ok"), refusing(404, "no such model"))
    async with (
        ScriptedServer(*scripts) as upstream,
        run_proxy(config(upstream.base, num_retries=1)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message(stream=False))
        good = await page.wait_for("request")
        detail = (await page.get(f"requests/{good['id']}")).json
        first, second = detail["attempts"]
        assert first["status"] == 500 and "first" in first["error"] and first["retry"].startswith("again after")
        assert second["status"] == 200 and not second["error"] and second["start"] >= first["end"]
        await proxy.ask(message())
        bad = await page.wait_for("request", status=404)
        assert bad["error"].startswith("not_found") and bad["attempts"] == 1
        reply = (await page.get(f"requests/{bad['id']}/parts/client_reply")).json
        assert "no such model" in reply["text"]
        await settle(lambda: [line for line in page.lines if line["type"] == "state"][-1]["deployments"][0]["cooldown"])


@pytest.mark.parametrize("body", [b"{", b'{"model": "test-model"}', b'{"model": "nobody", "messages": []}'])
async def test_a_request_that_is_refused_here_is_shown_with_its_answer(body: bytes, tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        answer = await proxy.ask(body)
        row = await page.wait_for("request")
        assert row["status"] == answer.status and row["error"] and row["recorded"]
        reply = (await page.get(f"requests/{row['id']}/parts/client_reply")).json
        assert reply["text"] == answer.body.decode()


async def test_a_client_that_leaves_is_shown(tmp_path: Path) -> None:
    async def hangs(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await c.wait_disconnect()

    async with (
        ScriptedServer(hangs) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        async with proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await client.head()
            await client.piece()
        row = await page.wait_for("request")
        assert row["status"] == 499 and row["recorded"]
        reply = (await page.get(f"requests/{row['id']}/parts/upstream_reply.1")).json
        assert "Hel" in reply["text"]
        await settle(lambda: page.now["minute"]["requests"] == 1)
        assert page.now["minute"]["errors"] == 0


async def test_counting_is_no_request_of_the_page(tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        assert (await proxy.ask(message(stream=False), "/v1/messages/count_tokens")).status == 200
        assert (await page.get("requests")).json == {"requests": [], "more": False}


async def test_texts_that_are_no_utf_8_are_shown_somehow(tmp_path: Path) -> None:
    odd = "\xff\xfe \u0085"
    names = ("x-claude-code-session-id", "x-claude-code-agent-id", "x-other", "user-agent")
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        answer = await proxy.ask(message(), headers=dict.fromkeys(names, odd))
        assert answer.status == 200
        row = await page.wait_for("request")
        assert row["session"] and row["agent"]
        detail = (await page.get(f"requests/{row['id']}")).json
        assert dict(detail["client"]["headers"])["x-other"]
        assert (await page.get(f"requests/{row['id']}/export?as=capture")).status == 200
        assert (await page.post(f"requests/{row['id']}/replay")).status == 200


async def test_a_fault_of_the_page_is_no_fault_of_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "describe", lambda *args, **kwargs: {})
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base), crashes=True) as proxy,
        open_page(proxy, tmp_path),
    ):
        assert (await proxy.ask(message())).names[-1] == "message_stop"
        await settle(lambda: any(line["event"] == "crash" for line in proxy.lines))


# -- nobody looks ------------------------------------------------------------------------------------------------------


async def test_nothing_is_kept_while_nobody_looks(tmp_path: Path) -> None:
    async with ScriptedServer(answering("ok")) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(message())
        assert proxy.services.ui.watcher is None and proxy.services.ui.desk is None
        async with open_page(proxy, tmp_path) as page:
            assert (await page.get("requests")).json["requests"] == []


async def test_everything_is_forgotten_after_the_last_page_has_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "KEEP_SECONDS", 0.05)
    async with ScriptedServer(answering("ok")) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with open_page(proxy, tmp_path) as page:
            await proxy.ask(message())
            row = await page.wait_for("request")
            ref = weakref.ref(site_of(proxy.services).desk.recorder.find(row["id"]))  # type: ignore[union-attr]
            assert ref() is not None
            room = site_of(proxy.services).desk.recorder.room  # type: ignore[union-attr]
            assert room.used_bytes > 100
        await settle(lambda: proxy.services.ui.watcher is None)
        assert room.used_bytes == 0
        gc.collect()
        assert ref() is None
        assert [task for task in asyncio.all_tasks() if "_beat" in repr(task)] == []
        assert (await proxy.ask(message())).status == 200  # recorded by nobody
        async with open_page(proxy, tmp_path) as page:
            assert (await page.get(f"requests/{row['id']}")).status == 404


async def test_a_text_that_was_read_in_part_is_forgotten_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "KEEP_SECONDS", 0.05)
    monkeypatch.setattr(reader, "SLICE", 10)
    async with ScriptedServer(answering("ok")) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with open_page(proxy, tmp_path) as page:
            await proxy.ask(message("a private text"))
            row = await page.wait_for("request")
            site = site_of(proxy.services)
            part = await site.desk.ask(0, "read", 60.0, id=row["id"], what="part client_request", offset=0)
            assert part is not None and len(part["text"]) == 10 and "private" in repr(vars(site.reader))
        await settle(lambda: proxy.services.ui.watcher is None)
        assert "private" not in repr(vars(site.reader))


async def test_a_page_that_comes_back_soon_finds_everything(tmp_path: Path) -> None:
    async with ScriptedServer(answering("ok")) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with open_page(proxy, tmp_path) as page:
            await proxy.ask(message())
            row = await page.wait_for("request")
        async with open_page(proxy) as page:
            assert (await page.get(f"requests/{row['id']}")).json["recorded"]


async def test_it_may_keep_requests_while_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer(answering("ok")) as upstream, run_proxy(config(upstream.base, ui="record")) as proxy:
        words = list[str]()
        monkeypatch.setattr(site_of(proxy.services).desk, "tell", lambda word: words.append(word["op"]))
        await proxy.ask(message())
        assert words == [], "no other worker asks for it"
        async with open_page(proxy, tmp_path) as page:
            assert page.lines[0]["recording"] == "record"
            await proxy.ask(message(model="nothing"))
            await page.wait_for("request")
            assert "row" in words
            _, row = (await page.get("requests")).json["requests"]
            assert row["recorded"]
        proxy.server.reload(lambda: config(upstream.base, ui=False))
        await settle(lambda: proxy.services.ui.watcher is None)
        proxy.server.reload(lambda: config(upstream.base, ui="record"))
        assert proxy.services.ui.watcher is not None


async def test_pages_end_when_it_is_switched_off_and_when_the_server_drains(tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy:
        async with open_page(proxy, tmp_path) as page:
            proxy.server.reload(lambda: config("http://127.0.0.1:9/v1", ui=False))
            await page.wait_for("end")
        proxy.server.reload(lambda: config("http://127.0.0.1:9/v1"))
        async with open_page(proxy) as page:
            proxy.server.leave()
            await page.wait_for("end")
            assert (await page.get("live")).status == 529


# -- bounds ------------------------------------------------------------------------------------------------------------


async def many(proxy: Running, page: Page, count: int, size: int = 10) -> list[str]:
    """Make `count` requests, and return their ids."""
    for n in range(count):
        await proxy.ask(message(f"{n} " + "x" * size, stream=False))
    await settle(lambda: len([line for line in page.lines if line["type"] == "request"]) >= count)
    return [line["id"] for line in page.lines if line["type"] == "request"]


async def test_few_recordings_and_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RECORDINGS", 2)
    monkeypatch.setattr(recorder, "ROWS", 4)
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        ids = await many(proxy, page, 6)
        rows = (await page.get("requests")).json["requests"]
        assert [row["id"] for row in rows] == ids[:1:-1]
        assert [row["recorded"] for row in rows] == [True, True, False, False]
        assert (await page.get(f"requests/{ids[2]}")).json["parts"] == []
        assert (await page.get(f"requests/{ids[0]}")).status == 404


async def test_all_bodies_together_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "ROOM", 50_000)
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        ids = await many(proxy, page, 6, 8000)
        room = site_of(proxy.services).desk.recorder.room  # type: ignore[union-attr]
        assert 16_000 < room.used_bytes <= 50_000
        rows = (await page.get("requests")).json["requests"]
        assert [row["recorded"] for row in rows] == [True, True, False, False, False, False]
        await many(proxy, page, 1, 60_000)
        assert room.used_bytes <= 50_000
        huge = page.lines[-1]["id"] if page.lines[-1]["type"] == "request" else ""
        rows = (await page.get("requests")).json["requests"]
        detail = (await page.get(f"requests/{huge or rows[0]['id']}")).json
        assert detail["parts"][0] == {"name": "client_request", "bytes": 0, "truncated": True}
        assert ids


async def test_a_change_reaches_the_page_that_was_open_when_another_one_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the second page is told at its opening is news for the first one, too, and `now` is told to both."""
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        await page.wait_for("now")
        monkeypatch.setattr(snapshot, "sum_state", lambda *values: [{"id": "changed"}])
        monkeypatch.setattr(snapshot, "without_countdown", lambda deployments: deployments)
        async with open_page(proxy) as second:
            await second.wait_for("now")
            await page.wait_for("state", deployments=[{"id": "changed"}])


async def test_few_pages_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_PAGES", 1)
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        answer = await page.get("live")
        assert answer.status == 429 and "close one" in answer.json["error"]["message"]


async def test_a_page_that_does_not_read_is_told_what_it_has_missed(tmp_path: Path) -> None:
    async with ScriptedServer(answering("ok")) as upstream, run_proxy(config(upstream.base, buffer_kb=1)) as proxy:
        proxy.services.ui.secret_file = write_secret(tmp_path)
        page = await sign_in(proxy.port)
        async with proxy.client() as client:
            client.ask("GET", "/ui/api/live", headers=page.headers)
            await client.head()
            pages = site_of(proxy.services).pages
            await settle(lambda: pages.is_watched and not any(page.is_behind for page in pages._open))
            line = live.dump({"type": "fill", "text": "x" * 100_000})
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(1000):  # until the kernel's buffers are full
                pages.send(line)
                if pages.has_missed:
                    break
                await asyncio.sleep(0)
            assert pages.has_missed
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            rest, data = b"", b""
            while b'{"type":"missed"}' not in data:
                data = rest + await client.piece()
                rest = data[-100:]
                pages.send(live.dump({"type": "ping"}))
            for kind in (b'{"type":"now"', b'{"type":"state"'):  # it may have missed the latest: it is told again
                while kind not in data:
                    data = data[-100:] + await client.piece()


async def test_a_page_that_does_not_read_does_not_hold_a_drain(tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1", drain_seconds=1000.0)) as proxy:
        proxy.services.ui.secret_file = write_secret(tmp_path)
        page = await sign_in(proxy.port)
        async with proxy.client() as client:
            client.ask("GET", "/ui/api/live", headers=page.headers)
            await client.head()
            pages = site_of(proxy.services).pages
            await settle(lambda: pages.is_watched)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            line = live.dump({"type": "fill", "text": "x" * 100_000})
            while not pages.has_missed:
                pages.send(line)
                await asyncio.sleep(0)
            await asyncio.wait_for(proxy.server.drain(), 60)


async def test_a_recording_that_began_before_the_page_was_closed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "KEEP_SECONDS", 0.05)
    goes_on = asyncio.Event()

    async def slow(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await goes_on.wait()
        c.events(*text("lo"))
        c.end()

    async with ScriptedServer(slow) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with open_page(proxy, tmp_path):
            asking = asyncio.ensure_future(proxy.ask(message()))
            await settle(lambda: upstream.requests)
        await settle(lambda: proxy.services.ui.watcher is None)
        goes_on.set()
        answer = await asking
        assert answer.status == 200 and answer.names[-1] == "message_stop"


def test_what_is_kept_takes_the_memory_that_it_counts() -> None:
    """orjson's texts occupy several times their size as long as they live."""
    room, value = Room(1 << 30), {"content": "x" * 200_000}
    tracemalloc.start()
    try:
        bodies = [Body(orjson.dumps(value), room=room) for _ in range(20)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bodies) * 200_000 < room.used_bytes and size < 1.2 * room.used_bytes


def test_sums_of_the_last_minute() -> None:
    now = 0.0
    minute = recorder.Minute(lambda: now)
    minute.add([1, 0.5])
    minute.add([1, 0.5])
    now = 59.0
    minute.add([1, 0.0])
    assert minute.sum(2) == [3, 1.0]
    now = 61.0
    assert minute.sum(2) == [1, 0.0]
