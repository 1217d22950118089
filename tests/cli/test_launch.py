# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""`a2py claude` and `a2py run`: the program's environment, terminal, signals and exit code; the proxy's life around
it."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from a2py.cli import exits, launch, main, options, state
from a2py.cli.exits import Stop
from tests.claude.cli import find
from tests.commands import a2py, clean_env, nothing, serving

ASK = """
import json, os, sys, urllib.request
body = {"model": os.environ.get("ANTHROPIC_MODEL", "x"), "max_tokens": 50, "messages": [{"role": "user", "content": "Say hello"}]}
headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]}
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(), headers)
print(json.load(urllib.request.urlopen(request, timeout=20))["content"][0]["text"], *sys.argv[1:])
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith(("ANTHROPIC", "CLAUDE", "API_"))}))
sys.exit(7)
"""


def program(folder: Path, code: str, name: str = "claude") -> Path:
    """An executable Python script."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_run_gives_a_program_a_proxy_and_ends_with_its_code(tmp_path: Path) -> None:
    script = program(tmp_path, ASK, "script")
    result = a2py(
        "run", "--", str(script), "a", "--b", cwd=tmp_path, env={"ANTHROPIC_API_KEY": "sk-real", "API_TIMEOUT_MS": "5"}
    )
    assert result.returncode == 7, result.stderr
    greeting, env = result.stdout.splitlines()
    variables = json.loads(env)
    assert greeting == "Hello! a --b"
    assert (
        variables["ANTHROPIC_MODEL"] == variables["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "demo"
        and variables["API_TIMEOUT_MS"] == "5"
    )
    assert "ANTHROPIC_API_KEY" not in variables and variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "200000"
    log = tmp_path / ".local/state/a2py/claude.log"
    assert f"log: {log}" in result.stderr and "status=200" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    port = re.search(r"127.0.0.1:(\d+)", variables["ANTHROPIC_BASE_URL"])
    assert port
    probe = a2py("--test", cwd=tmp_path, env={"PORT": port[1]})
    assert probe.returncode == exits.UNAVAILABLE


def test_claude_is_found_on_the_path_and_gets_its_arguments(tmp_path: Path) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    program(bin, ASK)
    path = f"{bin}:{os.environ['PATH']}"
    result = a2py("claude", "-p", "say hello", "--model", "x", cwd=tmp_path, env={"PATH": path})
    assert result.returncode == 7 and result.stdout.startswith("Hello! -p say hello --model x\n"), result.stderr
    other = program(tmp_path, "import sys; print('named', *sys.argv[1:])", "other")
    result = a2py("claude", "--demo", "--", "-c", cwd=tmp_path, env={"A2PY_CLAUDE": str(other)})
    assert (result.returncode, result.stdout) == (0, "named -c\n")


def test_the_running_one_is_used_unless_another_is_asked_for(tmp_path: Path) -> None:
    script = program(
        tmp_path, "import os; print(os.environ['ANTHROPIC_BASE_URL'], os.environ['ANTHROPIC_MODEL'])", "script"
    )
    with serving("--port", "0", cwd=tmp_path, env={"LITELLM_MASTER_KEY": "sk-m"}) as running:
        env = {"PORT": running.url.rpartition(":")[2], "LITELLM_MASTER_KEY": "sk-m"}
        assert a2py("run", str(script), cwd=tmp_path, env=env).stdout == f"{running.url} demo\n"
        assert (
            a2py(
                "run", "--url", running.url, "--", str(script), cwd=tmp_path, env={"LITELLM_MASTER_KEY": "sk-m"}
            ).stdout
            == f"{running.url} demo\n"
        )
        other = a2py("run", "--new", "--", str(script), cwd=tmp_path, env=env).stdout
        assert other.startswith("http://127.0.0.1:") and running.url not in other
        without_key = a2py("run", str(script), cwd=tmp_path, env={"PORT": env["PORT"]}).stdout
        assert without_key.startswith("http://127.0.0.1:") and running.url not in without_key
        result = a2py("run", "--url", running.url, "--", str(script), cwd=tmp_path)
        assert result.returncode == exits.UNAVAILABLE and "another key: set A2PY_KEY" in result.stderr


def test_settings_files_that_lead_elsewhere_are_overridden(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text(
        '{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_MODEL": "mine"}}'
    )
    (tmp_path / ".claude" / "settings.local.json").write_text(
        '{"env": {"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_API_KEY": ""}}'
    )
    claude = program(
        tmp_path, "import os, sys; print(open(sys.argv[2]).read(), oct(os.stat(sys.argv[2]).st_mode)); print(*sys.argv)"
    )
    result = a2py("claude", "-p", "x", cwd=tmp_path, env={"A2PY_CLAUDE": str(claude)})
    settings, argv = result.stdout.splitlines()
    env = json.loads(settings.removesuffix(" 0o100600"))["env"]
    assert (
        env["ANTHROPIC_BASE_URL"] != "http://127.0.0.1:1"
        and env["CLAUDE_CODE_USE_BEDROCK"] == ""
        and env["ANTHROPIC_MODEL"] == "demo"
    )
    _, flag, path, *rest = argv.split()
    assert (flag, rest, os.path.exists(path)) == ("--settings", ["-p", "x"], False)
    assert "overriding Claude Code's settings: ANTHROPIC_BASE_URL, CLAUDE_CODE_USE_BEDROCK" in result.stderr
    claude = program(tmp_path, "import sys; print(*sys.argv[1:])")
    result = a2py("claude", "--settings", "{}", cwd=tmp_path, env={"A2PY_CLAUDE": str(claude)})
    assert result.stdout == "--settings {}\n" and "Claude Code may not use this proxy" in result.stderr
    (tmp_path / ".claude" / "settings.json").write_text("broken")
    (tmp_path / ".claude" / "settings.local.json").unlink()
    assert a2py("claude", "x", cwd=tmp_path, env={"A2PY_CLAUDE": str(claude)}).stdout == "x\n"


EVERYTHING = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("command", ["claude", "run"])
def test_the_program_gets_nothing_of_the_folders_dotenv(tmp_path: Path, command: str) -> None:
    """A cloned repository's .env ran as the user: BASH_ENV, LD_PRELOAD and NODE_OPTIONS are read before the program's
    first line."""
    script = program(tmp_path, EVERYTHING, "script")
    theirs = {
        "BASH_ENV": "./evil.sh",
        "LD_PRELOAD": "./evil.so",
        "NODE_OPTIONS": "--require ./evil.js",
        "PYTHONSTARTUP": "./evil.py",
    }
    theirs |= {
        "PATH": ".",
        "HTTPS_PROXY": "http://evil.example",
        "ANTHROPIC_MODEL": "evil",
        "CLAUDE_CONFIG_DIR": ".",
        "OPENAI_API_KEY": "k",
    }
    (tmp_path / ".env").write_text(
        "".join(f"{name}={value}\n" for name, value in {**theirs, "A2PY_CLAUDE": "./evil"}.items())
    )
    mine = {"A2PY_CLAUDE": str(script), "API_TIMEOUT_MS": "5"}
    result = a2py(*([command, "--demo", "--"] + ([str(script)] if command == "run" else [])), cwd=tmp_path, env=mine)
    variables = json.loads(result.stdout)
    own = clean_env(tmp_path, **mine)
    changing = {"PORT", "OLLAMA_HOST"}  # a free port, each time another
    new_names = {name for name in variables if name not in own or variables[name] != own[name]} - changing
    assert {name: variables[name] for name in new_names} == {
        name: value
        for name, value in variables.items()
        if name in new_names and name.startswith(("ANTHROPIC_", "CLAUDE_CODE_", "CLAUDE_STREAM", "DISABLE_"))
    }
    assert (
        own.keys() <= variables.keys() and variables["ANTHROPIC_MODEL"] == "demo" and variables["PATH"] == own["PATH"]
    )


def test_bash_does_not_run_the_folders_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BASH_ENV=./evil.sh\n")
    (tmp_path / "evil.sh").write_text("touch ran\n")
    result = a2py("run", "--demo", "--", "bash", "-c", "echo done", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "done\n") and not (tmp_path / "ran").exists()


ASK_WITHOUT = """
import json, os, urllib.error, urllib.request
def status(**headers):
    request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/models", headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
token = os.environ["ANTHROPIC_AUTH_TOKEN"]
print(json.dumps([token, status(), *(status(authorization="Bearer " + key) for key in ("a2py", "sk-master", token))]))
"""


@pytest.mark.parametrize("command", ["claude", "run"])
def test_a_proxy_for_one_program_takes_that_programs_token_only(tmp_path: Path, command: str) -> None:
    script = program(tmp_path, ASK_WITHOUT, "script")
    tokens = set()
    for env in ({}, {}, {"LITELLM_MASTER_KEY": "sk-master"}):
        args = [command, "--demo", "--"] + ([str(script)] if command == "run" else [])
        result = a2py(*args, cwd=tmp_path, env={"A2PY_CLAUDE": str(script), **env})
        token, *statuses = json.loads(result.stdout)
        assert statuses == [401, 401, 401, 200] and len(token) >= 43, result
        assert token not in result.stderr + (tmp_path / ".local/state/a2py/claude.log").read_text()
        tokens.add(token)
    assert len(tokens) == 3


def test_what_the_configuration_warns_of_is_shown_before_the_program(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=https://evil.example/v1\n")
    result = a2py("run", "--", "true", cwd=tmp_path, env={"OPENAI_API_KEY": "sk-mine"})
    assert (
        result.returncode == 0
        and "OPENAI_BASE_URL comes from .env and OPENAI_API_KEY does not, so requests to evil.example" in result.stderr
    )


def test_a_program_of_the_working_folder_is_no_claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "PLACES", ())
    program(tmp_path, "pass")
    with pytest.raises(Stop):
        launch.find_claude({"PATH": "."})
    assert launch.find_claude({"PATH": ".", "A2PY_CLAUDE": "./claude"}) == "./claude"


@pytest.mark.parametrize(
    "args, env, code, message",
    [
        (["run"], {}, exits.USAGE, "name the program after --"),
        (["run", "--", "/nowhere/x"], {}, exits.NOT_FOUND, "/nowhere/x was not found"),
        (["run", "--", "/tmp"], {}, exits.NOT_RUNNABLE, "/tmp can't be run"),
        (["claude"], {"A2PY_CLAUDE": "/nowhere/claude"}, exits.NOT_FOUND, "A2PY_CLAUDE"),
        (["claude", "--config", "missing.yaml", "--", "-p"], {"A2PY_CLAUDE": "true"}, exits.CONFIG, "missing.yaml"),
    ],
)
def test_what_can_not_be_run(tmp_path: Path, args: list[str], env: dict[str, str], code: int, message: str) -> None:
    result = a2py(*args, cwd=tmp_path, env=env)
    assert (result.returncode, message in result.stderr, "Traceback" in result.stderr) == (code, True, False), (
        result.stderr
    )


def test_claude_that_is_nowhere(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(nothing))
    monkeypatch.setattr(launch, "PLACES", ("~/somewhere/claude",))
    assert main(["claude"]) == exits.NOT_FOUND
    assert "npm install -g @anthropic-ai/claude-code" in capsys.readouterr().err
    (nothing / "somewhere").mkdir()
    claude = program(nothing / "somewhere", "pass")
    assert launch.find_claude(os.environ) == str(claude)


SIGNALS = """
import os, signal, sys, time
got = []
for name in ("SIGTERM", "SIGHUP", "SIGINT"):
    signal.signal(getattr(signal, name), lambda number, frame: got.append(number) or print("got", signal.Signals(number).name, flush=True))
print("ready", flush=True)
while signal.SIGTERM not in got:
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_signals_are_handed_on_and_end_the_code(tmp_path: Path) -> None:
    script = program(tmp_path, SIGNALS, "script")
    process = subprocess.Popen(
        [sys.executable, "-m", "a2py", "run", "--demo", "--", str(script)],
        cwd=tmp_path,
        env=clean_env(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)  # of a terminal, the program gets its own: ours is not handed on
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "got SIGHUP\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "got SIGTERM\n"
        assert process.wait(30) == 128 + signal.SIGKILL
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@pytest.mark.parametrize(
    "argv, own, rest",
    [
        (["-p", "x"], [], ["-p", "x"]),
        (["--demo", "-p", "x"], ["--demo"], ["-p", "x"]),
        (["--config", "f", "--new", "-c"], ["--config", "f", "--new"], ["-c"]),
        (["--api_base=http://x", "hello"], ["--api_base=http://x"], ["hello"]),
        (["-c", "f", "--", "-c"], ["-c", "f"], ["-c"]),
        (["--model", "a/b"], [], ["--model", "a/b"]),
        (["--model", "a/b", "--", "x"], ["--model", "a/b"], ["x"]),
        (["--", "--help"], [], ["--help"]),
        (["prompt", "--", "x"], [], ["prompt", "--", "x"]),
        (["--url"], ["--url"], []),
        ([], [], []),
    ],
)
def test_whose_argument_is_whose(argv: list[str], own: list[str], rest: list[str]) -> None:
    parser = options.Parser("claude", "").flags(launch.FLAGS, options.SOURCE)
    assert launch.split(parser, argv) == (own, rest)


def test_a_long_log_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOG_BYTES", 3)
    path = str(tmp_path / "logs" / "a.log")
    for text in ("12345", "6"):
        with state.open_log(path) as log:
            log.write(text)
    assert Path(path).read_text() == "6" and Path(path + ".1").read_text() == "12345"


@pytest.mark.claude
def test_the_real_claude_code_on_nothing_at_all(tmp_path: Path) -> None:
    """The shown line of issue 7: Claude Code, no configuration, the demo upstream."""
    claude = find()
    if not claude:
        pytest.skip("Claude Code is not here: make test-claude")
    env = {"A2PY_CLAUDE": claude}
    result = a2py("claude", "-p", "say hello", cwd=tmp_path, env=env)
    assert (result.returncode, result.stdout) == (0, "Hello!\n"), result.stderr
    (tmp_path / ".claude" / "settings.json").write_text('{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}}')
    (tmp_path / "notes.txt").write_text("the answer is 42\n")
    result = a2py("claude", "-p", "read notes.txt", cwd=tmp_path, env=env)
    assert result.returncode == 0 and "the answer is 42" in result.stdout
