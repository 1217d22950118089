"""LiteLLM's keys that a2py knows and does not use.

Knows: LiteLLM's published reference (read 2026-11). Must not know: keys that have an effect (table.py).
Invariants: an ignored key changes no answer, so nobody needs to hear of it; any other is named in a warning, and so is
one that looks like a price and is none.
"""

from __future__ import annotations

from a2py.config import values
from a2py.config.setting_row import GENERAL, INFO, ITEM, LITELLM, PARAM, ROUTER, Setting
from a2py.prices import find_mistake


def _ignore(meaning: str, prefix: str, names: str) -> Setting:
    return _row("ignored", meaning, prefix, names)


def _warn(meaning: str, prefix: str, names: str) -> Setting:
    return _row("warned", meaning, prefix, names)


def _row(kind: str, meaning: str, prefix: str, names: str) -> Setting:
    """Return the row for `names`, separated by blanks, below `prefix`."""
    return Setting(tuple(prefix + name for name in names.split()), "", values.anything, None, meaning, kind)


def _find_place(key: str) -> str:
    """Return where the price `key` is read, "" if it is no price."""
    meant = find_mistake(key)
    return "" if meant == "" else f"litellm_params.{meant or key}"


IGNORED_SETTINGS = (
    _ignore("a2py always makes requests acceptable to the upstream", LITELLM, "modify_params"),
    _ignore(
        "debug log; use `--capture`",
        "",
        "general_settings.set_verbose router_settings.set_verbose litellm_settings.set_verbose",
    ),
    _ignore("details of caching, and shared state", LITELLM, "cache_* enable_redis_* qdrant*"),
    _ignore("details of caching, and shared state", ROUTER, "cache_kwargs cache_time* client_ttl"),
    _ignore(
        "telemetry, log details, spend",
        LITELLM,
        """
        telemetry turn_off_message_logging redact_* langfuse_* disable_* *cost* priority_reservation*
        prometheus_* enable_json_schema_validation enable_key_alias_format_validation
        enable_preview_features suppress_debug_info log_raw_request_response detailed_debug tag_*
        return_response_headers enforce_prompt_order add_function_to_prompt
        """,
    ),
    _ignore(
        "checks and details of LiteLLM's router",
        ROUTER,
        """
        enable_pre_call_check* debug_level *_ttl*
        """,
    ),
    _ignore(
        "details of LiteLLM's router",
        ROUTER,
        """
        default_priority polling_interval ignore_invalid_deployments routing_strategy_args
        """,
    ),
    _ignore("tags", ROUTER, "enable_tag_filtering tag_*"),
    _ignore(
        "telemetry, spend, health checks and pages of LiteLLM's server",
        GENERAL,
        """
        telemetry disable_* *spend* background_health_checks health_check_* use_background_*
        infer_model_from_keys ui_* proxy_batch_* litellm_license user_api_key_cache_ttl
        max_response_size_mb enable_health_* *_openai_org_id completion_model embedding_model
        image_generation_model moderation_model store_prompts_* reject_clientside_*
        """,
    ),
    _ignore("prices, which LiteLLM does not read there", ITEM, "*cost*")._replace(find_mistake=_find_place),
    _ignore("prices that are not by the token", PARAM, "*cost*")._replace(find_mistake=find_mistake),
    _ignore("prices that are not by the token", INFO, "*cost*")._replace(find_mistake=find_mistake),
    _ignore("tags and notes", ITEM, "tags access_groups description"),
    _ignore(
        "tags, notes, and what belongs to providers that are not served",
        PARAM,
        """
        tags access_groups telemetry cache* stream stream_options metadata user n region_name
        aws_* vertex_* watsonx_* use_in_pass_through merge_reasoning_content_in_choices model_info
        allowed_model_region tenant_id client_id client_secret azure_username azure_password azure_scope
        litellm_trace_id no-log
        """,
    ),
    _ignore(
        "notes, and abilities that a2py detects itself",
        INFO,
        """
        tags access_groups supports_* supported_* access_via_team_ids litellm_provider metadata
        description version custom_tokenizer health_check_* tier rpm tpm team_* created_* updated_*
        db_model key display_name additional* source deprecation_date output_vector_size
        tool_use_system_prompt_tokens disable_*
        """,
    ),
    _ignore("YAML anchors", "", "x-* _* .*"),
)

WARNED_SETTINGS = (
    _warn(
        "caching of whole replies",
        "",
        "litellm_settings.cache litellm_settings.enable_caching* router_settings.cache_responses "
        "router_settings.cache_groups",
    ),
    _warn(
        "callbacks",
        LITELLM,
        """
        success_callback failure_callback service_callbacks *_callback callback_*
        """,
    ),
    _warn(
        "guardrails and budgets",
        LITELLM,
        """
        guardrails *budget* default_internal_user_params default_team_* max_internal_*
        """,
    ),
    _warn("fallbacks on content policy", LITELLM, "content_policy_fallbacks model_alias_map"),
    _warn("providers in code of your own", LITELLM, "custom_provider_map"),
    _warn("virtual keys", LITELLM, "key_generation_settings upperbound_* default_key_* mcp_aliases"),
    _warn(
        "parts of LiteLLM's router that a2py does not have",
        ROUTER,
        """
        content_policy_fallbacks allowed_fails_policy default_litellm_params assistants_config
        """,
    ),
    _warn(
        "budgets, alerts, guardrails",
        ROUTER,
        """
        *budget* alerting* guardrail_list router_general_settings model_group_info
        """,
    ),
    _warn(
        "database, virtual keys, other ways to log in, budgets, alerts, pass-through",
        GENERAL,
        """
        database_* store_model_in_db supported_db_objects allow_requests_on_db_unavailable *budget*
        alert* guardrails custom_auth* custom_sso custom_key_* custom_ui_* enable_jwt_auth
        litellm_jwtauth enable_oauth2_* oauth2_* allow_user_auth pass_through_endpoints
        use_client_credentials_* key_management_* use_azure_key_vault use_google_kms allowed_routes
        public_routes admin_only_routes allowed_ips enforced_params enforce_user_param
        forward_client_headers_to_llm_api litellm_key_header_name default_team_* service_account_*
        use_x_forwarded_for drain_endpoint_token allow_client_side_credentials role_* user_*
        user_header_* mcp_* control_plane*
        """,
    ),
    _warn(
        "budgets, test replies, prompt templates",
        PARAM,
        """
        *budget* mock_* configurable_clientside_auth_params fallbacks
        """,
    ),
    _warn("guardrails and budgets", PARAM, "guardrails"),
    _warn(
        "prompt templates",
        PARAM,
        """
        initial_prompt_value final_prompt_value roles bos_token eos_token prompt_* stop
        """,
    ),
    _warn("prompt caching by position", PARAM, "cache_control_injection_points"),
    _warn("environments", INFO, "supported_environments"),
    _warn("callbacks", "", "callback_settings"),
    _warn("guardrails and budgets", "", "guardrails policies policy_*"),
    _warn("prompt templates", "", "prompts"),
    _warn(
        "other parts of LiteLLM's server",
        "",
        """
        mcp_servers mcp_tools vector_store_registry vector_stores assistant_settings files_settings
        finetune_settings agents agent_list pass_through_endpoints
        """,
    ),
)
