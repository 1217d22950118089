"""The keys of the ledger and of prices.

Knows: LiteLLM's names of prices (docs.litellm.ai, custom pricing, 2026-11) and our own. Must not know: what a price is
used for.
"""

from __future__ import annotations

import os

from a2py.config import values as v
from a2py.config.setting_row import INFO, OWN, PARAM, make_row
from a2py.config.tree import Node
from a2py.prices import KEYS, find_mistake

#: Beginnings of the keys of prices.
PRICE_KEYS = tuple(key for key in KEYS.values() if not key.endswith("_above_1hr"))


def _ledger(node: Node, path: str) -> bool | str:
    """Parse true, false, or the path of a file that could be there."""
    value = v.switch_or_path(node, path)
    if not isinstance(value, str):
        return value
    file = os.path.abspath(os.path.expanduser(value))
    above = os.path.dirname(file)
    while not os.path.lexists(above) and above != os.path.dirname(above):
        above = os.path.dirname(above)
    if os.path.isdir(file) or not os.path.isdir(above):
        what = "names a folder" if os.path.isdir(file) else "names a file in something that is no folder"
        raise v.fail(node.at, path, what, "Write the path of a file, which a2py makes.")
    return value


LEDGER = (
    make_row(
        "ledger",
        _ledger,
        "false: keep no row of each answer; a path: keep them there ([usage.md](usage.md))",
        OWN + "ledger",
    ),
    make_row("ledger_days", v.number(0), "days for which rows are kept; 0: for ever", OWN + "ledger_days"),
    make_row("ledger_mb", v.whole(1), "largest size of the ledger, MB; the oldest rows go first", OWN + "ledger_mb"),
    make_row(
        "prices",
        v.prices,
        "name, id, `provider/model` or pattern → LiteLLM's prices ([usage.md](usage.md#prices))",
        OWN + "prices",
    ),
)

PRICES = make_row(
    "prices",
    v.number(0),
    "US dollars a token; a key may end with `_above_200k_tokens` (or another number of thousands), for prompts that are"
    " longer",
    *(section + key + "*" for section in (INFO, PARAM) for key in PRICE_KEYS),  # the last one holds
)._replace(find_mistake=find_mistake)
