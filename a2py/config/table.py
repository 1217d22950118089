"""Every key of a configuration file that has an effect: its places, its parser, its meaning.

Knows: LiteLLM's keys and our own (`a2py:`), from their published reference (read 2026-11). docs/configuration.md is
tested against this table. Must not know: how a file is read, what a setting does.
Invariants: a path names keys from the top; `[]` is an item of a list, a trailing `*` any rest of a key. Each value has
one row. If several paths of a row are set, the last one wins. Defaults are those of the dataclasses in settings.py.
"""

from __future__ import annotations

from a2py.config import values as v
from a2py.config.certificates import verify
from a2py.config.ledger_table import LEDGER
from a2py.config.model_rows import MODELS
from a2py.config.redis import REDIS
from a2py.config.rules import parse_rules
from a2py.config.setting_row import GENERAL, LITELLM, OWN, ROUTER, Setting
from a2py.config.setting_row import make_row as _set
from a2py.config.unserved import IGNORED_SETTINGS, WARNED_SETTINGS

_seconds = v.number(0)
_count, _positive = v.whole(0), v.whole(1)

_OWN = (
    _set(
        "keepalive_seconds",
        _seconds,
        "silence before a `ping`",
        LITELLM + "sse_keepalive_ping_interval_seconds",
        OWN + "keepalive_seconds",
    ),
    _set(
        "delta_keepalive_seconds",
        _seconds,
        "silence before an empty delta in an open block",
        OWN + "delta_keepalive_seconds",
    ),
    _set(
        "commit_seconds",
        _seconds,
        "how long a reply waits for the upstream's status before it starts with 200 and pings",
        OWN + "commit_seconds",
    ),
    _set(
        "unasked_thinking",
        v.choice("show", "hide"),
        "`hide`: send no thinking blocks if the request has no `thinking`",
        OWN + "unasked_thinking",
    ),
    _set("quirks", v.overrides, "name, id, `provider/model` or pattern → fields of `Quirks`", OWN + "quirks"),
    _set(
        "default_model",
        v.text,
        "model for unknown `claude-*` names; default: the first model that works",
        OWN + "default_model",
    ),
    _set(
        "routes",
        parse_rules,
        "list of `{when, model}`: the model for requests of which a fact holds ([below](#routes))",
        OWN + "routes",
    ),
    _set(
        "discover",
        v.boolean,
        "ask servers that no row of the provider table knows what they are (docs/providers.md)",
        OWN + "discover",
    ),
    _set(
        "affinity",
        v.boolean,
        "a session stays with one deployment of a name, because its prompt is cached there; false: each request is"
        " shared by weight",
        OWN + "affinity",
    ),
    _set(
        "queue_length",
        _count,
        "requests that may wait for a place if `max_parallel_requests` or a server's slots are full; 0: they get a 429",
        OWN + "queue.length",
    ),
    _set("queue_seconds", _seconds, "how long a request may wait for a place", OWN + "queue.seconds"),
    _set(
        "name_parallel_requests",
        v.counts,
        "model_name → requests at once to all of its deployments together; 0: no limit",
        OWN + "max_parallel_requests",
    ),
    _set(
        "cache_health",
        v.boolean,
        "the log says why the upstream's cache no longer held a conversation",
        OWN + "cache_health",
    ),
    _set("allowed_hosts", v.hosts, "further `Host` names that are served without a master key", OWN + "allowed_hosts"),
    _set(
        "allowed_origins",
        v.origins,
        "`Origin`s (of browsers) that may read the answers (CORS), and that are served without a master key",
        OWN + "allowed_origins",
    ),
    _set(
        "drain_seconds",
        _seconds,
        "how long running replies may take after SIGTERM",
        OWN + "drain_seconds",
    ),
    _set(
        "drain_delay",
        _seconds,
        "how long new connections are still accepted after SIGTERM, while readiness is 503",
        OWN + "drain_delay",
    ),
    _set(
        "enable_drain_endpoint",
        v.boolean,
        "`/health/drain` takes the proxy out of rotation",
        GENERAL + "enable_drain_endpoint",
    ),
    _set("max_body_mb", _positive, "largest request body, MB", GENERAL + "max_request_size_mb", OWN + "max_body_mb"),
    _set("max_connections", _positive, "client connections at once", OWN + "max_connections"),
    _set("buffer_kb", _positive, "bytes held for a slow client before the upstream is paused, kB", OWN + "buffer_kb"),
    _set(
        "capture_dir", v.text, "directory for redacted captures of every request (`--capture DIR`)", OWN + "capture_dir"
    ),
    _set(
        "ui",
        v.page,
        "false: no page at /ui; `record`: it keeps the latest requests also while nobody looks ([page.md](page.md))",
        OWN + "ui",
    ),
)

_TIME = (
    _set(
        "num_retries",
        _count,
        "retries of one name before fallbacks",
        LITELLM + "num_retries",
        ROUTER + "num_retries",
    ),
    _set(
        "request_timeout",
        _seconds,
        "seconds for a whole reply that is not streamed, and for a stream that sends comments alone",
        GENERAL + "request_timeout",
        LITELLM + "request_timeout",
    ),
    _set(
        "timeout", _seconds, "the same, set for the router: wins over request_timeout; 0: not set", ROUTER + "timeout"
    ),
    _set("stream_timeout", _seconds, "seconds of silence in a stream; 0: as `timeout`", ROUTER + "stream_timeout"),
    _set("retry_after", _seconds, "shortest time between two tries, seconds", ROUTER + "retry_after"),
    _set(
        "retry_policy",
        v.counts,
        "kind of error (`TimeoutErrorRetries`, …) → retries",
        LITELLM + "retry_policy",
        ROUTER + "retry_policy",
    ),
    _set("model_group_retry_policy", v.counts_by_name, "name → retry policy", ROUTER + "model_group_retry_policy"),
)

_ROUTING = (
    _set(
        "fallbacks",
        v.fallbacks,
        "name → names to try if it fails",
        LITELLM + "fallbacks",
        ROUTER + "fallbacks",
    ),
    _set(
        "default_fallbacks",
        v.names,
        "names to try if a name without fallbacks fails",
        LITELLM + "default_fallbacks",
        ROUTER + "default_fallbacks",
    ),
    _set(
        "context_window_fallbacks",
        v.fallbacks,
        "name → names to try if the prompt is too long for it",
        LITELLM + "context_window_fallbacks",
        ROUTER + "context_window_fallbacks",
    ),
    _set("max_fallbacks", _count, "most fallbacks for one request", ROUTER + "max_fallbacks"),
    _set(
        "allowed_fails",
        _count,
        "failures a minute before a deployment cools down",
        LITELLM + "allowed_fails",
        ROUTER + "allowed_fails",
    ),
    _set(
        "cooldown_time",
        _seconds,
        "how long a failing deployment gets no requests, seconds",
        LITELLM + "cooldown_time",
        ROUTER + "cooldown_time",
    ),
    _set("disable_cooldowns", v.boolean, "failing deployments stay in use", ROUTER + "disable_cooldowns"),
    _set(
        "routing_strategy",
        v.text,
        "how one of several deployments of a name is chosen; a2py shares by weight for every"
        " strategy, sessions with `a2py: affinity`, else requests",
        ROUTER + "routing_strategy",
    ),
    _set(
        "max_parallel_requests",
        _count,
        "requests at once per deployment; 0: no limit",
        GENERAL + "max_parallel_requests",
        ROUTER + "default_max_parallel_requests",
    ),
    _set(
        "global_max_parallel_requests",
        _count,
        "requests at once in total; 0: no limit",
        GENERAL + "global_max_parallel_requests",
    ),
    _set(
        "enforce_limits",
        v.enforcement,
        "`rpm` and `tpm` are limits, not only weights; LiteLLM's list of checks: `[enforce_model_rate_limits]`",
        ROUTER + "optional_pre_call_checks",
        OWN + "enforce_limits",
    ),
    _set(
        "aliases",
        v.aliases,
        "further name → name; `{model, hidden}` keeps the alias out of the model list; a `*` is allowed",
        ROUTER + "model_group_alias",
    ),
)

_TRANSLATION = (
    _set(
        "drop_params",
        v.drop_list,
        "a list: upstream fields never to send; true or false: a2py always leaves out what the upstream does not "
        "accept",
        GENERAL + "drop_params",
        LITELLM + "drop_params",
    ),
    _set(
        "use_chat_completions_url",
        v.boolean,
        "never use the Responses wire; also `LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES`",
        LITELLM + "use_chat_completions_url_for_anthropic_messages",
    ),
    _set(
        "reasoning_auto_summary",
        v.boolean,
        "the Responses wire always (or never) requests reasoning summaries; default: if the client wants to see "
        "thinking; "
        "also `LITELLM_REASONING_AUTO_SUMMARY`",
        LITELLM + "reasoning_auto_summary",
    ),
    _set(
        "estimate_initial_input_tokens",
        v.boolean,
        "message_start carries an estimate of the input tokens",
        LITELLM + "anthropic_messages_estimate_initial_input_tokens",
    ),
)

_SERVER = (
    _set(
        "master_key",
        v.secret,
        "the key that clients must send; also `LITELLM_MASTER_KEY`; unset, or empty (a warning): no key needed, but "
        "only a loopback address is served",
        "master_key",
        ROUTER + "master_key",
        LITELLM + "master_key",
        GENERAL + "master_key",
    ),
    _set(
        "insecure",
        v.boolean,
        "a public address without a key is allowed (also `--insecure`, `A2PY_INSECURE`)",
        GENERAL + "dangerously_permit_weak_or_unset_master_key",
    ),
    _set("json_logs", v.boolean, "one JSON object per log line", LITELLM + "json_logs"),
    _set(
        "ssl_verify",
        verify,
        "verify upstream certificates; or the path of a CA bundle, which must be readable",
        LITELLM + "ssl_verify",
    ),
    _set("force_ipv4", v.boolean, "connect upstream by IPv4 only", LITELLM + "force_ipv4"),
    _set(
        "upstream_proxy",
        v.proxy,
        "HTTP proxy for every upstream except this machine, in place of HTTPS_PROXY and HTTP_PROXY; NO_PROXY counts",
        OWN + "upstream_proxy",
    ),
    _set(
        "trust_env",
        v.boolean,
        "use HTTPS_PROXY, HTTP_PROXY and NO_PROXY for upstream connections",
        LITELLM + "aiohttp_trust_env",
    ),
    _set(
        "environment_variables",
        v.variable_map,
        "variables for `os.environ/NAME` and keys; the real environment wins",
        "environment_variables",
    ),
    _set(
        "include",
        v.texts,
        "more files, relative to this one; lists are joined, other values of this file win",
        "include",
    ),
    _set("credentials", v.credentials, "named sets of api_key, api_base, …", "credential_list"),
)

_SEARCH = (
    _set(
        "search",
        v.anything,
        "the search tool for models that can't search: a name of `search_tools`, or a service whose key is in its "
        "variable; `false`: none, whatever LiteLLM's keys say (docs/search.md)",
        OWN + "search",
    ),
    _set(
        "search_tools",
        v.anything,
        "search services: `search_tool_name` and `litellm_params` with `search_provider`, `api_base`, `api_key`",
        ROUTER + "search_tools",
        "search_tools",
    ),
    _set(
        "callbacks",
        v.anything,
        "`websearch_interception` makes searches by the first search tool, or the one that its parameters name; "
        "any other callback is named in a warning",
        LITELLM + "callbacks",
    ),
    _set(
        "search_parameters",
        v.mapping,
        "`search_tool_name`; `enabled_providers`: prefixes that get searches (default: all that can't search)",
        LITELLM + "websearch_interception_params",
    ),
)


SETTINGS: tuple[Setting, ...] = (
    *_OWN,
    *LEDGER,
    *_TIME,
    *_ROUTING,
    *_TRANSLATION,
    *_SERVER,
    *_SEARCH,
    *REDIS,
    *MODELS,
    *IGNORED_SETTINGS,
    *WARNED_SETTINGS,
)
