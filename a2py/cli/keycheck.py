"""The file of keys that a start uses, and whether it can be used.

Knows: where keys.yaml is, what its budgets need. Must not know: its fields, who asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from a2py.config import Config
from a2py.config.dotenv import find_keys


def with_keys(config: Config, env: Mapping[str, str]) -> Config:
    """Return `config` with the user's own file of keys, unless a configuration file says that another one is beside
    it."""
    return config if config.keys_path else replace(config, keys_path=find_keys(None, env))


def check_keys(config: Config | None) -> bool:
    """Return whether clients need a key of keys.yaml. Raise ConfigError if its keys can't be used."""
    config = with_keys(config or Config(), os.environ)
    if not os.path.exists(config.keys_path):
        return False
    from a2py.proxy.bookkeeper import has_sqlite
    from a2py.proxy.keys import check_budgets, read_keys

    rows = read_keys(config.keys_path)
    check_budgets(rows, config.settings.ledger is not False and has_sqlite())
    return bool(rows)
