"""chat == responses: one conversation through both wires. The same reply, in each API's own shapes, is the same
Anthropic message; the same request says the same things upstream.

Knows: how a reply (`Reply`) looks on the two wires, streamed and whole. Must not know: how the wires read it.
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
class Reply:
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


def chat_usage(reply: Reply) -> JSON | None:
    u = reply.usage
    return u and {
        "prompt_tokens": u["in"],
        "completion_tokens": u["out"],
        "total_tokens": u["in"] + u["out"],
        "prompt_tokens_details": {"cached_tokens": u["cached"]},
        "completion_tokens_details": {"reasoning_tokens": u["thinking"]},
    }


def chat_finish(reply: Reply) -> str:
    return {"length": "length", "filter": "content_filter"}.get(reply.end, "tool_calls" if reply.calls else "stop")


def chat_stream(reply: Reply) -> bytes:
    deltas: list[JSON] = [{"role": "assistant"}]
    deltas += [{"reasoning_content": s} for s in pieces(reply.thinking)]
    deltas += [{"content": s} for s in pieces(reply.text)]
    deltas += [{"refusal": s} for s in pieces(reply.refusal)]
    for n, (id, name, arguments) in enumerate(reply.calls):
        deltas.append(
            {"tool_calls": [{"index": n, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}
        )
        deltas += [{"tool_calls": [{"index": n, "function": {"arguments": s}}]} for s in pieces(arguments)]
    chunks: list[JSON] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if reply.end == "error":
        chunks.append({"error": {"message": "Something broke.", "code": "server_error"}})
    elif reply.end != "cut":
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": chat_finish(reply)}]})
        if reply.usage:
            chunks.append({"choices": [], "usage": chat_usage(reply)})
    tail = b"data: [DONE]\n\n" if reply.end not in ("cut", "error") else b""
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + tail


def chat_whole(reply: Reply) -> bytes:
    message: JSON = {"role": "assistant", "content": reply.text or None}
    if reply.thinking:
        message["reasoning_content"] = reply.thinking
    if reply.refusal:
        message["refusal"] = reply.refusal
    if reply.calls:
        message["tool_calls"] = [
            {"index": k, "id": i, "type": "function", "function": {"name": n, "arguments": a}}
            for k, (i, n, a) in enumerate(reply.calls)
        ]
    return orjson.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": chat_finish(reply)}], "usage": chat_usage(reply)}
    )


# -- responses ---------------------------------------------------------------------------------------------------------


def items(reply: Reply) -> list[JSON]:
    out: list[JSON] = []
    if reply.thinking:
        out.append(
            {
                "type": "reasoning",
                "id": "rs",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": reply.thinking}],
            }
        )
    content = [{"type": "output_text", "text": reply.text, "annotations": []}] if reply.text else []
    content += [{"type": "refusal", "refusal": reply.refusal}] if reply.refusal else []
    if content:
        out.append({"type": "message", "id": "msg", "role": "assistant", "content": content})
    for n, (id, name, arguments) in enumerate(reply.calls):
        whole = reply.end == "stop" or (id, name, arguments) != reply.calls[-1]
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


def response(reply: Reply) -> JSON:
    u = reply.usage
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(reply.end)
    return {
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items(reply),
        "usage": u
        and {
            "input_tokens": u["in"],
            "output_tokens": u["out"],
            "total_tokens": u["in"] + u["out"],
            "input_tokens_details": {"cached_tokens": u["cached"]},
            "output_tokens_details": {"reasoning_tokens": u["thinking"]},
        },
    }


def responses_stream(reply: Reply) -> bytes:
    events: list[JSON] = []

    def say(kind: str, item_id: str, n: int, s: str, **more: Any) -> None:
        events.extend(
            {"type": f"response.{kind}.delta", "item_id": item_id, "output_index": n, **more, "delta": p}
            for p in pieces(s)
        )

    for n, item in enumerate(items(reply)):
        head = {**item, **{k: empty for k, empty in (("content", []), ("arguments", "")) if k in item}}
        events.append({"type": "response.output_item.added", "output_index": n, "item": head})
        if item["type"] == "function_call":
            say("function_call_arguments", item["id"], n, item["arguments"])
        for k, part in enumerate(item.get("content", ())):
            kind = {"reasoning_text": "reasoning_text", "output_text": "output_text", "refusal": "refusal"}[
                part["type"]
            ]
            say(kind, item["id"], n, part.get("text") or part.get("refusal"), content_index=k)
        if reply.end in ("stop", "length", "filter"):
            events.append({"type": "response.output_item.done", "output_index": n, "item": item})
    if reply.end == "error":
        events.append({"type": "error", "code": "server_error", "message": "Something broke."})
    elif reply.end != "cut":
        name = "incomplete" if reply.end in ("length", "filter") else "completed"
        events.append({"type": f"response.{name}", "response": response(reply)})
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)


# -- replies -----------------------------------------------------------------------------------------------------------

ONE = ("call_1", "read", '{"path": "a.txt"}')
TWO = ("call_2", "write", '{"path": "b.txt", "text": "x"}')
REPLIES = {
    "text": Reply("Hello, you there."),
    "no usage": Reply("Hello, you there.", usage=None),
    "thinking and text": Reply("Four.", thinking="Two and two."),
    "a call": Reply(calls=[ONE]),
    "thinking, text, calls": Reply("I read.", thinking="I should.", calls=[ONE, TWO]),
    "a call without arguments": Reply(calls=[("call_1", "list", "{}")]),
    "a call with empty arguments": Reply(calls=[("call_1", "list", "")]),
    "an id that is not legal": Reply(calls=[("functions.read:0", "read", "{}")]),
    "one id twice": Reply(calls=[ONE, ("call_1", "read", "{}")]),
    "a renamed tool": Reply(calls=[("call_1", "short_1", "{}")], names={"short_1": "a long name"}),
    "refusal": Reply(refusal="I can't help with that."),
    "text and refusal": Reply("Well. ", refusal="I can't."),
    "length": Reply("Hello, you th", end="length"),
    "length in a call": Reply("I read.", calls=[ONE, ("call_2", "write", '{"path": "b.t')], end="length"),
    "length ahead of the arguments": Reply("I read.", calls=[ONE, ("call_2", "write", "")], end="length"),
    "content filter": Reply("Hello, you th", end="filter"),
    "content filter ahead of the arguments": Reply("I read.", calls=[("call_1", "read", "")], end="filter"),
    "broken arguments": Reply(calls=[("call_1", "read", '{"path": ')]),
    "a stop sequence": Reply("1, 2, 3, 4, 5", stops=("4,",)),
    "a stop sequence that does not come": Reply("1, 2, 3, 4", stops=("4,",), usage=None),
    "an error": Reply("Hello", end="error"),
    "an error at once": Reply(end="error"),
    "an early end": Reply("Hello", end="cut"),
    "an early end in a call": Reply(calls=[ONE], end="cut"),
    "an empty stream": Reply(end="cut"),
}
MODES = ("show", "omit", "none")


def strip_signatures(message: JSON) -> JSON:
    """Signatures name their wire."""
    return {
        **message,
        "content": [{k: v for k, v in block.items() if k != "signature"} for block in message.get("content", ())],
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_streams(reply: Reply, mode: str) -> None:
    upstream_request = streams.upstream_request(names=reply.names, stops=reply.stops)
    chat = streams.check_contract(wire("chat"), upstream_request, chat_stream(reply), thinking=mode)
    responses = streams.check_contract(wire("responses"), upstream_request, responses_stream(reply), thinking=mode)
    if (
        reply.stops and chat["stop_reason"] == "stop_sequence"
    ):  # the estimates may differ: the reading ends in the middle
        chat["usage"] = responses["usage"]
    assert strip_signatures(responses) == strip_signatures(chat)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reply", [pytest.param(s, id=n) for n, s in REPLIES.items() if s.end not in ("cut", "error")])
def test_whole_replies(reply: Reply, mode: str) -> None:
    upstream_request = streams.upstream_request(stream=False, names=reply.names, stops=reply.stops)
    chat = streams.unary(wire("chat"), upstream_request, chat_whole(reply), thinking=mode)
    responses = streams.unary(wire("responses"), upstream_request, orjson.dumps(response(reply)), thinking=mode)
    assert strip_signatures(responses) == strip_signatures(chat)
    stream_message = streams.collect(wire("responses"), upstream_request, responses_stream(reply), thinking=mode)
    if not reply.stops:
        assert stream_message == responses


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
    value = body.get("tool_choice")
    return (
        value["function"]["name"]
        if isinstance(value, dict) and "function" in value
        else value["name"]
        if isinstance(value, dict)
        else value
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
@pytest.mark.parametrize("capture", captures())
def test_captured_requests(capture: Capture, quirks: JSON) -> None:
    call = call_of(capture)
    bodies = {}
    for name in ("chat", "responses"):
        upstream_request = wire(name).prepare(
            call, golden.deployment({"wire": name, "quirks": {"string_content": False, **quirks}}), True
        )
        bodies[name] = orjson.loads(upstream_request.body), upstream_request.degraded, upstream_request.names
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
