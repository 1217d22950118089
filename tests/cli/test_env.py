# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""The client's environment: which variables, in which shell, over what the user has set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from a2py.cli import exits, main
from a2py.cli.clientenv import FAMILIES, REMOVED_VARIABLES, SHELLS, TUNING, Target, client_env, overlay
from tests.commands import nothing

NASTY = {"A": 'it\'s "$HOME" `x` \\ !', "B": "", "C": "plain-1.2:3/4", "D": "two\nlines"}


def test_what_claude_code_is_told() -> None:
    env = client_env(Target("http://x:1", "key", "gpt", ("gpt", "my-haiku", "claude-opus-*"), 128_000, 16_000))
    assert (
        env["ANTHROPIC_BASE_URL"] == "http://x:1"
        and env["ANTHROPIC_AUTH_TOKEN"] == "key"
        and env["ANTHROPIC_MODEL"] == "gpt"
    )
    assert [env[FAMILIES[family]] for family in ("opus", "sonnet", "haiku", "fable")] == [
        "gpt",
        "gpt",
        "my-haiku",
        "gpt",
    ]
    assert env["ANTHROPIC_SMALL_FAST_MODEL"] == "my-haiku"
    assert env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "128000" and env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "16000"
    assert env["CLAUDE_CODE_AUTO_MODE_SERVER"] == "0" and env["CLAUDE_STREAM_IDLE_TIMEOUT_MS"] == "1800000"
    assert {name: env[name] for name in TUNING} == {name: value for name, (value, _) in TUNING.items()}


def test_what_is_not_known_is_not_told() -> None:
    env = client_env(Target("http://x:1", window=1_000_000))
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in client_env(Target("http://x:1", window=32_768))
    assert env["ANTHROPIC_AUTH_TOKEN"] and not {
        "ANTHROPIC_MODEL",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    } & set(env)


def test_the_users_own_values_stay_but_the_route_is_ours() -> None:
    user = {
        "API_TIMEOUT_MS": "1",
        "ANTHROPIC_BASE_URL": "https://elsewhere",
        "ANTHROPIC_API_KEY": "secret",
        "PATH": "/bin",
    }
    env = overlay(user, client_env(Target("http://x:1")))
    assert env["API_TIMEOUT_MS"] == "1" and env["PATH"] == "/bin" and env["ANTHROPIC_BASE_URL"] == "http://x:1"
    assert not set(REMOVED_VARIABLES) & set(env)


def test_a_target_hides_its_token() -> None:
    assert "geheim" not in repr(Target("http://x", "geheim"))


def _through(shell: list[str], text: str) -> dict[str, str]:
    """The environment after `text` ran in a real shell."""
    result = subprocess.run(
        [*shell, f"{text}\nenv -0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={"PATH": "/usr/bin:/bin", "GONE": "1"},
    )
    return dict(part.partition("=")[::2] for part in result.stdout.split("\0") if part)


@pytest.mark.parametrize("shell", ["sh", "bash", pytest.param("zsh", marks=pytest.mark.real), "dash"])
def test_posix_shells_read_it(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here")
    env = _through([shell, "-c"], SHELLS["sh"](NASTY, ("GONE",)))
    assert {name: env[name] for name in NASTY} == NASTY and "GONE" not in env


def test_fish_and_powershell_quoting() -> None:
    assert SHELLS["fish"](NASTY, ("GONE",)).splitlines()[:3] == [
        "set -e GONE",
        "set -gx A 'it\\'s \"$HOME\" `x` \\\\ !'",
        "set -gx B ''",
    ]
    assert SHELLS["powershell"](NASTY, ("GONE",)).splitlines()[:2] == [
        "Remove-Item Env:GONE -ErrorAction SilentlyContinue",
        "$env:A = 'it''s \"$HOME\" `x` \\ !'",
    ]
    if shutil.which("fish"):
        env = _through(["fish", "-c"], SHELLS["fish"](NASTY, ("GONE",)))
        assert {name: env[name] for name in NASTY} == NASTY


def test_json_forms() -> None:
    assert json.loads(SHELLS["json"](NASTY, ())) == NASTY
    assert json.loads(SHELLS["settings"](NASTY, ())) == {"env": NASTY}


def test_env_before_a_start(nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    assert main(["env", "--shell", "sh"]) == exits.OK
    out, err = capsys.readouterr()
    assert (
        out.splitlines()[0] == "unset ANTHROPIC_API_KEY"
        and "export ANTHROPIC_MODEL=demo" in out
        and "start one with `a2py`" in err
    )
    assert f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{os.environ['PORT']}\n" in out


@pytest.mark.parametrize(
    "shell, platform, prefix",
    [("/usr/bin/fish", "linux", "set -gx"), ("/bin/zsh", "darwin", "export"), ("", "win32", "$env:")],
)
def test_the_shell_is_guessed(
    nothing: Path,
    shell: str,
    platform: str,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from a2py.cli import env

    monkeypatch.setenv("SHELL", shell)
    monkeypatch.setattr("sys.platform", platform)
    assert main(["env", "--model", "deepseek/x", "--api-key", "k"]) == exits.OK
    out = capsys.readouterr().out
    assert out.startswith(prefix) and "deepseek/x" in out


def test_env_for_a_named_proxy(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "a2py.yaml").write_text(
        "model_list: [{model_name: gpt, litellm_params: {model: openai/gpt-5.4, api_key: k}, model_info: {max_input_tokens: 400000}}]\n"
        "general_settings: {master_key: sk-m}\n"
    )
    assert main(["env", "--shell", "json", "--url", "gateway:4000/v1/"]) == exits.OK
    env = json.loads(capsys.readouterr().out)
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"], env["ANTHROPIC_MODEL"]) == (
        "http://gateway:4000",
        "sk-m",
        "gpt",
    )
    assert env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "400000"


def test_routes_get_the_names_that_claude_code_uses_itself() -> None:
    env = client_env(Target("http://x:1", names=("kimi", "my-haiku"), is_routed=True))
    assert "ANTHROPIC_MODEL" not in env and FAMILIES["opus"] not in env
    assert env[FAMILIES["haiku"]] == env["ANTHROPIC_SMALL_FAST_MODEL"] == "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("routes", "window"),
    [
        ("[{when: subagent, model: long}]", "128000"),
        ("[{when: {tokens_over: 100000}, model: long}]", "400000"),
        ("[{when: {tokens_over: 100000}, model: unknown}]", None),
    ],
)
def test_the_window_of_routes(
    nothing: Path, routes: str, window: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = "  - {{model_name: {0}, litellm_params: {{model: openai/{0}, api_key: k, api_base: 'http://h.example/v1'}}{1}}}\n"
    models = [("kimi", 128_000), ("long", 400_000), ("unknown", 0)]
    text = "model_list:\n" + "".join(
        entry.format(name, f", model_info: {{max_input_tokens: {size}}}" if size else "") for name, size in models
    )
    (nothing / "a.yaml").write_text(f"{text}a2py: {{routes: {routes}}}\n")
    assert main(["env", "--config", "a.yaml", "--shell", "json"]) == exits.OK
    env = json.loads(capsys.readouterr().out)
    assert env.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS") == (window or "128000") and "ANTHROPIC_MODEL" not in env
