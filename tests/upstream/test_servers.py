"""nginx and HAProxy as upstreams, whose idle connections end while requests are on their way.

Skipped where they are not installed (Debian: nginx-light, haproxy)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import free_port
from tests.proxied import config, message, run_proxy
from tests.scripted import Peer, ScriptedServer, answering, completion

NGINX = """{user} daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_max_body_size 1m;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {more}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{target}; proxy_buffering off; proxy_http_version 1.1; }} }}
}}
"""
HAPROXY = """defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 20ms
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{target}
"""
#: Name → (program, configuration, arguments). Each ends idle connections early in its own way.
pytestmark = [pytest.mark.integration, pytest.mark.real]
SERVERS = {
    "nginx, some requests each": (
        "nginx",
        NGINX.replace("{more}", "keepalive_requests 3;"),
        ("-c", "{file}", "-e", "{dir}/error.log"),
    ),
    "nginx, some time each": (
        "nginx",
        NGINX.replace("{more}", "keepalive_timeout 20ms;"),
        ("-c", "{file}", "-e", "{dir}/error.log"),
    ),
    "HAProxy": ("haproxy", HAPROXY, ("-db", "-f", "{file}")),
}


async def echo(c: Peer) -> None:
    """The last message comes back, so that a mixed-up answer is noticed."""
    prompt = c.request.json["messages"][-1]["content"]
    if c.request.json.get("stream"):
        await answering(prompt)(c)
    else:
        c.reply(completion(prompt))


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Yield (its port, the port of the model's server behind it)."""
    program, text, args = SERVERS[request.param]
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if not path:
        pytest.skip(f"{program} is not installed (apt-get install nginx-light haproxy)")
    port, target, file = free_port(), free_port(), tmp_path / "server.conf"
    file.write_text(text.format(dir=tmp_path, port=port, target=target, user="" if os.getuid() else "user root;"))
    command = [path, *(arg.format(dir=tmp_path, file=file) for arg in args)]
    running = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            assert running.poll() is None, f"{program} ended"
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.05)
        yield port, target
    finally:
        running.terminate()
        running.wait(20)


async def test_no_request_is_lost_or_mixed_up_when_idle_connections_end(server: tuple[int, int]) -> None:
    """Eight clients that pause for about as long as the server keeps a connection."""
    port, target = server
    dice = random.Random(7)
    async with (
        ScriptedServer(echo, port=target),
        run_proxy(config(f"http://127.0.0.1:{port}/v1", num_retries=0)) as proxy,
    ):

        async def client(name: int) -> None:
            for n in range(40):
                prompt = f"client {name}, number {n}"
                stream = dice.random() < 0.5
                answer = await proxy.ask(message(prompt, stream=stream))
                assert answer.status == 200, answer.body
                if stream:
                    text = "".join(
                        data["delta"].get("text", "") for name, data in answer.events if name == "content_block_delta"
                    )
                else:
                    text = answer.json["content"][0]["text"]
                assert text == prompt
                await asyncio.sleep(dice.choice((0.0, 0.019, 0.0195, 0.02, 0.0205, 0.021)))

        await asyncio.gather(*(client(name) for name in range(8)))


async def test_an_early_refusal_of_a_large_body(server: tuple[int, int]) -> None:
    """nginx answers 413 after the head and closes; the answer counts, twenty times of twenty."""
    port, target = server
    async with (
        ScriptedServer(echo, port=target),
        run_proxy(config(f"http://127.0.0.1:{port}/v1", num_retries=0)) as proxy,
    ):
        for _ in range(20):
            answer = await proxy.ask(message("x" * (4 << 20)))
            if answer.status == 200:  # HAProxy has no such limit
                continue
            assert answer.status == 413 and answer.json["error"]["type"] == "request_too_large", answer.body
