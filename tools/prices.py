"""Write a2py/ledger/price_table.json from a wheel of LiteLLM: `python -m tools.prices litellm-1.2.3-….whl 2026-11-30`.

Get the wheel with `pip download --no-deps litellm`. Only facts are taken: the list prices, per token, of models at the
providers of a2py's provider table. The date is the day on which the wheel was read; the table shows it.

Knows: LiteLLM's price file. Must not know: how a price is used.
Invariants: the same wheel and date give the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

from a2py.prices import Price, Rates, read_price
from a2py.providers import PROVIDERS

TARGET = Path(__file__).resolve().parents[1] / "a2py" / "ledger" / "price_table.json"
SOURCE = "litellm/model_prices_and_context_window_backup.json"
MODES = frozenset(("chat", "completion", "responses", "embedding"))
#: LiteLLM's provider → ours, where they differ.
PROVIDER_NAMES = {"text-completion-openai": "openai", "azure_ai": "azure", "text-completion-codestral": "codestral"}


def main(wheel: str, date: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        models = json.loads(archive.read(SOURCE))
    version = re.search(r"litellm-([0-9.]+)", Path(wheel).name)
    prices = collect_prices(models)
    lines = [f" {json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in sorted(prices.items())]
    head = f'{{"date": "{date}", "source": "LiteLLM {version[1] if version else "?"}", "models": {{\n'
    TARGET.write_text(head + ",\n".join(lines) + "\n}}\n", "utf-8")
    print(f"{TARGET}: {len(prices)} models, {TARGET.stat().st_size // 1024} KB")


def collect_prices(models: dict[str, Any]) -> dict[str, list[Any]]:
    """Return `provider/model` → row: the rates, and a list `[tokens, rates]` for each tier. Trailing nulls are left
    out."""
    out: dict[str, list[Any]] = {}
    for name, values in models.items():
        provider = PROVIDER_NAMES.get(values.get("litellm_provider"), values.get("litellm_provider"))
        if provider not in PROVIDERS or values.get("mode") not in MODES:
            continue
        price = read_price(values)
        if price is None or not (price.rates.input or price.rates.output):
            continue  # 0 is how LiteLLM's file says that a price is not by the token
        key = f"{provider}/{strip_provider(name, str(values['litellm_provider']), provider)}".lower()
        if key not in out or name.startswith(f"{values['litellm_provider']}/"):
            out[key] = make_row(price)
    return out


def strip_provider(name: str, *providers: str) -> str:
    for provider in providers:
        if name.startswith(f"{provider}/"):
            return name[len(provider) + 1 :]
    return name


def make_row(price: Price) -> list[Any]:
    tiers = [[threshold, shorten(rates)] for threshold, rates in price.tiers]
    return [shorten(price.rates), *tiers]


def shorten(rates: Rates) -> list[float | None]:
    values = list(rates)
    while values and values[-1] is None:
        values.pop()
    return values


if __name__ == "__main__":
    main(*sys.argv[1:])
