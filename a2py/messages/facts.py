"""Read from a request the facts that rules of `a2py: routes:` may ask for.

Knows: how Claude Code marks plan mode and efforts (2.1.332, recorded 2026-11-30). Must not know: rules.
Invariants: a fact is what the request states. Nothing is guessed from prose, and nothing is remembered between
requests: what was true earlier in a conversation is read from its history.

Claude Code puts its own notes into messages of the role `system`, older versions into user text that begins with
`<system-reminder>`. Only there are plan mode's notes looked for: tool results and the user's words may quote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from a2py.messages.session import is_subagent
from a2py.messages.types import JSON, Request
from a2py.quirks import EFFORTS
from a2py.slices import ITEMS, Slices

#: `budget_tokens` → effort. A band ends below its number. (Claude Code's own levels are 4,000, 10,000 and 31,999.)
BANDS = ((4_096, "low"), (12_288, "medium"), (32_768, "high"))
#: Begin of Claude Code's notes in user text.
REMINDER = "<system-reminder>"
#: Claude Code's notes while plan mode is on, and its note when plan mode ends.
PLAN_NOTES = ("Plan mode is active. The user indicated", "Plan mode still active (see full instructions")
PLAN_END = "## Exited Plan Mode"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a request states. Every fact has a default, for requests of which less is known.

    `model`: the name asked for; `tokens`: of the whole prompt, estimated; `headers`: name in lower case → value;
    `effort`, `is_planning`, `has_image`: in the current turn; `efforts`, `has_planned`, `has_any_image`: in the whole
    conversation; `tools`: names of the tools that are offered."""

    model: str = ""
    tokens: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_subagent: bool = False
    searches_web: bool = False
    effort: str = ""
    efforts: frozenset[str] = frozenset()
    is_planning: bool = False
    has_planned: bool = False
    has_image: bool = False
    has_any_image: bool = False
    tools: frozenset[str] = frozenset()


def read_facts_in_slices(
    request: Request, headers: Mapping[str, str], names: tuple[str, ...] = (), tokens: int = 0
) -> Slices[Facts]:
    """Return the facts of a checked request. `headers`: the client's; `names`: those of them that rules ask for."""
    history = _History()
    for n, message in enumerate(request.messages):
        if n % ITEMS == ITEMS - 1:
            yield
        content = message["content"]
        history.start(message)
        for first in range(0, len(content), ITEMS) if isinstance(content, list) else ():
            if first:
                yield
            for block in content[first : first + ITEMS]:
                history.add(message["role"], block)
    effort = read_effort(request.body)
    return Facts(
        model=request.model,
        tokens=tokens,
        headers={name: headers[name] for name in names if name in headers},
        is_subagent=is_subagent(headers, request),
        searches_web=any(str(tool.get("type", "")).startswith("web_search") for tool in request.tools),
        effort=effort,
        efforts=frozenset((*history.efforts, effort)) - {""},
        is_planning=history.is_planning,
        has_planned=history.has_planned,
        has_image=history.has_image,
        has_any_image=history.has_any_image,
        tools=frozenset(str(tool.get("name", "")) for tool in request.tools),
    )


def band_of(budget: int) -> str:
    """Return the effort word for a `budget_tokens`; "" if there is none."""
    return next((word for top, word in BANDS if budget < top), "max") if budget else ""


def read_effort(body: JSON) -> str:
    """Return the effort word of a request, by its `output_config` or its budget; "" if it states none."""
    thinking, effort = body.get("thinking") or {}, (body.get("output_config") or {}).get("effort")
    if thinking.get("type") == "disabled":
        return ""
    if effort in EFFORTS:
        return str(effort)
    budget = thinking.get("budget_tokens")
    return band_of(budget) if isinstance(budget, int) and budget > 0 else ""


class _History:
    """The facts of the messages, read one by one."""

    def __init__(self) -> None:
        self.efforts: set[str] = set()
        self.is_planning = self.has_planned = self.has_image = self.has_any_image = False

    def start(self, message: JSON) -> None:
        """Begin a message: read its text and its effort, and begin a new turn if the user speaks."""
        content, config = message["content"], message.get("output_config")
        if isinstance(config, dict) and config.get("effort") in EFFORTS:
            self.efforts.add(config["effort"])
        if message["role"] == "user" and not _holds_results(content):
            self.has_image = False
        if isinstance(content, str):
            self.note(message["role"], content)

    def add(self, role: str, block: JSON) -> None:
        """Add a block, with the blocks in it."""
        waiting: list[Any] = [block]
        while waiting:
            inner = waiting.pop()
            kind = inner.get("type") if isinstance(inner, dict) else None
            if kind == "text" and inner is block:
                self.note(role, block["text"])
            elif kind == "image":
                self.has_image = self.has_any_image = True
            elif kind in ("tool_result", "search_result", "document"):
                holder = inner.get("source") if kind == "document" else inner
                content = holder.get("content")
                waiting += content if isinstance(content, list) else ()

    def note(self, role: str, text: str) -> None:
        """Read a note of Claude Code about plan mode. The last one counts."""
        if role != "system" and not (role == "user" and text.startswith(REMINDER)):
            return
        begin, end = max(map(text.rfind, PLAN_NOTES)), text.rfind(PLAN_END)
        if begin >= 0 or end >= 0:
            self.is_planning = begin > end
            self.has_planned = self.has_planned or begin >= 0


def _holds_results(content: Any) -> bool:
    return isinstance(content, list) and any(block["type"] == "tool_result" for block in content[:ITEMS])
