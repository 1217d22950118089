"""Each limit of docs/limits.md: the page names the constant's own value, and a flood of each kind stays within it.

Knows: the tables of the page. A row without a flood here fails, and so does a flood without a row. (The floods of
connections to upstreams are in upstream/test_limits.py.) Memory is counted by tracemalloc, in bytes that are held at
the same time. A limit in characters may hold FACTOR bytes for each."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from itertools import count, repeat
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from a2py.config import Settings
from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import JSON
from a2py.wires import wire
from tests import streams
from tests.proxied import config, message, run_proxy, settle
from tests.scripted import JSON_TYPE, SSE, Peer, ScriptedServer, answering

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
#: Bytes that may be held for each byte or character of a limit, and beside it.
FACTOR, BESIDE = 4, 2 * 1024 * 1024
#: Limits that are numbers of things → bytes that one of them may hold.
THINGS = {"a2py.messages.blocks.CALLS_LIMIT": 2048, "a2py.jsonsize.VALUES_LIMIT": 64}
UNITS = {"": 1, " Ki": 1 << 10, " Mi": 1 << 20, " KiB": 1 << 10, " MiB": 1 << 20}


class Row(NamedTuple):
    what: str
    limit: int
    where: str
    beyond: str


def table(heading: str) -> dict[str, Row]:
    """The rows of the first table below a heading, by the place of their limit."""
    text = PAGE.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[2].startswith("`"):
            number, unit = re.fullmatch(r"([\d,]+)( Ki| Mi| KiB| MiB)?", cells[1]).groups()  # type: ignore[union-attr]
            where = cells[2].strip("`")
            assert where not in rows
            rows[where] = Row(cells[0], int(number.replace(",", "")) * UNITS[unit or ""], where, cells[3])
    return rows


REQUESTS, REPLIES, CONNECTIONS = table("Requests"), table("Replies"), table("Connections to upstreams")
PASSTHROUGH = table("OpenAI's endpoints")
#: Their floods are in ledger/test_ledger.py.
LEDGER = table("The ledger")
#: Their floods are in proxy/test_bus.py, proxy/test_news.py and cli/test_control.py.
WORKERS = table("Workers")
#: Their floods are in shared/.
REDIS = table("Redis")


def test_the_page_has_its_tables() -> None:
    assert len(REQUESTS) == 8 and len(REPLIES) == 21 and len(LEDGER) == 7 and len(WORKERS) == 7 and len(REDIS) == 8


@pytest.mark.parametrize(
    "row",
    [row for rows in (REQUESTS, PASSTHROUGH, REPLIES, LEDGER, WORKERS, REDIS, CONNECTIONS) for row in rows.values()],
    ids=lambda row: f"{row.where} ({row.what[:20]})",
)
def test_the_page_names_the_limit_that_is_enforced(row: Row) -> None:
    if row.where.startswith("a2py: "):
        name = row.where.removeprefix("a2py: ")
        assert getattr(Settings(), name) * UNITS[" MiB" if name.endswith("_mb") else " KiB"] == row.limit
        return
    module, _, name = row.where.rpartition(".")
    assert getattr(import_module(module), name) == row.limit


# -- requests ----------------------------------------------------------------------------------------------------------

HELLO: JSON = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}


def nest(levels: int) -> JSON:
    block: JSON = {"type": "text", "text": "x"}
    for _ in range(levels):
        block = {"type": "tool_result", "tool_use_id": "a", "content": [block]}
    return {**HELLO, "messages": [{"role": "user", "content": [block]}]}


#: Place of the limit → a body as large as it may be, and one that is larger.
BODIES: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "a2py.jsonsize.VALUES_LIMIT": lambda n: ({**HELLO, "x": [1] * (n - 20)}, {**HELLO, "x": [1] * (n + 1)}),
    "a2py.messages.request.MESSAGES_LIMIT": lambda n: (
        {**HELLO, "messages": HELLO["messages"] * n},
        {**HELLO, "messages": HELLO["messages"] * (n + 1)},
    ),
    "a2py.messages.request.PATH_LIMIT": lambda n: (nest(n // 30), nest(n // 20)),
    "a2py.messages.request.MODEL_LIMIT": lambda n: ({**HELLO, "model": "m" * n}, {**HELLO, "model": "m" * (n + 1)}),
    "a2py.messages.request.TOOL_NAME_LIMIT": lambda n: (
        {**HELLO, "tools": [{"name": "t" * n, "input_schema": {}}]},
        {**HELLO, "tools": [{"name": "t" * (n + 1), "input_schema": {}}]},
    ),
    "a2py.messages.request.STOPS_LIMIT": lambda n: (
        {**HELLO, "stop_sequences": ["x"] * n},
        {**HELLO, "stop_sequences": ["x"] * (n + 1)},
    ),
    "a2py.messages.request.STOP_LIMIT": lambda n: (
        {**HELLO, "stop_sequences": ["x" * n]},
        {**HELLO, "stop_sequences": ["x" * (n + 1)]},
    ),
}


@pytest.mark.parametrize("row", REQUESTS.values(), ids=REQUESTS)
async def test_a_request_beyond_a_limit_is_refused(row: Row) -> None:
    status, kind = re.match(r"(\d+) `(\w+)`", row.beyond).groups()  # type: ignore[union-attr]
    if row.where == "a2py: max_body_mb":
        async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
            whole = orjson.dumps(message("@"))
            fits = whole.replace(b"@", b"x" * (row.limit - len(whole) + 1))
            assert (await proxy.ask(fits)).status == 200
            refusal = await proxy.ask(fits + b" ")
        assert (refusal.status, refusal.json["error"]["type"]) == (int(status), kind)
        return
    fits, exceeds = BODIES[row.where](row.limit)
    parse(orjson.dumps(fits))
    with pytest.raises(ApiError) as excinfo:
        parse(orjson.dumps(exceeds))
    assert (excinfo.value.status, excinfo.value.type) == (int(status), kind)


# -- replies -----------------------------------------------------------------------------------------------------------


class FloodResult(NamedTuple):
    """`peak`: the most that was held at a time, in bytes; `error`: "" where the reply went on; `size`: bytes that the
    upstream sent."""

    peak: int
    error: str
    size: int


def flood(
    name: str, feed: Iterable[bytes], most: int, *, whole: bool = False, thinking: str = "show", **options: Any
) -> FloodResult:
    """Feed a wire's decoder until it ends, or has got `most` bytes. `whole`: for a client that does not stream."""
    sink: Any = Reply("msg_1", "m", "o", thinking) if whole else streams.writer(thinking=thinking)
    decoder = wire(name).decoder(streams.upstream_request(**options), sink)
    size = peak = last_look = 0
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        for data in feed:
            decoder.feed(data)
            size += len(data)
            if not whole:
                sink.take()
            is_over = decoder.is_finished or sink.problem is not None or size > most
            if is_over or size - last_look > 1 << 18:
                last_look = size
                peak = max(peak, tracemalloc.get_traced_memory()[0] - before)
            if is_over:
                break
    finally:
        tracemalloc.stop()
    error = sink.problem or (decoder.close().error if size <= most else None)
    return FloodResult(peak, error.message if error is not None else "", size)


def sse(event: JSON) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.get("type", "").encode(), orjson.dumps(event))


def chat(**delta: Any) -> bytes:
    return sse({"choices": [{"delta": delta}]})


def call(index: int = 0, arguments: str = "", **more: Any) -> bytes:
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return chat(tool_calls=[{"index": index, "function": function, **more}])


def then(*first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield from first
    yield from rest


def response(kind: str, **event: Any) -> bytes:
    return sse({"output_index": 0, **event, "type": f"response.{kind}"})


MESSAGE_START = sse({"type": "message_start", "message": {"role": "assistant", "usage": {"input_tokens": 1}}})
TEXT_START = sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
#: A piece of a reply whose limit is the real one, and one whose limit is SMALL: what each piece costs must count as
#: well.
LARGE, TINY, SMALL = "abcd" * 1000, "abc", 256 * 1024
END = {"type": "message_stop"}


def call_item(k: int, **more: Any) -> JSON:
    return {"type": "function_call", "id": f"i{k}", "call_id": f"c{k}", "name": "f", **more}


def item(k: int, index: int = 0, **more: Any) -> bytes:
    return response("output_item.added", item={"id": f"i{k}", **more}, output_index=index)


def tool_block(k: int) -> bytes:
    block = {"type": "tool_use", "id": f"c{k}", "name": "f", "input": {}}
    return sse({"type": "content_block_start", "index": k, "content_block": block})


def native_delta(**delta: Any) -> bytes:
    return sse({"type": "content_block_delta", "index": 0, "delta": delta})


FREE = response("output_item.added", item={"type": "custom_tool_call", "id": "i", "call_id": "c", "name": "f"})
URL, TEXT_PART = {"type": "url_citation"}, {"type": "output_text", "text": "x"}
#: Things in one event, more than any limit takes.
MANY = 70_000


class Flood(NamedTuple):
    """`error`: what it holds, one or another; "" where the reply goes on; `options`: of `flood`; `times`: how many
    times the limit is fed, if it goes on."""

    error: str
    wire: str
    feed: Callable[[int, str], Iterable[bytes]]
    options: JSON = {}
    times: int = 3


def _many_values(begin: bytes, end: bytes, limit: int, piece: str) -> Iterable[bytes]:
    """Return one body with `limit` values."""
    return [begin + b"[]," * limit + end]


#: Place of the limit → floods; `feed` gets the limit and a piece of text.
FLOODS: dict[str, list[Flood]] = {
    "a2py.sse.LINE_LIMIT": [
        Flood("an event larger than 32 MiB", "chat", lambda n, s: then(b"data: ", rest=repeat(s.encode()))),
        Flood("an event larger than 32 MiB", "chat", lambda n, s: repeat(b"data: x\ndata:\n" * 300)),
    ],
    "a2py.wires.common.intake.BODY_LIMIT": [
        Flood("reply larger than 32 MiB", "chat", lambda n, s: then(b'{"', rest=repeat(s.encode())), {"whole": True}),
        Flood("nothing but white space", "responses", lambda n, s: repeat(b" " * len(s))),
    ],
    "a2py.jsonsize.VALUES_LIMIT": [
        Flood(
            f"{what} of more than 1,010,000 JSON values",
            name,
            partial(_many_values, begin, end),
            {},
            9,
        )
        for name in ("chat", "responses", "native")
        for begin, end, what in ((b'data: {"x":[', b"1]}\n\n", "an event"), (b'{"x":[', b"1]}", "a reply"))
    ],
    "a2py.messages.sequence.HELD_LIMIT": [
        Flood(
            "interleaved more than",
            "chat",
            lambda n, s: then(call(id="c", name="f", arguments='{"a'), rest=repeat(chat(content=s))),
        ),
        Flood("interleaved more than", "chat", lambda n, s: repeat(call(arguments=s))),
        Flood("interleaved more than", "chat", lambda n, s: repeat(chat(reasoning=s)), {"thinking": "omit"}),
    ],
    "a2py.messages.blocks.CALLS_LIMIT": [
        Flood(
            "more than 4096 tool calls",
            "chat",
            lambda n, s: (call(k, '{"a":1}', id=f"c{k}", name="f") for k in count()),
            {},
            999,
        ),
        Flood(
            "more than 4096 tool calls",
            "responses",
            lambda n, s: (response("output_item.done", item=call_item(k, arguments='{"a":1}')) for k in count()),
            {},
            999,
        ),
        Flood(
            "more than 4096 tool calls",
            "native",
            lambda n, s: then(MESSAGE_START, rest=map(tool_block, count())),
            {},
            999,
        ),
    ],
    "a2py.messages.sequence.SCAN_SIZE": [
        Flood(
            "",
            "chat",
            lambda n, s: then(call(id="c", name="f", arguments='{"a":"'), rest=repeat(call(arguments=s))),
            {},
            9,
        ),
        Flood(
            "",
            "native",
            lambda n, s: then(
                MESSAGE_START, tool_block(0), rest=repeat(native_delta(type="input_json_delta", partial_json=s))
            ),
            {},
            9,
        ),
    ],
    "a2py.messages.reply.REPLY_LIMIT": [
        Flood("only a client that streams", "chat", lambda n, s: repeat(chat(content=s)), {"whole": True}),
        Flood(
            "only a client that streams",
            "chat",
            lambda n, s: then(call(id="c", name="f", arguments='{"a":"'), rest=repeat(call(arguments=s))),
            {"whole": True},
        ),
        Flood(
            "only a client that streams",
            "native",
            lambda n, s: then(MESSAGE_START, TEXT_START, rest=repeat(native_delta(type="text_delta", text=s))),
            {"whole": True},
        ),
        Flood(
            "only a client that streams",
            "native",
            lambda n, s: then(
                MESSAGE_START, TEXT_START, rest=repeat(native_delta(type="citations_delta", citation={"type": s}))
            ),
            {"whole": True},
        ),
        Flood(
            "only a client that streams",
            "native",
            lambda n, s: then(
                MESSAGE_START, TEXT_START, rest=repeat(native_delta(type="citations_delta", citation={"x": [[]] * 999}))
            ),
            {"whole": True},
        ),
    ],
    "a2py.wires.chat.calls.KEPT_LIMIT": [
        Flood(
            "longer tool calls",
            "chat",
            lambda n, s: repeat(chat(tool_calls=[{"index": 0, "id": "c", "custom": {"name": "f", "input": s}}])),
        ),
        Flood(
            "longer tool calls",
            "chat",
            lambda n, s: (call(k, '{"a":1}', id=f"{k}" + s, name=s) for k in count(1000)),
            {},
            9,
        ),
        Flood(
            "longer tool calls|interleaved more than",
            "chat",
            lambda n, s: [chat(tool_calls=[{"index": k, "function": {"name": "f"}} for k in range(MANY)])],
            {},
            99,
        ),
    ],
    "a2py.wires.chat.pieces.LIMIT": [
        Flood(
            "reasoning details",
            "chat",
            lambda n, s: repeat(chat(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": s}])),
        ),
        Flood(
            "reasoning details",
            "chat",
            lambda n, s: (chat(reasoning_details=[{"type": "x", "index": k, "x": [s] * 9}]) for k in count()),
        ),
    ],
    "a2py.messages.signatures.LIMIT": [
        Flood(
            "state (`reasoning_opaque`)",
            "chat",
            lambda n, s: (chat(reasoning_opaque="x" * k) for k in (n // 2, n, n + 1)),
        ),
    ],
    "a2py.wires.chat.search_results.SEEN_LIMIT": [
        Flood(
            "more pages",
            "chat",
            lambda n, s: (chat(content="x", annotations=[{**URL, "url": f"{k}" + s}]) for k in count()),
            {"search": "q"},
        ),
        Flood(
            "more pages",
            "chat",
            lambda n, s: (sse({"choices": [], "search_results": [{"url": f"u{k}", "title": s}]}) for k in count()),
            {"search": "q"},
        ),
    ],
    "a2py.wires.chat.fastpath.REST_LIMIT": [
        Flood(
            "",
            "chat",
            lambda n, s: then(
                *[chat(content="a")] * 3, b'data: {"choices":[{"delta":{"content":"', rest=repeat(b"x" * 100)
            ),
            {},
            9,
        ),
    ],
    "a2py.wires.common.filters.BLANK_LIMIT": [
        Flood("", "chat", lambda n, s: repeat(chat(content=" " * 40)), {"think_tags": True}, 99)
    ],
    "a2py.messages.request.STOP_LIMIT": [
        Flood("", "chat", lambda n, s: repeat(chat(content="ab" * 40)), {"stops": ("ab" * 2047 + "c",)}, 99),
        Flood(
            "",
            "responses",
            lambda n, s: repeat(response("output_text.delta", delta="ab" * 40)),
            {"stops": ("ab" * 2047 + "c",)},
            99,
        ),
    ],
    "a2py.wires.responses.budget.KEPT_LIMIT": [
        Flood(
            "",
            "responses",
            lambda n, s: (response("output_text.delta", content_index=k >> 9, delta=s) for k in count()),
        ),
        Flood("", "responses", lambda n, s: then(FREE, rest=repeat(response("custom_tool_call_input.delta", delta=s)))),
    ],
    "a2py.wires.responses.budget.ITEMS_LIMIT": [
        Flood("more items", "responses", lambda n, s: (item(k, type="x" + s, index=k) for k in count()), {}, 9),
        Flood(
            "more items",
            "responses",
            lambda n, s: (response("output_text.delta", content_index=k, delta="x") for k in count()),
            {},
            9,
        ),
        Flood(
            "more items",
            "responses",
            lambda n, s: (item(k, type="message", call_id=f"{k}" + s) for k in count()),
            {},
            9,
        ),
        Flood(
            "more items",
            "responses",
            lambda n, s: [
                response("completed", response={"output": [{"type": "message", "content": [TEXT_PART]}] * MANY})
            ],
            {},
            99,
        ),
        Flood(
            "more items",
            "responses",
            lambda n, s: [response("output_item.done", item={"type": "message", "content": [TEXT_PART] * MANY})],
            {},
            99,
        ),
        Flood(
            "more items",
            "responses",
            lambda n, s: [
                response(
                    "content_part.done",
                    part={**TEXT_PART, "annotations": [{**URL, "url": f"http://{k}"} for k in range(MANY)]},
                ),
            ],
            {},
            99,
        ),
        Flood(
            "more items",
            "responses",
            lambda n, s: (
                response("output_text.annotation.added", annotation={**URL, "url": f"{k}" + s}) for k in count()
            ),
        ),
    ],
    "a2py.wires.native.ending.ENDING_LIMIT": [
        Flood(
            "message_delta events",
            "native",
            lambda n, s: then(MESSAGE_START, rest=(sse({"type": "message_delta", f"x{k}": s}) for k in count())),
        ),
        Flood(
            "", "native", lambda n, s: then(MESSAGE_START, rest=repeat(sse({"type": "message_delta", "x": s}))), {}, 5
        ),
    ],
    "a2py.wires.native.repairs.NOTES": [
        Flood(
            "",
            "native",
            lambda n, s: then(MESSAGE_START, rest=repeat(native_delta(type="citations_delta", citation={}))),
            {},
            99_999,
        ),
    ],
}
#: Limits that count pieces of any size, so that they are flooded with tiny ones, too.
PIECES = (
    "a2py.messages.sequence.HELD_LIMIT",
    "a2py.messages.reply.REPLY_LIMIT",
    "a2py.wires.chat.calls.KEPT_LIMIT",
    "a2py.wires.chat.pieces.LIMIT",
    "a2py.wires.chat.search_results.SEEN_LIMIT",
    "a2py.wires.responses.budget.KEPT_LIMIT",
    "a2py.wires.responses.budget.ITEMS_LIMIT",
)
#: Those that a proxy with sockets floods, below.
WITH_SOCKETS = {"a2py.upstream.client.ERROR_BODY", "a2py: buffer_kb", "a2py.proxy.recording.BODY_LIMIT"}


#: Limits of what is passed through → the test that floods it.
PASSED_FLOODS = {
    "a2py.wires.passthrough.json_model.MODEL_LIMIT": "wires/passthrough/test_json_model.py::test_no_name",
    "a2py.wires.passthrough.multipart.PARTS_LIMIT": "wires/passthrough/test_multipart.py::test_too_many_parts_and_slices",
    "a2py.wires.passthrough.multipart.HEADERS_LIMIT": "wires/passthrough/test_multipart.py::test_what_can_be_read_in_two_ways_is_refused",
    "a2py.wires.passthrough.headers.LENGTH": "wires/passthrough/test_headers.py::test_a_header_that_is_too_long_does_not_pass",
    "a2py.messages.session.MAX_BLOCKS": "wires/passthrough/test_session.py::test_what_is_kept_is_bounded",
    "a2py.messages.session.MAX_TEXT": "wires/passthrough/test_session.py::test_what_is_kept_is_bounded",
    "a2py.wires.passthrough.usage.HEAD": "wires/passthrough/test_usage.py::test_what_is_kept_is_bounded",
    "a2py.wires.passthrough.usage.TAIL": "wires/passthrough/test_usage.py::test_what_is_kept_is_bounded",
    "a2py.wires.passthrough.usage.USAGE_LIMIT": "wires/passthrough/test_usage.py::test_usage_of_a_whole_reply",
    "a2py.wires.passthrough.usage.USAGE_TRIES": "wires/passthrough/test_usage.py::test_a_flood_of_usage_objects_is_not_read",
    "a2py.proxy.accounts.MAX_RESPONSES": "whole/test_openai.py::test_the_newest_responses_are_kept",
}


def test_each_limit_of_what_passes_has_its_flood() -> None:
    assert set(PASSED_FLOODS) == set(PASSTHROUGH)
    for test in PASSED_FLOODS.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (PAGE.parents[1] / "tests" / file).read_text("utf-8"), test


def test_each_limit_has_its_flood() -> None:
    assert set(BODIES) | {"a2py: max_body_mb"} == set(REQUESTS)
    assert set(FLOODS) | WITH_SOCKETS == set(REPLIES) and not set(FLOODS) & WITH_SOCKETS


def check(where: str, limit: int, piece: str, beside: int) -> None:
    for n, (error, name, feed, options, times) in enumerate(FLOODS[where]):
        result = flood(name, feed(limit, piece), times * limit, **options)
        assert any(one in result.error for one in error.split("|")) if error else not result.error, (n, result)
        assert result.peak <= THINGS.get(where, FACTOR) * limit + beside, (n, result)


@pytest.mark.parametrize(
    "row", [row for row in REPLIES.values() if row.where not in WITH_SOCKETS], ids=lambda row: row.where
)
def test_a_flood_stays_within_the_limit(row: Row) -> None:
    check(row.where, row.limit, LARGE, BESIDE)


@pytest.mark.parametrize("where", PIECES)
def test_a_flood_of_tiny_pieces_stays_within_the_limit(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, SMALL)
    check(where, SMALL, TINY, SMALL)


async def test_the_body_of_an_error_is_cut() -> None:
    async def script(c: Peer) -> None:
        c.head(400, JSON_TYPE)
        c.chunk(b'{"error":{"message":"no, ')
        try:
            while True:
                c.chunk(b"x" * 4096)
                await c.drain()
        except ConnectionError:
            pass

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
    assert answer.status == 400 and len(answer.body) < 4096


async def test_an_endless_answer_to_a_client_that_does_not_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """38 MB became 1,374 in 5 seconds."""
    limit = 2 * 1024 * 1024
    monkeypatch.setattr("a2py.messages.reply.REPLY_LIMIT", limit)
    events = b"".join([chat(content="ab")] * 400)

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        try:
            while True:
                c.chunk(events)
                await c.drain()
        except ConnectionError:
            pass

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        tracemalloc.start()
        try:
            answer = await proxy.ask(message(stream=False))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert answer.status == 502 and "only a client that streams can get it" in answer.json["error"]["message"]
    assert peak < FACTOR * limit + BESIDE


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    limit = REPLIES["a2py: buffer_kb"].limit

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.writer.transport.set_write_buffer_limits(high=65536)
        try:
            for _ in range(20_000):
                c.chunk(chat(content="x" * 16_000))
                await c.drain()
        except ConnectionError:
            pass

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy, proxy.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.ask("POST", "/v1/messages", message())
        await settle(lambda: any(connection.is_paused for connection in proxy.busy))
        for _ in range(100):
            await asyncio.sleep(0)
            sizes = [connection.transport.get_write_buffer_size() for connection in proxy.busy if connection.transport]
            assert sizes and limit < max(sizes) <= 2 * limit
        client.reset()


def captured_in(place: Path) -> JSON:
    (file,) = place.iterdir()
    capture: JSON = orjson.loads(file.read_bytes())
    return capture


@pytest.mark.parametrize("stream", [True, False])
async def test_a_capture_of_an_endless_reply_is_cut(stream: bool, tmp_path: Path) -> None:
    limit = REPLIES["a2py.proxy.recording.BODY_LIMIT"].limit

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for _ in range(limit // 3000 + 2000):
            c.chunk(chat(content="x" * 3000))
            await c.drain()
        c.events({"choices": [{"delta": {}, "finish_reason": "stop"}]}, "[DONE]")
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy:
        answer = await proxy.ask(message(stream=stream))
        assert answer.status == 200
    capture = captured_in(tmp_path)
    assert capture["attempts"][0]["cut"] is True
    assert sum(map(len, capture["attempts"][0]["pieces"])) <= limit and len(capture["answer"]["body"]) <= limit
