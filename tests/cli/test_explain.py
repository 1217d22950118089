# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""`a2py models --explain`: from a running a2py, or from the configuration alone, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import exits, main
from tests.commands import nothing
from tests.json_server import server
from tests.process import free_port

FILE = """
model_list:
  - {model_name: mine, litellm_params: {model: openai/gpt-5.4, api_base: "http://127.0.0.1:9/v1"},
     model_info: {max_input_tokens: 65536, quirks: {images: false}}}
  - {model_name: broken, litellm_params: {model: openai/y, api_key: os.environ/NOT_SET}}
  - {model_name: "any/*", litellm_params: {model: "deepseek/*", api_key: k}}
general_settings: {master_key: sk-m}
"""
MINE: dict[str, Any] = {
    "name": "mine",
    "provider": "openai",
    "model": "x",
    "wire": "chat",
    "server": {"program": "llama.cpp", "version": "b9", "reason": "its Server header", "date": "2026-11-29T20:00Z"},
    "context": 65536,
    "quirks": {
        "tool_choice_named": {
            "value": "only",
            "source": "server",
            "reason": "it is llama.cpp",
            "date": "2026-11-29T20:00Z",
        },
        "images": {"value": False, "source": "file", "reason": "model_info of mine\x1b[2J"},
    },
}


def running(*deployments: Any, **more: Any) -> dict[str, Any]:
    """The pages of an a2py that knows this of `mine`."""
    return {
        "/health/liveliness": {"status": "ok", "name": "a2py"},
        "/v1/models?limit=1000": {"data": [{"id": "mine"}]},
        "/health?model=mine": {"deployments": list(deployments)},
        **more,
    }


def test_a_running_proxy_is_asked(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(
        running(MINE, {**MINE, "quirks": {}, "context": None, "server": None}, {**MINE, "problem": "no key"})
    ) as (url, _):
        assert main(["models", "--explain", "mine", "--url", url]) == exits.OK
        out, err = capsys.readouterr()
        assert main(["models", "--explain", "mine", "--json", "--url", url]) == exits.OK
        page = json.loads(capsys.readouterr().out)
    assert err.startswith(f"from the a2py at {url}\n")
    first, second, third = (part.splitlines() for part in out.rstrip().split("\n\n"))
    assert first[:3] == [
        "mine: openai/x, wire chat",
        "server: llama.cpp b9 (its Server header; 2026-11-29T20:00Z)",
        "context: 65,536 tokens",
    ]
    assert first[3:] == [
        "file: model_info of mine\\u001b[2J",
        "  images  false",
        "server, 2026-11-29T20:00Z: it is llama.cpp",
        '  tool_choice_named  "only"',
    ]
    assert "unknown" in second[1] and "common subset" in second[2] and third[1] == "✗ no key"
    assert page["is_running"] is True and page["deployments"][0] == MINE and url in page["origin"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (404, json.dumps({"error": {"message": "model: mine is not served here"}}).encode()),
            "mine is not served here",
        ),
        ((500, b"{}"), "500"),
        ((200, b"<html>"), "no answer from /health"),
    ],
)
def test_a_running_proxy_that_can_not_say_it(
    nothing: Path, answer: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server(running(**{"/health?model=mine": answer})) as (url, _):
        assert main(["models", "--explain", "mine", "--url", url]) != exits.OK
    assert message in capsys.readouterr().err


def test_without_one_the_configuration_is_asked(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "a2py.yaml").write_text(FILE)
    where = ["--port", str(free_port())]
    assert main(["models", "--explain", "mine", *where]) == exits.OK
    out, err = capsys.readouterr()
    assert (
        err.startswith("from a2py.yaml alone: no a2py answers at http://127.0.0.1:")
        and "no server has been asked" in err
    )
    assert "context: 65,536 tokens" in out and "server:" not in out
    lines = out.splitlines()
    assert lines[2].startswith("file: model_info of mine") and lines[3] == "  images  false"
    assert any(line.startswith("family: ") for line in lines) and any(
        line.split()[0] == "max_tokens_field" for line in lines
    )
    assert main(["models", "--explain", "any/deepseek-chat", "--json", *where]) == exits.OK
    page = json.loads(capsys.readouterr().out)
    assert page["is_running"] is False and page["deployments"][0]["model"] == "deepseek-chat"
    for name, message in (("nope", "known names"), ("broken", "NOT_SET")):
        assert main(["models", "--explain", name, *where]) == exits.FAILED
        assert message in capsys.readouterr().err


def test_a_model_that_is_named_here_is_not_looked_for_elsewhere(
    nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server(running(MINE)) as (url, requests):
        assert (
            main(["models", "--explain", "deepseek/x", "--model", "deepseek/x", "--api-key", "k", "--url", url])
            == exits.OK
        )
        assert main(["models", "--explain", "demo", "--demo", "--url", url]) == exits.FAILED
    assert "demo model has no quirks" in capsys.readouterr().err and not requests
