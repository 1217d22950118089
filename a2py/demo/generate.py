"""An answer → the deltas that are sent, one a token, cut by stop sequences and the output limit; and the message of a
whole reply.

Knows: tokens, deltas of a chat completion. Must not know: how deltas are framed and paced, sockets.
Invariants: pure; the message is its deltas put together; nothing follows a stop sequence or the limit.
"""

from __future__ import annotations

import json

from a2py.demo.answer import Answer
from a2py.demo.protocol import JSON, ChatRequest, split_tokens


def make_deltas(request: ChatRequest, answer: Answer, call_prefix: str) -> tuple[list[JSON], str]:
    """Return one delta a token, and the finish reason."""
    reasoning = split_tokens(answer.reasoning) if request.is_thinking else []
    end = min((at for at in map(answer.text.find, request.stops) if at >= 0), default=len(answer.text))
    deltas: list[JSON] = [{"reasoning_content": token} for token in reasoning]
    deltas += [{"content": token} for token in split_tokens(answer.text[:end])]
    for index, (name, arguments) in enumerate(answer.calls):
        function = {"name": name, "arguments": ""}
        deltas.append(_call_delta(index, id=f"{call_prefix}{index}", type="function", function=function))
        tokens = split_tokens(json.dumps(arguments, ensure_ascii=False))
        deltas += [_call_delta(index, function={"arguments": token}) for token in tokens]
    if request.limit and len(deltas) > request.limit:
        return deltas[: request.limit], "length"
    return deltas, "tool_calls" if answer.calls else "stop"


def _call_delta(index: int, **call: object) -> JSON:
    return {"tool_calls": [{"index": index, **call}]}


def join_deltas(deltas: list[JSON]) -> JSON:
    """Return the message of a whole reply."""
    calls: list[JSON] = []
    for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
        if "id" in call:
            calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
        else:
            calls[-1]["function"]["arguments"] += call["function"]["arguments"]
    content = "".join(delta.get("content", "") for delta in deltas)
    message: JSON = {"role": "assistant", "content": None if calls and not content else content, "refusal": None}
    if reasoning := "".join(delta.get("reasoning_content", "") for delta in deltas):
        message["reasoning_content"] = reasoning
    return {**message, "tool_calls": calls} if calls else message


def count_usage(prompt_tokens: int, deltas: list[JSON]) -> JSON:
    """Return the usage: each delta is a token."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(deltas),
        "total_tokens": prompt_tokens + len(deltas),
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": sum("reasoning_content" in delta for delta in deltas)},
    }
