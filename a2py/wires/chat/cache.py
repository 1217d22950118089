"""Prompt caching on the chat wire.

Knows: the three ways in which a server is told what to cache. Must not know: message texts.
Invariants: cache_control goes only to rows that know it; at most BREAKPOINTS marks.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import BILLING

#: Anthropic and OpenAI (gpt-5.6) take four.
BREAKPOINTS = 4


def add(draft: Draft) -> None:
    form = draft.quirks.cache
    if form == "none":
        return
    if form in ("key", "breakpoint") and draft.call.session:
        draft.body["prompt_cache_key"] = draft.call.session[:64]
        draft.added.add("prompt_cache_key")
    if form in ("blocks", "breakpoint"):
        _marks(draft)


def _marks(draft: Draft) -> None:
    """Move the marks of system blocks into the leading system message, then keep the last BREAKPOINTS."""
    marked = [b for b in draft.request.system if isinstance(b.get("cache_control"), dict) and not b["text"].startswith(BILLING)]
    messages = draft.body["messages"]
    if marked and messages[0]["role"] == draft.quirks.system_role and isinstance(messages[0]["content"], str):
        messages[0] = {
            **messages[0],
            "content": [{"type": "text", "text": messages[0]["content"], "cache_control": marked[-1]["cache_control"]}],
        }
    parts: list[JSON] = [
        part for message in messages if isinstance(message.get("content"), list) for part in message["content"] if "cache_control" in part
    ]
    for part in parts[:-BREAKPOINTS]:
        del part["cache_control"]
    ttl = draft.dep.cache_control_ttl
    for part in parts[-BREAKPOINTS:] if ttl else ():
        part["cache_control"] = {**part["cache_control"], "ttl": ttl}
    if draft.quirks.cache == "breakpoint":
        for part in parts[-BREAKPOINTS:]:
            del part["cache_control"]
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}
