"""The fault list between real processes: a2py as a user starts it, upstreams of this process (or of their own, to be
killed), hostile clients, TLS on both sides, a proxy with CONNECT, nginx and HAProxy in front.

The same faults stand in test_relay_faults.py, test_relay_pivots.py and ../proxy/test_http.py against a proxy inside
this process, with more of them and with what must not be left behind; here the command line, the sockets and the
signals are real."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import process
from tests.commands import LIMIT, serving
from tests.process import KEY, Proxy, free_port
from tests.scripted import (
    JSON_TYPE,
    SSE,
    Answer,
    Peer,
    Raw,
    Request,
    Script,
    ScriptedServer,
    answering,
    chunk,
    completion,
    event,
    read_request,
    text,
)
from tests.whole.test_relay_faults import SERVER

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")]

STREAM = b"".join(map(event, text("Hel", "lo")))
START = event(chunk({"role": "assistant", "content": "Hel"}))
#: Seconds of silence that the deployment `once` takes.
SILENCE = 1.5


class Real(NamedTuple):
    """A proxy process, and the port at which its deployments look for their upstream."""

    proxy: Proxy
    upstream: int

    @property
    def port(self) -> int:
        return int(self.proxy.base.rpartition(":")[2])

    async def ask(self, model: str = "once", stream: bool = True, content: str = "Hi", **more: Any) -> Answer:
        async with Raw(self.port) as client:
            client.ask("POST", "/v1/messages", message(model, stream, content, **more), (("x-api-key", KEY),))
            return await client.answer()


def message(model: str = "once", stream: bool = True, content: str = "Hi", **more: Any) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}
    return {**body, "stream": True} if stream else body


def model_entry(name: str, base: str, **params: Any) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": "llamacpp/tiny", "api_base": base, "api_key": "sk-upstream", **params},
    }


#: Nothing is asked again and no deployment rests, so that a test sees the fault itself.
PLAIN: dict[str, Any] = {"router_settings": {"num_retries": 0, "disable_cooldowns": True}}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    port = free_port()
    base = f"http://127.0.0.1:{port}/v1"
    models = [
        model_entry("once", base, timeout=SILENCE, stream_timeout=SILENCE),
        model_entry("dns", "http://no-such-host.invalid/v1"),
        model_entry("nobody", f"http://127.0.0.1:{free_port()}/v1"),
    ]
    with process.running(tmp_path_factory.mktemp("real"), models, flags=("--keepalive-timeout", "2"), **PLAIN) as proxy:
        yield Real(proxy, port)


# -- what upstreams do -------------------------------------------------------------------------------------------------


def whole(c: Peer) -> tuple[dict[str, str], bytes]:
    """The right answer, streamed or not, as headers and body."""
    return (SSE, STREAM) if c.request.json.get("stream") else (JSON_TYPE, json.dumps(completion()).encode())


async def byte_by_byte_at_leisure(c: Peer) -> None:
    headers, body = whole(c)
    c.head(200, headers)
    for n in range(4):
        c.chunk(body[n : n + 1])
        await c.drain()
        await asyncio.sleep(SILENCE / 3)
    c.chunk(body[4:])
    c.end()


async def gzip_whole(c: Peer) -> None:
    headers, body = whole(c)
    data = gzip.compress(body)
    c.head(200, {**headers, "content-encoding": "gzip"}, length=len(data))
    c.write(data)


async def hints(c: Peer) -> None:
    headers, body = whole(c)
    c.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    c.head(200, headers)
    c.chunk(body)
    c.end()


async def http_1_0(c: Peer) -> None:
    headers, body = whole(c)
    c.head(200, headers, version="HTTP/1.0")
    c.write(body)


async def half_close(c: Peer) -> None:
    """The upstream ends its side; ours is still open."""
    headers, body = whole(c)
    c.keep = False
    c.write(f"HTTP/1.1 200 OK\r\ncontent-type: {headers['content-type']}\r\nconnection: close\r\n\r\n".encode() + body)
    c.writer.write_eof()
    await c.wait_disconnect()


RIGHT: list[Script] = [gzip_whole, hints, http_1_0, half_close]


async def reset_before(c: Peer) -> None:
    c.reset()


async def closed_before(c: Peer) -> None:
    c.close()


async def reset_inside(c: Peer) -> None:
    c.head(200, whole(c)[0])
    c.chunk(START)
    await c.drain()
    await asyncio.sleep(0.05)
    c.reset()


async def closed_inside(c: Peer) -> None:
    c.head(200, whole(c)[0])
    c.chunk(START)
    await c.drain()
    c.close()


async def cut_chunk(c: Peer) -> None:
    c.head(200, whole(c)[0])
    c.chunk(START)
    c.write(b"ffff\r\ndata: {")
    await c.drain()
    c.close()


async def too_short(c: Peer) -> None:
    c.head(200, whole(c)[0], length=len(START) + 500)
    c.write(START)
    await c.drain()
    c.close()


async def silent(c: Peer) -> None:
    c.head(200, whole(c)[0])
    await c.wait_disconnect()


async def silent_inside(c: Peer) -> None:
    c.head(200, whole(c)[0])
    c.chunk(START)
    await c.wait_disconnect()


def redirect(status: int) -> Script:
    async def script(c: Peer) -> None:
        assert c.request.headers["authorization"] == "Bearer sk-upstream"
        c.reply({}, status, {"location": f"http://127.0.0.1:{c.server.port}/v1/elsewhere?token=sk-upstream"})

    script.__name__ = f"moved_{status}"
    return script


WRONG: list[Script] = [
    reset_before,
    closed_before,
    reset_inside,
    closed_inside,
    cut_chunk,
    too_short,
    silent,
    silent_inside,
]
WRONG += [redirect(status) for status in (301, 302, 303, 307, 308)]


def right(answer: Answer, stream: bool = True) -> None:
    assert answer.status == 200, answer.body
    if stream:
        text = "".join(data["delta"].get("text", "") for name, data in answer.events if name == "content_block_delta")
        assert text == "Hello" and answer.names[-1] == "message_stop" and answer.whole
    else:
        assert answer.json["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [*RIGHT, byte_by_byte_at_leisure])
async def test_odd_but_right(real: Real, script: Script, stream: bool) -> None:
    if script is byte_by_byte_at_leisure and not stream:
        pytest.skip("a whole reply has a limit for all of it, not of silence")
    async with ScriptedServer(script, port=real.upstream):
        right(await real.ask(stream=stream), stream)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", WRONG)
async def test_wrong(real: Real, script: Script, stream: bool) -> None:
    """One error, a status or an event, and never a made-up end; the next request is answered."""
    async with ScriptedServer(script, answering("Hel", "lo"), port=real.upstream) as upstream:
        answer = await real.ask(stream=stream)
        if answer.status == 200:
            assert (
                stream
                and answer.names[-1] == "error"
                and answer.names.count("error") == 1
                and "message_stop" not in answer.names
            )
            assert answer.whole
        else:
            assert (
                answer.status == (504 if script in (silent, silent_inside) else 502) and answer.json["type"] == "error"
            )
        assert b"sk-upstream" not in answer.body
        assert not [request for request in upstream.requests if "elsewhere" in request.target], (
            "a redirect was followed"
        )
    async with ScriptedServer(answering("Hel", "lo"), port=real.upstream):
        right(await real.ask(stream=stream), stream)


@pytest.mark.parametrize("stream", [True, False])
async def test_killed(real: Real, stream: bool) -> None:
    """kill -9 of the upstream's own process in mid-answer."""
    script = SERVER.replace('("127.0.0.1", 0)', f'("127.0.0.1", {real.upstream})')
    upstream = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert upstream.stdout is not None
    await asyncio.wait_for(upstream.stdout.readline(), 20)
    async with Raw(real.port) as client:
        client.ask("POST", "/v1/messages", message(stream=stream), (("x-api-key", KEY),))
        if stream:
            assert (await client.head())[0] == 200
            assert b"Hel" in await client.piece()
            upstream.send_signal(signal.SIGKILL)
            assert (await client.piece()).startswith(b"event: error")
            assert await client.piece() == b""
        else:
            await asyncio.sleep(0.5)
            upstream.send_signal(signal.SIGKILL)
            assert (await client.answer()).status == 502
    await upstream.wait()
    upstream._transport.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("model", "says"), [("dns", "find the host"), ("nobody", "onnect")])
async def test_nobody_there(real: Real, model: str, says: str) -> None:
    answer = await real.ask(model)
    assert answer.status == 502 and says in answer.json["error"]["message"]


async def test_kept_connections_that_are_just_closed(real: Real) -> None:
    """Every connection is closed some milliseconds after its answer, with no word of it; requests come at that very
    time: none fails."""
    closing: set[asyncio.Task[None]] = set()

    async def script(c: Peer) -> None:
        await answering("Hel", "lo")(c)
        await c.drain()

        async def later(delay: float = 0.001 * (len(c.server.requests) % 7)) -> None:
            await asyncio.sleep(delay)
            c.writer.transport.abort()

        task = asyncio.ensure_future(later())
        closing.add(task)
        task.add_done_callback(closing.discard)

    async with ScriptedServer(script, port=real.upstream) as upstream, Raw(real.port) as client:
        for n in range(150):
            client.ask("POST", "/v1/messages", message(stream=bool(n % 2)), (("x-api-key", KEY),))
            right(await client.answer(), bool(n % 2))
            await asyncio.sleep(0.001 * (n % 5))
        assert len(upstream.requests) >= 150 and upstream.connections > 50


async def test_an_answer_behind_the_answer_is_nobodys(real: Real) -> None:
    """An upstream that sends a second response unasked poisons no other request of the pool."""
    poison = json.dumps(completion("poisoned")).encode()

    async def script(c: Peer) -> None:
        body = json.dumps(completion("Hello")).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        c.write(head % len(body) + body + head % len(poison) + poison)

    async with ScriptedServer(script, port=real.upstream):
        for _ in range(5):
            right(await real.ask(stream=False), False)


# -- what clients do ---------------------------------------------------------------------------------------------------

HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nx-api-key: " + KEY.encode() + b"\r\n"
INNER = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-api-key: " + KEY.encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(INNER) + 5) + INNER,
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + INNER + b"0\r\n\r\n",
        HEAD + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\n{}\r\n" + INNER,
        HEAD + b"Content-Length: 4, 40\r\n\r\n{}\r\n" + INNER,
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER,
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + INNER,
        HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + INNER,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0;\nGET /x HTTP/1.1\r\n\r\n" + INNER,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + INNER,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + INNER,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n" + INNER,
        HEAD + b" Content-Length: 4\r\n\r\n{}\r\n" + INNER,
        HEAD + b"X: y\nContent-Length: 4\r\n\r\n{}\r\n" + INNER,
        HEAD + b"X: y\rContent-Length: 4\r\n\r\n{}\r\n" + INNER,
        b"POST /v1/messages HTTP/1.1\r\n Host: localhost\r\nContent-Length: 0\r\n\r\n" + INNER,
        b"POST /v1/messages HTTP/2.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" + INNER,
        HEAD + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"\r\n",
        b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(19),
)
async def test_smuggling_and_oversized_headers(real: Real, raw: bytes) -> None:
    """One 4xx in the envelope, nothing of the second request, and the connection is closed."""
    async with ScriptedServer(answering("Hi"), port=real.upstream) as upstream, Raw(real.port) as client:
        client.send(raw)
        try:
            reply = await asyncio.wait_for(client.reader.read(), 10)
        except ConnectionResetError:  # closed while more than it reads was on its way
            reply = b""
        assert reply.count(b"HTTP/1.") <= 1 and b'"data"' not in reply and b"has_more" not in reply
        assert not reply or (reply.split(b" ")[1][:1] == b"4" and b'"type":"error"' in reply)
        assert not upstream.requests


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "//v1//messages",
        "/v1/models/%00",
        "/v1/models/a%0d%0aX-Evil:%201",
        "/v1/models/" + "a/" * 3000,
        "http://evil.example/v1/models/x",
        "/HEALTH",
    ],
)
async def test_path_tricks(real: Real, path: str) -> None:
    async with Raw(real.port) as client:
        client.ask("GET", path, None, (("x-api-key", KEY), ("anthropic-version", "2023-06-01")))
        answer = await client.answer()
    assert answer.status == 404 and answer.json["error"]["type"] == "not_found_error" and "x-evil" not in answer.headers


@pytest.mark.parametrize("path", ["/health/liveliness/v1/models", "/x/v1/model/info"])
async def test_no_path_leads_past_the_key(real: Real, path: str) -> None:
    """API paths may have a prefix (a base URL with a path). They need the key all the same."""
    async with Raw(real.port) as client:
        for headers, status in (((), 401), ((("x-api-key", KEY),), 200)):
            client.ask("GET", path, None, headers)
            assert (await client.answer()).status == status


@pytest.mark.parametrize(
    "path", ["/v1/messages/../../health", "/%2e%2e/metrics", "/api/hello/../../health", "/x/health", "/x/metrics"]
)
@pytest.mark.parametrize("headers", [(), (("x-api-key", KEY),)])
async def test_health_and_metrics_have_no_prefix(real: Real, path: str, headers: tuple[tuple[str, str], ...]) -> None:
    async with Raw(real.port) as client:
        client.ask("GET", path, None, headers)
        assert (await client.answer()).status == 404


async def test_what_a_client_says_makes_no_header(real: Real) -> None:
    """Line ends in JSON strings, header values and queries: neither the response's nor the upstream request's headers
    grow by them."""
    evil = "a\r\nX-Evil: 1\r\n\r\n"
    async with ScriptedServer(answering("Hi"), port=real.upstream) as upstream:
        odd: dict[str, Any] = {
            "metadata": {"user_id": evil},
            "tools": [{"type": f"web_{evil}", "name": evil}],
            "x\r\nX-Evil: 1": 1,
            "top_k": 5,
        }
        async with Raw(real.port) as client:
            headers = [
                ("x-api-key", KEY),
                ("anthropic-beta", "a, b\x85X-Evil: 1"),
                ("x-claude-code-session-id", "s\u00a0X-Evil: 1"),
            ]
            client.ask("POST", "/v1/messages?beta=%0d%0aX-Evil:%201", message(**odd), headers)
            answer = await client.answer()
        refusal = await real.ask(evil)
    for each in (answer, refusal):
        assert not [name for name in each.headers if "evil" in name]
    assert refusal.status == 404 and upstream.requests
    assert not [name for request in upstream.requests for name in request.headers if "evil" in name]


@pytest.mark.parametrize(
    ("first", "drop"),
    [(b"", b""), (b"GET / HT", b""), (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n")],
    ids=["idle", "half", "drip"],
)
async def test_a_slow_head_is_cut(real: Real, first: bytes, drop: bytes) -> None:
    """--keepalive-timeout (default: Timeouts.idle, longer than LIMIT) is the time for a whole head too, also of one
    that never stalls."""
    async with Raw(real.port) as client:
        client.send(first)

        async def drip() -> None:
            while drop:
                await asyncio.sleep(0.1)
                client.send(drop)

        drops = asyncio.ensure_future(drip())
        try:
            assert await asyncio.wait_for(client.reader.read(), LIMIT) == b""
        except ConnectionResetError:
            pass
        drops.cancel()


# -- TLS towards upstreams ---------------------------------------------------------------------------------------------


class Certificates(NamedTuple):
    """`ca`: the file for ssl_verify; the others: certificate and key in one file."""

    ca: Path
    good: Path
    too_old: Path
    wrong_host: Path
    self_signed: Path

    def context(self, which: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(getattr(self, which))
        return context


#: Extensions without which Python 3.13 refuses a signed certificate (VERIFY_X509_STRICT).
LEAF = "basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here")
    folder = tmp_path_factory.mktemp("tls")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=60)

    def make(name: str, days: str, names: str, is_signed: bool = True) -> Path:
        key, cert, both = (folder / f"{name}.{end}" for end in ("key", "crt", "pem"))
        if is_signed:
            (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n{LEAF}\n")
            openssl("req", *new, "-subj", f"/CN={name}", "-keyout", key.name, "-out", f"{name}.csr")
            openssl(
                *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
                *("-days", days),
                *("-extfile", f"{name}.ext", "-out", cert.name),
            )
        else:
            openssl(
                "req",
                "-x509",
                *new,
                "-days",
                days,
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName={names}",
                "-keyout",
                key.name,
                "-out",
                cert.name,
            )
        both.write_bytes(cert.read_bytes() + key.read_bytes())
        return both

    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(
        "req", "-x509", *new, "-days", "2", "-subj", "/CN=a2py test CA", *usage, "-keyout", "ca.key", "-out", "ca.pem"
    )
    here = "DNS:localhost,IP:127.0.0.1,DNS:models.test"
    return Certificates(
        folder / "ca.pem",
        make("good", "2", here),
        make("expired", "-1", here),
        make("wrong", "2", "DNS:other.example"),
        make("self", "2", here, is_signed=False),
    )


@pytest.mark.parametrize(
    ("which", "verify", "says"),
    [
        ("good", "ca", ""),
        ("good", "directory", ""),
        ("good", "", "certificate"),
        ("too_old", "ca", "expired"),
        ("wrong_host", "ca", "match"),
        ("self_signed", "ca", "self"),
        ("self_signed", "off", ""),
    ],
)
async def test_tls_of_the_upstream(
    certificates: Certificates, tmp_path: Path, which: str, verify: str, says: str
) -> None:
    directory = tmp_path / "cas"
    directory.mkdir()
    shutil.copy(certificates.ca, directory / "ca.pem")
    await asyncio.to_thread(subprocess.run, ["openssl", "rehash", str(directory)], check=True, capture_output=True)
    values = {"ca": str(certificates.ca), "directory": str(directory), "off": False}
    more = {"ssl_verify": values[verify]} if verify else {}
    async with ScriptedServer(answering("Hel", "lo"), tls=certificates.context(which)) as upstream:
        with process.running(tmp_path, [model_entry("once", upstream.base, **more)]) as proxy:
            answer = await Real(proxy, 0).ask()
        if says:
            assert (
                answer.status == 502
                and says in answer.json["error"]["message"]
                and answer.headers["x-should-retry"] == "false"
            )
            assert not upstream.requests, "the key travelled"
        else:
            right(answer)


# -- TLS towards clients -----------------------------------------------------------------------------------------------


async def test_tls_server(certificates: Certificates, tmp_path: Path) -> None:
    """--ssl_keyfile_path and --ssl_certfile_path: a paced stream, a large body, keep-alive, a client that leaves; plain
    HTTP and TLS 1.1 get nothing."""
    go, departure = asyncio.Event(), asyncio.Event()

    async def script(c: Peer) -> None:
        if "leave" in c.request.body.decode():
            c.head(200, SSE)
            c.chunk(START)
            await c.wait_disconnect()
            departure.set()
        elif "paced" in c.request.body.decode():
            c.head(200, SSE)
            c.chunk(START)
            await c.drain()
            await go.wait()
            c.events(
                chunk({"content": "lo"}), chunk({}, "stop"), chunk(usage={"prompt_tokens": 1, "completion_tokens": 1})
            )
            c.end()
        else:
            await answering("Hel", "lo")(c)

    async with ScriptedServer(script) as upstream:
        (tmp_path / "a2py.yaml").write_text(
            json.dumps(
                {
                    "model_list": [model_entry("once", upstream.base)],
                    "general_settings": {"master_key": KEY},
                    "a2py": {"discover": False},
                }
            )
        )
        cert, key = certificates.good.with_suffix(".crt"), certificates.good.with_suffix(".key")
        with serving(
            "--port", "0", "--ssl_certfile_path", str(cert), "--ssl_keyfile_path", str(key), cwd=tmp_path
        ) as running:
            port = int((await asyncio.to_thread(lambda: running.url)).rpartition(":")[2])
            trusting = ssl.create_default_context(cafile=str(certificates.ca))

            async with secure(port, trusting) as client:
                for content in ("x" * (8 << 20), "again"):
                    client.ask("POST", "/v1/messages", message(content=content), (("x-api-key", KEY),))
                    right(await client.answer())
                client.ask("POST", "/v1/messages", message(content="paced"), (("x-api-key", KEY),))
                await client.head()
                assert b"Hel" in await client.piece()
                go.set()
                assert b"lo" in await client.piece()
            async with secure(port, trusting) as client:
                client.ask("POST", "/v1/messages", message(content="leave"), (("x-api-key", KEY),))
                await client.head()
                await client.piece()
            await asyncio.wait_for(departure.wait(), 5)
            async with Raw(port) as plain:
                plain.ask("GET", "/")
                assert await asyncio.wait_for(plain.reader.read(), 10) == b""
            old = ssl.create_default_context(cafile=str(certificates.ca))
            old.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning):
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", port, ssl=old, server_hostname="localhost")


@asynccontextmanager
async def secure(port: int, context: ssl.SSLContext) -> AsyncIterator[Raw]:
    client = Raw(port)
    client.reader, client.writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    try:
        yield client
    finally:
        client.writer.close()
        try:
            await client.writer.wait_closed()
        except OSError:
            pass


# -- proxies on the way to upstreams -----------------------------------------------------------------------------------


class Gate:
    """A tiny proxy: CONNECT to anywhere leads to `target`, any other method is answered as the upstream would. `login`:
    what it asks for."""

    def __init__(self, target: int, login: str = "") -> None:
        self.target = target
        self.login = login
        self.heads: list[Request] = []
        self.bytes: list[bytes] = []

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        self.heads.append(request)
        if self.login and request.headers.get("proxy-authorization") != self.login:
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\ncontent-length: 0\r\n\r\n"
            )
            writer.close()
            return
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", self.target)
        if request.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            inner.write(request.raw_head + request.body)
        await asyncio.gather(self._copy(reader, inner), self._copy(inner_reader, writer))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                self.bytes.append(data)
                sink.write(data)
        except OSError:
            pass
        sink.close()


def own_address() -> str:
    """Return an address of this machine that is not loopback; "" if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        address = str(probe.getsockname()[0])
    return "" if address.startswith("127.") else address


async def test_the_environments_proxy(certificates: Certificates, tmp_path: Path) -> None:
    """https by CONNECT (the gate sees neither key nor content, and knows the name alone), http in absolute form; not
    for NO_PROXY, not for loopback; a wrong password is an error that does not repeat it."""
    near = own_address()
    async with (
        ScriptedServer(answering("Hel", "lo"), tls=certificates.context("good")) as secret,
        ScriptedServer(answering("Hel", "lo"), host="0.0.0.0") as open_,
        Gate(secret.port, "Basic dXNlcjpwQHNzd29yZA==") as gate,
        Gate(open_.port) as plain,
    ):
        models = [
            model_entry("tls", "https://models.test/v1", ssl_verify=str(certificates.ca)),
            model_entry("http", "http://models.test/v1"),
            model_entry("loopback", f"http://127.0.0.1:{open_.port}/v1"),
            model_entry("excluded", f"http://{near or '127.0.0.1'}:{open_.port}/v1"),
        ]
        env = {
            "HTTPS_PROXY": f"http://user:p%40ssword@127.0.0.1:{gate.port}",
            "HTTP_PROXY": f"http://127.0.0.1:{plain.port}",
        }
        with process.running(tmp_path, models, env={**env, "NO_PROXY": f"{near},.internal"}, **PLAIN) as proxy:
            ask = Real(proxy, 0).ask
            right(await ask("tls"))
            assert [(request.method, request.target) for request in gate.heads] == [("CONNECT", "models.test:443")]
            assert b"sk-upstream" not in b"".join(gate.bytes) + gate.heads[0].raw_head and b"Hello" not in b"".join(
                gate.bytes
            )
            right(await ask("http"))
            assert plain.heads[0].target == "http://models.test/v1/chat/completions"
            right(await ask("loopback"))
            right(await ask("excluded"))
            assert len(plain.heads) == 1 and len(open_.requests) == 3
        with process.running(
            tmp_path, models, env={**env, "HTTPS_PROXY": f"http://user:wr0ngpass@127.0.0.1:{gate.port}"}, **PLAIN
        ) as proxy:
            answer = await Real(proxy, 0).ask("tls")
            assert answer.status == 502 and "HTTPS_PROXY" in answer.json["error"]["message"]
        assert b"wr0ngpass" not in answer.body and "wr0ngpass" not in proxy.log.read_text()


# -- nginx and HAProxy in front ----------------------------------------------------------------------------------------

NGINX = """{user} daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream a2py {{ server 127.0.0.1:{target}; keepalive 8; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://a2py; proxy_read_timeout 300s; {more} }} }}
}}
"""
HAPROXY = """defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{target}
"""
#: Name → (program, configuration, arguments, whether connections to a2py are kept).
FRONTS: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    "nginx": (
        "nginx",
        NGINX.replace("{more}", 'proxy_http_version 1.1; proxy_set_header Connection "";'),
        ("-c", "{file}", "-e", "{dir}/error.log"),
        True,
    ),
    "nginx-as-it-comes": ("nginx", NGINX.replace("{more}", ""), ("-c", "{file}", "-e", "{dir}/error.log"), False),
    "haproxy": ("haproxy", HAPROXY, ("-db", "-f", "{file}"), True),
}


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest, real: Real, tmp_path: Path) -> Iterator[tuple[Raw, bool]]:
    """A client that is connected to a server in front of a2py, and whether that keeps its connections."""
    program, text_, args, keeps = FRONTS[request.param]
    executable = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if not executable:
        pytest.skip(f"{program} is not installed (apt-get install nginx-light haproxy)")
    port, file = free_port(), tmp_path / "front.conf"
    file.write_text(text_.format(dir=tmp_path, port=port, target=real.port, user="" if os.getuid() else "user root;"))
    command = [executable, *(arg.format(dir=tmp_path, file=file) for arg in args)]
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
        yield Raw(port), keeps
    finally:
        running.terminate()
        running.wait(20)


async def connections(real: Real) -> int:
    """Connections to a2py now, without the one that asks."""
    async with Raw(real.port) as client:
        client.ask("GET", "/metrics", None, (("x-api-key", KEY),))
        lines = (await client.answer()).body.decode().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("a2py_connections ")) - 1


@pytest.mark.real
async def test_behind_a_server(front: tuple[Raw, bool], real: Real) -> None:
    """Each event comes through at once, a large body arrives, connections are kept, a client that leaves is seen by the
    upstream."""
    go, departure = asyncio.Event(), asyncio.Event()
    turns: list[asyncio.Event] = [asyncio.Event() for _ in range(20)]
    head = (("x-api-key", KEY),)

    async def script(c: Peer) -> None:
        content = c.request.json["messages"][-1]["content"]
        if content not in ("paced", "leave"):
            await answering("Hel", "lo")(c)
            return
        c.head(200, SSE)
        c.chunk(START)
        if content == "leave":
            await c.wait_disconnect()
            departure.set()
            return
        for n, turn in enumerate(turns):
            await c.drain()
            await turn.wait()
            c.events(chunk({"content": f"<{n}>"}))
        c.events(chunk({}, "stop"), chunk(usage={"prompt_tokens": 1, "completion_tokens": 1}), b"data: [DONE]\n\n")
        c.end()

    client, keeps = front
    async with ScriptedServer(script, port=real.upstream) as upstream:
        async with client:
            client.ask("POST", "/v1/messages", message(content="paced"), head)
            status, headers = await client.head()
            assert status == 200 and headers["content-type"].startswith("text/event-stream")
            data = b""
            for n, turn in enumerate(turns):  # a buffer anywhere would hold the event back, and this for ever
                turn.set()
                while b"<%d>" % n not in data:
                    data += await client.piece()
            while piece := await client.piece():
                data += piece
            assert b"message_stop" in data
            for n in range(10):
                client.ask("POST", "/v1/messages", message(stream=bool(n % 2)), head)
                right(await client.answer(), bool(n % 2))
            assert (await connections(real) >= 1) == keeps
            client.ask("POST", "/v1/messages", message(content="x" * (20 << 20)), head)
            right(await client.answer())
            assert len(upstream.requests[-1].body) > 20 << 20
            client.ask("POST", "/v1/messages", message(model="nobody"), head)
            assert (await client.answer()).status == 502
            client.ask("GET", "/v1/models", None)
            assert (await client.answer("GET")).status == 401
            client.ask("POST", "/v1/messages", message(content="leave"), head)
            await client.head()
            await client.piece()
        await asyncio.wait_for(departure.wait(), 5)
        go.set()
