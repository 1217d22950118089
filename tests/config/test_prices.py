"""Prices of the file: LiteLLM's keys at a model, and `a2py: prices`."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.prices import Price, Rates, find_mistake
from tests.configured import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_litellms_keys_at_the_model(folder: Folder) -> None:
    """YAML reads 3e-06 as text; litellm_params wins over model_info, key by key (LiteLLM's Deployment, 2026-11)."""
    params = (
        "{model: openai/x, api_key: k, input_cost_per_token: 3e-06, cache_read_input_token_cost: 0.0000003,"
        " input_cost_per_token_above_200k_tokens: 6e-6, input_cost_per_token_batches: 1}"
    )
    info = (
        "{output_cost_per_token: 15e-6, input_cost_per_token: 7, cache_creation_input_token_cost_above_1hr: 0.5,"
        " max_input_tokens: 1000}"
    )
    config = folder.load(f"model_list: [{{model_name: m, litellm_params: {params}, model_info: {info}}}]")
    (dep,) = config.deployments
    rates = Rates(3e-06, 1.5e-05, 3e-07, None, 0.5)
    assert dep.price == Price(rates, ((200_000, rates._replace(input=6e-6)),)) and dep.max_input_tokens == 1000
    assert config.warnings == (), "no key is unknown"


def test_without_a_price_there_is_none(folder: Folder) -> None:
    assert folder.one("{model: openai/x, api_key: k, input_cost_per_second: 1}").price is None


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("input_cost_per_tokn", "input_cost_per_token"),
        ("input_cost_per_tokens", "input_cost_per_token"),
        ("output_cost_per_token_above_50_tokens", "output_cost_per_token_above_50k_tokens"),
        ("input_cost_per_token_above_200000_tokens", "input_cost_per_token_above_200k_tokens"),
        ("input_cost_per_token_above_200K_tokens", "input_cost_per_token_above_200k_tokens"),
        ("input_cost_per_token_above_128k", "input_cost_per_token_above_128k_tokens"),
        ("input_costs_per_token_above_200k_tokens", "input_cost_per_token_above_200k_tokens"),
        ("cache_read_input_tokens_cost", "cache_read_input_token_cost"),
        ("cache_creation_input_token_cost_above_1h", "cache_creation_input_token_cost_above_1hr"),
        ("cost", ""),
        ("input_cost_per_token_vip", "input_cost_per_token"),
    ],
)
@pytest.mark.parametrize("section", ["litellm_params", "model_info"])
def test_a_misspelt_price_is_named(folder: Folder, section: str, key: str, meant: str) -> None:
    params = "{model: openai/x, api_key: k}"
    text = (
        "model_list:\n  - model_name: m\n    litellm_params: {model: openai/x, api_key: k}\n    model_info: {id: i}\n"
    )
    name, params = ("model: openai/x", "model: openai/x, ") if section == "litellm_params" else ("id: i", "id: i, ")
    config = folder.load(text.replace(name, f"{params}{key}: 4"))
    (warning,) = config.warnings
    hint = f" Did you mean `{meant}`?" if meant else ""
    assert warning.endswith(f"`model_list[0].{section}.{key}` is unknown and ignored.{hint}")
    assert warning.startswith("litellm_config.yaml:")
    assert config.mistakes == ((warning,) if meant else ()) and config.deployments[0].price is None


def test_a_price_beside_the_parameters_is_named(folder: Folder) -> None:
    text = "model_list: [{model_name: m, input_cost_per_token: 4, litellm_params: {model: openai/x, api_key: k}}]"
    (warning,) = folder.load(text).warnings
    assert "`model_list[0].input_cost_per_token` is" in warning and "`litellm_params.input_cost_per_token`?" in warning


def test_what_is_no_price_is_not_sent_to_the_parameters(folder: Folder) -> None:
    text = "model_list: [{model_name: m, my_cost_center: 4, litellm_params: {model: openai/x, api_key: k}}]"
    config = folder.load(text)
    (warning,) = config.warnings
    assert warning.endswith("`model_list[0].my_cost_center` is unknown and ignored.") and config.mistakes == ()


@pytest.mark.parametrize(
    "key",
    [
        "input_cost_per_second",
        "output_cost_per_pixel",
        "input_cost_per_token_cache_hit",
        "input_cost_per_token_priority",
        "cache_read_input_token_cost_above_272k_tokens_flex",
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
        "output_cost_per_image_0.5K",
        "output_cost_per_image_1024",
        "output_cost_per_second_720p",
        "cache_read_input_image_token_cost",
        "input_cost_per_video_per_second_above_8s_interval",
        "search_context_cost_per_query",
        "input_dbu_cost_per_token",
        "output_cost_per_reasoning_token_flex",
        "ocr_cost_per_page_batches",
        "input_cost_per_image_token_batches",
        "input_cost_per_audio_token_above_200k_tokens_batches",
        "explicit_cache_read_input_token_cost",
        "cost_per_ptu_per_hour",
        "computer_use_input_cost_per_1k_tokens",
        "file_search_cost_per_1k_calls",
        "input_cost_per_text_message",
    ],
)
def test_what_litellm_knows_is_no_mistake(folder: Folder, key: str) -> None:
    text = f"model_list: [{{model_name: m, litellm_params: {{model: openai/x, api_key: k, {key}: 1}}}}]"
    assert folder.load(text).warnings == () and find_mistake(key) is None


MANY = """
model_list:
  - {model_name: a, litellm_params: {model: openrouter/x/one, api_key: k}}
  - {model_name: b, litellm_params: {model: openrouter/x/two, api_key: k}}
  - {model_name: c, litellm_params: {model: openrouter/y/three, api_key: k, input_cost_per_token: 4}}
  - {model_name: d/*, litellm_params: {model: groq/*, api_key: k}}
a2py:
  prices:
    "openrouter/*": {input_cost_per_token: 1}
    "openrouter/x/*": {input_cost_per_token: 2}
    b: {input_cost_per_token: 3}
    "groq/llama*": {input_cost_per_token: 5, output_cost_per_token: 6}
    none: {}
"""


def test_an_exact_name_wins_over_a_pattern_and_a_longer_one_over_a_shorter(folder: Folder) -> None:
    config = folder.load(MANY)
    prices = [config.resolve(name)[0].price for name in ("a", "b", "c", "d/llama-4", "d/gemma")]
    assert prices == [
        Price(Rates(2.0)),
        Price(Rates(3.0)),
        Price(Rates(4.0)),
        Price(Rates(5.0, 6.0)),
        None,
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a2py: {prices: {m: {input: 3}}}", "must be one of LiteLLM's prices"),
        ("a2py: {prices: {m: {input_cost_per_tokn: 3}}}", "Write `input_cost_per_token`."),
        (
            "a2py: {prices: {m: {output_cost_per_token_above_50_tokens: 3}}}",
            "`output_cost_per_token_above_50k_tokens`.",
        ),
        ("a2py: {prices: {m: {input_cost_per_token: cheap}}}", "must be a number of at least 0"),
        ("a2py: {prices: {m: {input_cost_per_token: -1}}}", "must be a number of at least 0"),
        ("a2py: {prices: 3}", "must be a mapping"),
        ("a2py: {ledger: [x]}", "must be true or false"),
        ("a2py: {ledger: /etc}", "litellm_config.yaml:1: `a2py.ledger` names a folder. Write the path of a file"),
        ("a2py: {ledger: /etc/passwd/u.db}", "`a2py.ledger` names a file in something that is no folder."),
        ("a2py: {ledger: /etc/passwd/a/b/u.db}", "`a2py.ledger` names a file in something that is no folder."),
    ],
)
def test_what_is_wrong_is_said(folder: Folder, text: str, expected: str) -> None:
    assert expected in str(folder.mistake(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [("false", False), ("off", False), ("true", True), ("/var/x.db", "/var/x.db"), ("~/x.db", "~/x.db")],
)
def test_where_the_ledger_is(folder: Folder, text: str, value: bool | str) -> None:
    settings = folder.load(f"a2py: {{ledger: {text}, ledger_days: 7, ledger_mb: 5}}").settings
    assert (settings.ledger, settings.ledger_days, settings.ledger_mb) == (value, 7, 5)
    assert folder.load("model_list: []").settings.ledger is True
