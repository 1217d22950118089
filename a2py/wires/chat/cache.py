"""Prompt caching on the chat wire.

Knows: the three ways in which a server is told what to cache. Must not know: message texts.
Invariants: cache_control goes only to rows that know it; at most BREAKPOINTS marks.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.wires.chat.messages import JOINT, MARKED
from a2py.wires.common.draft import Draft
from a2py.wires.common.limits import key
from a2py.wires.common.paths import lasting
from a2py.wires.common.text import system_texts

#: Anthropic and OpenAI (gpt-5.6) take four.
BREAKPOINTS = 4


def add(draft: Draft) -> None:
    key(draft)
    if draft.quirks.cache in MARKED:
        _marks(draft)


def _cut(system: list[JSON], whole: str) -> Any:
    """`whole`, the joined texts of `system` (and what else was put behind them), as parts; `whole` itself where nothing is marked."""
    parts: list[JSON] = []
    at = end = 0
    for block in system:
        for text in system_texts([block]):
            end += len(text) + (len(JOINT) if end else 0)
            if isinstance(block.get("cache_control"), dict):
                parts.append({"type": "text", "text": whole[at:end], "cache_control": block["cache_control"]})
                at = end
    if parts and whole[at:]:
        parts.append({"type": "text", "text": whole[at:]})
    return parts or whole


def _marks(draft: Draft) -> None:
    """Cut the leading system message into parts that end at the marks of the system blocks, then keep the last BREAKPOINTS.
    A mark of the whole request (`cache_control` beside `messages`) stands at its end."""
    messages = draft.body["messages"]
    whole, last = draft.request.body.get("cache_control"), messages[-1]
    if isinstance(whole, dict) and last["content"]:
        content: list[JSON] = [{"type": "text", "text": last["content"]}] if isinstance(last["content"], str) else last["content"]
        content[-1].setdefault("cache_control", whole)
        messages[-1] = {**last, "content": content}
    if draft.request.system and messages[0]["role"] == draft.quirks.system_role and isinstance(messages[0]["content"], str):
        messages[0] = {**messages[0], "content": _cut(draft.request.system, messages[0]["content"])}
    parts: list[JSON] = [
        part for message in messages if isinstance(message.get("content"), list) for part in message["content"] if "cache_control" in part
    ]
    for part in parts[:-BREAKPOINTS]:
        del part["cache_control"]
    for part in parts[-BREAKPOINTS:]:
        part["cache_control"] = lasting(part["cache_control"], draft.dep.cache_control_ttl)
    if draft.quirks.cache == "breakpoint":
        for part in parts[-BREAKPOINTS:]:
            del part["cache_control"]
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}
