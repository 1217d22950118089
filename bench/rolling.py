"""A rolling restart of several proxies behind a balancer, under load: is any stream lost, is any answer but 200?

    python -m bench.rolling haproxy          # packaging/haproxy.cfg, three proxies of two workers each
    python -m bench.rolling nginx --streams 100 --clients 12

Streams run all the time, each in a session of its own; clients on kept connections ask one request after the other.
Meanwhile each proxy gets SIGTERM, drains, ends, and is started again. The balancers' files are those of packaging/,
with other ports. Prints one line of JSON: streams, streams lost, answers, answers but 200, the longest answer.

Knows: processes, the balancers' command lines. Must not know: how a2py drains.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
#: Seconds of one stream, seconds between two of its pieces.
STREAM, PAUSE = 12.0, 0.5
#: Seconds after which a request counts as lost.
PATIENCE = 120.0
BALANCERS = {
    "haproxy": ("haproxy.cfg", ("haproxy", "-db", "-f", "{file}")),
    "nginx": ("nginx.conf", ("nginx", "-g", "daemon off;", "-c", "{file}")),
}
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def find_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _chunk(piece: dict[str, Any]) -> bytes:
    body = (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "model": "m", **piece}).encode() + b"\n\n"
    )
    return b"%x\r\n%s\r\n" % (len(body), body)


async def serve_model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer chat completions: streams slowly, others at once."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", head)
            body = json.loads(await reader.readexactly(int(length[1]))) if length else {}
            usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
            if not body.get("stream"):
                message = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
                data = json.dumps(
                    {"id": "c", "object": "chat.completion", "choices": [message], "usage": usage}
                ).encode()
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
                writer.write(head.encode() + data)
                continue
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for n in range(int(STREAM / PAUSE)):
                writer.write(_chunk({"choices": [{"index": 0, "delta": {"content": f"{n} "}, "finish_reason": None}]}))
                await asyncio.sleep(PAUSE)
            writer.write(_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
            writer.write(_chunk({"choices": [], "usage": usage}) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # cancelled at the end of the run
        pass
    finally:
        writer.close()


class Replica:
    """One proxy with its workers."""

    def __init__(self, place: Path, port: int, workers: int, log: int) -> None:
        self.place, self.port, self.workers, self.log = place, port, workers, log
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raise RuntimeError if it ends."""
        command = [sys.executable, "-m", "a2py", "serve", "--config", str(self.place / "config.yaml")]
        command += ["--port", str(self.port), "--num-workers", str(self.workers), "--log-format", "json"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.place), "XDG_STATE_HOME": str(self.place)}
        self.process = subprocess.Popen(  # noqa: ASYNC220  (it takes a moment)
            command, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        async with aiohttp.ClientSession() as session:
            while True:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the proxy at port {self.port} has ended with {self.process.returncode}")
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/health/readiness") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Let it drain, and wait for its end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 180)


class Load:
    """`losses`: why streams were lost; `statuses`: of the answers of clients on kept connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_over = False
        self.streams = 0
        self.running = 0
        self.losses: list[str] = []
        self.statuses: dict[str, int] = {}
        self.longest = 0.0

    def _request(self, session: str, stream: bool) -> dict[str, Any]:
        body = {"model": "m", "max_tokens": 99, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
        return {"url": f"{self.url}/v1/messages", "json": body, "headers": {"x-claude-code-session-id": session}}

    async def stream(self, number: int, client: aiohttp.ClientSession) -> None:
        """Run one stream after the other, each in a session of its own."""
        await asyncio.sleep(STREAM * number / 100)
        while not self.is_over:
            self.streams += 1
            self.running += 1
            try:
                async with client.post(**self._request(f"s{number}-{self.streams}", True)) as answer:
                    data = await answer.read()
                if answer.status != 200 or b"event: message_stop" not in data or b"event: error" in data:
                    self.losses.append(f"{answer.status} {data[-200:]!r}")
            except Exception as error:
                self.losses.append(repr(error))
            self.running -= 1

    async def ask(self, number: int, client: aiohttp.ClientSession) -> None:
        """Ask one request after the other on a kept connection."""
        while not self.is_over:
            start = time.monotonic()
            try:
                async with client.post(**self._request(f"k{number}", False)) as answer:
                    await answer.read()
                    status = str(answer.status)
            except Exception as error:
                status = repr(error)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.longest = max(self.longest, time.monotonic() - start)
            await asyncio.sleep(0.2)


async def run(kind: str, replicas: int, workers: int, streams: int, clients: int) -> dict[str, Any]:
    """Return what came of a rolling restart."""
    model = await asyncio.start_server(serve_model, "127.0.0.1", 0)
    front, *ports = find_ports(1 + replicas)
    name, command = BALANCERS[kind]
    with tempfile.TemporaryDirectory(prefix="a2py-rolling-") as folder, open(f"{folder}/log", "wb") as log:  # noqa: ASYNC230
        place = Path(folder)
        upstream = f"http://127.0.0.1:{model.sockets[0].getsockname()[1]}/v1"
        entry = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": upstream, "api_key": "k"}}
        own = {"drain_delay": 3, "drain_seconds": 60, "discover": False}
        (place / "config.yaml").write_text(json.dumps({"model_list": [entry], "a2py": own}))
        text = (ROOT / "packaging" / name).read_text("utf-8").replace("/tmp/a2py-nginx.pid", f"{folder}/nginx.pid")
        for old, new in zip((4000, 4001, 4002, 4003), (front, *ports), strict=False):
            text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        (place / name).write_text(text)
        every = [Replica(place, port, workers, log.fileno()) for port in ports]
        processes: list[subprocess.Popen[bytes]] = []
        load, timeout = Load(f"http://127.0.0.1:{front}"), aiohttp.ClientTimeout(total=PATIENCE)
        begin = time.monotonic()
        try:
            await asyncio.gather(*(one.start() for one in every))
            line = [part.format(file=place / name) for part in command]
            processes.append(
                subprocess.Popen(line, env={**os.environ, "PATH": PATH}, stdout=log, stderr=log)  # noqa: ASYNC220
            )
            begin = time.monotonic()
            await asyncio.sleep(2)  # until the balancer knows who is ready
            async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as many:
                sessions = [
                    aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=1))
                    for _ in range(clients)
                ]
                tasks = [asyncio.ensure_future(load.stream(number, many)) for number in range(streams)]
                tasks += [asyncio.ensure_future(load.ask(number, one)) for number, one in enumerate(sessions)]
                await asyncio.sleep(STREAM)
                for one in every:
                    await one.stop()
                    await one.start()
                    await asyncio.sleep(3)  # until the balancer uses it again
                load.is_over = True
                await asyncio.gather(*tasks)
                await asyncio.gather(*(one.close() for one in sessions))
        finally:
            processes += [one.process for one in every if one.process is not None]
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(90)
            model.close()
    return {
        "balancer": kind,
        "seconds": round(time.monotonic() - begin, 1),
        "streams": load.streams,
        "streams_lost": len(load.losses),
        "lost": load.losses[:5],
        "answers": sum(load.statuses.values()),
        "statuses": load.statuses,
        "longest_answer": round(load.longest, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("balancer", choices=BALANCERS)
    for name, default in (("replicas", 3), ("workers", 2), ("streams", 100), ("clients", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    outcome = asyncio.run(run(args.balancer, args.replicas, args.workers, args.streams, args.clients))
    print(json.dumps(outcome))
    sys.exit(bool(outcome["streams_lost"] or set(outcome["statuses"]) != {"200"}))


if __name__ == "__main__":
    main()
