"""Remove from a request body what a native upstream does not accept.

Knows: dotted paths into the body, and the few removals that no path can express.
Must not know: which upstream rejects what (quirks), how the rest is translated.
Invariants: the client's own objects are never changed; what changes is copied, the rest is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.messages.session import BILLING, strip_billing
from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common.paths import delete_field, map_content, map_list
from a2py.wires.common.text import NO_CONTENT, block_text, blocks, wrap_reminder
from a2py.wires.common.tools import PLACEHOLDER, ToolList
from a2py.wires.native.pairs import pair_calls

#: Types of blocks that may carry a cache mark.
MARKABLE = frozenset({"text", "image", "document", "tool_use", "tool_result"})
#: Smallest thinking budget that Anthropic accepts.
LEAST_BUDGET = 1024


def drop_billing_header(body: JSON) -> None:
    """Remove Claude Code's billing header (2.1.332), a line at the start of the system prompt that only Anthropic uses.

    It changes, so that other upstreams' prefix caches would miss."""
    system = body.get("system")
    if isinstance(system, str):
        body["system"] = strip_billing(system)
    elif isinstance(system, list) and any(block["text"].startswith(BILLING) for block in system):
        rest = [
            {**block, "text": strip_billing(block["text"])} if block["text"].startswith(BILLING) else block
            for block in system
        ]
        body["system"] = [block for block in rest if block["text"]]
    if "system" in body and not body["system"]:
        del body["system"]


def drop_defer_loading(body: JSON) -> None:
    """Remove the flag of tool search, and Claude Code's placeholder for the tools that it has not loaded.

    Without tool search nothing can load them, so the placeholder is useless."""
    if isinstance(body.get("tools"), list):
        tools = [tool for tool in body["tools"] if tool.get("name") != PLACEHOLDER]
        body["tools"] = [{name: value for name, value in tool.items() if name != "defer_loading"} for tool in tools]


def drop_tool_references(body: JSON) -> None:
    """Replace the results of tool search with a line of text each."""

    def as_text(block: Any) -> Any:
        if block["type"] == "tool_reference":
            return {"type": "text", "text": block_text(block)}
        return map_content(block, as_text) if block["type"] == "tool_result" else block

    body["messages"] = map_list(body["messages"], lambda message: map_content(message, as_text))


def drop_system_role(body: JSON) -> None:
    """Move system messages of mid-conversation into user turns, and the tools that they add or remove into `tools`."""
    if all(message["role"] != "system" for message in body["messages"]):
        return
    out: list[JSON] = []
    tools = ToolList(body.get("tools") or [])
    for message in body["messages"]:
        if message["role"] != "system":
            out.append(message)
            continue
        texts = []
        for block in blocks(message["content"]):
            if block["type"] == "text" and block["text"]:
                texts.append({**block, "text": wrap_reminder(block["text"])})
            else:
                tools.change(block)
        if texts:
            out.append({"role": "user", "content": texts})
    body["messages"] = join_user_turns(out)
    if tools.is_changed:
        body["tools"] = tools.current()


def join_user_turns(messages: list[JSON]) -> list[JSON]:
    """Merge user messages that follow each other, because what was between them is removed.

    Not every server accepts two in a row. Example: user A, assistant (only foreign thinking), user B → user A B."""
    out: list[JSON] = []
    is_copy = False  # the content of the last message is a list that was made here, so that it may be extended
    for message in messages:
        if not out or message["role"] != "user" or out[-1]["role"] != "user":
            out.append(message)
            is_copy = False
            continue
        if not is_copy:
            out[-1] = {**out[-1], "content": [*blocks(out[-1]["content"])]}
            is_copy = True
        out[-1]["content"] += blocks(message["content"])
    return out


def drop_blank_texts(body: JSON) -> None:
    """Remove blank text blocks. A message that holds nothing else gets a text that says so."""
    for name in ("system", "messages"):
        if isinstance(body.get(name), list):
            body[name] = _without_blanks(body[name]) if name == "system" else map_list(body[name], _with_text)
    if not body.get("system", True):
        del body["system"]


def _with_text(message: JSON) -> JSON:
    """Return a message without blank texts."""
    content = message["content"]
    rest = content if isinstance(content, str) else _without_blanks(content)
    if not rest or (isinstance(rest, str) and not rest.strip()):
        return {**message, "content": NO_CONTENT}
    return message if rest is content else {**message, "content": rest}


def _without_blanks(content: list[JSON]) -> list[JSON]:
    """Return the blocks without blank texts, also inside the results of tools. The cache mark of one that is removed
    goes to the block before it."""
    others: list[JSON] = []
    for block in content:
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            inner = _without_blanks(block["content"])
            block = block if inner is block["content"] else {**block, "content": inner}
        if block["type"] != "text" or block["text"].strip():
            others.append(block)
        elif block.get("cache_control") and others and others[-1]["type"] in MARKABLE:
            others[-1] = {"cache_control": block["cache_control"], **others[-1]}
    is_same = len(others) == len(content) and all(a is b for a, b in zip(others, content, strict=True))
    return content if is_same else others


def fit_budget(body: JSON) -> None:
    """Bring the thinking budget into what Anthropic accepts: at least LEAST_BUDGET, and less than `max_tokens`."""
    thinking, limit = body.get("thinking"), body.get("max_tokens")
    if not isinstance(thinking, dict) or not isinstance(thinking.get("budget_tokens"), int) or not limit:
        return
    if limit <= LEAST_BUDGET:
        body["thinking"] = {"type": "disabled"}
    else:
        budget = max(LEAST_BUDGET, min(thinking["budget_tokens"], limit - 1))
        body["thinking"] = {**thinking, "budget_tokens": budget}


#: Members of `Quirks.native_drop` that need more than a path.
SPECIAL: dict[str, Callable[[JSON], None]] = {
    "messages.blank_text": drop_blank_texts,
    "messages.unpaired": pair_calls,
    "thinking.large_budget": fit_budget,
    "messages.system_role": drop_system_role,
    "messages.tool_reference": drop_tool_references,
    "system.billing_header": drop_billing_header,
    "tools.defer_loading": drop_defer_loading,
}


def strip(body: JSON, names: frozenset[str]) -> Slices[None]:
    """Remove each of `names` from `body`. The dict is changed, what it holds is not."""
    for name in sorted(names):
        special = SPECIAL.get(name)
        if special is not None:
            special(body)
            yield
        else:
            yield from delete_field(body, name)
