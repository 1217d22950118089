"""What a client wants of reasoning, whatever the wire.

Knows: `thinking`, `output_config.effort`, and the mapping to an upstream's effort words.
Must not know: any upstream's field names.
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.messages.types import Request
from a2py.quirks import EFFORTS, Quirks

#: `budget_tokens` → effort: the largest budget of each band (Claude Code's own levels are 4,000, 10,000 and 31,999).
BANDS = ((4_096, "low"), (12_288, "medium"), (32_768, "high"))
#: Reasoning for a turn with tool calls that has none, for vendors that demand it (DeepSeek, Kimi: 400 without it, 2025-12).
PLACEHOLDER = "(reasoning not kept)"


class Want(NamedTuple):
    """`mode`: `off`, `on`, `default` (reason as the model does by itself) or `absent` (nothing was said); `effort`: one of EFFORTS or ""."""

    mode: str
    effort: str = ""
    budget: int = 0


def wanted(request: Request, dep: Deployment) -> Want:
    """The client's wish; where it is silent, the deployment's own `reasoning_effort` and `thinking` params."""
    thinking = request.body.get("thinking") or dep.params.get("thinking") or {}
    config = request.body.get("output_config") or {}
    effort = config.get("effort") or ""
    if effort not in EFFORTS:
        effort = ""
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "disabled":
        return Want("off")
    if not effort:
        preset = dep.params.get("reasoning_effort")
        effort = preset if isinstance(preset, str) and preset in EFFORTS else ""
    if effort == "none":
        return Want("off")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        budget = budget if isinstance(budget, int) and budget > 0 else 0
        if not effort and budget:
            effort = next((word for top, word in BANDS if budget < top), "max")
        return Want("on", effort, budget)
    if effort:
        return Want("on" if kind else "default", effort)
    return Want("default" if kind else "absent")


def always_reasons(quirks: Quirks) -> bool:
    """Whether the model can't be kept from reasoning. A small output limit is raised for it instead."""
    return bool(quirks.min_tokens) and not quirks.effort_off


def nearest(effort: str, words: tuple[str, ...]) -> str:
    """The word of `words` (weakest first) closest to `effort`; `max` is the strongest there is. A tie goes to `high`: where the words are low,
    high and max, DeepSeek itself takes medium and xhigh for it (api-docs.deepseek.com, 2026-10), else to the weaker."""
    if not words or effort in words:
        return effort if effort in words else ""
    if effort == "max":
        return words[-1]
    rank = EFFORTS.index(effort)

    def distance(word: str) -> tuple[int, bool, int]:
        at = EFFORTS.index(word) if word in EFFORTS else 99
        return abs(at - rank), word != "high", at

    return min(words, key=distance)
