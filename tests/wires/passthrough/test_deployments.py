"""Which deployments are asked at an endpoint, and where."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.providers import PROVIDERS
from a2py.wires.passthrough.deployments import build_address, explain_refusal, find_account, find_base
from a2py.wires.passthrough.endpoints import ENDPOINTS


def deployment(provider: str = "openai", base: str = "https://api.openai.com/v1", **more: Any) -> Deployment:
    return Deployment(name="m", id="m/1", provider=provider, model="m", base=base, key="k", **more)


DEEPSEEK = deployment("deepseek", "https://api.deepseek.com/anthropic", wire="native")
CLAUDE = deployment("anthropic", "https://api.anthropic.com", wire="native")
VLLM = deployment("hosted_vllm", "http://127.0.0.1:8000", wire="native")
CHINA = deployment("minimax", "https://api.minimaxi.com/anthropic", wire="native")


@pytest.mark.parametrize(
    ("dep", "base"),
    [
        (deployment(), "https://api.openai.com/v1"),
        (DEEPSEEK, "https://api.deepseek.com"),
        (VLLM, "http://127.0.0.1:8000/v1"),
        (CLAUDE, ""),
        (CHINA, ""),
        (deployment("unknown", "http://x", wire="native"), ""),
    ],
)
def test_base(dep: Deployment, base: str) -> None:
    assert find_base(dep) == base


@pytest.mark.parametrize(
    ("dep", "endpoint", "reason"),
    [
        (deployment(), "chat/completions", ""),
        (deployment(), "embeddings", ""),
        (deployment(mode="chat"), "responses", ""),
        (deployment(mode="chat"), "embeddings", "`model_info: mode` is chat"),
        (deployment(mode="embedding"), "embeddings", ""),
        (deployment(mode="embedding"), "chat/completions", "`model_info: mode` is embedding"),
        (deployment(mode="audio_transcription"), "audio/translations", ""),
        (deployment(mode="image_generation"), "images/edits", ""),
        (deployment(mode="rerank"), "rerank", ""),
        (CLAUDE, "chat/completions", "Anthropic's own API"),
        (CHINA, "chat/completions", "Anthropic's own API"),
        (DEEPSEEK, "chat/completions", ""),
        (deployment("deepseek", "https://api.deepseek.com"), "embeddings", "deepseek does not have it"),
        (deployment("deepseek", "http://relay.example/v1"), "embeddings", ""),
        (deployment("unknown", "http://x/v1"), "rerank", ""),
    ],
)
def test_who_is_asked(dep: Deployment, endpoint: str, reason: str) -> None:
    words = explain_refusal(dep, ENDPOINTS[endpoint])
    assert reason in words if reason else words == ""


def test_what_rows_lack_are_endpoints() -> None:
    assert {name for row in PROVIDERS.values() for name in row.lacks} <= set(ENDPOINTS)


AZURE = "https://r.openai.azure.com/openai/deployments/d"


@pytest.mark.parametrize(
    ("dep", "endpoint", "url"),
    [
        (deployment(base="http://h/v1/"), "audio/speech", "http://h/v1/audio/speech"),
        (deployment(base="http://h/v1", query="a=b"), "rerank", "http://h/v1/rerank?a=b"),
        (deployment("azure", AZURE, query="api-version=2"), "embeddings", f"{AZURE}/embeddings?api-version=2"),
        (
            deployment("azure", AZURE, query="api-version=2"),
            "responses",
            "https://r.openai.azure.com/openai/v1/responses",
        ),
        (
            deployment("azure", "https://r.openai.azure.com/openai/v1"),
            "chat/completions",
            "https://r.openai.azure.com/openai/v1/chat/completions",
        ),
        (DEEPSEEK, "chat/completions", "https://api.deepseek.com/chat/completions"),
    ],
)
def test_address(dep: Deployment, endpoint: str, url: str) -> None:
    assert build_address(dep, ENDPOINTS[endpoint]) == url


def test_account() -> None:
    one = find_account(deployment())
    assert one == find_account(deployment(base="https://api.openai.com/v2", headers={"x": "y"}))
    others = (
        deployment(base="https://eu.api.openai.com/v1"),
        deployment(headers={"OpenAI-Organization": "org"}),
        deployment(headers={"openai-project": "org"}),
        Deployment(name="m", id="m", provider="openai", model="m", base="https://api.openai.com/v1", key="other"),
    )
    assert len({one, *map(find_account, others)}) == 5
    assert find_account(deployment("azure", AZURE)) == find_account(deployment("azure", AZURE[:-1] + "e"))
