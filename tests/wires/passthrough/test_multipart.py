"""The field `model` of a multipart body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.slices import at_once
from a2py.wires.passthrough import multipart
from a2py.wires.passthrough.endpoints import ENDPOINTS
from a2py.wires.passthrough.multipart import Fields, find_boundary, find_fields_in_slices
from a2py.wires.passthrough.request import parse_in_slices

MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1'
FILE = (
    b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n\x00\xff\r\n--no'
)


def body(*parts: bytes, end: bytes = b"--XX--\r\n") -> bytes:
    return b"".join(b"--XX\r\n" + part + b"\r\n" for part in parts) + end


def find(raw: bytes) -> Fields:
    return at_once(find_fields_in_slices(raw, b"XX"))


@pytest.mark.parametrize(
    "raw",
    [
        body(MODEL),
        body(MODEL, FILE),
        body(FILE, MODEL),
        body(FILE, MODEL, FILE),
        b"\r\n" + body(MODEL),
        body(MODEL, end=b"--XX--"),
        body(MODEL).replace(b"--XX\r\n", b"--XX \t\r\n"),
        body(MODEL.replace(b'"model"', b"model")),
        body(MODEL.replace(b"Content-Disposition", b"content-disposition")),
        body(MODEL.replace(b"; name", b";\r\n\tname")),
        body(b"X-Other: 1\r\n" + MODEL + b""),
        body(MODEL.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")),
        body(FILE.replace(b'filename="a.wav"', b"filename=\"a;name='model'.wav\"; filename*=utf-8''a"), MODEL),
        body(b"\r\nno headers at all", MODEL),
        body(b'Content-Disposition: form-data; name="empty"\r\n\r\n', MODEL),
        body(b'Content-Disposition: form-data; name="x";\r\n\r\n1', MODEL),
    ],
)
def test_it_is_found_wherever_it_stands(raw: bytes) -> None:
    member = find(raw).model
    assert member.value == "whisper-1" == raw[member.start : member.end].decode()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (body(MODEL, MODEL), "more than one field `model`"),
        (body(FILE), "no field `model`"),
        (b"", "begin with its boundary"),
        (b"preamble\r\n" + body(MODEL), "begin with its boundary"),
        (body(MODEL).replace(b"\r\n", b"\n"), "does not end in CRLF"),
        (body(MODEL).replace(b"--XX\r\n", b"--XXY\r\n"), "goes on"),
        (body(MODEL, FILE + b"\r\n--XXtra"), "goes on"),
        (body(MODEL) + body(MODEL), "goes on after its end"),
        (body(MODEL, end=b""), "has no end"),
        (b"--XX\r\nContent-Disposition: form-data\r\n--XX--", "headers have none"),
        (body(b"X: " + b"x" * multipart.HEADERS_LIMIT + b"\r\n" + MODEL), "headers have none"),
        (body(MODEL.replace(b'name="model"', b"name*=utf-8''model")), "encoded name"),
        (body(MODEL.replace(b'name="model"', b'name*0="mo"; name*1="del"')), "encoded name"),
        (body(MODEL.replace(b'name="model"', b'name="x"; name="model"')), "more than one name"),
        (body(b'Content-Disposition: form-data; name="x"\r\n' + MODEL), "more than one name"),
        (body(MODEL.replace(b'name="model"', b'name="Model"')), "called `model`"),
        (body(MODEL.replace(b'name="model"', b'name="mod\\el"'), MODEL), "more than one field"),
        (body(MODEL.replace(b'"model"', b'"model')), "can't be read"),
        (body(MODEL.replace(b"form-data", b"form-data\nX")), "bare line break"),
        (body(MODEL.replace(b"form-data", b"form-data\0")), "bare line break"),
        (body(b"Content-Transfer-Encoding: quoted-printable\r\n" + MODEL), "is encoded"),
        (body(MODEL[:-9]), "name of 1 to"),
        (body(MODEL + b"\r\nx"), "name of 1 to"),
        (body(MODEL + b"x" * 3000), "name of 1 to"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ApiError, match=words) as excinfo:
        find(raw)
    assert excinfo.value.status == 400 and excinfo.value.field == "model"


def test_too_many_parts_and_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PARTS_LIMIT", 8)
    monkeypatch.setattr(multipart, "ITEMS", 4)
    work = find_fields_in_slices(body(*[FILE] * 6, MODEL), b"XX")
    next(work)
    with pytest.raises(StopIteration) as stop:
        next(work)
    assert stop.value.value.model.value == "whisper-1"
    with pytest.raises(ApiError, match="more than 8 parts"):
        find(body(*[FILE] * 9, MODEL))


def test_long_headers_are_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "BYTES", 3000)
    long = b'Content-Disposition: form-data; name="%b"\r\n\r\nx' % (b"n" * 2000)
    assert len(list(find_fields_in_slices(body(*[long] * 6, MODEL), b"XX"))) == 3


def test_the_field_stream() -> None:
    raw = body(MODEL, b'Content-Disposition: form-data; name="stream"\r\n\r\ntrue', FILE)
    assert find(raw).others == {"stream": "true"}
    long = body(MODEL, b'Content-Disposition: form-data; name="stream"\r\n\r\n' + b"t" * 100)
    assert find(long).others == {}


@pytest.mark.parametrize("name", ["background", "Background"])
def test_the_field_background(name: str) -> None:
    field = f'Content-Disposition: form-data; name="{name}"\r\n\r\ntrue'.encode()
    multipart_type = "multipart/form-data; boundary=XX"
    for path, is_background in (("responses", True), ("audio/transcriptions", False)):
        work = parse_in_slices(body(MODEL, field), multipart_type, ENDPOINTS[path])
        assert at_once(work).is_background is is_background


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; Boundary="a b:c"', b"a b:c"),
        (
            "multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW ; x=y",
            b"----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert find_boundary(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; boundary*=utf-8''b",
        f"multipart/form-data; boundary={'x' * 71}",
    ],
)
def test_no_one_boundary(content_type: str) -> None:
    with pytest.raises(ApiError, match="one boundary"):
        find_boundary(content_type)


@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(0, 4), st.data())
def test_any_content_beside_it(contents: list[bytes], at: int, data: st.DataObject) -> None:
    parts = [
        b'Content-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + one
        for one in contents
        if b"--XX" not in one
    ]
    parts.insert(at, MODEL)
    raw = body(*parts)
    member = find(raw).model
    assert raw[member.start : member.end] == b"whisper-1"
    cut = data.draw(st.integers(0, len(raw) - 5))
    with pytest.raises(ApiError):  # cut anywhere, it is no whole body
        find(raw[:cut])
