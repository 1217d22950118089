"""Tools and thinking for an upstream that speaks Anthropic without being Anthropic.

Knows: which tools only Anthropic can run, what forcing a tool does to thinking, how thinking is enabled.
Must not know: any vendor.
Invariants: the client's own objects are not changed; what is left out is listed in `degraded`.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import always_reasons
from a2py.wires.common.tools import as_function, server_name

#: Members of `Quirks.native_drop`: tools of Anthropic's own types except its web search, and the web search.
TYPED_TOOLS, WEB_SEARCH = "tools.typed", "tools.web_search"
NAMES = frozenset({TYPED_TOOLS, WEB_SEARCH})


def drop_unsupported(draft: Draft, drop: frozenset[str]) -> None:
    """Remove the server tools that the upstream does not run.

    Tools of Anthropic's types that the client runs (bash, text editor) become plain tools with their published
    schemas."""
    tools = draft.body.get("tools")
    if not tools or drop.isdisjoint(NAMES):
        return
    upstream_tools: list[JSON] = []
    dropped_names: set[str] = set()
    for tool in tools:
        name = server_name(tool)
        if name and (WEB_SEARCH if name == "web_search" else TYPED_TOOLS) in drop:
            draft.lose(name)
            dropped_names.add(str(tool.get("name")))
        elif not name and TYPED_TOOLS in drop and "input_schema" not in tool:
            plain = as_function(tool)
            if plain:
                upstream_tools.append(
                    {"name": plain.name, "description": plain.description, "input_schema": plain.schema}
                )
        else:
            upstream_tools.append(tool)
    draft.body["tools"] = upstream_tools
    if not upstream_tools:
        del draft.body["tools"]
    _drop_lost_choice(draft, dropped_names, has_tools=bool(upstream_tools))


def _drop_lost_choice(draft: Draft, dropped_names: set[str], has_tools: bool) -> None:
    """Remove `tool_choice` if it forces one of the lost tools, or if no tool is left."""
    choice = draft.body.get("tool_choice")
    if not choice:
        return
    forces_lost_tool = isinstance(choice, dict) and choice.get("type") == "tool" and choice.get("name") in dropped_names
    if forces_lost_tool or not has_tools:
        del draft.body["tool_choice"]
        if choice["type"] in ("any", "tool"):
            draft.lose("tool_choice")


def resolve_forced_choice(draft: Draft) -> None:
    """Disable thinking if a tool is forced and the upstream rejects both together.

    If the model cannot stop thinking, or the upstream takes no forced tool at all, the tool is not forced instead."""
    choice, thinking = draft.body.get("tool_choice") or {}, draft.body.get("thinking") or {}
    quirks, kind = draft.quirks, choice.get("type")
    if kind not in ("any", "tool"):
        return
    is_refused = not quirks.tool_choice_any if kind == "any" else quirks.tool_choice_named == "none"
    is_excluded = not quirks.tool_choice_thinking and thinking.get("type") != "disabled"
    if is_refused or (is_excluded and always_reasons(quirks)):
        rest = {name: value for name, value in choice.items() if name != "name"}
        draft.body["tool_choice"] = {**rest, "type": "auto"}
        draft.lose("tool_choice")
        return
    draft.added_fields.add("tool_choice")
    if is_excluded:
        draft.body["thinking"] = {"type": "disabled"}
        if thinking:
            draft.lose("thinking")


def rename_thinking_type(draft: Draft) -> None:
    """Enable thinking with the upstream's own `type`, without the budget, which means nothing there."""
    thinking, word = draft.body.get("thinking"), draft.quirks.native_thinking
    if word and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        rest = {name: value for name, value in thinking.items() if name != "budget_tokens"}
        draft.body["thinking"] = {**rest, "type": word}
