"""Compressed bodies: gzip and deflate, whole and damaged, at every split; nothing comes in large steps, nothing is
kept."""

from __future__ import annotations

import random
import sys
import zlib
from collections.abc import Iterable

import pytest

from a2py.http1 import CODINGS, BadResponse, Inflater
from a2py.http1.coding import INPUT, STEP
from tests.streams import splits

TEXT = b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n' * 4
#: Name → coding, zlib's window bits.
FORMS = {"gzip": ("gzip", 31), "x-gzip": ("x-gzip", 31), "deflate": ("deflate", 15), "raw deflate": ("deflate", -15)}
DAMAGE = "its compressed body is damaged"
TOO_EARLY = "its compressed body ends too early"
SURPLUS = "its compressed body is followed by something else"


def squeeze(data: bytes, bits: int, level: int = 9, *, flush_each: int = 0) -> bytes:
    """Compress. `flush_each`: bytes after which everything goes out, as a server does that streams."""
    make = zlib.compressobj(level, zlib.DEFLATED, bits)
    parts = [data[at : at + flush_each] for at in range(0, len(data), flush_each)] if flush_each else [data]
    return b"".join(make.compress(part) + make.flush(zlib.Z_SYNC_FLUSH) for part in parts) + make.flush()


def inflate(coding: str, pieces: Iterable[bytes]) -> tuple[bytes, str]:
    """The body, and the error ("" if it is whole)."""
    inflater = Inflater(coding)
    body: list[bytes] = []
    try:
        for piece in pieces:
            for step in inflater.pieces(piece):
                assert 0 < len(step) <= STEP
                body.append(step)
        inflater.close()
    except BadResponse as error:
        return b"".join(body), str(error)
    return b"".join(body), ""


def read(coding: str, data: bytes) -> tuple[bytes, str]:
    """The same at every split. What comes before an error depends on zlib's steps."""
    whole = inflate(coding, [data])
    for pieces in splits(data):
        result = inflate(coding, pieces)
        assert result == whole or (result[1] == whole[1] and whole[1]), [len(piece) for piece in pieces][:9]
    return whole


def test_codings() -> None:
    assert {coding for coding, _ in FORMS.values()} == set(CODINGS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "data", [TEXT, b"x", b"", random.Random(1).randbytes(300)], ids=["text", "one byte", "nothing", "noise"]
)
def test_whole_bodies(form: str, data: bytes) -> None:
    coding, bits = FORMS[form]
    for level in (0, 1, 9):
        assert read(coding, squeeze(data, bits, level)) == (data, "")
        assert read(coding, squeeze(data, bits, level, flush_each=50)) == (data, "")


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_body_is_whole(coding: str) -> None:
    assert read(coding, b"") == (b"", "")


@pytest.mark.parametrize("form", FORMS)
def test_each_flush_comes_out_at_once(form: str) -> None:
    coding, bits = FORMS[form]
    make = zlib.compressobj(9, zlib.DEFLATED, bits)
    inflater = Inflater(coding)
    for event in (b"data: a\n\n", b"data: b\n\n", b"x" * 3 * STEP):
        assert b"".join(inflater.pieces(make.compress(event) + make.flush(zlib.Z_SYNC_FLUSH))) == event


@pytest.mark.parametrize("form", FORMS)
def test_a_body_that_is_cut(form: str) -> None:
    coding, bits = FORMS[form]
    data = squeeze(TEXT, bits)
    for end in range(1, len(data)):
        body, error = inflate(coding, [data[:end]])
        assert TEXT.startswith(body) and error == TOO_EARLY


@pytest.mark.parametrize("form", FORMS)
def test_the_end_of_a_step_is_not_the_end_of_the_body(form: str) -> None:
    """A full step can leave output in the decompressor although all input is used up. Of 400 raw bodies like these, 40
    lost their end."""
    coding, bits = FORMS[form]
    for seed in range(60):
        dice = random.Random(seed)
        words = (b"abc", b"hello world", bytes(300), dice.randbytes(5))
        data = b"".join(dice.choices(words, k=3000))[: dice.choice((STEP, STEP - 6, STEP + 4, 2 * STEP))]
        assert inflate(coding, [squeeze(data, bits)]) == (data, "")


def test_steps_are_bounded() -> None:
    """A thousand times as much comes out as went in, and the caller can stop after each step."""
    for coding, bits in FORMS.values():
        data = squeeze(bytes(5_000_000), bits)
        assert len(data) < 8000
        steps = Inflater(coding).pieces(data)
        assert [len(next(steps)) for _ in range(9)] == [STEP] * 9
        assert inflate(coding, [data]) == (bytes(5_000_000), "")


@pytest.mark.parametrize("form", FORMS)
def test_damage(form: str) -> None:
    coding, bits = FORMS[form]
    data = squeeze(TEXT, bits)
    assert read(coding, b"\xff" * 20)[1] == DAMAGE
    assert read(coding, data[:10] + b"\xff\xff\xff\xff" + data[14:])[1] == DAMAGE
    if bits > 0:  # a checksum
        assert read(coding, data[:-1] + bytes([data[-1] ^ 1]))[1] == DAMAGE


def test_gzip_is_not_taken_for_deflate_nor_the_other_way() -> None:
    assert read("deflate", squeeze(TEXT, 31))[1] == DAMAGE
    assert read("gzip", squeeze(TEXT, 15))[1] == DAMAGE
    assert read("gzip", TEXT)[1] == DAMAGE
    assert read("deflate", TEXT)[1] == DAMAGE


def test_a_zlib_stream_with_a_dictionary_is_damage() -> None:
    make = zlib.compressobj(9, zlib.DEFLATED, 15, zdict=TEXT)
    assert read("deflate", make.compress(TEXT) + make.flush())[1] == DAMAGE


def test_members_of_gzip() -> None:
    one, two = squeeze(b"one", 31), squeeze(b"two", 31)
    assert read("gzip", one + two + squeeze(b"", 31) + one) == (b"onetwoone", "")
    assert read("gzip", one + two[:-1])[1] == TOO_EARLY
    assert read("gzip", one + b"two")[1] == DAMAGE
    assert read("gzip", one + bytes(5)) == (b"one", "")
    assert read("gzip", one + bytes(5) + two)[1] == SURPLUS


@pytest.mark.parametrize("form", ["deflate", "raw deflate"])
def test_what_follows_deflate(form: str) -> None:
    coding, bits = FORMS[form]
    data = squeeze(b"one", bits)
    assert read(coding, data + bytes(3)) == (b"one", "")
    assert read(coding, data + b"x")[1] == SURPLUS
    assert read(coding, data + data)[1] == SURPLUS


@pytest.mark.parametrize("form", FORMS)
def test_padding_is_not_kept(form: str) -> None:
    coding, bits = FORMS[form]
    inflater = Inflater(coding)
    assert b"".join(inflater.pieces(squeeze(b"one", bits))) == b"one"
    for _ in range(100):
        assert not list(inflater.pieces(bytes(10_000)))
    tails = [getattr(inflater._inflate, name) for name in ("unused_data", "unconsumed_tail")]
    assert sum(map(len, tails)) <= INPUT and sys.getsizeof(inflater._start) < 100
    inflater.close()
