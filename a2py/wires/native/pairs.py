"""Put the calls of a conversation and their results together, for an upstream that refused them.

After an interruption a history may hold calls without results, and results whose call is gone. Anthropic rejects both,
and the conversation could never go on.

Knows: which result belongs to which call. Must not know: when this is needed (`Quirks.native_drop`).
Invariants: a call has exactly one result, in the message after it; no text is lost; what changes is copied.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.text import EARLIER_RESULT, NO_RESULT, block_text, blocks


def pair_calls(body: JSON) -> None:
    """Give each call its result, and turn each other result into text."""
    out: list[JSON] = []
    open_ids: list[str] = []
    for message in body["messages"]:
        is_user = message["role"] == "user"
        if open_ids and message["role"] == "assistant":
            out.append({"role": "user", "content": _complete([], open_ids)})
            open_ids = []
        content = blocks(message["content"]) if is_user else message["content"]
        if is_user and (open_ids or any(block["type"] == "tool_result" for block in content)):
            message = {**message, "content": _complete(content, open_ids)}
            open_ids = []
        elif message["role"] == "assistant":
            open_ids = [block["id"] for block in blocks(content) if block["type"] == "tool_use"]
        out.append(message)
    if open_ids:
        out.append({"role": "user", "content": _complete([], open_ids)})
    body["messages"] = out


def _complete(content: list[JSON], ids: list[str]) -> list[JSON]:
    """Return the blocks of a user message after calls with these `ids`: their results first."""
    results: dict[str, JSON] = {}
    rest: list[JSON] = []
    for block in content:
        if block["type"] != "tool_result":
            rest.append(block)
        elif block["tool_use_id"] in ids and block["tool_use_id"] not in results:
            results[block["tool_use_id"]] = block
        else:
            text = "\n".join(map(block_text, blocks(block.get("content") or [])))
            rest.append({"type": "text", "text": f"{EARLIER_RESULT}\n{text}"})
    missing = {"type": "tool_result", "content": NO_RESULT, "is_error": True}
    return [*(results.get(id) or {**missing, "tool_use_id": id} for id in dict.fromkeys(ids)), *rest]
