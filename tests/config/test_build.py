"""One entry of model_list → one deployment: provider, key, base, wire, quirks, parameters."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py import wires
from a2py.config.prefixes import FAMILIES, PREFIXES
from a2py.config.unserved_providers import UNSERVED_CURES
from a2py.messages.request import parse
from a2py.messages.types import Call
from a2py.providers import PROVIDERS, find_quirks, find_wire
from a2py.proxy.lessons import WIRE, with_changes
from a2py.quirks import Quirks, words
from tests.configured import KEY, Folder

ENV = {
    "OPENAI_API_KEY": "ok",
    "DEEPSEEK_API_KEY": "dk",
    "OPENROUTER_API_KEY": "rk",
    "ANTHROPIC_API_KEY": "ak",
    "AZURE_API_KEY": "zk",
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_page_names_every_prefix_whose_bare_address_gets_v1(folder: Folder) -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
    _, _, after = page.partition("A bare address")
    prefixes = re.findall(r"`(\w+)/`", after.partition(". With")[0])
    bases = {
        name: folder.one(f"{{model: {name}/m, api_key: k, api_base: 'http://h.example'}}").base for name in PROVIDERS
    }
    assert sorted(prefixes) == sorted(name for name, base in bases.items() if base == "http://h.example/v1")


# -- provider and model


@pytest.mark.parametrize(
    ("params", "provider", "model"),
    [
        ("{model: openai/gpt-4o}", "openai", "gpt-4o"),
        ("{model: OpenAI/gpt-4o}", "openai", "gpt-4o"),
        ("{model: openrouter/z-ai/glm-4.6}", "openrouter", "z-ai/glm-4.6"),
        ("{model: gpt-4o}", "openai", "gpt-4o"),
        ("{model: o3-mini}", "openai", "o3-mini"),
        ("{model: DeepSeek-chat}", "deepseek", "DeepSeek-chat"),
        ("{model: claude-sonnet-4-5}", "anthropic", "claude-sonnet-4-5"),
        ("{model: openai/responses/gpt-5}", "openai", "gpt-5"),
        ("{model: gpt-4o, custom_llm_provider: deepseek}", "deepseek", "gpt-4o"),
        ("{model: deepseek/x, custom_llm_provider: deepseek}", "deepseek", "x"),
        ("{model: openai/x, custom_llm_provider: openrouter}", "openrouter", "openai/x"),
        ("{model: openai_like/x, api_base: 'http://h/v1'}", "openai", "x"),
        ("{model: openai/facebook/opt-125m, api_base: 'http://0.0.0.0:4000/v1'}", "openai", "facebook/opt-125m"),
        ("{model: my-model, api_base: 'http://h/v1'}", "openai", "my-model"),
        ("{model: x, api_base: 'https://api.deepseek.com'}", "deepseek", "x"),
        ("{model: ollama_chat/qwen3:8b}", "ollama_chat", "qwen3:8b"),
    ],
)
def test_provider_and_model(folder: Folder, params: str, provider: str, model: str) -> None:
    dep = folder.one(params, ENV)
    assert (dep.provider, dep.model, dep.problem) == (provider, model, "")
    assert dep.id == f"{provider}/{model}" and dep.name == "m" and dep.source == "litellm_config.yaml:2"


def test_an_unknown_provider_with_a_base_is_served_and_told(folder: Folder) -> None:
    config = folder.load("model_list: [{model_name: m, litellm_params: {model: depseek/x, api_base: 'http://h/v1'}}]")
    (dep,) = config.deployments
    assert (dep.provider, dep.model, dep.problem) == ("openai", "depseek/x", "")
    assert config.warnings == (
        "litellm_config.yaml:1: `model_list[0].litellm_params.model`: the provider depseek is unknown (did you mean deepseek?), "
        "so its model is requested from an OpenAI-compatible server at api_base. Write openai/ before it.",
    )


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            "{model: depseek/x}",
            "3: `{}.model`: the provider depseek is unknown (did you mean deepseek?). Write provider/model (for example",
        ),
        ("{model: my-own}", "3: `{}.model`: the model my-own has no provider. Write provider/model"),
        (
            "{model: x, custom_llm_provider: zzz}",
            "3: `{}.custom_llm_provider`: the provider zzz is unknown. Write provider/model",
        ),
        (
            "{model: bedrock/anthropic.claude-v2}",
            "3: `{}.model`: the provider bedrock is LiteLLM's, and a2py does not have it. Use its OpenAI-compatible endpoint: openai/<model>",
        ),
        (
            "{model: vertex_ai/gemini-pro}",
            "3: `{}.model`: the provider vertex_ai is LiteLLM's, and a2py does not have it. Use gemini/<model> with GEMINI_API_KEY",
        ),
        (
            "{model: sagemaker/x}",
            "3: `{}.model`: the provider sagemaker is LiteLLM's, and a2py does not have it. Use an OpenAI-compatible server in front of it",
        ),
        ("{model: os.environ/NO_MODEL}", "3: `{}.model` is os.environ/NO_MODEL, but NO_MODEL is not set. Set it in"),
        ("{api_key: x}", "2: `model_list[0]`: `model` is missing. Write it below litellm_params"),
        ("{model: openai/*}", "3: `{}.model` has a * and model_name has none. Write the same wildcard in both."),
        (
            "{model: groq/x}",
            "2: `model_list[0]`: there is no key for groq. Set GROQ_API_KEY in the environment or in .env, or write `api_key` below",
        ),
        (
            "{model: groq/x, api_key: os.environ/MY_KEY}",
            "3: `{}.api_key` is os.environ/MY_KEY, but MY_KEY is not set. Set it in the environment",
        ),
        (
            "{model: groq/x, api_key: k, api_base: os.environ/MY_BASE}",
            "3: `{}.api_base` is os.environ/MY_BASE, but MY_BASE is not set",
        ),
        (
            "{model: groq/x, base_url: os.environ/MY_BASE, api_key: k}",
            "3: `{}.base_url` is os.environ/MY_BASE, but MY_BASE is not set",
        ),
        (
            "{model: groq/x, api_key: k, api_base: your-base}",
            "3: `{}.api_base` must be a URL that begins with http:// or https://, got 'your-base'. "
            "Write a URL such as http://localhost:8000/v1.",
        ),
        (
            "{model: groq/x, api_key: k, api_base: gw.example/v1}",
            "https://, got 'gw.example/v1'. Write https://gw.example/v1.",
        ),
        (
            f"{{model: groq/x, api_key: k, api_base: 'x.y:{KEY}@z'}}",
            "https://, got text. Write a URL such as http://localhost:8000/v1.",
        ),
        (
            "{model: openai/x, api_key: k, api_base: 'http://127.0.0.1:99999/v1'}",
            "3: `{}.api_base` must have a port from 1 to 65535, got 'http://127.0.0.1:99999/v1'. "
            "Correct the number after the host.",
        ),
        (
            "{model: openai/x, api_key: k, api_base: 'http://h:abc/v1'}",
            "a port from 1 to 65535, got 'http://h:abc/v1'.",
        ),
        ("{model: openai/x, api_key: k, api_base: 'http://h.example:0/v1'}", "must have a port from 1 to 65535, got"),
        ("{model: openai/x, api_key: k, api_base: '127.0.0.1:99999'}", "must have a port from 1 to 65535, got"),
        (
            f"{{model: openai/x, api_key: k, api_base: 'http://u:{KEY}#@h.example:1'}}",
            "a port from 1 to 65535, got text.",
        ),
        (
            "{model: openai/x, api_key: k, api_base: 'https://http://gw.example/v1'}",
            "got 'https://http://gw.example/v1'. Write a URL such as http://localhost:8000/v1.",
        ),
        (
            "{model: openai/x, api_key: k, api_base: 'ftp://gw.example/v1'}",
            "got 'ftp://gw.example/v1'. Write a URL such as http://localhost:8000/v1.",
        ),
        (
            "{model: azure/x, api_key: k}",
            "azure has no default base URL. Write `api_base` below litellm_params, or set AZURE_API_BASE in the environment",
        ),
        (
            "{model: hosted_vllm/x}",
            "hosted_vllm has no default base URL. Write `api_base` below litellm_params, or set HOSTED_VLLM_API_BASE",
        ),
        (
            "{model: openai/x, api_base: 'https://api.deepseek.com'}",
            "there is no key for deepseek. Set DEEPSEEK_API_KEY",
        ),
    ],
)
def test_problems_name_place_and_cure(folder: Folder, params: str, problem: str) -> None:
    message = folder.one(params).problem
    assert (
        message.startswith("litellm_config.yaml:") and problem.replace("{}", "model_list[0].litellm_params") in message
    )


@pytest.mark.parametrize("mode", ["embedding", "image_generation", "rerank", "Audio_Speech"])
def test_what_does_not_chat_is_for_openais_endpoints(folder: Folder, mode: str) -> None:
    dep = folder.one("{model: openai/x}", ENV, f"{{mode: {mode}}}")
    assert (dep.problem, dep.mode, dep.is_chat, dep.wire) == ("", mode.lower(), False, "chat")
    vendor = folder.one("{model: deepseek/deepseek-chat, api_key: k}", {}, f"{{mode: {mode}}}")
    assert (vendor.wire, vendor.base) == ("chat", "https://api.deepseek.com"), "not its Anthropic endpoint"


@pytest.mark.parametrize("mode", ["", "chat", "completion", "responses", "unheard-of"])
def test_what_chats(folder: Folder, mode: str) -> None:
    dep = folder.one("{model: openai/x}", ENV, f"{{mode: '{mode}'}}")
    assert (dep.problem, dep.mode, dep.is_chat) == ("", "" if mode == "unheard-of" else mode, True)


@pytest.mark.parametrize("mode", ["video_generation", "ocr", "search", "realtime"])
def test_modes_without_an_endpoint(folder: Folder, mode: str) -> None:
    problem = folder.one("{model: openai/x}", ENV, f"{{mode: {mode}}}").problem
    place = "litellm_config.yaml:4: `model_list[0].model_info.mode`"
    assert problem == f"{place} is {mode}, for which a2py has no endpoint. Remove the model."


def test_a_model_that_does_not_chat_is_nobodys_default(folder: Folder) -> None:
    text = """
    model_list:
      - {model_name: vectors, litellm_params: {model: openai/x}, model_info: {mode: embedding}}
      - {model_name: chat, litellm_params: {model: openai/y}}
    """
    config = folder.load(text, ENV)
    assert config.default_name == "chat" and config.list_chat_names() == ("chat",)
    assert config.list_names() == ("vectors", "chat")
    alone = folder.load(text.replace("- {model_name: chat, litellm_params: {model: openai/y}}", ""), ENV)
    assert alone.default_name == "" and alone.list_chat_names() == ()


def test_tables_name_rows() -> None:
    assert set(PREFIXES.values()) <= set(PROVIDERS) and {name for _, name in FAMILIES} <= set(PROVIDERS)
    assert not set(PREFIXES) & set(PROVIDERS) and not set(UNSERVED_CURES) & set(PROVIDERS)


# -- key


@pytest.mark.parametrize(
    ("params", "env", "key"),
    [
        ("{model: openai/x, api_key: abc}", ENV, "abc"),
        ("{model: openai/x, api_key: 0123}", ENV, "0123"),
        ("{model: openai/x, api_key: os.environ/MINE}", {**ENV, "MINE": " mk "}, "mk"),
        ("{model: openai/x, api_key: ''}", ENV, "ok"),
        ("{model: openai/x, api_key: null}", ENV, "ok"),
        ("{model: openai/x}", {"OPENAI_API_KEY": " k\n"}, "k"),
        ("{model: openrouter/x}", {"OR_API_KEY": "k2", "OPENROUTER_API_KEY": ""}, "k2"),
        ("{model: ollama/x}", {}, ""),
        ("{model: ollama/x}", {"OLLAMA_API_KEY": "k"}, "k"),
        ("{model: ollama/x, api_key: os.environ/NO}", {}, ""),
        ("{model: openai/x, api_base: 'http://127.0.0.1:9/v1'}", {}, ""),
        ("{model: openai/x, api_base: 'http://127.0.0.1:9/v1'}", ENV, "ok"),
        ("{model: openai/x, api_base: 'http://h:11434/v1'}", {}, ""),
        ("{model: openai/x, api_base: 'https://api.deepseek.com/v1'}", ENV, "dk"),
        ("{model: anthropic/x}", ENV, "ak"),
    ],
)
def test_where_the_key_comes_from(folder: Folder, params: str, env: dict[str, str], key: str) -> None:
    dep = folder.one(params, env)
    assert (dep.key, dep.problem) == (key, "")


def test_openais_key_at_another_host_is_told(folder: Folder) -> None:
    text = (
        "model_list: [{model_name: m, litellm_params: {model: openai/x, api_base: 'https://u:p@gpu.example/v1?sig=s'}}]"
    )
    assert folder.load(text, ENV).warnings == ()  # the base brings its own credentials
    config = folder.load(text.replace("u:p@", ""), ENV)
    assert config.deployments[0].key == "ok"
    assert config.warnings == (
        "litellm_config.yaml:1: `model_list[0]` has no api_key, so OPENAI_API_KEY is sent to gpu.example. Write `api_key` to choose.",
    )


@pytest.mark.parametrize("key", ['"a\\nb"', "schlüssel"])
def test_a_key_that_can_be_no_header_is_a_problem(folder: Folder, key: str) -> None:
    assert (
        "`model_list[0].litellm_params.api_key` has a line break, or letters outside ASCII, which no key has. Copy"
        in folder.one(f"{{model: openai/x, api_key: {key}}}").problem
    )


def test_a_base_with_a_login(folder: Folder) -> None:
    dep = folder.one("{model: openai/x, api_base: 'https://u:p@h.example/v1?sig=s'}")
    assert (dep.base, dep.query, dep.headers, dep.key) == (
        "https://h.example/v1",
        "sig=s",
        {"Authorization": "Basic dTpw"},
        "",
    )
    assert "sig" not in repr(dep) and "Basic" not in repr(dep)
    dep = folder.one("{model: openai/x, api_key: k, api_base: 'https://u:p@h.example/v1'}")
    assert (dep.headers, dep.key) == ({}, "k")


# -- base


@pytest.mark.parametrize(
    ("params", "env", "base"),
    [
        ("{model: openai/x}", {}, "https://api.openai.com/v1"),
        ("{model: openai/x}", {"OPENAI_API_BASE": "http://a/v1/"}, "http://a/v1"),
        ("{model: openai/x}", {"OPENAI_API_BASE": "http://a/v1", "OPENAI_BASE_URL": "http://b/v1"}, "http://b/v1"),
        ("{model: openai/x, base_url: 'http://c/v1'}", {"OPENAI_API_BASE": "http://a/v1"}, "http://c/v1"),
        ("{model: openai/x, base_url: 'http://c/v1', api_base: 'http://d/v1'}", {}, "http://d/v1"),
        ("{model: openai/x, api_base: 'http://d'}", {}, "http://d"),
        ("{model: ollama/x}", {}, "http://localhost:11434/v1"),
        ("{model: ollama/x}", {"OLLAMA_API_BASE": "http://box:11434"}, "http://box:11434/v1"),
        ("{model: ollama/x, api_base: 'box.lan:11434'}", {}, ""),
        ("{model: ollama/x, api_base: '192.168.0.2:11434/api'}", {}, "http://192.168.0.2:11434/v1"),
        ("{model: ollama_chat/x}", {"OLLAMA_API_BASE": "http://box:11434/"}, "http://box:11434/v1"),
        ("{model: hosted_vllm/x}", {"HOSTED_VLLM_API_BASE": "http://gpu:8000"}, "http://gpu:8000/v1"),
        ("{model: lm_studio/x, api_base: 'http://localhost:1234/v1'}", {}, "http://localhost:1234/v1"),
    ],
)
def test_where_the_base_comes_from(folder: Folder, params: str, env: dict[str, str], base: str) -> None:
    assert folder.one(params, env).base == base


@pytest.mark.parametrize(
    ("params", "env", "base", "query"),
    [
        ("api_base: 'https://r.openai.azure.com/'", {}, "https://r.openai.azure.com/openai/v1", ""),
        (
            "api_base: 'https://r.openai.azure.com', api_version: 2024-10-21",
            {},
            "https://r.openai.azure.com/openai/deployments/d",
            "api-version=2024-10-21",
        ),
        (
            "{}",
            {"AZURE_API_BASE": "https://e.openai.azure.com", "AZURE_API_VERSION": "2025-01-01"},
            "https://e.openai.azure.com/openai/deployments/d",
            "api-version=2025-01-01",
        ),
    ],
)
def test_azure(folder: Folder, params: str, env: dict[str, str], base: str, query: str) -> None:
    params = "" if params == "{}" else ", " + params
    dep = folder.one(f"{{model: azure/d, api_key: k{params}}}", env)
    assert (dep.base, dep.query, dep.auth, dep.key, dep.problem) == (base, query, "api-key", "k", "")


def test_azures_token_is_a_bearer(folder: Folder) -> None:
    dep = folder.one("{model: azure/d, azure_ad_token: tok, api_base: 'https://r.openai.azure.com'}")
    assert (dep.auth, dep.key, dep.problem) == ("bearer", "tok", "")
    dep = folder.one("{model: azure/d, azure_ad_token: tok, api_key: k, api_base: 'https://r.openai.azure.com'}")
    assert (dep.auth, dep.key) == ("api-key", "k")


def test_azures_quirks_follow_the_base_model(folder: Folder) -> None:
    params = "{model: azure/d, api_key: k, api_base: 'https://r.openai.azure.com'}"
    dep = folder.one(params, info="{base_model: azure/gpt-5}")
    assert dep.quirks == find_quirks("azure", dep.base, "gpt-5") != folder.one(params).quirks


# -- wire: what the configuration says comes first (issue: choice), then the table

NATIVE = '{supported_endpoints: ["/v1/messages"]}'
FLAG = "litellm_settings: {use_chat_completions_url_for_anthropic_messages: true}\n"
WIRES: list[tuple[str, str, str, str, bool, str]] = [
    # params, model_info, further text, wire, fixed by the configuration, base
    ("{model: openai/gpt-4o}", "{}", "", "chat", False, "https://api.openai.com/v1"),
    ("{model: openai/gpt-5.4}", "{}", "", "responses", False, "https://api.openai.com/v1"),
    (
        "{model: openai/gpt-5.4, api_base: 'https://api.openai.com/v1'}",
        "{}",
        "",
        "responses",
        False,
        "https://api.openai.com/v1",
    ),
    ("{model: openai/gpt-5.4, api_base: 'http://h/v1'}", "{}", "", "chat", False, "http://h/v1"),
    ("{model: openai/responses/gpt-4o}", "{}", "", "responses", True, "https://api.openai.com/v1"),
    ("{model: openai/responses/x, api_base: 'http://h/v1'}", "{}", "", "responses", True, "http://h/v1"),
    ("{model: openai/gpt-4o}", "{mode: responses}", "", "responses", True, "https://api.openai.com/v1"),
    ("{model: openai/gpt-5.4}", "{mode: chat}", "", "chat", True, "https://api.openai.com/v1"),
    ("{model: openai/responses/gpt-4o}", "{mode: chat}", "", "responses", True, "https://api.openai.com/v1"),
    ("{model: openai/gpt-5.4, use_chat_completions_api: true}", "{}", "", "chat", True, "https://api.openai.com/v1"),
    (
        "{model: openai/gpt-5.4, use_chat_completions_api: true}",
        "{mode: responses}",
        "",
        "responses",
        True,
        "https://api.openai.com/v1",
    ),
    (
        "{model: openai/gpt-5.4}",
        '{supported_endpoints: ["/v1/chat/completions"]}',
        "",
        "chat",
        True,
        "https://api.openai.com/v1",
    ),
    (
        "{model: openai/gpt-4o}",
        '{supported_endpoints: ["/v1/responses"]}',
        "",
        "responses",
        True,
        "https://api.openai.com/v1",
    ),
    (
        "{model: openai/gpt-4o}",
        '{supported_endpoints: ["/v1/chat/completions", "/v1/responses"]}',
        "",
        "chat",
        False,
        "https://api.openai.com/v1",
    ),
    ("{model: openai/x, api_base: 'http://h:1/v1'}", NATIVE, "", "native", True, "http://h:1"),
    ("{model: openai/x, api_base: 'http://h:1/anthropic'}", NATIVE, "", "native", True, "http://h:1/anthropic"),
    ("{model: openai/x, api_base: 'http://h:1/v1/messages'}", NATIVE, "", "native", True, "http://h:1"),
    (
        "{model: openai/x, api_base: 'http://h:1'}",
        '{mode: chat, supported_endpoints: ["/v1/messages/"]}',
        "",
        "native",
        True,
        "http://h:1",
    ),
    ("{model: openrouter/x}", NATIVE, "", "native", True, "https://openrouter.ai/api"),
    ("{model: ollama/x}", NATIVE, "", "native", True, "http://localhost:11434"),
    ("{model: hosted_vllm/x, api_base: 'http://gpu:8000'}", NATIVE, "", "native", True, "http://gpu:8000"),
    ("{model: anthropic/claude-sonnet-4-5}", "{}", "", "native", False, "https://api.anthropic.com"),
    (
        "{model: anthropic/claude-sonnet-4-5, api_base: 'https://gate.example/v1'}",
        "{}",
        "",
        "native",
        False,
        "https://gate.example",
    ),
    (
        "{model: deepseek/deepseek-chat, use_chat_completions_api: true}",
        "{}",
        "",
        "chat",
        True,
        "https://api.deepseek.com",
    ),
    ("{model: deepseek/deepseek-chat, api_base: 'http://h/v1'}", "{}", "", "chat", False, "http://h/v1"),
    ("{model: openai/gpt-5.4}", "{}", FLAG, "chat", True, "https://api.openai.com/v1"),
    ("{model: openai/responses/gpt-5.4}", "{mode: responses}", FLAG, "chat", True, "https://api.openai.com/v1"),
    ("{model: anthropic/claude-sonnet-4-5}", "{}", FLAG, "native", False, "https://api.anthropic.com"),
]


@pytest.mark.parametrize(("params", "info", "more", "wire", "is_fixed", "base"), WIRES)
def test_the_choice_of_the_wire(
    folder: Folder, params: str, info: str, more: str, wire: str, is_fixed: bool, base: str
) -> None:
    dep = folder.one(params, ENV, info, more)
    assert (dep.wire, dep.wire_fixed, dep.base, dep.problem) == (wire, is_fixed, base, "")


@pytest.mark.parametrize("provider", [row.name for row in PROVIDERS.values() if row.base])
def test_without_a_word_the_table_chooses(folder: Folder, provider: str) -> None:
    row = PROVIDERS[provider]
    model = row.default_model or "some-model"
    dep = folder.one(f"{{model: {provider}/{model}, api_key: k}}")
    assert (dep.wire, dep.wire_fixed, dep.problem) == (find_wire(provider, "", model), False, "")
    assert dep.base == (row.native if dep.wire == "native" else row.base)


@pytest.mark.parametrize("name", ["LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES"])
def test_the_variable_rules_responses_out(folder: Folder, name: str) -> None:
    assert folder.one("{model: openai/gpt-5.4}", {**ENV, name: "True"}).wire == "chat"
    assert folder.one("{model: openai/gpt-5.4}", {**ENV, name: "false"}).wire == "responses"
    off = "litellm_settings: {use_chat_completions_url_for_anthropic_messages: false}\n"
    assert (
        folder.one("{model: openai/gpt-5.4}", {**ENV, name: "True"}, more=off).wire == "responses"
    )  # the file is nearer


def test_no_anthropic_endpoint_is_a_problem(folder: Folder) -> None:
    assert (
        "supported_endpoints`: groq has no Anthropic endpoint. Give api_base"
        in folder.one("{model: groq/x, api_key: k}", info=NATIVE).problem
    )


# -- quirks


def test_quirks_come_from_the_table(folder: Folder) -> None:
    for params in (
        "{model: openai/gpt-4o}",
        "{model: deepseek/deepseek-chat}",
        "{model: openai/x, api_base: 'http://h/v1'}",
    ):
        dep = folder.one(params, ENV)
        assert replace(dep.quirks, reasoning_unknown=False) == find_quirks(dep.provider, dep.base, dep.model)
    foreign = folder.one("{model: openai/x, api_base: 'http://h/v1'}", ENV).quirks
    assert foreign == Quirks(reasoning_history="reply", think_tags=True, reasoning_unknown=True)  # not OpenAI's own


@pytest.mark.parametrize(
    ("info", "field", "value"),
    [
        ("{supports_vision: false}", "images", False),
        ("{supports_vision: true}", "images", True),
        ("{supports_function_calling: false}", "tools", False),
        ("{supports_reasoning: false}", "reasoning", "none"),
        ("{quirks: {images: false, stop_limit: 1}}", "stop_limit", 1),
        ("{supports_vision: false, quirks: {images: true}}", "images", True),
        ("{quirks: {schema: [drop_$schema]}}", "schema", ("drop_$schema",)),
        ("{quirks: {sampling: [top_k]}}", "sampling", frozenset({"top_k"})),
        ("{quirks: {temperature_max: 1}}", "temperature_max", 1.0),
    ],
)
def test_model_info_changes_quirks(folder: Folder, info: str, field: str, value: Any) -> None:
    assert getattr(folder.one("{model: openai/gpt-4o}", ENV, info).quirks, field) == value


def test_supports_reasoning_true_speaks_for_servers_that_no_row_knows(folder: Folder) -> None:
    """The tables know a vendor's models better; of a server of one's own they know nothing."""
    plain = folder.one("{model: openai/gpt-4o}", ENV)
    assert folder.one("{model: openai/gpt-4o}", ENV, "{supports_reasoning: true}").quirks == plain.quirks
    own = "{model: openai/mine, api_base: 'http://h/v1'}"
    assert folder.one(own, ENV).quirks.reasoning == "none"
    assert folder.one(own, ENV, "{supports_reasoning: true}").quirks.reasoning == "effort"
    assert (
        folder.one(own, ENV, "{supports_reasoning: true, quirks: {reasoning: template}}").quirks.reasoning == "template"
    )


@pytest.mark.parametrize(
    ("params", "info", "name"),
    [
        ("{model: openai/x, api_base: 'http://h/v1', reasoning_effort: low}", "{}", "reasoning_effort"),
        ("{model: openai/x, api_base: 'http://h/v1', thinking: {type: enabled}}", "{}", "reasoning_effort"),
        ("{model: openai/x, api_base: 'http://h/v1', top_k: 3, temperature: 0.5}", "{}", "top_k"),
        ("{model: openai/x, api_base: 'http://h/v1', reasoning_effort: low}", "{supports_reasoning: true}", ""),
        ("{model: openai/x, api_base: 'http://h/v1', top_k: 3, allowed_openai_params: [top_k]}", "{}", ""),
        ("{model: openai/x, api_base: 'http://h', top_k: 3}", NATIVE, ""),
        ("{model: openai/gpt-4o, temperature: 0.5}", "{}", ""),
        ("{model: deepseek/deepseek-reasoner, reasoning_effort: low}", "{}", ""),
    ],
)
def test_a_default_that_can_not_be_sent_is_told(folder: Folder, params: str, info: str, name: str) -> None:
    text = f"model_list: [{{model_name: m, litellm_params: {params}, model_info: {info}}}]"
    warnings = [warning for warning in folder.load(text, ENV).warnings if "is not sent" in warning]
    assert len(warnings) == bool(name) and (not name or f"allowed_openai_params: [{name}]" in warnings[0]), warnings


@pytest.mark.parametrize("pattern", ["m", "openai/gpt-4o", "gpt-4*", "openai/*", "'*'"])
def test_quirks_by_name_and_pattern(folder: Folder, pattern: str) -> None:
    more = f"a2py: {{quirks: {{{pattern}: {{stop_limit: 2, images: false}}, other: {{stop_limit: 3}}}}}}\n"
    dep = folder.one("{model: openai/gpt-4o}", ENV, "{quirks: {images: true}}", more)
    assert (dep.quirks.stop_limit, dep.quirks.images) == (2, True)  # the deployment's own come last


def test_quirks_by_id(folder: Folder) -> None:
    more = "a2py: {quirks: {mine: {stop_limit: 2}}}\n"
    assert folder.one("{model: openai/gpt-4o}", ENV, "{id: mine}", more).quirks.stop_limit == 2


def test_wrong_quirks_are_told_and_left_out(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - model_name: m
            litellm_params: {model: openai/gpt-4o}
            model_info: {quirks: {imagess: false, zzz: 1}}
        a2py:
          quirks: {"*": {tools: 3, images: false}}
        """,
        ENV,
    )
    assert config.warnings == (
        "litellm_config.yaml:6: `a2py.quirks.*.tools` must be true or false, got 3. It is ignored.",
        "litellm_config.yaml:4: `model_list[0].model_info.quirks.imagess` is unknown and ignored. Did you mean `images`?",
        "litellm_config.yaml:4: `model_list[0].model_info.quirks.zzz` is unknown and ignored.",
    )
    assert config.deployments[0].quirks.images is False and config.deployments[0].quirks.tools is True


@pytest.mark.parametrize(
    ("quirk", "value", "problem"),
    [
        (
            "structured",
            "json_shema",
            "must be one of json_schema, json_object, none, got 'json_shema'. Did you mean json_schema?",
        ),
        ("structured", "false", "must be one of json_schema, json_object, none, got False. It is ignored."),
        ("tool_choice_any", "auto", "must be one of required, any, \"\", got 'auto'. It is ignored."),
        ("sampling", "[topk]", "must be one of temperature, top_p, top_k, got 'topk'. Did you mean top_k?"),
    ],
)
def test_a_misspelt_word_is_told_and_left_out(folder: Folder, quirk: str, value: str, problem: str) -> None:
    info = f"model_info: {{quirks: {{{quirk}: {value}, images: false}}}}"
    config = folder.load(f"model_list: [{{model_name: m, litellm_params: {{model: openai/gpt-4o}}, {info}}}]", ENV)
    place = f"litellm_config.yaml:1: `model_list[0].model_info.quirks.{quirk}`"
    assert config.warnings == (f"{place} {problem}",)
    [dep] = config.deployments
    plain = folder.one("{model: openai/gpt-4o}", ENV)
    assert dep.quirks == replace(plain.quirks, images=False)
    assert dep.overrides == {"images": False}


@pytest.mark.parametrize("quirk", words())
def test_no_misspelt_word_reaches_a_request(folder: Folder, quirk: str) -> None:
    """Each request to such a deployment was a 500, and so was the move to another wire."""
    bad = "[efort]" if quirk in ("sampling", "schema") else "efort"
    dep = folder.one("{model: openai/gpt-4o}", ENV, f"{{quirks: {{{quirk}: {bad}}}}}")
    call = Call(parse(b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'), "msg_1", 0.0)
    for name in wires.WIRES:
        other = with_changes(dep, {WIRE: name})
        assert other.wire == name and wires.wire(name).prepare(call, other, True).body


# -- everything else lands where the wires and the router read it


def test_parameters_land(folder: Folder) -> None:
    dep = folder.one(
        "{model: openai/gpt-4o, max_tokens: 100, max_completion_tokens: 90, temperature: 0, top_p: 0.5, top_k: 3, reasoning_effort: low,"
        " thinking: {type: enabled, budget_tokens: 1024}, timeout: 10, stream_timeout: 5, num_retries: 0, max_retries: 7,"
        " extra_headers: {X-A: b}, extra_body: {seed: 1, service_tier: flex}, additional_drop_params: [stop],"
        " allowed_openai_params: [tools], rpm: 6, tpm: 7, order: 2, max_parallel_requests: 3, keepalive_seconds: 9, ssl_verify: /etc/ssl,"
        " organization: org-1, seed: 5, verbosity: low, parallel_tool_calls: false}",
        ENV,
        "{id: mine, cache_control_ttl: 1h, max_input_tokens: 1000, max_output_tokens: 200, max_tokens: 300, base_model: openai/gpt-4.1}",
        "a2py: {enforce_limits: true}",
    )
    assert dep.params == {
        "max_tokens": 100,
        "max_completion_tokens": 90,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "reasoning_effort": "low",
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "verbosity": "low",
    }
    assert (dep.timeout, dep.stream_timeout, dep.retries, dep.rpm, dep.tpm, dep.order, dep.max_parallel) == (
        10.0,
        5.0,
        0,
        6,
        7,
        2,
        3,
    )
    assert dep.headers == {"OpenAI-Organization": "org-1", "X-A": "b"}
    assert dep.extra_body == {"seed": 1, "verbosity": "low", "parallel_tool_calls": False, "service_tier": "flex"}
    assert (dep.drop, dep.allow) == (frozenset({"stop"}), frozenset({"tools"}))
    assert (dep.keepalive, dep.ssl_verify, dep.id, dep.cache_control_ttl, dep.base_model) == (
        9.0,
        "/etc/ssl",
        "mine",
        "1h",
        "openai/gpt-4.1",
    )
    assert (dep.max_input_tokens, dep.max_output_tokens) == (1000, 200)


def test_nothing_said_leaves_the_defaults(folder: Folder) -> None:
    dep = folder.one("{model: openai/gpt-4o}", ENV)
    assert (dep.params, dep.extra_body, dep.headers, dep.drop, dep.retries, dep.weight, dep.timeout) == (
        {},
        {},
        {},
        frozenset(),
        -1,
        1.0,
        0.0,
    )
    assert dep.ssl_verify is True and dep.max_input_tokens == 0


def test_fields_of_the_body_go_where_the_wire_knows_them(folder: Folder) -> None:
    params = "{model: openai/x, api_base: 'http://h/v1', seed: 1, service_tier: flex, extra_body: {a: 1}}"
    assert folder.one(params).extra_body == {"seed": 1, "service_tier": "flex", "a": 1}
    assert folder.one(params, info="{mode: responses}").extra_body == {"service_tier": "flex", "a": 1}
    assert folder.one(params, info=NATIVE).extra_body == {"a": 1}


def test_settings_reach_the_deployment(folder: Folder) -> None:
    more = "litellm_settings: {ssl_verify: false, reasoning_auto_summary: false}\ngeneral_settings: {max_parallel_requests: 4}\n"
    dep = folder.one("{model: openai/gpt-4o}", ENV, more=more)
    assert (dep.ssl_verify, dep.max_parallel, dep.params) == (False, 4, {"reasoning_auto_summary": False})
    dep = folder.one("{model: openai/gpt-4o, ssl_verify: true, max_parallel_requests: 1}", ENV, more=more)
    assert (dep.ssl_verify, dep.max_parallel) == (True, 1)


def test_headers_of_the_environment_stay_with_their_vendor(folder: Folder) -> None:
    env = {**ENV, "OPENAI_ORGANIZATION": "org", "OR_SITE_URL": "https://me", "OR_APP_NAME": "app\nEvil: 1"}
    assert folder.one("{model: openai/gpt-4o}", env).headers == {"OpenAI-Organization": "org"}
    assert folder.one("{model: openai/gpt-4o, api_base: 'http://h/v1'}", env).headers == {}
    assert folder.one("{model: openrouter/x}", env).headers["HTTP-Referer"] == "https://me"
    assert "X-Title" not in folder.one("{model: openrouter/x}", env).headers


def test_an_unset_variable_of_a_lesser_key_is_told(folder: Folder) -> None:
    config = folder.load(
        "model_list: [{model_name: m, litellm_params: {model: openai/x, organization: os.environ/ORG}}]", ENV
    )
    assert config.warnings == (
        "litellm_config.yaml:1: `model_list[0].litellm_params.organization` is ignored: the variable ORG is not set. Set ORG.",
    )
    assert not config.deployments[0].problem


def test_the_key_is_not_in_the_repr(folder: Folder) -> None:
    dep = folder.one(f"{{model: openai/x, api_key: {KEY}, extra_headers: {{X-Key: {KEY}}}, extra_body: {{k: {KEY}}}}}")
    assert dep.key == KEY and KEY not in repr(dep)


def test_allowed_params_are_sent_although_the_row_leaves_them_out() -> None:
    from a2py.evidence.resolve import _find_changes
    from a2py.quirks import Quirks, override

    plain = Quirks(tools=False, stop_limit=0, sampling=frozenset(), stream_usage=False)
    names = (
        "tools",
        "stop",
        "temperature",
        "reasoning_effort",
        "stream_options",
        "prompt_cache_key",
        "service_tier",
        "unheard_of",
    )
    quirks = plain
    for name in names:
        quirks = override(quirks, _find_changes(name, quirks))
    assert quirks == Quirks(sampling=frozenset({"temperature"}), reasoning="effort", cache="key", service_tier=True)
    capable = Quirks(reasoning="openrouter", stop_limit=2, cache="breakpoint")
    assert [_find_changes(name, capable) for name in ("reasoning_effort", "stop", "prompt_cache_key")] == [{}, {}, {}]
