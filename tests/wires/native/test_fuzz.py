"""The native decoder over mutated streams of its goldens: whatever comes, the client's stream is in order and ends
once.

Unlike the other wires' (../test_fuzz.py) its output is not held to our own vocabulary: unknown events, fields and stop
reasons pass."""

from __future__ import annotations

import random
import re
import warnings
from typing import Any

import orjson
import pytest
from anthropic._models import construct_type
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages.reply import tool_input, wrap_unparsed
from a2py.messages.types import JSON
from a2py.wires import wire
from tests import streams
from tests.wires.test_fuzz import bodies, mutate_lines

NATIVE = wire("native")
EVENT = re.compile(rb"event: ([a-z][a-z0-9_.]*)\ndata: ([^\n]+)\n\n")
TEXTS = {"text_delta": "text", "thinking_delta": "thinking"}


def read(data: bytes) -> list[JSON]:
    """The events, each named by its type, in an order that every client can follow."""
    events = []
    for match in EVENT.finditer(data):
        event = orjson.loads(match[2])
        assert event["type"].encode() == match[1]
        events.append(event)
    assert sum(match.end() - match.start() for match in EVENT.finditer(data)) == len(data)
    kinds = [event["type"] for event in events]
    assert kinds[-1] in ("message_stop", "error")
    assert sum(kind in ("message_stop", "error") for kind in kinds) == 1
    if kinds == ["error"]:
        return events
    assert kinds[0] == "message_start"
    assert kinds.count("message_start") == 1
    assert kinds.count("message_delta") == (kinds[-1] == "message_stop")
    assert kinds[-1] == "error" or kinds[-2] == "message_delta"
    next_index, at, ids = 0, -1, set()
    for event in events:
        if event["type"] == "content_block_start":
            assert at == -1
            assert event["index"] == next_index
            block = event["content_block"]
            if block["type"] == "tool_use":
                assert streams.TOOL_ID.match(block["id"]) or block["id"].startswith("a2py_")
                assert block["id"] not in ids
                ids.add(block["id"])
            for name, empty in streams.EMPTY.get(block["type"], {}).items():
                assert block[name] == empty or name == "signature"
            at, next_index = next_index, next_index + 1
        elif event["type"] == "content_block_delta":
            assert event["index"] == at
        elif event["type"] == "content_block_stop":
            assert event["index"] == at
            at = -1
    for event in (events[0]["message"], events[-2]):
        if event["type"] in ("message", "message_delta"):
            numbers = [event["usage"][name] for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")]
            assert all(type(n) is int for n in numbers)
            assert numbers[0] >= 1
    return events


def content(events: list[JSON]) -> list[JSON]:
    """The blocks as a client puts them together."""
    out: list[JSON] = []
    parts: list[str] | None = None
    open_call = False
    for event in events:
        if event["type"] == "content_block_start":
            out.append(dict(event["content_block"]))
            parts = None
            open_call = out[-1]["type"] == "tool_use"
        elif event["type"] == "content_block_delta":
            block, delta = out[-1], event["delta"]
            if delta["type"] in TEXTS:
                name = TEXTS[delta["type"]]
                before = block.get(name)  # of an unknown block it may be anything
                block[name] = (before if isinstance(before, str) else "") + delta[name]
            elif delta["type"] == "input_json_delta":
                parts = [*(parts or []), delta["partial_json"]]
                block["input"] = wrap_unparsed("".join(parts))
            elif delta["type"] == "citations_delta":
                before = block.get("citations")
                block["citations"] = [*(before if isinstance(before, list) else []), delta.get("citation")]
            else:
                block.update(
                    {k: v for k, v in delta.items() if k not in ("type", "text", "thinking", "input", "partial_json")}
                )
        elif event["type"] == "content_block_stop":
            open_call = False
            if parts is not None:
                out[-1]["input"] = tool_input("".join(parts))
    if open_call and parts is None:  # cut before its arguments: it may not be run
        out[-1]["input"] = wrap_unparsed("")
    return out


def sdk(events: list[JSON]) -> None:
    """The SDK builds its models without validation; nothing in them may make it raise."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    kinds = (
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field of another type than the SDK's
        for event in events:
            if event["type"] in kinds:
                sdk_event: Any = construct_type(type_=RawMessageStreamEvent, value=event)
                snapshot = accumulate_event(event=sdk_event, current_snapshot=snapshot, json_bufs=buffers)


def check(data: bytes, dice: random.Random) -> None:
    thinking = dice.choice(["show", "none"])
    used_ids = frozenset(["call_0"])
    whole = streams.run(NATIVE, streams.upstream_request(), [data], thinking=thinking, history_ids=used_ids)
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice([1, 3, 30])))
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    assert streams.run(NATIVE, streams.upstream_request(), pieces, thinking=thinking, history_ids=used_ids) == whole
    events = read(whole)
    try:
        message = streams.collect(NATIVE, streams.upstream_request(), data, thinking=thinking, history_ids=used_ids)
        again = streams.unary(NATIVE, streams.upstream_request(), data, thinking=thinking, history_ids=used_ids)
    except ApiError as error:
        assert events[-1]["type"] == "error"
        assert events[-1]["error"]["message"] == error.message
        return
    assert events[-1]["type"] == "message_stop"
    assert message == again
    assert orjson.loads(orjson.dumps(message["content"])) == content(events)
    # written and read again, because what is nested too deeply is written shorter
    usage = orjson.loads(jsontext.dumps({"usage": message["usage"]}))["usage"]  # as deep as in its event
    assert usage == {**events[0]["message"]["usage"], **events[-2]["usage"]}
    if not any(
        "__unparsedToolInput" in str(block.get("input")) for block in message["content"]
    ):  # the SDK raises on what the model broke
        sdk(events)


@given(seed=st.integers(0, 2**48))
@settings(deadline=None, max_examples=150)
def test_mutated_streams(seed: int) -> None:
    dice = random.Random(seed)
    check(mutate_lines(dice.choice(bodies("native")), dice), dice)


def test_a_call_that_was_cut_before_its_arguments() -> None:
    """As test_mutated_streams once made it: the block is never closed, the message ends properly."""
    events = (
        {
            "type": "message_start",
            "message": {"id": "msg_test", "type": "message", "role": "assistant", "model": "m", "content": []},
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "clean", "input": {}},
        },
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )
    check(b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events), random.Random(1))


@pytest.mark.parametrize("at", range(len(bodies("native"))))
def test_goldens_as_they_are(at: int) -> None:
    check(bodies("native")[at], random.Random(at))


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    check(data, random.Random(len(data)))


@pytest.mark.parametrize("start", [{"text": "He'lo"}, {"text": 1e308}, {}])
def test_a_block_that_nobody_knows_keeps_the_text_of_its_start(start: JSON) -> None:
    """Found by atheris: the unary reply lost it."""
    events: list[JSON] = [
        {
            "type": "message_start",
            "message": {"id": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "unheard_of", **start}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    data = b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)
    check(data, random.Random(1))
    [block] = streams.collect(NATIVE, streams.upstream_request(), data)["content"]
    assert block["text"] == ("He'lo there" if start.get("text") == "He'lo" else " there")
