"""The verbs as one JSON message (that it equals the stream is shown in test_writer.py)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types import Message

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages import blocks, sequence, signatures
from a2py.messages.reply import Reply, tool_input
from a2py.messages.types import JSON, Outcome, Usage


def new(**options: Any) -> Reply:
    return Reply("msg_1", "claude-x", **options)


def test_a_whole_message() -> None:
    reply = new(origin="chat:x:y")
    reply.thinking("r", "h")
    reply.thinking_json("r", b"m\\u20ac")
    reply.text("t", "Hel")
    reply.text_json("t", b"lo\\n")
    reply.citation("t", {"type": "char_location", "n": 1})
    reply.citation("t", {"type": "char_location", "n": 2})
    reply.tool(0, "call_1", "f")
    reply.args(0, '{"a": ')
    reply.args_json(0, b"[1]}")
    reply.server_tool("s", "srvtoolu_1", "web_search", {"query": "x"})
    reply.server_result("s2", "web_search_tool_result", "srvtoolu_1", [])
    message = reply.message(Outcome(usage=Usage(10, 5, 3)), Usage(99))
    assert message == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm\u20ac", "signature": signatures.make("t", "chat:x:y", {})},
            {
                "type": "text",
                "text": "Hello\n",
                "citations": [{"type": "char_location", "n": 1}, {"type": "char_location", "n": 2}],
            },
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": [1]}},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 3,
            "output_tokens": 5,
        },
    }


def test_the_sdk_takes_it() -> None:
    reply = new()
    reply.text("t", "Hi")
    reply.tool(0, "call_1", "f")
    message = reply.message(Outcome(), Usage(7))
    assert message["usage"]["input_tokens"] == 7
    Message.model_validate(message, strict=True)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome("stop_sequence", stop_sequence="END"), {"stop_reason": "stop_sequence", "stop_sequence": "END"}),
        (Outcome("max_tokens", stop_sequence="END"), {"stop_reason": "max_tokens", "stop_sequence": None}),
        (
            Outcome("refusal", stop_details={"type": "refusal"}),
            {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal"}},
        ),
    ],
)
def test_how_it_ended(outcome: Outcome, expected: JSON) -> None:
    message = new().message(outcome, Usage())
    assert {k: v for k, v in message.items() if k.startswith("stop_")} == expected
    assert message["content"] == [{"type": "text", "text": ""}]


def test_an_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ApiError("overloaded", "busy")
    with pytest.raises(ApiError) as excinfo:
        new().message(Outcome(error=error), Usage())
    assert excinfo.value is error
    monkeypatch.setattr(sequence, "HELD_LIMIT", 10)
    full = new()
    full.args(0, "x" * 20)
    with pytest.raises(ApiError, match="interleaved"):
        full.message(Outcome(), Usage())


def raw_input(raw: str) -> JSON:
    return {"__unparsedToolInput": {"raw": raw, "len": len(raw)}}


DEEP = '{"a":' * 400 + "1" + "}" * 400
DEEP_JSON = '{"a":' * 220 + "1" + "}" * 220


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ('{"a": 1.0, "b": [null, "\u20ac"]}', {"a": 1.0, "b": [None, "\u20ac"]}),
        (' {"a": 1}\n', {"a": 1}),
        ("", {}),
        (" ", {}),
        ("null", {}),
        ("[]", {}),
        ('""', {}),
        ("{}", {}),
        ('{"a": ', raw_input('{"a": ')),
        ('{"a": 1}}', raw_input('{"a": 1}}')),
        ("[1]", raw_input("[1]")),
        ("7", raw_input("7")),
        ("{'a': 1}", raw_input("{'a': 1}")),
        ('{"a": NaN}', raw_input('{"a": NaN}')),
        (r'{"a": "half \ud83d"}', {"a": "half \ufffd"}),
        (DEEP, raw_input(DEEP)),
        (DEEP_JSON, orjson.loads(DEEP_JSON)),
        ("[" * 3000, raw_input("[" * 3000)),
    ],
    ids=range(18),
)
def test_tool_input(raw: str, value: JSON) -> None:
    assert tool_input(raw) == value
    orjson.dumps(tool_input(raw))


def test_what_one_string_cannot_hold() -> None:
    """The same characters as the stream's: each delta was mended for itself."""
    reply = new()
    for part in ("a\ud83d", "\ude00b", "c"):
        reply.text("t", part)
    reply.text_json("t", b"half \\ud83d")
    reply.text_json("t", b"no \\json")
    [block] = reply.message(Outcome(), Usage())["content"]
    assert block["text"] == "a\ufffd\ufffdbchalf \ufffdno \\json"
    assert jsontext.without_surrogates(block["text"]) == block["text"]


def raw(reply: Reply, type: str, **body: Any) -> None:
    reply.raw(type, {"type": type, **body}, b"")


def raw_message(reply: Reply, *blocks: tuple[JSON, list[JSON], bool]) -> None:
    usage = {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 4, "service_tier": "standard"}
    message: JSON = {
        "id": "",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [],
        "usage": usage,
        "container": None,
    }
    raw(reply, "message_start", message=message)
    raw(reply, "ping")
    for n, (block, deltas, has_stop) in enumerate(blocks):
        raw(reply, "content_block_start", index=n, content_block=block)
        for delta in deltas:
            raw(reply, "content_block_delta", index=n, delta=delta)
        if has_stop:
            raw(reply, "content_block_stop", index=n)
            raw(reply, "brand_new")
    usage = {"output_tokens": 5, "cache_read_input_tokens": None, "extra": None}
    raw(
        reply,
        "message_delta",
        delta={"stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "c"}},
        usage=usage,
        context_management={},
    )


def test_raw_events_become_the_upstreams_message() -> None:
    reply = new()
    raw_message(
        reply,
        (
            {"type": "thinking", "thinking": "", "signature": ""},
            [
                {"type": "thinking_delta", "thinking": "h"},
                {"type": "thinking_delta", "thinking": "m"},
                {"type": "signature_delta", "signature": "EqQ="},
            ],
            True,
        ),
        (
            {"type": "text", "text": "", "citations": None},
            [
                {"type": "citations_delta", "citation": {"n": 1}},
                {"type": "text_delta", "text": "Hi"},
                {"type": "citations_delta", "citation": {"n": 2}},
            ],
            False,
        ),
        (
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            [{"type": "input_json_delta", "partial_json": '{"a":1}'}],
            True,
        ),
        ({"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}, [], True),
        (
            {"type": "tool_use", "id": "toolu_3", "name": "h", "input": {}},
            [{"type": "input_json_delta", "partial_json": '{"a":1}'}],
            False,
        ),
        ({"type": "web_search_tool_result", "tool_use_id": "x", "content": [1]}, [], True),
        ({"type": "text", "text": "", "citations": [{"n": 0}]}, [{"type": "text_delta", "text": "Yo"}], True),
        ({"type": "compaction", "content": None}, [{"type": "compaction_delta", "content": "short", "text": 7}], True),
    )
    message = reply.message(Outcome(usage=Usage(9, 5, 4)), Usage(99))
    assert message == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "EqQ="},
            {"type": "text", "text": "Hi", "citations": [{"n": 1}, {"n": 2}]},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
            {"type": "tool_use", "id": "toolu_3", "name": "h", "input": raw_input('{"a":1}')},
            {"type": "web_search_tool_result", "tool_use_id": "x", "content": [1]},
            {"type": "text", "text": "Yo", "citations": [{"n": 0}]},
            {"type": "compaction", "content": "short"},
        ],
        "container": {"id": "c"},
        "context_management": {},
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 9,
            "output_tokens": 5,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "service_tier": "standard",
            "extra": None,
        },
    }


def test_a_raw_message_without_its_end_is_an_error_of_the_wire() -> None:
    reply = new()
    raw(reply, "message_start", message={"id": "x", "usage": {}})
    with pytest.raises(ApiError):
        reply.message(Outcome(error=ApiError("upstream", "cut")), Usage())


def too_long(reply: Reply) -> None:
    with pytest.raises(ApiError, match="only a client that streams can get it"):
        reply.message(Outcome(), Usage())


@pytest.mark.parametrize(
    "verb", ["text", "block", "signature", "citation", "server_tool", "raw block", "raw citation", "raw text"]
)
def test_a_message_that_is_too_long(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes it too long, what follows does no harm, and nothing is kept."""
    monkeypatch.setattr("a2py.messages.reply.REPLY_LIMIT", 5000)
    reply = new(thinking="omit" if verb == "signature" else "show")
    if verb.startswith("raw"):
        reply.raw("message_start", {"message": {"id": "", "usage": {}}}, b"")
        reply.raw("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}, b"")
    for n in range(100):
        if verb == "text":
            reply.text("t", "x" * 100)
        elif verb == "block":
            reply.text(n, "x")
        elif verb == "signature":
            reply.thinking(n, "x" * 3000)
            reply.text("t", "x")
        elif verb == "citation":
            reply.text("t", "x")
            reply.citation("t", {"x": [[]] * 20})
        elif verb == "server_tool":
            reply.server_tool(n, "i", "n", {})
            reply.server_result(n, "r", "i", [[]] * 20)
        elif verb == "raw block":
            reply.raw("content_block_stop", {"index": n}, b"")
            reply.raw("content_block_start", {"index": n + 1, "content_block": {"type": "text", "text": ""}}, b"")
        elif verb == "raw citation":
            reply.raw("content_block_delta", {"index": 0, "delta": {"type": "citations_delta", "citation": {}}}, b"")
        else:
            reply.raw("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "x" * 100}}, b"")
    too_long(reply)
    assert reply._content.blocks == []


def test_arguments_of_too_many_values_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = '{"a":[' + "[]," * 600_000 + "1]}"
    assert tool_input(raw) == {"__unparsedToolInput": {"raw": raw, "len": len(raw)}}
    reply = new()
    reply.tool(0, "c", "f")
    reply.args(0, raw[:200_000])
    assert reply.message(Outcome("tool_use"), Usage())["stop_reason"] == "max_tokens"  # cut


def test_as_many_calls_as_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deltas after the last accepted call, and deltas for it, do no harm."""
    monkeypatch.setattr(blocks, "CALLS_LIMIT", 3)
    reply = new()
    for n in range(5):
        reply.tool(n, f"c{n}", "f")
        reply.args(n, '{"a":1}')
        reply.complete(n)
    reply.text("t", "late")
    with pytest.raises(ApiError, match="more than 3 tool calls in one reply"):
        reply.message(Outcome("tool_use"), Usage())


def test_what_waited_behind_a_call_may_make_the_message_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is held until the end, because the call lacks its last brace."""
    monkeypatch.setattr("a2py.messages.reply.REPLY_LIMIT", 5000)
    reply = new()
    reply.tool(0, "call_1", "f")
    reply.args(0, '{"a": 1')
    reply.text("t", "x" * 6000)
    assert reply.problem is None
    too_long(reply)
