"""Our reader beside h11 and aiohttp's C parser: where the three differ, what we do, and why.

Knows: all differences over the responses of hostile.py, in one table. A difference that is not in it fails, and so does
one that is gone. The decisions: what aiohttp's lenient mode takes, so that a2py took it before it had a parser of its
own, stays accepted if it has one possible meaning. What could be read in two ways is an error. (aiohttp 3.14 with
llhttp 9, h11 0.16; 2026-11)"""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from tests import golden
from tests.http1.hostile import CHUNKED, FIVE, LAST, OK, RESPONSES
from tests.http1.reading import Reading, by_aiohttp, by_h11, ours, outcomes, read
from tests.recordings import WIRE, Recording, load


class Difference(NamedTuple):
    """`ours`, `h11`, `aiohttp`: as `Reading.__str__` says it; " or " between what depends on the split."""

    names: tuple[str, ...]
    ours: str
    h11: str
    aiohttp: str
    reason: str


HELLO, CLOSES, ERROR = "200 'hello'", "200 'hello' close", "error"
RAW_CHUNKS = "200 '5\\r\\nhello\\r\\n0\\r\\n\\r\\n' close"

DIFFERENCES = (
    # -- status line ---------------------------------------------------------------------------------------------------
    Difference(("reason: NUL",), ERROR, ERROR, HELLO, "NUL ends a string for some parsers and not for others"),
    Difference(
        ("status 000",),
        ERROR,
        ERROR,
        "0 'hello'",
        "no status code: its first digit is its class (RFC 9110, section 15)",
    ),
    Difference(("status 099",), ERROR, ERROR, "99 'hello'", "as 000"),
    Difference(
        ("HTTP/0.9",), ERROR, CLOSES, CLOSES, "HTTP/0.9 has no status line, so this is no response of any version"
    ),
    Difference(
        ("HTTP/1.2",),
        ERROR,
        HELLO,
        ERROR,
        "there is no such version; who says so is not a server that we know how to read",
    ),
    Difference(("HTTP/2.0",), ERROR, HELLO, CLOSES, "HTTP/2 has no status line"),
    # -- lines ---------------------------------------------------------------------------------------------------------
    Difference(
        ("obs-fold", "obs-fold with a tab", "obs-fold of a length"),
        ERROR,
        HELLO,
        HELLO,
        "RFC 9112, section 5.2, has been against it since 2014, and parsers disagree about what it joins",
    ),
    Difference(("obs-fold after the status",), ERROR, ERROR, HELLO, "there is no line that it could continue"),
    Difference(
        ("a blank line of blanks first",),
        ERROR,
        ERROR,
        "200 'Content-Length: 5\\r\\n\\r' close",
        "aiohttp takes it for the end of the head: two readings",
    ),
    Difference(("a blank line of blanks last",), ERROR, HELLO, ERROR, "as the one before, which is obs-fold"),
    Difference(
        ("empty line first", "empty line of LF first", "empty lines first", "100 and an empty line"),
        HELLO,
        ERROR,
        HELLO,
        "what is left of a response before: it says nothing, so there is one meaning",
    ),
    Difference(("CR first", "CR CR LF first"), ERROR, ERROR, HELLO, "a CR alone is an error everywhere"),
    # -- names and values ----------------------------------------------------------------------------------------------
    Difference(
        ("value: vertical tab", "value: form feeds around"),
        HELLO,
        ERROR,
        HELLO,
        "control characters end no line for anybody, and RFC 9110, section 5.5, lets recipients keep them",
    ),
    Difference(
        ("blank before a length's colon", "blank before a coding's colon"),
        ERROR,
        ERROR,
        HELLO,
        "aiohttp refuses it in all other names; some parsers do not know the header then, and read on to the end",
    ),
    # -- how many, how long --------------------------------------------------------------------------------------------
    Difference(("200 headers", "trailers: 200"), HELLO, HELLO, ERROR, "MAX_HEADERS is 200; aiohttp's limit is 128"),
    Difference(("201 headers", "trailers: 201"), ERROR, HELLO, ERROR, "MAX_HEADERS; h11 has no limit"),
    Difference(
        ("a value of 66,000 bytes", "trailers: 66,000 bytes"), ERROR, HELLO, ERROR, "MAX_HEAD; h11's limit is off here"
    ),
    Difference(
        ("two values of 40,000 bytes",),
        ERROR,
        HELLO,
        HELLO,
        "MAX_HEAD is for all of a head; aiohttp's is for each header",
    ),
    Difference(
        ("17 times 100", "1,000 times 100"),
        ERROR,
        HELLO,
        HELLO,
        "MAX_INTERIM: an endless wait, in which the client hears nothing",
    ),
    Difference(("two of 103, 40,000 bytes each",), ERROR, HELLO, HELLO, "MAX_HEAD is for all heads of a response"),
    # -- lengths -------------------------------------------------------------------------------------------------------
    Difference(("length of 30 zeros and 5",), HELLO, ERROR, HELLO, "leading zeros change nothing; h11 takes 20 digits"),
    Difference(
        ("length 2^64 - 1",),
        ERROR,
        ERROR,
        "200 '' or 200 '' close",
        "too large for a body; aiohttp uses the number as a mark",
    ),
    Difference(
        ("equal lengths", "equal lengths in a list"), HELLO, HELLO, ERROR, "one meaning (RFC 9110, section 8.6)"
    ),
    # -- codings -------------------------------------------------------------------------------------------------------
    Difference(
        ("length, then chunked", "chunked, then length"),
        CLOSES,
        HELLO,
        ERROR,
        "chunked wins (RFC 9112, section 6.3), so there is one meaning; a server that sends both is not asked again on this connection",
    ),
    Difference(
        ("HTTP/1.0 chunked keep-alive",),
        CLOSES,
        CLOSES,
        HELLO,
        "HTTP/1.0 has no chunks: RFC 9112, section 6.1, wants it closed",
    ),
    Difference(("HTTP/1.0 keep-alive",), HELLO, CLOSES, HELLO, "h11 never keeps a connection of HTTP/1.0"),
    Difference(("coding: none",), CLOSES, ERROR, CLOSES, "an empty list names no coding (RFC 9110, section 5.6.1)"),
    Difference(("coding: none, and a length",), HELLO, ERROR, HELLO, "as the one before"),
    Difference(
        ("coding ,chunked",), HELLO, ERROR, HELLO, "empty members of a list are skipped (RFC 9110, section 5.6.1)"
    ),
    Difference(
        ("coding chunked,",), HELLO, ERROR, RAW_CHUNKS, "as the one before; aiohttp gives the chunks out as the body"
    ),
    Difference(
        ("coding identity",),
        CLOSES,
        ERROR,
        CLOSES,
        "RFC 2616's name for no coding: the body lasts until the connection closes",
    ),
    Difference(("coding identity, chunked",), HELLO, ERROR, HELLO, "no coding, then chunked"),
    Difference(
        ("coding chunked, chunked", "chunked in two lines"),
        HELLO,
        ERROR,
        HELLO,
        "gateways that copy the header of the server behind them send it; chunks in chunks are forbidden (RFC 9112, section 6.1)",
    ),
    Difference(
        ("coding gzip",),
        ERROR,
        ERROR,
        CLOSES,
        "the body would be compressed, and a2py asks for none such (no TE header)",
    ),
    Difference(("coding gzip, chunked",), ERROR, ERROR, HELLO, "as the one before"),
    Difference(
        (
            "coding chunked, identity",
            "coding chunked, gzip",
            "coding chunked;q=1",
            "coding xchunked",
            "coding chunkedx",
        ),
        ERROR,
        ERROR,
        RAW_CHUNKS,
        "chunked or not: two readings, and aiohttp's gives the chunks out as the body",
    ),
    Difference(('coding "chunked"', "coding and vertical tab"), ERROR, ERROR, RAW_CHUNKS, "as the ones before"),
    # -- statuses that say something about the body --------------------------------------------------------------------
    Difference(
        ("100 of HTTP/1.0", "100 that closes"),
        HELLO,
        HELLO,
        ERROR,
        "an interim response is no end of anything (RFC 9110, section 15.2): what counts is the final one",
    ),
    Difference(("101", "101 without an upgrade"), ERROR, ERROR, "101 '' close", "a2py asks for no other protocol"),
    Difference(
        ("204 with a body", "204 with chunks"),
        "204 '' close",
        "204 '' close",
        "204 '' close or error",
        "there is no body (RFC 9112, section 6.3), so what comes is surplus; aiohttp loses the response if both come in one read",
    ),
    # -- afterwards ----------------------------------------------------------------------------------------------------
    Difference(
        ("surplus bytes", "end: surplus bytes"),
        CLOSES,
        CLOSES,
        f"{CLOSES} or error",
        "the response is whole; aiohttp loses it if its end and the surplus come in one read",
    ),
    Difference(
        ("no body, surplus bytes",), "200 '' close", "200 '' close", "200 '' close or error", "as the ones before"
    ),
    Difference(
        ("length too small",), "200 'hell' close", "200 'hell' close", "200 'hell' close or error", "as the ones before"
    ),
    Difference(
        ("surplus empty line", "end: surplus empty line"),
        CLOSES,
        CLOSES,
        f"{HELLO} or {CLOSES}",
        "a connection on which anything arrives unasked is not used again",
    ),
    # -- chunks --------------------------------------------------------------------------------------------------------
    Difference(
        ("size: 30 leading zeros", "size: 4,000 leading zeros"), HELLO, ERROR, HELLO, "one meaning; h11 takes 20 digits"
    ),
    Difference(
        ("size: too large by one",),
        "200 'hello\\r'",
        ERROR,
        "200 'hello\\r'",
        "the price of the LF after a chunk's data: the size says that the CR is data",
    ),
    Difference(
        ("chunk's line end: LF after the data",),
        HELLO,
        ERROR,
        HELLO,
        "the size says where the data ends, so there is one meaning",
    ),
    Difference(
        (
            "chunk's line end: LF for all",
            "chunk's line end: LF after the size",
            "chunk's line end: LF after the last size",
            "chunk's line end: LF LF at the end",
        ),
        HELLO,
        ERROR,
        ERROR,
        "servers that write their framing by hand write LF everywhere; behind a size without an extension it has one meaning",
    ),
    Difference(
        ("extension: LF at the end", "extension: LF after a value", "extension: LF after quotes"),
        ERROR,
        ERROR,
        HELLO,
        "some parsers read an extension on to the next CRLF: two readings",
    ),
    Difference(
        ("extension: open quote", "extension: open quote after an escape", "extension: CR in quotes"),
        ERROR,
        HELLO,
        ERROR,
        "some parsers read a quoted text on past line ends: two readings",
    ),
    Difference(("extension: CR", "extension: CR at the end"), ERROR, HELLO, ERROR, "a CR alone is an error everywhere"),
    Difference(
        ("extension: NUL", "extension: control character"),
        ERROR,
        HELLO,
        ERROR,
        "no grammar has them there, and no server sends them",
    ),
    Difference(
        (
            "extension: none",
            "extension: two of none",
            "extension: blank after ;",
            "extension: blanks around =",
            "extension: blank at the end",
            "extension: tab after ;",
            "extension: above 127",
        ),
        HELLO,
        HELLO,
        ERROR,
        "extensions are skipped, and these leave no doubt where they end",
    ),
    Difference(("extension: blank before",), HELLO, ERROR, HELLO, "blanks after a chunk size change nothing"),
    Difference(("extension: 4,100 bytes", "extension: 20,000 bytes"), ERROR, HELLO, HELLO, "MAX_CHUNK_LINE"),
    # -- trailers ------------------------------------------------------------------------------------------------------
    Difference(("trailers: obs-fold",), ERROR, HELLO, HELLO, "as in a head"),
    Difference(("trailers: NUL",), ERROR, ERROR, HELLO, "as in a head"),
    Difference(
        ("trailers: length",), HELLO, HELLO, ERROR, "trailers are dropped, whatever they say (RFC 9110, section 6.5.1)"
    ),
)
BY_NAME = {name: difference for difference in DIFFERENCES for name in difference.names}


def describe(readings: list[Reading]) -> str:
    return " or ".join(sorted({str(one) for one in readings}))


@pytest.mark.parametrize("name", RESPONSES)
def test_differences(name: str) -> None:
    data = RESPONSES[name]
    read(data)
    results = [outcomes(parser, data) for parser in (ours, by_h11, by_aiohttp)]
    if name in BY_NAME:
        assert tuple(map(describe, results)) == BY_NAME[name][1:4], "a difference is another one today"
        assert not results[0] == results[1] == results[2], "a difference is gone"
    else:
        assert results[0] == results[1] == results[2], (
            f"a difference that is not in the table: {[*map(describe, results)]}"
        )


def test_the_table_is_about_these_responses() -> None:
    assert len(BY_NAME) == sum(len(difference.names) for difference in DIFFERENCES)
    assert set(BY_NAME) <= set(RESPONSES)
    assert all(difference.reason for difference in DIFFERENCES)


def test_the_comparison_can_fail() -> None:
    """Headers and the future of the connection count, too."""
    plain = ours([OK + FIVE])
    for other in (
        OK + b"X: a\r\n" + FIVE,
        OK + b"Connection: close\r\n" + FIVE,
        OK + FIVE + b"x",
        OK + FIVE[:-1],
        OK + FIVE[:-1] + b"0",
    ):
        for parser in (ours, by_h11, by_aiohttp):
            assert parser([OK + FIVE]) == plain
            assert parser([other]) != plain


# -- real bodies -------------------------------------------------------------------------------------------------------

#: Bytes of a body that is read at every split, in the framing that has everything.
SMALL = 300


def frame_body(body: bytes, dice: random.Random) -> dict[str, bytes]:
    """`body` in every framing that a server may choose."""
    places = sorted(dice.randrange(len(body) + 1) for _ in range(min(40, len(body) // 20)))
    parts = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True) if b > a]
    plain = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    odd = b"".join(
        b"%04X%b\r\n%b\r\n" % (len(part), dice.choice((b";a", b';b="c;d"', b" ", b"")), part) for part in parts
    )
    return {
        "length": OK + b"Content-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        "chunks": OK + CHUNKED + b"\r\n" + plain + LAST,
        "one chunk": OK + CHUNKED + b"\r\n" + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + LAST,
        "extensions and trailers": OK + CHUNKED + b"\r\n" + odd + b"0;last\r\nX-Checksum: abc\r\nX-Time: 1\r\n\r\n",
        "until close": OK + b"Connection: close\r\n\r\n" + body,
        "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + body,
    }


def check_framings(body: bytes) -> None:
    dice = random.Random(len(body))
    for framing, data in frame_body(body, dice).items():
        expected = ours([data])
        assert (expected.body, expected.error) == (body, ""), framing
        places = sorted(dice.randrange(len(data)) for _ in range(30))
        cuts = [[data], [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]]
        for pieces in cuts:
            for parser in (ours, by_h11, by_aiohttp):
                assert parser(pieces) == expected, (framing, parser)
        if framing == "extensions and trailers" and len(body) <= SMALL:
            read(data)


RECORDINGS = [pytest.param(one, id=one.file) for one in load()] or [
    pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no recordings in {WIRE}"))
]


@pytest.mark.parametrize("recording", RECORDINGS)
def test_recordings(recording: Recording) -> None:
    check_framings(recording.data)


def bodies(path: str) -> list[bytes]:
    steps = [step for case in golden.cases() if case.path.name == path for step in case.steps()]
    return [golden.upstream_bytes(block) for step in steps for name, block in step.blocks.items() if name == "upstream"]


@pytest.mark.parametrize("path", sorted({case.path.name for case in golden.cases()}))
def test_bodies_of_the_goldens(path: str) -> None:
    for body in bodies(path):
        check_framings(body)


def test_the_goldens_have_bodies() -> None:
    assert sum(len(bodies(path.name)) for path in golden.FOLDER.glob("*.md")) > 100
