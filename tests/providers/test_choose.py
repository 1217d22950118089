"""Which row, wire and base a deployment gets."""

from __future__ import annotations

import pytest

from a2py.providers import find_host_row, find_native_base, find_wire
from a2py.providers.choose import layers_for, row_is_guess
from a2py.providers.table import PROVIDERS


@pytest.mark.parametrize(
    ("base", "row"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://API.OpenAI.com:443/v1/", "openai"),
        ("api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://evil-api.openai.com.example/v1", ""),
        ("https://user:secret@api.deepseek.com/v1", "deepseek"),
        ("https://my-thing.openai.azure.com", "azure"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://w1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://api.minimaxi.com/v1", "minimax"),
        ("https://api.moonshot.cn/v1", "moonshot"),
        ("https://api.together.ai/v1", "together_ai"),
        ("https://ollama.com/v1", "ollama"),
        ("http://192.168.1.5:11434/v1", "ollama"),
        ("http://[::1]:11434", "ollama"),
        ("http://127.0.0.1:1234/v1", "lm_studio"),
        ("http://host.docker.internal:12434/engines/v1", "docker_model_runner"),
        ("http://127.0.0.1:30000/v1", "sglang"),
        ("http://localhost:8000/v1", ""),
        ("http://localhost:8080/v1", ""),
        ("https://openai.com.example.org/v1", ""),
        ("https://notopenai.azure.example", ""),
        ("http://localhost:99999999/v1", ""),
        ("http://[bad", ""),
        ("", ""),
    ],
)
def test_by_host(base: str, row: str) -> None:
    assert find_host_row(base) == row


#: provider, base, model → wire. Issue 3 of the project's plan asks for some fifty.
WIRES = [
    # api.openai.com: responses where chat completions refuses reasoning with tools, or has not got the model
    ("openai", "", "gpt-4o", "chat"),
    ("openai", "", "gpt-4.1-mini", "chat"),
    ("openai", "", "gpt-5", "chat"),
    ("openai", "", "gpt-5-mini-2025-08-07", "chat"),
    ("openai", "", "gpt-5.1", "chat"),
    ("openai", "", "o3", "chat"),
    ("openai", "", "o4-mini", "chat"),
    ("openai", "", "gpt-5.2", "responses"),
    ("openai", "", "gpt-5.4-nano", "responses"),
    ("openai", "", "GPT-5.6-Sol", "responses"),
    ("openai", "", "gpt-6.2-astra", "responses"),
    ("openai", "", "gpt-5-codex", "responses"),
    ("openai", "", "gpt-5.1-codex-max", "responses"),
    ("openai", "", "codex-mini-latest", "responses"),
    ("openai", "", "gpt-5-pro", "responses"),
    ("openai", "", "o3-pro", "responses"),
    ("openai", "", "o4-mini-deep-research", "responses"),
    ("openai", "", "gpt-5.2-chat-latest", "chat"),
    ("openai", "https://api.openai.com/v1/", "gpt-5.5", "responses"),
    ("openai", "https://api.openai.com/v1", "gpt-3.5-turbo", "chat"),
    ("openai", "https://eu.api.openai.com/v1", "gpt-5.5", "responses"),
    ("moonshot", "https://api.moonshot.cn/anthropic", "kimi-k3", "native"),
    ("anthropic", "https://x.services.ai.azure.com/anthropic", "claude-opus-5-5", "native"),
    # … and nowhere else
    ("openai", "http://localhost:8000/v1", "gpt-5.5", "chat"),
    ("openai", "https://gateway.example/v1", "gpt-5.6-sol", "chat"),
    ("azure", "https://x.openai.azure.com", "gpt-5.5", "chat"),
    ("openrouter", "", "openai/gpt-5.5", "chat"),
    ("github", "", "openai/gpt-5.5", "chat"),
    ("litellm_proxy", "http://proxy:4000", "gpt-5.5", "chat"),
    # native: the vendor's own endpoint, its own models, its own base
    ("anthropic", "", "claude-opus-5-5", "native"),
    ("anthropic", "https://gateway.example", "claude-opus-5-5", "native"),
    ("anthropic", "https://api.deepseek.com/anthropic", "deepseek-v4-pro", "native"),
    ("deepseek", "", "deepseek-v4-pro", "native"),
    ("deepseek", "https://api.deepseek.com", "deepseek-v4-flash", "native"),
    ("moonshot", "", "kimi-k3", "native"),
    ("moonshot", "", "moonshot-v1-128k", "chat"),
    ("minimax", "", "MiniMax-M3", "native"),
    ("minimax", "", "abab6.5s-chat", "chat"),
    ("zai", "", "glm-5.3", "native"),
    ("bigmodel", "", "glm-4.6", "native"),
    ("dashscope", "", "qwen3.8-max", "native"),
    ("dashscope", "", "deepseek-v4-pro", "chat"),
    ("openrouter", "", "anthropic/claude-sonnet-5.5", "native"),
    ("openrouter", "", "deepseek/deepseek-v4-pro", "chat"),
    ("openrouter", "https://openrouter.ai/api/v1", "anthropic/claude-haiku-4.5", "native"),
    # a base of the user's own is asked by chat …
    ("openai", "https://api.deepseek.com", "deepseek-v4-pro", "chat"),
    ("deepseek", "https://api.deepseek.com/beta", "deepseek-v4-pro", "chat"),
    ("deepseek", "https://corporate.example/v1", "deepseek-v4-pro", "chat"),
    ("zai", "https://api.z.ai/api/coding/paas/v4", "glm-5.3", "chat"),
    ("moonshot", "https://api.moonshot.cn/v1", "kimi-k3", "chat"),
    ("openrouter", "https://eu.openrouter.ai/api/v1", "anthropic/claude-sonnet-5.5", "chat"),
    # … unless it names the vendor's Anthropic endpoint
    ("openai", "https://api.z.ai/api/anthropic", "glm-5.3", "native"),
    ("zai", "https://api.z.ai/api/anthropic/", "glm-5.3", "native"),
    ("minimax", "https://api.minimaxi.com/anthropic", "MiniMax-M3", "native"),
    ("minimax", "https://api.minimax.io/anthropic/v1/messages", "MiniMax-M3", "native"),
    ("openrouter", "https://openrouter.ai/api", "z-ai/glm-5.3", "native"),
    # everybody else
    ("gemini", "", "gemini-3.8-flash", "chat"),
    ("groq", "", "openai/gpt-oss-120b", "chat"),
    ("mistral", "", "mistral-large-latest", "chat"),
    ("xai", "", "grok-4.7", "chat"),
    ("hosted_vllm", "http://h:8000/v1", "qwen3", "chat"),
    ("ollama", "", "qwen3", "chat"),
    ("nobody", "", "", "chat"),
    ("", "", "", "chat"),
]


@pytest.mark.parametrize(("provider", "base", "model", "wire"), WIRES, ids=[f"{p}:{b}:{m}" for p, b, m, _ in WIRES])
def test_wire_for(provider: str, base: str, model: str, wire: str) -> None:
    assert find_wire(provider, base, model) == wire


@pytest.mark.parametrize(
    ("provider", "base", "expected"),
    [
        ("deepseek", "", "https://api.deepseek.com/anthropic"),
        ("deepseek", "https://api.deepseek.com/", "https://api.deepseek.com/anthropic"),
        ("openrouter", "https://openrouter.ai/api/v1", "https://openrouter.ai/api"),
        ("anthropic", "", "https://api.anthropic.com"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("anthropic", "https://gateway.example/v1/messages", "https://gateway.example"),
        ("anthropic", "https://gateway.example/anthropic", "https://gateway.example/anthropic"),
        ("minimax", "https://api.minimaxi.com/anthropic", "https://api.minimaxi.com/anthropic"),
        ("hosted_vllm", "http://h:8000/v1", "http://h:8000"),
        ("groq", "", ""),
    ],
)
def test_native_base(provider: str, base: str, expected: str) -> None:
    assert find_native_base(provider, base) == expected


@pytest.mark.parametrize(
    ("provider", "base", "is_guess"),
    [
        ("openai", "http://10.0.0.1:8000/v1", True),
        ("someone", "http://10.0.0.1:8000/v1", True),
        ("openai", "https://api.deepseek.com/v1", False),
        ("ollama", "http://10.0.0.1:8000/v1", False),
        ("openai", "", False),
    ],
)
def test_a_row_is_a_guess_where_neither_the_prefix_nor_the_host_names_the_server(
    provider: str, base: str, is_guess: bool
) -> None:
    assert row_is_guess(provider, base) is is_guess


def host_reason(provider: str, base: str, server: str | None) -> str:
    """Return the `docs` of the row whose quirks count."""
    return next(layer.reason for layer in layers_for(provider, base, "m", server) if layer.source == "host")


def test_the_row_that_the_server_names_takes_the_place_of_a_guess_only() -> None:
    ollama_port, deepseek = "http://10.0.0.1:11434/v1", "https://api.deepseek.com/v1"
    assert host_reason("openai", ollama_port, None) == PROVIDERS["ollama"].docs
    assert host_reason("openai", ollama_port, "llamacpp") == PROVIDERS["llamacpp"].docs
    assert host_reason("openai", ollama_port, "") == ""
    assert host_reason("openai", deepseek, "llamacpp") == PROVIDERS["deepseek"].docs
