"""The anomaly loop over the whole relay: at every point of every exchange exactly one terminal answer, the upstream
closed, nothing left.

A2PY_ANOMALY_PIECE=1 cuts at every byte (minutes); the default cuts at every PIECE bytes (seconds)."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from a2py.config import Config
from a2py.config.search import SearchTool
from a2py.errors import ApiError
from a2py.proxy import router, tokenizers
from a2py.proxy.timeouts import Timeouts
from a2py.quirks import Quirks
from a2py.upstream import client as upstream_module
from a2py.upstream import connection as connection_module
from tests.anomaly import FAULTS, NAME, POINTS, Gate, judge, judge_passed
from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.scripted import (
    DONE,
    SSE,
    Answer,
    Peer,
    Raw,
    Script,
    ScriptedServer,
    answering,
    chunk,
    completion,
    event,
    refusing,
    text,
)

PIECE = int(os.environ.get("A2PY_ANOMALY_PIECE", "130"))


async def talk(c: Peer) -> None:
    """Reasoning, text and a tool call, one write each."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    c.head(200, SSE)
    for piece in (
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Hm. "}),
        chunk({"content": "Hello"}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"b"}'}}]}),
        chunk({}, "tool_calls"),
        DONE,
    ):
        c.events(piece)
        await c.drain()
        await asyncio.sleep(0)
    c.end()


async def slow_start(c: Peer) -> None:
    """Long enough for the commit and a ping."""
    await asyncio.sleep(0.05)
    await talk(c)


async def native(c: Peer) -> None:
    """Chat completions refuse, the native wire answers."""
    if not c.request.target.endswith("/messages"):
        await refusing(429)(c)
        return
    usage = {"input_tokens": 9, "output_tokens": 1}
    start: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    c.head(200, SSE)
    for name, body in (
        ("message_start", {"message": {**start, "usage": usage}}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": delta, "usage": usage}),
        ("message_stop", {}),
    ):
        c.chunk(f"event: {name}\n".encode() + event({"type": name, **body}))
        await c.drain()
        await asyncio.sleep(0)
    c.end()


async def compress(c: Peer) -> None:
    """Although the proxy asks for identity; after an interim response, with a chunk extension and a trailer."""
    body = gzip.compress(b"".join(map(event, text("Hello", " there"))))
    c.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    c.head(200, {**SSE, "content-encoding": "gzip"})
    for n in range(0, len(body), 60):
        part = body[n : n + 60]
        c.write(b"%x;part\r\n%b\r\n" % (len(part), part))
        await c.drain()
        await asyncio.sleep(0)
    c.write(b"0\r\nx-trailer: 1\r\n\r\n")


async def tokenizer(c: Peer) -> None:
    c.reply({"count": 7})


async def searcher(c: Peer) -> None:
    """A model that searches twice and then answers, and the search service, on one address."""
    if c.request.method == "GET":
        c.reply({"results": [{"url": "https://example.com", "title": "T", "content": "S"}]})
        return
    rounds = sum(one["role"] == "tool" for one in c.request.json["messages"])
    if rounds == 2:
        await answering("Found", " it [1].")(c)
        return
    call = {"index": 0, "id": f"call_{rounds}", "type": "function"}
    function = {"name": "web_search", "arguments": '{"query": "a"}'}
    if c.request.json.get("stream"):
        c.head(200, SSE)
        c.events(chunk({"content": "Look. "}), chunk({"tool_calls": [{**call, "function": function}]}))
        c.events(chunk({}, "tool_calls"), DONE)
        c.end()
    else:
        c.reply(completion("Look. ", "tool_calls", tool_calls=[{**call, "function": function}]))


class Scenario(NamedTuple):
    """`scripts` of the upstream; `settings` of the proxy; `stream`: the client's wish; `prompt`: its length; `tls`:
    towards the upstream; `waits`: the only place is taken when the request comes, and free a little later;
    `searches`: the upstream is the search service, too; `is_passthrough`: an endpoint of OpenAI's."""

    scripts: tuple[Script, ...]
    settings: dict[str, Any] = {}
    stream: bool = True
    prompt: int = 2
    tls: bool = False
    counting: bool = False
    waits: bool = False
    searches: bool = False
    is_passthrough: bool = False

    @property
    def path(self) -> str:
        if self.is_passthrough:
            return "/v1/chat/completions"
        return "/v1/messages/count_tokens" if self.counting else "/v1/messages"


SOON = {"commit_seconds": 0.01, "keepalive_seconds": 0.01, "delta_keepalive_seconds": 0.01}
SCENARIOS: dict[str, Scenario] = {
    "stream": Scenario((talk,)),
    "stream, asked again": Scenario((talk,), {"num_retries": 1}),
    "stream, over TLS": Scenario((talk,), tls=True),
    "stream, of a long prompt": Scenario((talk,), prompt=4000),
    "stream, compressed": Scenario((compress,)),
    "stream, by another wire": Scenario((native,), {"fallbacks": [{"test-model": ["other"]}]}),
    "whole": Scenario((answering("Hello there, this is a whole answer"),), stream=False),
    "whole, asked again": Scenario((answering("Hello there"),), {"num_retries": 2}, stream=False),
    "refused, then right": Scenario((refusing(500), talk), {"num_retries": 1}),
    "refused": Scenario((refusing(400, "no such thing"),)),
    "committed": Scenario((slow_start,), SOON),
    "searches": Scenario((searcher,), searches=True),
    "searches, whole": Scenario((searcher,), stream=False, searches=True),
    "count": Scenario((tokenizer,), counting=True),
    "waiting": Scenario((talk,), SOON, waits=True),
    "waiting, whole": Scenario((answering("Hello there"),), stream=False, waits=True),
    "passed stream": Scenario((talk,), is_passthrough=True),
    "passed stream, asked again": Scenario((talk,), {"num_retries": 1}, is_passthrough=True),
    "passed stream, of a long prompt": Scenario((talk,), prompt=4000, is_passthrough=True),
    "passed stream, compressed": Scenario((compress,), is_passthrough=True),
    "passed whole": Scenario((answering("Hello there, this is a whole answer"),), stream=False, is_passthrough=True),
    "passed, refused, then right": Scenario((refusing(500), talk), {"num_retries": 1}, is_passthrough=True),
}
TOOLS = [
    {"name": "f", "description": "does it", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
]
SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]
#: What happens at the k-th operation of the upstream's connection. While nothing passes there any more: the limits end
#: it, the client leaves (by a reset, by a close), or a drain does.
UPSTREAM = ("error", "close", "short", "timeout", "leave", "hang up", "drain")
#: … of the client's: `hang` until it leaves, `timeout` for ever.
CLIENT = (*FAULTS, "timeout")


def settings_for(base: str, scenario: Scenario, fault: str) -> Config:
    limits = dict.fromkeys(("stream_timeout", "request_timeout"), 0.2 if fault == "timeout" else 60)
    first = deployment(
        base,
        quirks=Quirks(tokenizer="vllm" if scenario.counting else "none"),
        ssl_verify=False,
        rpm=10**6,
        tpm=10**9,
        max_parallel=int(scenario.waits),
    )
    other = deployment(base, "other", wire="native", quirks=Quirks(), ssl_verify=False)
    made_config = config(deployments=(first, other), **{**limits, **scenario.settings})
    if not scenario.searches:
        return made_config
    tool = SearchTool("local", "searxng", base.removesuffix("/v1"), timeout=0.2 if fault == "timeout" else 60)
    return replace(made_config, search=tool)


async def idle(proxy: Running) -> None:
    """Nothing runs, and no upstream connection is in use (kept ones are idle)."""
    await settle(lambda: not proxy.services.running.exchanges and not proxy.busy)
    upstream = proxy.services.upstream
    await settle(lambda: upstream.connections == upstream.idle)
    for client in proxy.server._connections.connections:  # type: ignore[union-attr]
        client.force_close()


async def hold_place(proxy: Running) -> None:
    """Hold the only place until somebody has waited for it a while."""
    place = proxy.services.limits.places.take(proxy.services.config.deployments[0])
    try:
        await settle(lambda: proxy.services.router.line.waiting)
        await asyncio.sleep(0.05)
    finally:
        place.release()


async def read(client: Raw) -> Answer | None:
    """The answer; None where the connection ended before its head was whole."""
    try:
        return await client.answer()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def run(name: str, at: int, fault: str, side: str, tls: ssl.SSLContext | None) -> tuple[bool, str]:
    """One run; whether the fault was met, and what came of it."""
    scenario = SCENARIOS[name]
    body = message("x" * scenario.prompt, stream=scenario.stream, tools=TOOLS + SEARCH * scenario.searches)
    behind = "hang" if fault not in FAULTS else fault
    async with ScriptedServer(*scenario.scripts, tls=tls) as upstream:
        gate = Gate(upstream.port, PIECE, at if side == "upstream" else 0, behind, counts_dials=True)
        async with gate:
            base = f"{'https' if tls else 'http'}://{NAME}:{gate.port}/v1"
            settings = settings_for(base, scenario, fault if side == "upstream" else "")
            is_slow_client = fault == "timeout" and side == "client"
            timeouts = Timeouts(body_pause=0.1, idle=0.2) if is_slow_client else None
            async with run_proxy(settings, collect=False, timeouts=timeouts) as proxy:
                front = Gate(proxy.port, PIECE, at if side == "client" else 0, behind)
                async with front, Raw(front.port) as client:
                    holding = asyncio.ensure_future(hold_place(proxy)) if scenario.waits else None
                    await asyncio.sleep(0)
                    client.ask("POST", scenario.path, body)
                    reading = asyncio.ensure_future(read(client))
                    result = await finish(proxy, gate, front, client, reading, fault, side)
                    if holding is not None:
                        holding.cancel()
                        await asyncio.gather(holding, return_exceptions=True)
                    await idle(proxy)
                is_met = gate.fault_event.is_set() or front.fault_event.is_set()
        await settle(lambda: not upstream.open)
        return is_met, result


async def finish(
    proxy: Running, gate: Gate, front: Gate, client: Raw, reading: asyncio.Future[Answer | None], fault: str, side: str
) -> str:
    """What the client got: `ok`, `error`, or `gone` where its own connection was the one that failed."""
    waits: set[asyncio.Future[Any]] = {
        reading,
        asyncio.ensure_future(gate.fault_event.wait()),
        asyncio.ensure_future(front.fault_event.wait()),
    }
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if not reading.done() and fault == "timeout" and front.fault_event.is_set():
            await asyncio.wait({reading}, timeout=0.25)
        if not reading.done() and (
            fault in ("leave", "hang", "hang up") or (front.fault_event.is_set() and fault == "timeout")
        ):
            reading.cancel()
            client.writer.close() if fault == "hang up" else client.reset()
            front._free.set()
            return "gone"
        if not reading.done() and fault == "drain":
            for exchange in list(proxy.services.running.exchanges):
                exchange.interrupt(ApiError("overloaded", "shutting down"))
        answer = await asyncio.wait_for(asyncio.shield(reading), 20)
    finally:
        for wait in waits - {reading}:
            wait.cancel()
        if reading.cancelled() or not reading.done():
            reading.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if side == "client" and front.fault_event.is_set() and (answer is None or not answer.whole):
        return "gone"
    assert answer is not None, "the proxy closed the connection without an answer"
    if fault == "timeout" and side == "client" and front.fault_event.is_set():
        assert answer.status == 408
    return judge_passed(answer) if answer.headers.get("x-request-id") else judge(answer)


async def loop(name: str, fault: str, side: str, tls: ssl.SSLContext | None = None) -> dict[str, int]:
    """k = 1, 2, … until a run passes without meeting its fault; how often each result came."""
    counts: dict[str, int] = {}
    for at in range(1, 100_000):
        try:
            is_met, result = await run(name, at, fault, side, tls)
        except AssertionError as error:
            raise AssertionError(f"{name}: {fault} at operation {at} of the {side}'s connection: {error}") from error
        if not is_met:
            right = "error" if name == "refused" else "ok"
            if fault == "timeout" and result != right and at < 1000:
                continue  # a busy machine let a limit pass
            assert result == right, f"without a fault: {result}"
            break
        counts[result] = counts.get(result, 0) + 1
        POINTS[f"{side}, {fault}"] += 1
    gc.collect()
    return counts


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Retries do not wait, and what has ended is closed soon."""
    monkeypatch.setattr(router, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(connection_module, "TAIL_SECONDS", 0.02)
    monkeypatch.setattr(tokenizers, "TOKENIZER_SECONDS", 0.2)
    yield


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here")
    folder = tmp_path_factory.mktemp("tls")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=gate", "-days", "2")
    output = ("-keyout", "key.pem", "-out", "cert.pem")
    subprocess.run(["openssl", "req", "-x509", *new, *output], cwd=folder, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def tls(request: pytest.FixtureRequest, name: str) -> ssl.SSLContext | None:
    return request.getfixturevalue("certificate") if SCENARIOS[name].tls else None


@pytest.mark.parametrize("fault", UPSTREAM)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_operation_of_the_upstream(
    name: str, fault: str, tls: ssl.SSLContext | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "timeout":
        monkeypatch.setattr(upstream_module, "CONNECT_SECONDS", 0.2)
    counts = await loop(name, fault, "upstream", tls)
    assert sum(counts.values()) > 3
    if fault not in ("leave", "hang up"):
        assert "gone" not in counts
    if fault in ("error", "close", "short") and "again" in name:
        assert counts["ok"] > 1, "what failed before delivery was asked again"
    if name == "count" and fault not in ("leave", "hang up"):
        assert set(counts) == {"ok"}, "a count is never an upstream's error"


@pytest.mark.parametrize("fault", CLIENT)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_operation_of_the_client(name: str, fault: str, tls: ssl.SSLContext | None) -> None:
    counts = await loop(name, fault, "client", tls)
    assert counts["gone"] > 1
    if fault == "timeout" and SCENARIOS[name].prompt > 1000:
        assert counts["error"] > 1, "a body that stalls is a 408"
