"""Compare two bodies of one form: Anthropic's with Anthropic's (native wire), OpenAI's with OpenAI's (what passes).

Knows: JSON; which rule says what of a field. Must not know: how requests are translated.
Invariants: what happens at many places of a list is one change, with the number of places; at most LIMIT of them; the
time is that of reading both bodies.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.wires.changes.change import PASSTHROUGH, QUIRKS, SETTINGS, Change, Question, count, rule, show

#: Different changes that are named.
LIMIT = 300
#: Levels that are compared. Below, values are the same or not.
DEPTH = 24
#: First field of a path on the native wire → its rule, and the quirks that may be the cause.
_NATIVE: dict[str, tuple[str, tuple[str, ...]]] = {
    "model": ("a19", ()),
    "max_tokens": ("a12", ("max_tokens_limit", "min_tokens")),
    "temperature": ("a12", ("sampling",)),
    "top_p": ("a12", ("sampling",)),
    "thinking": ("c2", ("native_thinking", "min_tokens", "tool_choice_thinking")),
    "output_config": ("a13", ()),
    "system": ("c2", ("native_betas",)),
    "tools": ("a8", ("tool_name_limit", "schema", "tools")),
    "tool_choice": ("a10", ("tool_choice_named", "tool_choice_any", "tool_choice_thinking")),
    "messages": ("c2", ("mid_system", "tool_ids")),
    "stream": ("a18", ("stream_only", "whole_only")),
}


class _Comparison:
    """`differences`: (kind, path) → the number of places, and the values at the first of them."""

    def __init__(self) -> None:
        self.differences: dict[tuple[str, str], tuple[int, Any, Any]] = {}

    def note(self, kind: str, path: str, before: Any, after: Any) -> None:
        places, *first = self.differences.get((kind, path), (0, before, after))
        if places or len(self.differences) < LIMIT:
            self.differences[kind, path] = (places + 1, first[0], first[1])

    def compare(self, before: Any, after: Any, path: str, depth: int) -> None:
        if before == after:
            return
        if depth and isinstance(before, dict) and isinstance(after, dict):
            self.compare_objects(before, after, path, depth)
        elif depth and isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            for one, other in zip(before, after, strict=True):
                self.compare(one, other, f"{path}[]", depth - 1)
        elif isinstance(before, list) and isinstance(after, list):
            self.note("changed", path, count(len(before), "item"), count(len(after), "item"))
        else:
            self.note("changed", path, before, after)

    def compare_objects(self, before: JSON, after: JSON, path: str, depth: int) -> None:
        start = f"{path}." if path else ""
        for name, value in before.items():
            if name in after:
                self.compare(value, after[name], start + name, depth - 1)
            else:
                self.note("dropped", start + name, value, None)
        for name, value in after.items():
            if name not in before:
                self.note("added", start + name, None, value)


def compare_native(client: JSON, question: Question) -> list[Change]:
    """Return what is different in a request that goes to an upstream which speaks Anthropic."""
    return [_make(question, kind, path, *difference) for (kind, path), difference in _compare(client, question)]


def compare_passed(client: JSON, question: Question) -> list[Change]:
    """Return what is different in a request that passes."""
    changes = []
    for (kind, path), (places, before, after) in _compare(client, question):
        because = question.find_setting(path) or ("the deployment's model" if path == "model" else "")
        changes.append(_change(kind, path, places, (before, after), (because, SETTINGS if because else PASSTHROUGH)))
    return changes


def _compare(client: JSON, question: Question) -> list[tuple[tuple[str, str], tuple[int, Any, Any]]]:
    comparison = _Comparison()
    comparison.compare(client, question.body, "", DEPTH)
    return list(comparison.differences.items())


def _make(question: Question, kind: str, path: str, places: int, before: Any, after: Any) -> Change:
    return _change(kind, path, places, (before, after), _find_reason(question, kind, path))


def _find_reason(question: Question, kind: str, path: str) -> tuple[str, str]:
    """Return why something is different, and the page that says so."""
    plain, top = path.replace("[]", ""), path.partition(".")[0].partition("[")[0]
    setting = question.find_setting(path) if kind != "dropped" else ""
    if setting:
        return setting, SETTINGS
    if plain in question.deployment.drop or top in question.deployment.drop:
        return "the configuration's `additional_drop_params`", SETTINGS
    if plain in question.deployment.quirks.native_drop or top in question.deployment.quirks.native_drop:
        return question.explain("this upstream refuses it", ("native_drop",)), QUIRKS
    if path.endswith("cache_control") or ".cache_control." in f".{path}.":
        return "the configuration's `cache_control_ttl`, or the upstream's form of it", rule("a16")
    if path.endswith((".signature", ".thinking")) and top == "messages":
        return "thinking goes back only to the model that wrote it", rule("a14")
    name, quirks = _NATIVE.get(top, ("c2", ()))
    return question.explain("the deployment's model" if top == "model" else "", quirks), rule(name)


def _change(kind: str, path: str, places: int, values: tuple[Any, Any], reason: tuple[str, str]) -> Change:
    before, after = ("" if value is None else show(value) for value in values)
    many = f" ({count(places, 'place')})" if places > 1 else ""
    return Change(
        kind,
        "" if kind == "added" else path,
        "" if kind == "dropped" else path,
        before + many if before else "",
        after + many if after else "",
        *reason,
    )
