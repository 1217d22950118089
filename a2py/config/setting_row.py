"""One row of the table of settings, and the sections of the file.

Knows: what a row holds. Must not know: any key.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2py.config.values import Parser

LITELLM, ROUTER, GENERAL, OWN = "litellm_settings.", "router_settings.", "general_settings.", "a2py."
ITEM, PARAM, INFO = "model_list[].", "model_list[].litellm_params.", "model_list[].model_info."


class Setting(NamedTuple):
    """One row. `attr`: the attribute of Settings, Server or Entry that it fills.

    `kind`: `set` (has an effect), `ignored` (known, without a warning: nothing is lost) or `warned` (known and named in
    a warning: a2py lacks what the file asks for)."""

    paths: tuple[str, ...]
    attr: str
    parse: Parser
    default: Any
    meaning: str
    kind: str = "set"
