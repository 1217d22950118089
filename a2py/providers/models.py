"""Quirks of model families, as data.

Knows: names of model families and what they take. Must not know: how a row is applied (choose.py).
Invariants: a row without providers holds only what is the model's own nature, whoever serves it.
"""

from __future__ import annotations

from a2py.providers.types import ModelRow

MODELS: tuple[ModelRow, ...] = ()

#: api.openai.com models that refuse reasoning together with tools on chat completions.
RESPONSES_MODELS = ("gpt-5*", "o1*", "o3*", "o4*", "codex*")
