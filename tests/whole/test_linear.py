"""What comes from outside costs its length, and no more: the proxy is one event loop, and one body that costs its
length squared stops it.

Each case is made at two sizes, the larger one GROWTH times the smaller; its work may grow MOST times as much (the
square would be GROWTH²). Work is counted, not timed: counted_work.py. Found in 2026-11, all of them quadratic or worse
then: the cases marked so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
import pytest

from a2py.config import Config
from a2py.errors import ApiError
from a2py.messages.count import count, estimate
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.sent import SentBody
from a2py.messages.types import JSON, Call
from a2py.sse import SSEParser
from a2py.wires import failure, wire
from a2py.wires.common import schema as schemas
from a2py.wires.refusal.peer import Peer
from tests import golden, streams
from tests.counted_work import work

GROWTH, MOST = 4, 8
#: Bytes of one read of the proxy.
READ = 65_536

Run = Callable[[], Any]
Make = Callable[[int], Run]


def sse(*events: JSON) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event.get("type", "").encode(), orjson.dumps(event)) for event in events
    )


def decoding(
    name: str, data: bytes, read: int = READ, *, whole: bool = False, thinking: str = "show", **options: Any
) -> Run:
    """`data` through the wire's decoder, `read` bytes at a time; `whole`: for a client that wants one message."""
    request = streams.upstream_request(**options)

    def run() -> None:
        sink: Any = Reply("msg_1", "m", "o", thinking) if whole else streams.writer(thinking=thinking)
        decoder = wire(name).decoder(request, sink)
        for at in range(0, len(data), read):
            decoder.feed(data[at : at + read])
            if not whole:
                sink.take()
        try:
            sink.message(decoder.close(), streams.ESTIMATE) if whole else sink.close(decoder.close())
        except ApiError:
            assert whole

    return run


# -- chat --------------------------------------------------------------------------------------------------------------

CHAT_END = sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"


def chat(*deltas: JSON, read: int = READ, **options: Any) -> Run:
    return decoding("chat", sse(*({"choices": [{"delta": delta}]} for delta in deltas)) + CHAT_END, read, **options)


def fragment(arguments: str, **more: Any) -> JSON:
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"tool_calls": [{"function": {"arguments": arguments, **name}, **more}]}


def reasoning_detail(text: str) -> JSON:
    return {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": text}]}


# -- responses ---------------------------------------------------------------------------------------------------------

PLACE: JSON = {"item_id": "a", "output_index": 0, "content_index": 0}


def responses(*events: JSON) -> Run:
    end = {"type": "completed", "response": {"status": "completed", "output": []}}
    return decoding("responses", sse(*({**event, "type": f"response.{event['type']}"} for event in (*events, end))))


def text_delta(text: str, n: int = 0) -> JSON:
    return {"type": "output_text.delta", **PLACE, "content_index": n, "delta": text}


def texts(n: int) -> JSON:
    return {"type": "message", "id": "a", "content": [{"type": "output_text", "text": "abcd"}] * n}


# -- native ------------------------------------------------------------------------------------------------------------


def native(*events: JSON, **options: Any) -> Run:
    start = {"type": "message_start", "message": {"role": "assistant", "usage": {"input_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    end = ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}, {"type": "message_stop"})
    return decoding("native", sse(start, block, *events, *end), **options)


def delta(**fields: Any) -> JSON:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


STREAMS: dict[str, tuple[int, Make]] = {
    "a long line, byte by byte": (
        125,
        lambda n: lambda: [parser := SSEParser(), *(parser.feed(b"x") for _ in range(n))],
    ),
    "a long event, byte by byte": (125, lambda n: chat({"content": "x" * n}, read=1)),
    "white space ahead of a stream (squared)": (125, lambda n: decoding("chat", b" " * n + CHAT_END, 1)),
    "blank lines ahead of a body (squared)": (125, lambda n: decoding("responses", b"\n" * n + b"{}", 1)),
    "calls that share one index (squared)": (
        62,
        lambda n: chat(*(fragment('{"a":1}', index=0, id=f"c{k}", name="f") for k in range(n))),
    ),
    "calls by index": (62, lambda n: chat(*(fragment('{"a":1}', index=k, id=f"c{k}", name="f") for k in range(n)))),
    "calls with one id": (62, lambda n: chat(*(fragment('{"a":1}', index=k, id="c", name="f") for k in range(n)))),
    "calls without id or index": (62, lambda n: chat(*(fragment('{"a":1}', name="f") for _ in range(n)))),
    "arguments in pieces": (
        125,
        lambda n: chat(fragment('{"a":"', index=0, id="c", name="f"), *[fragment("abcd", index=0)] * n),
    ),
    "arguments in pieces, text waits": (
        125,
        lambda n: chat(
            fragment('{"a":"', index=0, id="c", name="f"), {"content": "x"}, *[fragment("abcd", index=0)] * n
        ),
    ),
    "arguments that never begin": (
        125,
        lambda n: chat(fragment(" ", index=0, id="c", name="f"), *[fragment("  ", index=0)] * n),
    ),
    "a name of a megabyte": (500, lambda n: chat(fragment("{}", index=0, id="c" * n, name="f" * n))),
    "reasoning details in pieces (squared)": (125, lambda n: chat(*[reasoning_detail("abcd" * 500)] * n)),
    "hidden reasoning": (125, lambda n: chat(*[{"reasoning": "abcd"}] * n, thinking="omit")),
    "text and reasoning in turn": (125, lambda n: chat(*[{"reasoning": "a"}, {"content": "b"}] * n)),
    "white space ahead of <think> (squared)": (125, lambda n: chat(*[{"content": "    "}] * n, think_tags=True)),
    "tags in the thinking": (
        125,
        lambda n: chat({"content": "<think>"}, *[{"content": "</think"}] * n, think_tags=True),
    ),
    "a long stop, nearly met (squared)": (1000, lambda n: chat({"content": "a" * n + "c"}, stops=("a" * n + "b",))),
    "a long stop, always nearly met": (
        100,
        lambda n: chat(*[{"content": "a"}] * n, stops=("a" * n + "b", "a" * (n // 2) + "c")),
    ),
    "bad lines": (100, lambda n: decoding("chat", b"data: {bad\n\n" * n + CHAT_END)),
    "a unary reply": (125, lambda n: chat(*[{"content": "abcd"}] * n, whole=True)),
    "a text and its end, again and again (squared)": (
        125,
        lambda n: responses(*[text_delta("abcd"), {"type": "output_text.done", **PLACE, "text": "abcd"}] * n),
    ),
    "parts that come whole (squared)": (
        62,
        lambda n: responses({"type": "output_item.done", "output_index": 0, "item": texts(n)}),
    ),
    "parts that were streamed": (
        62,
        lambda n: responses(
            *(text_delta("abcd", k) for k in range(n)),
            {"type": "output_item.done", "output_index": 0, "item": texts(n)},
        ),
    ),
    "items": (
        62,
        lambda n: responses(
            *({"type": "output_item.done", "output_index": k, "item": {**texts(1), "id": f"a{k}"}} for k in range(n))
        ),
    ),
    "citations of one text (squared)": (
        125,
        lambda n: native(*[delta(type="citations_delta", citation={"type": "x"})] * n, whole=True),
    ),
    "message_delta, each with another field (squared)": (
        125,
        lambda n: native(
            *({"type": "message_delta", "delta": {f"d{k}": 1}, "usage": {f"u{k}": 1}, f"x{k}": 1} for k in range(n))
        ),
    ),
    "deltas": (125, lambda n: native(*[delta(type="text_delta", text="abcd")] * n, whole=True)),
}


# -- requests ----------------------------------------------------------------------------------------------------------


def user(*content: JSON) -> JSON:
    return {"role": "user", "content": list(content)}


def assistant(*content: JSON) -> JSON:
    return {"role": "assistant", "content": list(content)}


def system(*content: JSON) -> JSON:
    return {"role": "system", "content": list(content)}


def call(id: str) -> JSON:
    return {"type": "tool_use", "id": id, "name": "f", "input": {"a": 1}}


def result(id: str) -> JSON:
    return {"type": "tool_result", "tool_use_id": id, "content": "x"}


def tool(name: str) -> JSON:
    return {"name": name, "input_schema": {"type": "object"}}


HELLO: JSON = {"type": "text", "text": "Hello"}
OURS: JSON = {"type": "thinking", "thinking": "Hm.", "signature": "a2py1.t.e30"}
CACHE_MARK: JSON = {**HELLO, "cache_control": {"type": "ephemeral"}}
REQUESTS: dict[str, tuple[int, Callable[[int], list[JSON]], JSON]] = {
    "blocks": (60, lambda n: [user(*[HELLO] * n)], {}),
    "turns": (62, lambda n: [user(HELLO), assistant(HELLO)] * n, {}),
    "calls and results (squared)": (
        62,
        lambda n: [
            user(HELLO),
            assistant(*(call(f"c{k}") for k in range(n))),
            user(*(result(f"c{k}") for k in reversed(range(n)))),
        ],
        {},
    ),
    "calls with one id (cubed)": (
        50,
        lambda n: [user(HELLO), assistant(*[call("c")] * n), user(*[result("c")] * n)],
        {},
    ),
    "calls without results (squared)": (
        100,
        lambda n: [user(HELLO), assistant(*(call(f"c{k}") for k in range(n)))],
        {},
    ),
    "results without calls": (62, lambda n: [user(*(result(f"c{k}") for k in range(n)))], {}),
    "turns of foreign thinking (squared)": (60, lambda n: [user(HELLO), assistant(OURS)] * n, {}),
    "system messages (squared)": (60, lambda n: [user(HELLO), *[system(HELLO), user(HELLO)] * n], {}),
    "tools that come later (squared)": (
        62,
        lambda n: [
            user(HELLO),
            system(*({"type": "tool_addition", "tool": {"definition": tool(f"t{k}")}} for k in range(n))),
        ],
        {},
    ),
    "tools that go (squared)": (
        62,
        lambda n: [user(HELLO), system(*({"type": "tool_removal", "tool": {"name": f"t{k}"}} for k in range(n)))],
        {},
    ),
    "cache marks": (62, lambda n: [user(*[CACHE_MARK] * n)], {"cache": "blocks"}),
    "turns that vanish": (60, lambda n: [user(HELLO), assistant(OURS)] * n, {"string_content": True}),
    "one string": (62, lambda n: [user(HELLO), assistant()] * n, {"string_content": True, "alternation": True}),
}


def building(name: str, messages: list[JSON], quirks: JSON) -> Run:
    tools = [tool(f"t{n}") for n in range(min(len(messages[-1]["content"]), 4000))]
    raw = orjson.dumps({"model": "m", "max_tokens": 5, "messages": messages, "tools": tools})
    to = golden.deployment({"wire": name, "quirks": {key: value for key, value in quirks.items() if name == "chat"}})

    def run() -> None:
        request = parse(raw)
        assert count(request) and estimate(request)
        try:
            wire(name).prepare(Call(request, "msg_1", 0.0, "session"), to, True)
        except ApiError as error:
            assert "nothing is left" in error.message

    return run


def schema(n: int) -> Run:
    """Bounded, not linear: so many references to a definition of so many properties."""
    properties = {f"p{k}": {"type": "string"} for k in range(n)}
    referring = {f"p{k}": {"$ref": "#/$defs/a"} for k in range(n)}
    schema = {"type": "object", "$defs": {"a": {"properties": properties}}, "properties": referring}
    raw = orjson.dumps(
        {"model": "m", "max_tokens": 5, "messages": [user(HELLO)], "tools": [{"name": "t", "input_schema": schema}]}
    )
    to = golden.deployment({"wire": "chat", "quirks": {"schema": ["inline_refs"]}})
    return lambda: wire("chat").prepare(Call(parse(raw), "msg_1", 0.0), to, True)


@cache
def wildcard_config() -> Config:
    deployment = golden.deployment({"wire": "chat"})
    return Config((replace(deployment, name="*a*b*a*b*c"),))


#: Pieces of errors that a pattern may look at again and again.
REFUSALS = (
    "messages ",
    "<",
    "<style>",
    '"message":"a',
    "1,",
    " ",
    "image ",
    "maximum context length is ",
    "api key ",
    "http://a?",
    "data:a/b;base64,",
    "a1",
    "'a b' ",
    '\\"',
    "got a b instead ",
    "{",
    '["a",',
)


def refusal(text: str, n: int) -> Run:
    body = orjson.dumps({"error": {"message": text * n}})
    return lambda: [failure.read(400, {}, raw, Peer(sent_body=SentBody(body))) for raw in (body, text.encode() * n)]


CASES: dict[str, tuple[int, Make]] = {
    **STREAMS,
    **{
        f"{name}: {what}": (n, lambda k, name=name, make=make, quirks=quirks: building(name, make(k), quirks))  # type: ignore[misc]
        for what, (n, make, quirks) in REQUESTS.items()
        for name in ("chat", "responses", "native")
    },
    "a model's name (to the fourth power)": (
        60,
        lambda n: lambda: [wildcard_config().knows("a-b-" * n) for _ in range(9)],
    ),
    **{f"error: {text!r}": (500, lambda n, text=text: refusal(text, n)) for text in REFUSALS},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", CASES)
def test_cost_grows_with_the_length(name: str) -> None:
    n, make = CASES[name]
    small, large = work(make(n)), work(make(n * GROWTH))
    assert large <= MOST * small, f"{small} steps for {n}, {large} for {n * GROWTH}"


def test_references_in_a_schema_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to their limits they cost the square: each reference brings in a whole definition."""
    monkeypatch.setattr(schemas, "REFS", 8)
    monkeypatch.setattr(schemas, "MEMBERS", 500)
    assert work(schema(100 * GROWTH)) <= MOST * work(schema(100))


def insertions(n: int) -> Run:
    def run() -> None:
        values: list[int] = []
        for _ in range(n):
            values.insert(0, 1)

    return run


SQUARES: dict[str, tuple[int, Make]] = {
    "loops": (50, lambda n: lambda: ["" for _ in range(n) for _ in range(n)]),
    "copies": (1000, lambda n: lambda: [bytes(n) for _ in range(n)]),
    "searches": (1000, lambda n: lambda: [b"".find(b"x"), *(text.find(b"x") for text in [bytes(n)] * n)]),
    "insertions": (1000, insertions),
}


@pytest.mark.parametrize("name", SQUARES)
def test_squares_are_seen(name: str) -> None:
    n, make = SQUARES[name]
    assert work(make(n * GROWTH)) > MOST * work(make(n))


def appends(n: int) -> Run:
    def run() -> None:
        values: list[int] = []
        while len(values) < n:
            values.append(1)
        while values:
            values.pop()

    return run


def slices(n: int) -> Run:
    def run() -> None:
        data = bytes(n)
        for at in range(0, n, 50):
            data[at : at + 50].find(b"x")

    return run


#: Work that grows with the length only. A list that is appended to copies itself now and then, and a call on a long list is not a look at all of it.
LINES: dict[str, tuple[int, Make]] = {
    "loops": (1000, lambda n: lambda: ["" for _ in range(n)]),
    "appends": (1000, appends),
    "slices": (10_000, slices),
    "joins": (1000, lambda n: lambda: "".join(str(k) for k in range(n)).split("1")),
    "keys": (1000, lambda n: lambda: {k: str(k) for k in range(n)}),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_are_not_taken_for_squares(name: str) -> None:
    n, make = LINES[name]
    assert work(make(n * GROWTH)) < MOST * work(make(n))
