"""Which deployments a model name means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from a2py.config import Config, Settings, from_environment
from a2py.config.names import MAX_BOUND, MAX_NAME, MAX_SUGGESTIONS, fill_stars, match_stars
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.evidence.server import ListedModel, ServerWord
from a2py.providers import PROVIDERS, find_quirks
from tests.configured import Folder

ENV = {"OPENAI_API_KEY": "ok", "OPENROUTER_API_KEY": "rk", "GROQ_API_KEY": "gk", "ANTHROPIC_API_KEY": "ak"}

FILE = """
model_list:
  - {model_name: big, litellm_params: {model: groq/big-1}}
  - {model_name: big, litellm_params: {model: groq/big-2}}
  - {model_name: GLM-5, litellm_params: {model: openrouter/z-ai/glm-5}}
  - {model_name: claude-sonnet-4-5, litellm_params: {model: groq/sonnet}}
  - {model_name: claude-haiku-4-5-20251001, litellm_params: {model: groq/haiku}}
  - {model_name: openai/*, litellm_params: {model: openai/*}}
  - {model_name: openai/gpt-5*, litellm_params: {model: openrouter/openai/gpt-5*}}
  - {model_name: team-*/x-*, litellm_params: {model: groq/*.*}}
  - {model_name: broken, litellm_params: {model: bedrock/x}}
  - {model_name: half, litellm_params: {model: bedrock/x}}
  - {model_name: half, litellm_params: {model: groq/half}}
router_settings:
  model_group_alias:
    gpt-4: big
    fast: {model: gpt-4, hidden: true}
    chained: fast
    loop: loop2
    loop2: loop
    through: openai/gpt-4o
    claude-opus-*: big
    any-*: openai/*
    void-*: nothing-*
    lost: nothing
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Folder(tmp_path).load(FILE, ENV)


def models(config: Config, name: str) -> list[str]:
    return [f"{dep.provider}/{dep.model}" for dep in config.resolve(name)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("big", ["groq/big-1", "groq/big-2"]),
        ("gpt-4", ["groq/big-1", "groq/big-2"]),
        ("chained", ["groq/big-1", "groq/big-2"]),
        ("BIG", ["groq/big-1", "groq/big-2"]),
        ("Gpt-4", ["groq/big-1", "groq/big-2"]),
        ("glm-5", ["openrouter/z-ai/glm-5"]),
        ("big[1m]", ["groq/big-1", "groq/big-2"]),
        ("claude-sonnet-4-5", ["groq/sonnet"]),
        ("claude-sonnet-4-5[1m]", ["groq/sonnet"]),
        ("claude-sonnet-4-5-20250929", ["groq/sonnet"]),
        ("claude-sonnet-4-5@20250929", ["groq/sonnet"]),
        ("claude-sonnet-4-5-20250929[1M]", ["groq/sonnet"]),
        ("Claude-Sonnet-4-5-20250929", ["groq/sonnet"]),
        ("claude-haiku-4-5", ["groq/haiku"]),  # the file's name has the date
        ("claude-haiku-4-5-20251001", ["groq/haiku"]),
        ("openai/gpt-4o", ["openai/gpt-4o"]),
        ("openai/gpt-4o[1m]", ["openai/gpt-4o"]),
        ("openai/gpt-4o-20240806", ["openai/gpt-4o-20240806"]),  # a wildcard's model keeps its date
        ("OpenAI/gpt-4o", ["openai/gpt-4o"]),
        ("openai/gpt-5-mini", ["openrouter/openai/gpt-5-mini"]),  # the longest literal prefix wins
        ("team-a/x-b", ["groq/a.b"]),
        ("through", ["openai/gpt-4o"]),
        ("any-o3", ["openai/o3"]),
        ("claude-opus-5-5", ["groq/big-1", "groq/big-2"]),
        ("claude-fable-5-2", ["groq/big-1", "groq/big-2"]),  # unknown claude-*: the first model of the file
        ("anthropic/claude-fable-5-2", ["groq/big-1", "groq/big-2"]),
        ("us.anthropic.claude-x", ["groq/big-1", "groq/big-2"]),
        ("anthropic/big", ["groq/big-1", "groq/big-2"]),  # as offered to the discovery of Claude Code
        ("claude-big", ["groq/big-1", "groq/big-2"]),
        ("anthropic/openai/o3", ["openai/o3"]),
        ("anthropic/GLM-5[1m]", ["openrouter/z-ai/glm-5"]),
        ("half", ["groq/half"]),
    ],
)
def test_resolve(config: Config, name: str, expected: list[str]) -> None:
    assert models(config, name) == expected
    assert config.resolve(name) == config.resolve(name)


@pytest.mark.parametrize(
    "name",
    ["nothing", "", "gpt-4o", "void-1", "lost", "loop", "broken2", "openai", "anthropic/none", "teams-a/b", "\x00"],
)
def test_unknown_names_list_the_known_ones(config: Config, name: str) -> None:
    with pytest.raises(ApiError) as excinfo:
        config.resolve(name)
    assert excinfo.value.kind == "not_found" and excinfo.value.status == 404
    assert f"model: {name} is not served here" in excinfo.value.message
    assert "known names: big, GLM-5, claude-sonnet-4-5, claude-haiku-4-5-20251001" in excinfo.value.message
    assert "patterns: openai/*, openai/gpt-5*" in excinfo.value.message
    assert "configured, but not usable (`a2py models` says why): broken" in excinfo.value.message
    assert not config.knows(name)


def test_did_you_mean(config: Config) -> None:
    with pytest.raises(ApiError, match=r"model: broken2 is not served here; did you mean broken\?"):
        config.resolve("broken2")
    with pytest.raises(ApiError, match=r"model: GLM-4 is not served here; did you mean GLM-5\?"):
        config.resolve("GLM-4")
    with pytest.raises(ApiError) as excinfo:
        config.resolve("y" * 5000)
    assert len(excinfo.value.message) < 1000


def test_a_name_whose_deployments_all_have_a_problem(config: Config) -> None:
    with pytest.raises(ApiError, match="the provider bedrock is LiteLLM's, and a2py") as excinfo:
        config.resolve("broken")
    assert (excinfo.value.kind, excinfo.value.status, excinfo.value.should_retry) == ("permission", 403, False)
    assert "litellm_config.yaml:10" in excinfo.value.message and config.knows("broken")


def test_the_list(config: Config) -> None:
    default = PROVIDERS["openai"].default_model
    assert config.list_names() == (
        *("big", "GLM-5", "claude-sonnet-4-5", "claude-haiku-4-5-20251001", f"openai/{default}", "half"),
        *("gpt-4", "chained", "through"),
    )
    for name in config.list_names():
        assert config.resolve(name) and config.knows(name)


def test_names_offered_to_discovery_lead_back(config: Config) -> None:
    for name in config.list_names():
        alias = config.make_discovery_id(name)
        assert "claude" in alias or "anthropic" in alias
        assert config.resolve(alias) == config.resolve(name)
    assert (
        config.make_discovery_id("claude-sonnet-4-5") == "claude-sonnet-4-5"
        and config.make_discovery_id("big") == "anthropic/big"
    )


def test_wildcards_are_bound_to_the_model(tmp_path: Path) -> None:
    config = Folder(tmp_path).load(
        """
        model_list:
          - {model_name: openai/*, litellm_params: {model: openai/*, weight: 3, temperature: 0.5}}
          - {model_name: openai/*, litellm_params: {model: openrouter/openai/*}}
          - {model_name: az/*, litellm_params: {model: azure/*, api_base: 'https://r.openai.azure.com', api_key: k, api_version: 2024-10-21}}
          - {model_name: or/*, litellm_params: {model: openrouter/*}}
          - {model_name: resp/*, litellm_params: {model: openai/responses/*}}
          - {model_name: own/*, litellm_params: {model: '*', api_base: 'http://h/v1'}}
          - {model_name: vllm/*, litellm_params: {model: '*', custom_llm_provider: hosted_vllm, api_base: 'http://h/v1'}}
          - {model_name: fix/*, litellm_params: {model: openai/gpt-4o}}
        a2py:
          quirks: {openai/gpt-4.1: {stop_limit: 1}}
        """,
        ENV,
    )
    first, second = config.resolve("openai/gpt-5.4")
    assert (first.name, first.id, first.model, first.wire, first.weight) == (
        "openai/gpt-5.4",
        "openai/*",
        "gpt-5.4",
        "responses",
        3.0,
    )
    assert first.quirks == find_quirks("openai", first.base, "gpt-5.4") and first.params == {"temperature": 0.5}
    assert (second.id, second.model, second.weight) == ("openrouter/openai/*", "openai/gpt-5.4", 3.0)
    assert (
        config.resolve("openai/gpt-4.1")[0].quirks.stop_limit == 1
        and config.resolve("openai/gpt-4.1")[0].wire == "chat"
    )
    assert config.resolve("az/my gpt")[0].base == "https://r.openai.azure.com/openai/deployments/my%20gpt"
    native = config.resolve("or/anthropic/claude-sonnet-5.5")[0]
    assert (native.wire, native.base) == ("native", "https://openrouter.ai/api")
    assert config.resolve("or/x/y")[0].wire == "chat"
    dep = config.resolve("resp/gpt-4o")[0]
    assert (dep.model, dep.wire, dep.wire_fixed) == ("gpt-4o", "responses", True)
    assert models(config, "own/openai/gpt-oss-20b") == ["openai/openai/gpt-oss-20b"]
    assert models(config, "vllm/openai/gpt-oss-20b") == ["hosted_vllm/openai/gpt-oss-20b"]
    assert models(config, "fix/anything") == ["openai/gpt-4o"]
    assert config.resolve("openai/gpt-5.4")[0] is first  # made once


def test_bound_models_are_bounded(config: Config) -> None:
    for i in range(MAX_BOUND + 10):
        config.resolve(f"openai/m{i}")
    assert len(config._names.bindings) <= MAX_BOUND


STAR = "model_list: [{model_name: '*', litellm_params: {model: %s}}, {model_name: named, litellm_params: {model: groq/named}}]\n%s"


@pytest.mark.parametrize(
    ("star", "more", "name", "expected"),
    [
        ("openai/*", "", "gpt-4o", "openai/gpt-4o"),
        ("openai/*", "", "openai/gpt-4o", "openai/gpt-4o"),
        ("openai/*", "", "named", "groq/named"),
        ("openai/*", "", "anthropic/named", "groq/named"),
        ("openai/*", "", "claude-opus-5-5", f"openai/{PROVIDERS['openai'].default_model}"),
        ("openai/*", "a2py: {default_model: named}", "claude-opus-5-5", "groq/named"),
        ("anthropic/*", "", "claude-opus-5-5", "anthropic/claude-opus-5-5"),
        ("anthropic/*", "a2py: {default_model: named}", "claude-opus-5-5", "groq/named"),
        ("openai/gpt-4o", "", "claude-opus-5-5", "openai/gpt-4o"),
        ("openai/gpt-4o", "", "whatever", "openai/gpt-4o"),
        ("groq/*", "", "openai/gpt-oss-20b", "groq/openai/gpt-oss-20b"),
        ("groq/*", "", "groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-20b"),
    ],
)
def test_a_bare_star(tmp_path: Path, star: str, more: str, name: str, expected: str) -> None:
    assert models(Folder(tmp_path).load(STAR % (star, more), ENV), name) == [expected]


def test_a_star_as_alias(tmp_path: Path) -> None:
    text = "model_list: [{model_name: named, litellm_params: {model: groq/named}}]\nrouter_settings: {model_group_alias: {'*': named}}\n"
    config = Folder(tmp_path).load(text, ENV)
    assert models(config, "whatever") == models(config, "claude-x") == ["groq/named"] and config.list_names() == (
        "named",
    )


def test_star_to_star_is_every_provider_with_a_key(tmp_path: Path) -> None:
    config = Folder(tmp_path).load("model_list: [{model_name: '*', litellm_params: {model: '*', temperature: 1}}]", ENV)
    assert models(config, "groq/x") == ["groq/x"] and models(config, "gpt-4o") == ["openai/gpt-4o"]
    assert models(config, "claude-opus-5-5") == ["anthropic/claude-opus-5-5"] and models(config, "openrouter/a/b") == [
        "openrouter/a/b"
    ]
    assert config.resolve("groq/x")[0].params == {"temperature": 1.0}
    with pytest.raises(ApiError, match=r"model: deepseek/x is not served here"):
        config.resolve("deepseek/x")


def test_star_to_star_without_any_key(tmp_path: Path) -> None:
    config = Folder(tmp_path).load("model_list: [{model_name: '*', litellm_params: {model: '*'}}]")
    with pytest.raises(ApiError, match=r"no provider has a key\. Set one"):
        config.resolve("gpt-4o")


@pytest.mark.parametrize(
    ("text", "home"),
    [
        (
            "model_list: [{model_name: a, litellm_params: {model: groq/a}}, {model_name: b, litellm_params: {model: groq/b}}]",
            "a",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: bedrock/a}}, {model_name: b, litellm_params: {model: groq/b}}]",
            "b",
        ),
        ("model_list: [{model_name: a, litellm_params: {model: bedrock/a}}]", "a"),
        ("model_list: [{model_name: w/*, litellm_params: {model: groq/*}}]", "w/" + PROVIDERS["groq"].default_model),
        (
            "model_list: [{model_name: v/*, litellm_params: {model: hosted_vllm/*, api_base: 'http://h'}}, {model_name: b, litellm_params: {model: groq/b}}]",
            "b",
        ),
        ("model_list: [{model_name: a, litellm_params: {model: groq/a}}]\na2py: {default_model: B}", ""),
        (
            "model_list: [{model_name: a, litellm_params: {model: groq/a}}, {model_name: b, litellm_params: {model: groq/b}}]\na2py: {default_model: B}",
            "B",
        ),
    ],
)
def test_where_unknown_claude_names_go(tmp_path: Path, text: str, home: str) -> None:
    config = Folder(tmp_path).load(text, ENV)
    assert config.default_name == home
    if not home:
        with pytest.raises(ApiError, match="not served"):
            config.resolve("claude-opus-5-5")


def test_a_config_made_by_hand() -> None:
    deps = (
        Deployment("a", "1", "groq", "a", "http://h"),
        Deployment("w/*", "2", "openai", "*", "https://api.openai.com/v1"),
        Deployment("c/*", "3", "zzz", "x", "", problem="broken"),
    )
    config = Config(
        deps, default_name="a", settings=Settings(quirks={"w/*": {"stop_limit": 9}, "w/gpt-5": {"stop_limit": 1}})
    )
    assert config.resolve("claude-x") == deps[:1]
    (bound,) = config.resolve("w/gpt-4o")
    assert (bound.name, bound.model, bound.quirks.stop_limit) == ("w/gpt-4o", "gpt-4o", 9)
    assert config.resolve("w/gpt-5")[0].quirks.stop_limit == 1
    with pytest.raises(ApiError, match="broken"):
        config.resolve("c/d")
    assert Config().list_names() == () and Config().default_name == ""
    with pytest.raises(ApiError, match="known names: none"):
        Config().resolve("claude-x")


def test_many_names_are_not_all_told() -> None:
    deps = tuple(Deployment(f"name-{i}", str(i), "x", "m", "http://h") for i in range(MAX_SUGGESTIONS + 3))
    with pytest.raises(ApiError, match=r"name-39 and 3 more"):
        Config(deps).resolve("zzz")


def test_filling_stars() -> None:
    assert (
        fill_stars("a*b*", ("1", "2")) == "a1b2"
        and fill_stars("a", ("1",)) == "a"
        and fill_stars("*-*", ("1",)) == "1-*"
    )


def test_the_keys_of_the_environment_give_names() -> None:
    config = from_environment({"GROQ_API_KEY": "k"})
    assert config is not None
    assert models(config, "groq/x") == ["groq/x"] and models(config, "x/y") == ["groq/x/y"]
    assert models(config, "claude-opus-5-5") == [f"groq/{PROVIDERS['groq'].default_model}"]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a*", "a", ("",)),
        ("a*", "Abc", ("bc",)),
        ("*a*b", "xaab", ("xa", "")),
        ("*a*b", "b", None),
        ("ab*ba", "aba", None),
        ("a**", "abc", ("bc", "")),
        ("*.*.*", "1.2.3.4", ("1.2", "3", "4")),
        ("*-x", "İ-X", None),  # its lower case is two characters: case counts then
        ("*-x", "İ-x", ("İ",)),
    ],
)
def test_stars(pattern: str, name: str, expected: tuple[str, ...] | None) -> None:
    assert match_stars(tuple(pattern.split("*")), name) == expected
    same = re.compile(
        "(.*)".join(map(re.escape, pattern.split("*"))), re.DOTALL if "İ" in name else re.DOTALL | re.IGNORECASE
    )
    match = same.fullmatch(name)
    assert (match.groups() if match else None) == expected


def test_a_name_without_end_is_not_looked_up(tmp_path: Path) -> None:
    config = Folder(tmp_path).load(
        "model_list:\n  - model_name: 'm*'\n    litellm_params: {model: openai/*, api_key: k}\n"
    )
    assert config.resolve("m" * MAX_NAME)
    with pytest.raises(ApiError, match="is not served here"):
        config.resolve("m" * (MAX_NAME + 1))


def test_a_server_behind_a_wildcard_that_means_one_model(tmp_path: Path) -> None:
    """`claude-*` → one model, the usual file for a server of one's own. What the server said was never used."""
    entry = (
        "{model_name: claude-*, litellm_params: {model: openai/qwen, api_base: 'http://127.0.0.1:9/v1', api_key: k}}"
    )
    config = Folder(tmp_path).load(f"model_list: [{entry}]\n")
    word = ServerWord("llama.cpp", "llamacpp", models=(ListedModel("qwen", 4096),), slots=2, reason="its /props")
    update = config.with_servers({"http://127.0.0.1:9/v1": word})
    (bound,) = update.resolve("claude-sonnet-5-5")
    assert (bound.model, bound.slots, bound.max_input_tokens) == ("qwen", 2, 4096)
    assert update.list_names() == config.list_names()
