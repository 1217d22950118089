"""Responses that parsers disagree about, or could: heads and chunked bodies by name.

Knows: HTTP/1.1's grammar, and how it has been broken. Must not know: what any parser makes of it.
"""

from __future__ import annotations

OK = b"HTTP/1.1 200 OK\r\n"
OK_10 = b"HTTP/1.0 200 OK\r\n"
FIVE = b"Content-Length: 5\r\n\r\nhello"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def fields(n: int) -> bytes:
    return b"".join(b"X-%d: a\r\n" % k for k in range(n))


def length(value: bytes) -> bytes:
    return OK + b"Content-Length: " + value + b"\r\n\r\nhello"


def coding(value: bytes, body: bytes = HELLO + LAST) -> bytes:
    return OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + body


def line(value: bytes) -> bytes:
    """A response with a header line of its own."""
    return OK + value + b"\r\n" + FIVE


def status(value: bytes) -> bytes:
    return value + b"\r\n" + FIVE


HEADS: dict[str, bytes] = {
    "plain": OK + FIVE,
    # the status line
    "no reason": status(b"HTTP/1.1 200"),
    "no reason, but its blank": status(b"HTTP/1.1 200 "),
    "reason: UTF-8": status("HTTP/1.1 200 Größe".encode()),
    "reason: tab": status(b"HTTP/1.1 200 a\tb"),
    "reason: control character": status(b"HTTP/1.1 200 a\x01b"),
    "reason: NUL": status(b"HTTP/1.1 200 a\0b"),
    "two blanks before the status": status(b"HTTP/1.1  200 OK"),
    "tab before the status": status(b"HTTP/1.1\t200 OK"),
    "status of two digits": status(b"HTTP/1.1 20 OK"),
    "status of four digits": status(b"HTTP/1.1 2000 OK"),
    "status 000": status(b"HTTP/1.1 000 OK"),
    "status 099": status(b"HTTP/1.1 099 OK"),
    "status 600": status(b"HTTP/1.1 600 OK"),
    "status 999": status(b"HTTP/1.1 999 OK"),
    "status +20": status(b"HTTP/1.1 +20 OK"),
    "status 200x": status(b"HTTP/1.1 200x OK"),
    "HTTP/1.0": status(b"HTTP/1.0 200 OK"),
    "HTTP/1.0 keep-alive": status(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive"),
    "HTTP/1.2": status(b"HTTP/1.2 200 OK"),
    "HTTP/1.10": status(b"HTTP/1.10 200 OK"),
    "HTTP/0.9": status(b"HTTP/0.9 200 OK"),
    "HTTP/2": status(b"HTTP/2 200 OK"),
    "HTTP/2.0": status(b"HTTP/2.0 200 OK"),
    "http/1.1": status(b"http/1.1 200 OK"),
    "ICY": status(b"ICY 200 OK"),
    "a body without a head": b"<html>hello</html>",
    "a greeting of SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/2's first frame": b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64",
    "a TLS alert": b"\x15\x03\x03\0\x02\x02\x46",
    # lines
    "LF for all": (OK + fields(2) + FIVE).replace(b"\r", b""),
    "LF for one": OK + b"X: a\n" + FIVE,
    "LF CRLF at the end": OK + b"Content-Length: 5\n\r\nhello",
    "CRLF LF at the end": OK + b"Content-Length: 5\r\n\nhello",
    "CR for all": (OK + fields(2) + FIVE).replace(b"\n", b""),
    "CR in a value": line(b"X: a\rb"),
    "CR in a name": line(b"X\rY: a"),
    "CR CR LF": line(b"X: a\r"),
    "CR after the status": OK.replace(b"\r\n", b"\r") + FIVE,
    "obs-fold": line(b"X: a\r\n b"),
    "obs-fold with a tab": line(b"X: a\r\n\tb"),
    "obs-fold of a length": OK + b"Content-Length:\r\n 5\r\n\r\nhello",
    "obs-fold after the status": line(b" X: a"),
    "a blank line of blanks first": line(b" "),
    "a blank line of blanks last": OK + b"Content-Length: 5\r\n \r\n\r\nhello",
    "empty line first": b"\r\n" + OK + FIVE,
    "empty line of LF first": b"\n" + OK + FIVE,
    "empty lines first": b"\r\n\n\r\n" + OK + FIVE,
    "CR first": b"\r" + OK + FIVE,
    "CR CR LF first": b"\r\r\n" + OK + FIVE,
    "blank first": b" " + OK + FIVE,
    # names and values
    "value: UTF-8": line("X: Größe".encode()),
    "value: Latin-1": line(b"X: Gr\xf6\xdfe \xff"),
    "value: no-break blanks": line(b"X: \xa0a\xa0"),
    "value: none": line(b"X:"),
    "value: blanks around": line(b"X: \t a b \t "),
    "value: control characters": line(b"X: a\x01\x7fb"),
    "value: vertical tab": line(b"X: a\x0bb"),
    "value: form feeds around": line(b"X: \x0ca\x0c"),
    "value: NUL": line(b"X: a\0b"),
    "name: NUL": line(b"X\0: a"),
    "name: above 127": line(b"X\xe9: a"),
    "name: underscore": line(b"X_Y: a"),
    "name: brackets": line(b"X(Y): a"),
    "name: blank inside": line(b"X Y: a"),
    "name: none": line(b": a"),
    "blank before the colon": line(b"X : a"),
    "tab before the colon": line(b"X\t: a"),
    "blank before a length's colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "blank before a coding's colon": OK + b"Transfer-Encoding : chunked\r\n\r\n" + HELLO + LAST,
    "no colon": line(b"XY"),
    "equal header lines": line(b"Content-Type: text/event-stream\r\nContent-Type: text/event-stream"),
    "different header lines": line(b"Content-Type: a\r\nContent-Type: b"),
    # how many, how long
    "128 headers": OK + fields(127) + FIVE,
    "200 headers": OK + fields(199) + FIVE,
    "201 headers": OK + fields(200) + FIVE,
    "a value of 65,000 bytes": line(b"X: " + b"a" * 65_000),
    "a value of 66,000 bytes": line(b"X: " + b"a" * 66_000),
    "two values of 40,000 bytes": line(b"X: %b\r\nY: %b" % (b"a" * 40_000, b"a" * 40_000)),
    # lengths
    "length 05": length(b"05"),
    "length of 30 zeros and 5": length(b"0" * 30 + b"5"),
    "length: blanks around": length(b" \t5 \t"),
    "length: none": length(b""),
    "length 5,": length(b"5,"),
    "length +5": length(b"+5"),
    "length -5": length(b"-5"),
    "length 0_5": length(b"0_5"),
    "length 0x5": length(b"0x5"),
    "length 5.0": length(b"5.0"),
    "length 5 5": length(b"5 5"),
    "length and vertical tab": length(b"5\x0b"),
    "length in other digits": length("٥".encode()),
    "length: superscript": length(b"\xb2"),
    "length 10^18": length(b"1" + b"0" * 18),
    "length 2^64 - 1": length(b"18446744073709551615"),
    "length 2^64": length(b"18446744073709551616"),
    "length 2^64 + 5": length(b"18446744073709551621"),
    "length too large": length(b"6"),
    "length too small": length(b"4"),
    "equal lengths": OK + b"Content-Length: 5\r\n" + FIVE,
    "equal lengths in a list": length(b"5, 5,5"),
    "conflicting lengths": OK + b"Content-Length: 6\r\n" + FIVE,
    "conflicting lengths in a list": length(b"5, 6"),
    "lengths 05 and 5": OK + b"Content-Length: 05\r\n" + FIVE,
    "neither length nor coding": OK + b"\r\nhello",
    "neither, and no body": OK + b"\r\n",
    "neither, HTTP/1.0": OK_10 + b"\r\nhello",
    "neither, HTTP/1.0 keep-alive": OK_10 + b"Connection: keep-alive\r\n\r\nhello",
    # codings
    "CHUNKED": coding(b"CHUNKED"),
    "length, then chunked": OK + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + HELLO + LAST,
    "chunked, then length": OK + CHUNKED + b"Content-Length: 15\r\n\r\n" + HELLO + LAST,
    "HTTP/1.0 chunked": OK_10 + CHUNKED + b"\r\n" + HELLO + LAST,
    "HTTP/1.0 chunked keep-alive": OK_10 + CHUNKED + b"Connection: keep-alive\r\n\r\n" + HELLO + LAST,
    "coding: none": coding(b"", b"hello"),
    "coding: none, and a length": OK + b"Transfer-Encoding:\r\n" + FIVE,
    "coding ,chunked": coding(b",chunked"),
    "coding chunked,": coding(b"chunked,"),
    "coding identity": coding(b"identity", b"hello"),
    "coding identity, and a length": OK + b"Transfer-Encoding: identity\r\n" + FIVE,
    "coding identity, chunked": coding(b"identity, chunked"),
    "coding chunked, identity": coding(b"chunked, identity"),
    "coding gzip": coding(b"gzip", b"hello"),
    "coding gzip, chunked": coding(b"gzip, chunked"),
    "coding chunked, gzip": coding(b"chunked, gzip"),
    "coding chunked, chunked": coding(b"chunked, chunked"),
    "chunked in two lines": OK + CHUNKED * 2 + b"\r\n" + HELLO + LAST,
    "coding chunked;q=1": coding(b"chunked;q=1"),
    "coding xchunked": coding(b"xchunked"),
    "coding chunkedx": coding(b"chunkedx"),
    'coding "chunked"': coding(b'"chunked"'),
    "coding and vertical tab": coding(b"\x0bchunked"),
    "coding chunked and NUL": coding(b"chunked\0"),
    # statuses that say something about the body
    "100": CONTINUE + OK + FIVE,
    "103 with headers": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK + FIVE,
    "199": b"HTTP/1.1 199 X\r\n\r\n" + OK + FIVE,
    "100 with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + OK + FIVE,
    "102 chunked": b"HTTP/1.1 102 Processing\r\n" + CHUNKED + b"\r\n" + OK + FIVE,
    "100 and an empty line": CONTINUE + b"\r\n" + OK + FIVE,
    "100 of HTTP/1.0": CONTINUE.replace(b"1.1", b"1.0") + OK + FIVE,
    "100 that closes": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + OK + FIVE,
    "100 alone": CONTINUE,
    "100, then no head": CONTINUE + b"hello",
    "16 times 100": CONTINUE * 16 + OK + FIVE,
    "17 times 100": CONTINUE * 17 + OK + FIVE,
    "1,000 times 100": CONTINUE * 1000 + OK + FIVE,
    "two of 103, 40,000 bytes each": (b"HTTP/1.1 103 E\r\nX: %b\r\n\r\n" % (b"a" * 40_000)) * 2 + OK + FIVE,
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello",
    "101 without an upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + FIVE,
    "200 with an upgrade": line(b"Upgrade: h2c\r\nConnection: upgrade"),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "204 with a body": b"HTTP/1.1 204 No Content\r\n" + FIVE,
    "204 with chunks": b"HTTP/1.1 204 No Content\r\n" + CHUNKED + b"\r\n" + HELLO + LAST,
    "204 with a bad length": b"HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n",
    "205 with a body": b"HTTP/1.1 205 Reset Content\r\n" + FIVE,
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "304 chunked": b"HTTP/1.1 304 Not Modified\r\n" + CHUNKED + b"\r\n",
    # afterwards
    "close": line(b"Connection: close"),
    "close in a list": line(b"Connection: foo, CLOSE"),
    "close in a second line": line(b"Connection: keep-alive\r\nConnection: close"),
    "surplus bytes": OK + FIVE + b"xx",
    "surplus empty line": OK + FIVE + b"\r\n",
    "surplus response": (OK + FIVE) * 2,
    "no body, surplus bytes": OK + b"Content-Length: 0\r\n\r\nxx",
    "cut in the status line": b"HTTP/1.1 20",
    "cut in the headers": OK + b"X: a\r\n",
    "cut in the body": OK + b"Content-Length: 9\r\n\r\nhello",
    "nothing at all": b"",
}

SIZES: dict[str, bytes] = {
    "A": b"A\r\n0123456789\r\n" + LAST,
    "a": b"a\r\n0123456789\r\n" + LAST,
    "leading zeros": b"0005\r\nhello\r\n000\r\n\r\n",
    "30 leading zeros": b"0" * 30 + HELLO + LAST,
    "4,000 leading zeros": b"0" * 4000 + HELLO + LAST,
    "blank after": b"5 \r\nhello\r\n" + LAST,
    "blanks after": b"5 \t \r\nhello\r\n0 \r\n\r\n",
    "blank before": b" " + HELLO + LAST,
    "+5": b"+" + HELLO + LAST,
    "-5": b"-" + HELLO + LAST,
    "0x5": b"0x" + HELLO + LAST,
    "0X5": b"0X" + HELLO + LAST,
    "1_0": b"1_0\r\n0123456789abcdef\r\n" + LAST,
    "5 5": b"5 5\r\nhello\r\n" + LAST,
    "5h": b"5h\r\nhello\r\n" + LAST,
    "5,": b"5,\r\nhello\r\n" + LAST,
    "5.": b"5.\r\nhello\r\n" + LAST,
    "NUL": b"5\0\r\nhello\r\n" + LAST,
    "form feed": b"5\x0c\r\nhello\r\n" + LAST,
    "above 127": b"5\xb2\r\nhello\r\n" + LAST,
    "none": b"\r\nhello\r\n" + LAST,
    "none, but an extension": b";a\r\nhello\r\n" + LAST,
    "zz": b"zz\r\nhello\r\n" + LAST,
    "no framing": b"data: {}\n\n",
    "2^60 - 1": b"fffffffffffffff\r\nhello",
    "2^60": b"1000000000000000\r\nhello",
    "2^64 - 1": b"ffffffffffffffff\r\nhello",
    "2^64 + 5": b"10000000000000005\r\nhello\r\n" + LAST,
    "too small": b"5\r\nhello!\r\n" + LAST,
    "too large by one": b"6\r\nhello\r\n" + LAST,
    "too large by two": b"7\r\nhello\r\n" + LAST,
}

LINE_ENDS: dict[str, bytes] = {
    "LF for all": (HELLO + LAST).replace(b"\r", b""),
    "LF after the size": b"5\nhello\r\n" + LAST,
    "LF after the data": b"5\r\nhello\n" + LAST,
    "LF after the last size": HELLO + b"0\n\r\n",
    "LF at the end": HELLO + b"0\r\n\n",
    "LF LF at the end": HELLO + b"0\n\n",
    "CR after the size": b"5\rhello\r\n" + LAST,
    "CR after the data": b"5\r\nhello\r" + LAST,
    "CR CR LF after the size": b"5\r\r\nhello\r\n" + LAST,
    "CR CR LF after the data": b"5\r\nhello\r\r\n" + LAST,
    "LF LF after the data": b"5\r\nhello\n\n" + LAST,
    "CRLF CRLF after the data": b"5\r\nhello\r\n\r\n" + LAST,
    "none after the data": b"5\r\nhello" + LAST,
    "other bytes after the data": b"5\r\nhelloXY" + LAST,
    "CR at the end": HELLO + b"0\r\n\rX",
}

EXTENSIONS: dict[str, bytes] = {
    name: b"5" + extension + b"hello\r\n" + LAST
    for name, extension in {
        "name": b";a\r\n",
        "name and value": b";a=b\r\n",
        "two": b";a=b;c\r\n",
        "quoted": b';a="b;c"\r\n',
        "escaped quote": b';a="b\\"c"\r\n',
        "none": b";\r\n",
        "two of none": b";;\r\n",
        "value without a name": b";=b\r\n",
        "blank before": b" ;a\r\n",
        "blank after ;": b"; a\r\n",
        "blanks around =": b";a = b\r\n",
        "blank at the end": b";a \r\n",
        "tab after ;": b";\ta\r\n",
        "open quote": b';a="b\r\n',
        "open quote after an escape": b';a="b\\"\r\n',
        "CR in quotes": b';a="b\rc"\r\n',
        "LF in quotes": b';a="b\nc"\r\n',
        "CRLF in quotes": b';a="b\r\nc"\r\n',
        "CR": b";a\rb\r\n",
        "CR at the end": b";a\r\r\n",
        "LF at the end": b";a\n",
        "LF after a value": b";a=b\n",
        "LF after quotes": b';a="b"\n',
        "NUL": b";a\0\r\n",
        "control character": b";a\x01\r\n",
        "above 127": b";a=\xff\r\n",
        "4,000 bytes": b";" + b"a" * 4000 + b"\r\n",
        "4,100 bytes": b";" + b"a" * 4100 + b"\r\n",
        "20,000 bytes": b";" + b"a" * 20_000 + b"\r\n",
    }.items()
} | {"of the last chunk": HELLO + b"0;a=b\r\n\r\n"}

TRAILERS: dict[str, bytes] = {
    name: HELLO + b"0\r\n" + trailers
    for name, trailers in {
        "one": b"X: a\r\n\r\n",
        "two": b"X: a\r\nY: b\r\n\r\n",
        "LF": b"X: a\n\n",
        "LF CRLF": b"X: a\n\r\n",
        "obs-fold": b"X: a\r\n b\r\n\r\n",
        "no colon": b"Xa\r\n\r\n",
        "no name": b": a\r\n\r\n",
        "blank before the colon": b"X : a\r\n\r\n",
        "CR": b"X: a\rb\r\n\r\n",
        "NUL": b"X: a\0\r\n\r\n",
        "length": b"Content-Length: 9\r\n\r\n",
        "coding": b"Transfer-Encoding: chunked\r\n\r\n",
        "a response": OK + FIVE,
        "cut": b"X: a\r\n",
        "100": fields(100) + b"\r\n",
        "200": fields(200) + b"\r\n",
        "201": fields(201) + b"\r\n",
        "9,000 bytes": b"X: " + b"a" * 9000 + b"\r\n\r\n",
        "66,000 bytes": b"X: " + b"a" * 66_000 + b"\r\n\r\n",
    }.items()
}

ENDS: dict[str, bytes] = {
    "no chunk": LAST,
    "surplus bytes": HELLO + LAST + b"xx",
    "surplus empty line": HELLO + LAST + b"\r\n",
    "surplus response": HELLO + LAST + OK + FIVE,
    "surplus after trailers": HELLO + b"0\r\nX: a\r\n\r\n" + OK + FIVE,
    "cut before the last chunk": HELLO,
    "cut in the last chunk": HELLO + b"0\r\n",
    "cut in a size": b"5",
    "cut in a chunk": b"5\r\nhe",
    "cut after a chunk's data": b"5\r\nhello",
    "cut after a chunk's CR": b"5\r\nhello\r",
    "nothing": b"",
    "chunks in chunks": b"f\r\n" + HELLO + LAST + b"\r\n" + LAST,
    "events": b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in (b"data: {}\n\n", b"\r\n", b": \r\n\r\n"))
    + LAST,
}

#: Name → response.
RESPONSES: dict[str, bytes] = HEADS | {
    f"{what}: {name}": OK + CHUNKED + b"\r\n" + body
    for what, bodies in (
        ("size", SIZES),
        ("chunk's line end", LINE_ENDS),
        ("extension", EXTENSIONS),
        ("trailers", TRAILERS),
        ("end", ENDS),
    )
    for name, body in bodies.items()
}
