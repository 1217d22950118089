"""The command line as a whole: commands, help, version, flags, exit codes, colours, and modules that a start must not
import."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

import a2py
from a2py.cli import exits, main, options, terminal
from a2py.cli.main import COMMANDS
from tests.commands import clean_env


def test_version_is_fast_and_imports_little() -> None:
    code = "import sys, a2py.cli as c; code = c.main(sys.argv[1:]); print(code, *sorted(sys.modules), file=sys.stderr)"
    for args in (["--version"], ["--help"]):
        result = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, check=True
        )
        code_and_modules = result.stderr.split()
        assert code_and_modules[0] == "0" and a2py.__version__ in result.stdout
        assert not {"aiohttp", "yaml", "argparse", "asyncio", "orjson", "json"} & set(code_and_modules)


@pytest.mark.parametrize("command", ["status", "stop", "start"])
def test_who_serves_nothing_imports_no_server(command: str, tmp_path: Path) -> None:
    """aiohttp takes half of the time of these commands; `start` refuses here, as the file is missing."""
    code = "import sys, a2py.cli as c; code = c.main(sys.argv[1:]); print(code, *sorted(sys.modules))"
    flags = ["--config", "missing.yaml"] if command == "start" else []
    run = [sys.executable, "-c", code, command, *flags]
    result = subprocess.run(
        run, cwd=tmp_path, env=clean_env(tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    modules = result.stdout.split()
    assert "a2py.cli.serve" in modules and "aiohttp" not in modules and "a2py.proxy.aiohttp_server" not in modules


def test_import_a2py_imports_nothing() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; before = set(sys.modules); import a2py; print(*(set(sys.modules) - before))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.split() == ["a2py"]


def test_module_runs() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "a2py", "-v"], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == f"a2py {a2py.__version__}\n"


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "--json"]) == exits.OK
    versions = json.loads(capsys.readouterr().out)
    assert versions["a2py"] == a2py.__version__ and versions["aiohttp"] and versions["python"].startswith("3.")


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == exits.OK
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in text and command.help in text and command.example in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for args in ([name, "--help"], ["help", name]):
        with pytest.raises(SystemExit) as end:
            main(args)
        assert end.value.code == exits.OK
        text = capsys.readouterr().out
        assert text.startswith("usage: a2py") and "examples:\n  " in text


@pytest.mark.parametrize(
    "args, message",
    [
        (["clade"], "did you mean `a2py claude`?"),
        (["xyzzy"], "commands: serve, claude"),
        (["serve", "--prot", "1"], "unrecognized arguments: --prot 1; did you mean --port?"),
        (["--api_bsae=x"], "unrecognized arguments: --api-bsae=x; did you mean --api-base?"),
        (["--xyzzy"], "unrecognized arguments: --xyzzy\n"),
        (["--port", "x"], "'x' is not a port, 0 to 65535"),
        (["--port", "70000"], "'70000' is not a port, 0 to 65535"),
        (["--num_workers", "0"], "'0' is not a whole number of at least 1"),
        (["setup"], "the following arguments are required: claude"),
        (["serve", "--bogus"], "unrecognized arguments: --bogus\nusage: a2py serve"),
        (["run", "--ulr", "x"], "unrecognized arguments: --ulr; did you mean --url?"),
        (["run"], "a2py: name the program after --"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_what_to_do(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == exits.USAGE
    out, err = capsys.readouterr()
    assert message in err and not out
    assert err.count("\n") <= 2 and err.count("usage:") == ("--help" in err)


def test_a_wrong_environment_is_2_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "many")
    assert main(["serve"]) == exits.USAGE
    assert "environment variable PORT: 'many' is not a port, 0 to 65535; unset or correct it" in capsys.readouterr().err


def test_dashes_and_underscores_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*args: Any) -> Any:
        return options.Parser("serve", "").flags(options.SOURCE, options.LISTEN, options.SERVER).read(args)

    space = parse(
        "--api_base", "http://x_y", "--ssl_keyfile_path=a_b", "--drop_params", "-m", "a_b", "--num_workers", "2"
    )
    assert (space.api_base, space.ssl_keyfile_path, space.drop_params, space.model, space.num_workers) == (
        "http://x_y",
        "a_b",
        True,
        "a_b",
        2,
    )
    assert (space.port, space.host) == (None, None)
    monkeypatch.setenv("PORT", "5000")
    monkeypatch.setenv("HOST", "::1")
    assert (parse().port, parse().host, parse("--port", "1").port) == (5000, "::1", 1)
    assert options.use_dashes(["--a_b", "--", "--a_b"]) == ["--a-b", "--", "--a_b"]


LITELLM = (
    "--config",
    "-c",
    "--port",
    "--host",
    "--num_workers",
    "--model",
    "-m",
    "--alias",
    "--api_base",
    "--api_version",
    "--debug",
    "--drop_params",
    "--max_tokens",
    "--temperature",
    "--request_timeout",
    "--health",
    "--test",
    "--keepalive_timeout",
    "--ssl_keyfile_path",
    "--ssl_certfile_path",
)


@pytest.mark.parametrize("flag", LITELLM)
def test_every_litellm_flag_is_known_to_serve(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert options.use_dashes([flag])[0] in capsys.readouterr().out.replace(",", " ").split()


@pytest.mark.parametrize(
    "env, tty, colours",
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours_only_on_a_terminal(
    env: dict[str, str], tty: bool, colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: tty)
    monkeypatch.setattr(err, "isatty", lambda: tty)
    term = terminal.Terminal(out, err)
    term.warn("a")
    term.error("b")
    term.print(term.table([["x", "yy"], ["xxx", "y"]], ["h"]))
    assert ("\x1b[" in out.getvalue(), "\x1b[" in err.getvalue()) == (colours, colours)
    plain = out.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert plain == "h\nx    yy\nxxx  y\n"


def test_a_terminal_that_lacks_a_letter_shows_another() -> None:
    raw = io.BytesIO()
    term = terminal.Terminal(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    term.print("a → b")
    assert raw.getvalue().rstrip() == b"a ? b"


def test_what_ends_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from a2py.cli import demo
    from a2py.config.error import ConfigError

    for error, code in (
        (exits.Stop("m"), exits.FAILED),
        (KeyboardInterrupt(), exits.INTERRUPTED),
        (ConfigError("wrong", file="f.yaml", line=3, column=1), exits.CONFIG),
    ):

        def fail(name: str, args: Any, error: Any = error) -> NoReturn:
            raise error

        monkeypatch.setattr(demo, "run", fail)
        assert main(["demo"]) == code
    assert "f.yaml:3: wrong." in capsys.readouterr().err
    monkeypatch.setattr(demo, "run", lambda name, args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


def test_a_closed_pipe_is_no_traceback() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from a2py.cli import main, terminal, demo\ndef run(name, args):\n    raise BrokenPipeError\ndemo.run = run\nsys.exit(main(['demo']))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout, result.stderr) == (exits.FAILED, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "args", [["--version"], ["--help"], ["models", "--demo"], ["completion", "bash"]], ids=" ".join
)
def test_a_result_that_can_not_be_written_fails_in_one_line(args: list[str], tmp_path: Path) -> None:
    for flag in ("", "1"):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "a2py", *args]
            env = {**os.environ, "PYTHONUNBUFFERED": flag}
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=env)
        assert result.returncode == exits.FAILED and result.stderr.endswith(
            "a2py: the result can't be written: No space left on device\n"
        ), result


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_closed_standard_streams_are_opened_again() -> None:
    """Else the next file or socket would become standard error, and messages would go there. The exit code is the
    command's own."""
    code = "import os, sys; from a2py.cli import main, demo; read, end = os.pipe()\n"
    code += "def run(name, args):\n    os.write(end, repr(sorted(os.pipe())).encode()); return 41\ndemo.run = run; code = main(['demo'])\n"
    code += "sys.exit(code if min(eval(os.read(read, 99))) > 2 else 1)"
    for start in (0, 1, 2):
        close = partial(os.closerange, start, 3)
        result = subprocess.run([sys.executable, "-c", code], preexec_fn=close, timeout=60)
        assert result.returncode == 41
    result = subprocess.run(
        [sys.executable, "-m", "a2py", "nothing-of-the-kind"], preexec_fn=lambda: os.close(2), timeout=60
    )
    assert result.returncode == exits.USAGE


def test_words_that_nobody_hears_are_no_failure() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    term = terminal.Terminal(Full(), Full())
    term.note("x")
    term.warn("x")
    term.error("x")
    stream = io.StringIO()
    term = terminal.Terminal(io.StringIO(), stream)
    stream.close()
    term.note("x")
    with pytest.raises(OSError, match="No space left"):
        terminal.Terminal(Full(), io.StringIO()).print("a result")
