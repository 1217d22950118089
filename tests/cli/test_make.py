"""`make run` says what it is doing before each step that takes long."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import LIMIT

ROOT = Path(__file__).resolve().parents[2]
#: A Python that makes an environment with a copy of itself, and prints every other command.
PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; else echo "$@"; fi
"""


def test_make_run_shows_progress(tmp_path: Path) -> None:
    if not shutil.which("make"):
        pytest.skip("make is not here")
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    command = ["make", "run", f"PYTHON={python}", f"VENV={tmp_path}/venv", "ARGS=--port 1"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"making {tmp_path}/venv …" and lines[1].startswith("installing a2py and what it needs"), lines
    assert "pip install" in lines[2] and lines[-1] == "-m a2py --port 1"
    again = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert again.stdout == "-m a2py --port 1\n", "the second time nothing is installed"
