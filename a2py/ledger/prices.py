"""The price of a deployment: what the configuration says, else the list price of the shipped table.

Knows: the table (tools/prices.py writes it), how providers name the same model. Must not know: tokens, rows.
Invariants: a list price is used only at the provider's own host; the table is read when a price is needed for the first
time; at most MAX_PRICES look-ups are kept.
"""

from __future__ import annotations

import pkgutil
import re
from typing import Any, NamedTuple

import orjson

from a2py.deployment import Deployment
from a2py.prices import Price, Rates
from a2py.providers import find_host_row

#: Look-ups that are kept. With a wildcard, clients choose the models' names.
MAX_PRICES = 1024
#: A date, or `latest`, at the end of a model's name: the price is that of the name without it.
_DATE = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d|latest)\Z")


class Table(NamedTuple):
    """`date`: when the prices were read; `source`: from what; `models`: `provider/model` → row of the table."""

    date: str
    source: str
    models: dict[str, list[Any]]


class PriceList:
    """The prices that this process has looked up."""

    def __init__(self) -> None:
        self._table: Table | None = None
        self._prices: dict[tuple[str, str, str], Price | None] = {}

    def find(self, deployment: Deployment) -> Price | None:
        """Return the price of `deployment`; None if it is not known."""
        if deployment.price is not None:
            return deployment.price
        key = (deployment.base, deployment.provider, deployment.base_model or deployment.model)
        try:
            return self._prices[key]
        except KeyError:
            pass
        if len(self._prices) >= MAX_PRICES:
            self._prices.clear()
        price = self._prices[key] = self._look_up(*key)
        return price

    def is_complete(self, deployment: Deployment, *, has_output: bool = True) -> bool:
        """Return whether the price of `deployment` is known as far as a budget needs it. `has_output`: the request is
        one whose answer may have output tokens."""
        price = self.find(deployment)
        return price is not None and price.is_complete(has_output and deployment.has_output)

    def is_free(self, deployment: Deployment, *, has_output: bool = True) -> bool:
        """Return whether `deployment` costs nothing."""
        price = self.find(deployment)
        return price is not None and price.is_free(has_output and deployment.has_output)

    def _look_up(self, base: str, provider: str, model: str) -> Price | None:
        if find_host_row(base) != provider:
            return None
        if self._table is None:
            self._table = read_table()
        name = f"{provider}/{model.removeprefix(f'{provider}/')}".lower()
        row = self._table.models.get(name) or self._table.models.get(_DATE.sub("", name))
        return None if row is None else read_row(row)


def read_table() -> Table:
    """Return the shipped table."""
    data = pkgutil.get_data("a2py.ledger", "price_table.json")  # works inside a zip file, too
    assert data is not None
    return Table(**orjson.loads(data))


def read_row(row: list[Any]) -> Price:
    """Return the price of a row: its rates, then `[tokens, rates]` for each tier."""
    rates, *tiers = row
    return Price(Rates(*rates), tuple((threshold, Rates(*above)) for threshold, above in tiers))
