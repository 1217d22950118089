"""`a2py: routes:`: how rules are written, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.config import Config
from a2py.messages.rules import Condition
from tests.configured import Folder

MODELS = """
model_list:
  - {model_name: kimi, litellm_params: {model: openai/kimi, api_key: k, api_base: "http://h/v1"}}
  - {model_name: small, litellm_params: {model: openai/small, api_key: k, api_base: "http://h/v1"}}
  - {model_name: "gpt-*", litellm_params: {model: "openai/gpt-*", api_key: k, api_base: "http://h/v1"}}
  - {model_name: "claude-fable-*", litellm_params: {model: "openai/fable-*", api_key: k, api_base: "http://h/v1"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def load(folder: Folder, routes: str) -> Config:
    return folder.load(MODELS.lstrip() + "a2py:\n  routes:\n" + routes)


def mistake(folder: Folder, routes: str) -> str:
    return str(folder.mistake(MODELS.lstrip() + "a2py:\n  routes:\n" + routes))


def test_all_forms_of_a_rule(folder: Folder) -> None:
    rules = load(
        folder,
        """
    - when: subagent
      model: small
    - when: {tokens_over: "60000", background: false}
      model: gpt-9
      name: long prompts
    - {when: [think, {image: true, tool: [Read, "mcp__*"]}], model: kimi, sticky: false}
    - {when: {header: {X-Team: "blue*"}, model: claude-opus-*, think: xhigh}, model: kimi}
    - {when: {header: X-Fast, tool: Bash, web_search: yes}, model: kimi}
""",
    ).settings.routes
    assert [rule.model for rule in rules] == ["small", "gpt-9", "kimi", "kimi", "kimi"]
    assert rules[0].alternatives == ((Condition("subagent", True),),)
    assert rules[1].alternatives == ((Condition("tokens_over", 60_000), Condition("background", False)),)
    assert rules[2].alternatives == (
        (Condition("think", True),),
        (Condition("image", True), Condition("tool", ("Read", "mcp__*"))),
    )
    assert rules[3].alternatives[0][0] == Condition("header", (("x-team", "blue*"),))
    assert rules[4].alternatives[0][0] == Condition("header", (("x-fast", "*"),))
    assert [rule.is_sticky for rule in rules] == [True, True, False, True, True]
    assert [rule.label for rule in rules] == [
        "subagent",
        "long prompts",
        "think | image & tool Read,mcp__*",
        "header x-team & model claude-opus-* & think xhigh",
        "header x-fast & tool Bash & web_search",
    ]


def test_without_rules(folder: Folder) -> None:
    assert folder.load(MODELS).settings.routes == ()


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ("    - {when: subagnet, model: small}", ":8: `a2py.routes[0].when` names an unknown condition, 'subagnet'. Did you mean `subagent`?"),
        ("    - when: {tokens_ovr: 5}\n      model: small", ":8: `a2py.routes[0].when.tokens_ovr` names an unknown condition, 'tokens_ovr'. Did you mean `tokens_over`?"),
        ("    - {when: zzz, model: small}", "There are: subagent, background, think, image, web_search, tokens_over, header, tool, model."),
        ("    - {when: tokens_over, model: small}", ":8: `a2py.routes[0].when` needs a value for `tokens_over`. Write `when: {tokens_over: …}`."),
        ("    - {when: think, model: small}\n    - {when: think, modle: small}", ":9: `a2py.routes[1].modle` is unknown. Did you mean `model`?"),
        ("    - {when: think, model: small, zzz: 1}", "`a2py.routes[0].zzz` is unknown. A rule has: when, model, name, sticky."),
        ("    - {when: think}", ":8: `a2py.routes[0]` has no `model`. Write `- {when: subagent, model: NAME}`."),
        ("    - {model: small}", ":8: `a2py.routes[0]` has no `when`."),
        ("    - {when: think, model: smal}", ":8: `a2py.routes[0].model` names smal, but no model is called so. Did you mean small?"),
        ("    - {when: think, model: claude-opus-5-5}", "no model is called so. Correct the name, or add it to `model_list`."),
        ("    - {when: {tokens_over: many}, model: small}", "`a2py.routes[0].when.tokens_over` must be a whole number of at least 0, got 'many'."),
        ("    - {when: {think: very}, model: small}", "`a2py.routes[0].when.think` must be true or false"),
        ("    - {when: {}, model: small}", "`a2py.routes[0].when` must be a condition, got a mapping. Write `when: subagent`."),
        ("    - {when: [], model: small}", "`a2py.routes[0].when` must be a condition, got a list."),
        ("    - {when: {tool: []}, model: small}", "`a2py.routes[0].when.tool` must be text"),
        ("    - {when: {header: {}}, model: small}", "`a2py.routes[0].when.header` must be a header"),
        ("    - {when: {header: {Authorization: x}}, model: small}", "asks for a credential, Authorization. Use another header."),
        ("    - {when: {header: x-api-key}, model: small}", "asks for a credential, x-api-key."),
        ("    - {when: {header: 'x-team: blue'}, model: small}", "`a2py.routes[0].when.header` must be a header's name, got text. Write `header: {x-team: blue}`."),
        ("    - {when: {header: x-*}, model: small}", "`a2py.routes[0].when.header` must be a header's name"),
        ("    - {when: {header: {x-*: blue}}, model: small}", "`a2py.routes[0].when.header` must be a header's name"),
        ("    - {when: think, model: ''}", "`a2py.routes[0].model` must be text"),
        ("    - {when: think, model: small, sticky: perhaps}", "`a2py.routes[0].sticky` must be true or false"),
        ("    - think", "`a2py.routes[0]` must be a mapping"),
        ("    when: think", "`a2py.routes` must be a list of rules, got a mapping. Write `- {when: subagent, model: NAME}`."),
    ],
)  # fmt: skip
def test_mistakes(folder: Folder, routes: str, message: str) -> None:
    assert message in mistake(folder, routes)


def test_a_model_that_writes_no_text(folder: Folder) -> None:
    vectors = (
        "  - {model_name: vectors, litellm_params: {model: openai/v, api_key: k}, model_info: {mode: embedding}}\n"
    )
    text = MODELS.lstrip() + vectors + "a2py: {routes: [{when: think, model: vectors}]}"
    message = ":7: `a2py.routes[0].model` names vectors, which writes no text. Name a chat model."
    assert message in str(folder.mistake(text))


@pytest.mark.parametrize(
    ("name", "has", "serves"),
    [
        ("kimi", True, True),
        ("KIMI[1m]", True, True),
        ("claude-kimi", True, True),
        ("anthropic/kimi", True, True),
        ("gpt-9", True, True),
        ("claude-opus-5-5", False, True),
        ("claude-fable-5-2", False, True),
        ("nobody", False, False),
    ],
)
def test_names_of_the_file(folder: Folder, name: str, has: bool, serves: bool) -> None:
    config = folder.load(MODELS)
    assert (config.has_name(name), config.serves(name)) == (has, serves)


def test_aliases_and_exact_claude_names_are_names_of_the_file(folder: Folder) -> None:
    config = folder.load(
        MODELS + "router_settings:\n  model_group_alias: {claude-opus-5-5-20260101: kimi, fast: small, '*': kimi}\n"
    )
    assert [config.has_name(name) for name in ("claude-opus-5-5", "fast", "gemma")] == [True, True, False]
    assert config.serves("gemma")
