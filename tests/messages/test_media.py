"""Types and sizes of images and PDFs from their first bytes, whatever those are."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages import media


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0) + b"rest" * 50


def gif(width: int, height: int, version: bytes = b"GIF89a") -> bytes:
    return version + struct.pack("<HH", width, height) + b"\x00" * 30


def jpeg(width: int, height: int, marker: int = 0xC0, before: bytes = b"") -> bytes:
    app0 = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    table = b"\xff\xc4\x00\x05\x01\x02\x03"
    frame = b"\xff" + bytes([marker]) + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x00" * 9
    return b"\xff\xd8" + app0 + before + table + frame + b"\xff\xda" + b"pixels"


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def vp8(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width | 0x4000, height) + b"\x00" * 8)


def vp8l(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x00" * 8)


def vp8x(width: int, height: int) -> bytes:
    return webp(b"VP8X", b"\x10\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


EXIF = b"\xff\xe1\xff\xff" + b"\xff" * 65533
IMAGES = {
    "png": png,
    "gif": gif,
    "gif 87": lambda w, h: gif(w, h, b"GIF87a"),
    "jpeg": jpeg,
    "progressive jpeg": lambda w, h: jpeg(w, h, 0xC2),
    "jpeg with fill bytes and restarts": lambda w, h: jpeg(w, h, before=b"\xff\xff\xff\x01\xff\xd0"),
    "jpeg behind 300 KB of metadata": lambda w, h: jpeg(w, h, before=EXIF * 5),
    "webp": vp8,
    "lossless webp": vp8l,
    "extended webp": vp8x,
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 480), (1000, 1300), (9999, 30)])
def test_sizes(name: str, width: int, height: int) -> None:
    assert media.size(b64(IMAGES[name](width, height))) == (width, height)


def test_base64_in_lines() -> None:
    text = b64(png(640, 480))
    assert media.size("\n".join(text[n : n + 7] for n in range(0, len(text), 7))) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "x",
        "\u20ac" * 100,
        "====",
        b64(b"BM" + b"\x00" * 60),
        b64(b"\x89PNG\r\n\x1a\n")[:-1],
        b64(b"\xff\xd8"),
        b64(b"\xff\xd8no marker here at all"),
        b64(jpeg(640, 480)[:30]),
        b64(b"\xff\xd8" + EXIF * 40),
        b64(b"\xff\xd8" + (b"\xff\xe0\x00\x00" * 2_000_000)),
        b64(b"RIFF____WAVEfmt "),
    ],
    ids=range(12),
)
def test_what_shows_no_size(data: str) -> None:
    assert media.size(data) == (0, 0)
    assert media.image_tokens(data) == media.IMAGE_UNKNOWN


@settings(deadline=None)
@given(st.sampled_from([png, gif, jpeg, vp8, vp8l, vp8x]), st.integers(0, 80), st.binary(max_size=20))
def test_cut_and_damaged_headers_do_no_harm(make: object, at: int, damage: bytes) -> None:
    whole = make(100, 100)  # type: ignore[operator]
    assert media.image_tokens(b64(whole[:at] + damage)) >= 1
    assert media.image_tokens(b64(whole)[:at]) >= 1


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (200, 200, 53),
        (1000, 1000, 1333),
        (1092, 1092, 1589),
        (1568, 1568, 1600),
        (8000, 8000, 1600),
        (3000, 1000, 1092),
        (1, 1, 1),
        (60000, 1, 1),
    ],
)
def test_anthropics_rule(width: int, height: int, tokens: int) -> None:
    assert media.image_tokens(b64(png(width, height))) == tokens


def test_a_header_without_a_size() -> None:
    assert media.image_tokens(b64(png(0, 100))) == media.IMAGE_UNKNOWN


def pdf(pages: int, count: int = 0, padding: int = 0) -> str:
    parts = [b"%PDF-1.7\n", b"<< /Type /Pages /Count %d >>\n" % count if count else b"", b"x" * padding]
    return b64(b"".join(parts) + b"<</Type/Page /Parent 2 0 R>>\n" * pages)


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (pdf(1), 1),
        (pdf(12, count=12), 12),
        (pdf(3, count=300), 3),
        (pdf(0, count=12, padding=5000), 12),
        (pdf(0, count=99_999, padding=5000), 1),
        (b64(b"%PDF-1.7 /Count 1234567 compressed"), 1),
        (b64(b"%PDF-1.7 << /Type /Pages >>"), 1),
        (b64(b"x" * 400_000), 11),
        (b64(b"x" * 40_000_000), media.PAGES_UNKNOWN),
        ("", 1),
        ("\u20ac", 1),
        ("QUJ", 1),
    ],
    ids=range(12),
)
def test_pages(data: str, pages: int) -> None:
    assert media.pdf_pages(data) == pages
    assert media.pdf_tokens(data) == pages * media.PAGE


def test_pages_without_looking() -> None:
    assert media.pdf_pages(pdf(12), look=False) == 1
    assert media.pdf_tokens(b64(b"x" * 400_000), look=False) == 11 * media.PAGE


def test_no_more_segments_and_pages_are_looked_at_than_real_files_have() -> None:
    assert media.size(b64(jpeg(30, 20, before=b"\xff\xe1\x00\x02" * 900))) == (30, 20)
    assert media.size(b64(jpeg(30, 20, before=b"\xff\xe1\x00\x02" * 1100))) == (0, 0)
    assert media.pdf_pages(b64(b"%PDF" + b"/Type /Page " * 20_000)) == media.MATCHES


@pytest.mark.parametrize("claim", ["image/png", "image/jpeg", "image/jpg", "", "text/plain"])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (png(1, 1), "image/png"),
        (jpeg(1, 1), "image/jpeg"),
        (gif(1, 1), "image/gif"),
        (gif(1, 1, b"GIF87a"), "image/gif"),
        (vp8(1, 1), "image/webp"),
    ],
)
def test_the_bytes_decide_what_an_image_is(data: bytes, kind: str, claim: str) -> None:
    assert media.image_type(b64(data), claim) == kind
    assert media.image_type("\n " + b64(data)[:20] + "\r\n" + b64(data)[20:], claim) == kind


@pytest.mark.parametrize("data", ["", "=", "é", b64(b"BM"), b64(b"RIFF0000WAVE"), b64(b"<svg/>"), b64(b"\xff\xd8")])
def test_bytes_that_show_no_type_leave_the_claimed_one(data: str) -> None:
    for claim, kind in (("image/bmp", "image/bmp"), ("image/JPG", "image/jpeg"), ("image/x-png", "image/png")):
        assert media.image_type(data, claim) == kind


def test_only_the_start_of_an_image_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def decode(data: str, most: int) -> bytes:
        sizes.append(most)
        return b""

    monkeypatch.setattr(media, "_decode", decode)
    media.image_type("A" * 1_000_000, "image/png")
    assert sizes == [media.TYPE_HEAD]
