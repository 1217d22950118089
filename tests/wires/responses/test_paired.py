"""chat == responses: one conversation through both wires. The same reply, in each API's own shapes, is the same
Anthropic message; the same request says the same things upstream.

Knows: how a reply (`Said`) looks on the two wires, streamed and whole. Must not know: how the wires read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden, streams
from tests.recordings import Capture, captures
from tests.wires.test_captures import call_of

Call = tuple[str, str, str]  # id, name, arguments


@dataclass
class Said:
    """A reply. `end`: `stop`, `length`, `filter`, `error` (an error event) or `cut` (the stream just ends)."""

    text: str = ""
    thinking: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    end: str = "stop"
    usage: JSON | None = field(default_factory=lambda: {"in": 20, "out": 7, "cached": 5, "thinking": 3})
    names: dict[str, str] = field(default_factory=dict)
    stops: tuple[str, ...] = ()


def pieces(s: str) -> list[str]:
    return [s[n : n + 3] for n in range(0, len(s), 3)]


# -- chat completions --------------------------------------------------------------------------------------------------


def chat_usage(said: Said) -> JSON | None:
    u = said.usage
    return u and {
        "prompt_tokens": u["in"],
        "completion_tokens": u["out"],
        "total_tokens": u["in"] + u["out"],
        "prompt_tokens_details": {"cached_tokens": u["cached"]},
        "completion_tokens_details": {"reasoning_tokens": u["thinking"]},
    }


def chat_finish(said: Said) -> str:
    return {"length": "length", "filter": "content_filter"}.get(said.end, "tool_calls" if said.calls else "stop")


def chat_stream(said: Said) -> bytes:
    deltas: list[JSON] = [{"role": "assistant"}]
    deltas += [{"reasoning_content": s} for s in pieces(said.thinking)]
    deltas += [{"content": s} for s in pieces(said.text)]
    deltas += [{"refusal": s} for s in pieces(said.refusal)]
    for n, (id, name, arguments) in enumerate(said.calls):
        deltas.append(
            {"tool_calls": [{"index": n, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}
        )
        deltas += [{"tool_calls": [{"index": n, "function": {"arguments": s}}]} for s in pieces(arguments)]
    chunks: list[JSON] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if said.end == "error":
        chunks.append({"error": {"message": "Something broke.", "code": "server_error"}})
    elif said.end != "cut":
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": chat_finish(said)}]})
        if said.usage:
            chunks.append({"choices": [], "usage": chat_usage(said)})
    tail = b"data: [DONE]\n\n" if said.end not in ("cut", "error") else b""
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + tail


def chat_whole(said: Said) -> bytes:
    message: JSON = {"role": "assistant", "content": said.text or None}
    if said.thinking:
        message["reasoning_content"] = said.thinking
    if said.refusal:
        message["refusal"] = said.refusal
    if said.calls:
        message["tool_calls"] = [
            {"index": k, "id": i, "type": "function", "function": {"name": n, "arguments": a}}
            for k, (i, n, a) in enumerate(said.calls)
        ]
    return orjson.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": chat_finish(said)}], "usage": chat_usage(said)}
    )


# -- responses ---------------------------------------------------------------------------------------------------------


def items(said: Said) -> list[JSON]:
    out: list[JSON] = []
    if said.thinking:
        out.append(
            {
                "type": "reasoning",
                "id": "rs",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": said.thinking}],
            }
        )
    content = [{"type": "output_text", "text": said.text, "annotations": []}] if said.text else []
    content += [{"type": "refusal", "refusal": said.refusal}] if said.refusal else []
    if content:
        out.append({"type": "message", "id": "msg", "role": "assistant", "content": content})
    for n, (id, name, arguments) in enumerate(said.calls):
        whole = said.end == "stop" or (id, name, arguments) != said.calls[-1]
        status = "completed" if whole else "incomplete"
        out.append(
            {
                "type": "function_call",
                "id": f"fc_{n}",
                "call_id": id,
                "name": name,
                "arguments": arguments,
                "status": status,
            }
        )
    return out


def response(said: Said) -> JSON:
    u = said.usage
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(said.end)
    return {
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items(said),
        "usage": u
        and {
            "input_tokens": u["in"],
            "output_tokens": u["out"],
            "total_tokens": u["in"] + u["out"],
            "input_tokens_details": {"cached_tokens": u["cached"]},
            "output_tokens_details": {"reasoning_tokens": u["thinking"]},
        },
    }


def responses_stream(said: Said) -> bytes:
    events: list[JSON] = []

    def say(kind: str, item_id: str, n: int, s: str, **more: Any) -> None:
        events.extend(
            {"type": f"response.{kind}.delta", "item_id": item_id, "output_index": n, **more, "delta": p}
            for p in pieces(s)
        )

    for n, item in enumerate(items(said)):
        head = {**item, **{k: empty for k, empty in (("content", []), ("arguments", "")) if k in item}}
        events.append({"type": "response.output_item.added", "output_index": n, "item": head})
        if item["type"] == "function_call":
            say("function_call_arguments", item["id"], n, item["arguments"])
        for k, part in enumerate(item.get("content", ())):
            kind = {"reasoning_text": "reasoning_text", "output_text": "output_text", "refusal": "refusal"}[
                part["type"]
            ]
            say(kind, item["id"], n, part.get("text") or part.get("refusal"), content_index=k)
        if said.end in ("stop", "length", "filter"):
            events.append({"type": "response.output_item.done", "output_index": n, "item": item})
    if said.end == "error":
        events.append({"type": "error", "code": "server_error", "message": "Something broke."})
    elif said.end != "cut":
        name = "incomplete" if said.end in ("length", "filter") else "completed"
        events.append({"type": f"response.{name}", "response": response(said)})
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)


# -- replies -----------------------------------------------------------------------------------------------------------

ONE = ("call_1", "read", '{"path": "a.txt"}')
TWO = ("call_2", "write", '{"path": "b.txt", "text": "x"}')
REPLIES = {
    "text": Said("Hello, you there."),
    "no usage": Said("Hello, you there.", usage=None),
    "thinking and text": Said("Four.", thinking="Two and two."),
    "a call": Said(calls=[ONE]),
    "thinking, text, calls": Said("I read.", thinking="I should.", calls=[ONE, TWO]),
    "a call without arguments": Said(calls=[("call_1", "list", "{}")]),
    "a call with empty arguments": Said(calls=[("call_1", "list", "")]),
    "an id that is not legal": Said(calls=[("functions.read:0", "read", "{}")]),
    "one id twice": Said(calls=[ONE, ("call_1", "read", "{}")]),
    "a renamed tool": Said(calls=[("call_1", "short_1", "{}")], names={"short_1": "a long name"}),
    "refusal": Said(refusal="I can't help with that."),
    "text and refusal": Said("Well. ", refusal="I can't."),
    "length": Said("Hello, you th", end="length"),
    "length in a call": Said("I read.", calls=[ONE, ("call_2", "write", '{"path": "b.t')], end="length"),
    "length ahead of the arguments": Said("I read.", calls=[ONE, ("call_2", "write", "")], end="length"),
    "content filter": Said("Hello, you th", end="filter"),
    "content filter ahead of the arguments": Said("I read.", calls=[("call_1", "read", "")], end="filter"),
    "broken arguments": Said(calls=[("call_1", "read", '{"path": ')]),
    "a stop sequence": Said("1, 2, 3, 4, 5", stops=("4,",)),
    "a stop sequence that does not come": Said("1, 2, 3, 4", stops=("4,",), usage=None),
    "an error": Said("Hello", end="error"),
    "an error at once": Said(end="error"),
    "an early end": Said("Hello", end="cut"),
    "an early end in a call": Said(calls=[ONE], end="cut"),
    "an empty stream": Said(end="cut"),
}
MODES = ("show", "omit", "none")


def unsigned(message: JSON) -> JSON:
    """Signatures name their wire."""
    return {
        **message,
        "content": [{k: v for k, v in block.items() if k != "signature"} for block in message.get("content", ())],
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("said", REPLIES.values(), ids=REPLIES)
def test_streams(said: Said, mode: str) -> None:
    prepared = streams.upstream_request(names=said.names, stops=said.stops)
    chat = streams.check_contract(wire("chat"), prepared, chat_stream(said), thinking=mode)
    responses = streams.check_contract(wire("responses"), prepared, responses_stream(said), thinking=mode)
    if (
        said.stops and chat["stop_reason"] == "stop_sequence"
    ):  # the estimates may differ: the reading ends in the middle
        chat["usage"] = responses["usage"]
    assert unsigned(responses) == unsigned(chat)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("said", [pytest.param(s, id=n) for n, s in REPLIES.items() if s.end not in ("cut", "error")])
def test_whole_replies(said: Said, mode: str) -> None:
    prepared = streams.upstream_request(stream=False, names=said.names, stops=said.stops)
    chat = streams.unary(wire("chat"), prepared, chat_whole(said), thinking=mode)
    responses = streams.unary(wire("responses"), prepared, orjson.dumps(response(said)), thinking=mode)
    assert unsigned(responses) == unsigned(chat)
    streamed = streams.collect(wire("responses"), prepared, responses_stream(said), thinking=mode)
    if not said.stops:
        assert streamed == responses


# -- requests ----------------------------------------------------------------------------------------------------------


def chat_says(body: JSON) -> list[tuple[str, Any]]:
    """What a chat body says, as (who, what), neighbouring texts joined."""
    out: list[tuple[str, Any]] = []
    for message in body["messages"]:
        content = message.get("content")
        parts: list[JSON] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        texts = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
        media = [
            part["image_url"]["url"] if part["type"] == "image_url" else part["file"]["file_data"]
            for part in parts
            if "text" not in part
        ]
        if message["role"] == "tool":
            out.append(("result", (message["tool_call_id"], texts)))
        elif texts or media:
            out.append((message["role"], (texts, media)))
        out += [
            ("call", (c["id"], c["function"]["name"], c["function"]["arguments"]))
            for c in message.get("tool_calls", ())
        ]
    return out


def responses_says(body: JSON) -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = [("system", (body["instructions"], []))] if "instructions" in body else []
    for item in body["input"]:
        if item["type"] == "message":
            texts = "\n\n".join(part["text"] for part in item["content"] if "text" in part)
            media = [part.get("image_url") or part["file_data"] for part in item["content"] if "text" not in part]
            out.append((item["role"], (texts, media)))
        elif item["type"] == "function_call":
            out.append(("call", (item["call_id"], item["name"], item["arguments"])))
        else:
            out.append(("result", (item["call_id"], item["output"])))
    return out


def chat_tools(body: JSON) -> list[Any]:
    return [{**tool["function"], "type": "function"} for tool in body.get("tools", ())]


def responses_tools(body: JSON) -> list[Any]:
    assert all(tool["strict"] is False for tool in body.get("tools", ()))
    return [{k: v for k, v in tool.items() if k != "strict"} for tool in body.get("tools", ())]


def choice(body: JSON) -> Any:
    found = body.get("tool_choice")
    return (
        found["function"]["name"]
        if isinstance(found, dict) and "function" in found
        else found["name"]
        if isinstance(found, dict)
        else found
    )


QUIRKS: list[JSON] = [
    {},
    {"documents": "file", "mid_system": "inline"},
    {"images": False, "empty_content": "(no output)", "parallel_tool_calls": False},
    {
        "system_as_user": True,
        "tool_choice_named": "only",
        "prefill": "instruct",
        "sampling": ["top_p"],
        "max_tokens_limit": 50,
    },
]


@pytest.mark.parametrize("quirks", QUIRKS, ids=range(len(QUIRKS)))
@pytest.mark.parametrize("captured", captures())
def test_captured_requests(captured: Capture, quirks: JSON) -> None:
    asked = call_of(captured)
    bodies = {}
    for name in ("chat", "responses"):
        prepared = wire(name).prepare(
            asked, golden.deployment({"wire": name, "quirks": {"string_content": False, **quirks}}), True
        )
        bodies[name] = orjson.loads(prepared.body), prepared.degraded, prepared.names
    chat, responses = bodies["chat"], bodies["responses"]
    assert responses[1:] == chat[1:]
    assert responses_says(responses[0]) == chat_says(chat[0])
    assert responses_tools(responses[0]) == chat_tools(chat[0])
    assert choice(responses[0]) == choice(chat[0])
    assert responses[0]["max_output_tokens"] == max(16, chat[0]["max_tokens"])
    for field_ in ("temperature", "top_p", "parallel_tool_calls", "stream", "model"):
        assert responses[0].get(field_) == chat[0].get(field_), field_


def test_both_refuse_what_is_no_request() -> None:
    for name in ("chat", "responses"):
        with pytest.raises(ApiError):
            wire(name).prepare(
                golden.call({"model": "m", "max_tokens": 1, "messages": []}, {}),
                golden.deployment({"wire": name}),
                False,
            )
