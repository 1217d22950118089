"""LiteLLM's meaning of keys, variables, flags and headers (LiteLLM 1.110.2, read 2026-11-30): one test for each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import exits, main
from a2py.config import Config
from tests import process
from tests.configured import Folder
from tests.proxied import message, run_proxy
from tests.scripted import ScriptedServer, answering


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def load(folder: Folder, base: str, params: str = "", more: str = "", env: dict[str, str] | None = None) -> Config:
    """A file with the model `test-model` at `base`."""
    text = f"""
model_list:
  - model_name: test-model
    litellm_params: {{model: openai/m, api_base: "{base}", api_key: k{params}}}
{more}"""
    return folder.load(text, env)


async def ask(config: Config, count: int = 1, **headers: str) -> list[Any]:
    by_name = {name.replace("_", "-"): value for name, value in headers.items()}
    async with run_proxy(config, collect=False) as proxy:
        return [await proxy.ask(message(stream=False), headers=by_name) for _ in range(count)]


# -- weights and limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "statuses"),
    [
        ("", [200, 200, 200]),
        ("router_settings: {optional_pre_call_checks: [enforce_model_rate_limits]}", [200, 200, 429]),
        ("router_settings: {optional_pre_call_checks: [prompt_caching]}", [200, 200, 200]),
        ("a2py: {enforce_limits: true}", [200, 200, 429]),
        (
            "router_settings: {optional_pre_call_checks: [enforce_model_rate_limits]}\na2py: {enforce_limits: false}",
            [200, 200, 200],
        ),
    ],
)
async def test_rpm_is_a_limit_only_on_demand(folder: Folder, more: str, statuses: list[int]) -> None:
    async with ScriptedServer(*[answering("yes")] * 3) as upstream:
        answers = await ask(load(folder, upstream.base, ", rpm: 2", more), 3)
    assert [answer.status for answer in answers] == statuses


async def test_tpm_is_a_limit_only_on_demand(folder: Folder) -> None:
    async with ScriptedServer(answering("yes")) as upstream:
        free = await ask(load(folder, upstream.base, ", tpm: 1"))
        bound = await ask(load(folder, upstream.base, ", tpm: 1", "a2py: {enforce_limits: true}"))
    assert [free[0].status, bound[0].status] == [200, 429]


def test_rpm_and_tpm_are_weights(folder: Folder) -> None:
    entry = "  - {{model_name: m, litellm_params: {{model: openai/{}, api_key: k, {}: {}}}}}\n"
    for key in ("rpm", "tpm"):
        config = folder.load("model_list:\n" + entry.format("a", key, 900) + entry.format("b", key, 100))
        assert [(dep.weight, dep.rpm, dep.tpm) for dep in config.deployments] == [(900, 0, 0), (100, 0, 0)]


# -- keys of the file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "more"),
    [
        (", drop_params: [temperature, stop]", ""),
        ("", "litellm_settings: {drop_params: [temperature, stop]}"),
        ("", "general_settings: {drop_params: [temperature, stop]}"),
        (", drop_params: [temperature]", "litellm_settings: {drop_params: [stop]}"),
    ],
)
async def test_a_list_of_drop_params_is_dropped(folder: Folder, params: str, more: str) -> None:
    async with ScriptedServer(answering("yes")) as upstream:
        config = load(folder, upstream.base, params, more)
        async with run_proxy(config) as proxy:
            body = message(stream=False, temperature=0.5, top_p=0.5, stop_sequences=["x"])
            assert (await proxy.ask(body)).status == 200
    assert not {"temperature", "stop"} & set(upstream.requests[0].json) and upstream.requests[0].json["top_p"] == 0.5
    assert not config.warnings


@pytest.mark.parametrize("word", ["true", "false", "'true'", "os.environ/DROP"])
def test_drop_params_as_a_switch_changes_nothing(folder: Folder, word: str) -> None:
    config = load(
        folder, "http://h/v1", f", drop_params: {word}", f"litellm_settings: {{drop_params: {word}}}", {"DROP": "true"}
    )
    assert not config.warnings and not config.deployments[0].drop


def test_a_mapping_in_environment_variables_is_its_json(folder: Folder) -> None:
    more = """
environment_variables:
  ACCOUNT: {type: service_account, scopes: [a, b]}
  NUMBER: 5
"""
    config = load(folder, "http://h/v1", ", extra_body: {account: os.environ/ACCOUNT, n: os.environ/NUMBER}", more)
    assert json.loads(config.deployments[0].extra_body["account"]) == {"type": "service_account", "scopes": ["a", "b"]}
    assert config.deployments[0].extra_body["n"] == "5"


@pytest.mark.parametrize(
    ("model", "base_model", "field"),
    [("o_series/mine", "o3", "max_completion_tokens"), ("gpt5_series/mine", "gpt-5", "max_completion_tokens")],
)
def test_the_series_of_an_azure_deployment(folder: Folder, model: str, base_model: str, field: str) -> None:
    params = f"{{model: azure/{model}, api_base: 'https://x.openai.azure.com', api_key: k, api_version: '2024-10-21'}}"
    dep = folder.one(params)
    assert (dep.model, dep.base_model, dep.quirks.max_tokens_field) == ("mine", base_model, field)
    assert dep.base == "https://x.openai.azure.com/openai/deployments/mine" and not dep.problem
    assert folder.one(params, info="{base_model: azure/o4-mini}").base_model == "azure/o4-mini", "the file's word wins"
    assert folder.one("{model: openai/o_series/m, api_key: k}").model == "o_series/m", "only Azure has it"


def test_google_api_key_comes_first(folder: Folder) -> None:
    env = {"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": "google"}
    assert folder.one("{model: gemini/gemini-3-pro}", env).key == "google"
    assert folder.one("{model: gemini/gemini-3-pro}", {"GEMINI_API_KEY": "gemini"}).key == "gemini"


@pytest.mark.parametrize(
    ("base", "is_warned"),
    [
        ("https://gemini.example", True),
        ("https://gemini.example/v1beta", True),
        ("https://gemini.example/v1beta/models", True),
        ("https://gemini.example/models/gemini-3-pro:generateContent", True),
        ("https://gemini.example/v1beta/openai", False),
        ("https://gateway.example/v1", False),
    ],
)
def test_a_base_of_geminis_own_path_is_reported_at_the_start(folder: Folder, base: str, is_warned: bool) -> None:
    config = folder.load(
        f"model_list:\n  - model_name: m\n    litellm_params:\n      model: gemini/g\n      api_key: k\n      api_base: {base}\n"
    )
    assert [w for w in config.warnings if "LiteLLM speaks Gemini's own API there" in w] == list(config.warnings)
    assert bool(config.warnings) is is_warned
    if is_warned:
        assert config.warnings[0].startswith("litellm_config.yaml:6: `model_list[0].litellm_params.api_base`: ")


@pytest.mark.parametrize("path", ["", "/v1beta", "/v1beta/models", "/v1beta/openai", "/v1beta/openai/"])
def test_googles_own_base_becomes_that_of_chat_completions(folder: Folder, path: str) -> None:
    base = f"https://generativelanguage.googleapis.com{path}"
    dep = folder.one(f"{{model: gemini/g, api_key: k, api_base: '{base}'}}")
    assert dep.base == "https://generativelanguage.googleapis.com/v1beta/openai"


def test_providers_of_ones_own_and_costs_are_known(folder: Folder) -> None:
    config = folder.load(
        """
model_list:
  - model_name: m
    input_cost_per_token: 0.000001
    litellm_params: {model: openai/m, api_key: k, output_cost_per_token: 0.1, cache_read_input_token_cost: 0.1}
    model_info: {input_cost_per_token: 0.1, output_cost_per_token_batches: 0.1}
litellm_settings:
  custom_provider_map: [{provider: mine, custom_handler: handler.mine}]
"""
    )
    price, provider_map = config.warnings
    assert "Did you mean `litellm_params.input_cost_per_token`?" in price
    assert "`litellm_settings.custom_provider_map` is ignored: " in provider_map


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://h:11434", "http://h:11434/v1"),
        ("http://h:11434/api", "http://h:11434/v1"),
        ("http://h:11434/v1", "http://h:11434/v1"),
        ("https://gw.example/ollama", "https://gw.example/ollama/v1"),
        ("https://gw.example/ollama/", "https://gw.example/ollama/v1"),
        ("https://gw.example/ollama/api/chat", "https://gw.example/ollama/v1"),
        ("https://gw.example/api/generate", "https://gw.example/v1"),
        ("https://gw.example/ollama/v1/chat/completions", "https://gw.example/ollama/v1"),
    ],
)
@pytest.mark.parametrize("provider", ["ollama", "ollama_chat"])
def test_an_ollama_behind_a_path_prefix(folder: Folder, provider: str, base: str, expected: str) -> None:
    assert folder.one(f"{{model: {provider}/qwen, api_base: '{base}'}}").base == expected


@pytest.mark.parametrize(
    ("model", "cure"),
    [
        ("ollama_chat/qwen", "Start Ollama with OLLAMA_CONTEXT_LENGTH=32768, or write `PARAMETER num_ctx` in a Modelfile."),
        ("openai/qwen", "Remove it."),
    ],
)  # fmt: skip
def test_num_ctx_is_reported_with_its_cure(folder: Folder, model: str, cure: str) -> None:
    config = folder.load(
        f"model_list:\n  - model_name: m\n    litellm_params: {{model: {model}, api_key: k, api_base: 'http://h/v1', num_ctx: 32768}}\n"
    )
    (warning,) = config.warnings
    assert warning.startswith("litellm_config.yaml:3: `model_list[0].litellm_params.num_ctx` is ignored: ")
    assert warning.endswith(cure)


# -- the command line --------------------------------------------------------------------------------------------------


def test_flags_of_litellm_warn_and_go_on(tmp_path: Path) -> None:
    flags = [
        *("--telemetry", "False", "--max_budget", "10.5", "--use_prisma_db_push", "--run_gunicorn", "--run_hypercorn"),
        *("--num_requests=3", "--ciphers", "ECDHE", "--detailed_debug", "--drop_params", "--limit_concurrency", "9"),
        *("--local", "--enforce_prisma_migration_check", "--max_requests_before_restart", "100", "--use_queue"),
    ]
    deployments = [process.deployment("m", "http://127.0.0.1:9/v1")]
    with process.running(tmp_path, deployments, flags=flags) as proxy:
        log = proxy.log.read_text("utf-8")
    for name, what in (
        ("--telemetry", "a2py sends no telemetry"),
        ("--max-budget", "a2py enforces no budget"),
        ("--use-prisma-db-push", "a2py has no database"),
        ("--run-gunicorn", "a2py has a server of its own"),
        ("--num-requests", "it has no effect"),
    ):
        assert f"warning: {name} is a flag of LiteLLM and ignored: {what}" in log
    assert "unrecognized" not in log


def test_a_container_that_only_prepares_a_database_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--config", "absent.yaml", "--skip_server_startup"]) == exits.OK
    assert "a2py has no database" in capsys.readouterr().err


def test_a_flag_that_nobody_knows_is_still_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--telemtry", "False"]) == exits.USAGE
    assert "did you mean --telemetry?" in capsys.readouterr().err


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "status"), [("sk-master-1", 200), ("Bearer sk-master-1", 200), ("bearer  sk-master-1", 200), ("sk-x", 401), ("Bearer ", 401)]
)  # fmt: skip
async def test_litellms_key_header(folder: Folder, value: str, status: int) -> None:
    async with ScriptedServer(answering("yes")) as upstream:
        config = replace(load(folder, upstream.base), master_key="sk-master-1")
        (answer,) = await ask(config, x_litellm_api_key=value)
        both = await ask(config, x_litellm_api_key=value, authorization="Bearer sk-other")
    assert answer.status == both[0].status == status
    assert all("x-litellm-api-key" not in one.headers for one in upstream.requests), "it is not sent upstream"
