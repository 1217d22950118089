"""LiteLLM's `fallbacks`: which names are asked after a name.

Knows: the two shapes of the table. Must not know: when a fallback is asked (router.py).
"""

from __future__ import annotations

from typing import Any


def fallbacks_for(table: Any, name: str) -> tuple[str, ...]:
    """Return the models that LiteLLM's `fallbacks` have for `name`. `table`: a mapping, or a list of one-entry
    mappings; `*` means any name.

    `fallbacks_for([{"a": ["b", "c"]}, {"*": "d"}], "a")` is `("b", "c")`."""
    entries = [table] if isinstance(table, dict) else list(table or ())
    for key in (name, "*"):
        for entry in entries:
            if isinstance(entry, dict) and key in entry:
                value = entry[key]
                return (value,) if isinstance(value, str) else tuple(value)
    return ()
