"""A `.env` of another proxy that nobody imported: its models are served, and no others in their place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from a2py.config import Config, environment, from_environment
from tests.configured import Folder


def load(folder: Path, text: str, env: Mapping[str, str] | None = None) -> Config:
    Folder(folder).write(".env", text)
    config = from_environment(environment(env or {}, str(folder)))
    assert config is not None
    return config


def test_the_models_of_a_dotenv_are_served_not_a_paid_default(tmp_path: Path) -> None:
    config = load(tmp_path, "OPENROUTER_API_KEY=k\nMODEL=open_router/z-ai/glm4.7\n")
    for name in ("claude-opus-4-1", "claude-3-5-haiku-20241022", "anything"):
        (deployment,) = config.resolve(name)
        assert (deployment.provider, deployment.model, deployment.key) == ("openrouter", "z-ai/glm4.7", "k")
    assert config.resolve("openrouter/x/y")[0].model == "x/y"  # a name that asks for something else still gets it
    assert config.warnings[0].startswith(
        ".env has the variables of free-claude-code, so the models that they name are served (MODEL). "
        "`a2py config import .env` carries the rest of it."
    )


def test_a_model_without_a_key_is_not_replaced(tmp_path: Path) -> None:
    config = load(tmp_path, "OPENROUTER_API_KEY=k\nMODEL=nvidia_nim/z-ai/glm4.7\n")
    assert config.default_name == "nvidia_nim/z-ai/glm4.7"
    assert "no key for nvidia_nim" in config.deployments[0].problem


def test_tiers_of_claude_code_proxy(tmp_path: Path) -> None:
    text = "OPENAI_API_KEY=k\nOPENAI_BASE_URL=http://127.0.0.1:9/v1\nBIG_MODEL=a\nMIDDLE_MODEL=b\nSMALL_MODEL=c\n"
    config = load(tmp_path, text)
    models = [config.resolve(f"claude-{tier}-4")[0] for tier in ("opus", "sonnet", "haiku", "other")]
    assert [model.model for model in models] == ["a", "b", "c", "a"]
    assert {(model.base, model.key) for model in models} == {("http://127.0.0.1:9/v1", "k")}
    assert "(BIG_MODEL, MIDDLE_MODEL, SMALL_MODEL)" in config.warnings[0]


def test_a_key_of_the_environment_does_not_go_to_an_address_of_the_dotenv(tmp_path: Path) -> None:
    for name in ("OPENAI_BASE_URL", "BIG_MODEL_BASE_URL"):
        config = load(tmp_path, f"BIG_MODEL=a\n{name}=https://evil.example/v1\n", {"OPENAI_API_KEY": "mine"})
        deployment = config.resolve("claude-opus-4")[0]
        assert (deployment.base, deployment.key) == ("https://evil.example/v1", "")
        assert any("api_key does not" in warning for warning in config.warnings)
        assert not any(deployment.key == "mine" and "evil" in deployment.base for deployment in config.deployments)


def test_the_environment_wins_over_the_dotenv(tmp_path: Path) -> None:
    config = load(tmp_path, "BIG_MODEL=a\nOPENAI_API_KEY=k\n", {"BIG_MODEL": "b"})
    assert config.resolve("claude-opus-4")[0].model == "b"
    (tmp_path / ".env").unlink()
    config = load(tmp_path, "", {"BIG_MODEL": "b", "OPENAI_API_KEY": "k"})
    assert (
        config.warnings[0].startswith("the environment has the variables of claude-code-proxy")
        and "import" not in config.warnings[0]
    )


def test_a_model_of_another_program_is_no_choice(tmp_path: Path) -> None:
    config = load(tmp_path, "OPENAI_API_KEY=k\nMODEL=openai/gpt-9\n")
    assert config.resolve("claude-opus-4")[0].model != "gpt-9" and config.warnings == ()


def test_a_name_that_is_no_model_is_no_choice(tmp_path: Path) -> None:
    for name in ("*", "a" * 401, "a\\tb"):
        config = load(tmp_path, f'OPENAI_API_KEY=k\nBIG_MODEL="{name}"\n')
        assert config.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "OPENAI_API_KEY=k\nBIG_MODEL=a\nSMALL_MODEL=os.environ/SECRET\n",
        "MODEL=nvidia_nim/x\nMODEL_OPUS=os.environ/SECRET\n",
        "MODEL=nvidia_nim/x\nMODEL_FALLBACKS=groq/y, os.environ/SECRET\n",
    ],
)
def test_a_name_is_never_the_value_of_another_variable(text: str, tmp_path: Path) -> None:
    config = load(tmp_path, text, {"SECRET": "ghp-secret"})
    texts = [config.default_name, *config.aliases, *config.warnings]
    texts += [f"{dep.name} {dep.model} {dep.problem}" for dep in config.deployments]
    assert "ghp-secret" not in " ".join(texts)


def test_what_chooses_the_models_is_known_and_loaded_only_then(tmp_path: Path) -> None:
    assert load(tmp_path, "BIG_MODEL=a\nOPENAI_API_KEY=k\n").has_choice
    assert not load(tmp_path, "OPENAI_API_KEY=k\n").has_choice
    file = Folder(tmp_path).write("a2py.yaml", "model_list: [{model_name: m, litellm_params: {model: openai/m}}]")
    program = (
        "import sys, a2py.cli.serve; from a2py.config import load;"
        f"load({str(file)!r}, {{}}, {str(tmp_path)!r});"
        "print([name for name in sys.modules if name.startswith('a2py.config.imports.')])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout == "[]\n", "a start with a file needs no other proxy's formats"
