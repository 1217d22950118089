# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""`a2py config`: write a first file that serves, show the effective configuration without secrets, report mistakes with
their place."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from a2py.cli import configinit as command
from a2py.cli import exits, main
from a2py.config import SETTINGS, load
from a2py.providers import PROVIDERS
from tests.commands import nothing


def read(folder: Path, name: str = "a2py.yaml") -> Any:
    return yaml.safe_load((folder / name).read_text())


def test_init_writes_a_file_that_serves(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["config", "init", "--provider", "deepseek", "--model", "deepseek-chat", "--name", "it's: #1", "--yes"])
        == exits.OK
    )
    path = nothing / "a2py.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "export DEEPSEEK_API_KEY=" in capsys.readouterr().out
    config = load(str(path), {"DEEPSEEK_API_KEY": "k"}, str(nothing))
    assert config.warnings == () and config.default_name == "it's: #1" and config.resolve("claude-x")[0].key == "k"
    assert main(["config", "init", "--yes"]) == exits.FAILED
    assert "--force replaces it" in capsys.readouterr().err
    assert (
        main(["config", "init", "--yes", "--force", "--provider", "ollama", "--model", "qwen3", "--master-key"])
        == exits.OK
    )
    config = load(str(path), {}, str(nothing))
    assert (
        config.master_key.startswith("sk-") and len(config.master_key) > 30 and not config.resolve("qwen3")[0].problem
    )


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if row.default_model or not row.base])
def test_init_for_every_kind_of_provider(nothing: Path, name: str) -> None:
    base = [] if PROVIDERS[name].base else ["--api-base", "http://127.0.0.1:8000/v1"]
    assert main(["config", "init", "--provider", name, "--model", "m", *base, "-o", "c.yaml"]) == exits.OK
    config = load("c.yaml", dict.fromkeys(PROVIDERS[name].keys, "k"), str(nothing))
    assert not config.warnings and not config.deployments[0].problem


def test_what_init_comments_is_what_the_table_says() -> None:
    text = command.render("n", "openai/m", "", "K", "")
    own = [path for row in SETTINGS for path in row.paths if path.startswith("a2py.") and row.kind == "set"]
    section = text[text.index("# a2py:") :].replace("\n# ", "\n").replace("\n#   ", "\n  ").replace("# a2py:", "a2py:")
    assert {f"a2py.{name}" for name in yaml.safe_load(section.replace("#  ", " "))["a2py"]} == set(own)


@pytest.mark.parametrize(
    "flags, code, message",
    [
        (["--provider", "deepsek"], exits.USAGE, "did you mean deepseek?"),
        (["--provider", "zzz"], exits.USAGE, "known: openai"),
        (["--provider", "hosted_vllm", "--model", "m"], exits.USAGE, "--api-base"),
        (["--provider", "ollama"], exits.USAGE, "--model"),
    ],
)
def test_init_that_lacks_something(
    nothing: Path, flags: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "init", "--yes", *flags]) == code
    assert message in capsys.readouterr().err and not os.path.exists("a2py.yaml")


def test_init_asks_on_a_terminal(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = io.StringIO("hosted_vllm\nhttp://127.0.0.1:8000/v1\nqwen\n")
    answers.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", answers)
    monkeypatch.setenv("GROQ_API_KEY", "k")
    assert main(["config", "init", "-o", "x.yaml"]) == exits.OK
    captured = capsys.readouterr()
    assert "[groq]: " in captured.err and "next: a2py --config x.yaml" in captured.out
    assert read(nothing, "x.yaml")["model_list"][0]["litellm_params"] == {
        "model": "hosted_vllm/qwen",
        "api_base": "http://127.0.0.1:8000/v1",
    }


FILE = """
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-x, api_key: sk-very-secret, api_base: "http://user:pw@127.0.0.1:9/v1?k=query-secret", extra_headers: {X-Key: header-secret}, extra_body: {a: body-secret}}
    model_info: {max_input_tokens: 5, quirks: {images: false}}
  - {model_name: other, litellm_params: {model: groq/y}}
general_settings: {master_key: sk-master}
router_settings: {model_group_alias: {nick: gpt}, num_retries: 4}
a2py: {keepalive_seconds: 9, unknown_thing: 1}
"""


def test_show_hides_every_secret(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "a2py.yaml").write_text(FILE)
    for flags in ([], ["--all"], ["--json"]):
        assert main(["config", "show", *flags]) == exits.OK
        out, _ = capsys.readouterr()
        for secret in ("very-secret", "sk-master", "header-secret", "body-secret", "query-secret", "pw@"):
            assert secret not in out
        for part in (
            "gpt-x",
            "nick",
            "X-Key",
            "num_retries",
            "keepalive_seconds",
            "max_input_tokens",
            "images",
            "GROQ_API_KEY",
        ):
            assert part in out, part
        assert ("drain_seconds" in out) is (flags == ["--all"])
    assert main(["config", "show"]) == exits.OK
    out = capsys.readouterr().out
    assert (
        yaml.safe_load(out)["settings"]["keepalive_seconds"] == 9
        and "a2py.yaml" in out[out.index("keepalive_seconds") :]
    )
    assert yaml.safe_load(out)["models"][0]["quirks"]["images"] is False


def test_show_of_the_demo(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == exits.OK
    assert "demo" in capsys.readouterr().out
    assert main(["config", "show", "--json"]) == exits.OK
    assert "demo" in json.loads(capsys.readouterr().out)["source"]


def test_validate(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "a2py.yaml").write_text(FILE)
    (nothing / "a2py.yaml").chmod(0o600)
    assert main(["config", "validate"]) == exits.FAILED
    out, err = capsys.readouterr()
    assert out == "a2py.yaml: 2 models, 1 that can't work, 1 warning\n"
    assert "GROQ_API_KEY" in err and "`a2py.unknown_thing` is unknown" in err
    (nothing / "b.yaml").write_text(
        "model_list: [{model_name: gpt, litellm_params: {model: openai/x, api_key: k}}]\nwhat: 1\n"
    )
    (nothing / "b.yaml").chmod(0o600)
    assert main(["config", "validate", "b.yaml"]) == exits.OK
    assert main(["config", "validate", "-c", "b.yaml", "--strict"]) == exits.FAILED
    capsys.readouterr()
    good = "model_list: [{model_name: gpt, litellm_params: {model: openai/x, api_key: k}}]\n"
    for mistake in (
        "router_settings: {num_retrys: 1}",
        "router_settings: {fallbacks: [{gpt: [gtp]}]}",
        "num_retries: 1",
    ):
        (nothing / "b.yaml").write_text(f"{good}{mistake}\n")
        assert main(["config", "validate", "b.yaml"]) == exits.FAILED
        assert "a2py: b.yaml:2: `" in capsys.readouterr().err
    (nothing / "b.yaml").write_text("model_lst: [{model_name: gpt}]\n")
    assert main(["config", "validate", "b.yaml"]) == exits.CONFIG
    assert "Write `model_list:`." in capsys.readouterr().err
    (nothing / "b.yaml").write_text("model_list: 3\n")
    assert main(["config", "validate", "b.yaml"]) == exits.CONFIG
    assert main(["config", "validate", "nowhere.yaml"]) == exits.CONFIG
    assert main(["config"]) == exits.USAGE
    assert main(["config", "validat"]) == exits.USAGE
