"""Without a file: the keys of the environment, an Ollama, one model from the command line; and the files that are
shipped as examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.config import Config, from_environment, load, single
from a2py.config.dotenv import read_dotenv
from a2py.errors import ApiError
from a2py.providers import PROVIDERS
from tests.configured import Folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# -- without a file


def test_no_key_in_the_environment() -> None:
    assert from_environment({}) is None
    assert (
        from_environment({"ANTHROPIC_API_KEY": "k", "OLLAMA_API_KEY": "k", "AZURE_API_KEY": "k", "OPENAI_API_KEY": ""})
        is None
    )


def test_each_key_gives_its_prefix_and_the_first_a_home() -> None:
    config = from_environment({"DEEPSEEK_API_KEY": "d", "GROQ_API_KEY": "g", "HF_TOKEN": "h", "ANTHROPIC_API_KEY": "a"})
    assert config is not None
    first = next(row.name for row in PROVIDERS.values() if row.name in ("deepseek", "groq"))
    assert {d.name for d in config.deployments} == {"deepseek/*", "groq/*", "huggingface/*", "*"}
    assert (
        config.default_name == f"{first}/{PROVIDERS[first].default_model}"
        and config.default_name in config.list_names()
    )
    assert config.resolve("groq/x")[0].key == "g" and config.resolve("anything")[0].provider == first
    assert config.resolve("claude-haiku-4-5")[0].model == PROVIDERS[first].default_model
    assert config.warnings == () and config.sources == () and config.master_key == "" and config.insecure is False


def test_servers_without_keys_count_by_their_base() -> None:
    config = from_environment(
        {
            "HOSTED_VLLM_API_BASE": "http://gpu:8000",
            "AZURE_API_KEY": "k",
            "AZURE_API_BASE": "https://r.openai.azure.com",
        }
    )
    assert config is not None and {d.name for d in config.deployments} == {"hosted_vllm/*", "azure/*", "*"}
    assert config.resolve("hosted_vllm/x")[0].base == "http://gpu:8000/v1"


def test_an_ollama_that_answers() -> None:
    config = from_environment(
        {"OLLAMA_API_BASE": "http://box:11434", "LITELLM_MASTER_KEY": "mk", "A2PY_INSECURE": "1"},
        ["qwen3:8b", "llama3.3"],
    )
    assert config is not None and config.list_names() == ("qwen3:8b", "llama3.3") and config.default_name == "qwen3:8b"
    assert (
        config.resolve("claude-opus-5-5")[0].model == "qwen3:8b"
        and config.resolve("qwen3:8b")[0].base == "http://box:11434/v1"
    )
    assert config.resolve("ollama/phi4")[0].model == "phi4" and config.resolve("phi4")[0].model == "phi4"
    assert config.master_key == "mk" and config.insecure is True


def test_a_key_comes_before_an_ollama() -> None:
    config = from_environment({"OPENAI_API_KEY": "k"}, ["qwen3:8b"])
    assert (
        config is not None
        and config.default_name == f"openai/{PROVIDERS['openai'].default_model}"
        and "qwen3:8b" in config.list_names()
    )
    assert config.resolve("gpt-4o")[0].provider == "openai"
    bare = next(
        row for row in PROVIDERS.values() if row.base and not row.default_model and row.keys and not row.key_optional
    )
    config = from_environment({bare.keys[0]: "k"}, ["qwen3:8b"])
    assert config is not None and config.default_name == "qwen3:8b" and config.resolve("x")[0].provider == "ollama"


def test_a_file_without_models_takes_the_environments(folder: Folder) -> None:
    config = folder.load("a2py: {buffer_kb: 1}", {"OPENAI_API_KEY": "k"})
    assert config.settings.buffer_kb == 1 and config.resolve("openai/gpt-4o")[0].key == "k"
    assert config.warnings == (
        "litellm_config.yaml: `model_list` is missing or empty, so the models come from the keys of the environment. "
        "Write `model_list:` to name models.",
    )
    config = folder.load("model_list: []")
    assert config.deployments == () and config.warnings == (
        "litellm_config.yaml: `model_list` is missing or empty, so nothing is served. Write `model_list:` to name models, "
        "or set the key of a provider (OPENAI_API_KEY, …).",
    )


def test_one_model_from_the_command_line() -> None:
    config = single(
        model="openai/gpt-4o",
        api_base="http://h:1/v1",
        api_key="k",
        alias="mine",
        max_tokens=5,
        temperature=0.0,
        request_timeout=9.0,
    )
    (dep,) = config.resolve("mine")
    assert (dep.model, dep.base, dep.key, dep.params, dep.timeout) == (
        "gpt-4o",
        "http://h:1/v1",
        "k",
        {"max_tokens": 5, "temperature": 0.0},
        9.0,
    )
    assert config.resolve("claude-opus-5-5") == config.resolve("gpt-9") == (dep,) and config.list_names() == ("mine",)
    assert config.default_name == "mine" and config.warnings == ()


def test_one_model_with_the_environment() -> None:
    config = single(model="ollama/llama3", env={"OLLAMA_API_BASE": "http://box:1", "LITELLM_MASTER_KEY": "mk"})
    assert (
        config.resolve("x")[0].base == "http://box:1/v1"
        and config.master_key == "mk"
        and config.list_names() == ("ollama/llama3",)
    )
    broken = single(model="openai/gpt-4o")
    with pytest.raises(
        ApiError,
        match=r"^command line: `openai/gpt-4o`: there is no key for openai\. Set OPENAI_API_KEY .* or give --api_key\.",
    ):
        broken.resolve("x")
    azure = single(model="azure/d", api_base="https://r.openai.azure.com", api_key="k", api_version="2024-10-21")
    assert azure.resolve("x")[0].query == "api-version=2024-10-21"


def test_a_wildcard_from_the_command_line() -> None:
    config = single(model="openai/*", api_key="k", alias="ignored")
    assert config.resolve("openai/gpt-4o")[0].model == "gpt-4o" and config.aliases == {}


# -- the examples


def example(name: str, env: dict[str, str]) -> Config:
    config = load(str(ROOT / "examples" / name), env, str(ROOT / "examples"))
    assert config.warnings == ()
    return config


def test_every_example_is_tested() -> None:
    assert {file.name for file in (ROOT / "examples").glob("*.yaml")} == {
        "openai.yaml",
        "deepseek.yaml",
        "ollama.yaml",
        "several-models.yaml",
    }


def test_example_openai() -> None:
    config = example("openai.yaml", {"OPENAI_API_KEY": "k"})
    assert config.default_name == "gpt-6.1-sol" and config.resolve("gpt-4o")[0].model == "gpt-4o"
    assert config.resolve("claude-haiku-5-5")[0].model == "gpt-6.1-sol"


def test_example_deepseek() -> None:
    config = example("deepseek.yaml", {"DEEPSEEK_API_KEY": "k"})
    native, chat = config.resolve("deepseek-v4-pro")[0], config.resolve("deepseek-chat")[0]
    assert (native.wire, chat.wire, chat.base) == ("native", "chat", "https://api.deepseek.com")
    assert config.resolve("claude-opus-5-5") == (native,)


def test_example_ollama() -> None:
    config = example("ollama.yaml", {})
    (dep,) = config.resolve("qwen3-coder")
    assert (dep.model, dep.base, dep.max_input_tokens, dep.quirks.images) == (
        "qwen3-coder:30b",
        "http://localhost:11434/v1",
        65536,
        False,
    )
    assert config.resolve("ollama/llama3.3")[0].base == dep.base and config.settings.timeout == 1800.0


def test_example_several_models() -> None:
    env = {"OPENAI_API_KEY": "o", "DEEPSEEK_API_KEY": "d", "OPENROUTER_API_KEY": "r", "LITELLM_MASTER_KEY": "mk"}
    config = example("several-models.yaml", env)
    assert [(d.provider, d.weight) for d in config.resolve("claude-opus-5-5")] == [("openai", 3.0), ("openrouter", 1.0)]
    assert config.resolve("claude-haiku-4-5-20251001")[0].model == "deepseek-chat" and config.resolve(
        "gpt-4"
    ) == config.resolve("big")
    assert (
        "gpt-4" not in config.list_names()
        and config.master_key == "mk"
        and config.resolve("local")[0].quirks.structured == "json_object"
    )
    assert config.settings.fallbacks == {"big": ("small",), "small": ("local",)}


@pytest.mark.parametrize("name", ["openai.yaml", "deepseek.yaml", "several-models.yaml"])
def test_examples_without_their_keys_say_what_to_set(name: str) -> None:
    config = load(str(ROOT / "examples" / name), {}, str(ROOT / "examples"))
    broken = [dep for dep in config.deployments if dep.problem]
    assert broken and all("is not set. Set it in the environment or in .env." in dep.problem for dep in broken)


def test_the_example_of_dotenv() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = [
        line[2:].partition("=")[0] for line in text.splitlines() if line.startswith("# ") and "=" in line.split(" ")[1]
    ]
    known_names = {name for row in PROVIDERS.values() for name in (*row.keys, *row.bases)} | {
        "AZURE_API_VERSION",
        "LITELLM_MASTER_KEY",
        "A2PY_CONFIG",
        "A2PY_INSECURE",
    }
    assert len(names) > 15 and set(names) <= known_names
    messages: list[str] = []
    assert read_dotenv(text, ".env", {}, messages.append) == {} and messages == []  # nothing is set by copying it
    assert set(
        read_dotenv("\n".join(line.removeprefix("# ") for line in text.splitlines()), ".env", {}, messages.append)
    ) >= set(names)
