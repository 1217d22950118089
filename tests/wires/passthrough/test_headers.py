"""Which headers pass."""

from __future__ import annotations

from typing import Any

from a2py.deployment import Deployment
from a2py.wires.passthrough.headers import LENGTH, TO_UPSTREAM, client_headers, upstream_headers

#: Names that must never pass, either way.
FORBIDDEN = ("cookie", "authorization", "openai-organization", "openai-project", "set-cookie", "x-api-key", "api-key")


def deployment(**more: Any) -> Deployment:
    return Deployment(name="m", id="m", provider="openai", model="m", base="http://h/v1", key="secret", **more)


def test_to_the_upstream() -> None:
    client = {name: f"{name} value" for name in (*TO_UPSTREAM, *FORBIDDEN, "x-forwarded-for", "user-agent", "host")}
    headers = upstream_headers(deployment(), client, "application/json")
    assert headers == {
        **{name: f"{name} value" for name in TO_UPSTREAM},
        "content-type": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer secret",
    }


def test_the_deployments_own_headers_win() -> None:
    own = {"OpenAI-Beta": "mine", "OpenAI-Organization": "org"}
    headers = upstream_headers(deployment(headers=own, auth="api-key"), {"openai-beta": "theirs"}, "a/b")
    assert headers["openai-beta"] == "mine" and headers["openai-organization"] == "org"
    assert headers["api-key"] == "secret" and "authorization" not in headers and headers["accept"] == "*/*"


def test_what_is_accepted() -> None:
    """As the file says, else as the client does, else anything."""
    to = deployment(headers={"Accept": "application/json"})
    assert upstream_headers(to, {"accept": "text/event-stream"}, "a/b")["accept"] == "application/json"
    assert upstream_headers(deployment(), {"accept": "text/event-stream"}, "a/b")["accept"] == "text/event-stream"
    assert upstream_headers(deployment(), {}, "a/b")["accept"] == "*/*"


def test_a_header_that_is_too_long_does_not_pass() -> None:
    assert "openai-beta" not in upstream_headers(deployment(), {"openai-beta": "x" * (LENGTH + 1)}, "a/b")
    assert client_headers({"x-request-id": "x" * (LENGTH + 1), "openai-version": "a\x01b"}) == {}


def test_to_the_client() -> None:
    response_headers = {
        "content-type": "text/event-stream",
        "x-request-id": "req_1",
        "retry-after-ms": "20",
        "x-should-retry": "false",
        "x-ratelimit-remaining-tokens": "9",
    }
    framing = {"content-length": "3", "transfer-encoding": "chunked", "connection": "close", "content-encoding": "gzip"}
    assert (
        client_headers({**response_headers, **framing, **dict.fromkeys(FORBIDDEN, "x"), "server": "s"})
        == response_headers
    )
