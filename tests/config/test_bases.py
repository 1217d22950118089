"""API bases as people write them."""

from __future__ import annotations

import pytest

from a2py.config.bases import Base, add_v1, bind_model, build_azure, has_wrong_port, is_local_or_ip, parse_base


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.x.ai/v1", "https://api.x.ai/v1"),
        (" https://api.x.ai/v1/// ", "https://api.x.ai/v1"),
        ("https://api.x.ai/v1/chat/completions", "https://api.x.ai/v1"),
        ("https://api.x.ai/v1/responses/", "https://api.x.ai/v1"),
        ("https://api.x.ai/v1/messages", "https://api.x.ai"),
        ("HTTP://Host:80/V1", "http://host:80/V1"),
        ("localhost:11434", "http://localhost:11434"),
        ("127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://[::1]", "http://[::1]"),
        ("host.docker.internal:1234", "http://host.docker.internal:1234"),
    ],
)
def test_bases_are_cleaned(text: str, url: str) -> None:
    assert parse_base(text) == Base(url)


@pytest.mark.parametrize(
    "text", ["", "api.x.ai/v1", "ftp://x", "http://", "https://a b", "http://h:port", "http://[::1", "your-base"]
)
def test_what_is_no_base(text: str) -> None:
    assert parse_base(text) is None


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("http://h:port", True),
        ("h:0/v1", True),
        ("http://h:65535", False),
        ("http://[::1", False),
        ("https://http://h", False),
        ("/v1:0", False),
    ],
)
def test_which_port_is_wrong(text: str, is_wrong: bool) -> None:
    assert has_wrong_port(text) is is_wrong


def test_nothing_secret_stays_in_the_base() -> None:
    base = parse_base("https://me:p%40ss@h.example/v1?sig=secret")
    assert base is not None and base.url == "https://h.example/v1" and base.query == "sig=secret"
    assert base.headers == (("Authorization", "Basic bWU6cEBzcw=="),)
    nobody = parse_base("https://me@h.example")
    assert nobody is not None and nobody.headers == (("Authorization", "Basic bWU6"),)


def test_local_names() -> None:
    assert [
        is_local_or_ip(h)
        for h in ("localhost", "localhost:1", "10.0.0.1:1", "10.0.0.1", "[::1]", "[::1]:2", "u:p@localhost:1")
    ] == [True] * 7
    assert not is_local_or_ip("example.com:1") and not is_local_or_ip("x")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:11434", "http://h:11434/v1"),
        ("http://h:11434/api", "http://h:11434/v1"),
        ("http://h:11434/v1", "http://h:11434/v1"),
        ("http://h/ollama/v1", "http://h/ollama/v1"),
    ],
)
def test_local_servers_get_their_v1(url: str, expected: str) -> None:
    assert add_v1(Base(url)).url == expected


HOST = "https://r.openai.azure.com"


@pytest.mark.parametrize(
    ("base", "version", "wire", "url", "query"),
    [
        (HOST, "", "chat", f"{HOST}/openai/v1", ""),
        (HOST, "v1", "chat", f"{HOST}/openai/v1", ""),
        (HOST, "preview", "chat", f"{HOST}/openai/v1", "api-version=preview"),
        (HOST, "2024-10-21", "chat", f"{HOST}/openai/deployments/my%20gpt", "api-version=2024-10-21"),
        (HOST, "2024-10-21", "responses", f"{HOST}/openai/v1", ""),
        (f"{HOST}/openai", "2024-10-21", "chat", f"{HOST}/openai/deployments/my%20gpt", "api-version=2024-10-21"),
        (f"{HOST}/openai", "", "chat", f"{HOST}/openai/v1", ""),
        (f"{HOST}/openai/v1", "2024-10-21", "chat", f"{HOST}/openai/v1", ""),
        (
            f"{HOST}/openai/deployments/x/chat/completions?api-version=2025-01-01",
            "",
            "chat",
            f"{HOST}/openai/deployments/x",
            "api-version=2025-01-01",
        ),
        (f"{HOST}/openai/deployments/x", "", "chat", f"{HOST}/openai/deployments/x", "api-version=2024-10-21"),
        (
            f"{HOST}/openai/deployments/x?a=b",
            "2023-05-15",
            "chat",
            f"{HOST}/openai/deployments/x",
            "a=b&api-version=2023-05-15",
        ),
        (
            "https://r.services.ai.azure.com/models",
            "",
            "chat",
            "https://r.services.ai.azure.com/models",
            "api-version=2024-05-01-preview",
        ),
        (
            "https://gate.example/team",
            "2024-10-21",
            "chat",
            "https://gate.example/team/openai/deployments/my%20gpt",
            "api-version=2024-10-21",
        ),
    ],
)
def test_forms_of_azure(base: str, version: str, wire: str, url: str, query: str) -> None:
    address = parse_base(base)
    assert address is not None
    azure = build_azure(address, "my gpt", version, wire)
    assert (azure.url, azure.query) == (url, query)


def test_a_wildcard_of_azure_is_bound_later() -> None:
    azure = build_azure(Base(HOST), "*", "2024-10-21", "chat")
    assert (
        azure.url == f"{HOST}/openai/deployments/{{model}}"
        and bind_model(azure.url, "a/b") == f"{HOST}/openai/deployments/a%2Fb"
    )
