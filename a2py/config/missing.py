"""What LiteLLM does and a2py does not, each with its consequence, in one line.

Knows: the groups of unserved.py, variables of LiteLLM's server (its docs, read 2026-11). Must not know: where a key is
read, when a line is shown.
Invariants: pure; no line shows a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from a2py.config.tree import Mark, Node

#: Meaning of a row in unserved.py → what happens instead.
EFFECTS = {
    "caching of whole replies": "no reply is kept. Each request goes upstream",
    "callbacks": "nothing is sent to them. The log has a line for each request, and /metrics counts them",
    "guardrails and budgets": "no request is checked, changed or refused for them",
    "fallbacks on content policy": "a refusal for its content goes to the client",
    "providers in code of your own": "their models can't be asked. Put an OpenAI-compatible server in front of them",
    "virtual keys": "only the master key and the keys of `a2py keys` are accepted",
    "parts of LiteLLM's router that a2py does not have": "the other settings of the router decide",
    "budgets, alerts, guardrails": "no spend is limited, and nobody is alerted",
    "database, virtual keys, other ways to log in, budgets, alerts, pass-through": "a2py does not have it",
    "budgets, test replies, prompt templates": "the model itself is asked, without a budget",
    "prompt templates": "the prompt is sent as the client wrote it",
    "prompt caching by position": "the cache_control of the client decides",
    "environments": "the model is served in each of them",
    "other parts of LiteLLM's server": "their paths are a 404, and nothing of them is added to a request",
}
_WHO_ENTERS = "only the master key and the keys of `a2py keys` let a client in"
#: Pattern of a key in general_settings → what happens instead. The first match wins.
_GENERAL: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("database_*", "store_model_*", "supported_db_*", "allow_requests_on_db_*"),
        "a2py has no database. Keys, teams and models that LiteLLM keeps there are not known and "
        "get 401. Make keys with `a2py keys new NAME`, and write the models into the file",
    ),
    (("*budget*", "alert*"), "no spend is limited, and nobody is alerted"),
    (("allowed_ips",), "no address is refused. Refuse them in front of a2py"),
    (("*_routes",), "whoever has the master key may use every path"),
    (("pass_through_*",), EFFECTS["other parts of LiteLLM's server"]),
    (("guardrails",), EFFECTS["guardrails and budgets"]),
    (("key_management_*", "use_azure_key_vault", "use_google_kms"), "os.environ/NAME reads only the environment"),
    (("forward_client_headers_*",), "headers of clients are not passed on"),
    (("enforce*",), "requests without it are served, too"),
    (
        (
            "custom_*",
            "enable_jwt_*",
            "litellm_jwt*",
            "*oauth2_*",
            "allow_user_auth",
            "use_client_*",
            "service_account_*",
        ),
        _WHO_ENTERS,
    ),
    (("use_x_forwarded_for",), "x-forwarded-for is not read. No decision depends on a client's address"),
    (("drain_endpoint_token",), "/health/drain asks for the same key as other paths"),
    (("allow_client_side_credentials",), "`api_key` and `api_base` in a request change nothing"),
    (("mcp_*", "control_plane*"), EFFECTS["other parts of LiteLLM's server"]),
    (("role_*", "user_*", "default_team_*", "litellm_key_header_name"), _WHO_ENTERS),
)
#: Variables of LiteLLM's server → what happens instead.
_VARIABLES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("DATABASE_URL", "DATABASE_HOST", "STORE_MODEL_IN_DB"), _GENERAL[0][1]),
    (
        ("UI_USERNAME", "UI_PASSWORD"),
        "`a2py ui` opens the page, with the master key or one that `a2py keys new --admin` makes",
    ),
    (
        ("REDIS_URL", "REDIS_HOST", "REDIS_*"),
        "limits and cooldowns are shared only if the file has a `router_settings: redis_host`, and no reply is cached",
    ),
    (("LANGFUSE_*",), "nothing is sent to Langfuse. The log has a line for each request, and /metrics counts them"),
)
#: Variables that only LiteLLM's server has. With one of them (or a master key) those above are meant for it, too.
_SIGNS = ("STORE_MODEL_IN_DB", "UI_USERNAME", "LITELLM_*")


class UnsupportedKey(NamedTuple):
    """A key of the file that asks for something a2py lacks. `meaning`: of its row in unserved.py."""

    key: str
    node: Node
    meaning: str


def is_off(node: Node) -> bool:
    """Return whether a key asks for nothing: `cache: false`, `callbacks: []`."""
    return node.value in (None, False, "", 0) or node.value in ([], {}) or node.raw.strip().lower() in ("false", "none")


def describe_keys(keys: Iterable[UnsupportedKey]) -> list[str]:
    """Return one line for each group of keys."""
    groups: dict[str, list[UnsupportedKey]] = {}
    for one in keys:
        groups.setdefault(_find_effect(one), []).append(one)
    lines = []
    for effect, group in groups.items():
        first = group[0].node.key_at
        parts = [f"`{one.key}`{_where(one.node, first)}" for one in group]
        verb = "is" if len(parts) == 1 else "are"
        place = f"{first}: " if first.line else ""
        lines.append(f"{place}{', '.join(parts)} {verb} ignored: {effect}.")
    return lines


def _find_effect(one: UnsupportedKey) -> str:
    section, _, key = one.key.rpartition(".")
    if section == "general_settings":
        for patterns, effect in _GENERAL:
            if any(fnmatchcase(key, pattern) for pattern in patterns):
                return effect
    return EFFECTS.get(one.meaning, f"a2py has no {one.meaning}")


def _where(node: Node, first: Mark) -> str:
    """Return where a key is, "" if it is beside the first one."""
    at = node.key_at
    return f" ({at})" if at.file != first.file else f" (line {at.line})" if at.line != first.line else ""


def describe_variables(env: Mapping[str, str], has_master_key: bool) -> list[str]:
    """Return one line for each group of LiteLLM's variables that is set.

    Other programs have a DATABASE_URL, too. So it is mentioned only beside something that is LiteLLM's alone."""
    names = [name for name in sorted(env) if env[name].strip()]
    if not has_master_key and not any(fnmatchcase(name, sign) for name in names for sign in _SIGNS):
        return []
    lines = []
    for patterns, effect in _VARIABLES:
        group = [name for pattern in patterns for name in names if fnmatchcase(name, pattern)]
        group = list(dict.fromkeys(group))
        if group:
            lines.append(f"the environment: {', '.join(group)} {'is' if len(group) == 1 else 'are'} ignored: {effect}.")
    return lines
