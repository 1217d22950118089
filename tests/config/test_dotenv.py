"""Where the file is looked for, and what `.env` adds to the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from a2py.config.dotenv import environment, find, places, read_dotenv, warn_readable
from tests.configured import KEY, Folder


def dotenv(text: str, **env: str) -> tuple[dict[str, str], list[str]]:
    messages: list[str] = []
    return read_dotenv(text, ".env", env, messages.append), messages


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  export A = b  ", "b"),
        ("A=", ""),
        ("A=b # comment", "b"),
        ("A=b#no comment", "b#no comment"),
        ("A=#comment", ""),
        ("A='b # ${X} \\n'", "b # ${X} \\n"),
        ('A="b # \\n \\" \\$ \\\\ c" # comment', 'b # \n " $ \\ c'),
        ('A="x ${X} ${Y}"', "x 1 "),
        ("A=${X}-${B}", "1-2"),
        ("A=b=c", "b=c"),
        ('A="one\ntwo"', "one\ntwo"),
        ("A='one\n\nthree'", "one\n\nthree"),
        ("A=b\r", "b"),
    ],
)
def test_the_forms_of_a_line(line: str, value: str) -> None:
    variables, messages = dotenv(f"# comment\n\nB=2\n{line}\n", X="1")
    assert (variables["A"], messages) == (value, [])


def test_what_is_no_line_is_told_without_its_text() -> None:
    variables, messages = dotenv(f"A=1\n{KEY}\nB='never\nC=2\n")
    assert variables == {"A": "1"}
    assert messages == [
        ".env:2: this line is ignored. Write NAME=value.",
        ".env:3: B is ignored: its quote is never closed. Write the closing '.",
    ]


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    Folder(tmp_path).write(".env", "HF_TOKEN=file\nXAI_API_KEY=file\nGROQ_API_KEY=file\nA=file\n")
    env = environment({"HF_TOKEN": "env", "XAI_API_KEY": "", "A": ""}, str(tmp_path))
    assert env == {"HF_TOKEN": "env", "XAI_API_KEY": "", "A": "", "GROQ_API_KEY": "file"} and env.lookup("A") == ""


def test_no_dotenv_or_an_unreadable_one(tmp_path: Path) -> None:
    messages: list[str] = []
    assert environment({"A": "1"}, str(tmp_path), messages.append) == {"A": "1"} and messages == []
    assert environment({"A": "1"}, str(tmp_path / "nowhere"), messages.append) == {"A": "1"} and messages == []
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    assert environment({"A": "1"}, str(tmp_path), messages.append) == {"A": "1"}
    assert messages == [
        ".env is ignored: it cannot be read (UnicodeDecodeError). Save it as UTF-8 text that you may read."
    ]


def test_a_directory_called_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert environment({}, str(tmp_path)) == {}


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_dotenv_with_keys_that_others_can_read_is_told(tmp_path: Path) -> None:
    messages: list[str] = []
    folder = Folder(tmp_path)
    folder.write(".env", f"OPENAI_API_KEY={KEY}\n", 0o644)
    environment({}, str(tmp_path), messages.append)
    assert messages == [".env contains keys, and other users of this machine can read it. Run: chmod 600 .env"]
    for text, mode in ((f"OPENAI_API_KEY={KEY}\n", 0o600), ("PORT=1\nA_KEY=\n", 0o644)):
        messages.clear()
        folder.write(".env", text, mode)
        environment({}, str(tmp_path), messages.append)
        assert messages == []


def test_modes_are_asked_on_posix_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    warn_readable(str(tmp_path / "gone"), "gone", messages.append)
    file = Folder(tmp_path).write("f", "x", 0o644)
    monkeypatch.setattr("a2py.config.dotenv.os.name", "nt")
    warn_readable(str(file), "f", messages.append)
    assert messages == []


def test_the_order_of_files(tmp_path: Path) -> None:
    folder, cwd = Folder(tmp_path), str(tmp_path)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path / "home")}
    assert find(None, env, cwd) is None
    for name in ("home/.config/a2py/config.yaml", "xdg/a2py/config.yaml", "litellm_config.yaml", "a2py.yaml"):
        file = folder.write(name, "")
        assert find(None, {"HOME": env["HOME"]} if name.startswith("home") else env, cwd) == str(file)
    assert find(None, {**env, "CONFIG_FILE_PATH": "b.yaml"}, cwd) == str(tmp_path / "b.yaml")
    assert find(None, {**env, "CONFIG_FILE_PATH": "b.yaml", "A2PY_CONFIG": "c.yaml"}, cwd) == str(tmp_path / "c.yaml")
    assert find("d.yaml", {**env, "A2PY_CONFIG": "c.yaml"}, cwd) == str(tmp_path / "d.yaml")
    assert find("/e.yaml", env, cwd) == "/e.yaml"
    assert find("~/f.yaml", env, cwd) == str(tmp_path / "home" / "f.yaml")
    folder.write(".env", "A2PY_CONFIG=g.yaml\nCONFIG_FILE_PATH=g.yaml\n")
    assert find(None, env, cwd) == str(tmp_path / "a2py.yaml")


def test_places_without_a_home() -> None:
    assert places({}, "/w") == ("/w/a2py.yaml", "/w/litellm_config.yaml")
    assert places({"USERPROFILE": "/u"}, "/w")[2] == "/u/.config/a2py/config.yaml"
    assert places({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, "/w")[2] == "/h/.config/a2py/config.yaml"
