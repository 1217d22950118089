"""The SSE parser against a slow reading of the HTML standard, at every cut."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py import sse
from a2py.sse import SSEParser


def parse(*pieces: bytes) -> list[tuple[bytes, bytes]]:
    parser = SSEParser()
    out = [event for piece in pieces for event in parser.feed(piece)]
    return out + parser.close()


def slow(data: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm, line by line over the whole body; an unfinished last event counts, as we want it."""
    out: list[tuple[bytes, bytes]] = []
    name = b""
    fields: list[Any] = []
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    for line in [*re.split(rb"\r\n|\r|\n", data), b""]:
        if not line:
            if fields:
                out.append((name, b"\n".join(fields)))
            name, fields = b"", []
            continue
        field, _, value = line.lstrip(b" ").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            fields.append(value)
        elif field == b"event":
            name = value
        elif field[:1] == b"{":  # not the standard's: an error that forgot its field
            fields.append(line)
    return out


BODIES = {
    "lf": b"data: a\n\ndata: b\n\n",
    "crlf": b"data: a\r\n\r\ndata: b\r\n\r\n",
    "cr": b"data: a\r\rdata: b\r\r",
    "mixed": b"data: a\r\n\ndata: b\r\r\ndata: c\n\r\ndata: d\r\n\r",
    "byte order mark": b"\xef\xbb\xbfdata: a\n\n",
    "half a byte order mark": b"\xef\xbbdata: a\n\ndata: b\n\n",
    "only a byte order mark": b"\xef\xbb\xbf",
    "byte order mark inside": b"data: \xef\xbb\xbfa\n\n\xef\xbb\xbfdata: b\n\n",
    "no space": b"data:a\n\n",
    "two spaces": b"data:  a\n\n",
    "space before the field": b" data: a\n\n",
    "comments": b": PROCESSING\n\n:\n\ndata: a\n: between\ndata: b\n\n",
    "names": b"event: x\ndata: a\n\ndata: b\n\nevent: lost\n\ndata: c\nevent: late\n\n",
    "id and retry": b"id: 1\nretry: 3000\ndata: a\n\n",
    "several data lines": b"data: a\ndata\ndata:\ndata: b\n\n",
    "empty data": b"data\n\ndata:\n\n",
    "no blank line at the end": b"data: a\n\ndata: b",
    "no line end at the end": b"data: a\n\ndata: b\n",
    "name at the end": b"data: a\n\nevent: x",
    "extra blank lines": b"\n\n\ndata: a\n\n\n\n\r\n\ndata: b\n\n",
    "nothing": b"",
    "no SSE": b'{"error": {"message": "no"}}',
    "html": b"<html>\r\n<body>502</body>\r\n</html>",
    "colon in the value": b'data: {"a": "b: c"}\n\n',
    "field names": b"dat: a\ndata : b\nDATA: c\ndatax: d\n\ndata: e\n\n",
    "utf-8": "data: \u20ac \U0001f600\n\n".encode(),
    "other line ends are text": b"data: a\x0bb\x0cc\xc2\x85d\xe2\x80\xa8e\n\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_every_cut_gives_what_the_standard_says(name: str) -> None:
    data = BODIES[name]
    expected = slow(data)
    assert parse(data) == expected
    assert parse(*[data[n : n + 1] for n in range(len(data))]) == expected
    for a in range(len(data) + 1):
        assert parse(data[:a], data[a:]) == expected, a
        for b in range(a, min(a + 4, len(data) + 1)):
            assert parse(data[:a], data[a:b], b"", data[b:]) == expected, (a, b)


def test_what_the_slow_reading_means() -> None:
    """A few by hand, so that both are not wrong together."""
    assert parse(BODIES["several data lines"]) == [(b"", b"a\n\n\nb")]
    assert parse(BODIES["names"]) == [(b"x", b"a"), (b"", b"b"), (b"late", b"c")]
    assert parse(BODIES["no blank line at the end"]) == [(b"", b"a"), (b"", b"b")]
    assert parse(BODIES["mixed"]) == [(b"", b"a"), (b"", b"b"), (b"", b"c"), (b"", b"d")]
    assert parse(BODIES["only a byte order mark"]) == []
    assert parse(b'data: a\n\n{"error": 1}\n') == [(b"", b"a"), (b"", b'{"error": 1}')]


pieces = st.sampled_from(
    [
        b"data",
        b"event",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"a",
        b"\xef\xbb\xbf",
        b"\xef",
        b"data: x",
        b"id: 1",
    ]
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=40), st.lists(st.integers(0, 200), max_size=6))
def test_any_body_any_cuts(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    places = sorted({min(cut, len(data)) for cut in cuts})
    assert parse(*(data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True))) == slow(data)


def test_an_event_is_given_out_with_its_blank_line_and_not_later() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\r") == [(b"", b"a")]
    assert parser.feed(b"\ndata: b\r\r") == [(b"", b"b")]
    assert parser.close() == []


@pytest.mark.parametrize(
    "piece",
    [b"x" * 32, b"data: " + b"x" * 26 + b"\n", b"data:\n", b"data: x\ndata:"],
    ids=["a line", "long data lines", "empty data lines", "cut data lines"],
)
def test_an_endless_event_is_cut_off_and_the_rest_ignored(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(sse, "LINE_LIMIT", 256)
    parser = SSEParser()
    size = 0
    while not parser.overflow and size < 2000:
        parser.feed(piece)
        size += len(piece)
    assert parser.overflow
    assert parser.feed(b"\n\ndata: late\n\n") == []
    assert parser.close() == []


def test_events_under_the_limit_never_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LINE_LIMIT", 256)
    parser = SSEParser()
    for _ in range(100):
        assert len(parser.feed(b"data: " + b"x" * 100 + b"\ndata: y\n\nda")) == 1
        assert parser.feed(b"ta: z\n") == []
        assert len(parser.feed(b"\n: comment\n")) == 1
    assert not parser.overflow


def test_an_event_of_many_lines_in_many_feeds() -> None:
    parser = SSEParser()
    for _ in range(20_000):
        parser.feed(b"data: x\n")
    [(_, data)] = parser.feed(b"\n")
    assert data == b"\n".join([b"x"] * 20_000)
