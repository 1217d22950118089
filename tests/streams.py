"""The helper of all stream tests: splits, running a wire, a strict reader of Anthropic event streams, the decoder
contract.

Knows: what the Anthropic SDKs and Claude Code accept (measured on 2.1.332), and the five clauses of a decoder
(docs/design.md). Must not know: any upstream format.
Use: `check_contract(wire("chat"), upstream_request(), data)` runs `data` through every split and gives the accumulated
message.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from a2py.errors import KINDS, ApiError
from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Decoder, Key, Outcome, Prepared, Sink, Usage
from a2py.messages.writer import Writer
from a2py.wires import reply
from a2py.wires.types import Wire

#: Streams up to this size (bytes) are cut at every place; longer ones at SAMPLE seeded places.
EVERY_CUT = 1500
SAMPLE = 40
#: Seeded cuts into many pieces.
RANDOM_SPLITS = 6
STOP_REASONS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
}
ERROR_TYPES = {kind.type for kind in KINDS.values()}
MESSAGE_ID = "msg_test"
MODEL = "claude-test"
ESTIMATE = Usage(input=7)

#: At most 64 characters; the reversible form of an illegal id may be longer (Claude Code takes 300: measured).
TOOL_ID = re.compile(r"(?:[A-Za-z0-9_-]{1,64}|a2py_\d+_[A-Za-z0-9_-]*)\Z")
EVENT = re.compile(rb"event: ([a-z_]+)\ndata: ([^\n]+)\n\n")
#: Block type → the delta types that it takes.
DELTAS = {
    "text": {"text_delta": "text", "citations_delta": "citation"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
    "server_tool_use": {"input_json_delta": "partial_json"},
}
#: Content of a block when it starts: empty, because Claude Code ignores text and input in content_block_start.
EMPTY: dict[str, JSON] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
    "server_tool_use": {"input": {}},
}


# -- splits ------------------------------------------------------------------------------------------------------------


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Every way in which a test cuts `data`: whole, byte by byte, in two (everywhere, or a seeded sample), at
    random."""
    yield [data]
    yield [data[n : n + 1] for n in range(len(data))]
    dice = random.Random(len(data))
    inside = range(1, len(data))
    cuts: Iterable[int] = inside
    if len(data) > EVERY_CUT:
        ends = [m.end() for m in re.finditer(rb"\r\n|\n", data)]
        near = [
            n + d
            for n in dice.sample(ends, min(len(ends), SAMPLE // 4))
            for d in (-1, 0, 1, 6)
            if 0 < n + d < len(data)
        ]
        cuts = {*near, *dice.sample(inside, SAMPLE)}
    for n in cuts:
        yield [data[:n], data[n:]]
    for _ in range(RANDOM_SPLITS):
        places = sorted(dice.sample(inside, min(len(inside), dice.randint(2, 40))))
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
        pieces.insert(dice.randrange(len(pieces) + 1), b"")
        yield pieces


# -- running a wire ----------------------------------------------------------------------------------------------------


def upstream_request(**changes: Any) -> Prepared:
    """A `Prepared` for decoder tests: a stream, nothing renamed."""
    return Prepared("http://upstream.invalid/v1", {}, b"{}", **{"stream": True, **changes})


def writer(thinking: str = "show", history_ids: frozenset[str] = frozenset(), origin: str = "test") -> Writer:
    return Writer(MESSAGE_ID, MODEL, ESTIMATE, origin, thinking, history_ids)


def drive(
    wire: Wire, request: Prepared, pieces: Iterable[bytes], sink: Writer, *, hang_up: bool = False
) -> tuple[bytes, Outcome]:
    """Feed `pieces` through the wire's decoder into `sink`, as the relay does. Each `take()` must return complete
    events (contract 1).

    `hang_up`: stop reading as soon as the decoder says that it is finished."""
    decoder = wire.decoder(request, sink)
    out = []
    for piece in pieces:
        if hang_up and decoder.is_finished:
            break
        decoder.feed(piece)
        out.append(sink.take())
        assert not out[-1] or out[-1].endswith(b"\n\n"), f"part of an event was given out: {out[-1][-80:]!r}"
    outcome = decoder.close()
    sink.close(outcome)
    out.append(sink.take())
    _nothing_follows(decoder, sink, outcome)
    return b"".join(out), outcome


def _nothing_follows(decoder: Decoder, sink: Writer, outcome: Outcome) -> None:
    """Contract 5."""
    for more in (b"", b"\n\n", b'data: {"choices":[{"index":0,"delta":{"content":"late"}}]}\n\ndata: [DONE]\n\n'):
        decoder.feed(more)
        assert sink.take() == b"", f"something followed the end, after {more!r}"
    decoder.close()
    sink.close(outcome)
    sink.error(ApiError("api", "late"))
    sink.keepalive()
    assert sink.take() == b"", "something followed the end"


def run(wire: Wire, request: Prepared, pieces: Iterable[bytes], **writer_options: Any) -> bytes:
    """The client's bytes for `pieces` of an upstream stream."""
    return drive(wire, request, pieces, writer(**writer_options))[0]


def unary(
    wire: Wire,
    request: Prepared,
    body: bytes,
    *,
    thinking: str = "show",
    history_ids: frozenset[str] = frozenset(),
    origin: str = "test",
) -> JSON:
    """The client's message for a unary upstream body; raises ApiError."""
    sink = Reply(MESSAGE_ID, MODEL, origin, thinking, history_ids)
    return sink.message(reply(wire, request, body, sink), ESTIMATE)


def collect(
    wire: Wire,
    request: Prepared,
    data: bytes,
    *,
    thinking: str = "show",
    history_ids: frozenset[str] = frozenset(),
    origin: str = "test",
) -> JSON:
    """The client's message where the client is unary and the upstream streams: the stream decoder with a `Reply`."""
    sink = Reply(MESSAGE_ID, MODEL, origin, thinking, history_ids)
    decoder = wire.decoder(request, sink)
    decoder.feed(data)
    return sink.message(decoder.close(), ESTIMATE)


class Recorder:
    """A sink that writes down the verbs, neighbouring text of one key joined: `[("text", 0, "Hi"), ("tool", 1,
    "call_1", "add")]`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def _add(self, verb: str, key: Key, s: str) -> None:
        if self.calls and self.calls[-1][:2] == (verb, key):
            s = self.calls.pop()[2] + s
        self.calls.append((verb, key, s))

    def text(self, key: Key, s: str) -> None:
        self._add("text", key, s)

    def text_json(self, key: Key, raw: bytes) -> None:
        self._add("text", key, orjson.loads(b'"' + raw + b'"'))

    def thinking(self, key: Key, s: str) -> None:
        self._add("thinking", key, s)

    def thinking_json(self, key: Key, raw: bytes) -> None:
        self._add("thinking", key, orjson.loads(b'"' + raw + b'"'))

    def around(self, key: Key) -> None:
        return None

    def signature(self, key: Key, kind: str, state: JSON) -> None:
        self.calls.append(("signature", key, kind, state))

    def reasoning_field(self, name: str) -> None:
        self.calls.append(("reasoning_field", name))

    def tool(self, key: Key, id: str, name: str) -> None:
        self.calls.append(("tool", key, id, name))

    def args(self, key: Key, s: str) -> None:
        self._add("args", key, s)

    def args_json(self, key: Key, raw: bytes) -> None:
        self._add("args", key, orjson.loads(b'"' + raw + b'"'))

    def complete(self, key: Key) -> None:
        self.calls.append(("complete", key))

    def server_tool(self, key: Key, id: str, name: str, input: JSON) -> None:
        self.calls.append(("server_tool", key, id, name, input))

    def server_result(self, key: Key, type: str, tool_use_id: str, content: Any) -> None:
        self.calls.append(("server_result", key, type, tool_use_id, content))

    def citation(self, key: Key, citation: JSON) -> None:
        self.calls.append(("citation", key, citation))


def record(wire: Wire, request: Prepared, data: bytes) -> tuple[list[tuple[Any, ...]], Outcome]:
    """The verbs that a stream makes, and its outcome."""
    sink: Any = Recorder()
    decoder = wire.decoder(request, sink)
    decoder.feed(data)
    return sink.calls, decoder.close()


# -- reading what the client gets --------------------------------------------------------------------------------------


def events(data: bytes, *, whole: bool = True) -> list[JSON]:
    """The events of an Anthropic stream; AssertionError on anything that an SDK or Claude Code would not take.

    `whole=False`: the stream may stop without its terminal event."""
    parsed_events: list[JSON] = []
    at = 0
    while at < len(data):
        match = EVENT.match(data, at)
        assert match, f"no whole event at byte {at}: {data[at : at + 120]!r}"
        body = orjson.loads(match[2])
        assert body.get("type") == match[1].decode(), f"event {match[1]!r} carries type {body.get('type')!r}"
        parsed_events.append(body)
        at = match.end()
    _Sequence(parsed_events).check(whole)
    return parsed_events


class _Sequence:
    """The rules between events: one message_start, blocks 0, 1, 2 … one after the other, one message_delta, one
    terminal event."""

    def __init__(self, events: list[JSON]) -> None:
        self.events = events
        self.has_begun = False
        self.delta: JSON | None = None
        self.end = ""
        self.blocks: list[JSON] = []
        self.open = False
        self.is_signed = False
        self.ids: set[str] = set()

    def check(self, whole: bool) -> None:
        for event in self.events:
            assert not self.end, f"{event['type']} after {self.end}"
            getattr(self, f"on_{event['type']}", self.on_unknown)(event)
        assert self.end or not whole, "no terminal event"

    def on_unknown(self, event: JSON) -> None:
        raise AssertionError(f"unknown event {event}")

    def on_ping(self, event: JSON) -> None:
        assert event == {"type": "ping"}, event
        assert self.delta is None, "ping between message_delta and message_stop"

    def on_message_start(self, event: JSON) -> None:
        assert not self.has_begun, "second message_start"
        self.has_begun = True
        message = event["message"]
        assert re.match(r"msg_[\w-]+\Z", message["id"]), message["id"]
        assert isinstance(message["model"], str) and message["model"], "no model"
        constants = {k: message[k] for k in ("type", "role", "content", "stop_reason", "stop_sequence")}
        assert constants == {
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }, message
        self.usage(message["usage"])

    def usage(self, usage: JSON) -> None:
        assert usage["input_tokens"] >= 1, usage
        for name in ("output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            assert type(usage[name]) is int and usage[name] >= 0, usage

    def on_content_block_start(self, event: JSON) -> None:
        assert self.has_begun and self.delta is None and not self.open, f"block start out of order: {event}"
        assert event["index"] == len(self.blocks), f"index {event['index']} is not sequential"
        block = event["content_block"]
        for name, empty in EMPTY.get(block["type"], {}).items():
            assert block.get(name) == empty, f"{name} must be empty in content_block_start: {block}"
        if block["type"] in ("tool_use", "server_tool_use"):
            assert isinstance(block["name"], str) and block["name"], "tool without a name"
            assert TOOL_ID.match(block["id"]), f"illegal tool id {block['id']!r}"
            assert block["id"] not in self.ids, f"tool id {block['id']!r} twice"
            self.ids.add(block["id"])
        self.blocks.append(block)
        self.open = True
        self.is_signed = False

    def on_content_block_delta(self, event: JSON) -> None:
        assert self.open and event["index"] == len(self.blocks) - 1, f"delta without its block: {event}"
        block, delta = self.blocks[-1], event["delta"]
        field = DELTAS.get(block["type"], {}).get(delta["type"])
        assert field, f"{delta['type']} in a {block['type']} block"
        assert set(delta) == {"type", field}, delta
        assert isinstance(delta[field], dict if field == "citation" else str), delta
        assert not self.is_signed, "delta after the signature"
        if field == "signature":
            assert delta[field], "empty signature"
            self.is_signed = True

    def on_content_block_stop(self, event: JSON) -> None:
        assert self.open and event["index"] == len(self.blocks) - 1, f"stop without its block: {event}"
        assert self.is_signed or self.blocks[-1]["type"] != "thinking", "thinking block without a signature"
        self.open = False

    def on_message_delta(self, event: JSON) -> None:
        assert self.has_begun and not self.open and self.delta is None, "message_delta out of order"
        assert self.blocks, "an empty message is no success"
        delta = self.delta = event["delta"]
        reason = delta["stop_reason"]
        assert reason in STOP_REASONS, f"illegal stop reason {reason!r}"
        assert (reason == "stop_sequence") == (delta["stop_sequence"] is not None), delta
        has_tool_use = any(block["type"] == "tool_use" for block in self.blocks)
        assert (
            has_tool_use if reason == "tool_use" else not has_tool_use or reason not in ("end_turn", "stop_sequence")
        ), (
            reason,
            has_tool_use,
        )
        self.usage(event["usage"])

    def on_message_stop(self, event: JSON) -> None:
        assert self.delta is not None, "message_stop without message_delta"
        self.end = "message_stop"

    def on_error(self, event: JSON) -> None:
        assert self.delta is None, "error after message_delta"
        assert event["error"]["type"] in ERROR_TYPES, event
        assert isinstance(event["error"]["message"], str) and event["error"]["message"], event
        self.end = "error"


def accumulate(events: list[JSON]) -> JSON:
    """Return the message that a client puts together. `error` is present if the stream ended with one. A block that was
    never closed has `"open": True`. Closed tool input that is not a JSON object becomes `{"__unparsedToolInput":
    {"raw", "len"}}`."""
    message: JSON = {}
    raw: dict[int, list[str]] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = orjson.loads(orjson.dumps(event["message"]))
        elif kind == "content_block_start":
            message["content"].append({**event["content_block"], "open": True})
            raw[event["index"]] = []
        elif kind == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            field = DELTAS[block["type"]][delta["type"]]
            if field == "partial_json":
                raw[event["index"]].append(delta[field])
            elif field == "citation":
                block.setdefault("citations", []).append(delta[field])
            else:
                block[field] += delta[field]
        elif kind == "content_block_stop":
            block = message["content"][event["index"]]
            del block["open"]
            if "input" in block:
                block["input"] = _tool_input("".join(raw[event["index"]]))
        elif kind == "message_delta":
            message.update(event["delta"])
            message["usage"] = {**message["usage"], **event["usage"]}
        elif kind == "error":
            message["error"] = event["error"]
    for n, block in enumerate(message.get("content", ())):
        if block.get("open") and "input" in block:
            block["partial_json"] = "".join(raw[n])
    return message


def _tool_input(raw: str) -> JSON:
    try:
        value = orjson.loads(raw)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"__unparsedToolInput": {"raw": raw, "len": len(raw)}}


def text_of(message: JSON, kind: str = "text") -> str:
    """All text of the blocks of one kind (`text`, `thinking`), joined."""
    return "".join(block[kind] for block in message.get("content", ()) if block["type"] == kind)


def tools_of(message: JSON) -> list[JSON]:
    return [block for block in message.get("content", ()) if block["type"] == "tool_use"]


# -- the contract ------------------------------------------------------------------------------------------------------


def check_contract(
    wire: Wire,
    request: Prepared,
    data: bytes,
    *,
    make: Callable[[], Writer] | None = None,
    cuts: bool = True,
    **options: Any,
) -> JSON:
    """Check the five clauses of docs/design.md on `data`, and return the message of the whole stream.

    `make`: another Writer than `writer(**options)`; `cuts`: also end the stream early at places, where nothing may be
    completed."""
    new = make or (lambda: writer(**options))
    expected, outcome = drive(wire, request, [data], new())
    message = accumulate(events(expected))
    assert "error" not in message or outcome.error is not None, "an error event without an error"
    for pieces in splits(data):
        actual, _ = drive(wire, request, pieces, new())
        assert actual == expected, _difference(pieces, expected, actual)
    early, _ = drive(wire, request, (data[n : n + 1] for n in range(len(data))), new(), hang_up=True)
    assert early == expected, "what stands behind the decoder's end changed the output"
    if cuts:
        for n in _places(data):
            check_cut(message, events(drive(wire, request, [data[:n]], new())[0]), n)
    return message


def _places(data: bytes) -> list[int]:
    dice = random.Random(len(data) + 1)
    return sorted(dice.sample(range(len(data)), min(len(data), SAMPLE)))


def check_cut(message: JSON, events: list[JSON], n: int) -> None:
    """A stream that was cut after `n` bytes: it is well-formed, and no tool call is closed that the whole stream did
    not have."""
    part = accumulate(events)
    whole = [block["input"] for block in tools_of(message) if "open" not in block]
    for block in tools_of(part):
        if "open" not in block and "__unparsedToolInput" not in block["input"]:
            assert block["input"] in whole, f"cut at {n}: a call was completed: {block}"


def _difference(pieces: list[bytes], expected: bytes, actual: bytes) -> str:
    at = next(
        (n for n, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b), min(len(expected), len(actual))
    )
    where = [len(piece) for piece in pieces[:4]]
    return f"split {where}…: differs at byte {at}: expected {expected[at - 60 : at + 80]!r}, got {actual[at - 60 : at + 80]!r}"


def sdk_message(data: bytes) -> JSON:
    """The message as the real `anthropic` SDK accumulates it, every event validated by its own types."""
    from anthropic.lib.streaming._messages import accumulate_event
    from anthropic.types import RawMessageStreamEvent
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events(data):
        if event["type"] not in ("ping", "error"):
            snapshot = accumulate_event(
                event=adapter.validate_python(event), current_snapshot=snapshot, json_bufs=buffers
            )
    out: JSON = snapshot.model_dump(mode="json", exclude_unset=True)
    return out


__all__ = [
    "MESSAGE_ID",
    "MODEL",
    "Recorder",
    "Sink",
    "accumulate",
    "check_contract",
    "check_cut",
    "collect",
    "drive",
    "events",
    "record",
    "run",
    "sdk_message",
    "splits",
    "text_of",
    "tools_of",
    "unary",
    "upstream_request",
    "writer",
]
