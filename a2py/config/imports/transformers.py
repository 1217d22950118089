"""claude-code-router's transformers: which of our parameters mean the same, and which have none.

Source: the list in its README and the files of packages/core/src/transformer (read 2026-11-30).

Knows: their names and options. Must not know: providers, routes.
Invariants: pure; a transformer that is not known is reported, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from a2py.config.imports.draft import Draft, whole_number

#: What a2py does itself for the host or the model: shapes of requests, reasoning fields, usage in streams, repair of
#: arguments.
_BUILT_IN = frozenset(
    (
        *("openai", "deepseek", "openrouter", "groq", "cerebras", "vercel", "anthropic", "gemini", "openai-responses"),
        *("reasoning", "enhancetool", "cleancache", "streamoptions"),
    )
)
#: Transformers without a counterpart → the consequence.
_WITHOUT = {
    "tooluse": "a2py does not force a tool call: the model decides, as the client asks",
    "forcereasoning": "a2py asks for reasoning only if the client does",
    "vertex-gemini": "a2py has no Google login. Use gemini/<model> with GEMINI_API_KEY",
    "vertex-claude": "a2py has no Google login",
}


class Changes(NamedTuple):
    """`speaks`: `anthropic` or `gemini`, "" for OpenAI's protocol. `params`, `info`, `quirks`: of the entry."""

    speaks: str
    params: dict[str, Any]
    info: dict[str, Any]
    quirks: dict[str, Any]


def read_transformers(section: Any, model: str, draft: Draft, place: str) -> Changes:
    """Return what the transformers of a provider do to one of its models. `section`: its `transformer`."""
    changes = Changes("", {}, {}, {})
    if not isinstance(section, Mapping):
        return changes
    own = section.get(model)
    uses = [section.get("use"), own.get("use") if isinstance(own, Mapping) else own]
    speaks = ""
    for name, options in _iter_uses(
        [use for one in uses for use in (one if isinstance(one, list) else [one] if one else [])]
    ):
        lower = name.lower()
        speaks = lower if lower in ("anthropic", "gemini") else speaks
        if lower in _WITHOUT:
            draft.note(f"{place}: the transformer {name} is not carried: {_WITHOUT[lower]}.")
        elif lower in _OPTIONS:
            _OPTIONS[lower](options, changes)
        elif lower not in _BUILT_IN:
            draft.note(
                f"{place}: the transformer {name} is not carried: it is a plugin in JavaScript, and a2py runs none. "
                "Requests go as the provider's own API takes them."
            )
    return changes._replace(speaks=speaks)


def _iter_uses(uses: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and options of each transformer. People also write the options beside the name: `["maxtoken",
    {…}]`."""
    for index, use in enumerate(uses):
        if isinstance(use, list) and use and isinstance(use[0], str):
            yield use[0], use[1] if len(use) > 1 and isinstance(use[1], Mapping) else {}
        elif isinstance(use, str):
            following = uses[index + 1] if index + 1 < len(uses) else None
            yield use, following if isinstance(following, Mapping) else {}


def _limit_output(options: Mapping[str, Any], changes: Changes) -> None:
    if limit := whole_number(options.get("max_tokens") or options.get("maxTokens")):
        changes.info["max_output_tokens"] = limit


def _rename_limit(options: Mapping[str, Any], changes: Changes) -> None:
    changes.quirks["max_tokens_field"] = "max_completion_tokens"


def _set_sampling(options: Mapping[str, Any], changes: Changes) -> None:
    _limit_output(options, changes)
    changes.params.update(
        {name: options[name] for name in ("temperature", "top_p", "top_k") if _is_number(options.get(name))}
    )
    extra = {name: options[name] for name in ("repetition_penalty",) if _is_number(options.get(name))}
    changes.params.update({"extra_body": {**changes.params.get("extra_body", {}), **extra}} if extra else {})


def _add_fields(options: Mapping[str, Any], changes: Changes) -> None:
    changes.params["extra_body"] = {**changes.params.get("extra_body", {}), **options}


def _route_openrouter(options: Mapping[str, Any], changes: Changes) -> None:
    if isinstance(options.get("provider"), Mapping):
        _add_fields({"provider": dict(options["provider"])}, changes)
    headers = {"HTTP-Referer": options.get("referer"), "X-Title": options.get("title")}
    headers = {name: value for name, value in headers.items() if isinstance(value, str) and value}
    if headers:
        changes.params["extra_headers"] = headers


def _read_tags(options: Mapping[str, Any], changes: Changes) -> None:
    changes.quirks["think_tags"] = True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_OPTIONS = {
    "maxtoken": _limit_output,
    "maxcompletiontokens": _rename_limit,
    "sampling": _set_sampling,
    "customparams": _add_fields,
    "openrouter": _route_openrouter,
    "extrathinktag": _read_tags,
}
