"""`.env` of claude-code-proxy and free-claude-code: which models they mean, and for which of Claude's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config, ConfigError, load
from a2py.config.imports.draft import Draft, Source
from a2py.config.imports.hosts import HOSTS
from a2py.config.imports.recognize import translate
from a2py.config.imports.variables import recognize


def read(text: str) -> Draft:
    return translate(text, Source(".env"))


def load_draft(draft: Draft, folder: Path) -> Config:
    file = folder / "a2py.yaml"
    file.write_text(draft.render(), "utf-8")
    file.chmod(0o600)
    return load(str(file), {}, str(folder))


def params(draft: Draft) -> dict[str, dict[str, Any]]:
    return {entry["model_name"]: entry["litellm_params"] for entry in draft.models}


def tiers(config: Config) -> list[str]:
    names = ("claude-opus-4-1-20250805", "claude-3-5-sonnet-20241022", "claude-haiku-4-5", "claude-new", "other")
    return [f"{config.resolve(name)[0].provider}/{config.resolve(name)[0].model}" for name in names]


def test_claude_code_proxy(tmp_path: Path) -> None:
    draft = read(
        """
        OPENAI_API_KEY="sk-1"
        ANTHROPIC_API_KEY="clients"
        OPENAI_BASE_URL="https://gateway.example/v1"
        BIG_MODEL="big/one"
        MIDDLE_MODEL="mid"
        SMALL_MODEL="small"
        HOST="0.0.0.0"
        PORT="8082"
        LOG_LEVEL="INFO"
        MAX_TOKENS_LIMIT="4096"
        MIN_TOKENS_LIMIT="100"
        REQUEST_TIMEOUT="90"
        MAX_RETRIES="2"
        CUSTOM_HEADER_X_TEAM="blue"
        REASONING_EFFORT="high"
        """
    )
    config = load_draft(draft, tmp_path)
    assert tiers(config) == ["openai/big/one", "openai/mid", "openai/small", "openai/big/one", "openai/big/one"]
    deployment = config.resolve("mid")[0]
    assert (deployment.base, deployment.key, deployment.problem) == ("https://gateway.example/v1", "sk-1", "")
    assert deployment.max_output_tokens == 4096 and deployment.quirks.min_tokens == 100
    assert deployment.headers["x-team"] == "blue" and deployment.params["reasoning_effort"] == "high"
    assert (config.master_key, config.settings.request_timeout, config.settings.num_retries) == ("clients", 90, 2)
    assert (draft.host, draft.port) == ("0.0.0.0", "8082")
    assert [note.split()[0] for note in draft.notes] == ["ANTHROPIC_API_KEY"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BIG_MODEL=a\nOPENAI_API_KEY=k", ["openai/a"] * 5),
        ("SMALL_MODEL=b\nOPENAI_API_KEY=k", ["openai/b"] * 5),
        (
            "MIDDLE_MODEL=a\nSMALL_MODEL=b\nOPENAI_API_KEY=k",
            ["openai/a", "openai/a", "openai/b", "openai/a", "openai/a"],
        ),
        ("BIG_MODEL=gemini-2.5-pro\nGEMINI_API_KEY=k", ["gemini/gemini-2.5-pro"] * 5),
        (
            "BIG_MODEL=gemini/g\nSMALL_MODEL=openai/o\nGEMINI_API_KEY=k\nOPENAI_API_KEY=k",
            ["gemini/g", "gemini/g", "openai/o", "gemini/g", "gemini/g"],
        ),
        (
            "PREFERRED_PROVIDER=google\nGEMINI_API_KEY=k",
            [
                "gemini/gemini-2.5-pro",
                "gemini/gemini-2.5-pro",
                "gemini/gemini-2.5-flash",
                "gemini/gemini-2.5-pro",
                "gemini/gemini-2.5-pro",
            ],
        ),
        (
            "PREFERRED_PROVIDER=openai\nOPENAI_API_KEY=k\nBIG_MODEL=x",
            ["openai/x", "openai/x", "openai/gpt-4.1-mini", "openai/x", "openai/x"],
        ),
        (
            "BIG_MODEL=z-ai/glm4.7\nOPENAI_API_KEY=k\nOPENAI_BASE_URL=https://openrouter.ai/api/v1",
            ["openrouter/z-ai/glm4.7"] * 5,
        ),
        ("BIG_MODEL=q:7b\nOPENAI_API_KEY=x\nOPENAI_BASE_URL=http://localhost:11434/v1", ["ollama/q:7b"] * 5),
    ],
)
def test_the_models_of_claude_code_proxy(text: str, expected: list[str], tmp_path: Path) -> None:
    draft = read(text)
    config = load_draft(draft, tmp_path)
    assert tiers(config) == expected and not any(deployment.problem for deployment in config.deployments)
    assert config.master_key == "" and draft.notes == []


def test_a_transparent_proxy_to_anthropic(tmp_path: Path) -> None:
    config = load_draft(read("PREFERRED_PROVIDER=anthropic\nANTHROPIC_API_KEY=k\nBIG_MODEL=ignored"), tmp_path)
    deployment = config.resolve("claude-opus-4-1")[0]
    assert (deployment.provider, deployment.model, deployment.key, config.master_key) == (
        "anthropic",
        "claude-opus-4-1",
        "k",
        "",
    )


def test_a_tier_with_an_address_of_its_own(tmp_path: Path) -> None:
    text = """
        OPENAI_API_KEY=k
        BIG_MODEL=a
        SMALL_MODEL=b
        SMALL_MODEL_BASE_URL=http://127.0.0.1:8090/v1
        SMALL_MODEL_API_KEY=local
        OPENAI_HEADERS='{"x-a": "1", "extra": {}}'
    """
    config = load_draft(read(text), tmp_path)
    small = config.resolve("claude-haiku-4-5")[0]
    assert (small.base, small.key, small.headers["x-a"]) == ("http://127.0.0.1:8090/v1", "local", "1")
    assert config.resolve("claude-opus-4-1")[0].base == "https://api.openai.com/v1"


def test_azure(tmp_path: Path) -> None:
    text = "OPENAI_API_KEY=k\nOPENAI_BASE_URL=https://r.openai.azure.com/openai/deployments/d\nAZURE_API_VERSION=2024-10-21\nBIG_MODEL=gpt-4"
    (deployment,) = load_draft(read(text), tmp_path).deployments
    assert (deployment.provider, deployment.query) == ("azure", "api-version=2024-10-21")


def test_what_is_not_carried_of_claude_code_proxy() -> None:
    draft = read(
        "BIG_MODEL=a\nUSE_VERTEX_AUTH=true\nVISION_MODEL=v\nOPENAI_HEADERS=[]\nSEARCH_PROVIDER=\nOPENAI_BASE_URL=nowhere"
    )
    assert [note.split()[0] for note in draft.notes] == ["USE_VERTEX_AUTH", "OPENAI_HEADERS", "VISION_MODEL"]
    assert params(draft)["a"]["api_base"] == "nowhere"  # a2py says what is wrong with it, and asks nobody else


def test_free_claude_code(tmp_path: Path) -> None:
    draft = read(
        """
        NVIDIA_NIM_API_KEY="nv"
        OPENROUTER_API_KEY="or"
        LM_STUDIO_BASE_URL="http://localhost:1234/v1"
        MODEL_OPUS="nvidia_nim/z-ai/glm4.7"
        MODEL_SONNET="open_router/arcee-ai/trinity:free"
        MODEL_HAIKU="lmstudio/qwen3"
        MODEL="nvidia_nim/z-ai/glm4.7"
        MODEL_FALLBACKS="kimi_code/k3, open_router/x"
        KIMI_CODE_API_KEY="kc"
        PROVIDER_MAX_CONCURRENCY=5
        ANTHROPIC_AUTH_TOKEN="freecc"
        NVIDIA_NIM_PROXY=""
        """
    )
    config = load_draft(draft, tmp_path)
    nim, trinity, local = "nvidia_nim/z-ai/glm4.7", "openrouter/arcee-ai/trinity:free", "lm_studio/qwen3"
    assert tiers(config) == [nim, trinity, local, nim, nim]
    assert not any(deployment.problem for deployment in config.deployments)
    assert config.resolve("kimi_code/k3")[0].base == "https://api.kimi.com/coding/v1"
    assert config.settings.fallbacks["nvidia_nim/z-ai/glm4.7"] == ("kimi_code/k3", "open_router/x")
    assert (config.master_key, config.settings.max_parallel_requests, draft.notes) == ("freecc", 5, [])


def test_older_and_newer_files_of_free_claude_code(tmp_path: Path) -> None:
    old = load_draft(read("PROVIDER_TYPE=nvidia_nim\nNVIDIA_NIM_API_KEY=k\nMODEL=stepfun-ai/step-3.5-flash"), tmp_path)
    assert tiers(old) == ["nvidia_nim/stepfun-ai/step-3.5-flash"] * 5
    new = read(
        "MODEL=zai/glm-5\nZAI_API_KEY=k\nPROXY_AUTH_ENABLED=false\nANTHROPIC_AUTH_TOKEN=freecc\nREASONING_POLICY=off\nENABLE_MODEL_THINKING=true"
    )
    assert "general_settings.master_key" not in new.settings
    assert params(new)["zai/glm-5"]["api_base"] == "https://api.z.ai/api/coding/paas/v4"
    cloud = read("MODEL=cloudflare/@cf/x\nCLOUDFLARE_API_TOKEN=t\nCLOUDFLARE_ACCOUNT_ID=ab12")
    assert params(cloud)["cloudflare/@cf/x"]["api_base"].endswith("/accounts/ab12/ai/v1")
    through = read("MODEL=groq/x\nGROQ_API_KEY=k\nGROQ_PROXY=http://h:1\nXAI_PROXY=http://h:1")
    assert through.settings["a2py.upstream_proxy"] == "http://h:1" and through.notes[0].startswith(
        "GROQ_PROXY, XAI_PROXY"
    )
    assert read("MODEL=groq/x\nGROQ_PROXY=socks5://h:1").notes[0].startswith("GROQ_PROXY is not carried")


def test_a_model_that_needs_a_login_is_not_replaced(tmp_path: Path) -> None:
    draft = read("MODEL=github_copilot/gpt-5\nOPENROUTER_API_KEY=k\nMODEL_HAIKU=open_router/x\nOPENROUTER_API_KEY=k")
    config = load_draft(draft, tmp_path)
    assert "a2py has no login for GitHub Copilot" in draft.notes[0]
    assert config.default_name == "github_copilot/gpt-5" and config.deployments[0].problem
    assert config.resolve("claude-haiku-4-5")[0].provider == "openrouter"


@pytest.mark.parametrize(
    ("variables", "program"),
    [
        ({"BIG_MODEL": "x"}, "claude-code-proxy"),
        ({"SMALL_MODEL": " "}, ""),
        ({"PREFERRED_PROVIDER": "Google"}, "claude-code-proxy"),
        ({"PREFERRED_PROVIDER": "x"}, ""),
        ({"MODEL": "open_router/x"}, "free-claude-code"),
        ({"MODEL": "nvidia_nim/x/y"}, "free-claude-code"),
        ({"MODEL_OPUS": "groq/x"}, "free-claude-code"),
        ({"MODEL": "groq/x", "ENABLE_NETWORK_PROBE_MOCK": "true"}, "free-claude-code"),
        ({"MODEL": "groq/x"}, ""),
        ({"MODEL": "openai/gpt-5"}, ""),
        ({"MODEL": "vertex/gemini"}, ""),
        ({"MODEL": "gpt-5", "MODEL_OPUS": ""}, ""),
        ({"MODEL_OPUS": "claude-opus-4-1"}, ""),
        ({"MODEL": "x/y", "PROVIDER_TYPE": "open_router"}, "free-claude-code"),
        ({"PROVIDER_TYPE": "open_router"}, ""),
        ({"MODEL": "z-ai/glm4.7", "NVIDIA_NIM_API_KEY": "k", "FAST_PREFIX_DETECTION": "true"}, "free-claude-code"),
        ({"MODEL": "z-ai/glm4.7", "NVIDIA_NIM_API_KEY": "k"}, ""),
        ({"MODEL": "z-ai/glm4.7", "NVIDIA_NIM_API_KEY": "", "FAST_PREFIX_DETECTION": "true"}, ""),
    ],
)
def test_whose_variables_they_are(variables: dict[str, str], program: str) -> None:
    assert recognize(variables) == program


def test_a_named_file_needs_no_further_sign() -> None:
    assert read("MODEL=groq/x").source.program == "free-claude-code"


def test_files_from_when_there_was_only_nvidia(tmp_path: Path) -> None:
    early = load_draft(read("NVIDIA_NIM_API_KEY=k\nMODEL=moonshotai/kimi-k2-thinking"), tmp_path)
    assert tiers(early) == ["nvidia_nim/moonshotai/kimi-k2-thinking"] * 5
    earliest = load_draft(read("NVIDIA_NIM_API_KEY=k\nBIG_MODEL=moonshotai/kimi-k2\nSMALL_MODEL=z-ai/glm4.7"), tmp_path)
    assert {(dep.provider, dep.key) for dep in earliest.deployments} == {("nvidia_nim", "k")}
    both = read("NVIDIA_NIM_API_KEY=k\nMODEL=groq/x\nMODEL_HAIKU=anthropic/y")
    assert params(both)["anthropic/y"] == {"model": "anthropic/y"}  # not Nvidia's: MODEL names its provider


def test_lines_that_cannot_be_read_are_listed() -> None:
    draft = read('BIG_MODEL=a\nBIG MODEL: b\nOPENAI_API_KEY="k\n')
    assert draft.notes == [
        ".env:2: this line is ignored. Write NAME=value.",
        '.env:3: OPENAI_API_KEY is ignored: its quote is never closed. Write the closing ".',
    ]


def test_no_value_names_a_variable_of_the_environment() -> None:
    lines = ("BIG_MODEL=a", "OPENAI_BASE_URL=https://gateway.example/v1", "OPENAI_API_KEY=os.environ/SECRET")
    draft = read("\n".join((*lines, "CUSTOM_HEADER_X=os.environ/SECRET", "SMALL_MODEL=os.environ/SECRET")))
    assert "SECRET" not in draft.render()
    assert [note.split()[0] for note in draft.notes] == ["CUSTOM_HEADER_X", "OPENAI_API_KEY", "SMALL_MODEL"]
    with pytest.raises(ConfigError, match="is not recognized"):
        read("BIG_MODEL=os.environ/SECRET")


@pytest.mark.parametrize("name", [name for name, host in HOSTS.items() if not host.problem])
def test_every_host_makes_a_deployment_that_works(name: str, tmp_path: Path) -> None:
    host = HOSTS[name]
    values = {variable: "k" for variable in (host.key, host.account) if variable}
    values.update({"AZURE_OPENAI_BASE_URL": "https://r.openai.azure.com/openai/v1"} if name == "azure_openai" else {})
    lines = [f"MODEL={name}/some/model", *(f"{variable}={value}" for variable, value in values.items())]
    (deployment,) = load_draft(read("\n".join(lines)), tmp_path).deployments
    assert (deployment.problem, deployment.model) == ("", "some/model")
    assert deployment.key == ("k" if host.key else "") and deployment.base


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_list:\n  - model_name: x\n", "needs no import. Run: a2py --config .env"),
        ('{"model_list": []}', "needs no import"),
        ('{"a": 1}', "is not recognized. Known are: config.json of claude-code-router, .env of"),
        ("OPENAI_API_KEY=k", "is not recognized"),
        ("", "is not recognized"),
        ("// x\n{ Providers: [ }", "not valid JSON"),
    ],
)
def test_what_is_not_recognized(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        read(text)
    assert message in str(excinfo.value)
