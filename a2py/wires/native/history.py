"""The conversation, as an upstream that speaks Anthropic takes it: what other wires and vendors left in it goes, or is told in words.

Knows: a2py's own signatures, ids and search results; turns that must carry thinking. Must not know: top-level fields but `thinking`.
Invariants: blocks that need no change stay the client's own objects; thinking is left out whole, and a turn that held nothing else with it;
no text is lost.
"""

from __future__ import annotations

from typing import Any

from a2py.errors import ApiError
from a2py.messages import ids, signatures
from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import PLACEHOLDER
from a2py.wires.common.paths import map_list
from a2py.wires.common.text import block_text
from a2py.wires.native.strip import joined

#: Members of `Quirks.native_drop`: all thinking of the history (a lesson: signatures that are another vendor's), the kind that only
#: Anthropic can read, and documents, which then are told as text.
THOUGHTS, REDACTED, DOCUMENTS = "messages.thinking", "messages.redacted_thinking", "messages.document"
NAMES = frozenset({THOUGHTS, REDACTED, DOCUMENTS})
_THINKING = ("thinking", "redacted_thinking")


def build(draft: Draft) -> Slices[None]:
    """`messages` of the draft's body, made anew."""
    drop = draft.quirks.native_drop
    keep_ids = draft.quirks.tool_ids == "keep"
    demanded = draft.quirks.reasoning_required and not _off(draft)
    searches = _foreign_searches(draft.body["messages"])
    yield
    out: list[JSON] = []
    emptied = False
    for n, message in enumerate(draft.body["messages"], 1):
        if not n % ITEMS:
            yield
        content = message["content"]
        if not isinstance(content, list):
            out.append(message)
            continue
        rest = content
        if message["role"] == "assistant":
            if any(_foreign(block, drop) for block in content):
                rest = [block for block in content if not _foreign(block, drop)]
            if content and not rest:
                emptied = True
                continue
            if demanded and _bare_call(rest):
                rest = [{"type": "thinking", "thinking": PLACEHOLDER, "signature": ""}, *rest]
        shown = []
        for at in range(0, len(rest), ITEMS):
            shown += [_block(_shown(block, draft), keep_ids, searches) for block in rest[at : at + ITEMS]]
            if at:
                yield
        if any(a is not b for a, b in zip(rest, shown, strict=True)):
            rest = shown
        out.append(message if rest is content else {**message, "content": rest})
    if not out:
        raise ApiError("invalid_request", "messages: nothing is left of them but thinking of another model")
    draft.body["messages"] = joined(out) if emptied else out
    yield
    _in_a_tool_loop(draft)


def _off(draft: Draft) -> bool:
    thinking = draft.body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") == "disabled"


def _foreign(block: JSON, drop: frozenset[str]) -> bool:
    """Thinking that this upstream can't have said."""
    if block["type"] == "redacted_thinking":
        return not drop.isdisjoint((THOUGHTS, REDACTED))
    return bool(block["type"] == "thinking" and (THOUGHTS in drop or signatures.is_ours(block.get("signature"))))


def _bare_call(blocks: list[JSON]) -> bool:
    """A turn that calls tools without having thought (DeepSeek, Moonshot: 400 in thinking mode, 2026-04 to 2026-08)."""
    kinds = {block["type"] for block in blocks}
    return "tool_use" in kinds and kinds.isdisjoint(_THINKING)


def _shown(block: JSON, draft: Draft) -> JSON:
    """An image or a document as text, where the upstream takes none; in a tool's result, too."""
    kind = block["type"]
    if kind == "tool_result" and isinstance(block.get("content"), list):
        content = map_list(block["content"], lambda inner: _shown(inner, draft))
        return block if content is block["content"] else {**block, "content": content}
    if not (kind == "image" and not draft.quirks.images) and not (kind == "document" and DOCUMENTS in draft.quirks.native_drop):
        return block
    draft.lose(kind)
    mark = {"cache_control": block["cache_control"]} if block.get("cache_control") else {}
    return {"type": "text", "text": block_text(block), **mark}


def _foreign_searches(messages: list[JSON]) -> set[str]:
    """Ids of hosted searches that ran on another wire: what Anthropic finds is encrypted, and plain results are refused."""
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    return {
        block["tool_use_id"]
        for block in blocks
        if block["type"] == "web_search_tool_result" and isinstance(block.get("tool_use_id"), str) and _plain(block.get("content"))
    }


def _plain(results: Any) -> bool:
    return isinstance(results, list) and any(isinstance(found, dict) and not found.get("encrypted_content") for found in results)


def _block(block: JSON, keep_ids: bool, searches: set[str]) -> JSON:
    """A block with the upstream's own tool id; a search that is not its own as text."""
    kind = block["type"]
    if kind == "tool_use" or kind == "tool_result":
        name = "id" if kind == "tool_use" else "tool_use_id"
        id = block[name] if keep_ids else ids.original(block[name])
        return block if id == block[name] else {**block, name: id}
    if kind in ("server_tool_use", "web_search_tool_result"):
        id = block.get("id" if kind == "server_tool_use" else "tool_use_id")
        if not isinstance(id, str) or id not in searches:
            return block
        return {"type": "text", "text": block_text(block)}
    if kind == "text" and block.get("citations"):
        return _cited(block)
    return block


def _cited(block: JSON) -> JSON:
    """A text without the citations of such a search."""
    given = block["citations"]
    if not isinstance(given, list):
        return block
    kept = [
        citation
        for citation in given
        if not (isinstance(citation, dict) and citation.get("type") == "web_search_result_location" and not citation.get("encrypted_index"))
    ]
    if len(kept) == len(given):
        return block
    rest = {name: value for name, value in block.items() if name != "citations"}
    return {**rest, "citations": kept} if kept else rest


def _in_a_tool_loop(draft: Draft) -> None:
    """With `thinking: enabled` Anthropic wants the turn whose calls are being answered to begin with thinking. Where that was another
    model's, this one answers without."""
    thinking = draft.body.get("thinking")
    turns = [message for message in draft.body["messages"] if message["role"] == "assistant"]
    if not turns or not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    last = draft.body["messages"][-1]["content"]
    answers = isinstance(last, list) and any(block["type"] == "tool_result" for block in last)
    asked = [message for message in draft.request.messages if message["role"] == "assistant"][-1]["content"]
    blocks = turns[-1]["content"]
    begins = isinstance(blocks, list) and bool(blocks) and blocks[0]["type"] in _THINKING
    drop = draft.quirks.native_drop
    if answers and not begins and (THOUGHTS in drop or (isinstance(asked, list) and any(_foreign(block, drop) for block in asked))):
        draft.body["thinking"] = {"type": "disabled"}
        draft.lose("thinking")
