"""Prepare the conversation for an upstream that speaks Anthropic: remove or reword what other upstreams left in it.

A conversation may move between models. What another one left cannot be sent to this one: thinking with a foreign
signature is rejected, tool ids may have been shortened for the other wire, and web results that are not encrypted are
rejected.

Knows: a2py's own signatures, ids and search results; turns that must carry thinking.
Must not know: top-level fields except `thinking`.
Invariants: blocks that need no change stay the client's own objects; thinking is removed as a whole, and a turn that
held nothing else with it; no text is lost.
"""

from __future__ import annotations

from typing import Any

from a2py.errors import ApiError
from a2py.messages import ids, signatures
from a2py.messages.media import image_type
from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import PLACEHOLDER
from a2py.wires.common.paths import map_content
from a2py.wires.common.text import block_text, wants_citations
from a2py.wires.native.strip import join_user_turns

#: Members of `Quirks.native_drop`: all thinking of the history (a lesson from an upstream that rejected another
#: vendor's signatures), the kind that only Anthropic can read, and documents, which become text.
THOUGHTS, REDACTED, DOCUMENTS = "messages.thinking", "messages.redacted_thinking", "messages.document"
NAMES = frozenset({THOUGHTS, REDACTED, DOCUMENTS})
_THINKING = ("thinking", "redacted_thinking")


def build(draft: Draft) -> Slices[None]:
    """Replace `messages` of the draft's body."""
    drop = draft.quirks.native_drop
    needs_thinking = draft.quirks.reasoning_required and not _is_thinking_off(draft)
    searches = _foreign_searches(draft.body["messages"])
    yield
    out: list[JSON] = []
    has_empty_turn = False
    for n, message in enumerate(draft.body["messages"], 1):
        if not n % ITEMS:
            yield
        content = message["content"]
        if not isinstance(content, list):
            out.append(message)
            continue
        rest = content
        if message["role"] == "assistant":
            rest = _without_foreign_thinking(content, drop)
            if content and not rest:
                has_empty_turn = True
                continue
            if needs_thinking and _is_call_without_thinking(rest):
                rest = [{"type": "thinking", "thinking": PLACEHOLDER, "signature": ""}, *rest]
        rest = yield from _convert(rest, draft, searches)
        out.append(message if rest is content else {**message, "content": rest})
    if not out:
        raise ApiError(
            "invalid_request",
            "messages: nothing is left of them but thinking of another model. Add a message with text.",
        )
    draft.body["messages"] = join_user_turns(out) if has_empty_turn else out
    yield
    _stop_thinking_in_tool_loop(draft)


def _convert(blocks: list[JSON], draft: Draft, searches: set[str]) -> Slices[list[JSON]]:
    """Return the blocks as this upstream accepts them: `blocks` itself if none changes."""
    quirks = draft.quirks
    keep_ids = quirks.tool_ids == "keep"
    accepts_media = quirks.images and DOCUMENTS not in quirks.native_drop
    result: list[JSON] = []
    for at in range(0, len(blocks), ITEMS):
        part = blocks[at : at + ITEMS]
        if not accepts_media:
            part = [_media_as_text(block, draft) for block in part]
        result += [_with_image_types(_with_own_ids(block, keep_ids, searches)) for block in part]
        if at:
            yield
    if any(a is not b for a, b in zip(blocks, result, strict=True)):
        return result
    return blocks


def _is_thinking_off(draft: Draft) -> bool:
    thinking = draft.body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") == "disabled"


def _is_foreign(block: JSON, drop: frozenset[str]) -> bool:
    """Return whether a block is thinking that this upstream cannot have written."""
    if block["type"] == "redacted_thinking":
        return not drop.isdisjoint((THOUGHTS, REDACTED))
    return bool(block["type"] == "thinking" and (THOUGHTS in drop or signatures.is_ours(block.get("signature"))))


def _without_foreign_thinking(blocks: list[JSON], drop: frozenset[str]) -> list[JSON]:
    """Return the blocks without foreign thinking: `blocks` itself if there is none."""
    if any(_is_foreign(block, drop) for block in blocks):
        return [block for block in blocks if not _is_foreign(block, drop)]
    return blocks


def _is_call_without_thinking(blocks: list[JSON]) -> bool:
    """Return whether a turn calls tools and has no thinking.

    DeepSeek and Moonshot answer 400 to such a turn in thinking mode (2026-04 to 2026-08)."""
    kinds = {block["type"] for block in blocks}
    return "tool_use" in kinds and kinds.isdisjoint(_THINKING)


def _media_as_text(block: JSON, draft: Draft) -> JSON:
    """Return a text for an image or a document that the upstream does not accept, also inside the result of a tool."""
    kind = block["type"]
    if kind == "tool_result":
        return map_content(block, lambda inner: _media_as_text(inner, draft))
    is_refused_image = kind == "image" and not draft.quirks.images
    if not is_refused_image and not (kind == "document" and DOCUMENTS in draft.quirks.native_drop):
        return block
    draft.lose(kind)
    if wants_citations(block):
        draft.lose("citations")
    mark = {"cache_control": block["cache_control"]} if block.get("cache_control") else {}
    return {"type": "text", "text": block_text(block), **mark}


def _with_image_types(block: JSON) -> JSON:
    """Return a block whose images, also inside a tool's result or a document, have the media type of their bytes."""
    kind = block["type"]
    if kind == "tool_result":
        return map_content(block, _with_image_types)
    if kind == "document":
        source = map_content(block["source"], _with_image_types)
        return block if source is block["source"] else {**block, "source": source}
    if kind != "image" or block["source"]["type"] != "base64":
        return block
    source = block["source"]
    media_type = image_type(source["data"], source["media_type"])
    return block if media_type == source["media_type"] else {**block, "source": {**source, "media_type": media_type}}


def _foreign_searches(messages: list[JSON]) -> set[str]:
    """Return the ids of hosted searches that ran on another wire.

    Anthropic's own results are encrypted, and it rejects plain ones."""
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    return {
        block["tool_use_id"]
        for block in blocks
        if block["type"] == "web_search_tool_result"
        and isinstance(block.get("tool_use_id"), str)
        and _has_plain_result(block.get("content"))
    }


def _has_plain_result(results: Any) -> bool:
    if not isinstance(results, list):
        return False
    return any(isinstance(result, dict) and _is_plain(result.get("encrypted_content")) for result in results)


def _is_plain(encrypted_content: Any) -> bool:
    """Return whether a result or a citation is not Anthropic's own: without its copy, or with one of a2py's."""
    return not encrypted_content or signatures.is_ours(encrypted_content)


def _with_own_ids(block: JSON, keep_ids: bool, searches: set[str]) -> JSON:
    """Return a block with the upstream's own tool id. A search of another wire, and what cites it, becomes text."""
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
        return _without_foreign_citations(block)
    return block


def _without_foreign_citations(block: JSON) -> JSON:
    """Return a text without the citations of a search of another wire, which have no `encrypted_index`."""
    citations = block["citations"]
    if not isinstance(citations, list):
        return block
    own = [citation for citation in citations if not _is_foreign_citation(citation)]
    if len(own) == len(citations):
        return block
    rest = {name: value for name, value in block.items() if name != "citations"}
    return {**rest, "citations": own} if own else rest


def _is_foreign_citation(citation: Any) -> bool:
    if not isinstance(citation, dict) or citation.get("type") != "web_search_result_location":
        return False
    return _is_plain(citation.get("encrypted_index"))


def _stop_thinking_in_tool_loop(draft: Draft) -> None:
    """Disable thinking for this request if the turn whose calls are answered lost its thinking.

    With `thinking: enabled` Anthropic rejects tool results whose turn does not begin with thinking. If that turn was
    another model's, its thinking was removed, so this model answers without."""
    thinking = draft.body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    turns = [message for message in draft.body["messages"] if message["role"] == "assistant"]
    if turns and _has_results(draft.body["messages"][-1]) and not _begins_with_thinking(turns[-1]):
        drop = draft.quirks.native_drop
        original = [message for message in draft.request.messages if message["role"] == "assistant"][-1]
        if THOUGHTS in drop or _has_foreign_thinking(original, drop):
            draft.body["thinking"] = {"type": "disabled"}
            draft.lose("thinking")


def _has_results(message: JSON) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(block["type"] == "tool_result" for block in content)


def _begins_with_thinking(message: JSON) -> bool:
    content = message["content"]
    return isinstance(content, list) and bool(content) and content[0]["type"] in _THINKING


def _has_foreign_thinking(message: JSON, drop: frozenset[str]) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(_is_foreign(block, drop) for block in content)
