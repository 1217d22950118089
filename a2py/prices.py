"""What tokens cost: the price of one model, from LiteLLM's keys, and the cost of a usage by it.

Knows: LiteLLM's names of prices (docs.litellm.ai, custom pricing, 2026-11). Must not know: where a price comes from,
which models there are.
Invariants: a cost is never guessed: if a price is missing for tokens that were used, the cost is None. Cached tokens
without a price of their own cost as much as other input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, Protocol

#: Field of Rates → LiteLLM's key.
KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_hour": "cache_creation_input_token_cost_above_1hr",
    "thinking": "output_cost_per_reasoning_token",
}
#: Dollars a token. With more, a cost could be infinite, which neither a sum nor JSON can hold.
MOST = 1e6
#: A key of a tier, for example `input_cost_per_token_above_200k_tokens`.
_TIER = re.compile(r"(.+)_above_(\d{1,6})k_tokens")
#: LiteLLM's keys of prices, also those that no cost here is made of (its list of prices and its types,
#: 1.108.7): images, searches, rates of `service_tier`.
_LITELLM = re.compile(
    r"""(?:
        (?:input|output)_(?:dbu_)?cost_per_(?:token|second|pixel|character|query|request|text_message|reasoning_token
            |image(?:_token)?|(?:audio|video)_(?:token|per_second))(?:_cache_hit|_\d+p|_[\d.]+[kK]?)?
        |(?:explicit_)?cache_(?:creation|read)_input_(?:audio_|image_)?token_cost
        |computer_use_(?:input|output)_cost_per_1k_tokens|file_search_cost_per_(?:1k_calls|gb_per_day)
        |(?:search_context|google_maps_grounding)_cost_per_query|vector_store_cost_per_gb_per_day
        |(?:annotation|ocr)_cost_per_(?:page|credit)|code_interpreter_cost_per_session|citation_cost_per_token
        |guardrail_cost_per_unit|cost_per_(?:second|ptu_per_hour)|mcp_server_cost_info
    )(?:_above_1hr)?(?:_above_\d+(?:k_tokens|s_interval))?
    (?:_(?:batches|flex|priority|ultrafast|decisions|balanced))?""",
    re.VERBOSE,
)


class Tokens(Protocol):
    """A usage (messages/types.py): `input` without the cached ones, `output` with the `thinking`; `cache_hour`: those
    of `cache_creation` that are kept for an hour; `prompt`: all of the input, cached or not."""

    input: int
    output: int
    cache_read: int
    cache_creation: int
    cache_hour: int
    thinking: int

    @property
    def prompt(self) -> int: ...


class Rates(NamedTuple):
    """US dollars a token; None: not known. `cache_write_hour`: for entries that are kept for an hour, None: as
    `cache_write`; `thinking`: of reasoning tokens, None: as other output."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_hour: float | None = None
    thinking: float | None = None

    def cost(self, usage: Tokens) -> float | None:
        """Return the cost of `usage` in US dollars; None if a price that it needs is not known."""
        write = self.input if self.cache_write is None else self.cache_write
        hour = min(usage.cache_hour, usage.cache_creation)
        thinking = min(usage.thinking, usage.output)
        total = 0.0
        for tokens, rate in (
            (usage.input, self.input),
            (usage.cache_read, self.input if self.cache_read is None else self.cache_read),
            (usage.cache_creation - hour, write),
            (hour, write if self.cache_write_hour is None else self.cache_write_hour),
            (usage.output - thinking, self.output),
            (thinking, self.output if self.thinking is None else self.thinking),
        ):
            if tokens:
                if rate is None:
                    return None
                total += tokens * rate
        return total


class Price(NamedTuple):
    """`tiers`: (prompt tokens, rates), the highest first. A prompt with more tokens, cached ones included, is charged
    by them as a whole."""

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()

    def is_complete(self, has_output: bool) -> bool:
        """Return whether it is known what input costs, and output if there is any."""
        return self.rates.input is not None and (self.rates.output is not None or not has_output)

    def is_free(self, has_output: bool) -> bool:
        """Return whether input costs nothing, and output neither if there is any."""
        return self.rates.input == 0 and (self.rates.output == 0 or not has_output)

    def cost(self, usage: Tokens) -> float | None:
        """Return the cost of one answer in US dollars; None if it is not known."""
        if self.tiers:
            for threshold, rates in self.tiers:
                if usage.prompt > threshold:
                    return rates.cost(usage)
        return self.rates.cost(usage)


def read_price(values: Mapping[str, Any]) -> Price | None:
    """Return the price in `values`, a mapping that may hold LiteLLM's keys beside others; None if it holds none.

    What a tier does not say itself is as in the base price."""
    base = _rates(values, "")
    tiers: dict[int, str] = {}
    for key in values:
        match = _TIER.fullmatch(key)
        if match is not None and match[1] in KEYS.values():
            tiers[int(match[2]) * 1000] = f"_above_{match[2]}k_tokens"
    if base == Rates() and not tiers:
        return None
    above = []
    for threshold, suffix in sorted(tiers.items(), reverse=True):
        own = _rates(values, suffix)
        rates = (base_rate if rate is None else rate for rate, base_rate in zip(own, base, strict=True))
        above.append((threshold, Rates(*rates)))
    return Price(base, tuple(above))


def _rates(values: Mapping[str, Any], suffix: str) -> Rates:
    return Rates(**{name: read_rate(values.get(key + suffix)) for name, key in KEYS.items()})


def read_rate(value: Any) -> float | None:
    """Return a price as a number; None if it is none: missing, not a number, negative or above MOST."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= MOST else None


def is_price_key(key: str) -> bool:
    """Return whether `read_price` reads `key`."""
    match = _TIER.fullmatch(key)
    return (key if match is None else match[1]) in KEYS.values()


def find_mistake(key: str) -> str | None:
    """Return what was perhaps meant by a key of a price, "" for nothing; None if LiteLLM has `key`.

    For example `input_cost_per_tokn` → `input_cost_per_token`, `…_above_200000_tokens` → `…_above_200k_tokens`."""
    if _LITELLM.fullmatch(key):
        return None
    head, digits = key, ""
    if match := re.fullmatch(r"(.+)_above_(\d{1,9})(?![\dh])[a-zA-Z_]*", key):
        head, digits = match[1], match[2]
    near = get_close_matches(head, KEYS.values(), 1, 0.75)
    if not near or not digits:
        return near[0] if near else ""
    count = digits.removesuffix("000") or digits
    return f"{near[0]}_above_{count}k_tokens"
