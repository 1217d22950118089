"""What tokens cost: rates, tiers, LiteLLM's keys."""

from __future__ import annotations

import pytest

from a2py.messages.types import Usage
from a2py.prices import Price, Rates, find_mistake, is_price_key, read_price, read_rate

SONNET = {
    "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05,
    "cache_read_input_token_cost": 3e-07,
    "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_1hr": 6e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06,
    "output_cost_per_token_above_200k_tokens": 2.25e-05,
    "max_input_tokens": 200000,
}


def price(**keys: float) -> Price:
    result = read_price(keys)
    assert result is not None
    return result


def test_each_kind_of_token_has_its_price() -> None:
    sonnet = price(**SONNET)
    usage = Usage(input=1000, cache_read=10_000, cache_creation=500, cache_hour=200, output=100)
    assert sonnet.cost(usage) == pytest.approx(0.003 + 0.003 + 300 * 3.75e-6 + 200 * 6e-6 + 0.0015)
    assert sonnet.cost(Usage()) == 0


def test_a_longer_prompt_is_charged_by_its_tier_as_a_whole() -> None:
    sonnet = price(**SONNET)
    assert sonnet.cost(Usage(input=200_000)) == pytest.approx(0.6)
    assert sonnet.cost(Usage(input=1, cache_read=200_000)) == pytest.approx(6e-6 + 0.06), (
        "the cache's price is the base's"
    )
    two = price(
        input_cost_per_token_above_128k_tokens=2, input_cost_per_token_above_256k_tokens=3, input_cost_per_token=1
    )
    assert [two.cost(Usage(input=n)) for n in (128_000, 128_001, 256_001)] == [128_000, 256_002, 768_003]


def test_what_has_no_price_of_its_own_costs_as_other_input_or_output() -> None:
    plain = price(input_cost_per_token=2, output_cost_per_token=3)
    usage = Usage(input=1, cache_read=10, cache_creation=100, cache_hour=1000, output=5, thinking=4)
    assert plain.cost(usage) == 2 * 111 + 3 * 5
    thinking = price(output_cost_per_token=3, output_cost_per_reasoning_token=1)
    assert thinking.cost(Usage(output=5, thinking=4)) == 3 + 4
    assert thinking.cost(Usage(output=5, thinking=9)) == 5, "no more thinking than output"


def test_a_missing_price_is_never_zero() -> None:
    assert price(input_cost_per_token=2).cost(Usage(input=1, output=1)) is None
    assert price(input_cost_per_token=2).cost(Usage(input=1)) == 2
    assert price(output_cost_per_token=0, input_cost_per_token=0).cost(Usage(input=1, output=1)) == 0
    assert read_price({"max_tokens": 5, "input_cost_per_token_batches": 1, "x_above_200k_tokens": 1}) is None
    assert read_price({"input_cost_per_token_above_200k_tokens": 1}) == Price(Rates(), ((200_000, Rates(1.0)),))


@pytest.mark.parametrize("value", [None, "3e-6", True, -1, float("inf"), float("nan"), 1e7, [], {}])
def test_what_is_no_price(value: object) -> None:
    assert read_rate(value) is None


def test_which_keys_are_prices() -> None:
    assert all(map(is_price_key, list(SONNET)[:-1]))
    assert not is_price_key("max_input_tokens") and not is_price_key("max_tokens_above_200k_tokens")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("input_cost_per_token", None),
        ("output_cost_per_token_above_200k_tokens", None),
        ("cost_per_second", None),
        ("input_cost_per_tokn", "input_cost_per_token"),
        ("outputcost_per_token", "output_cost_per_token"),
        ("input_cost_per_token_above_200000_tokens", "input_cost_per_token_above_200k_tokens"),
        ("input_cost_per_tokn_above_50_tokens", "input_cost_per_token_above_50k_tokens"),
        ("my_cost_center", ""),
        ("my_cost_center_above_50_tokens", ""),
    ],
)
def test_what_a_misspelt_price_was_perhaps_meant_to_be(key: str, meant: str | None) -> None:
    assert find_mistake(key) == meant


def test_a_price_is_complete_without_output_where_there_is_none() -> None:
    half, free = price(input_cost_per_token=2), price(input_cost_per_token=0)
    assert half.is_complete(has_output=False) and not half.is_complete(has_output=True)
    assert free.is_free(has_output=False) and not free.is_free(has_output=True)
    assert not half.is_free(has_output=False) and not price(output_cost_per_token=1).is_complete(has_output=False)
