# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""The choice of what to serve: flags, files, keys, an Ollama, the demo; and the lists that show it."""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import embedded, exits, http, main, ollama, options, running, source
from a2py.cli.exits import Stop
from tests.commands import nothing
from tests.json_server import server
from tests.process import free_port


def tags(*names: str) -> dict[str, Any]:
    return {"models": [{"name": name} for name in names]}


def show(**can: list[str]) -> Any:
    return lambda body: {"capabilities": can.get(body["model"], [])}


@pytest.mark.parametrize(
    "models, can, expected",
    [
        (tags("a", "b", "c"), show(a=["completion"], b=["completion", "tools"]), ("b", True)),
        (tags("a", "e"), show(a=["embedding"], e=["completion"]), ("e", False)),
        (tags("old"), (404, b""), ("old", False)),
        (tags(*map(str, range(12))), show(**{str(n): ["embedding"] for n in range(8)}), ("8", False)),
        (tags("a"), show(a=["embedding"]), None),
        (tags(), show(), None),
        ({"models": [{"x": 1}, 3]}, show(), None),
        ([], show(), None),
        ((200, b"not json"), show(), None),
        ((500, b"{}"), show(), None),
    ],
)
def test_the_first_ollama_model_with_tools(models: Any, can: Any, expected: Any) -> None:
    with server({"/api/tags": models, "/api/show": can}) as (url, _):
        match = ollama.find({"OLLAMA_API_BASE": url + "/v1/"})
    assert (match and (match.model, match.tools)) == expected


@pytest.mark.parametrize(
    "env, base",
    [
        ({}, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "[::]:1234"}, "http://127.0.0.1:1234"),
        ({"OLLAMA_HOST": "[::1]:1234"}, "http://[::1]:1234"),
        ({"OLLAMA_HOST": "https://box:8443/"}, "https://box:8443"),
        ({"OLLAMA_HOST": "box:99999"}, "http://box:11434"),
        ({"OLLAMA_HOST": ":80"}, "http://127.0.0.1:80"),
        ({"OLLAMA_API_BASE": "http://gpu:11434/v1", "OLLAMA_HOST": "x"}, "http://gpu:11434"),
    ],
)
def test_where_ollama_would_be(env: dict[str, str], base: str) -> None:
    assert ollama.base(env) == base


def test_http_answers_nothing_rather_than_raising() -> None:
    assert http.ask(f"http://127.0.0.1:{free_port()}/") is None
    assert http.ask("http://127.0.0.1:notaport/") is None
    with server({"/": (200, b"x")}) as (url, _):
        answer = http.ask(url)
        assert answer is not None and answer.body == b"x" and answer.json() is None
        assert http.ask(url.replace("http:", "https:"), timeout=1) is None


def args(*words: str) -> Any:
    return options.Parser("serve", "").flags(options.SOURCE, options.LISTEN, options.SERVER).read(words)


def choose(*words: str, env: dict[str, str] | None = None, server: Any = None) -> source.Source:
    return source.choose(args(*words), env or {}, os.getcwd(), lambda _: server)


def test_a_file_comes_first_then_keys_then_ollama_then_the_demo(nothing: Path) -> None:
    there = ollama.Ollama("http://127.0.0.1:11434", "qwen", True, ("other", "qwen"))
    keys = {"DEEPSEEK_API_KEY": "k", "HOME": str(nothing)}
    assert choose(env={"ANTHROPIC_API_KEY": "k"}).config is None
    assert choose("--demo", env=keys, server=there).config is None
    of_ollama = choose(server=there)
    assert (
        of_ollama.config is not None
        and of_ollama.config.default_name == "qwen"
        and "Ollama at http://127" in of_ollama.what
    )
    assert of_ollama.config.resolve("claude-haiku-5-5")[0].model == "qwen"
    of_keys = choose(env=keys, server=there)
    assert of_keys.config is not None and of_keys.config.default_name.startswith("deepseek/") and "keys" in of_keys.what
    (nothing / "a2py.yaml").write_text("model_list: [{model_name: gpt, litellm_params: {model: openai/x, api_key: k}}]")
    of_file = choose(env=keys, server=there)
    assert of_file.config is not None and of_file.config.default_name == "gpt" and of_file.what == "a2py.yaml"
    assert of_file.again is not None and of_file.again().default_name == "gpt"
    one = choose(
        "--model",
        "openai/y",
        "--api_base",
        "http://127.0.0.1:9/v1",
        "--temperature",
        "0.5",
        "--max_tokens",
        "7",
        "--request_timeout",
        "9",
    )
    assert one.config is not None and dict(one.config.deployments[0].params) == {"max_tokens": 7, "temperature": 0.5}
    assert one.config.deployments[0].timeout == 9


@pytest.mark.parametrize("other", ["--demo", "--config c.yaml", "--demo --config c.yaml"])
def test_one_model_and_something_else_is_a_mistake(other: str, nothing: Path) -> None:
    with pytest.raises(Stop, match=f"give either {other.split()[0]} or --model") as excinfo:
        choose("--model", "openai/x", *other.split())
    assert excinfo.value.code == exits.USAGE


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize(
    "command",
    ["--model", "serve -m", "serve --config", "--api-base", "models --url", "keys list -c", "config validate -c"],
)
def test_an_empty_flag_is_a_mistake(
    command: str, value: str, nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a variable that is not set: `a2py --model "$MODEL"`."""
    assert main([*command.split(), value]) == exits.USAGE
    assert "the value is empty: write one, or leave the flag out" in capsys.readouterr().err


def test_flags_lie_over_the_file(nothing: Path) -> None:
    (nothing / "c.yaml").write_text("model_list: [{model_name: gpt, litellm_params: {model: openai/x, api_key: k}}]")
    config = choose(
        "-c",
        "c.yaml",
        "--debug",
        "--capture",
        "dir",
        "--log-format",
        "json",
        "--drop_params",
        "--insecure",
        "--request_timeout",
        "5",
    ).config
    assert config is not None and config.insecure
    settings = config.settings
    assert (settings.capture_dir, settings.json_logs, settings.request_timeout) == ("dir", True, 5)


def test_the_demo_thinks_when_it_is_asked_to(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    config = embedded.demo_config("http://127.0.0.1:9/v1", 1000, args())
    (dep,) = config.resolve("claude-x")
    assert (dep.provider, dep.key, dep.quirks.reasoning, dep.max_input_tokens, dep.model) == (
        "demo",
        "",
        "thinking_type",
        1000,
        "demo",
    )


# -- the running one ---------------------------------------------------------------------------------------------------

HELLO = {"status": "ok", "name": "a2py"}
ROWS = {
    "data": [
        {"id": "gpt", "display_name": "gpt", "max_input_tokens": 5},
        {"id": "anthropic/gpt", "display_name": "gpt"},
        3,
    ]
}


@pytest.mark.parametrize(
    "routes, names",
    [
        ({"/health/liveliness": HELLO, "/v1/models?limit=1000": ROWS}, ("gpt",)),
        ({"/health/liveliness": {"status": "ok"}, "/v1/models?limit=1000": ROWS}, None),
        ({"/health/liveliness": HELLO, "/v1/models?limit=1000": (401, b"{}")}, None),
        ({"/health/liveliness": HELLO, "/v1/models?limit=1000": {"data": 1}}, None),
        ({}, None),
    ],
)
def test_only_an_a2py_that_takes_our_key_is_used(routes: dict[str, Any], names: Any) -> None:
    with server(routes) as (url, _):
        proxy = running.find_answering(url, "k")
    assert (proxy and proxy.names) == names


def test_a_broken_file_here_says_nothing_of_the_one_that_runs(nothing: Path) -> None:
    (nothing / "a2py.yaml").write_text("model_list: [")
    with server({"/health/liveliness": HELLO, "/v1/models?limit=1000": ROWS}) as (url, _):
        proxy = running.find_running(args(), {"A2PY_URL": url})
    assert proxy is not None and (proxy.model, proxy.names, proxy.window) == ("gpt", ("gpt",), 5)


def test_a_named_proxy_that_is_not_there(nothing: Path) -> None:
    with pytest.raises(Stop) as stop:
        running.require_running(args("--port", str(free_port())), {})
    assert stop.value.code == exits.UNAVAILABLE
    assert running.find_url(argparse.Namespace(), {"PORT": "x"}) == "http://127.0.0.1:4000"


@pytest.mark.parametrize("window, expected", [(131_072, "131072"), (8192, None), (None, None)])
def test_the_window_is_what_ollama_has_loaded(
    nothing: Path, window: int | None, expected: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    running_models = {"models": [{"name": "qwen", "context_length": window}] if window else []}
    routes = {"/api/tags": tags("qwen"), "/api/show": show(qwen=["tools"]), "/api/ps": running_models}
    with server(routes) as (url, _):
        os.environ["OLLAMA_HOST"] = url
        assert main(["env", "--shell", "json"]) == exits.OK
    out, err = capsys.readouterr()
    env = json.loads(out)
    assert (env["ANTHROPIC_MODEL"], env.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS")) == ("qwen", expected)
    assert ("too small for Claude Code" in err) is (window == 8192)


@pytest.mark.parametrize(
    "routes, expected",
    [
        ({"/v1/models": {"data": [{"id": "qwen3", "max_model_len": 131_072}]}}, "131072"),  # vLLM, SGLang
        (
            {
                "/v1/models": {"data": [{"id": "qwen3.gguf", "owned_by": "llamacpp"}]},
                "/props": {"default_generation_settings": {"n_ctx": 65_536}},
            },
            "65536",
        ),
        ({"/v1/models": {"data": [{"id": "qwen3", "max_model_len": 8192}]}}, None),
        ({"/v1/models": {"data": 3}}, None),
        ({}, None),
    ],
)
def test_a_server_of_ones_own_is_asked_for_its_window(
    nothing: Path, routes: dict[str, Any], expected: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with server(routes) as (url, _):
        assert main(["env", "--shell", "json", "--model", "openai/qwen3", "--api-base", url + "/v1"]) == exits.OK
    out, err = capsys.readouterr()
    assert json.loads(out).get("CLAUDE_CODE_MAX_CONTEXT_TOKENS") == expected
    assert ("too small for Claude Code" in err) is ("8192" in str(routes))


def test_a_provider_is_not_asked_for_its_window(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*words: Any) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr("a2py.upstream.client.Upstream.ask", never)
    monkeypatch.setattr("a2py.upstream.client.Upstream.fetch", never)
    assert main(["env", "--model", "deepseek/deepseek-chat", "--api-key", "k"]) == exits.OK


def test_the_context_is_what_the_running_proxy_says(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may have learned it from its server; a file here only names the model, and fills in what it does not say."""
    rows = [
        {"id": "first", "display_name": "first", "max_input_tokens": 64_000, "max_tokens": None},
        {"id": "gpt", "display_name": "gpt", "max_input_tokens": 96_000, "max_tokens": 7000},
        {"id": "anthropic/gpt", "display_name": "gpt", "max_input_tokens": 1},
        {"id": "silent", "display_name": "silent", "max_input_tokens": None},
    ]

    def context() -> tuple[str, str | None]:
        assert main(["env", "--shell", "json", "--url", url]) == exits.OK
        env = json.loads(capsys.readouterr().out)
        return env["ANTHROPIC_MODEL"], env.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS")

    file = nothing / "a2py.yaml"
    line = "model_list: [{model_name: %s, litellm_params: {model: openai/x, api_key: k}, model_info: {max_input_tokens: 80000}}]"
    with server({"/health/liveliness": HELLO, "/v1/models?limit=1000": {"data": rows}}) as (url, _):
        assert context() == ("first", "64000")
        for name, window in (("gpt", "96000"), ("silent", "80000")):
            file.write_text(line % name)
            assert context() == (name, window)
        file.write_text(line % "another")
        assert context() == ("first", "64000")


# -- lists ---------------------------------------------------------------------------------------------------------------


def test_models_of_a_file_without_any(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty table says why it is empty."""
    (nothing / "a2py.yaml").write_text("model_list: []\n")
    assert main(["models"]) == exits.OK
    out, err = capsys.readouterr()
    assert out == "" and "a2py.yaml: `model_list` is missing or empty" in err and "nothing is served" in err
    assert main(["models", "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["models"] == []


def test_models(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == exits.OK
    assert capsys.readouterr().out == "name  upstream   wire  context  host\ndemo  demo/demo  chat  200,000  embedded\n"
    assert main(["models", "--model", "deepseek/x", "--api-key", "k", "--alias", "mine", "--json"]) == exits.OK
    listing = json.loads(capsys.readouterr().out)
    assert listing["default"] == "mine" and listing["models"][0]["upstream"] == "deepseek/x"


FILE = """
model_list:
  - {model_name: known, litellm_params: {model: openai/gpt-6.1-sol, api_key: k}, model_info: {max_input_tokens: 65536}}
  - {model_name: local, litellm_params: {model: openai/local, api_base: "%s"}}
  - {model_name: broken, litellm_params: {model: openai/y, api_key: os.environ/NOT_SET}}
router_settings: {model_group_alias: {nick: known}}
"""


def test_models_says_how_much_each_reads_and_what_the_words_mean(
    nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server({"/v1/models": {"data": [{"id": "local", "max_model_len": 8192}]}}) as (url, _):
        (nothing / "a2py.yaml").write_text(FILE % f"{url}/v1")
        assert main(["models"]) == exits.OK
        out, err = capsys.readouterr()
        assert main(["models", "--json"]) == exits.OK
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    cells = [line.split() for line in out.splitlines()]
    assert cells[1][:4] == ["known", "openai/gpt-6.1-sol", "responses", "65,536"] and cells[2][:4] == [
        "local",
        "openai/local",
        "chat",
        "8,192",
    ]
    assert rows["known"]["context"] == 65536 and rows["nick"]["context"] is None
    for meaning in (
        "wire responses: the upstream gets OpenAI Responses",
        "context: how many tokens",
        "→ is another name",
        "✗ cannot be used",
    ):
        assert meaning in err
    assert "Anthropic Messages" not in err, "only words that the table contains are explained"
