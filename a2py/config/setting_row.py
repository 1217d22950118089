"""One row of the table of settings, and the sections of the file.

Knows: what a row holds, the defaults of what it fills. Must not know: any key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from a2py.config.settings import Entry, Server, Settings
from a2py.config.values import Parser

LITELLM, ROUTER, GENERAL, OWN = "litellm_settings.", "router_settings.", "general_settings.", "a2py."
ITEM, PARAM, INFO = "model_list[].", "model_list[].litellm_params.", "model_list[].model_info."


def find_no_mistake(key: str) -> str | None:
    return None


class Setting(NamedTuple):
    """One row. `attr`: the attribute of Settings, Server or Entry that it fills.

    `kind`: `set` (has an effect), `ignored` (known, without a warning: nothing is lost) or `warned` (known and named in
    a warning: a2py lacks what the file asks for). `find_mistake`: returns what was perhaps meant by a key that a
    pattern of `paths` matches, "" for nothing; None if the key is right."""

    paths: tuple[str, ...]
    attr: str
    parse: Parser
    default: Any
    meaning: str
    kind: str = "set"
    find_mistake: Callable[[str], str | None] = find_no_mistake


def _defaults(cls: Any) -> dict[str, Any]:
    return {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(cls)}


_ENTRY_DEFAULTS = _defaults(Entry)
_OTHER_DEFAULTS = {**_defaults(Settings), **_defaults(Server)}


def make_row(attr: str, parse: Parser, meaning: str, *paths: str) -> Setting:
    """Return the row of an attribute, with the default of its dataclass. `paths`: where it may stand; the last one that
    is set wins."""
    defaults = _ENTRY_DEFAULTS if paths[0].startswith(ITEM) else _OTHER_DEFAULTS
    return Setting(paths, attr, parse, defaults[attr], meaning)
