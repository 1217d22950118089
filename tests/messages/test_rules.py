"""Which rule decides, and why."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.messages.facts import Facts
from a2py.messages.rules import WORDS, Choice, Condition, Rule, choose, list_headers, list_words


def rule(model: str = "m", *conditions: tuple[str, Any], is_sticky: bool = True) -> Rule:
    return Rule(model, (tuple(Condition(*one) for one in conditions),), "label", is_sticky)


@pytest.mark.parametrize(
    ("condition", "facts", "why"),
    [
        (("subagent", True), Facts(is_subagent=True), "a sub-agent of Claude Code"),
        (("subagent", True), Facts(), ""),
        (("subagent", False), Facts(is_subagent=True), ""),
        (("subagent", False), Facts(), "no sub-agent"),
        (("background", True), Facts("claude-haiku-5-5"), "a haiku-class name"),
        (("background", True), Facts("Claude-3-5-HAIKU"), "a haiku-class name"),
        (("background", True), Facts("claude-opus-5-5"), ""),
        (("background", False), Facts("claude-opus-5-5"), "no haiku-class name"),
        (("think", True), Facts(effort="high"), "effort high"),
        (("think", True), Facts(effort="medium"), ""),
        (("think", True), Facts(), ""),
        (("think", True), Facts(is_planning=True), "plan mode"),
        (("think", True), Facts(has_planned=True), "plan mode earlier in the conversation"),
        (("think", True), Facts(effort="low", efforts=frozenset(("low", "max"))), "effort earlier in the conversation"),
        (("think", "xhigh"), Facts(effort="high"), ""),
        (("think", "xhigh"), Facts(effort="max"), "effort max"),
        (("think", False), Facts(effort="high"), ""),
        (("think", False), Facts(effort="medium"), "no plan mode, and no such effort"),
        (("image", True), Facts(has_image=True, has_any_image=True), "an image in this turn"),
        (("image", True), Facts(has_any_image=True), "an image in the conversation"),
        (("image", True), Facts(), ""),
        (("image", False), Facts(), "no image"),
        (("web_search", True), Facts(searches_web=True), "the tool web_search of Anthropic"),
        (("web_search", True), Facts(), ""),
        (("tokens_over", 60_000), Facts(tokens=60_001), "about 60001 tokens > 60000"),
        (("tokens_over", 60_000), Facts(tokens=60_000), ""),
        (("header", (("x-team", "*"),)), Facts(headers={"x-team": "secret"}), "the header x-team"),
        (("header", (("x-team", "b*"), ("x-a", "1"))), Facts(headers={"x-team": "blue", "x-a": "1"}), "the header x-team, x-a"),
        (("header", (("x-team", "b*"), ("x-a", "1"))), Facts(headers={"x-team": "blue"}), ""),
        (("header", (("x-team", "red"),)), Facts(headers={"x-team": "blue"}), ""),
        (("tool", ("mcp__db__*", "Bash")), Facts(tools=frozenset(("Read", "mcp__db__ask"))), "the tool mcp__db__ask"),
        (("tool", ("Bash",)), Facts(tools=frozenset(("Read", "bash"))), ""),
        (("model", ("claude-opus-*",)), Facts("Claude-Opus-5-5"), "the name asked for is claude-opus-*"),
        (("model", ("claude-opus-*",)), Facts("claude-sonnet-5-5"), ""),
    ],
)  # fmt: skip
def test_a_condition(condition: tuple[str, Any], facts: Facts, why: str) -> None:
    assert rule("m", condition).explain(facts, False) == why


@pytest.mark.parametrize(
    ("word", "facts"),
    [
        ("think", Facts(has_planned=True, efforts=frozenset(("max",)), effort="low")),
        ("image", Facts(has_any_image=True)),
    ],
)
def test_only_a_sticky_rule_holds_for_what_is_over(word: str, facts: Facts) -> None:
    assert rule("m", (word, True)).explain(facts, False)
    assert not rule("m", (word, True), is_sticky=False).explain(facts, False)


def test_every_word_has_a_test() -> None:
    values = {"tokens_over": 1, "header": (("x", "*"),), "tool": ("T",), "model": ("m",)}
    for word in WORDS:
        assert rule("m", (word, values.get(word, True))).explain(Facts("x"), False) == "", word


def test_all_conditions_of_a_mapping_hold_together() -> None:
    both = rule("m", ("subagent", True), ("tokens_over", 10))
    assert both.explain(Facts(is_subagent=True, tokens=11), False) == "a sub-agent of Claude Code, about 11 tokens > 10"
    assert not both.explain(Facts(is_subagent=True), False) and not both.explain(Facts(tokens=11), False)


def test_one_alternative_is_enough() -> None:
    either = Rule("m", ((Condition("subagent", True),), (Condition("image", True),)))
    assert either.explain(Facts(has_any_image=True), False) == "an image in the conversation"
    assert not either.explain(Facts(), False)


def test_the_first_rule_that_holds_decides() -> None:
    rules = [rule("long", ("tokens_over", 100)), rule("agent", ("subagent", True)), rule("x", ("subagent", True))]
    assert choose(rules, Facts(is_subagent=True, tokens=101), False) == Choice(
        "long", "1 label", "about 101 tokens > 100"
    )
    assert choose(rules, Facts(is_subagent=True), False).model == "agent"
    assert choose(rules, Facts(), False) == Choice("", "none", "no rule holds")
    assert choose([], Facts(), False).rule == "none"


def test_a_name_of_the_file_stays_unless_a_rule_names_it() -> None:
    facts = Facts("gpt", is_subagent=True)
    plain, naming = rule("agent", ("subagent", True)), rule("other", ("model", ("gpt",)), ("subagent", True))
    assert choose([plain], facts, True) == Choice("", "named", "the configuration has the model that was asked for")
    assert choose([plain, naming], facts, True).model == "other"


def test_what_rules_need() -> None:
    rules = [
        rule("m", ("header", (("x-a", "*"), ("x-b", "1")))),
        rule("m", ("subagent", True), ("header", (("x-a", "2"),))),
    ]
    assert list_headers(rules) == ("x-a", "x-b") and list_words(rules) == {"header", "subagent"}
