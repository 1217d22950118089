"""What the base64 data of images and PDFs says of them: the type of an image, and an estimate of their tokens.

Knows: the headers of PNG, JPEG, GIF and WebP; how a PDF lists its pages; Anthropic's price of each.
Must not know: requests, how a wire sends media.
Invariants: nothing raises. No more than HEADS characters of an image are decoded.
"""

from __future__ import annotations

import base64
import binascii
import re
from itertools import islice

#: Characters of base64 that are decoded to find an image's size: 64 Ki, then 2 Mi if a JPEG's metadata is longer than
#: that.
HEADS = (64 * 1024, 2 * 1024 * 1024)
#: docs.claude.com, vision. EDGE: pixels of the longest edge, to which a larger image is scaled down; IMAGE_MAX: most
#: tokens of an image; PIXELS: pixels per token.
EDGE, IMAGE_MAX, PIXELS = 1568, 1600, 750
#: Tokens of an image whose size is unknown (a URL, an unknown format): those of a photo.
IMAGE_UNKNOWN = 1500
#: Tokens of a PDF page. docs.claude.com, PDF support: 1,500 to 3,000 for its text, and more for its picture.
PAGE = 3000
#: Bytes of a PDF page with text. A scanned page is many times larger, so the size alone never means more than
#: PAGES_UNKNOWN pages.
PAGE_BYTES, PAGES_UNKNOWN = 40_000, 100
#: Segments of a JPEG, and matches in a PDF, that are read at most. Real JPEGs have some ten segments before the size.
SEGMENTS, MATCHES = 1000, 10_000
#: Characters of base64 that show the type of an image, white space among them.
TYPE_HEAD = 64
#: Names of media types that servers refuse ("Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
#: Anthropic, anthropics/claude-code#34517, 2026-03) → the registered name.
ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/x-png": "image/png",
}
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT = re.compile(rb"/Count\s+(\d{1,5})(?!\d)")


def _decode(data: str, most: int) -> bytes:
    text = data[:most].encode("ascii", "replace").translate(None, b" \t\r\n\v\f")
    try:
        return base64.b64decode(text[: len(text) // 4 * 4] if len(data) > most else text)
    except (binascii.Error, ValueError):
        return b""


def _png(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _gif(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")


def _webp(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _jpeg(head: bytes) -> tuple[int, int]:
    """Return width and height from the frame header; (0, 0) if the bytes end before it.

    A JPEG is a list of segments: 0xFF, a marker, a length of two bytes (which counts itself), data. Markers 0xC0 to
    0xCF are frame headers, but for three; height and width follow after the length and one byte of precision. Markers
    0x01 and 0xD0 to 0xD8 have no length."""
    at = 2
    for _ in range(SEGMENTS):
        if at + 9 > len(head) or head[at] != 0xFF:
            return 0, 0
        marker = head[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0, 0


#: Media type → function that returns width and height.
_SIZES = {"image/png": _png, "image/jpeg": _jpeg, "image/gif": _gif, "image/webp": _webp}


def _type_of(head: bytes) -> str:
    """Return the media type of an image by its first bytes; "" if it is none of the four that models take."""
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if head[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else ""


def image_type(data: str, media_type: str) -> str:
    """Return the media type of a base64 image: that of its bytes, or `media_type` if they show none.

    Clients name the type by a file's ending. Servers compare it with the bytes, and refuse the conversation for ever:
    "Image does not match the provided media type image/png" (Anthropic, anthropics/claude-code#11975, 2025-12, and
    #39146, 2026-03)."""
    return _type_of(_decode(data, TYPE_HEAD)) or ALIASES.get(media_type.lower(), media_type)


def size(data: str) -> tuple[int, int]:
    """Return width and height in pixels of a base64 image; (0, 0) if they are unknown."""
    for most in HEADS:
        head = _decode(data, most)
        read = _SIZES.get(_type_of(head))
        if read is None:
            return 0, 0
        width, height = read(head)
        if width or read is not _jpeg or len(data) <= most:
            return width, height
    return 0, 0


def image_tokens(data: str) -> int:
    """Return the tokens of a base64 image by Anthropic's rule: width × height / 750, after scaling down."""
    width, height = size(data)
    if not width or not height:
        return IMAGE_UNKNOWN
    shrink = min(1.0, EDGE / max(width, height))
    return max(1, min(IMAGE_MAX, int(width * shrink * height * shrink / PIXELS)))


def pdf_pages(data: str, *, look: bool = True) -> int:
    """Return the pages of a base64 PDF. `look`: decode it, a few ms per MB; else judge by its size."""
    by_size = min(PAGES_UNKNOWN, len(data) * 3 // 4 // PAGE_BYTES + 1)
    if not look:
        return by_size
    body = _decode(data, len(data))
    pages = sum(1 for _ in islice(_PAGE.finditer(body), MATCHES))
    page_count = max((int(match[1]) for match in islice(_COUNT.finditer(body), MATCHES)), default=0)
    if page_count * 50 > len(body):  # a page needs at least 50 bytes, so this is no number of pages
        page_count = 0
    return pages or page_count or by_size


def pdf_tokens(data: str, *, look: bool = True) -> int:
    """Return the tokens of a base64 PDF. `look`: as in `pdf_pages`."""
    return pdf_pages(data, look=look) * PAGE
