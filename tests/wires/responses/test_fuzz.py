"""Hypothesis on the Responses wire: any bytes, any events, any rendering of a reply, any request.

Knows: the event and item names, so that what is generated gets deep into the decoder. Must not know: how it works.
"""

from __future__ import annotations

import os
import random
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from a2py.errors import ApiError
from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden, streams, typed

RESPONSES = wire("responses")
#: Examples of each test; `A2PY_FUZZ=20000` runs that many, of its own choice.
EXAMPLES = int(os.environ.get("A2PY_FUZZ", "60"))
MODEST = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="A2PY_FUZZ" not in os.environ,
)
KINDS = (
    *("message", "reasoning", "function_call", "custom_tool_call", "web_search_call", "image_generation_call", "x"),
    *("output_text", "refusal", "summary_text", "reasoning_text", "url_citation", "search"),
)
EVENTS = (
    *(
        "output_text.delta",
        "output_text.done",
        "refusal.delta",
        "refusal.done",
        "reasoning_summary_text.delta",
        "reasoning_text.delta",
    ),
    *(
        "reasoning_summary_text.done",
        "reasoning_text.done",
        "content_part.done",
        "reasoning_summary_part.done",
        "output_text.annotation.added",
    ),
    *(
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.added",
        "output_item.done",
        "created",
        "in_progress",
    ),
    *("completed", "incomplete", "failed", "error", "unheard_of"),
)
WORDS = st.sampled_from(
    (
        "",
        "a",
        "b",
        "id_1",
        "call_1",
        "read",
        "{}",
        '{"a":',
        "1}",
        "STOP",
        "ST",
        "OP",
        "<think>",
        "</think>",
        "é\u2028",
        "null",
    )
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 4), st.floats(allow_nan=False), WORDS, st.sampled_from(KINDS)
)
NAMES = st.sampled_from(
    (
        *(
            "type",
            "id",
            "call_id",
            "name",
            "arguments",
            "status",
            "content",
            "summary",
            "text",
            "refusal",
            "delta",
            "part",
            "item",
            "output",
        ),
        *(
            "item_id",
            "output_index",
            "content_index",
            "summary_index",
            "annotation",
            "annotations",
            "url",
            "action",
            "queries",
            "sources",
        ),
        *(
            "encrypted_content",
            "response",
            "error",
            "message",
            "usage",
            "input_tokens",
            "output_tokens",
            "incomplete_details",
            "reason",
        ),
    )
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)


@st.composite
def events(draw: st.DrawFn) -> JSON:
    """An event with the fields that it should have, some of them with the values that they should have."""
    event: JSON = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    event["type"] = "response." + draw(st.sampled_from(EVENTS))
    for name, values in (
        ("delta", WORDS),
        ("item_id", st.sampled_from(("a", "b"))),
        ("output_index", st.integers(0, 2)),
        ("item", st.dictionaries(NAMES, VALUES, max_size=5)),
        ("response", st.dictionaries(NAMES, VALUES, max_size=5)),
    ):
        if draw(st.booleans()):
            event[name] = draw(values)
    if isinstance(event.get("item"), dict) and draw(st.booleans()):
        event["item"]["type"] = draw(st.sampled_from(KINDS[:7]))
    return event


def sse(events: list[JSON]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


def survives(data: bytes, **options: Any) -> None:
    """Contract 1 to 5 for the whole and for one random split."""
    upstream_request = streams.upstream_request(**options)
    whole, _ = streams.drive(RESPONSES, upstream_request, [data], streams.writer())
    streams.accumulate(streams.events(whole))
    dice = random.Random(len(data))
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(5))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert streams.drive(RESPONSES, upstream_request, pieces, streams.writer())[0] == whole


@MODEST
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    survives(data)


@MODEST
@given(st.lists(events(), max_size=12), st.booleans(), st.booleans(), st.integers(0, 3))
def test_any_events(event_list: list[JSON], stops: bool, tags: bool, limit: int) -> None:
    survives(sse(event_list), stops=("STOP",) if stops else (), think_tags=tags, limit=limit)


@MODEST
@given(VALUES)
def test_any_body(value: Any) -> None:
    for body in (value, {"status": "completed", "output": value}, {"output": [value]}):
        try:
            streams.unary(RESPONSES, streams.upstream_request(stream=False), orjson.dumps(body))
        except ApiError as error:
            assert error.message


# -- any rendering of a reply is the same message ----------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(TEXTS, st.integers(-9, 9) | TEXTS, max_size=3).map(
    lambda value: orjson.dumps(value).decode()
)
MESSAGE = st.lists(
    st.builds(lambda t: {"type": "output_text", "text": t, "annotations": []}, TEXTS)
    | st.builds(lambda t: {"type": "refusal", "refusal": t}, TEXTS),
    min_size=1,
    max_size=3,
).map(lambda content: {"type": "message", "role": "assistant", "content": content})
REASONING = st.tuples(st.lists(TEXTS, max_size=3), st.booleans(), st.booleans()).map(
    lambda choices: {
        "type": "reasoning",
        "summary": [] if choices[1] else [{"type": "summary_text", "text": t} for t in choices[0]],
        "content": [{"type": "reasoning_text", "text": t} for t in choices[0]] if choices[1] else [],
        **({"encrypted_content": "gAAAA"} if choices[2] else {}),
    }
)
CALLS = ARGUMENTS.map(
    lambda arguments: {"type": "function_call", "name": "read", "arguments": arguments, "status": "completed"}
)
SEARCHES = TEXTS.map(
    lambda q: {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": q}}
)
OUTPUTS = st.lists(MESSAGE | REASONING | CALLS | SEARCHES, max_size=5)


class Renderer:
    """Renders `output` as a stream in one of the ways that are seen: with or without deltas, indexes, stable ids, item
    events, a listed end."""

    def __init__(self, output: list[JSON], seed: int) -> None:
        self.output = output
        self.dice = random.Random(seed)
        self.deltas, self.has_ends, self.has_indexes, self.has_list = (
            self.dice.random() < p for p in (0.7, 0.7, 0.7, 0.6)
        )
        self.has_starts = self.deltas or self.dice.random() < 0.5
        self.rotates = self.has_indexes and self.dice.random() < 0.3
        self.has_starts = self.deltas or self.dice.random() < 0.5
        # what is announced and not streamed must end, or it would be told in another order; so must what is known only
        # at its end
        late = any(raw["type"] == "web_search_call" or "encrypted_content" in raw for raw in output)
        self.has_ends = self.has_ends or late or (self.has_starts and not self.deltas)
        self.has_list = self.has_list or not self.has_ends
        self.rotates = self.has_indexes and self.dice.random() < 0.3
        # a search and a vendor's state are known only when their item ends: without that they come last
        self.has_ends = self.has_ends or any(
            raw["type"] == "web_search_call" or "encrypted_content" in raw for raw in output
        )
        self.has_list = self.has_list or not self.has_ends
        self.first = self.dice.choice((0, 0, 1))  # Bedrock's content_index
        self.rotations = 0

    def id(self, n: int) -> str:
        self.rotations += 1
        return f"it_{n}_{self.rotations}" if self.rotates else f"it_{n}"

    def place(self, n: int) -> JSON:
        return {"item_id": self.id(n), **({"output_index": n} if self.has_indexes else {})}

    def item(self, n: int, **changes: Any) -> JSON:
        raw = {**self.output[n], "id": self.id(n)}
        if raw["type"] == "function_call":
            raw["call_id"] = f"call_{n}"
        return {**raw, **changes}

    def parts(self, n: int) -> list[tuple[str, str, int, str]]:
        """(event, name of the index, index, text) of what an item streams."""
        raw = self.output[n]
        if raw["type"] == "function_call":
            return [("function_call_arguments", "", 0, raw["arguments"])]
        names = {"output_text": "output_text", "refusal": "refusal", "reasoning_text": "reasoning_text"}
        contents = [
            (names[p["type"]], "content_index", k + self.first, p.get("text") or p["refusal"])
            for k, p in enumerate(raw.get("content", ()))
        ]
        return contents + [
            ("reasoning_summary_text", "summary_index", k, p["text"]) for k, p in enumerate(raw.get("summary", ()))
        ]

    def events(self) -> list[JSON]:
        out: list[JSON] = []
        for n, raw in enumerate(self.output):
            index = {"output_index": n} if self.has_indexes else {}
            if self.has_starts:
                bare = {
                    k: [] if isinstance(raw[k], list) else ""
                    for k in ("content", "summary", "arguments", "encrypted_content")
                    if k in raw
                }
                out.append(
                    {"type": "response.output_item.added", **index, "item": self.item(n, **bare, status="in_progress")}
                )
            for event, name, k, text in self.parts(n) if self.deltas else ():
                where = {name: k} if name else {}
                size = self.dice.randint(1, 5)
                cuts = range(0, len(text), size)
                out += [
                    {"type": f"response.{event}.delta", **self.place(n), **where, "delta": text[at : at + size]}
                    for at in cuts
                ]
                if self.dice.random() < 0.5:
                    field = {"function_call_arguments": "arguments", "refusal": "refusal"}.get(event, "text")
                    out.append({"type": f"response.{event}.done", **self.place(n), **where, field: text})
            if self.has_ends:
                out.append({"type": "response.output_item.done", **index, "item": self.item(n)})
        return out

    def stream(self) -> bytes:
        return sse([*self.events(), {"type": "response.completed", "response": self.response(self.has_list)}])

    def response(self, has_list: bool = True) -> JSON:
        usage = {"input_tokens": 9, "output_tokens": 4}
        return {
            "status": "completed",
            "output": [self.item(n) for n in range(len(self.output))] if has_list else [],
            "usage": usage,
        }


def comparable(message: JSON) -> JSON:
    """Without what the renderings say differently: ids of searches and of reasoning items."""
    content = []
    for block in message["content"]:
        block = {k: v for k, v in block.items() if k not in ("signature", "tool_use_id")}
        content.append({**block, "id": ""} if block["type"] == "server_tool_use" else block)
    return {**message, "content": content}


@settings(MODEST, max_examples=5 * EXAMPLES)
@given(OUTPUTS, st.integers(0, 2**32))
def test_any_rendering_is_the_same_message(output: list[JSON], seed: int) -> None:
    renderer = Renderer(output, seed)
    stream_message = streams.accumulate(
        streams.events(streams.run(RESPONSES, streams.upstream_request(), [renderer.stream()]))
    )
    whole = streams.unary(RESPONSES, streams.upstream_request(stream=False), orjson.dumps(renderer.response()))
    assert comparable(stream_message) == comparable(whole)


# -- requests ----------------------------------------------------------------------------------------------------------

SOURCES = st.sampled_from(
    (
        {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        {"type": "url", "url": "https://example.com/x"},
        {"type": "text", "media_type": "text/plain", "data": "A note."},
        {"type": "file", "file_id": "f"},
    )
)
IDS = st.sampled_from(("call_1", "call_2", "x" * 80, "functions.read:0", "a2py_1_Y2FsbF8x", ""))
INNER = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, TEXTS),
    st.builds(lambda kind, source: {"type": kind, "source": source}, st.sampled_from(("image", "document")), SOURCES),
    st.just({"type": "tool_reference", "tool_name": "mcp__x"}),
)
BLOCKS = st.one_of(
    INNER,
    st.builds(
        lambda i, value: {"type": "tool_use", "id": i, "name": "a/b", "input": value},
        IDS,
        st.dictionaries(TEXTS, LEAVES, max_size=2),
    ),
    st.builds(
        lambda i, content, error: {"type": "tool_result", "tool_use_id": i, "content": content, "is_error": error},
        IDS,
        st.lists(INNER, max_size=3) | TEXTS,
        st.booleans(),
    ),
    st.builds(lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, TEXTS, TEXTS),
    st.builds(lambda value: {"type": "unheard_of", "text": value}, VALUES),
    st.just({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}),
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(("user", "assistant", "system")), "content": st.lists(BLOCKS, max_size=4) | TEXTS}
    ),
    min_size=1,
    max_size=6,
)
CONFIGS: list[JSON] = [
    {},
    {
        "documents": "file",
        "media_in_output": True,
        "mid_system": "inline",
        "reasoning": "effort",
        "cache": "breakpoint",
    },
    {
        "images": False,
        "system_as_user": True,
        "prefill": "instruct",
        "tool_choice_named": "only",
        "empty_content": "(none)",
    },
]


@MODEST
@given(MESSAGES, st.sampled_from(CONFIGS), st.text(max_size=5), st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_request_is_one_that_openai_accepts(messages: list[JSON], quirks: JSON, system: str, unknown: JSON) -> None:
    config = {"wire": "responses", "quirks": quirks}
    unknown = {
        name: value for name, value in unknown.items() if name not in ("system", "messages", "tools", "metadata")
    }
    try:
        call = golden.call({**unknown, "model": "m", "max_tokens": 5, "system": system, "messages": messages}, config)
        body = orjson.loads(RESPONSES.prepare(call, golden.deployment(config), False).body)
    except ApiError:  # a file of Anthropic's cannot be read here
        return
    type_: Any = ResponseCreateParamsNonStreaming
    assert typed.problems(body, type_) == []
    calls = [item["call_id"] for item in body["input"] if item["type"] == "function_call"]
    assert calls == [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
    assert body["input"]
