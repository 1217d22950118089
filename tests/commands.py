"""Run the command line as a user does: an empty folder, one command, a running server.

Knows: the console entry. Must not know: what a test checks.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process import free_port

#: Seconds after which a command has failed.
LIMIT = 60
_OURS = re.compile(
    r"_API_KEY$|_API_BASE$|_BASE_URL$|_PROXY$|^(ANTHROPIC|CLAUDE|LITELLM|A2PY|OLLAMA|HOST$|PORT$|XDG_|FORCE_COLOR)",
    re.IGNORECASE,
)


def clean_env(home: Path, **more: str) -> dict[str, str]:
    """The environment without any key or setting of ours; ports at which nothing listens."""
    rest = {name: value for name, value in os.environ.items() if not _OURS.search(name)}
    return {**rest, "HOME": str(home), "PORT": str(free_port()), "OLLAMA_HOST": f"127.0.0.1:{free_port()}", **more}


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This process in an empty directory that is HOME too, with a clean environment."""
    env = clean_env(tmp_path)
    for name in os.environ:
        if name not in env:
            monkeypatch.delenv(name)
    for name in ("HOME", "PORT", "OLLAMA_HOST"):
        monkeypatch.setenv(name, env[name])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def a2py(
    *args: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """One command as a process of its own."""
    whole = clean_env(cwd, **(env or {}))
    return subprocess.run(
        [sys.executable, "-m", "a2py", *args],
        cwd=cwd,
        env=whole,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


class Running:
    """`url`: as the summary names it; `stderr`: standard error so far; `process`: to be signalled by its pid."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._event = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._event:
                self.lines.append(line)
                self._event.notify_all()
        with self._event:
            self._event.notify_all()

    @property
    def stderr(self) -> str:
        return "".join(self.lines)

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until standard error holds `pattern`."""
        with self._event:
            self._event.wait_for(lambda: re.search(pattern, self.stderr) or self.process.poll() is not None, LIMIT)
        match = re.search(pattern, self.stderr)
        assert match, f"{pattern!r} did not come: {self.stderr}"
        return match

    @property
    def url(self) -> str:
        return self.until(r"at (https?://\S+?),? ")[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal, wait, and the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(LIMIT)
        self._thread.join(LIMIT)
        return code


@contextmanager
def serving(*args: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`a2py ARGS` until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "a2py", *args],
        cwd=cwd,
        env=clean_env(cwd, **(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        running._thread.join(LIMIT)
        assert process.stderr is not None
        process.stderr.close()
