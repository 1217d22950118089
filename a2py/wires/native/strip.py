"""What a native upstream does not take, taken out of a request body.

Knows: dotted paths into the body, and the few things that no path names.
Must not know: which upstream refuses what (quirks), how the rest is translated.
Invariants: copy on write: what is not changed is the client's own object, and that one is never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common.paths import delete_field, map_list
from a2py.wires.common.text import BILLING, blocks, strip_billing, wrap_reminder
from a2py.wires.common.tools import PLACEHOLDER, ToolList


def billing_header(body: JSON) -> None:
    """Claude Code's fingerprint of the conversation (2.1.330): a system block or line that only Anthropic has a use for."""
    system = body.get("system")
    if isinstance(system, str):
        body["system"] = strip_billing(system)
    elif isinstance(system, list) and any(block["text"].startswith(BILLING) for block in system):
        rest = [{**block, "text": strip_billing(block["text"])} if block["text"].startswith(BILLING) else block for block in system]
        body["system"] = [block for block in rest if block["text"]]
    if "system" in body and not body["system"]:
        del body["system"]


def defer_loading(body: JSON) -> None:
    """Tool search needs the flag; without it Claude Code's stand-in for the tools that it has not loaded is no tool at all."""
    if isinstance(body.get("tools"), list):
        loaded = [tool for tool in body["tools"] if tool.get("name") != PLACEHOLDER]
        body["tools"] = [{name: value for name, value in tool.items() if name != "defer_loading"} for tool in loaded]


def tool_reference(body: JSON) -> None:
    """The answer of tool search, as a line of text."""

    def spoken(block: Any) -> Any:
        if block["type"] == "tool_reference":
            return {"type": "text", "text": f"[tool loaded: {block.get('tool_name') or block.get('name', '')}]"}
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            content = map_list(block["content"], spoken)
            return block if content is block["content"] else {**block, "content": content}
        return block

    def message(message: Any) -> Any:
        content = map_list(message["content"], spoken) if isinstance(message["content"], list) else message["content"]
        return message if content is message["content"] else {**message, "content": content}

    body["messages"] = map_list(body["messages"], message)


def system_role(body: JSON) -> None:
    """System messages in mid-conversation become text of the user turn before them; their tool changes go into `tools`."""
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
    body["messages"] = joined(out)
    if tools.is_changed:
        body["tools"] = tools.current()


def joined(messages: list[JSON]) -> list[JSON]:
    """Neighbouring user messages as one: something between them was taken out, and not every server takes two in a row."""
    out: list[JSON] = []
    own = False  # the content of the last one is a list that was made here
    for message in messages:
        if not out or message["role"] != "user" or out[-1]["role"] != "user":
            out.append(message)
            own = False
            continue
        if not own:
            out[-1] = {**out[-1], "content": [*blocks(out[-1]["content"])]}
            own = True
        out[-1]["content"] += blocks(message["content"])
    return out


#: Members of `Quirks.native_drop` that are more than a path.
SPECIAL: dict[str, Callable[[JSON], None]] = {
    "messages.system_role": system_role,
    "messages.tool_reference": tool_reference,
    "system.billing_header": billing_header,
    "tools.defer_loading": defer_loading,
}


def strip(body: JSON, names: frozenset[str]) -> Slices[None]:
    """Take each of `names` out of `body` (the dict itself is changed, what it holds is not)."""
    for name in sorted(names):
        special = SPECIAL.get(name)
        if special is not None:
            special(body)
            yield
        else:
            yield from delete_field(body, name)
