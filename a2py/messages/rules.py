"""Choose the model of a request by the rules of `a2py: routes:`, and say why.

Knows: the conditions, what each asks of the facts. Must not know: files, headers' names, how facts are read (facts.py).
Invariants: pure. The first rule that holds decides. A reason quotes no content: neither a header's value nor a prompt.

A rule is sticky unless it says otherwise: its conditions `think` and `image` hold for the rest of a conversation once
they have held in it, because another model has to read the whole prompt anew, at the full price. All other conditions
change by themselves only when the client cuts the conversation, which costs the cache anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from a2py.messages.facts import Facts
from a2py.patterns import matches
from a2py.quirks import EFFORTS

#: The effort from which on `think: true` holds. Claude Code sends medium unless the user wants more (2.1.332).
THINK = "high"
#: Words that take true or false.
FLAGS = ("subagent", "background", "think", "image", "web_search")
#: All words of a condition.
WORDS = (*FLAGS, "tokens_over", "header", "tool", "model")


class Condition(NamedTuple):
    """`value`: True or False of a flag; an effort of `think`; a number of `tokens_over`; patterns of `tool` and
    `model`; (name, pattern) pairs of `header`."""

    word: str
    value: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. It holds if all conditions of one of `alternatives` hold.

    `label`: its text in headers, the log and metrics; `at`: file, line and column of its `model`."""

    model: str
    alternatives: tuple[tuple[Condition, ...], ...]
    label: str = ""
    is_sticky: bool = True
    at: tuple[str, int, int] = ("", 0, 0)

    def explain(self, facts: Facts, is_named: bool) -> str:
        """Return why the rule holds, "" if it does not.

        `is_named`: the user asked for a model of the file. Only a condition `model` may change that."""
        for conditions in self.alternatives:
            if is_named and all(one.word != "model" for one in conditions):
                continue
            reasons = [_TESTS[one.word](facts, one.value, self.is_sticky) for one in conditions]
            if all(reasons):
                return ", ".join(reasons)
        return ""


class Choice(NamedTuple):
    """`model`: the name to use instead of the one asked for, "" for the latter; `rule`: number and label of the rule,
    `none` if none holds, `named` if the user asked for a model of the file."""

    model: str
    rule: str
    why: str


def choose(rules: Sequence[Rule], facts: Facts, is_named: bool) -> Choice:
    """Return the choice for a request. `is_named`: the file has the name that is asked for."""
    for number, rule in enumerate(rules, 1):
        why = rule.explain(facts, is_named)
        if why:
            return Choice(rule.model, f"{number} {rule.label}", why)
    if is_named:
        return Choice("", "named", "the configuration has the model that was asked for")
    return Choice("", "none", "no rule holds")


def list_words(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the words of all conditions."""
    return frozenset(one.word for one in _conditions(rules))


def list_headers(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Return the names of the headers that the rules ask for."""
    return tuple(dict.fromkeys(name for one in _conditions(rules) if one.word == "header" for name, _ in one.value))


def _conditions(rules: Sequence[Rule]) -> list[Condition]:
    return [one for rule in rules for conditions in rule.alternatives for one in conditions]


def _subagent(facts: Facts, value: bool, is_sticky: bool) -> str:
    return _flag(facts.is_subagent, value, "a sub-agent of Claude Code", "no sub-agent")


def _background(facts: Facts, value: bool, is_sticky: bool) -> str:
    return _flag("haiku" in facts.model.lower(), value, "a haiku-class name", "no haiku-class name")


def _image(facts: Facts, value: bool, is_sticky: bool) -> str:
    has_image = facts.has_any_image if is_sticky else facts.has_image
    yes = "an image in this turn" if facts.has_image else "an image in the conversation"
    return _flag(has_image, value, yes, "no image")


def _web_search(facts: Facts, value: bool, is_sticky: bool) -> str:
    return _flag(facts.searches_web, value, "the tool web_search of Anthropic", "no tool web_search of Anthropic")


def _flag(fact: bool, value: bool, yes: str, no: str) -> str:
    return "" if fact != value else yes if fact else no


def _think(facts: Facts, value: bool | str, is_sticky: bool) -> str:
    enough = EFFORTS[EFFORTS.index(THINK if isinstance(value, bool) else value) :]
    reason = ""
    if facts.is_planning:
        reason = "plan mode"
    elif facts.effort in enough:
        reason = f"effort {facts.effort}"
    elif is_sticky and facts.has_planned:
        reason = "plan mode earlier in the conversation"
    elif is_sticky and not facts.efforts.isdisjoint(enough):
        reason = "effort earlier in the conversation"
    return reason if value else "" if reason else "no plan mode, and no such effort"


def _tokens_over(facts: Facts, value: int, is_sticky: bool) -> str:
    return f"about {facts.tokens} tokens > {value}" if facts.tokens > value else ""


def _header(facts: Facts, value: tuple[tuple[str, str], ...], is_sticky: bool) -> str:
    is_there = all(name in facts.headers and matches(pattern, facts.headers[name]) for name, pattern in value)
    return f"the header {', '.join(name for name, _ in value)}" if is_there else ""


def _tool(facts: Facts, value: tuple[str, ...], is_sticky: bool) -> str:
    for pattern in value:
        name = next((tool for tool in sorted(facts.tools) if matches(pattern, tool)), "")
        if name:
            return f"the tool {name[:100]}"
    return ""


def _model(facts: Facts, value: tuple[str, ...], is_sticky: bool) -> str:
    pattern = next((pattern for pattern in value if matches(pattern.lower(), facts.model.lower())), "")
    return f"the name asked for is {pattern}" if pattern else ""


_TESTS: dict[str, Callable[[Facts, Any, bool], str]] = {
    "subagent": _subagent,
    "background": _background,
    "think": _think,
    "image": _image,
    "web_search": _web_search,
    "tokens_over": _tokens_over,
    "header": _header,
    "tool": _tool,
    "model": _model,
}
