"""Runs the real Claude Code CLI in `-p` mode against a proxy: a home of its own, no network but loopback, a limit on
its time.

Knows: where the CLI is found, its flags and environment (measured on 2.1.332). Must not know: scenarios.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.process import Proxy

#: Seconds that one run may take.
LIMIT = 100
ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / ".venv-claude/node_modules/@anthropic-ai"


def find() -> str:
    """Return the CLI: $A2PY_CLAUDE, or the one that `make test-claude` installed; "" if there is none. (Only that
    target uses a `claude` in PATH.)"""
    paths = [str(path) for path in sorted(BINARIES.glob("claude-code-*/claude"))]
    return os.environ.get("A2PY_CLAUDE") or next(iter(paths), "")


@dataclass
class Run:
    """`events`: the lines of `--output-format stream-json`; `result`: its last one."""

    events: list[dict[str, Any]]
    stderr: str
    code: int

    @property
    def result(self) -> dict[str, Any]:
        return next((event for event in reversed(self.events) if event["type"] == "result"), {})

    def describe(self) -> str:
        """Everything, for a failed test."""
        return "\n".join([*(json.dumps(event)[:600] for event in self.events[-12:]), self.stderr[-2000:]])


async def run(proxy: Proxy, folder: Path, prompt: str, *flags: str, env: dict[str, str] | None = None) -> Run:
    """`claude -p prompt` in `folder`/work; the process and its children are gone when this returns."""
    home, work = folder / "home", folder / "work"
    home.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": proxy.base,
        "ANTHROPIC_AUTH_TOKEN": proxy.key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "1800000",
        **(env or {}),
    }
    process = await asyncio.create_subprocess_exec(
        find(),
        "-p",
        prompt,
        *("--output-format", "stream-json", "--verbose", "--model", "claude-test"),
        *flags,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=work,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: MCP servers and shells go with it
        except ProcessLookupError:
            pass
        await process.wait()
    events = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    return Run(events, err.decode(errors="replace"), process.returncode or 0)
