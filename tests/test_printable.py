"""Foreign text on the log, the terminal and in error messages: no control or format character gets there."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from a2py.cli.terminal import Terminal
from a2py.errors import ApiError
from a2py.printable import HIDDEN_CATEGORIES, lower_first, printable
from a2py.proxy.log import Log, Record
from a2py.wires.refusal.scrub import LIMIT, scrub
from tests.commands import a2py
from tests.proxied import config, message, run_proxy
from tests.scripted import ScriptedServer, refusing

#: ESC, CSI as one character, a mark that reverses the reading order, a zero-width space, line and paragraph separators,
#: DEL, a tag beyond the BMP.
NASTY = "a\x1b[31m\x9b1m\u202e\u200b\u2028\u2029\x7f\U000e0041z"


def find_unprintable(text: str, keep: str = "\n") -> list[str]:
    """The characters of `text` that must not be shown."""
    return [
        repr(char) for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs") and char not in keep
    ]


def test_no_hidden_character_is_left() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        text = printable(char)
        assert (text != char) == (unicodedata.category(char) in HIDDEN_CATEGORIES), hex(code)
        assert not find_unprintable(text, "")


@pytest.mark.parametrize(
    ("text", "keep", "expected"),
    [
        ("plain", "", "plain"),
        ("ünïcödé 漢字 😀 \u00a0\u3000", "", "ünïcödé 漢字 😀 \u00a0\u3000"),
        ("a\tb\r\nc\u2028d", "", "a b  c\\u2028d"),
        ("a\tb\r\nc", "\n\t", "a\tb \nc"),
        ("\x1b[31m\x9b\x7f", "", "\\u001b[31m\\u009b\\u007f"),
        ("\u202eevil\u200b", "", "\\u202eevil\\u200b"),
        ("\U000e0041", "", "\\udb40\\udc41"),
        ("\ud83d", "", "\\ud83d"),
    ],
)
def test_what_is_shown_instead(text: str, keep: str, expected: str) -> None:
    assert printable(text, keep) == expected


def test_json_stays_the_same_document() -> None:
    value = {NASTY: [NASTY, "\ud83d"]}
    text = printable(json.dumps(value, ensure_ascii=False))
    assert not find_unprintable(text) and json.loads(text) == value


# -- the log -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_value_of_the_log_holds_one(form: str) -> None:
    out = io.StringIO()
    log = Log(out, form)
    log.request(
        Record(
            id="req_1", path=NASTY, model=NASTY + "\ud83d", error=NASTY, notes=[NASTY, 'a "b" \\c'], degraded=(NASTY,)
        )
    )
    log.warning("reload refused", error=NASTY, models=[NASTY, ["x", NASTY]], origins={"a": NASTY}, count=3)
    text = out.getvalue()
    assert text.count("\n") == 2 and not find_unprintable(text)
    if form == "json":
        for line in text.splitlines():
            assert not find_unprintable(json.dumps(json.loads(line), ensure_ascii=False))
            assert not [
                value for value in json.loads(line).values() if isinstance(value, str) and find_unprintable(value, "")
            ]
    else:
        assert '\\u202e\\u200b\\u2028\\u2029\\u007f\\udb40\\udc41z"' in text and 'a \\"b\\" \\\\c' in text


async def test_what_clients_and_upstreams_send() -> None:
    """A path, a model's name, an upstream's error: neither the log nor the client's terminal gets their control
    characters."""
    async with ScriptedServer(refusing(400, f"no {NASTY}")) as upstream, run_proxy(config(upstream.base)) as proxy:
        bodies = [
            (await proxy.ask(None, "/nothing/%1b%5b31m%c2%9b1m%e2%80%ae%e2%80%8b%e2%80%a8%7f", "GET")),
            (await proxy.ask(message(), "/v1/models/x%e2%80%ae", "GET")),
            (await proxy.ask(message(model=NASTY))),
            (await proxy.ask(message(stream=False))),
            (await proxy.ask(message())),
        ]
        assert [answer.status for answer in bodies] == [404, 404, 404, 400, 400]
        log, lines = proxy.log, proxy.lines
    assert not find_unprintable(log) and len(lines) == 5
    for line in lines:
        assert not [value for value in line.values() if isinstance(value, str) and find_unprintable(value, "")], line
    for answer in bodies:
        assert not find_unprintable(answer.json["error"]["message"], ""), answer.body
    assert "\\u202e" in bodies[0].json["error"]["message"] and "\\u202e" in bodies[2].json["error"]["message"]


def test_an_upstreams_words_stay_short() -> None:
    assert len(scrub("\u202e" * 4000)) == LIMIT
    assert ApiError("api", f"x{NASTY}").hide(()).message == printable(f"x{NASTY}")


# -- the terminal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", [False, True])
def test_a_terminal_gets_no_escape_sequence_but_our_own(colours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1" if colours else "0")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err)
    for say in (terminal.print, terminal.note, terminal.warn, terminal.error, terminal.append):
        say(f"first {NASTY}\n\tsecond \x1b[0m")
    terminal.print(terminal.table([[NASTY, f"two\nlines {NASTY}"]], ["\x1b[1mhead"]))
    terminal.print(terminal.style(f"bold {NASTY}", "bold") + "\x1b[31m")
    for text in (out.getvalue(), err.getvalue()):
        for ours in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m") if colours else ():
            text = text.replace(ours, "")
        assert not find_unprintable(text, "\n\t")
    assert out.getvalue().count("\x1b[31m") == 0 and out.getvalue().count("\x1b[0m") == 2 * colours
    assert "two lines" in out.getvalue()


def test_what_a_shell_evaluates_is_exact() -> None:
    out = io.StringIO()
    terminal = Terminal(out, io.StringIO())
    terminal.print_exact("export X='\x1b'")
    assert out.getvalue() == "export X='\x1b'\n"
    out.isatty = lambda: True  # type: ignore[method-assign]
    terminal.print_exact("export X='\x1b'")
    assert out.getvalue().endswith("export X='\\u001b'\n")


@pytest.mark.parametrize(
    "args",
    [("models",), ("models", "--json"), ("config", "show"), ("config", "validate"), ("check",), ("--health",)],
    ids=" ".join,
)
async def test_what_commands_print(tmp_path: Path, args: tuple[str, ...]) -> None:
    """A configuration of somebody else, and a server that answers with escape sequences."""
    async with ScriptedServer(refusing(400, f"no\n{NASTY}")) as upstream:
        model = {"model": f"openai/m{NASTY}", "api_base": upstream.base, "api_key": "sk-x"}
        models = [
            {"model_name": f"n\n{NASTY}", "litellm_params": model},
            {"model_name": f"o{NASTY}", "litellm_params": {"model": f"none/{NASTY}"}},
        ]
        path = tmp_path / "a2py.yaml"
        path.write_text(json.dumps({"model_list": models, "litellm_settings": {f"odd{NASTY}": 1}}))
        path.chmod(0o600)
        result = await asyncio.to_thread(a2py, *args, "--config", str(path), cwd=tmp_path)
    assert result.stdout + result.stderr and "Traceback" not in result.stderr
    assert not find_unprintable(result.stdout + result.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="no daemon on Windows")
def test_what_the_log_of_the_background_shows(tmp_path: Path) -> None:
    log = tmp_path / "state" / "a2py" / "a2py.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"one {NASTY}\ntwo\n")
    result = a2py("logs", cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert result.returncode == 0, result.stderr
    assert "two" in result.stdout and not find_unprintable(result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Connection refused", "connection refused"),
        ("IP address mismatch", "IP address mismatch"),
        ("A b", "A b"),
        ("X", "X"),
        ("", ""),
    ],
)
def test_a_text_for_the_middle_of_a_sentence(text: str, expected: str) -> None:
    assert lower_first(text) == expected
