"""Find the field `model` in a multipart body (RFC 7578), as bytes.

Servers read odd bodies in different ways: some decode `name*`, some unfold headers, some end lines at a bare LF. A body
that two of them could read differently is refused, because the one would see another model than the one that was
checked. What clients really send (httpx, requests, curl, browsers, Node) has one reading.

Knows: boundaries, part headers. Must not know: what the other fields are, sockets.
Invariants: exactly one part is named `model`; every byte outside its value stays as it is; the body is gone through
once, without copying what is in its parts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from a2py.errors import ApiError
from a2py.slices import BYTES, ITEMS, Slices
from a2py.wires.passthrough.json_model import Member, check_name

#: Bytes of one part's headers; parts of a body.
HEADERS_LIMIT, PARTS_LIMIT = 16 * 1024, 10_000
#: A boundary (RFC 2046, 5.1.1), as a parameter of the content type.
_BOUNDARY = re.compile(r""";\s*boundary=(?:"([0-9A-Za-z'()+_,\-./:=? ]{1,70})"|([^\s;,"]{1,70}))\s*(?=;|\Z)""", re.I)
_BOUNDARY_NAME = re.compile(r";\s*boundary\*?[\d*]*\s*=", re.I)
_DISPOSITION = re.compile(r"content-disposition[ \t]*:[ \t]*", re.I)
#: A parameter: its name, and its value in quotes (`\\x` is x) or bare.
_PARAMETER = re.compile(r';[ \t]*([^=;" \t]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;" \t]*))[ \t]*')
#: A line break that is not CRLF, or NUL; a line that goes on in the next one.
_BARE_BREAK = re.compile(r"\r(?!\n)|(?<!\r)\n|\0")
_FOLD = re.compile(r"\r\n(?=[ \t])")
_QUOTED_PAIR = re.compile(r"\\(.)")
#: Fields besides `model` whose values are read, and the characters of each.
_READ, _READ_LIMIT = frozenset(("stream",)), 16


class Fields(NamedTuple):
    """`model`: its value and place; `others`: short values of the fields that are read."""

    model: Member
    others: dict[str, str]


def find_boundary(content_type: str) -> bytes:
    """Return the boundary of a multipart content type. Raise `ApiError` if it has none, or more than one."""
    matches = _BOUNDARY.findall(content_type)
    if len(matches) != 1 or len(_BOUNDARY_NAME.findall(content_type)) != 1:
        raise _refusal("its content type must have one boundary")
    boundary: str = matches[0][0] or matches[0][1]
    return boundary.encode()


def find_fields_in_slices(raw: bytes, boundary: bytes) -> Slices[Fields]:
    """Return the fields of `raw` that matter here. Raise `ApiError` if it has no `model`, or two, or can be read in
    more than one way."""
    models: list[Member] = []
    others: dict[str, str] = {}
    line = b"--" + boundary
    delimiter = b"\r\n" + line
    at = 2 if raw.startswith(b"\r\n") else 0
    if not raw.startswith(line, at):
        raise _refusal("it must begin with its boundary")
    at += len(line)
    rest = BYTES  # until the next pause: headers, and each part counts as some
    for _ in range(PARTS_LIMIT):
        if raw.startswith(b"--", at):
            break
        at = _skip_line_end(raw, at)
        start = raw.find(b"\r\n\r\n", at - 2, at + HEADERS_LIMIT)
        end = raw.find(delimiter, at - 2)
        if start < 0 or end < 0 or start > end:
            raise _refusal("a part has no end, or its headers have none")
        name = _read_name(raw[at : max(at, start)])
        start += 4
        if name.casefold() == "model":
            models.append(Member(_read_model(raw, name, start, end), start, end))
        else:
            _read_other(raw, name, start, end, others)
        rest -= max(start - at, BYTES // ITEMS)
        at = end + len(delimiter)
        if rest <= 0:
            rest = BYTES
            yield
    else:
        raise _refusal(f"it has more than {PARTS_LIMIT} parts")
    if line in raw[at:]:
        raise _refusal("it goes on after its end")
    if len(models) != 1:
        problem = "more than one field `model`. Send one." if models else "no field `model`"
        raise ApiError("invalid_request", f"the multipart body has {problem}", field="model", should_retry=False)
    return Fields(models[0], others)


def _read_other(raw: bytes, name: str, start: int, end: int, others: dict[str, str]) -> None:
    if name.casefold() == "background":
        others["background"] = ""  # whatever it says: servers differ in which of two they take
    elif name in _READ and end - start <= _READ_LIMIT:
        others[name] = raw[start:end].decode("utf-8", "replace")


def _skip_line_end(raw: bytes, at: int) -> int:
    """Return where the line of a boundary ends. Blanks may follow the boundary, and nothing else."""
    while raw[at : at + 1] in (b" ", b"\t"):
        at += 1
    if not raw.startswith(b"\r\n", at):
        raise _refusal("a line that begins with its boundary goes on, or does not end in CRLF")
    return at + 2


def _read_name(head: bytes) -> str:
    """Return the name of a part; "" if it has none."""
    text = head.decode("latin-1")
    if _BARE_BREAK.search(text):
        raise _refusal("a part's header has a bare line break")
    lines = _FOLD.sub("", text).split("\r\n")
    dispositions = [line for line in lines if _DISPOSITION.match(line)]
    names = [name for line in dispositions for name in _read_names(line)]
    if len(names) > 1 or len(dispositions) > 1:
        raise _refusal("a part has more than one name")
    name = names[0] if names else ""
    if name.casefold() == "model" and any(map(_is_encoding, lines)):
        raise _refusal("its field `model` is encoded")
    return name


def _read_names(disposition: str) -> list[str]:
    """Return the names that a Content-Disposition gives a part."""
    names: list[str] = []
    semicolon, parameters = disposition.partition(";")[1:]
    for name, quotation, bare in _read_parameters(semicolon + parameters):
        if name.lower().startswith("name*"):
            raise _refusal("a part has an encoded name (name*)")
        if name.lower() == "name":
            names.append(_QUOTED_PAIR.sub(r"\1", quotation) or bare)
    return names


def _read_parameters(text: str) -> list[tuple[str, str, str]]:
    parameters: list[tuple[str, str, str]] = []
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            if text[at:].strip("; \t"):
                raise _refusal("a part's Content-Disposition can't be read")
            break
        parameters.append((match[1], match[2] or "", match[3] or ""))
        at = match.end()
    return parameters


def _is_encoding(line: str) -> bool:
    """Return whether a header says that the part's bytes are encoded (Go decodes quoted-printable)."""
    name, _, value = line.partition(":")
    plain = ("", "7bit", "8bit", "binary")
    return name.strip().lower() == "content-transfer-encoding" and value.strip().lower() not in plain


def _read_model(raw: bytes, name: str, start: int, end: int) -> str:
    if name != "model":
        raise ApiError("invalid_request", "the field is called `model`", field="model", should_retry=False)
    return check_name(raw[start : min(end, start + 2048)].decode("utf-8", "replace"))


def _refusal(problem: str) -> ApiError:
    return ApiError(
        "invalid_request", f"the multipart body can't be passed on: {problem}", field="model", should_retry=False
    )
