"""The strict parser of a Host: exactly a host with an optional port, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.hostname import Host, parse_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", Host("localhost")),
        ("LocalHost:4000", Host("localhost", "4000")),
        ("localhost.:80", Host("localhost", "80")),
        ("localhost:", Host("localhost", "")),
        ("my_service-2.lan:65535", Host("my_service-2.lan", "65535")),
        ("127.0.0.1:1", Host("127.0.0.1", "1")),
        ("[::1]", Host("::1")),
        ("[FE80::1%25eth0]:80", Host("fe80::1", "80")),
        ("[fe80::1%eth0]", Host("fe80::1")),
        ("::1", Host("::1")),
        ("a.b:65536", None),
        ("[::1].evil.com", None),
        ("[1.2.3.4]", None),
        ("[:]", None),
        ("::1%25eth0", None),
        ("::1]", None),
        ("a@b", None),
        ("a:b@c", None),
        ("a:1:2", None),
        (".a", None),
        ("", None),
        ("a" * 300, None),
    ],
)
def test_parse_host(text: str, host: Host | None) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "address"), [("127.0.0.1", True), ("[::1]:80", True), ("localhost", False), ("127.1", False)]
)
def test_addresses(text: str, address: bool) -> None:
    host = parse_host(text)
    assert host is not None and host.is_address is address


@given(st.text("localhst:0189.[]@%/\\?# \t\u017f", max_size=30))
def test_nothing_is_taken_in_part(text: str) -> None:
    """What is taken is the whole text again, but for case, brackets, a zone and a final dot."""
    host = parse_host(text)
    if host is not None:
        assert host.name and host.name.rstrip(".") in text.lower()
        assert not set(text) & set("@/\\?# \t\u017f")
        assert set(text.lower()) <= set(host.name + host.port + ":[].%") or "%" in text
