"""Generated responses: what is well-made is read as it was meant, what is damaged keeps the reader's promises
(`reading.check`)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.http1.reading import Reading, check, ours

TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(lambda name: f"x-{name}")
#: What a header may hold, without blanks around it.
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=20).map(
    lambda value: value.strip(" ")
)
#: Bodies that look like framing, too.
WORDS = st.sampled_from(
    [b"data: {}\n\n", b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"x", b"\n", b"a" * 40, b"\r", b"f" * 300, b"1;x=y\r\n"]
)
BODY = st.lists(WORDS, max_size=8).map(b"".join)
EXTENSION = st.sampled_from([b"", b"", b"", b" ", b"\t ", b";a", b";a=b;c", b';a="b;c\\"d"', b"; a = b "])

Draw = Callable[..., Any]


def chunk_body(draw: Draw, body: bytes, end: bytes) -> bytes:
    """`body` in chunks. `end`: the line end."""
    out = b""
    while body:
        size = draw(st.integers(1, len(body)))
        digits = f"{size:{draw(st.sampled_from('xX'))}}".rjust(draw(st.integers(0, 6)), "0").encode()
        extension = draw(EXTENSION)
        out += digits + extension + (b"\r\n" if b";" in extension else end) + body[:size] + end
        body = body[size:]
    trailers = b"".join(
        b"%b: %b%b" % (name.encode(), value.encode("latin-1"), end)
        for name, value in draw(st.lists(st.tuples(TOKEN, VALUE)))
    )
    data: bytes = out + b"0" * draw(st.integers(1, 4)) + end + trailers + end
    return data


@st.composite
def responses(draw: Draw) -> tuple[bytes, Reading]:
    """A response that nothing is wrong with, and what it says."""
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    minor, status = draw(st.sampled_from([(1, 200), (1, 429), (1, 599), (0, 200), (1, 204), (1, 304)]))
    headers = draw(st.dictionaries(TOKEN.map(str.lower), VALUE, max_size=5))
    connection = draw(st.sampled_from(["", "close", "keep-alive", "x, Keep-Alive"]))
    body = draw(BODY) if status not in (204, 304) else b""
    framing = draw(st.sampled_from(["length", "chunks", "close"] if minor else ["length", "close"]))
    own_headers = {**headers, **({"connection": connection} if connection else {})}
    keeps = framing != "close" and connection != "close" and (minor == 1 or bool(connection))
    fields, payload = dict(own_headers), body
    if status in (204, 304):
        keeps = connection != "close"
    elif framing == "length":
        fields["content-length"] = str(len(body))
    elif framing == "chunks":
        fields["transfer-encoding"], payload = (
            draw(st.sampled_from(["chunked", "Chunked"])),
            chunk_body(draw, body, end),
        )
    blanks = st.sampled_from(["", " ", " \t "])
    lines = [
        f"HTTP/1.{minor} {status} {draw(VALUE)}",
        *(f"{name}:{draw(blanks)}{value}{draw(blanks)}" for name, value in fields.items()),
    ]
    codes = draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    interim = b"".join(b"HTTP/1.1 %d X%bx: y%b%b" % (code, end, end, end) for code in codes)
    return interim + b"".join(line.encode("latin-1") + end for line in lines) + end + payload, Reading(
        status, own_headers, body, "", keeps
    )


@st.composite
def damaged_responses(draw: Draw) -> bytes:
    """A response of which bytes were lost, doubled, changed or put in."""
    data: bytes = draw(responses())[0]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 3))
        new = draw(
            st.sampled_from(
                [
                    b"",
                    b"\n",
                    b"\r",
                    b"\r\n",
                    b" ",
                    b"g",
                    b"0",
                    b":",
                    b",",
                    b";",
                    b'"',
                    b"\0",
                    b"\xff",
                    data[at : at + 9] * 2,
                ]
            )
        )
        data = data[:at] + new + data[at + cut :]
    return data


@given(responses(), st.integers())
def test_well_made_responses(response: tuple[bytes, Reading], seed: int) -> None:
    data, meant = response
    assert check(data, random.Random(seed)) == meant
    assert ours([data[n : n + 1] for n in range(len(data))]) == meant


@given(damaged_responses(), st.integers())
def test_damaged_responses(data: bytes, seed: int) -> None:
    check(data, random.Random(seed))


@given(st.binary(max_size=200), st.integers())
def test_any_bytes(data: bytes, seed: int) -> None:
    dice = random.Random(seed)
    check(data, dice)
    check(b"HTTP/1.1 200 OK\r\n" + data, dice)
    check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data, dice)
