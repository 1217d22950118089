"""Thinking on the Responses wire: how it is asked for, and how a reasoning item goes back into its place.

Knows: `reasoning`, `include`, reasoning items and their envelope. Must not know: which model reasons (providers), other items.
Invariants: thinking of another origin, wire or kind never goes upstream; an envelope is validated like any input from outside.
"""

from __future__ import annotations

from typing import Any

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import PLACEHOLDER, Want
from a2py.wires.openai import thinking
from a2py.wires.responses.output import KEPT, VENDOR

#: What makes an upstream that keeps nothing (`store: false`) hand out its reasoning for the next turn.
ENCRYPTED = "reasoning.encrypted_content"


def ask(draft: Draft) -> Want:
    """Put the client's wish into the body. Return it: the output limit depends on it. A plain model gets nothing."""
    q = draft.quirks
    want = thinking.ask(draft, bool(q.effort_off))
    if q.reasoning == "none":
        return want
    reasoning: JSON = {}
    word = thinking.pick_effort_word(q, want)
    if word:
        reasoning["effort"] = word
    if _summary(draft, want):
        reasoning["summary"] = "auto"
    if reasoning:
        draft.body["reasoning"] = reasoning
        draft.added.add("reasoning")
    if q.encrypted_reasoning:
        draft.body["include"] = [ENCRYPTED, *draft.body.get("include", ())]
        draft.added.add("include")
    return want


def _summary(draft: Draft, want: Want) -> bool:
    """`reasoning_auto_summary` decides; where it is silent, a client that asked to see thinking gets it."""
    if want.mode == "off" or not draft.quirks.reasoning_summary:
        return False
    asked = draft.dep.params.get("reasoning_auto_summary")
    return asked if isinstance(asked, bool) else draft.request.thinking_mode == "show"


def item(block: JSON, draft: Draft, recent: bool) -> JSON | None:
    """A thinking block of the history as the reasoning item that it was; None where there is nothing to give back.

    Text that the upstream showed as it is (`raw`) goes back only where the row says that it is wanted; `recent`: no user text has come since."""
    sealed = signatures.read(block.get("signature"))
    if sealed is None or sealed.kind != "responses" or sealed.origin != draft.dep.origin:
        return None
    kept = sealed.state.get("item")
    kept = kept if isinstance(kept, dict) else {}
    summary: Any = kept.get("summary")
    out: JSON = {
        "type": "reasoning",
        **{name: kept[name] for name in KEPT if isinstance(kept.get(name), str) and kept[name]},
        "summary": [{"type": "summary_text", "text": t} for t in summary if isinstance(t, str)] if isinstance(summary, list) else [],
    }
    vendor = any(name in out for name in VENDOR)
    if sealed.state.get("raw") is True:
        if not vendor and not _wants_raw(draft, recent):
            return None
        hidden = sealed.state.get("text")
        out["content"] = [{"type": "reasoning_text", "text": hidden if isinstance(hidden, str) else block["thinking"]}]
        return out
    return out if vendor else None


def _wants_raw(draft: Draft, recent: bool) -> bool:
    q = draft.quirks
    return q.reasoning_history != "none" and (recent or not q.reasoning_recent)


def demanded(draft: Draft, recent: bool) -> bool:
    """A turn with calls must have its reasoning (DeepSeek, Kimi)."""
    return draft.quirks.reasoning_required and _wants_raw(draft, recent)


def placeholder() -> JSON:
    """Stands where a turn's reasoning is demanded, and was not kept."""
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": PLACEHOLDER}]}


def merge(into: JSON, more: JSON) -> bool:
    """Two blocks of one reasoning item become one: its parts one after the other, the vendor's state of either. False: they are two items."""
    if into["type"] != "reasoning" or into.get("id", more.get("id")) != more.get("id", into.get("id")):
        return False
    content = into.get("content", []) + more.get("content", [])
    summary = into["summary"] + more["summary"]
    into.update(more)
    into["summary"] = summary
    if content:
        into["content"] = content
    return True
