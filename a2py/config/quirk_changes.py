"""The quirks that the configuration sets, checked.

How they are put together with what is known otherwise is in evidence/resolve.py.

Knows: which settings change which quirk. Must not know: files, how a quirk is used.
Invariants: a wrong quirk is a warning, so no request ever meets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from a2py.config.prefixes import Warn
from a2py.config.settings import Entry
from a2py.deployment import Deployment
from a2py.quirks import Quirks, override

#: Attribute of an entry → quirk, and what each value of the attribute sets.
_SUPPORTS: tuple[tuple[str, str, dict[bool, Any]], ...] = (
    ("supports_vision", "images", {True: True, False: False}),
    ("supports_function_calling", "tools", {True: True, False: False}),
    ("supports_reasoning", "reasoning", {False: "none"}),
)

#: litellm_params that a row may leave out → the name in allowed_openai_params that sends them.
_ALLOWED_BY = {
    "reasoning_effort": "reasoning_effort",
    "thinking": "reasoning_effort",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
}


def warn_unsent(dep: Deployment, entry: Entry, warn: Warn) -> None:
    """Warn about defaults of the file that the provider tables leave out of requests."""
    if dep.wire == "native" or "*" in dep.model:
        return
    for name, param in _ALLOWED_BY.items():
        is_sent = dep.quirks.reasoning != "none" if param == "reasoning_effort" else name in dep.quirks.sampling
        if name in dep.params and not is_sent:
            host = urlsplit(dep.base).netloc
            warn(
                f"{entry.place(name)} is not sent, because {dep.model} at {host} is not known to accept it. "
                f"Write `allowed_openai_params: [{param}]` to send it."
            )


def accept_changes(changes: Mapping[str, Any], place: str, warn: Warn) -> dict[str, Any]:
    """Return the changes that `override` accepts. Warn about the others. `place`: of the mapping, for messages."""
    out: dict[str, Any] = {}
    for name, value in changes.items():
        key = f"{place.removesuffix('`')}.{name}`"
        try:
            override(Quirks(), {name: value})
        except KeyError:
            near = get_close_matches(name, Quirks.__dataclass_fields__, 1, 0.7)
            warn(f"{key} is unknown and ignored." + (f" Did you mean `{near[0]}`?" if near else ""))
        except (TypeError, ValueError) as error:
            problem = f"{key} {str(error).removeprefix(name + ' ')}"
            warn(problem if problem.endswith("?") else f"{problem}. It is ignored.")
        else:
            out[name] = value
    return out


def entry_overrides(entry: Entry, warn: Warn) -> dict[str, Any]:
    """Return the quirks of `model_info`: those of supports_… and of `quirks`."""
    pairs = ((quirk, words, getattr(entry, attr)) for attr, quirk, words in _SUPPORTS)
    capabilities = {quirk: words[value] for quirk, words, value in pairs if value in words}
    return accept_changes({**capabilities, **entry.quirks}, entry.place("quirks"), warn)
