"""Request thinking on the Responses wire, and put reasoning items of the history back into their places.

Knows: `reasoning`, `include`, reasoning items, and the vendor state that a thinking block's signature carries.
Must not know: which model reasons (providers), other items.
Invariants: thinking of another origin, wire or kind never goes upstream; vendor state is validated like any input from
outside.
"""

from __future__ import annotations

from typing import Any

from a2py.deployment import is_same_model
from a2py.messages import signatures
from a2py.messages.signatures import VendorState
from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import PLACEHOLDER, Want
from a2py.wires.openai import thinking
from a2py.wires.responses.item import STATE_FIELDS, VENDOR_FIELDS

#: Value of `include` that makes an upstream return its reasoning although it stores nothing (`store: false`).
ENCRYPTED_CONTENT = "reasoning.encrypted_content"


def ask(draft: Draft) -> Want:
    """Write what the client wants of thinking into the body, and return it: the output limit depends on it.

    A model that does not reason gets nothing."""
    q = draft.quirks
    want = thinking.ask(draft, bool(q.effort_off))
    if q.reasoning == "none":
        return want
    reasoning: JSON = {}
    word = thinking.pick_effort_word(q, want)
    if word:
        reasoning["effort"] = word
    if _wants_summary(draft, want):
        reasoning["summary"] = "auto"
    if reasoning:
        draft.body["reasoning"] = reasoning
        draft.added_fields.add("reasoning")
    if q.encrypted_reasoning:
        draft.body["include"] = [ENCRYPTED_CONTENT, *draft.body.get("include", ())]
        draft.added_fields.add("include")
    return want


def _wants_summary(draft: Draft, want: Want) -> bool:
    """Return whether to request a summary.

    `reasoning_auto_summary` decides. Without it a client that shows thinking gets one."""
    if want.mode == "off" or not draft.quirks.reasoning_summary:
        return False
    setting = draft.dep.params.get("reasoning_auto_summary")
    return setting if isinstance(setting, bool) else draft.request.thinking_mode == "show"


def read_state(block: JSON, draft: Draft) -> VendorState | None:
    """Return what the signature of a thinking block carries for this model; None if it is not this model's."""
    vendor = signatures.read(block.get("signature"))
    if vendor is None or vendor.kind != "responses" or not is_same_model(vendor.origin, draft.dep.origin):
        return None
    return vendor


def item(vendor: VendorState, block: JSON, draft: Draft, is_recent: bool) -> JSON | None:
    """Return the reasoning item that a thinking block was made from, None if there is nothing to send back.

    Text that the upstream showed in full (`raw`) goes back only if the model's row wants it. `vendor`: `read_state` of
    the block; `is_recent`: no user text came since."""
    # another account's ids and encrypted content are unknown here
    is_own = vendor.origin == draft.dep.origin and draft.quirks.vendor_state
    out = _base_item(vendor.state.get("item") if is_own else None)
    has_vendor_state = any(name in out for name in VENDOR_FIELDS)
    if vendor.state.get("raw") is True:
        if not has_vendor_state and not _wants_raw(draft, is_recent):
            return None
        # The client asked not to see the thinking, so the block's own text is empty.
        hidden_text = vendor.state.get("text")
        text = hidden_text if isinstance(hidden_text, str) else block["thinking"]
        out["content"] = [{"type": "reasoning_text", "text": text}]
        return out
    return out if has_vendor_state else None


def _base_item(state: Any) -> JSON:
    """Return a reasoning item with the fields and the summary in `state`, which comes from outside."""
    fields = state if isinstance(state, dict) else {}
    summary: Any = fields.get("summary")
    texts = [text for text in summary if isinstance(text, str)] if isinstance(summary, list) else []
    return {
        "type": "reasoning",
        **{name: fields[name] for name in STATE_FIELDS if isinstance(fields.get(name), str) and fields[name]},
        "summary": [{"type": "summary_text", "text": text} for text in texts],
    }


def _wants_raw(draft: Draft, is_recent: bool) -> bool:
    q = draft.quirks
    return q.reasoning_history != "none" and (is_recent or not q.reasoning_recent)


def is_required(draft: Draft, is_recent: bool) -> bool:
    """Return whether a turn with calls must carry its reasoning (DeepSeek, Kimi)."""
    return draft.quirks.reasoning_required and _wants_raw(draft, is_recent)


def placeholder() -> JSON:
    """Return an item for a turn whose reasoning is required but was not kept."""
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": PLACEHOLDER}]}


def merge(into: JSON, more: JSON) -> bool:
    """Merge two blocks of one reasoning item: parts in their order, fields of both.

    Return False if they are different items."""
    if into["type"] != "reasoning" or into.get("id", more.get("id")) != more.get("id", into.get("id")):
        return False
    content = into.get("content", []) + more.get("content", [])
    summary = into["summary"] + more["summary"]
    into.update(more)
    into["summary"] = summary
    if content:
        into["content"] = content
    return True
