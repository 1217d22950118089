"""What a client wants of reasoning, for all wires.

Knows: `thinking`, `output_config.effort`, and the mapping to an upstream's effort words.
Must not know: any upstream's field names.
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.messages.facts import band_of
from a2py.messages.types import Request
from a2py.quirks import EFFORTS, Quirks

#: Reasoning for a turn with tool calls that has none, for vendors that reject such a turn (DeepSeek, Kimi: 400 without
#: it, 2025-12).
PLACEHOLDER = "(reasoning not kept)"


class Want(NamedTuple):
    """`mode`: `off`, `on`, `default` (the model decides) or `absent` (the client does not mention reasoning). `effort`:
    one of EFFORTS or "". `budget`: tokens; 0 if none is given."""

    mode: str
    effort: str = ""
    budget: int = 0


def read_want(request: Request, dep: Deployment) -> Want:
    """Return what the client wants; if it does not say, what the deployment's `reasoning_effort` and `thinking` params
    say."""
    thinking = request.body.get("thinking") or dep.params.get("thinking") or {}
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    effort = _effort(request, dep)
    if kind == "disabled" or effort == "none":
        return Want("off")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        budget = budget if isinstance(budget, int) and budget > 0 else 0
        return Want("on", effort or band_of(budget), budget)
    if effort:
        return Want("on" if kind else "default", effort)
    return Want("default" if kind else "absent")


def _effort(request: Request, dep: Deployment) -> str:
    """Return the effort word of the client or of the deployment; "" if there is none."""
    effort = (request.body.get("output_config") or {}).get("effort")
    if effort in EFFORTS:
        return str(effort)
    preset = dep.params.get("reasoning_effort")
    return preset if isinstance(preset, str) and preset in EFFORTS else ""


def always_reasons(quirks: Quirks) -> bool:
    """Return whether the model cannot be kept from reasoning. If so, a small output limit is raised for it."""
    return bool(quirks.min_tokens) and not quirks.effort_off


def nearest_effort(effort: str, words: tuple[str, ...]) -> str:
    """Return the word of `words` (weakest first) closest to `effort`; "" if there are none. `max` gives the strongest.

    A tie gives `high` if it is among the two, otherwise the weaker. Example: for a model with low, high and max, medium
    gives high, and so does xhigh. That is how DeepSeek itself maps them (api-docs.deepseek.com, 2026-10)."""
    if not words or effort in words:
        return effort if effort in words else ""
    if effort == "max":
        return words[-1]
    rank = EFFORTS.index(effort)

    def distance(word: str) -> tuple[int, bool, int]:
        place = EFFORTS.index(word) if word in EFFORTS else 99
        return abs(place - rank), word != "high", place

    return min(words, key=distance)
