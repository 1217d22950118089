"""Heads of requests: what goes out, and what must not."""

from __future__ import annotations

import h11
import pytest

from a2py.http1 import request_head


def test_heads() -> None:
    assert (
        request_head("POST", "/v1/chat?a=b", "api.example:8443", {"authorization": "Bearer x", "X-Name": "a: b"}, 12)
        == b"POST /v1/chat?a=b HTTP/1.1\r\nHost: api.example:8443\r\nauthorization: Bearer x\r\nX-Name: a: b\r\nContent-Length: 12\r\n\r\n"
    )
    assert request_head("POST", "/", "h", {}, 0) == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    assert request_head("GET", "http://h/a", "h", {}, None) == b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n"
    assert (
        request_head("CONNECT", "[::1]:443", "[::1]:443", {}, None)
        == b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"
    )


def test_a_host_header_of_the_configuration_replaces_ours() -> None:
    assert (
        request_head("GET", "/", "127.0.0.1:8000", {"HOST": "models.example"}, None)
        == b"GET / HTTP/1.1\r\nHOST: models.example\r\n\r\n"
    )


def test_values_are_utf_8() -> None:
    assert b"\r\nx: Gr\xc3\xb6\xc3\x9fe ?\r\n" in request_head("GET", "/", "h", {"x": "Größe \udc80"}, None)


def test_a_server_reads_what_was_meant() -> None:
    headers = {"Authorization": "Bearer sk", "x-tab": "a\tb", "x-empty": ""}
    server = h11.Connection(h11.SERVER)
    server.receive_data(request_head("POST", "/v1/messages?beta=true", "h:1", headers, 2) + b"{}")
    request, data, end = server.next_event(), server.next_event(), server.next_event()
    assert isinstance(request, h11.Request) and isinstance(data, h11.Data) and isinstance(end, h11.EndOfMessage)
    assert (request.method, request.target, data.data) == (b"POST", b"/v1/messages?beta=true", b"{}")
    assert request.headers == [
        (b"host", b"h:1"),
        *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        (b"content-length", b"2"),
    ]


@pytest.mark.parametrize("bad", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\n", "a\r\n\r\nGET / HTTP/1.1\r\nhost: x"])
def test_a_line_break_is_an_error_wherever_it_is(bad: str) -> None:
    arguments = [
        ("POST", "/", "h", {"x": bad}, 1),
        ("POST", "/", "h", {bad: "x"}, 1),
        ("POST", "/", bad, {}, 1),
        ("POST", "/" + bad, "h", {}, 1),
        (bad, "/", "h", {}, 1),
    ]
    for method, target, host, headers, length in arguments:
        with pytest.raises(ValueError, match="line break"):
            request_head(method, target, host, headers, length)


@pytest.mark.parametrize("target", ["", "/a b", "/ä", "/\t", "/\x7f"])
def test_targets_that_are_errors(target: str) -> None:
    with pytest.raises(ValueError, match="not visible ASCII"):
        request_head("GET", target, "h", {}, None)


@pytest.mark.parametrize("name", ["", " ", "a b", "a:b", "x ", "ä", "(a)", "Content-Length", "transfer-encoding"])
def test_names_that_are_errors(name: str) -> None:
    with pytest.raises(ValueError, match="not a token, or which says where the request ends"):
        request_head("GET", "/", "h", {"x": "y", name: "1"}, None)
