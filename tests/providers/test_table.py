"""The provider table: every prefix, its vocabulary, the choice of row, wire and base, and docs/providers.md (facts:
test_quirks.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2py.providers import PROVIDERS, ModelRow, Provider
from a2py.providers.any_host import FAMILIES
from a2py.providers.models import MODELS, OPENAI_WIRES
from a2py.quirks import EFFORTS, Quirks, override

DOC = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
#: Every prefix that a LiteLLM file may name and that is promised to work.
PREFIXES = [
    *("openai", "deepseek", "ollama", "ollama_chat", "openrouter", "azure", "gemini", "groq", "hosted_vllm"),
    *(
        "lm_studio",
        "llamafile",
        "docker_model_runner",
        "litellm_proxy",
        "together_ai",
        "mistral",
        "codestral",
        "xai",
        "minimax",
    ),
    *("moonshot", "dashscope", "zai", "bigmodel", "fireworks_ai", "deepinfra", "cerebras", "nvidia_nim", "perplexity"),
    *(
        "sambanova",
        "nebius",
        "novita",
        "hyperbolic",
        "siliconflow",
        "volcengine",
        "github",
        "vercel_ai_gateway",
        "friendliai",
    ),
    *(
        "featherless_ai",
        "nscale",
        "lambda_ai",
        "meta_llama",
        "modelscope",
        "xiaomi_mimo",
        "synthetic",
        "chutes",
        "nano-gpt",
    ),
    *("poe", "aihubmix", "venice", "baseten", "huggingface", "anthropic"),
]
#: prefix → base, first key variable, first base variable.
BASES = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "deepseek": ("https://api.deepseek.com", "DEEPSEEK_API_KEY", "DEEPSEEK_API_BASE"),
    "ollama": ("http://localhost:11434/v1", "OLLAMA_API_KEY", "OLLAMA_API_BASE"),
    "ollama_chat": ("http://localhost:11434/v1", "OLLAMA_API_KEY", "OLLAMA_API_BASE"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_API_BASE"),
    "azure": ("", "AZURE_API_KEY", "AZURE_API_BASE"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "GOOGLE_API_KEY", "GEMINI_API_BASE"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY", "GROQ_API_BASE"),
    "hosted_vllm": ("", "HOSTED_VLLM_API_KEY", "HOSTED_VLLM_API_BASE"),
    "lm_studio": ("", "LM_STUDIO_API_KEY", "LM_STUDIO_API_BASE"),
    "llamafile": ("http://127.0.0.1:8080/v1", "LLAMAFILE_API_KEY", "LLAMAFILE_API_BASE"),
    "docker_model_runner": (
        "http://localhost:22088/engines/llama.cpp/v1",
        "DOCKER_MODEL_RUNNER_API_KEY",
        "DOCKER_MODEL_RUNNER_API_BASE",
    ),
    "litellm_proxy": ("", "LITELLM_PROXY_API_KEY", "LITELLM_PROXY_API_BASE"),
    "together_ai": ("https://api.together.xyz/v1", "TOGETHER_API_KEY", "TOGETHER_AI_API_BASE"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "MISTRAL_API_BASE"),
    "codestral": ("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY", "CODESTRAL_API_BASE"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY", "XAI_API_BASE"),
    "minimax": ("https://api.minimax.io/v1", "MINIMAX_API_KEY", "MINIMAX_API_BASE"),
    "moonshot": ("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "MOONSHOT_API_BASE"),
    "dashscope": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "DASHSCOPE_API_BASE"),
    "zai": ("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "ZAI_API_BASE"),
    "bigmodel": ("https://open.bigmodel.cn/api/paas/v4", "BIGMODEL_API_KEY", "BIGMODEL_API_BASE"),
    "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "FIREWORKS_AI_API_BASE"),
    "volcengine": ("https://ark.cn-beijing.volces.com/api/v3", "ARK_API_KEY", "VOLCENGINE_API_BASE"),
    "nano-gpt": ("https://nano-gpt.com/api/v1", "NANO_GPT_API_KEY", "NANO_GPT_API_BASE"),
    "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_API_BASE"),
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_has_its_row(prefix: str) -> None:
    row = PROVIDERS[prefix]
    assert row.name == prefix
    assert row.keys and row.bases and row.docs
    assert not row.base.endswith("/") and row.base.startswith(("http://", "https://", ""))
    base, key, variable = BASES.get(
        prefix,
        (
            row.base,
            row.keys[0],
            f"{prefix.upper()}_API_BASE" if prefix not in ("friendliai", "meta_llama") else row.bases[0],
        ),
    )
    assert (row.base, row.keys[0], row.bases[0]) == (base, key, variable)
    assert row.base or prefix in ("azure", "hosted_vllm", "lm_studio", "litellm_proxy")


def test_second_names_of_keys() -> None:
    second = {name: row.keys[1:] for name, row in PROVIDERS.items() if row.keys[1:]}
    assert second["openrouter"] == ("OR_API_KEY",)
    assert second["gemini"] == ("GEMINI_API_KEY",)
    assert second["together_ai"][0] == "TOGETHERAI_API_KEY"
    assert second["fireworks_ai"] == ("FIREWORKS_AI_API_KEY",)
    assert PROVIDERS["openai"].bases == ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    assert PROVIDERS["openai"].env_headers == {"OpenAI-Organization": "OPENAI_ORGANIZATION"}
    assert PROVIDERS["openrouter"].env_headers == {"HTTP-Referer": "OR_SITE_URL", "X-Title": "OR_APP_NAME"}


def test_the_clients_own_token_is_of_no_other_row() -> None:
    """ANTHROPIC_API_KEY is set where Claude Code runs: no other provider may be found by it."""
    assert [name for name, row in PROVIDERS.items() if "ANTHROPIC_API_KEY" in row.keys] == ["anthropic"]


def test_keys_are_optional_where_people_run_the_server_themselves() -> None:
    assert {name for name, row in PROVIDERS.items() if row.key_optional} == {
        *(
            "ollama",
            "ollama_chat",
            "hosted_vllm",
            "sglang",
            "llamacpp",
            "llamafile",
            "docker_model_runner",
            "lm_studio",
            "litellm_proxy",
        )
    }


def test_how_the_key_travels() -> None:
    assert {name: row.auth for name, row in PROVIDERS.items() if row.auth != "bearer"} == {
        "azure": "api-key",
        "anthropic": "x-api-key",
    }


def _entries() -> list[tuple[str, Any]]:
    return [(row.name, row) for row in PROVIDERS.values()] + [(" ".join(row.models), row) for row in MODELS]


@pytest.mark.parametrize(("name", "row"), _entries(), ids=[name for name, _ in _entries()])
def test_rows_are_of_the_vocabulary(name: str, row: Provider | ModelRow) -> None:
    quirks = override(Quirks(), row.quirks)  # it refuses words that are none of the field's
    assert row.docs
    assert set(quirks.efforts) <= {*EFFORTS, "default"} and quirks.effort_off in {"", "disabled", *EFFORTS}
    assert quirks.template_key in {"enable_thinking", "thinking"} and quirks.native_thinking in {"", "adaptive"}
    default = Quirks()
    if isinstance(row, Provider):
        assert all(getattr(quirks, field) != getattr(default, field) for field in row.quirks), (
            "a field that says the default says nothing"
        )
    else:
        assert row.providers <= {"", "local_server", *PROVIDERS}
        assert all(pattern == pattern.lower() and "/" not in pattern for pattern in row.models)


def test_openai_wires_name_wires() -> None:
    assert {wire for _, wire in OPENAI_WIRES} == {"chat", "responses"}
    assert {row.wire for row in PROVIDERS.values()} == {"chat", "native"}


def _code(items: Any) -> str:
    return ", ".join(f"`{item}`" for item in items) or "–"


def test_docs_name_each_provider_with_its_base_key_and_wire() -> None:
    for row in PROVIDERS.values():
        native = f"{row.native} {_code(row.native_models)}" if row.native else "–"
        cells = [
            row.name + "*" * row.key_optional,
            row.base or "required",
            _code(row.keys),
            _code(row.bases),
            row.wire,
            native,
        ]
        line = f"| {' | '.join([*cells, row.default_model or '–'])} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"
        line = f"| {row.name} | {_code(sorted(row.quirks))} | {row.docs} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"


def test_docs_name_each_model_family() -> None:
    for row in MODELS:
        line = f"| {_code(row.models)} | {', '.join(sorted(row.providers)) or 'every server'} | {_code(sorted(row.quirks))} | {row.docs} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"


def test_docs_name_each_family_row_of_servers_that_no_row_knows() -> None:
    for row in FAMILIES:
        where = "hosts that no row knows" if row.providers else "every vendor and relay"
        line = f"| {_code(row.models)} | {where} | {_code(sorted(row.quirks))} | {row.docs} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"


def test_docs_name_no_provider_that_is_not_there() -> None:
    table = DOC.partition("## The table")[2].partition("\n## ")[0]
    names = [
        line.split("|")[1].strip().rstrip("*")
        for line in table.splitlines()
        if line.startswith("| ") and "prefix" not in line
    ]
    assert names == sorted(PROVIDERS)
