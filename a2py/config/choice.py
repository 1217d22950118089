"""The models that the environment names in the variables of another proxy for Claude Code (`BIG_MODEL`, `MODEL_OPUS`
…).

Somebody who comes from claude-code-proxy or free-claude-code has a `.env` that names models. Without an import a2py
serves these and no others in their place.

Knows: which variables make such a choice. Must not know: what is served besides.
Invariants: a variable names a model, a key or an address; which of them may meet is decided where the deployment is
built, by their origins.
"""

from __future__ import annotations

from a2py.config.imports.draft import Draft, Source
from a2py.config.imports.variables import CHOICES, choose_models, recognize
from a2py.config.tree import ENVIRON
from a2py.config.variables import Variables

#: Longest value of a variable that names a model, in characters.
MAX_CHOICE = 400


def find_choice(env: Variables) -> Draft | None:
    """Return the models that the environment names, None if it names none."""
    every = {**env.dotenv, **env}
    usable = {name: value for name, value in every.items() if name not in CHOICES or _is_name(value)}
    program = recognize(usable)
    if not program:
        return None
    where = ".env" if any(name in env.dotenv and name not in env for name in CHOICES) else "the environment"
    draft = choose_models(program, usable, Source(where), lambda name: f"{ENVIRON}{name}")
    names = ", ".join(sorted(name for name in CHOICES if usable.get(name, "").strip()))
    rest = " `a2py config import .env` carries the rest of it." if where == ".env" else ""
    draft.notes.insert(
        0, f"{where} has the variables of {program}, so the models that they name are served ({names}).{rest}"
    )
    return draft


def _is_name(value: str) -> bool:
    """Return whether a value is only a name: a * would make a wildcard of it, `os.environ/` another variable's value,
    which may be a key."""
    return len(value) <= MAX_CHOICE and value.isprintable() and "*" not in value and ENVIRON not in value
