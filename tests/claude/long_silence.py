"""The ten-minute prefill: the real Claude Code, with the variables that `a2py env` prints, in front of upstreams that
are silent for very long.

    python -m tests.claude.long_silence                        # every case, side by side: as long as the longest (11 minutes)
    python -m tests.claude.long_silence --only thinking --seconds 60
    python -m tests.claude.long_silence --without CLAUDE_STREAM_IDLE_TIMEOUT_MS

Knows: the CLI (cli.py), a real a2py process, a scripted upstream. Must not know: how a2py keeps a client alive; what
the client was sent is counted by a tap between the two. Not a part of `make test` nor of `make test-claude`. Exit code
0: in every case one streamed request of the main turn, its answer shown whole, no error."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests import process, scripted
from tests.claude import cli

#: Seconds that a run may take beyond its silence.
SPARE = 240
REPLY = "The silence is over."


async def prefill(seconds: float, c: scripted.Peer) -> None:
    """Not a byte, not even a status, for all the time: a local model that reads a long prompt."""
    await asyncio.sleep(seconds)
    c.head(200, scripted.SSE)
    c.events(*scripted.text(*REPLY.split(" ")[:1], *(f" {word}" for word in REPLY.split(" ")[1:])))
    c.end()


async def header(seconds: float, c: scripted.Peer) -> None:
    """200 and its headers at once, then nothing."""
    c.head(200, scripted.SSE)
    await c.drain()
    await asyncio.sleep(seconds)
    c.events(*scripted.text(REPLY))
    c.end()


async def thinking(seconds: float, c: scripted.Peer) -> None:
    """Reasoning begins, and nothing comes inside the open block."""
    c.head(200, scripted.SSE)
    c.events(scripted.chunk({"role": "assistant", "reasoning_content": "Let me think"}))
    await c.drain()
    await asyncio.sleep(seconds)
    c.events(scripted.chunk({"reasoning_content": " ... done."}), *scripted.text(REPLY))
    c.end()


async def tool(seconds: float, c: scripted.Peer) -> None:
    """Silence inside the arguments of a call (no empty delta there: pings alone); the next turn tells the end."""
    if any(message["role"] == "tool" for message in c.request.json["messages"]):
        await header(0, c)
        return
    c.head(200, scripted.SSE)
    function = {"name": "Bash", "arguments": '{"command": '}
    c.events(
        scripted.chunk(
            {
                "role": "assistant",
                "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}],
            }
        )
    )
    await c.drain()
    await asyncio.sleep(seconds)
    more = {"tool_calls": [{"index": 0, "function": {"arguments": '"echo hi", "description": "Say hi"}'}}]}
    c.events(
        scripted.chunk(more), scripted.chunk({}, "tool_calls"), scripted.chunk(usage=scripted.usage()), scripted.DONE
    )
    c.end()


#: Name → (what the upstream does, seconds of silence, requests that the main turn takes).
CASES: dict[str, tuple[Callable[[float, scripted.Peer], Awaitable[None]], float, int]] = {
    "prefill": (prefill, 660, 1),
    "header": (header, 660, 1),
    "thinking": (thinking, 480, 1),
    "tool": (tool, 480, 2),
}


class Tap:
    """A TCP relay in front of a2py that counts what goes to the client. `longest`: seconds between two reads, once an
    answer had begun."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.pings = self.empty = self.reads = 0
        self.longest = 0.0

    async def __aenter__(self) -> Tap:
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._copy(reader, inner, False), self._copy(inner_reader, writer, True))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answer: bool) -> None:
        last = 0.0
        try:
            while data := await source.read(65536):
                sink.write(data)
                if answer:
                    now = time.monotonic()
                    self.reads += 1
                    self.pings += data.count(b"event: ping")
                    self.empty += len(re.findall(rb'_delta","(?:text|thinking)":""', data))
                    if last:
                        self.longest = max(self.longest, now - last)
                    last = 0.0 if data.endswith(b"0\r\n\r\n") else now
        except OSError:
            pass
        sink.close()


def print_variables(tap: Tap, folder: Path) -> dict[str, str]:
    """What `a2py env` prints in the folder of the configuration."""
    command = [sys.executable, "-m", "a2py", "env", "--shell", "json", "--url", tap.base]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    variables: dict[str, str] = json.loads(result.stdout)
    return variables


async def claude(folder: Path, env: dict[str, str], limit: float) -> cli.Run:
    for name in ("home", "work"):
        (folder / name).mkdir()
    running = await asyncio.create_subprocess_exec(
        *(cli.find(), "-p", "Say what you were told to say.", "--output-format", "stream-json", "--verbose"),
        *("--allowedTools", "Bash(echo:*)"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder / "work",
        env={"HOME": str(folder / "home"), "PATH": os.environ["PATH"], **env},
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(running.communicate(), limit)
    finally:
        try:
            os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        await running.wait()
    events = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    return cli.Run(events, err.decode(errors="replace"), running.returncode or 0)


async def one(name: str, seconds: float, without: list[str]) -> dict[str, Any]:
    """What was seen of one case."""
    script, usual, turns = CASES[name]
    seconds = seconds or usual
    requests: list[dict[str, Any]] = []

    async def upstream_script(c: scripted.Peer) -> None:
        body = c.request.json
        requests.append({"stream": bool(body.get("stream")), "tools": len(body.get("tools", []))})
        await (partial(script, seconds)(c) if body.get("tools") else scripted.answering("Title")(c))

    with tempfile.TemporaryDirectory(prefix="a2py-silence-") as directory:
        folder = Path(directory)
        async with scripted.ScriptedServer(upstream_script) as upstream:
            deployment = process.deployment("slow", upstream.base, provider="openai", model="slow-test")
            with process.running(folder, [deployment]) as proxy:
                async with Tap(int(proxy.base.rpartition(":")[2])) as tap:
                    variables = await asyncio.to_thread(print_variables, tap, folder)
                    env = {key: value for key, value in variables.items() if key not in without}
                    began = time.monotonic()
                    try:
                        run = await claude(folder, env, seconds + SPARE)
                    except asyncio.TimeoutError:
                        run = cli.Run([], f"nothing within {seconds + SPARE:.0f} s", -1)
                    took = time.monotonic() - began
            log = [
                line for line in proxy.log.read_text().splitlines() if " request " in line and "/v1/messages" in line
            ]
    result = run.result
    main = [row for row in requests if row["tools"]]
    good = run.code == 0 and not result.get("is_error") and REPLY in str(result.get("result"))
    return {
        "case": name,
        "good": good and len(main) == turns and all(row["stream"] for row in main),
        "silence_s": seconds,
        "took_s": round(took, 1),
        "requests_of_the_turn": len(main),
        "unary": sum(not row["stream"] for row in requests),
        "pings": tap.pings,
        "empty_deltas": tap.empty,
        "longest_silence_at_the_client_s": round(tap.longest, 1),
        "result": str(result.get("result", run.stderr[-300:]))[:200],
        "log": log,
    }


async def main(names: list[str], seconds: float, without: list[str]) -> int:
    rows = await asyncio.gather(*(one(name, seconds, without) for name in names))
    for row in rows:
        print(json.dumps(row, indent=1), flush=True)
    return 0 if all(row["good"] for row in rows) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(CASES), action="append", help="this case (may be given again)")
    parser.add_argument("--seconds", type=float, default=0.0, help="silence, instead of the case's own")
    parser.add_argument(
        "--without", action="append", default=[], metavar="VARIABLE", help="of what `a2py env` prints, leave this out"
    )
    args = parser.parse_args()
    if not cli.find():
        sys.exit("Claude Code is not installed: make test-claude")
    sys.exit(asyncio.run(main(args.only or list(CASES), args.seconds, args.without)))
