"""The real Codex CLI, offline: `A2PY_CODEX=/path/to/codex pytest -m claude tests/whole/test_openai_codex.py`.

(npm install @openai/codex; version 0.171.0 was tried in 2026-11.) Codex asks for a WebSocket first and goes on over HTTP
after the 426."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.proxied import config, deployment, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer
from tests.whole.test_openai_sdk import response

CODEX = os.environ.get("A2PY_CODEX", "")
KEY = "sk-master-1234567"
pytestmark = [pytest.mark.claude, pytest.mark.skipif(not CODEX, reason="A2PY_CODEX names no Codex")]


async def answer(c: Peer) -> None:
    reply = response("Hello from a2py")
    item = reply["output"][0]
    c.head(200, SSE)
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": response("", status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": reply},
    ]
    for n, body in enumerate(bodies):
        c.chunk(f"event: {body['type']}\ndata: {json.dumps({**body, 'sequence_number': n})}\n\n".encode())
    c.end()


async def test_codex_says_hello(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answer) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, "gpt-5.4"),), master_key=KEY)) as proxy,
    ):
        home = tmp_path / ".codex"
        home.mkdir()
        (home / "config.toml").write_text(
            f'model = "gpt-5.4"\nopenai_base_url = "{proxy.base}/v1"\n[analytics]\nenabled = false\n'
        )
        codex = await asyncio.create_subprocess_exec(
            *(CODEX, "exec", "--skip-git-repo-check", "--sandbox", "read-only", "say hello"),
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OPENAI_API_KEY": KEY, "CODEX_API_KEY": KEY},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(codex.communicate(), 120)
        finally:
            if codex.returncode is None:
                codex.kill()
        assert codex.returncode == 0 and b"Hello from a2py" in out, err.decode()[-2000:]
        statuses = [line["status"] for line in proxy.lines if line["path"] == "/v1/responses"]
        assert statuses == [426, 200]
