"""Prices of the file: LiteLLM's keys at a model, and `a2py: prices`."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.prices import Price, Rates
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
        ("a2py: {prices: {m: {input_cost_per_token: cheap}}}", "must be a number of at least 0"),
        ("a2py: {prices: {m: {input_cost_per_token: -1}}}", "must be a number of at least 0"),
        ("a2py: {prices: 3}", "must be a mapping"),
        ("a2py: {ledger: [x]}", "must be true or false"),
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
