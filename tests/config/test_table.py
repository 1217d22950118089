"""The table of settings against the dataclasses it fills, against LiteLLM's keys, and against docs/configuration.md.

`python -m tests.config.test_table` writes the tables of docs/configuration.md anew.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from a2py.config import SETTINGS, Settings
from a2py.config.assemble import SWITCHES
from a2py.config.reader import SCHEMA
from a2py.config.setting_row import Setting
from a2py.config.settings import Entry, Server

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
MODELS = [row for row in SETTINGS if row.kind == "set" and row.paths[0].startswith("model_list[]")]
OTHERS = [row for row in SETTINGS if row.kind == "set" and not row.paths[0].startswith("model_list[]")]


def names(cls: Any) -> set[str]:
    return {f.name for f in fields(cls)}


def test_settings_and_their_rows_are_the_same() -> None:
    rows = [row.attr for row in OTHERS]
    assert sorted(rows) == sorted(names(Settings) | names(Server)) and not names(Settings) & names(Server)


def test_entries_and_their_rows_are_the_same() -> None:
    rows = [row.attr for row in MODELS]
    assert sorted(rows) == sorted(names(Entry) - {"at", "index", "places", "unset", "origins", "file"})


def test_defaults_are_those_of_the_dataclasses() -> None:
    values = (Settings(), Server())
    for row in OTHERS:
        (default,) = (getattr(value, row.attr) for value in values if hasattr(value, row.attr))
        assert row.default == default, row.attr
    assert all(row.default == getattr(Entry(), row.attr) for row in MODELS)


def test_no_path_stands_twice() -> None:
    paths = Counter(path for row in SETTINGS for path in row.paths)
    assert [path for path, count in paths.items() if count > 1] == []
    assert all(row.meaning and row.paths and (row.kind == "set") == bool(row.attr) for row in SETTINGS)


#: Every key that is to be supported (LiteLLM's reference, and our own), so that none is lost from the table.
KEYS = {
    "": "model_list litellm_settings router_settings general_settings environment_variables include a2py",
    "model_list[]": "model_name litellm_params model_info rpm tpm",
    "model_list[].litellm_params": """model api_base base_url api_key api_version custom_llm_provider organization max_tokens max_completion_tokens
        temperature top_p reasoning_effort thinking timeout stream_timeout max_retries num_retries extra_headers extra_body
        additional_drop_params allowed_openai_params use_chat_completions_api rpm tpm weight order max_parallel_requests keepalive_seconds
        ssl_verify""",
    "model_list[].model_info": """supported_endpoints mode id base_model cache_control_ttl max_tokens max_input_tokens max_output_tokens
        supports_reasoning supports_vision supports_function_calling quirks""",
    "litellm_settings": """num_retries request_timeout fallbacks default_fallbacks context_window_fallbacks
        allowed_fails use_chat_completions_url_for_anthropic_messages reasoning_auto_summary anthropic_messages_estimate_initial_input_tokens
        sse_keepalive_ping_interval_seconds ssl_verify force_ipv4 aiohttp_trust_env json_logs master_key""",
    "router_settings": """model_group_alias fallbacks default_fallbacks context_window_fallbacks num_retries timeout stream_timeout
        routing_strategy allowed_fails cooldown_time retry_after retry_policy model_group_retry_policy max_fallbacks disable_cooldowns""",
    "general_settings": """master_key dangerously_permit_weak_or_unset_master_key request_timeout
        max_parallel_requests enable_drain_endpoint""",
    "a2py": """keepalive_seconds delta_keepalive_seconds commit_seconds unasked_thinking quirks default_model allowed_hosts allowed_origins
        drain_seconds drain_delay max_body_mb max_connections buffer_kb capture_dir affinity max_parallel_requests cache_health""",
    "a2py.queue": "length seconds",
}
NO_EFFECT = """litellm_settings.modify_params litellm_settings.set_verbose
    general_settings.set_verbose litellm_settings.cache_params litellm_settings.turn_off_message_logging litellm_settings.telemetry
    router_settings.enable_pre_call_checks model_list[].litellm_params.tags
    model_list[].litellm_params.input_cost_per_second model_list[].model_info.access_groups model_list[].model_info.output_cost_per_image"""
UNSUPPORTED = """litellm_settings.cache router_settings.cache_responses litellm_settings.success_callback general_settings.database_url guardrails litellm_settings.max_budget
    general_settings.custom_auth general_settings.pass_through_endpoints litellm_settings.key_generation_settings"""


def look(path: str) -> Any:
    from fnmatch import fnmatchcase

    level: Any = SCHEMA
    for key in path.replace("[]", ".[]").split("."):
        level = level.get(key) or next(
            (row for pattern, row in level.items() if "*" in pattern and fnmatchcase(key, pattern)), None
        )
    return level


@pytest.mark.parametrize(("section", "keys"), KEYS.items())
def test_every_supported_key_has_its_place(section: str, keys: str) -> None:
    for key in keys.split():
        row = look(f"{section}.{key}" if section else key)
        assert isinstance(row, dict) or (isinstance(row, Setting) and row.kind == "set"), f"{section}.{key}"


@pytest.mark.parametrize(("paths", "kind"), [(NO_EFFECT, "ignored"), (UNSUPPORTED, "warned")])
def test_what_is_left_out(paths: str, kind: str) -> None:
    for path in paths.split():
        assert look(path).kind == kind, path


# -- the page


def show_default(default: Any) -> str:
    if default in ((), {}, "", None) or default == -1:
        return "–"
    return (
        f"`{str(default).lower()}`"
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, (int, float))
        else f"`{default}`"
    )


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def sections() -> dict[str, list[str]]:
    head = ["| key | default | meaning |", "|---|---|---|"]
    return {
        "settings": [
            *head,
            *(f"| {keys(row)} | {show_default(row.default)} | {cell(row.meaning)} |" for row in OTHERS),
        ],
        "models": [*head, *(f"| {keys(row)} | {show_default(row.default)} | {cell(row.meaning)} |" for row in MODELS)],
        "ignored": [
            "| keys | what |",
            "|---|---|",
            *(f"| {keys(row)} | {row.meaning} |" for row in SETTINGS if row.kind == "ignored"),
        ],
        "warned": [
            "| keys | what |",
            "|---|---|",
            *(f"| {keys(row)} | {row.meaning} |" for row in SETTINGS if row.kind == "warned"),
        ],
    }


def keys(row: Setting) -> str:
    paths = (path.replace("model_list[].", "") for path in row.paths)
    return ", ".join(f"`{path}`" for path in paths)


def render(text: str) -> str:
    """The page with its tables made anew."""
    for name, lines in sections().items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        after = rest.partition(f"<!-- end {name} -->")[2]
        assert mark and after, name
        text = before + mark + "\n".join(lines) + f"\n<!-- end {name} -->" + after
    return text


def test_the_page_holds_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert render(text) == text, "run: python -m tests.config.test_table"


@pytest.mark.parametrize(
    "name", [*SWITCHES.values(), "LITELLM_MASTER_KEY", "A2PY_CONFIG", "CONFIG_FILE_PATH", "XDG_CONFIG_HOME"]
)
def test_the_page_names_every_variable(name: str) -> None:
    assert f"`{name}`" in DOCS.read_text(encoding="utf-8")


def test_the_pages_yaml_is_read(tmp_path: Path) -> None:
    from tests.configured import Folder

    parts = DOCS.read_text(encoding="utf-8").split("```yaml\n")[1:]
    assert len(parts) >= 4
    env = dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "AZURE_API_KEY", "LITELLM_MASTER_KEY"), "k")
    for part in parts:
        config = Folder(tmp_path).load(part.partition("```")[0], env)
        assert [w for w in config.warnings if "model_list is missing" not in w] == [] and not [
            d for d in config.deployments if d.problem
        ]


if __name__ == "__main__":
    DOCS.write_text(render(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
