# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""`a2py setup claude` and back: other keys kept, atomic, exactly undone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import exits, main, setup, state
from a2py.cli.exits import Stop
from tests.commands import nothing

MINE: dict[str, Any] = {
    "permissions": {"allow": ["Bash"]},
    "env": {"FOO": "1", "API_TIMEOUT_MS": "7"},
    "model": "x",
    "note": "é",
}


def settings(home: Path) -> Path:
    return home / ".claude" / "settings.json"


def put(home: Path, value: object, mode: int = 0o640) -> str:
    path = settings(home)
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=4))
    path.chmod(mode)
    return path.read_text()


def test_there_and_back(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(nothing, MINE)
    assert main(["setup", "claude", "--demo"]) == exits.OK
    now = json.loads(settings(nothing).read_text())
    assert list(now) == list(MINE) and now["permissions"] == MINE["permissions"] and now["note"] == "é"
    assert (
        now["env"]["FOO"] == "1"
        and now["env"]["API_TIMEOUT_MS"] == "3000000"
        and now["env"]["ANTHROPIC_MODEL"] == "demo"
    )
    assert stat.S_IMODE(settings(nothing).stat().st_mode) == 0o600
    assert "start one with `a2py`" in capsys.readouterr().err
    assert main(["setup", "claude", "--undo"]) == exits.OK
    assert json.loads(settings(nothing).read_text()) == MINE and stat.S_IMODE(settings(nothing).stat().st_mode) == 0o640
    assert sorted(os.listdir(nothing / ".claude")) == ["settings.json"]


def test_without_a_file_nothing_is_left(nothing: Path) -> None:
    assert main(["setup", "claude"]) == exits.OK
    assert stat.S_IMODE(settings(nothing).stat().st_mode) == 0o600
    assert main(["setup", "claude", "--undo"]) == exits.OK
    assert os.listdir(nothing / ".claude") == []


def test_twice_is_undone_to_the_very_first(nothing: Path) -> None:
    put(nothing, MINE)
    for model in ("openai/a", "openai/b"):
        assert main(["setup", "claude", "--model", model, "--api-base", "http://127.0.0.1:9/v1"]) == exits.OK
    assert json.loads(settings(nothing).read_text())["env"]["ANTHROPIC_MODEL"] == "openai/b"
    assert main(["setup", "claude", "--undo"]) == exits.OK
    assert json.loads(settings(nothing).read_text()) == MINE


def test_variables_that_are_no_longer_meant_go(tmp_path: Path) -> None:
    path = str(tmp_path / "settings.json")
    setup.write(path, {"A": "1", "B": "2"})
    setup.write(path, {"B": "3"})
    assert json.loads(Path(path).read_text()) == {"env": {"B": "3"}}


def test_what_somebody_else_changed_since_stays(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(nothing, MINE)
    assert main(["setup", "claude"]) == exits.OK
    now = json.loads(settings(nothing).read_text())
    now["env"]["ANTHROPIC_MODEL"] = "other"
    del now["env"]["DISABLE_TELEMETRY"]
    now["theme"] = "dark"
    put(nothing, now)
    assert main(["setup", "claude", "--undo"]) == exits.OK
    assert json.loads(settings(nothing).read_text()) == {
        **MINE,
        "env": {**MINE["env"], "ANTHROPIC_MODEL": "other"},
        "theme": "dark",
    }
    assert "they have changed since: ANTHROPIC_MODEL" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{broken", "[]", '{"env": []}', "\xff"])
def test_a_file_that_is_no_settings_is_not_touched(
    nothing: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings(nothing)
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    assert main(["setup", "claude"]) == exits.FAILED
    assert path.read_bytes() == text.encode("latin-1") and "nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        '{"env": null}',
        '{"env":{"ANTHROPIC_MODEL":"mine"},\r\n\t"b": 1.0}',
        '\ufeff{"a": "\\u00e9"}',
        '{"env": {"A": 5}}\n\n',
    ],
)
def test_undo_gives_back_the_very_bytes(nothing: Path, text: str) -> None:
    path = settings(nothing)
    path.parent.mkdir()
    path.write_bytes(text.encode())
    for _ in range(2):
        assert main(["setup", "claude"]) == exits.OK
    assert json.loads(path.read_text())["env"]["ANTHROPIC_BASE_URL"]
    assert main(["setup", "claude", "--undo"]) == exits.OK
    assert path.read_bytes() == text.encode() and os.listdir(path.parent) == ["settings.json"]


def test_nothing_to_take_back(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "claude", "--undo"]) == exits.FAILED
    assert "nothing to undo" in capsys.readouterr().err


def test_undo_when_the_file_has_gone(nothing: Path) -> None:
    assert main(["setup", "claude"]) == exits.OK
    settings(nothing).unlink()
    assert main(["setup", "claude", "--undo"]) == exits.OK
    assert os.listdir(nothing / ".claude") == []


def test_another_directory_and_a_link(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nothing / "dotfiles.json"
    real.write_text("{}")
    (nothing / "conf").mkdir()
    (nothing / "conf" / "settings.json").symlink_to(real)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(nothing / "conf"))
    assert main(["setup", "claude"]) == exits.OK
    assert (nothing / "conf" / "settings.json").is_symlink() and "ANTHROPIC_MODEL" in real.read_text()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(Stop, match="f can't be written: No space left on device"):
        state.write(str(path), "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["f"]


def test_a_place_that_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "file"))
    assert main(["setup", "claude", "--url", "http://127.0.0.1:9"]) == exits.FAILED
    assert "settings.json can't be read: Not a directory; nothing was changed" in capsys.readouterr().err


def test_settings_without_an_env_lead_nowhere(nothing: Path) -> None:
    put(nothing, {"env": None})
    assert setup.list_misleading({"ANTHROPIC_BASE_URL": "http://x"}, {}, str(nothing)) == []


@pytest.mark.parametrize(
    "args",
    [
        ["setup", "claude", "--demo"],
        ["config", "init", "--yes", "--provider", "deepseek", "-o", "/dev/null/x/a2py.yaml"],
    ],
)
def test_a_place_that_can_not_be_written(
    nothing: Path, args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/dev/null/x")
    assert main(args) == exits.FAILED
    err = capsys.readouterr().err
    assert "Not a directory" in err and "/dev/null/x" in err and "Traceback" not in err
