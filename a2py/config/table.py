"""Every key that a configuration file may hold, as data: where it stands, what it becomes, its default, its meaning.

Knows: LiteLLM's keys and our own (`a2py:`), by their published reference (read 2026-11). docs/configuration.md is tested against this table.
Must not know: how a file is read, what a setting does.
Invariants: a path names keys from the top, `[]` an item of a list, a trailing `*` any rest of a key; one row a value; where a row has several
paths, the last one that is set wins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2py.config import values as v
from a2py.config.values import Parser


class Setting(NamedTuple):
    """One row. `attr`: the attribute of Settings (or Entry, for `model_list[]`; or a part of Config) that it fills; `kind`: `set`, `ignored` (in
    silence: nothing is lost) or `warned` (named in one warning: something that the file asks for is missing here)."""

    paths: tuple[str, ...]
    attr: str
    parse: Parser
    default: Any
    meaning: str
    kind: str = "set"


LITELLM, ROUTER, GENERAL, OWN = "litellm_settings.", "router_settings.", "general_settings.", "a2py."
ITEM, PARAM, INFO = "model_list[].", "model_list[].litellm_params.", "model_list[].model_info."

_seconds = _number = v.number(0)
_count, _positive = v.whole(0), v.whole(1)


def _set(attr: str, parse: Parser, default: Any, meaning: str, *paths: str) -> Setting:
    return Setting(paths, attr, parse, default, meaning)


def _ignored(meaning: str, prefix: str, *names: str) -> Setting:
    return Setting(tuple(prefix + name for name in names), "", v.anything, None, meaning, "ignored")


def _warned(meaning: str, prefix: str, *names: str) -> Setting:
    return Setting(tuple(prefix + name for name in names), "", v.anything, None, meaning, "warned")


_OWN = (
    _set(
        "keepalive_seconds",
        _seconds,
        25.0,
        "silence before a `ping`",
        LITELLM + "sse_keepalive_ping_interval_seconds",
        OWN + "keepalive_seconds",
    ),
    _set(
        "delta_keepalive_seconds",
        _seconds,
        15.0,
        "silence before an empty delta in an open block",
        OWN + "delta_keepalive_seconds",
    ),
    _set(
        "commit_seconds",
        _seconds,
        15.0,
        "how long an answer may wait for its true status before 200 and pings",
        OWN + "commit_seconds",
    ),
    _set(
        "unasked_thinking",
        v.choice("show", "hide"),
        "show",
        "`hide`: no thinking blocks for requests without `thinking`",
        OWN + "unasked_thinking",
    ),
    _set("quirks", v.overrides, {}, "name, id, `provider/model` or pattern → fields of `Quirks`", OWN + "quirks"),
    _set(
        "default_model",
        v.text,
        "",
        "where unknown `claude-*` names go; without it the first model that works",
        OWN + "default_model",
    ),
    _set(
        "discover",
        v.boolean,
        True,
        "ask servers that no row of the provider table knows what they are (docs/providers.md)",
        OWN + "discover",
    ),
    _set(
        "allowed_hosts", v.hosts, (), "further `Host` names that are served without a master key", OWN + "allowed_hosts"
    ),
    _set(
        "allowed_origins",
        v.origins,
        (),
        "`Origin`s (of browsers) that may read the answers (CORS), and that are served without a master key",
        OWN + "allowed_origins",
    ),
    _set(
        "drain_seconds",
        _seconds,
        30.0,
        "how long running answers may take after SIGTERM, until they are read",
        OWN + "drain_seconds",
    ),
    _set(
        "drain_delay",
        _seconds,
        0.0,
        "seconds after SIGTERM in which new connections are still accepted, while readiness is 503",
        OWN + "drain_delay",
    ),
    _set(
        "enable_drain_endpoint",
        v.boolean,
        False,
        "`/health/drain` takes the proxy out of rotation",
        GENERAL + "enable_drain_endpoint",
    ),
    _set(
        "max_body_mb", _positive, 32, "largest request body, MB", GENERAL + "max_request_size_mb", OWN + "max_body_mb"
    ),
    _set("max_connections", _positive, 2000, "client connections at once", OWN + "max_connections"),
    _set(
        "buffer_kb", _positive, 256, "bytes held for a slow client before the upstream is paused, kB", OWN + "buffer_kb"
    ),
    _set(
        "capture_dir",
        v.text,
        "",
        "directory for redacted captures of every request (`--capture DIR`)",
        OWN + "capture_dir",
    ),
)

_TIME = (
    _set(
        "num_retries",
        _count,
        2,
        "further tries at one name before fallbacks",
        LITELLM + "num_retries",
        ROUTER + "num_retries",
    ),
    _set(
        "request_timeout",
        _seconds,
        6000.0,
        "seconds for a whole reply that is not streamed, and for a stream that sends comments alone",
        GENERAL + "request_timeout",
        LITELLM + "request_timeout",
    ),
    _set(
        "timeout",
        _seconds,
        0.0,
        "the same, set for the router: wins over request_timeout; 0: not set",
        ROUTER + "timeout",
    ),
    _set("stream_timeout", _seconds, 0.0, "seconds of silence in a stream; 0: as `timeout`", ROUTER + "stream_timeout"),
    _set("retry_after", _seconds, 0.0, "least seconds between two tries", ROUTER + "retry_after"),
    _set(
        "retry_policy",
        v.counts,
        {},
        "kind of error (`TimeoutErrorRetries`, …) → tries",
        LITELLM + "retry_policy",
        ROUTER + "retry_policy",
    ),
    _set("model_group_retry_policy", v.counts_by_name, {}, "name → retry policy", ROUTER + "model_group_retry_policy"),
)

_ROUTING = (
    _set(
        "fallbacks",
        v.fallbacks,
        {},
        "name → names that are tried when it fails",
        LITELLM + "fallbacks",
        ROUTER + "fallbacks",
    ),
    _set(
        "default_fallbacks",
        v.names,
        (),
        "names that are tried when a name without fallbacks fails",
        LITELLM + "default_fallbacks",
        ROUTER + "default_fallbacks",
    ),
    _set(
        "context_window_fallbacks",
        v.fallbacks,
        {},
        "name → names that are tried when the prompt is too long for it",
        LITELLM + "context_window_fallbacks",
        ROUTER + "context_window_fallbacks",
    ),
    _set("max_fallbacks", _count, 5, "fallbacks that are tried for one request", ROUTER + "max_fallbacks"),
    _set(
        "allowed_fails",
        _count,
        3,
        "failures a minute before a deployment cools down",
        LITELLM + "allowed_fails",
        ROUTER + "allowed_fails",
    ),
    _set(
        "cooldown_time",
        _seconds,
        5.0,
        "seconds that a failing deployment is left out",
        LITELLM + "cooldown_time",
        ROUTER + "cooldown_time",
    ),
    _set("disable_cooldowns", v.boolean, False, "no deployment is ever left out", ROUTER + "disable_cooldowns"),
    _set(
        "routing_strategy",
        v.text,
        "simple-shuffle",
        "how one of several deployments of a name is picked; any strategy is served as simple-shuffle, by weight",
        ROUTER + "routing_strategy",
    ),
    _set(
        "max_parallel_requests",
        _count,
        0,
        "requests at once per deployment; 0: no limit",
        GENERAL + "max_parallel_requests",
        ROUTER + "default_max_parallel_requests",
    ),
    _set(
        "global_max_parallel_requests",
        _count,
        0,
        "requests at once in all; 0: no limit",
        GENERAL + "global_max_parallel_requests",
    ),
    _set(
        "aliases",
        v.aliases,
        {},
        "further name → name; `{model, hidden}` keeps it out of the model list; a `*` is allowed",
        ROUTER + "model_group_alias",
    ),
)

_TRANSLATION = (
    _set(
        "drop_params",
        v.boolean,
        False,
        "what the upstream does not take is left out (always so here)",
        GENERAL + "drop_params",
        LITELLM + "drop_params",
    ),
    _set(
        "modify_params",
        v.boolean,
        False,
        "requests are made acceptable to the upstream (always so here)",
        LITELLM + "modify_params",
    ),
    _set(
        "use_chat_completions_url",
        v.boolean,
        False,
        "never the Responses wire; also `LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES`",
        LITELLM + "use_chat_completions_url_for_anthropic_messages",
    ),
    _set(
        "reasoning_auto_summary",
        v.boolean,
        None,
        "the Responses wire always (or never) asks for reasoning summaries; unset: if the client asked to see thinking; also `LITELLM_REASONING_AUTO_SUMMARY`",
        LITELLM + "reasoning_auto_summary",
    ),
    _set(
        "estimate_initial_input_tokens",
        v.boolean,
        True,
        "message_start carries an estimate of the input tokens",
        LITELLM + "anthropic_messages_estimate_initial_input_tokens",
    ),
)

_SERVER = (
    _set(
        "master_key",
        v.text,
        "",
        "the key that clients must show; also `LITELLM_MASTER_KEY`; unset: open, and then on a loopback address only",
        "master_key",
        ROUTER + "master_key",
        LITELLM + "master_key",
        GENERAL + "master_key",
    ),
    _set(
        "insecure",
        v.boolean,
        False,
        "a public address without a key is allowed (also `--insecure`, `A2PY_INSECURE`)",
        GENERAL + "dangerously_permit_weak_or_unset_master_key",
    ),
    _set(
        "set_verbose",
        v.boolean,
        False,
        "debug log",
        GENERAL + "set_verbose",
        ROUTER + "set_verbose",
        LITELLM + "set_verbose",
    ),
    _set("json_logs", v.boolean, False, "one JSON object per log line", LITELLM + "json_logs"),
    _set(
        "ssl_verify",
        v.ssl_verify,
        True,
        "verify upstream certificates; or the path of a CA bundle",
        LITELLM + "ssl_verify",
    ),
    _set("force_ipv4", v.boolean, False, "connect upstream by IPv4 only", LITELLM + "force_ipv4"),
    _set(
        "trust_env",
        v.boolean,
        True,
        "HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured upstream",
        LITELLM + "aiohttp_trust_env",
    ),
    _set(
        "environment_variables",
        v.text_map,
        {},
        "variables for `os.environ/NAME` and keys; the real environment wins",
        "environment_variables",
    ),
    _set(
        "include", v.texts, (), "further files, relative to this one: lists are joined, else this file wins", "include"
    ),
    _set("credentials", v.credentials, {}, "named sets of api_key, api_base, …", "credential_list"),
)

_MODELS = (
    _set(
        "model_name",
        v.text,
        "",
        "the public name: exact, `*`, `prefix/*`; several times: load balancing",
        ITEM + "model_name",
    ),
    _set("model", v.text, "", "`provider/name`, `provider/*`, `provider/responses/name`", PARAM + "model"),
    _set(
        "api_base",
        v.text,
        "",
        "base URL; without it `<PREFIX>_API_BASE`, else the provider's own",
        PARAM + "base_url",
        PARAM + "api_base",
    ),
    _set("api_key", v.text, "", "key; without it `<PREFIX>_API_KEY`", PARAM + "api_key"),
    _set("azure_ad_token", v.text, "", "Azure's bearer token, where there is no api_key", PARAM + "azure_ad_token"),
    _set("api_version", v.text, "", "Azure's api-version; also `AZURE_API_VERSION`", PARAM + "api_version"),
    _set("custom_llm_provider", v.text, "", "the provider, where `model` has no prefix", PARAM + "custom_llm_provider"),
    _set(
        "organization",
        v.organizations,
        (),
        "`OpenAI-Organization`; a list makes a deployment of each",
        PARAM + "organization",
    ),
    _set("credential_name", v.text, "", "a set of `credential_list`", PARAM + "litellm_credential_name"),
    _set("max_tokens", _positive, 0, "largest output limit sent", PARAM + "max_tokens"),
    _set("max_completion_tokens", _positive, 0, "the same, by its newer name", PARAM + "max_completion_tokens"),
    _set("temperature", _number, None, "where the client gives none", PARAM + "temperature"),
    _set("top_p", _number, None, "where the client gives none", PARAM + "top_p"),
    _set("top_k", _count, None, "where the client gives none", PARAM + "top_k"),
    _set("reasoning_effort", v.anything, None, "effort word, where the client gives none", PARAM + "reasoning_effort"),
    _set("thinking", v.mapping, None, "Anthropic's `thinking`, where the client gives none", PARAM + "thinking"),
    _set(
        "timeout",
        _seconds,
        0.0,
        "seconds for a whole reply that is not streamed, and for a stream that sends comments alone; 0: the router's",
        PARAM + "request_timeout",
        PARAM + "timeout",
    ),
    _set("stream_timeout", _seconds, 0.0, "seconds of silence in a stream; 0: the router's", PARAM + "stream_timeout"),
    _set(
        "retries",
        _count,
        -1,
        "further tries; without it num_retries of the settings",
        PARAM + "max_retries",
        PARAM + "num_retries",
    ),
    _set("extra_headers", v.headers, {}, "headers sent upstream", PARAM + "headers", PARAM + "extra_headers"),
    _set("extra_body", v.mapping, {}, "fields put into the upstream body, last", PARAM + "extra_body"),
    _set("drop_params", v.boolean, False, "as in litellm_settings", PARAM + "drop_params"),
    _set(
        "additional_drop_params",
        v.texts,
        (),
        "upstream fields that are never sent; `tools[*].function.strict`: a field inside others",
        PARAM + "additional_drop_params",
    ),
    _set(
        "allowed_openai_params",
        v.texts,
        (),
        "upstream fields that are sent although the provider's row leaves them out",
        PARAM + "allowed_openai_params",
    ),
    _set("use_chat_completions_api", v.boolean, False, "the chat wire", PARAM + "use_chat_completions_api"),
    _set(
        "rpm",
        _count,
        0,
        "requests that may start in any 60 seconds; also the weight if `weight` is not set",
        ITEM + "rpm",
        PARAM + "rpm",
    ),
    _set(
        "tpm",
        _count,
        0,
        "tokens in any 60 seconds, input and output; also the weight if neither `weight` nor `rpm` is set",
        ITEM + "tpm",
        PARAM + "tpm",
    ),
    _set("weight", _number, None, "share of the requests to this name", PARAM + "weight"),
    _set("order", _count, 0, "lower is tried first", PARAM + "order"),
    _set("max_parallel_requests", _count, 0, "requests at once; 0: the settings'", PARAM + "max_parallel_requests"),
    _set("keepalive_seconds", _seconds, 0.0, "silence before a `ping`; 0: the settings'", PARAM + "keepalive_seconds"),
    _set("ssl_verify", v.ssl_verify, None, "as in litellm_settings", PARAM + "ssl_verify"),
    *(
        _set(name, v.anything, None, "sent upstream as it is", PARAM + name)
        for name in (
            "seed",
            "frequency_penalty",
            "presence_penalty",
            "logit_bias",
            "verbosity",
            "service_tier",
            "parallel_tool_calls",
        )
    ),
    _set("id", v.text, "", "the deployment's id in logs, `/health` and quirks", INFO + "id"),
    _set(
        "mode", v.text, "", "`chat` or `responses`: the wire; other modes (embedding, …) are not served", INFO + "mode"
    ),
    _set("supported_endpoints", v.texts, (), '`["/v1/messages"]`: the native wire', INFO + "supported_endpoints"),
    _set(
        "base_model",
        v.text,
        "",
        "the model behind a deployment's own name (Azure): quirks are chosen by it",
        INFO + "base_model",
    ),
    _set(
        "cache_control_ttl",
        v.cache_ttl,
        "",
        "false: no `ttl` in a cache_control goes upstream; `5m`, `1h`: this one; true, or unset: the client's own",
        INFO + "cache_control_ttl",
    ),
    _set("max_input_tokens", _count, 0, "context window", INFO + "max_input_tokens"),
    _set(
        "max_output_tokens",
        _count,
        0,
        "largest output that the model takes",
        INFO + "max_tokens",
        INFO + "max_output_tokens",
    ),
    _set(
        "supports_reasoning",
        v.boolean,
        None,
        "false: reasoning is never asked for; true: by reasoning_effort, of a server that no row knows",
        INFO + "supports_reasoning",
    ),
    _set("supports_vision", v.boolean, None, "false: images become text stubs", INFO + "supports_vision"),
    _set("supports_function_calling", v.boolean, None, "false: tools are left out", INFO + "supports_function_calling"),
    _set("quirks", v.mapping, {}, "fields of `Quirks` for this deployment; wins over `a2py: quirks`", INFO + "quirks"),
)

_IGNORED = (
    _ignored("caching of whole replies", LITELLM, "cache*", "enable_caching*", "qdrant*"),
    _ignored("caching and shared state", ROUTER, "cache*", "redis*", "client_ttl"),
    _ignored(
        "telemetry, log details, spend",
        LITELLM,
        *(
            "telemetry",
            "turn_off_message_logging",
            "redact_*",
            "langfuse_*",
            "disable_*",
            "*cost*",
            "priority_reservation*",
            "prometheus_*",
        ),
        *(
            "enable_json_schema_validation",
            "enable_key_alias_format_validation",
            "enable_preview_features",
            "suppress_debug_info",
        ),
        *(
            "log_raw_request_response",
            "detailed_debug",
            "tag_*",
            "return_response_headers",
            "enforce_prompt_order",
            "add_function_to_prompt",
        ),
    ),
    _ignored(
        "checks and details of LiteLLM's router",
        ROUTER,
        "enable_pre_call_check*",
        "optional_pre_call_checks",
        "debug_level",
        "*_ttl*",
    ),
    _ignored(
        "details of LiteLLM's router",
        ROUTER,
        "default_priority",
        "polling_interval",
        "ignore_invalid_deployments",
        "routing_strategy_args",
    ),
    _ignored("tags", ROUTER, "enable_tag_filtering", "tag_*"),
    _ignored(
        "telemetry, spend, health checks and pages of LiteLLM's server",
        GENERAL,
        *(
            "telemetry",
            "disable_*",
            "*spend*",
            "background_health_checks",
            "health_check_*",
            "use_background_*",
            "infer_model_from_keys",
        ),
        *(
            "ui_*",
            "proxy_batch_*",
            "litellm_license",
            "user_api_key_cache_ttl",
            "max_response_size_mb",
            "enable_health_*",
            "*_openai_org_id",
        ),
        *(
            "completion_model",
            "embedding_model",
            "image_generation_model",
            "moderation_model",
            "store_prompts_*",
            "reject_clientside_*",
        ),
    ),
    _ignored("tags and notes", ITEM, "tags", "access_groups", "description"),
    _ignored(
        "cost, tags, notes, and what belongs to providers that are not served",
        PARAM,
        *(
            "*cost*",
            "tags",
            "access_groups",
            "telemetry",
            "cache*",
            "stream",
            "stream_options",
            "metadata",
            "user",
            "n",
            "region_name",
        ),
        *(
            "aws_*",
            "vertex_*",
            "watsonx_*",
            "use_in_pass_through",
            "merge_reasoning_content_in_choices",
            "model_info",
            "allowed_model_region",
        ),
        *(
            "tenant_id",
            "client_id",
            "client_secret",
            "azure_username",
            "azure_password",
            "azure_scope",
            "litellm_trace_id",
            "no-log",
        ),
    ),
    _ignored(
        "cost, notes and abilities that are found out otherwise",
        INFO,
        *(
            "*cost*",
            "tags",
            "access_groups",
            "supports_*",
            "supported_*",
            "access_via_team_ids",
            "litellm_provider",
            "metadata",
            "description",
        ),
        *(
            "version",
            "custom_tokenizer",
            "health_check_*",
            "tier",
            "rpm",
            "tpm",
            "team_*",
            "created_*",
            "updated_*",
            "db_model",
            "key",
        ),
        *(
            "display_name",
            "additional*",
            "source",
            "deprecation_date",
            "output_vector_size",
            "tool_use_system_prompt_tokens",
            "disable_*",
        ),
    ),
    _ignored("YAML anchors", "", "x-*", "_*", ".*"),
)

_WARNED = (
    _warned(
        "callbacks",
        LITELLM,
        "callbacks",
        "success_callback",
        "failure_callback",
        "service_callbacks",
        "*_callback",
        "callback_*",
    ),
    _warned(
        "guardrails and budgets",
        LITELLM,
        "guardrails",
        "*budget*",
        "default_internal_user_params",
        "default_team_*",
        "max_internal_*",
    ),
    _warned("fallbacks on content policy", LITELLM, "content_policy_fallbacks", "model_alias_map"),
    _warned("virtual keys", LITELLM, "key_generation_settings", "upperbound_*", "default_key_*", "mcp_aliases"),
    _warned(
        "not built",
        ROUTER,
        "content_policy_fallbacks",
        "allowed_fails_policy",
        "default_litellm_params",
        "assistants_config",
        "search_tools",
    ),
    _warned(
        "budgets, alerts, guardrails",
        ROUTER,
        "*budget*",
        "alerting*",
        "guardrail_list",
        "router_general_settings",
        "model_group_info",
    ),
    _warned(
        "database, virtual keys, other ways to log in, budgets, alerts, pass-through",
        GENERAL,
        *(
            "database_*",
            "store_model_in_db",
            "supported_db_objects",
            "allow_requests_on_db_unavailable",
            "*budget*",
            "alert*",
            "guardrails",
        ),
        *(
            "custom_auth*",
            "custom_sso",
            "custom_key_*",
            "custom_ui_*",
            "enable_jwt_auth",
            "litellm_jwtauth",
            "enable_oauth2_*",
            "oauth2_*",
        ),
        *(
            "allow_user_auth",
            "pass_through_endpoints",
            "use_client_credentials_*",
            "key_management_*",
            "use_azure_key_vault",
            "use_google_kms",
        ),
        *(
            "allowed_routes",
            "public_routes",
            "admin_only_routes",
            "allowed_ips",
            "enforced_params",
            "enforce_user_param",
        ),
        *(
            "forward_client_headers_to_llm_api",
            "litellm_key_header_name",
            "default_team_*",
            "service_account_*",
            "use_x_forwarded_for",
        ),
        "drain_endpoint_token",
        *("allow_client_side_credentials", "role_*", "user_*", "user_header_*", "mcp_*", "control_plane*"),
    ),
    _warned(
        "budgets, test replies, prompt templates",
        PARAM,
        "*budget*",
        "mock_*",
        "guardrails",
        "configurable_clientside_auth_params",
        "fallbacks",
    ),
    _warned(
        "prompt templates",
        PARAM,
        "initial_prompt_value",
        "final_prompt_value",
        "roles",
        "bos_token",
        "eos_token",
        "prompt_*",
        "stop",
    ),
    _warned("prompt caching by position", PARAM, "cache_control_injection_points"),
    _warned("environments", INFO, "supported_environments"),
    _warned(
        "other parts of LiteLLM's server",
        "",
        *(
            "callback_settings",
            "guardrails",
            "mcp_servers",
            "mcp_tools",
            "vector_store_registry",
            "vector_stores",
            "assistant_settings",
        ),
        *(
            "files_settings",
            "finetune_settings",
            "search_tools",
            "prompts",
            "policies",
            "policy_*",
            "agents",
            "agent_list",
            "pass_through_endpoints",
        ),
    ),
)

SETTINGS: tuple[Setting, ...] = (*_OWN, *_TIME, *_ROUTING, *_TRANSLATION, *_SERVER, *_MODELS, *_IGNORED, *_WARNED)
