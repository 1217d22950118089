"""`a2py usage` and `a2py statusline`: the tables, the forms for programs, the line."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from a2py.cli import exits, state, statusline, usage
from a2py.cli.main import main
from a2py.ledger.row import AnswerColumns, RequestColumns, Row, UsageColumns
from a2py.ledger.store import Store
from tests.commands import a2py, nothing
from tests.process import deployment, running

__all__ = ["nothing"]
HOSTILE = '=HYPERLINK("x")\x1b[2J\u202e"'
KEYS = [
    "requests",
    "errors",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost",
    "estimated",
]


def row(model: str, cost: float | None, tokens: int = 100, *, session: str = "s1", status: int = 200) -> Row:
    took = UsageColumns(tokens, 3 * tokens, 0, tokens, 0, 0, cost, 0.1, 0.2)
    error = "overloaded" if status >= 400 else ""
    question, answer = (
        RequestColumns("team", session, "", model, ""),
        AnswerColumns("d", "deepseek-chat", "chat", status, "", error, 1, ""),
    )
    return Row(time.time(), question, answer, took)


def write(path: str, *rows: Row) -> None:
    store = Store(path)
    store.insert(rows)
    store.close()


@pytest.fixture
def ledger(nothing: Path) -> str:
    """This user's ledger, with two models and a failure."""
    path = state.ledger_path(os.environ)
    assert path.startswith(str(nothing))
    write(
        path,
        row("big", 1.5),
        row("big", None, 0, status=503),
        row(HOSTILE, None, session="s9"),
        row("big", 0.25, session="s2"),
    )
    return path


def test_without_a_proxy_it_reads_this_users_ledger(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage"]) == exits.OK
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["model", "requests", "errors", "input", "cache", "read", "cache", "write", "output", "cost"]
    assert lines[1] == ["big", "3", "1", "200", "600", "0", "200", "$1.75"]
    assert lines[2][-1] == "unknown" and lines[3] == ["total", "4", "1", "300", "900", "0", "300", "≥$1.75"]
    assert "\x1b" not in out and "\u202e" not in out and "█" not in out
    assert "list prices (LiteLLM" in err and "1 answer has no known price" in err


def test_json_is_a_list_of_objects(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--json", "--by", "model"]) == exits.OK
    big, hostile = json.loads(capsys.readouterr().out)
    assert list(big) == ["model", *KEYS]
    assert big == dict(zip(list(big), ["big", 3, 1, 200, 600, 0, 200, 1.75, 0], strict=True))
    assert hostile["model"] == HOSTILE and hostile["cost"] is None
    for by in ("key", "session", "agent", "day", "hour", "deployment"):
        assert main(["usage", "--json", "--by", by]) == exits.OK
        assert list(json.loads(capsys.readouterr().out)[0]) == [by, *KEYS]


def test_csv_is_for_a_spreadsheet(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--csv"]) == exits.OK
    head, big, hostile = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["model", *KEYS] and big == ["big", "3", "1", "200", "600", "0", "200", "1.75", "0"]
    assert hostile[0].startswith("'=HYPERLINK") and "\x1b" not in hostile[0] and hostile[7] == ""


def test_bars_are_for_a_terminal(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2py.cli.terminal import Terminal

    class Tty(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "1")
    rows = usage.read_file(ledger, "model", 0.0)
    lines = usage.draw(Terminal(Tty(), Tty()), "model", rows).splitlines()
    assert lines[1].endswith("█" * usage.BAR) and 0 < lines[2].count("█") < usage.BAR and "█" not in lines[3]


@pytest.mark.parametrize(
    ("cost", "is_partial", "text"),
    [
        (None, 1, "unknown"),
        (None, 0, "unknown"),
        (0.0, 1, "unknown"),
        (0.0, 0, "$0.00"),
        (0.0012, 0, "$0.0012"),
        (1234.5, 1, "≥$1,234.50"),
    ],
)
def test_an_unknown_cost_is_never_zero(cost: float | None, is_partial: int, text: str) -> None:
    assert statusline.format_cost(cost, bool(is_partial)) == text


def test_since_and_what_can_be_wrong(ledger: str, nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--since", "1h", "--json"]) == exits.OK
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["usage", "--since", "2099-01-01"]) == exits.OK
    assert "no answers since 2099-01-01" in capsys.readouterr().err
    assert main(["usage", "--since", "soon"]) == exits.USAGE
    assert main(["usage", "--url", "http://127.0.0.1:9"]) == exits.UNAVAILABLE
    assert "no a2py answers at http://127.0.0.1:9: start one, or omit --url" in capsys.readouterr().err


def test_a_proxy_of_the_environment_is_named_too(
    ledger: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This machine's ledger is no answer to what that proxy has used."""
    monkeypatch.setenv("A2PY_URL", "http://127.0.0.1:9")
    assert main(["usage"]) == exits.UNAVAILABLE
    assert "no a2py answers at http://127.0.0.1:9: start one, or unset A2PY_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("broken.db", exits.FAILED, "the ledger broken.db can't be read: file is not a database. Correct --ledger"),
        ("missing.db", exits.FAILED, "there is no file missing.db: correct --ledger, or omit it for your own ledger"),
        ("folder", exits.FAILED, "folder is a folder: name the ledger in it, for example --ledger folder/usage.db"),
        ("", exits.USAGE, "argument --ledger: the value is empty: write one, or leave the flag out"),
    ],
)
def test_a_ledger_that_is_named_must_be_one(
    name: str, code: int, message: str, ledger: str, nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (nothing / "broken.db").write_bytes(b"no database" * 100)
    (nothing / "folder").mkdir()
    assert main(["usage", "--json", "--ledger", name]) == code
    out, err = capsys.readouterr()
    assert not out and message in err
    assert not (nothing / "missing.db").exists(), "reading makes no file"


def test_an_own_ledger_that_can_t_be_read_is_named(
    ledger: str, nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(ledger).write_bytes(b"no database" * 100)
    assert main(["usage"]) == exits.FAILED
    err = capsys.readouterr().err
    assert f"the ledger {ledger} can't be read: file is not a database. Restore it, or move it away" in err


@pytest.mark.integration
def test_it_asks_the_running_proxy(tmp_path: Path) -> None:
    """The proxy's own ledger, with what it has answered a moment ago; one of another key is not told."""
    models = [deployment("m", "http://127.0.0.1:9/v1")]
    with running(tmp_path, models, a2py={"ledger": str(tmp_path / "own.db")}) as proxy:
        write(str(tmp_path / "own.db"), row("m", 2.0))
        result = a2py("usage", "--json", "--url", proxy.base, cwd=tmp_path)  # finds the key in a2py.yaml
        assert result.returncode == 0 and json.loads(result.stdout)[0]["cost"] == 2.0, result.stderr
        for since in ("1960-01-01", "1972-05-05", "9999-12-30"):
            result = a2py("usage", "--json", "--url", proxy.base, "--since", since, cwd=tmp_path)
            assert len(json.loads(result.stdout)) == (since < "2026") and not result.stderr, result.stderr
        (tmp_path / "elsewhere").mkdir()
        result = a2py("usage", "--json", "--url", proxy.base, cwd=tmp_path / "elsewhere")
        assert json.loads(result.stdout) == [] and "asks for another key (set A2PY_KEY)" in result.stderr
        line = a2py(
            "statusline",
            cwd=tmp_path,
            env={"ANTHROPIC_BASE_URL": proxy.base, "ANTHROPIC_AUTH_TOKEN": proxy.key},
            stdin=json.dumps({"session_id": "s1", "model": {"display_name": "Opus"}}),
        )
        assert line.stdout == "Opus · $2.00 · cache 75 %\n", line.stderr


# -- the status line ---------------------------------------------------------------------------------------------------

INPUT: dict[str, Any] = {
    "session_id": "s1",
    "model": {"id": "claude-opus-4-8", "display_name": "Opus 4.8"},
    "context_window": {"context_window_size": 200_000, "used_percentage": 31.4},
    "cost": {"total_cost_usd": 12.0},
}


@pytest.mark.parametrize(
    ("page", "line"),
    [
        (INPUT, "Opus 4.8 → deepseek-chat · $1.50 · context 31 % · cache 75 %"),
        ({**INPUT, "model": {"id": "deepseek-chat"}}, "deepseek-chat · $1.50 · context 31 % · cache 75 %"),
        (
            {**INPUT, "context_window": {"context_window_size": 1000, "current_usage": {"input_tokens": 50}}},
            "Opus 4.8 → deepseek-chat · $1.50 · context 5 % · cache 75 %",
        ),
        (
            {**INPUT, "context_window": {"context_window_size": 1000, "current_usage": None}},
            "Opus 4.8 → deepseek-chat · $1.50 · context 40 % · cache 75 %",
        ),
        ({**INPUT, "session_id": "new"}, "Opus 4.8 · context 31 %"),
        ({"session_id": HOSTILE}, "a2py"),
        ({"model": "m", "context_window": {"used_percentage": True, "context_window_size": 0}}, "m"),
        ([], "a2py"),
    ],
)
def test_the_line(ledger: str, page: Any, line: str) -> None:
    page = page if isinstance(page, dict) else {}
    session = page.get("session_id", "")
    total = statusline.find_session(session, {k: v for k, v in os.environ.items() if k != "ANTHROPIC_BASE_URL"})
    assert statusline.format_line(page, total) == line


def test_a_cost_that_is_not_known_is_said(ledger: str) -> None:
    write(ledger, row("m", None, session="s3"), row("m", None, session="s1"))
    for session, text in (("s3", "cost unknown"), ("s1", "≥$1.50")):
        assert text in statusline.format_line({}, statusline.find_session(session, os.environ))


@pytest.mark.parametrize("stdin", ["", "{", "[1]", '{"session_id": 5, "model": {"id": "\\u001b[2J"}}'])
def test_there_is_always_one_line(tmp_path: Path, stdin: str) -> None:
    (tmp_path / ".local/state/a2py").mkdir(parents=True)
    (tmp_path / ".local/state/a2py/usage.db").write_bytes(b"no database" * 100)
    result = a2py("statusline", cwd=tmp_path, stdin=stdin)
    assert result.returncode == 0 and result.stdout.count("\n") == 1 and "\x1b" not in result.stdout, result.stderr


def test_it_imports_little(ledger: str) -> None:
    """What takes time is importing: 100 ms are enough for Python, SQLite and JSON, not for aiohttp or yaml."""
    script = (
        "import sys; from a2py.cli.main import main; code = main(['statusline'])\n"
        "heavy = {'aiohttp', 'asyncio', 'yaml', 'argparse', 'ssl', 'http.client', 'orjson'} & set(sys.modules)\n"
        "print(sorted(heavy)); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(INPUT), capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines() == ["Opus 4.8 → deepseek-chat · $1.50 · context 31 % · cache 75 %", "[]"], (
        result.stderr
    )


@contextmanager
def serving(status: int, body: bytes, later: int = 0) -> Iterator[str]:
    """A server that answers everything so; `later`: the status from the second request on."""
    statuses = [status]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses[-1])
            statuses.append(later or status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_why_a_proxy_does_not_tell_is_said(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its ledger can't be read now. Another one is no answer to the question."""
    alive = b'{"name": "a2py", "error": {"message": "The ledger can\'t be read: disk I/O error\\u001b[2J"}}'
    with serving(200, alive, 500) as base:
        assert main(["usage", "--url", base]) == exits.FAILED
    out, err = capsys.readouterr()
    assert not out and f"the a2py at {base} answered 500: The ledger can't be read: disk I/O error" in err
    assert "\x1b" not in err
    with serving(200, alive, 500) as base:
        port = base.rpartition(":")[2]
        assert main(["usage", "--port", port, "--json"]) == exits.OK
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 2 and "answered 500: The ledger can't be read" in err
    with serving(200, b'{"name": "a2py"}', 503) as base:
        assert main(["usage", "--url", base]) == exits.FAILED
    assert "answered 503\n" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "body"), [(200, b"[]"), (200, b"{"), (401, b"{}"), (200, b'{"groups": []}')])
def test_another_server_is_no_help(nothing: Path, status: int, body: bytes) -> None:
    with serving(status, body) as base:
        assert statusline.find_session("s1", {"ANTHROPIC_BASE_URL": base}) is None
