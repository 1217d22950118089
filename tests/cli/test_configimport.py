# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""`a2py config import`: what is written, what is reported, and what is never overwritten or shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from a2py.cli import exits, main
from a2py.config import load
from tests.commands import a2py, nothing

KEY = "sk-or-very-secret-0123456789"
CCR = {
    "PORT": 3456,
    "Providers": [
        {
            "name": "or",
            "api_base_url": "https://openrouter.ai/api/v1/chat/completions",
            "api_key": KEY,
            "models": ["a/b", "c"],
        }
    ],
    "Router": {"default": "or,a/b", "background": "or,c", "review": "or,c"},
}


def test_an_import_serves_alone_and_is_private(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "config.json").write_text(json.dumps(CCR))
    assert main(["config", "import", "config.json"]) == exits.OK
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "a2py.yaml written from config.json (claude-code-router): 2 models, 1 route",
        "next: a2py --config a2py.yaml --port 3456",
    ]
    assert "Router.review is not carried" in err and KEY not in out + err
    file = nothing / "a2py.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = load(str(file), {}, str(nothing))
    assert config.resolve("claude-opus-4")[0].key == KEY


def test_nothing_is_overwritten(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "config.json").write_text(json.dumps(CCR))
    (nothing / "a2py.yaml").write_text("mine")
    assert main(["config", "import", "config.json"]) == exits.FAILED
    assert "--force replaces it" in capsys.readouterr().err and (nothing / "a2py.yaml").read_text() == "mine"
    (nothing / "link.yaml").symlink_to(nothing / "elsewhere")
    assert main(["config", "import", "config.json", "-o", "link.yaml"]) == exits.FAILED
    assert not (nothing / "elsewhere").exists()
    assert main(["config", "import", "config.json", "-o", "config.json", "--force"]) == exits.FAILED
    assert json.loads((nothing / "config.json").read_text()) == CCR
    assert main(["config", "import", "config.json", "--force"]) == exits.OK
    assert "or,a/b" in (nothing / "a2py.yaml").read_text()


def test_a_dash_prints_it(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / ".env").write_text("BIG_MODEL=m\nOPENAI_API_KEY=k\n")
    assert main(["config", "import", ".env", "-o", "-"]) == exits.OK
    assert "model: openai/m" in capsys.readouterr().out and not (nothing / "a2py.yaml").exists()


def test_what_cannot_be_read(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "bytes").write_bytes(b"\xff\xfe")
    (nothing / "other.json").write_text("{}")
    for name, code, message in (
        (
            "missing",
            exits.FAILED,
            "missing can't be read: No such file or directory. Name a config.json or .env: a2py config import FILE",
        ),
        ("bytes", exits.FAILED, "bytes is not UTF-8 text"),
        ("other.json", exits.CONFIG, "other.json: it is not recognized"),
    ):
        assert main(["config", "import", name]) == code
        assert message in capsys.readouterr().err
    assert not (nothing / "a2py.yaml").exists()


def test_a_file_without_models_is_not_written(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "config.json").write_text('{"Providers": [{"name": "p", "api_base_url": "nowhere", "models": ["m"]}]}')
    for flags in ([], ["-o", "-"]):
        assert main(["config", "import", "config.json", *flags]) == exits.FAILED
        out, err = capsys.readouterr()
        assert not out and "no model that can be asked" in err and "Providers[0] (p) is not carried" in err
    assert not (nothing / "a2py.yaml").exists()


def test_a_problem_of_the_new_file_is_told(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / ".env").write_text("MODEL=nvidia_nim/x\nHOST=0.0.0.0\n")
    assert main(["config", "import", ".env", "-o", "b.yaml"]) == exits.OK
    out, err = capsys.readouterr()
    assert "there is no key for nvidia_nim" in err and "next: a2py --config b.yaml --host 0.0.0.0" in out


def test_a_dotenv_that_is_not_imported_is_served(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BIG_MODEL=m\nSMALL_MODEL=s\nOPENAI_API_KEY=k\n")
    (tmp_path / ".env").chmod(0o600)
    result = a2py("models", cwd=tmp_path)
    assert "from the models that the environment names" in result.stderr and "claude-*  → m" in result.stdout
