"""One request in full: what changed on its way, what fills its context, its bodies without secrets, its texts for
elsewhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from a2py.messages.session import AGENT_HEADER
from a2py.proxy.page import details, reader
from a2py.proxy.page.site import site_of
from tests import golden
from tests.paged import Page, open_page
from tests.proxied import SECRET, SESSION, config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, completion, event, refusing, text
from tests.whole.test_search import OTHER as SECOND_PAGE
from tests.whole.test_search import PAGE, TOOL, call, model, results, searching

OTHER = "sk-another-deployments-key"
TOOLS = [{"name": "Read", "description": "Reads", "input_schema": {"type": "object"}}]


async def full(page: Page, **values: Any) -> dict[str, Any]:
    """The detail of the first request that has ended with these values."""
    row = await page.wait_for("request", **values)
    answer = await page.get(f"requests/{row['id']}")
    assert answer.status == 200
    out: dict[str, Any] = answer.json
    return out


async def part(page: Page, id: str, name: str) -> str:
    answer = await page.get(f"requests/{id}/parts/{name}")
    assert answer.status == 200, answer.body
    out: str = answer.json["text"]
    return out


async def test_changes_and_context(tmp_path: Path) -> None:
    async with ScriptedServer(answering("ok")) as upstream:
        settings = config(upstream.base, quirks={"test-model": {"max_tokens_field": "max_completion_tokens"}})
        async with run_proxy(settings) as proxy, open_page(proxy, tmp_path) as page:
            body = message("Hello " * 50, system="Be brief.", tools=TOOLS, top_k=5, container="c")
            await proxy.ask(body)
            detail = await full(page)
            changes = {(change["kind"], change["path"]): change for change in detail["attempts"][0]["changes"]}
            assert changes["changed", "model"]["to_value"] == "upstream-model"
            assert changes["dropped", "top_k"]["doc"] == "translation.md#a12"
            assert changes["renamed", "system"]["to"] == "messages[0] role system"
            assert "x-a2py-degraded" not in changes["dropped", "container"]["because"]
            assert detail["degraded"] == ["top_k", "container"]
            assert [(one["kind"], one["label"]) for one in detail["context"]] == [
                ("system", "system 1"),
                ("tool", "Read"),
                ("turn", "user, message 1"),
            ]
            assert detail["context"][2]["tokens"] > 50


async def test_what_passes_is_compared_as_it_is(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        body = {"model": "test-model", "messages": [{"role": "user", "content": "Hi"}]}
        answer = await proxy.ask(body, "/v1/chat/completions")
        assert answer.status == 200
        detail = await full(page)
        (change,) = detail["attempts"][0]["changes"]
        assert (change["path"], change["to_value"]) == ("model", "upstream-model") and detail["context"] == []
        assert await part(page, detail["id"], "client_reply") == answer.body.decode()
        refusal = await page.post(f"requests/{detail['id']}/replay")
        assert refusal.status == 400 and "curl" in refusal.json["error"]["message"]


async def test_no_secret_reaches_the_page(tmp_path: Path) -> None:
    """Not in headers, bodies, errors or texts for elsewhere, however the model cuts it into pieces."""
    secrets = (SECRET, OTHER, "client-credential", "cookie-secret", "query-secret", "upstream-cookie")

    async def repeats(c: Peer) -> None:
        c.head(200, {**SSE, "set-cookie": "a=upstream-cookie"})
        c.events(*(chunk({"content": SECRET[at : at + 5]}) for at in range(0, len(SECRET), 5)))
        c.events(*text(f"{OTHER} client-credential cookie-secret"))
        c.end()

    others = (deployment("http://127.0.0.1:9/v1", "other", id="o", key=OTHER),)
    scripts = (repeats, refusing(401, f"wrong key {SECRET} and {OTHER}"))
    async with ScriptedServer(*scripts) as upstream:
        settings = config(upstream.base + "?key=query-secret", deployments=others)
        async with run_proxy(settings) as proxy, open_page(proxy, tmp_path) as page:
            headers = {
                "x-custom-token": "client-credential",
                "cookie": "a=cookie-secret",
                "referer": "http://x/?k=query-secret",
            }
            for stream in (True, False):
                await proxy.ask(message(f"my keys: {' '.join(secrets[:4])}", stream=stream), headers=headers)
            rows = [await page.wait_for("request", status=status) for status in (200, 401)]
            views = [json.dumps(page.lines)]
            for row in rows:
                detail = await page.get(f"requests/{row['id']}")
                views.append(detail.body.decode())
                views += [await part(page, row["id"], one["name"]) for one in detail.json["parts"]]
                for form in ("curl", "capture", "golden", "report"):
                    views.append((await page.get(f"requests/{row['id']}/export?as={form}")).body.decode())
            for view in views:
                content = "".join(event_texts(view))
                for secret in secrets:
                    assert secret not in view and secret not in content, (secret, view[:2000])
            assert "[redacted]" in "".join(views)
            assert page.bearer not in "".join(views)


async def test_no_secret_is_shown_as_the_name_of_anything(tmp_path: Path) -> None:
    """Somebody who puts a key where a model's name belongs finds it neither in the list nor among what runs."""
    goes_on = asyncio.Event()

    async def slow(c: Peer) -> None:
        c.head(200, SSE)
        await goes_on.wait()
        c.events(*text("ok"))
        c.end()

    async with ScriptedServer(slow) as upstream:
        others = (deployment("http://127.0.0.1:9/v1", "other", id="o", key=OTHER),)
        async with run_proxy(config(upstream.base, deployments=others)) as proxy, open_page(proxy, tmp_path) as page:
            headers = {SESSION: f"a {SECRET}", AGENT_HEADER: "client-credential", "x-custom-token": "client-credential"}
            asking = asyncio.ensure_future(proxy.ask(message(), headers=headers))
            await settle(lambda: page.now["running"])
            goes_on.set()
            await asking
            await page.wait_for("request", status=200, session="a [redacted]", agent="[redacted]")
            await proxy.ask(message(model=OTHER))
            await page.wait_for("request", status=404, model="[redacted]")
            output = json.dumps(page.lines) + (await page.get("requests")).body.decode()
            assert not [secret for secret in (SECRET, OTHER, "client-credential") if secret in output]


def event_texts(body: str) -> list[str]:
    """The pieces of text in the events of a body."""
    out = []
    for line in body.splitlines():
        if line.startswith("data: {"):
            value = json.loads(line[6:])
            out += [choice["delta"].get("content") or "" for choice in value.get("choices", ())]
            out.append(value.get("delta", {}).get("text", ""))
    return out


@pytest.mark.parametrize(
    "name", ["nothing", "client_request.1", "upstream_reply.2", "..", "upstream_reply.-1", "x" * 90]
)
async def test_parts_that_are_not_there(name: str, tmp_path: Path) -> None:
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        row = await page.wait_for("request")
        assert (await page.get(f"requests/{row['id']}/parts/{name}")).status == 404


async def test_pieces_are_of_whole_characters(tmp_path: Path) -> None:
    async def cuts(c: Peer) -> None:
        c.head(200, SSE)
        whole = (
            event(chunk({"content": "a✓b😀c"}))
            .replace(b"\\u2713", "✓".encode())
            .replace(b"\\ud83d\\ude00", "😀".encode())
        )
        for byte in (whole[n : n + 1] for n in range(len(whole))):
            c.chunk(byte)
            await c.drain()
            await asyncio.sleep(0.001)
        c.events(*text("end"))
        c.end()

    async with (
        ScriptedServer(cuts) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        row = await page.wait_for("request")
        reply = (await page.get(f"requests/{row['id']}/parts/upstream_reply.1")).json
        assert "a✓b😀c" in reply["text"] and "�" not in reply["text"]
        assert sum(size for _, size in reply["pieces"]) == len(reply["text"])
        times = [time for time, _ in reply["pieces"]]
        assert times == sorted(times)


async def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    async def garbage(c: Peer) -> None:
        c.head(500, {"content-type": "text/plain"})
        c.chunk(b"\xff\xfe\x00 broken \xe2\x9c")
        c.end()

    async with (
        ScriptedServer(garbage) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        row = await page.wait_for("request")
        assert "broken" in await part(page, row["id"], "upstream_reply.1")


async def test_many_pieces_are_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "MAX_PIECES", 3)

    async def many(c: Peer) -> None:
        c.head(200, SSE)
        for n in range(8):
            c.events(chunk({"content": f"{n} "}))
            await c.drain()
            await asyncio.sleep(0.005)
        c.events(*text("end"))
        c.end()

    async with (
        ScriptedServer(many) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        row = await page.wait_for("request")
        reply = (await page.get(f"requests/{row['id']}/parts/upstream_reply.1")).json
        assert len(reply["pieces"]) == 3 and sum(size for _, size in reply["pieces"]) == len(reply["text"])


async def test_a_long_body_comes_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SLICE", 1000)
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message("✓" * 20_000))
        row = await page.wait_for("request")
        body = json.loads(await part(page, row["id"], "client_request"))
        assert body["messages"][0]["content"] == "✓" * 20_000
        assert site_of(proxy.services).reader._text is None


async def test_a_request_that_still_runs_can_be_read(tmp_path: Path) -> None:
    goes_on = asyncio.Event()

    async def slow(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await goes_on.wait()
        c.events(*text("lo"))
        c.end()

    async with (
        ScriptedServer(slow) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        asking = asyncio.ensure_future(proxy.ask(message()))
        line = await page.wait_for("now", waiting=0)
        await settle(lambda: page.now["running"])
        id = page.now["running"][0]["id"]
        detail = (await page.get(f"requests/{id}")).json
        assert detail["running"] and detail["attempts"][0]["end"] is None and line
        assert "Hel" in await part(page, id, "upstream_reply.1")
        goes_on.set()
        await asking


async def test_searches_and_hops_have_their_times(tmp_path: Path) -> None:
    calls = model(("", [call()]), "A is 42.")
    async with searching(calls, results(PAGE, SECOND_PAGE)) as stage, open_page(stage.proxy, tmp_path) as page:
        await stage.proxy.ask(message("What is A?", tools=[TOOL]))
        detail = await full(page)
        (search,) = detail["searches"]
        assert (search["query"], search["results"], search["error"]) == ("what is A", 2, "")
        first, second = detail["attempts"]
        assert first["end"] <= search["end"] <= second["start"] <= second["end"]
        assert search["start"] <= search["end"]
        names = [part["name"] for part in detail["parts"]]
        assert names[3:5] == ["upstream_request.2", "upstream_reply.2"]


async def test_a_wait_in_the_line_has_its_place(tmp_path: Path) -> None:
    goes_on = asyncio.Event()

    async def slow(c: Peer) -> None:
        c.head(200, SSE)
        await goes_on.wait()
        c.events(*text("ok"))
        c.end()

    async with ScriptedServer(slow) as upstream:
        one = deployment(upstream.base, max_parallel=1)
        async with run_proxy(config(deployments=(one,))) as proxy, open_page(proxy, tmp_path) as page:
            asking = [asyncio.ensure_future(proxy.ask(message(str(n)))) for n in range(2)]
            await settle(lambda: any(one["place"] == 1 for one in page.now["running"]))
            assert page.now["waiting"] == 1
            goes_on.set()
            await asyncio.gather(*asking)
            await settle(lambda: len([line for line in page.lines if line["type"] == "request"]) == 2)
            rows = [line for line in page.lines if line["type"] == "request"]
            waits = [(await page.get(f"requests/{row['id']}")).json["waits"] for row in rows]
            assert sorted(map(len, waits)) == [0, 1]
            (wait,) = waits[0] or waits[1]
            assert wait["place"] == 1 and wait["end"] >= wait["start"]


# -- texts for elsewhere -----------------------------------------------------------------------------------------------


async def export(page: Page, id: str, form: str) -> str:
    answer = await page.get(f"requests/{id}/export?as={form}")
    assert answer.status == 200 and answer.headers["content-type"] == "text/plain; charset=utf-8", answer.body
    return answer.body.decode()


@pytest.mark.parametrize("form", ["", "html", "CURL", "curl%20x", "../capture"])
async def test_other_forms_are_refused(form: str, tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        assert (await page.get(f"requests/req_{'x' * 24}/export?as={form}")).status == 400


async def test_a_command_for_curl_asks_the_same(tmp_path: Path) -> None:
    words = 'it\'s "$HOME" `id` $(id)\nEOF\n\x7f\u202e ✓'
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message(words), headers={"anthropic-beta": "b1,'b2'", "x-api-key": "client-key-1"})
        row = await page.wait_for("request")
        command = await export(page, row["id"], "curl")
        assert command.isascii() and "client-key-1" not in command
        run = asyncio.to_thread(
            subprocess.run, ["bash", "-c", command], capture_output=True, timeout=30, env={"PATH": "/usr/bin:/bin"}
        )
        result = await run
        assert b"message_stop" in result.stdout, result
        first, second = upstream.requests
        assert first.json == second.json and second.json["messages"][0]["content"] == words


@pytest.mark.parametrize("form", ["curl", "capture", "golden", "report"])
async def test_a_key_that_a_reload_brings_is_a_secret_of_old_recordings_too(form: str, tmp_path: Path) -> None:
    async with ScriptedServer(answering("ok")) as upstream:
        before = config(upstream.base)
        async with run_proxy(before) as proxy, open_page(proxy, tmp_path) as page:
            await proxy.ask(message(f"my key is {OTHER}"))
            row = await page.wait_for("request")
            others = (deployment("http://127.0.0.1:9/v1", "other", id="o", key=OTHER),)
            proxy.services.reload(config(upstream.base, deployments=others))
            assert OTHER not in await export(page, row["id"], form)


async def test_a_capture_is_what_the_flag_writes(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    async with ScriptedServer(answering("Hel", "lo")) as upstream:
        async with (
            run_proxy(config(upstream.base, capture_dir=str(folder))) as proxy,
            open_page(proxy, tmp_path) as page,
        ):
            await proxy.ask(message())
            row = await page.wait_for("request")
            capture = json.loads(await export(page, row["id"], "capture"))
        (file,) = folder.iterdir()
        assert json.loads(file.read_bytes()) == capture


@pytest.mark.parametrize("stream", [True, False])
async def test_a_golden_is_one(stream: bool, tmp_path: Path) -> None:
    """The golden reads back, and the request that it makes is the one that was sent."""
    odd = "␍ ‹ff› ∎ ```` ✓"
    async with ScriptedServer(answering("Hel", f"lo {odd}")) as upstream:
        settings = config(upstream.base, quirks={"test-model": {"max_tokens_field": "max_completion_tokens"}})
        async with run_proxy(settings) as proxy, open_page(proxy, tmp_path) as page:
            await proxy.ask(message(f"Say {odd}", stream=stream, top_p=0.5, tools=TOOLS))
            row = await page.wait_for("request")
            document = await export(page, row["id"], "golden")
        file = tmp_path / "recorded.md"
        file.write_text(f"# Recorded\n\n{document}", "utf-8")
        (case,) = golden.read(file)
        (step,) = case.steps()
        assert golden.upstream_bytes(step.blocks["upstream"]).count(odd.encode()) or "\\u2713" in document
        del step.blocks["client"]
        case.blocks = [block for block in case.blocks if block.name != "client"]
        golden.run(case)


async def test_a_golden_of_a_refusal_and_of_nothing(tmp_path: Path) -> None:
    scripts = (refusing(429, "slow down", {"retry-after": "7"}),)
    async with (
        ScriptedServer(*scripts) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        row = await page.wait_for("request", status=429)
        assert "```upstream 429 retry-after=7\n" in await export(page, row["id"], "golden")
        await proxy.ask(message(model="nobody"))
        row = await page.wait_for("request", status=404)
        answer = await page.get(f"requests/{row['id']}/export?as=golden")
        assert answer.status == 400 and "nothing went upstream" in answer.json["error"]["message"]
        assert "404" in await export(page, row["id"], "report")


async def test_a_whole_answer_to_a_stream_is_said_in_a_golden(tmp_path: Path) -> None:
    async def whole(c: Peer) -> None:
        c.reply(completion("Hello"))

    async with (
        ScriptedServer(whole) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        await proxy.ask(message())
        row = await page.wait_for("request")
        assert "```upstream unary\n" in await export(page, row["id"], "golden")


@pytest.mark.parametrize("wire", ["chat", "native"])
async def test_a_report_has_no_private_text(wire: str, tmp_path: Path) -> None:
    private = "Projekt-Kranich"
    tools = [{"name": private, "description": private, "input_schema": {"type": "object", "properties": {private: {}}}}]
    body = message(
        private,
        system=private,
        tools=tools,
        metadata={"user_id": private, private: private},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object", "properties": {private: {}}}}},
        stop_sequences=[private],
        x={private: private},
    )
    body[private] = 1
    body["messages"][0]["content"] = [{"type": "text", "text": private, private: 1}]
    scripts = (refusing(500, private), answering(private))
    async with ScriptedServer(*scripts) as upstream:
        there = deployment(upstream.base, wire=wire, wire_fixed=True, extra_body={"seed": 1})
        async with run_proxy(config(deployments=(there,), num_retries=1)) as proxy, open_page(proxy, tmp_path) as page:
            await proxy.ask(body)
            row = await page.wait_for("request")
            report = await export(page, row["id"], "report")
            assert private not in report and "Attempt 2" in report and f"{wire} wire" in report
            assert "- messages: 1 × (user ×1)" in report and "translation.md#a" in report
