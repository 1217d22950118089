"""The bench's client and shapes: a reply that is wrong in one byte is seen, pieces are found wherever reads and chunks
cut them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable

import pytest

from bench import bodies, client
from bench.client import Connection, Mismatch, Reply, check, check_unary
from bench.shapes import KINDS, SCRIPTS, STAMP, UNARY, WORDS, Plan, make_content, render, word

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def stamps(count: int) -> list[bytes]:
    return [b"%017d" % (1_000_000 * n) for n in range(count)]


def reply(body: bytes, cuts: list[int] | None = None, reads: int = 1, status: int = 200) -> Reply:
    """A chunked reply whose HTTP chunks end at `cuts`, received in `reads` reads at times 1, 2, 3 …"""
    edges = [0, *sorted(cuts or []), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(edges) if b > a]
    raw = HEAD.replace(b"200", b"%d" % status) + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    out = Reply()
    out.head, out.status = raw.partition(b"\r\n\r\n")[0], status
    step = -(-len(raw) // reads)
    for n, at in enumerate(range(0, len(raw), step)):
        out.parts.append(raw[at : at + step])
        out.size += len(out.parts[-1])
        out.reads.append((n + 1, out.size))
    return out


@pytest.mark.parametrize("wire", SCRIPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_right_reply_passes(wire: str, kind: str) -> None:
    plan = Plan(kind, 40)
    body = render(SCRIPTS[wire](plan), stamps(40))
    pieces = check(wire, plan, reply(body))
    assert [piece.stamp for piece in pieces] == [1_000_000 * n for n in range(40)]


@pytest.mark.parametrize("wire", SCRIPTS)
def test_every_lost_or_changed_byte_of_content_is_seen(wire: str) -> None:
    plan = Plan("text", len(WORDS))
    body = render(SCRIPTS[wire](plan), stamps(len(WORDS)))
    content = body.index(b"~")
    for at in range(content, body.rindex(b"~") + 2, 7):
        for wrong in (body[:at] + body[at + 1 :], body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]):
            try:
                pieces = check(wire, plan, reply(wrong))
            except Mismatch:
                continue
            is_changed = [piece.stamp for piece in pieces] != [1_000_000 * n for n in range(len(WORDS))]
            framing = wire == "anthropic" and client.events(wrong)  # JSON's own bytes may differ: the content does not
            assert is_changed or framing, f"byte {at} of {wire}"


def test_openai_is_compared_byte_for_byte() -> None:
    plan = Plan("text", 3)
    body = render(SCRIPTS["openai"](plan), stamps(3))
    for at in [n for n in range(len(body)) if not any(a <= n < b for a, b in (m.span() for m in STAMP.finditer(body)))]:
        with pytest.raises(Mismatch):
            check("openai", plan, reply(body[:at] + bytes([body[at] ^ 2]) + body[at + 1 :]))


def test_arrivals_survive_any_cut_of_chunks_and_reads() -> None:
    plan = Plan("text", 12)
    body = render(SCRIPTS["openai"](plan), stamps(12))
    dice = random.Random(1)
    for _ in range(60):
        cuts = dice.sample(range(1, len(body)), dice.randint(0, 30))
        answer = reply(body, cuts, dice.randint(1, 40))
        pieces = check("openai", plan, answer)
        raw = answer.raw
        for piece in pieces:  # the read that brought the last byte of the stamp's text
            digits = b"%017d" % piece.stamp
            if digits + b"~" in raw:
                end = raw.index(digits + b"~") + 18
                assert piece.arrival == next(time for time, size in answer.reads if size >= end)
        assert [p.arrival for p in pieces] == sorted(p.arrival for p in pieces)


def test_anthropic_faults_have_words() -> None:
    plan = Plan("text", 4)
    body = render(SCRIPTS["anthropic"](plan), stamps(4))
    stop = body.index(b"event: message_delta")
    faults: dict[str, bytes] = {
        "events begin with ['message_start'] and end with ['content_block_stop', 'message_stop']": body[:stop]
        + body[body.index(b"event: message_stop") :],
        "the stream ends within an event": body[:-1],
        "an error event": body[:stop]
        + b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n',
        "3 of 4 pieces": body.replace(b"~00000000003000000~", b""),
        "stop_reason 'tool_use'": body.replace(b'"end_turn"', b'"tool_use"'),
        "a delta outside its block": body.replace(
            b'"content_block_delta","index":0', b'"content_block_delta","index":1', 1
        ),
    }
    for words, wrong in faults.items():
        with pytest.raises(Mismatch, match="".join("\\" + c if c in "[]()" else c for c in words)):
            check("anthropic", plan, reply(wrong))
    with pytest.raises(Mismatch, match="status 500"):
        check("anthropic", plan, reply(body, status=500))


def test_pings_and_comments_are_no_fault() -> None:
    plan = Plan("text", 4)
    body = render(SCRIPTS["anthropic"](plan), stamps(4)).replace(
        b"event: content_block_stop", b': hello\n\nevent: ping\ndata: {"type": "ping"}\n\nevent: content_block_stop'
    )
    assert len(check("anthropic", plan, reply(body))) == 4
    assert len(check("anthropic", plan, reply(body.replace(b"\n", b"\r\n")))) == 4


@pytest.mark.parametrize("wire", UNARY)
def test_unary(wire: str) -> None:
    plan = Plan(size=3000)
    body = UNARY[wire](plan)
    check_unary(wire, plan, reply(body))
    with pytest.raises(Mismatch, match="differs at byte"):
        check_unary(wire, plan, reply(body.replace(b"quick", b"quack", 1)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-5],
        lambda raw: raw + b"x",
        lambda raw: raw.replace(b"\r\n1", b"\r\nz", 1),
        lambda raw: raw.replace(b"~ the", b"~the"),
    ],
)
def test_broken_framing_is_seen(damage: Callable[[bytes], bytes]) -> None:
    plan = Plan("text", 2)
    answer = reply(render(SCRIPTS["openai"](plan), stamps(2)), cuts=[300])
    answer.parts = [damage(answer.raw)]
    with pytest.raises(Mismatch):
        check("openai", plan, answer)


def test_arguments_are_json() -> None:
    plan = Plan("args", 2 * len(WORDS))
    value = json.loads(make_content(plan, stamps(2 * len(WORDS))))
    assert value["content"].startswith(f"~{0:017d}~{WORDS[0]}") and word("args", 6) == ' \\"quoted\\"'


async def test_a_connection_takes_length_chunked_and_close_delimited_replies() -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            for at in range(0, len(answer), 7):
                writer.write(answer[at : at + 7])
                await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        connection: Connection = await client.connect(server.sockets[0].getsockname()[1])
        for _ in answers:
            answer = await asyncio.wait_for(connection.ask(b"GET / HTTP/1.1\r\n\r\n"), 5)
            assert client.body_of(answer)[0] == b"hello"
        with pytest.raises(Mismatch, match="closed before the request"):
            await connection.ask(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.01)


def test_bodies_have_the_size_and_shape_of_claude_code() -> None:
    body = bodies.large()
    assert len(body["tools"]) == 20 and len(body["messages"]) == 33
    for wire in SCRIPTS:
        data = bodies.encode(wire, body)
        assert 95_000 < len(data) < 105_000
        assert data == bodies.encode(wire, bodies.large())
    turns = bodies.openai(body)["messages"]
    assert [turn["role"] for turn in turns[:4]] == ["system", "user", "assistant", "tool"]
    calls = {call["id"] for turn in turns for call in turn.get("tool_calls", ())}
    assert {turn["tool_call_id"] for turn in turns if turn["role"] == "tool"} == calls
