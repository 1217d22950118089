"""What is known of a deployment: a line of the file, what the server says, and the quirks that come out, with the reason of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.evidence import fact
from a2py.evidence.resolve import apply_evidence, quirks_of, resolve
from a2py.evidence.server import ListedModel, ServerWord
from a2py.providers import choose
from a2py.providers.any_host import FAMILIES
from a2py.quirks import Quirks

OWN, RELAY = "http://10.0.0.5:8000/v1", "https://relay.example/v1"
VLLM = ServerWord(
    "vLLM", "hosted_vllm", models=(ListedModel("Qwen/Qwen3-32B", 40960),), reason="its model list says owned_by: vllm"
)
LLAMA_CPP = ServerWord(
    "llama.cpp", "llamacpp", models=(ListedModel("tiny", 4096),), slots=1, reason="its Server header"
)
SGLANG = ServerWord("SGLang", "sglang", reason="owned_by")
LM_STUDIO = ServerWord("LM Studio", "lm_studio", reason="owned_by")
OLLAMA = ServerWord("Ollama", "ollama", reason="owned_by")
TGI = ServerWord("TGI", "local_server", reason="owned_by")
LITELLM = ServerWord("LiteLLM", "litellm_proxy", True, reason="its headers")
NEW_API = ServerWord("new-api", "", True, reason="supported_endpoint_types")
UNKNOWN = ServerWord()
NO_SAMPLING: frozenset[str] = frozenset()
NO_PATTERNS: dict[str, dict[str, Any]] = {}


def deployment(model: str, base: str = RELAY, provider: str = "openai", **more: Any) -> Deployment:
    return Deployment(name="m", id="m", provider=provider, model=model, base=base, **more)


#: model, what the server says, quirk, value, source
CASES: list[tuple[str, ServerWord | None, str, Any, str]] = [
    # -- families on a host that says nothing
    ("gpt-5", None, "max_tokens_field", "max_completion_tokens", "family"),
    ("gpt-5", None, "sampling", NO_SAMPLING, "family"),
    ("gpt-5", None, "stop_limit", 0, "family"),
    ("gpt-5", None, "reasoning", "effort", "family"),
    ("gpt-5", None, "effort_off", "minimal", "family"),
    ("gpt-5.4", None, "effort_off", "none", "family"),
    ("gpt-5-pro", None, "efforts", ("high",), "family"),
    ("gpt-6.1-sol", None, "efforts", ("low", "medium", "high", "xhigh"), "family"),
    ("gpt-5-chat-latest", None, "reasoning", "none", "family"),
    ("o3", None, "max_tokens_field", "max_completion_tokens", "family"),
    ("o4-mini", None, "parallel_tool_calls", False, "family"),
    ("vendor/o1", None, "max_tokens_limit", 100_000, "family"),
    ("olmo-2", None, "max_tokens_field", "max_tokens", "common"),
    ("openchat", None, "reasoning", "none", "common"),
    ("gpt-4o", None, "max_tokens_limit", 16_384, "family"),
    ("gpt-4.1-mini", None, "max_tokens_limit", 32_768, "family"),
    ("gpt-4-turbo", None, "max_tokens_limit", 4_096, "family"),
    ("gpt-oss-120b", None, "reasoning", "effort", "family"),
    ("claude-sonnet-5.5", None, "reasoning", "effort", "family"),
    ("claude-sonnet-5.5", None, "cache", "blocks", "family"),
    ("claude-opus-4.6", None, "tool_choice_thinking", False, "family"),
    ("deepseek-v4-pro", None, "reasoning", "thinking_type", "family"),
    ("deepseek-v4-pro", None, "reasoning_required", True, "family"),
    ("deepseek-reasoner", None, "reasoning_history", "reasoning_content", "family"),
    ("qwen3-235b-a22b", None, "reasoning", "enable_thinking", "family"),
    ("qwen3-coder-plus", None, "reasoning", "none", "family"),
    ("qwen3-30b-a3b-thinking", None, "reasoning", "none", "family"),
    ("glm-5.3", None, "reasoning", "thinking_type", "family"),
    ("kimi-k2", None, "reasoning_required", True, "family"),
    ("kimi-k2.6", None, "reasoning", "thinking_type", "family"),
    ("kimi-k2-thinking", None, "reasoning", "none", "family"),
    ("kimi-k3", None, "efforts", ("low", "high", "max"), "family"),
    ("my-model", None, "think_tags", True, "family"),
    ("my-model", None, "reasoning_history", "reply", "family"),
    ("my-model", LM_STUDIO, "reasoning_history", "reply", "server"),
    ("my-model", TGI, "think_tags", True, "server"),
    ("minimax-m3", None, "temperature_max", 1.0, "family"),
    ("gemini-2.5-pro", None, "max_tokens_limit", 65_536, "family"),
    ("gemini-2.5-flash", None, "effort_off", "none", "family"),
    ("grok-4.5", None, "stop_limit", 0, "family"),
    ("grok-4.5", None, "reasoning", "effort", "family"),
    ("grok-3-mini", None, "efforts", ("low", "high"), "family"),
    ("grok-latest", None, "effort_off", "none", "family"),
    ("mistral-medium-latest", None, "reasoning", "effort", "family"),
    ("mistral-small-2603", None, "efforts", ("high",), "family"),
    ("magistral-medium", None, "reasoning_history", "thinking_part", "family"),
    ("my-model", None, "reasoning", "none", "common"),
    ("my-model", None, "reasoning_unknown", True, "common"),
    ("my-model", LLAMA_CPP, "reasoning_unknown", True, "common"),
    ("gpt-4o", None, "reasoning_unknown", False, "common"),
    ("gpt-5", None, "reasoning_unknown", False, "common"),
    ("deepseek-v3.2", None, "reasoning_history", "reasoning_content", "family"),
    ("deepseek-v3.2", None, "tool_choice_thinking", False, "family"),
    ("gemini-3-flash", None, "reasoning", "effort", "family"),
    ("gemini-3-flash", None, "efforts", ("minimal", "low", "medium", "high"), "family"),
    ("gemini-3-flash", None, "effort_off", "minimal", "family"),
    ("glm-4.7", None, "reasoning_history", "reasoning_content", "family"),
    ("gpt-5-mini", None, "efforts", ("minimal", "low", "medium", "high"), "family"),
    ("gpt-5-pro", None, "effort_off", "", "family"),
    ("gpt-5.1", None, "efforts", ("low", "medium", "high"), "family"),
    ("gpt-5.1", None, "effort_off", "none", "family"),
    ("gpt-6", None, "effort_off", "none", "family"),
    ("grok-3-mini", None, "reasoning", "effort", "family"),
    ("grok-4.3", None, "reasoning", "effort", "family"),
    ("kimi-k2", None, "reasoning_history", "reasoning_content", "family"),
    ("kimi-k2.7-code", None, "reasoning", "none", "family"),
    ("kimi-k2.6", None, "tool_choice_thinking", False, "family"),
    ("kimi-k3", None, "reasoning", "effort", "family"),
    ("kimi-k3", None, "reasoning_history", "reasoning_content", "family"),
    ("kimi-k3", None, "reasoning_required", True, "family"),
    ("mistral-medium-3.5", None, "effort_off", "none", "family"),
    ("mistral-small-latest", None, "reasoning", "effort", "family"),
    ("mistral-small-latest", None, "effort_off", "none", "family"),
    ("qwen-plus", None, "reasoning_history", "reasoning_content", "family"),
    # -- the server's own word beats the family
    ("gpt-5", LLAMA_CPP, "max_tokens_field", "max_tokens", "common"),
    ("gpt-5", VLLM, "reasoning", "none", "common"),
    ("gpt-5", OLLAMA, "stop_limit", 4, "common"),
    ("gpt-4o", TGI, "max_tokens_limit", 0, "common"),
    ("my-model", LLAMA_CPP, "tool_choice_named", "only", "server"),
    ("my-model", LLAMA_CPP, "tokenizer", "llamacpp", "server"),
    ("my-model", VLLM, "tokenizer", "vllm", "server"),
    ("qwen3-32b", VLLM, "reasoning", "template", "server"),
    ("gpt-oss-20b", LLAMA_CPP, "reasoning", "effort", "server"),
    ("my-model", SGLANG, "broken_arguments", "object", "server"),
    ("my-model", LM_STUDIO, "tool_choice_named", "only", "server"),
    ("my-model", OLLAMA, "context_probe", "ollama", "server"),
    ("claude-sonnet-5.5", LITELLM, "reasoning", "effort", "server"),
    ("claude-sonnet-5.5", LITELLM, "documents", "file", "server"),
    ("gpt-5", LITELLM, "max_tokens_field", "max_tokens", "common"),
    # -- a relay that says so, and a server that says nothing: the family holds
    ("gpt-5", NEW_API, "max_tokens_field", "max_completion_tokens", "family"),
    ("gpt-5", UNKNOWN, "max_tokens_field", "max_completion_tokens", "family"),
]


@pytest.mark.parametrize(
    ("model", "word", "quirk", "value", "source"),
    CASES,
    ids=[f"{m}-{w.program if w else '-'}-{q}" for m, w, q, _, _ in CASES],
)
def test_a_model_and_what_its_server_says(
    model: str, word: ServerWord | None, quirk: str, value: Any, source: str
) -> None:
    facts = resolve(deployment(model, OWN if word and not word.is_relay else RELAY), NO_PATTERNS, word, "2026-11-29")
    assert getattr(quirks_of(facts), quirk) == value
    if source == "common":
        assert quirk not in facts or facts[quirk].source == "common" or facts[quirk].value == getattr(Quirks(), quirk)
    else:
        entry = facts[quirk]
        assert entry.source == source and entry.reason
        assert bool(entry.date) is (source == "server")


#: file settings, quirk, value: the configuration is stronger than everything else
FILE: list[tuple[dict[str, Any], str, Any]] = [
    ({"overrides": {"max_tokens_field": "max_tokens"}}, "max_tokens_field", "max_tokens"),
    ({"overrides": {"reasoning": "none"}}, "reasoning", "none"),
    ({"allow": frozenset({"temperature"})}, "sampling", frozenset({"temperature"})),
    ({"allow": frozenset({"stop"})}, "stop_limit", 4),
]


@pytest.mark.parametrize(("more", "quirk", "value"), FILE, ids=[quirk for _, quirk, _ in FILE])
def test_the_file_is_stronger(more: dict[str, Any], quirk: str, value: Any) -> None:
    facts = resolve(deployment("gpt-5", **more), NO_PATTERNS, NEW_API)
    assert facts[quirk].value == value and facts[quirk].source == "file"
    assert quirk in apply_evidence(deployment("gpt-5", **more), NO_PATTERNS, None).fixed_quirks


@pytest.mark.parametrize("pattern", ["m", "gpt-*", "openai/gpt-5"])
def test_patterns_of_the_file(pattern: str) -> None:
    facts = resolve(deployment("gpt-5"), {pattern: {"images": False}, "other": {"tools": False}}, None)
    assert facts["images"].source == "file" and pattern in facts["images"].reason and "tools" not in facts


def test_the_entry_s_own_quirks_outweigh_a_pattern() -> None:
    facts = resolve(deployment("x", overrides={"stop_limit": 1}, source="f.yaml:7"), {"*": {"stop_limit": 2}}, None)
    assert facts["stop_limit"].value == 1 and "f.yaml:7" in facts["stop_limit"].reason


@pytest.mark.parametrize(
    ("provider", "base"),
    [
        ("openai", "https://api.openai.com/v1"),  # a host of the table
        ("hosted_vllm", OWN),  # a prefix that names the server
        ("deepseek", "https://corporate.example/deepseek"),
    ],
)
def test_a_host_of_the_table_and_a_prefix_outweigh_what_a_server_says(provider: str, base: str) -> None:
    with_word = resolve(deployment("some-model", base, provider), NO_PATTERNS, LLAMA_CPP)
    assert with_word == resolve(deployment("some-model", base, provider), NO_PATTERNS, None)


def test_the_context_comes_from_the_server_unless_the_file_names_one() -> None:
    assert apply_evidence(deployment("tiny", OWN), NO_PATTERNS, LLAMA_CPP).max_input_tokens == 4096
    assert apply_evidence(deployment("tiny", OWN, max_input_tokens=9), NO_PATTERNS, LLAMA_CPP).max_input_tokens == 9
    assert apply_evidence(deployment("tiny", OWN), NO_PATTERNS, None).max_input_tokens == 0


def test_every_fact_that_differs_has_a_reason() -> None:
    for model, word, *_ in CASES:
        facts = fact.find_differences(resolve(deployment(model), NO_PATTERNS, word), Quirks())
        assert all(entry.reason for entry in facts.values())


def _wrong(case: tuple[str, ServerWord | None, str, Any, str]) -> bool:
    model, word, quirk, value, _ = case
    return bool(getattr(quirks_of(resolve(deployment(model), NO_PATTERNS, word)), quirk) != value)


@pytest.mark.parametrize(
    "at", range(len(FAMILIES)), ids=[f"{' '.join(row.models)} {' '.join(row.quirks)}" for row in FAMILIES]
)
def test_a_reverted_quirk_of_a_family_is_seen(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = FAMILIES[at]
    cases = [case for case in CASES if case[1] is None or case[1].is_relay or case[4] == "family"]
    for field in row.quirks:
        row_before = replace(row, quirks={name: value for name, value in row.quirks.items() if name != field})
        monkeypatch.setattr(choose, "FAMILIES", (*FAMILIES[:at], row_before, *FAMILIES[at + 1 :]))
        assert any(map(_wrong, cases)), f"no case states {field}"


def test_a_server_that_says_that_its_model_has_no_vision() -> None:
    facts = resolve(deployment("tiny", OWN), NO_PATTERNS, LLAMA_CPP._replace(has_vision=False), "2026-11-29")
    assert facts["images"].value is False and "vision" in facts["images"].reason and facts["images"].date
    assert "images" not in resolve(deployment("tiny", OWN), NO_PATTERNS, LLAMA_CPP)
