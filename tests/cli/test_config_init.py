# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""`a2py config init` with a compatible server: it asks the address, and takes the models from the server's list."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from a2py.cli import configinit, exits, main
from tests.commands import nothing
from tests.json_server import server
from tests.process import free_port

LIST = {"data": [{"id": "qwen3-8b"}, {"id": "llama-3"}, {"object": "model"}, "nonsense"]}


def answers(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Type these lines on a terminal."""
    stdin = io.StringIO("".join(f"{line}\n" for line in lines))
    stdin.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", stdin)


def entry(folder: Path) -> Any:
    return yaml.safe_load((folder / "a2py.yaml").read_text())["model_list"][0]


@pytest.mark.parametrize("suffix", ["", "/", "/v1"])
def test_a_compatible_server_is_asked_for_its_models(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    with server({"/v1/models": LIST}) as (url, _):
        answers(monkeypatch, "", url.removeprefix("http://") + suffix, "")
        assert main(["config", "init"]) == exits.OK
    err = capsys.readouterr().err
    assert "provider (openai for any compatible server) [openai]: " in err
    assert "address of the server, for example http://localhost:8000/v1 (Enter: OpenAI itself): " in err
    assert f"{url}/v1 lists: qwen3-8b, llama-3\n" in err and "model, as the provider calls it [qwen3-8b]: " in err
    assert entry(nothing)["litellm_params"] == {"model": "openai/qwen3-8b", "api_base": f"{url}/v1"}


def test_a_model_of_the_list_can_be_chosen(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server({"/v1/models": LIST}) as (url, _):
        answers(monkeypatch, "hosted_vllm", f"{url}/v1", "llama-3")
        assert main(["config", "init"]) == exits.OK
    assert entry(nothing)["model_name"] == "llama-3"


def test_enter_means_openai_itself(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "openai", "", "gpt-x")
    assert main(["config", "init"]) == exits.OK
    assert entry(nothing)["litellm_params"] == {"model": "openai/gpt-x", "api_key": "os.environ/OPENAI_API_KEY"}


def test_without_a_terminal_the_first_model_is_taken(nothing: Path) -> None:
    with server({"/v1/models": LIST}) as (url, _):
        assert main(["config", "init", "--yes", "--provider", "openai", "--api-base", f"{url}/v1"]) == exits.OK
    assert entry(nothing)["model_name"] == "qwen3-8b"


def test_a_server_that_wants_a_key_gets_its_variable(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with server({"/v1/models": (401, b"{}")}) as (url, _):
        answers(monkeypatch, "openai", f"{url}/v1", "m", "MY_KEY")
        assert main(["config", "init"]) == exits.OK
    out, err = capsys.readouterr()
    assert "needs a key to list its models (status 401)" in err and "export MY_KEY=" in out
    assert entry(nothing)["litellm_params"]["api_key"] == "os.environ/MY_KEY"


@pytest.mark.parametrize(
    "body, problem", [((404, b"{}"), "has no models list (status 404)"), ((200, b"[]"), "has no models list")]
)
def test_a_server_without_a_list(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: Any, problem: str
) -> None:
    with server({"/v1/models": body}) as (url, _):
        answers(monkeypatch, "openai", f"{url}/v1", "m")
        assert main(["config", "init"]) == exits.OK
    assert problem in capsys.readouterr().err


def test_a_server_that_does_not_answer(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"http://127.0.0.1:{free_port()}/v1"
    answers(monkeypatch, "openai", base, "m")
    assert main(["config", "init"]) == exits.OK
    assert f"no server answers at {base} yet: check the address" in capsys.readouterr().err
    assert entry(nothing)["litellm_params"]["api_base"] == base
