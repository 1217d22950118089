"""The server from start to end: sockets, signals, reload, drain; TLS to clients and upstreams; proxies of the
environment."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config
from a2py.proxy.log import Log, Record
from a2py.proxy.server import Lifecycle, Listen, Server, serve
from a2py.upstream import origin
from a2py.upstream.origin import Origin, environment_proxy, parse
from tests.proxied import SECRET, Running, config, deployment, message, run_proxy, settle
from tests.scripted import DONE, SSE, Peer, Raw, Script, ScriptedServer, answering, chunk, read_request, text

pytestmark = pytest.mark.filterwarnings("error")


def pause_until(go: asyncio.Event) -> Script:
    """Some text, then nothing until `go`, then the end."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "first"}))
        await c.drain()
        await go.wait()
        c.events(chunk({"content": "last"}), chunk({}, "stop"), DONE)
        c.end()

    return script


async def begin(proxy: Running, client: Raw, **more: Any) -> None:
    """A stream that has begun."""
    client.ask("POST", "/v1/messages", message(**more))
    await client.head()
    assert b"first" in await client.piece()


# -- drain -------------------------------------------------------------------------------------------------------------


async def test_running_streams_end_and_nobody_new_comes_in() -> None:
    go = asyncio.Event()
    async with (
        ScriptedServer(pause_until(go)) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
        proxy.client() as idle,
    ):
        idle.ask("GET", "/")
        await idle.answer()
        await begin(proxy, client)
        drain = asyncio.ensure_future(proxy.server.drain())
        await settle(lambda: proxy.services.running.is_draining)
        assert await idle.reader.read() == b"", "an idle connection is closed at once"
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        assert not drain.done()
        go.set()
        rest = b""
        while piece := await client.piece():
            rest += piece
        assert b"last" in rest and rest.endswith(b'data: {"type":"message_stop"}\n\n')
        await asyncio.wait_for(drain, 10)
        assert await client.reader.read() == b""


@pytest.mark.parametrize("how", ["time", "second signal"])
async def test_a_stream_that_does_not_end_gets_an_error_event(how: str) -> None:
    go, at_once = asyncio.Event(), asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "first"}))
        await c.drain()
        await c.wait_disconnect()
        go.set()

    seconds = 0.05 if how == "time" else 60
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, drain_seconds=seconds)) as proxy,
        proxy.client() as client,
    ):
        await begin(proxy, client)
        drain = asyncio.ensure_future(proxy.server.drain(at_once))
        if how != "time":
            await settle(lambda: proxy.services.running.is_draining)
            at_once.set()
        rest = await client.piece()
        assert (
            rest.startswith(b"event: error\n") and b'"overloaded_error"' in rest and b"content_block_stop" not in rest
        )
        assert await client.piece() == b""
        await asyncio.wait_for(drain, 10)
        await asyncio.wait_for(go.wait(), 10)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_has_not_begun_gets_a_status(stream: bool) -> None:
    async def script(c: Peer) -> None:
        await c.wait_disconnect()

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, drain_seconds=0.05)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(stream=stream))
        await settle(lambda: upstream.requests)
        drain = asyncio.ensure_future(proxy.server.drain())
        answer = await client.answer()
        assert (
            answer.status == 529
            and answer.json["error"]["type"] == "overloaded_error"
            and answer.headers["retry-after"] == "1"
        )
        await asyncio.wait_for(drain, 10)


async def test_readiness_while_draining() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        assert (await proxy.ask(None, "/health/readiness", "GET")).json["status"] == "ready"
        proxy.services.running.is_draining = True
        answer = await proxy.ask(None, "/health/readiness", "GET")
        assert answer.status == 503 and answer.json["status"] == "draining"


# -- serve -------------------------------------------------------------------------------------------------------------


async def test_serve_on_given_sockets_until_stopped() -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [sock.getsockname()[1] for sock in sockets]
    readiness, drains = asyncio.Event(), []
    addresses: list[Any] = []

    def ready(where: list[Any]) -> None:
        addresses.extend(where)
        readiness.set()

    async with ScriptedServer(answering("Hi")) as upstream:
        life = Lifecycle(on_ready=ready, on_drain=lambda: drains.append(1))
        running = asyncio.ensure_future(
            serve(config(upstream.base), Listen(sockets=sockets), life, log=Log(io.StringIO()))
        )
        await asyncio.wait_for(readiness.wait(), 10)
        assert [address[1] for address in addresses] == ports
        for port in ports:
            async with Raw(port) as client:
                client.ask("POST", "/v1/messages", message())
                assert (await client.answer()).names[-1] == "message_stop"
        life.stop.set()
        await asyncio.wait_for(running, 10)
        assert drains == [1]


async def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder, pytest.raises(OSError):
        await serve(config("http://127.0.0.1:1/v1"), Listen(port=holder.getsockname()[1]), log=Log(io.StringIO()))


SCRIPT = """
import asyncio, sys
from a2py.proxy.log import Log
from a2py.proxy.server import Lifecycle, Listen, serve
from tests.proxied import config
bases = sys.argv[1:]
def reload():
    if len(bases) < 2:
        raise ValueError("line 3: no such key")
    bases.pop(0)
    return config(bases[0], drain_seconds=20)
def ready(addresses):
    print("READY", addresses[0][1], flush=True)
life = Lifecycle(on_ready=ready, load=reload)
asyncio.run(serve(config(bases[0], drain_seconds=20), Listen(port=0), life, log=Log(sys.stdout, "json")))
print("ENDED", flush=True)
"""


ROOT = Path(__file__).resolve().parents[2]


class Process:
    """`serve` in a process of its own."""

    def __init__(self, *bases: str) -> None:
        self.bases = bases

    async def __aenter__(self) -> Process:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SCRIPT,
            *self.bases,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.port = int((await self.line("READY")).split()[1])
        return self

    async def line(self, start: str) -> str:
        """The next line of its output that holds `start`."""
        assert self.process.stdout is not None
        while line := (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode():
            if start in line:
                return line
        raise AssertionError(f"no line {start!r}")

    async def __aexit__(self, *exc: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined]


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_a_real_process(number: int) -> None:
    go = asyncio.Event()
    async with (
        ScriptedServer(pause_until(go)) as upstream,
        Process(upstream.base) as process,
        Raw(process.port) as client,
    ):
        client.ask("POST", "/v1/messages", message())
        await client.head()
        await client.piece()
        process.process.send_signal(number)
        await process.line("draining")
        go.set()
        rest = b""
        while piece := await client.piece():
            rest += piece
        assert rest.endswith(b'data: {"type":"message_stop"}\n\n')
        await process.line("ENDED")
        assert await asyncio.wait_for(process.process.wait(), 10) == 0


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_a_second_signal_ends_it_at_once() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "first"}))
        await c.drain()
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream, Process(upstream.base) as process, Raw(process.port) as client:
        client.ask("POST", "/v1/messages", message())
        await client.head()
        await client.piece()
        process.process.send_signal(signal.SIGTERM)
        await process.line("draining")
        process.process.send_signal(signal.SIGTERM)
        assert (await client.piece()).startswith(b"event: error")
        assert await asyncio.wait_for(process.process.wait(), 10) == 0


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_sighup_reloads_and_refuses_a_broken_file() -> None:
    async with (
        ScriptedServer(answering("one")) as one,
        ScriptedServer(answering("two")) as two,
        Process(one.base, two.base) as process,
    ):

        async def ask() -> str:
            async with Raw(process.port) as client:
                client.ask("POST", "/v1/messages", message(stream=False))
                return str((await client.answer()).json["content"][0]["text"])

        assert await ask() == "one"
        process.process.send_signal(signal.SIGHUP)
        await process.line('"reloaded"')
        assert await ask() == "two"
        process.process.send_signal(signal.SIGHUP)
        assert "line 3: no such key" in await process.line("reload refused")
        assert await ask() == "two"
        process.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.process.wait(), 10) == 0


async def test_reload_changes_the_limits() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        assert proxy.server.reload(
            lambda: config("http://127.0.0.1:1/v1", max_body_mb=1, max_connections=7, buffer_kb=8)
        )
        connections = proxy.services.connections
        assert connections is not None and connections.buffer_limit == 8192 and connections.max_connections == 7
        assert proxy.services.config.settings.max_body_mb == 1
        assert not proxy.server.reload(_raises)
        assert proxy.services.config.settings.max_body_mb == 1


def _raises() -> Config:
    raise KeyError


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost with its key, made by openssl."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key, cert = path.with_name("key.pem"), path.with_name("cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += [
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "keyUsage=critical,digitalSignature,keyCertSign",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not there")
    path.write_bytes(cert.read_bytes() + key.read_bytes())
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_towards_the_upstream(certificate: Path) -> None:
    async with ScriptedServer(answering("Hi"), tls=server_context(certificate)) as upstream:
        dep = deployment(upstream.base, ssl_verify=str(certificate))
        async with run_proxy(config(deployments=(dep,))) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"
        async with run_proxy(config(deployments=(deployment(upstream.base, ssl_verify=False),))) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"


async def test_large_bursts_over_tls(certificate: Path) -> None:
    """Many TLS records in one wake: more than one read buffer holds."""
    pieces = [f"{n:05d}" + "x" * 3000 for n in range(700)]

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        await c.drain()
        await asyncio.sleep(0.01)
        c.events(*text(*pieces))
        c.end()

    async with ScriptedServer(script, tls=server_context(certificate)) as upstream:
        async with run_proxy(config(deployments=(deployment(upstream.base, ssl_verify=str(certificate)),))) as proxy:
            for _ in range(3):
                answer = await proxy.ask(message())
                texts = [data["delta"]["text"] for name, data in answer.events if name == "content_block_delta"]
                assert [piece for piece in texts if piece] == pieces and answer.names[-1] == "message_stop"
        assert upstream.connections == 1


async def test_a_certificate_that_nobody_signed(certificate: Path) -> None:
    async with (
        ScriptedServer(answering("Hi"), tls=server_context(certificate)) as upstream,
        run_proxy(config(upstream.base, num_retries=3)) as proxy,
    ):
        answer = await proxy.ask(message())
        assert (
            answer.status == 502
            and "certificate" in answer.json["error"]["message"]
            and answer.headers["x-should-retry"] == "false"
        )
        assert not upstream.requests


async def test_a_ca_file_that_is_not_there() -> None:
    async with run_proxy(
        config(deployments=(deployment("https://127.0.0.1:1/v1", ssl_verify="/nowhere/ca.pem"),))
    ) as proxy:
        answer = await proxy.ask(message())
    assert answer.status == 500 and "ssl_verify" in answer.json["error"]["message"]


async def test_tls_where_none_is_spoken() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with run_proxy(config(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")) as proxy:
        answer = await proxy.ask(message())
        assert answer.status == 502 and "secure connection" in answer.json["error"]["message"]
    server.close()
    await server.wait_closed()


async def test_tls_towards_the_client(certificate: Path) -> None:
    async with ScriptedServer(answering("Hi")) as upstream:
        server = Server(config(upstream.base), log=Log(io.StringIO()))
        addresses = await server.start(Listen("127.0.0.1", 0, ssl_context=server_context(certificate)))
        context = ssl.create_default_context(cafile=str(certificate))
        reader, writer = await asyncio.open_connection("localhost", addresses[0][1], ssl=context)
        body = json.dumps(message()).encode()
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200") and b'"type":"message_stop"' in answer
        writer.close()
        await server.close()


# -- names and proxies -------------------------------------------------------------------------------------------------


async def test_a_name_that_does_not_resolve() -> None:
    async with run_proxy(config("http://no-such-host.invalid/v1")) as proxy:
        answer = await proxy.ask(message())
    assert answer.status == 502 and "find the host" in answer.json["error"]["message"]


@pytest.mark.parametrize("base", ["http://[bad/v1", "http:///v1", "nothing", "ftp://x/v1", "http://host:99999/v1"])
async def test_an_address_that_is_none(base: str) -> None:
    async with run_proxy(config(base)) as proxy:
        answer = await proxy.ask(message())
    assert answer.status >= 500 and answer.json["type"] == "error"


async def test_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute form to the proxy, credentials of its URL in Proxy-Authorization, nothing for NO_PROXY and loopback."""
    async with ScriptedServer(answering("by proxy")) as gate, ScriptedServer(answering("direct")) as upstream:
        monkeypatch.setenv("http_proxy", f"http://user:p%40ss@127.0.0.1:{gate.port}")
        monkeypatch.setenv("no_proxy", "internal.example")
        async with run_proxy(config("http://models.example/v1")) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"
        assert gate.requests[0].target == "http://models.example/v1/chat/completions"
        assert gate.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
        assert gate.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        async with run_proxy(config(upstream.base)) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"
        assert len(gate.requests) == 1 and len(upstream.requests) == 1
        assert environment_proxy(Origin("http", "internal.example", 80)) is None


async def test_a_proxy_of_the_file_is_used_in_place_of_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer(answering("by proxy")) as gate, ScriptedServer(answering("direct")) as upstream:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        own = f"http://127.0.0.1:{gate.port}"
        for trusts in (True, False):
            async with run_proxy(config("http://models.example/v1", trust_env=trusts, upstream_proxy=own)) as proxy:
                assert (await proxy.ask(message())).names[-1] == "message_stop"
        async with run_proxy(config(upstream.base, upstream_proxy=own)) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"
        assert len(gate.requests) == 2 and len(upstream.requests) == 1


async def test_the_environments_proxy_may_be_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer(answering("by proxy")) as gate:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{gate.port}")
        async with run_proxy(config("http://models.invalid/v1", trust_env=False)) as proxy:
            assert (await proxy.ask(message())).status == 502
        assert not gate.requests


async def test_https_through_a_proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNECT, then TLS to the upstream itself: the proxy sees neither key nor content."""
    pieces: list[bytes] = []

    async with ScriptedServer(answering("Hi"), tls=server_context(certificate)) as upstream:

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pieces.append((await read_request(reader)).raw_head)
            inner_reader, inner = await asyncio.open_connection("127.0.0.1", upstream.port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65536):
                        pieces.append(data)
                        sink.write(data)
                except ConnectionError:
                    pass
                sink.close()

            await asyncio.gather(copy(reader, inner), copy(inner_reader, writer))

        server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setattr(origin, "is_local", lambda host: False)
        base = upstream.base.replace("127.0.0.1", "localhost")
        async with run_proxy(config(deployments=(deployment(base, ssl_verify=str(certificate)),))) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"
        assert pieces[0].startswith(b"CONNECT localhost:") and SECRET.encode() not in b"".join(pieces)
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({"https_proxy": "http://p:1"}, "https://a.example", "http://p:1"),
        ({"https_proxy": "p:1"}, "https://a.example", "http://p:1"),
        ({"all_proxy": "http://p:1"}, "https://a.example", "http://p:1"),
        ({"all_proxy": "http://p:1", "https_proxy": "http://q:2"}, "https://a.example", "http://q:2"),
        ({"https_proxy": "https://user:pw@p"}, "https://a.example", "https://p:443"),
        ({"https_proxy": "http://p:1", "no_proxy": "a.example:443"}, "https://a.example", None),
        ({"https_proxy": "http://p:1", "no_proxy": "a.example:80"}, "https://a.example", "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, "https://a.example", None),
        ({"https_proxy": "http://p:1"}, "https://[::1]", None),
        ({"https_proxy": "http://p:1"}, "https://[::ffff:127.0.0.1]", None),
        ({"https_proxy": "http://p:1"}, "http://a.example", None),
        ({"https_proxy": "http://p:1"}, "https://localhost", None),
        ({"https_proxy": "http://p:1"}, "https://127.1.2.3", None),
        ({"https_proxy": "http://p:1", "no_proxy": ".example"}, "https://a.example", None),
        ({}, "https://a.example", None),
    ],
)
def test_which_proxy(env: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    server = environment_proxy(parse(url).origin)
    assert (f"{server.origin.scheme}://{server.origin.host}:{server.origin.port}" if server else None) == proxy


@pytest.mark.parametrize("url", ["socks5://p:1", "socks5h://user:secret@p:1", "http://[bad"])
@pytest.mark.parametrize("variable", ["all_proxy", "https_proxy"])
async def test_a_proxy_that_can_not_be_used_is_refused(
    variable: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words, and never by a direct connection."""
    monkeypatch.setenv(variable, url)
    async with run_proxy(config("https://models.example/v1")) as proxy:
        answer = await proxy.ask(message())
    assert answer.status == 502 and "proxy" in answer.json["error"]["message"] and "secret" not in answer.body.decode()


# -- Ollama ------------------------------------------------------------------------------------------------------------


def ollama(size: int, is_loaded: bool = True) -> Script:
    async def script(c: Peer) -> None:
        if c.request.target == "/api/ps":
            row = {"name": "upstream-model:latest", "model": "upstream-model:latest", "context_length": size}
            c.reply({"models": [row] if is_loaded else []})
        elif c.request.target == "/api/show":
            c.reply({"parameters": f'stop "x"\nnum_ctx    {size}', "model_info": {"llama.context_length": 131072}})
        else:
            c.head(200, SSE)
            c.events(*text("Hi", tokens={"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}))
            c.end()

    return script


def make_config(base: str) -> Config:
    from a2py.quirks import Quirks

    return config(deployments=(deployment(base, quirks=Quirks(context_probe="ollama")),))


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_ollama_a_prompt_that_it_would_cut_is_refused(is_loaded: bool) -> None:
    async with ScriptedServer(ollama(4096, is_loaded)) as upstream, run_proxy(make_config(upstream.base)) as proxy:
        answer = await proxy.ask(message("word " * 8000))
        assert answer.status == 400 and answer.json["error"]["message"].startswith("prompt is too long: ")
        assert (
            "> 4096 maximum" in answer.json["error"]["message"]
            and "OLLAMA_CONTEXT_LENGTH" in answer.json["error"]["message"]
        )
        count = len(upstream.requests)
        assert (await proxy.ask(message("word " * 8000))).status == 400
        assert len(upstream.requests) == count, "the answer is believed for a while"
        assert (await proxy.ask(message("short"))).status == 200


async def test_ollama_a_prompt_that_fits() -> None:
    async with ScriptedServer(ollama(65536)) as upstream, run_proxy(make_config(upstream.base)) as proxy:
        assert (await proxy.ask(message("word " * 8000))).status == 200
        notes = [line.get("notes", "") for line in proxy.lines if line["event"] == "request"]
    assert "cut the prompt" in notes[0], "100 tokens counted of some 8,000"


async def test_ollama_behind_a_login_is_asked_with_the_configured_headers() -> None:
    logins: list[str] = []

    async def script(c: Peer) -> None:
        if c.request.target == "/api/ps":
            logins.append(c.request.headers.get("authorization", ""))
        await ollama(4096)(c)

    async with ScriptedServer(script) as upstream:
        one = replace(make_config(upstream.base).deployments[0], headers={"Authorization": "Basic dTpw"})
        async with run_proxy(config(deployments=(one,))) as proxy:
            assert (await proxy.ask(message("word " * 8000))).status == 400
    assert logins == ["Basic dTpw"]


async def test_ollama_that_does_not_tell() -> None:
    async def script(c: Peer) -> None:
        if c.request.target.startswith("/api/"):
            c.reply(b"[]" if c.request.target == "/api/ps" else {}, 404 if c.request.target == "/api/show" else 200)
        else:
            await answering("Hi")(c)

    async with ScriptedServer(script) as upstream, run_proxy(make_config(upstream.base)) as proxy:
        assert (await proxy.ask(message("word " * 8000))).status == 200


# -- the log's form ----------------------------------------------------------------------------------------------------


def test_text_lines_can_not_be_broken() -> None:
    out = io.StringIO()
    log = Log(out)
    log.request(Record(id="req_1", path="/v1/messages", model='a b\n"c"', status=200, error="x\r\ny"))
    log.warning("odd\tevent", why="")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and 'model="a b \\"c\\""' in lines[0] and 'error="x y"' in lines[0] and 'why=""' in lines[1]


def test_a_log_that_can_not_be_written_fails_nothing() -> None:
    out = io.StringIO()
    out.close()
    Log(out).info("x")
    quiet = io.StringIO()
    Log(quiet, quiet=True).request(Record())
    assert not quiet.getvalue()
