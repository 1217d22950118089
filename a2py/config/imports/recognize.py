"""Recognize whose configuration a text is, by its content.

Knows: the marks of each program. Must not know: what its keys mean.
Invariants: pure; a text of nobody's is a ConfigError that says what is known.
"""

from __future__ import annotations

from typing import Any

from a2py.config.dotenv import read_dotenv
from a2py.config.error import ConfigError
from a2py.config.imports import json5
from a2py.config.imports.ccr import import_router
from a2py.config.imports.draft import Draft, Source
from a2py.config.imports.variables import import_variables, recognize
from a2py.config.tree import ENVIRON

FORMATS = "config.json of claude-code-router, .env of claude-code-proxy or free-claude-code"


def translate(text: str, source: Source) -> Draft:
    """Return the configuration that `text` means. Raise ConfigError if it is nobody's that is known."""
    if _is_json(text):
        return _translate_json(json5.parse(text, source.name), source)
    if any(line.startswith("model_list:") for line in text.splitlines()):
        raise _litellm(source)
    warnings: list[str] = []
    variables = read_dotenv(text, source.name, source.env, warnings.append)
    # Such a text is nothing special to its own program. In our file it would stand for another variable's value.
    references = sorted(name for name, value in variables.items() if ENVIRON in value)
    variables = {name: value for name, value in variables.items() if name not in references}
    program = recognize(variables, is_named=True)
    if not program:
        raise ConfigError(f"it is not recognized. Known are: {FORMATS}", file=source.name)
    draft = import_variables(program, variables, source)
    for line in warnings:
        draft.note(line)
    for name in references:
        draft.note(f"{name} is not carried: its value contains {ENVIRON}, which would name another variable here.")
    return draft


def _translate_json(tree: Any, source: Source) -> Draft:
    keys = {key.lower() for key in tree} if isinstance(tree, dict) else set()
    if "model_list" in keys:
        raise _litellm(source)
    if not keys & {"providers", "router"}:
        raise ConfigError(f"it is not recognized. Known are: {FORMATS}", file=source.name)
    return import_router(tree, source)


def _is_json(text: str) -> bool:
    """Return whether a text begins like a JSON object, after comments."""
    lines = (line.strip() for line in text.lstrip("\ufeff").splitlines())
    first = next((line for line in lines if line and not line.startswith(("//", "/*", "*"))), "")
    return first.startswith("{")


def _litellm(source: Source) -> ConfigError:
    return ConfigError(
        "it is LiteLLM's format, which needs no import", file=source.name, cure=f"Run: a2py --config {source.name}"
    )
