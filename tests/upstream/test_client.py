"""What the proxy's client does with connections: reuse, one retry where it is safe, addresses, proxies, TLS,
compression."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from a2py.upstream import client as module
from a2py.upstream import connect as connect_module
from a2py.upstream import pool as pool_module
from a2py.upstream import tls as tls_module
from a2py.upstream.connect import Deadline, Resolver
from a2py.upstream.failure import Failure
from a2py.upstream.origin import Origin, Target, is_local, parse
from tests.proxied import SECRET, config, deployment, message, run_proxy, settle
from tests.proxy.test_server import certificate, server_context
from tests.scripted import Peer, ScriptedServer, answering, completion, refusing

__all__ = ["certificate"]
ROOT = Path(__file__).resolve().parents[2]

TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
SURPLUS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


# -- answers that belong to nobody -------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [TIMED_OUT, SURPLUS, b"\r\n"], ids=["408", "answer", "blank"])
@pytest.mark.parametrize("when", ["glued", "at once", "while idle"])
@pytest.mark.parametrize("stream", [True, False])
async def test_surplus_bytes_never_answer_the_next_request(stream: bool, when: str, late: bytes) -> None:
    """One user must not read another's reply: each request gets its own number back, forty times of forty."""

    async def script(c: Peer) -> None:
        prompt = c.request.json["messages"][-1]["content"]
        if c.request.json.get("stream"):
            await answering(prompt)(c)
        else:
            c.reply(completion(prompt))
        if when == "glued":
            c.write(late)
        else:
            await c.drain()
            if when == "while idle":
                await asyncio.sleep(0.003)
            c.write(late)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, num_retries=0)) as proxy:
        for n in range(40):
            answer = await proxy.ask(message(f"number {n}", stream=stream))
            assert answer.status == 200
            if stream:
                text = "".join(
                    data["delta"].get("text", "") for name, data in answer.events if name == "content_block_delta"
                )
            else:
                text = answer.json["content"][0]["text"]
            assert text == f"number {n}"
            if when == "while idle":
                await asyncio.sleep(0.006)


# -- one more try ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "408"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_kept_connection_that_had_just_been_closed(stream: bool, how: str) -> None:
    """The request goes out again on a fresh connection; the log and the metrics say so."""

    async def drop(c: Peer) -> None:
        if how == "408":
            c.write(TIMED_OUT)
        c.close() if how != "reset" else c.reset()

    async with (
        ScriptedServer(answering("first"), drop, answering("third")) as upstream,
        run_proxy(config(upstream.base, num_retries=0)) as proxy,
    ):
        assert (await proxy.ask(message(stream=stream))).status == 200
        answer = await proxy.ask(message(stream=stream))
        assert answer.status == 200 and b"third" in answer.body
        assert upstream.connections == 2 and len(upstream.requests) == 3
        assert "sent again: the kept connection had been closed" in str(proxy.lines)
        metrics = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert "a2py_resent_total 1" in metrics


@pytest.mark.parametrize("how", ["fresh", "kept, twice", "kept, late"])
async def test_a_request_is_not_sent_again_unasked(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that crashed on a prompt must not get it again: not on a fresh connection, not twice, not after a
    second."""
    monkeypatch.setattr(module, "RESEND_SECONDS", 0.05)

    async def drop(c: Peer) -> None:
        if how == "kept, late":
            await asyncio.sleep(0.1)
        c.close()

    first = [] if how == "fresh" else [answering("first")]
    async with ScriptedServer(*first, drop) as upstream, run_proxy(config(upstream.base, num_retries=2)) as proxy:
        for _ in first:
            assert (await proxy.ask(message())).status == 200
        answer = await proxy.ask(message())
        assert answer.status == 502 and "before it answered" in answer.json["error"]["message"]
        assert len(upstream.requests) - len(first) == (2 if how == "kept, twice" else 1)


async def test_the_file_may_ask_for_more() -> None:
    async def drop(c: Peer) -> None:
        c.close()

    async with (
        ScriptedServer(drop, answering("Hi")) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, retries=1),))) as proxy,
    ):
        assert (await proxy.ask(message())).status == 200


# -- the pool ----------------------------------------------------------------------------------------------------------


async def test_idle_connections_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_EACH", 3)
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.5)
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        await go.wait()
        await answering("Hi")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        asking = [asyncio.create_task(proxy.ask(message())) for _ in range(10)]
        await settle(lambda: len(upstream.requests) == 10)
        go.set()
        assert {(await task).status for task in asking} == {200}
        await settle(lambda: proxy.services.upstream.idle == proxy.services.upstream.connections == 3)
        await settle(lambda: proxy.services.upstream.connections == 0)
        await settle(lambda: upstream.open == 0)


async def test_a_connection_is_kept_for_its_own_settings_only(certificate: Path) -> None:
    """One that was made without verification never serves a deployment that verifies."""
    async with ScriptedServer(answering("Hi"), tls=server_context(certificate)) as upstream:
        careless = deployment(upstream.base, "careless", id="a", ssl_verify=False)
        careful = deployment(upstream.base, "careful", id="b")
        async with run_proxy(config(deployments=(careless, careful), num_retries=0)) as proxy:
            assert (await proxy.ask({**message(), "model": "careless"})).status == 200
            answer = await proxy.ask({**message(), "model": "careful"})
            assert answer.status == 502 and "secure connection" in answer.json["error"]["message"]


@pytest.mark.parametrize("where", ["upstream", "proxy"])
async def test_https_to_a_server_without_tls(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is not at fault, so it is not named. An HTTP server answers the handshake with a 400."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    base = f"https://127.0.0.1:{port}/v1"
    if where == "proxy":
        monkeypatch.setenv("http_proxy", f"https://localhost:{port}")
        base = "http://models.example/v1"
    async with run_proxy(config(base, num_retries=0)) as proxy:
        answer = await proxy.ask(message())
    server.close()
    words = answer.json["error"]["message"]
    assert answer.status == 502 and "the server did not answer with TLS" in words and "certificate" not in words
    if where == "upstream":
        assert "Does it speak http://? Then write http:// in `api_base`." in words
    else:
        assert f"localhost:{port} can't be reached" in words


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://Example.COM/v1", Target(Origin("http", "example.com", 80), "/v1")),
        ("https://example.com", Target(Origin("https", "example.com", 443), "/")),
        (
            "https://example.com:8443/v1?api-version=2024&x=a%20b",
            Target(Origin("https", "example.com", 8443), "/v1?api-version=2024&x=a%20b"),
        ),
        ("http://[::1]:8000/v1", Target(Origin("http", "::1", 8000), "/v1")),
        ("http://[2001:DB8:0::1]/v1", Target(Origin("http", "2001:db8::1", 80), "/v1")),
        ("http://[fe80::1%eth0]:1/v1", Target(Origin("http", "fe80::1%eth0", 1), "/v1")),
        ("http://[fe80::1%25eth0]:1/v1", Target(Origin("http", "fe80::1%eth0", 1), "/v1")),
        ("http://bücher.example/v1", Target(Origin("http", "xn--bcher-kva.example", 80), "/v1")),
        ("http://user:p%40ss@host/v1", Target(Origin("http", "host", 80), "/v1", "Basic dXNlcjpwQHNz")),
        ("http://user@host/v1", Target(Origin("http", "host", 80), "/v1", "Basic dXNlcjo=")),
        ("http://host/a b/é?q=ü&r=1 2", Target(Origin("http", "host", 80), "/a%20b/%C3%A9?q=%C3%BC&r=1%202")),
        ("http://host/a%2Fb/%7Ec", Target(Origin("http", "host", 80), "/a%2Fb/%7Ec")),
        ("http://my_host.local./v1", Target(Origin("http", "my_host.local.", 80), "/v1")),
    ],
)
def test_urls(url: str, target: Target) -> None:
    assert parse(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://[bad",
        "http://a b/",
        "http://host:99999",
        "http://host:x",
        "http://a/\nb@c",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    if url == "http://a/\nb@c":  # urllib drops line breaks: nothing of it can end a header
        assert parse(url).path == "/b@c"
        return
    with pytest.raises(Failure, match="no valid URL"):
        parse(url)


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("http", "host", 80), "host"),
        (Origin("https", "host", 443), "host"),
        (Origin("http", "host", 443), "host:443"),
        (Origin("http", "::1", 80), "[::1]"),
        (Origin("http", "fe80::1%eth0", 8000), "[fe80::1]:8000"),
    ],
)
def test_the_host_header(origin: Origin, authority: str) -> None:
    assert origin.authority == authority


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.", True),
        ("0.0.0.0", True),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False),
    ],
)
def test_hosts_of_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


async def test_userinfo_in_the_address_is_a_basic_login() -> None:
    """Unless the deployment has a key of its own."""
    async with ScriptedServer(answering("Hi")) as upstream:
        base = upstream.base.replace("http://", "http://user:pass@")
        deployments = (deployment(base, "keyless", id="a", key=""), deployment(base, "keyed", id="b"))
        async with run_proxy(config(deployments=deployments)) as proxy:
            for name in ("keyless", "keyed"):
                assert (await proxy.ask({**message(), "model": name})).status == 200
    assert [request.headers["authorization"] for request in upstream.requests] == [
        "Basic dXNlcjpwYXNz",
        f"Bearer {SECRET}",
    ]
    assert {request.headers["host"] for request in upstream.requests} == {f"127.0.0.1:{upstream.port}"}


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b"])
async def test_a_header_that_would_break_the_head_is_refused(value: str) -> None:
    async with ScriptedServer(answering("Hi")) as upstream:
        async with run_proxy(config(deployments=(deployment(upstream.base, headers={"x-mine": value}),))) as proxy:
            answer = await proxy.ask(message())
            assert answer.status == 502 and "line break" in answer.json["error"]["message"]
        assert not upstream.requests


async def test_the_look_ups_of_a_host_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty requests at the same time ask once; the answer holds for a minute, and no longer where nothing could be
    connected to."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo
    hosts: list[str] = []

    async def look_up(host: Any, port: Any, **more: Any) -> Any:
        if host != "models.example":
            return await real(host, port, **more)
        hosts.append(host)
        await asyncio.sleep(0.02)
        return await real("127.0.0.1", port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    async with ScriptedServer(answering("Hi")) as upstream:
        base = f"http://models.example:{upstream.port}/v1"
        async with run_proxy(config(base, num_retries=0)) as proxy:
            answers = await asyncio.gather(*(proxy.ask(message()) for _ in range(20)))
            assert {answer.status for answer in answers} == {200} and len(hosts) == 1
            resolver = proxy.services.upstream._resolver
            assert await resolver.addresses("models.example", upstream.port) and len(hosts) == 1
            resolver._cache = {key: (0.0, value[1]) for key, value in resolver._cache.items()}
            assert await resolver.addresses("models.example", upstream.port) and len(hosts) == 2
            port = upstream.port
    async with run_proxy(config(f"http://models.example:{port}/v1", num_retries=0)) as proxy:
        for n in (3, 4):
            assert (await proxy.ask(message())).status == 502 and len(hosts) == n


async def test_addresses_where_nobody_answers_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host behind a firewall that drops packets may have moved to another address."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)
    loop = asyncio.get_running_loop()
    real = loop.sock_connect

    async def connect(sock: socket.socket, address: Any) -> None:
        await (asyncio.Event().wait() if address[1] == 9 else real(sock, address))

    monkeypatch.setattr(loop, "sock_connect", connect)
    async with run_proxy(config("http://localhost:9/v1", num_retries=0)) as proxy:
        assert (await proxy.ask(message())).status == 504
        assert not proxy.services.upstream._resolver._cache


async def test_a_reload_reads_a_new_ca_file(tmp_path: Path, certificate: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    async with ScriptedServer(answering("Hi"), tls=server_context(certificate)) as upstream:
        settings = config(deployments=(deployment(upstream.base, ssl_verify=str(ca)),), num_retries=0)
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(message())
            assert answer.status == 500
            assert f"{ca}' for 127.0.0.1:" in answer.json["error"]["message"]
            await asyncio.to_thread(shutil.copy, certificate, ca)
            proxy.services.reload(settings)
            assert (await proxy.ask(message())).status == 200


async def test_a_cancelled_look_up_serves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    go = asyncio.Event()

    async def look_up(host: Any, port: Any, **more: Any) -> Any:
        await go.wait()
        raise socket.gaierror(socket.EAI_NONAME, "no")

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    resolver = Resolver(loop)
    one, two = (asyncio.create_task(resolver.addresses("models.example", 80)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(socket.gaierror):
        await two
    assert one.cancelled() and not resolver._lookups
    go.clear()
    three = asyncio.create_task(resolver.addresses("models.example", 80))
    await asyncio.sleep(0)
    three.cancel()
    await resolver.close()
    assert not resolver._lookups


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address of the host refuses."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async with ScriptedServer(answering("Hi")) as upstream:

        async def look_up(host: Any, port: Any, **more: Any) -> Any:
            if host != "models.example":
                return await real(host, port, **more)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")
            ]

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        async with run_proxy(config(f"http://models.example:{upstream.port}/v1", num_retries=0)) as proxy:
            assert (await proxy.ask(message())).status == 200


async def test_a_deadline_and_a_cancellation() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(Failure), Deadline(loop, 0.0, Failure("timeout_connect", "late")):
        await asyncio.sleep(10)
    with Deadline(loop, 10, Failure("timeout_connect", "late")):
        await asyncio.sleep(0)

    async def wait() -> None:
        with Deadline(loop, 10, Failure("timeout_connect", "late")):
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- proxies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "HTTP 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurprise", "before the tunnel"),
        (b"SSH-2.0-OpenSSH\r\n", "not valid HTTP"),
        (b"", "closed the connection"),
    ],
)
async def test_a_proxy_that_refuses_the_tunnel(answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    monkeypatch.setenv("https_proxy", f"http://me:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with run_proxy(config("https://models.example/v1", num_retries=0)) as proxy:
        reply = await proxy.ask(message())
        assert reply.status == 502 and words in reply.json["error"]["message"] and b"s3cret" not in reply.body
    assert heads[0].startswith(b"CONNECT models.example:443 HTTP/1.1\r\nHost: models.example:443\r\n")
    assert b"proxy-authorization: Basic bWU6czNjcmV0\r\n" in heads[0] and SECRET.encode() not in heads[0]
    server.close()
    await server.wait_closed()


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free.getsockname()[1]}")
        async with run_proxy(config("https://models.example/v1", num_retries=0)) as proxy:
            reply = await proxy.ask(message())
        port = free.getsockname()[1]
    words = reply.json["error"]["message"]
    assert reply.status == 502 and "HTTPS_PROXY" in words
    assert f"127.0.0.1:{port} can't be reached (connection refused)" in words


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_https_proxy(scheme: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS to the proxy, and inside it plain HTTP in absolute form, or a tunnel with TLS of its own (Python 3.11 and
    later)."""
    heads: list[bytes] = []
    tls = server_context(certificate)
    async with ScriptedServer(answering("Hi"), tls=tls if scheme == "https" else None) as upstream:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            inner_reader, inner = await asyncio.open_connection("127.0.0.1", upstream.port)
            if head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 Fine\r\n\r\n")
            else:
                inner.write(head.replace(f"http://models.example:{upstream.port}".encode(), b"", 1))

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65536):
                        sink.write(data)
                except (ConnectionError, ssl.SSLError):
                    pass
                sink.close()

            await asyncio.gather(copy(reader, inner), copy(inner_reader, writer))

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(certificate))
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv(f"{scheme}_proxy", f"https://me:pw@localhost:{port}")
        monkeypatch.setattr(connect_module, "context_of", lambda verify: tls_module.trusting_everybody())
        async with run_proxy(config(f"{scheme}://models.example:{upstream.port}/v1", num_retries=0)) as proxy:
            answer = await proxy.ask(message())
            if scheme == "https" and sys.version_info < (3, 11):
                assert answer.status == 502 and "Python 3.11" in answer.json["error"]["message"]
            else:
                assert answer.status == 200 and answer.names[-1] == "message_stop", answer.body
                assert b"Basic bWU6cHc=" in heads[0] and (SECRET.encode() in heads[0]) is (scheme == "http")
        server.close()
        await server.wait_closed()


async def test_the_systems_trust_may_be_a_file(certificate: Path) -> None:
    """SSL_CERT_FILE, which is read when the first context is made: in a process of its own."""
    code = """
import asyncio, sys
from tests.proxied import config, message, run_proxy
async def main():
    async with run_proxy(config(sys.argv[1], num_retries=0)) as proxy:
        answer = await proxy.ask(message())
        print(answer.status, answer.body.decode()[-200:])
asyncio.run(main())
"""
    async with ScriptedServer(answering("Hi"), tls=server_context(certificate)) as upstream:
        for environment, status in (({}, b"502"), ({"SSL_CERT_FILE": str(certificate)}, b"200")):
            base = upstream.base.replace("127.0.0.1", "localhost")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, base, env={**os.environ, **environment}, cwd=ROOT, stdout=subprocess.PIPE
            )
            out, _ = await process.communicate()
            assert out.startswith(status), out


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_coding_that_can_not_be_read_is_named(stream: bool, status: int, coding: str) -> None:
    async def script(c: Peer) -> None:
        c.reply(b"\x1b\x0e\x00", status, {"content-encoding": coding})

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, num_retries=0)) as proxy:
        answer = await proxy.ask(message(stream=stream))
    assert answer.status == (502 if status == 200 else 400)
    if status == 200:
        assert f"can't be read: its body is compressed with {coding}" in answer.json["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_that_is_compressed_is_read(stream: bool) -> None:
    body = gzip.compress(b'{"error":{"message":"temperature must be at most 1","param":"temperature"}}')

    async def script(c: Peer) -> None:
        c.reply(body, 422, {"content-encoding": "gzip"})

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, num_retries=0)) as proxy:
        answer = await proxy.ask(message(stream=stream))
    assert answer.status == 422 and "temperature" in answer.json["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_leaves_its_connection_usable(stream: bool) -> None:
    async with ScriptedServer(refusing(400), refusing(429), answering("Hi")) as upstream:
        async with run_proxy(config(upstream.base, num_retries=0, disable_cooldowns=True)) as proxy:
            for status in (400, 429, 200):
                assert (await proxy.ask(message(stream=stream))).status == status
        assert upstream.connections == 1


async def test_http_1_1_alone_is_offered_by_tls(certificate: Path) -> None:
    from a2py.upstream.tls import context_of

    protocols: list[str | None] = []

    async def script(c: Peer) -> None:
        protocols.append(c.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering("Hi")(c)

    tls = server_context(certificate)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with (
        ScriptedServer(script, tls=tls) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, ssl_verify=False),))) as proxy,
    ):
        assert (await proxy.ask(message())).status == 200
    assert protocols == ["http/1.1"]
    assert context_of(True) is context_of(True) and connect_module.context_of is context_of  # type: ignore[attr-defined]
