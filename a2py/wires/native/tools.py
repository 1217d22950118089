"""Tools and thinking for an upstream that speaks Anthropic without being Anthropic.

Knows: which tools only Anthropic can run, what forcing a tool does to thinking, how thinking is switched on. Must not know: any vendor.
Invariants: the client's own objects are not changed; what is left out stands in `degraded`.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import always_reasons
from a2py.wires.common.tools import as_function, server_name

#: Members of `Quirks.native_drop`: tools of Anthropic's own types but for its web search, and that one.
TYPED, WEB_SEARCH = "tools.typed", "tools.web_search"
NAMES = frozenset({TYPED, WEB_SEARCH})


def trim(draft: Draft, drop: frozenset[str]) -> None:
    """Server tools that the upstream does not run are left out; client-side ones become plain tools with their published schemas."""
    tools = draft.body.get("tools")
    if not tools or drop.isdisjoint(NAMES):
        return
    kept: list[JSON] = []
    lost: set[str] = set()
    for tool in tools:
        name = server_name(tool)
        if name and (WEB_SEARCH if name == "web_search" else TYPED) in drop:
            draft.lose(name)
            lost.add(str(tool.get("name")))
        elif not name and TYPED in drop and "input_schema" not in tool:
            plain = as_function(tool)
            kept += [{"name": plain.name, "description": plain.description, "input_schema": plain.schema}] if plain else []
        else:
            kept.append(tool)
    draft.body["tools"] = kept
    choice = draft.body.get("tool_choice")
    named = isinstance(choice, dict) and choice.get("type") == "tool" and choice.get("name") in lost
    if not kept:
        del draft.body["tools"]
    if choice and (named or not kept):
        del draft.body["tool_choice"]
        if choice["type"] in ("any", "tool"):
            draft.lose("tool_choice")


def choose(draft: Draft) -> None:
    """A forced tool where that is refused while the model thinks: it does not think, or, where it can't but think, it is not forced."""
    choice, thinking = draft.body.get("tool_choice") or {}, draft.body.get("thinking") or {}
    if draft.quirks.tool_choice_thinking or choice.get("type") not in ("any", "tool") or thinking.get("type") == "disabled":
        return
    if always_reasons(draft.quirks):
        draft.body["tool_choice"] = {**{name: value for name, value in choice.items() if name != "name"}, "type": "auto"}
        draft.lose("tool_choice")
        return
    draft.body["thinking"] = {"type": "disabled"}
    if thinking:
        draft.lose("thinking")


def switch(draft: Draft) -> None:
    """Thinking by the upstream's own word for it; a budget means nothing there."""
    thinking, word = draft.body.get("thinking"), draft.quirks.native_thinking
    if word and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        rest = {name: value for name, value in thinking.items() if name != "budget_tokens"}
        draft.body["thinking"] = {**rest, "type": word}
