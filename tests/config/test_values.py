"""Parsers of single values: what is taken, what is refused, and how that is told."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.config import values as v
from a2py.config.error import ConfigError
from a2py.config.tree import Node, node_of, parse, resolve


def node(text: str, **env: str) -> Node:
    """The value of `a` in `a: text`."""
    return resolve(parse(f"a: {text}".encode(), "f.yaml", lambda _: None), env).value["a"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (v.text, "x", "x"),
        (v.text, "' x '", "x"),
        (v.text, "2024-10-21", "2024-10-21"),
        (v.text, "007", "007"),
        (v.text, "true", "true"),
        (v.boolean, "true", True),
        (v.boolean, "No", False),
        (v.boolean, "'False'", False),
        (v.boolean, "1", True),
        (v.boolean, "0", False),
        (v.whole(), "3", 3),
        (v.whole(), "'3'", 3),
        (v.whole(), "3.0", 3),
        (v.whole(1), "1", 1),
        (v.number(), "2", 2.0),
        (v.number(), "'0.5'", 0.5),
        (v.number(), "1e3", 1000.0),
        (v.choice("show", "hide"), "HIDE", "hide"),
        (v.cache_ttl, "true", ""),
        (v.cache_ttl, "'no'", "none"),
        (v.cache_ttl, "1H", "1h"),
        (v.ssl_verify, "false", False),
        (v.ssl_verify, "'True'", True),
        (v.ssl_verify, "/etc/ca.pem", "/etc/ca.pem"),
        (v.texts, "[a, 1, null]", ("a", "1")),
        (v.texts, "'a, b,,c'", ("a", "b", "c")),
        (v.texts, "5", ("5",)),
        (
            v.hosts,
            "[a2py.lan, 'A.lan:4000', null, '[::1]:80', my_service]",
            ("a2py.lan", "A.lan:4000", "[::1]:80", "my_service"),
        ),
        (v.hosts, "'a.lan, b.lan'", ("a.lan", "b.lan")),
        (
            v.origins,
            "['https://App.example/', 'https://a.example:443', 'http://a.example:443', 'http://localhost:3000', 'http://b.example:80']",
            (
                "https://app.example",
                "https://a.example",
                "http://a.example:443",
                "http://localhost:3000",
                "http://b.example",
            ),
        ),
        (
            v.origins,
            "'http://[::1]:80, chrome-extension://abc, app://obsidian.md:80'",
            ("http://[::1]", "chrome-extension://abc", "app://obsidian.md:80"),
        ),
        (v.origins, "[]", ()),
        (v.mapping, "{a: {b: [1]}}", {"a": {"b": [1]}}),
        (v.anything, "[1, {a: b}]", [1, {"a": "b"}]),
        (v.text_map, "{a: 1, b: null, c: x}", {"a": "1", "c": "x"}),
        (v.headers, "{X-A: 1, AI-Resource Group: g}", {"X-A": "1", "AI-Resource-Group": "g"}),
        (v.fallbacks, "[{a: [b, c]}, {d: e}, {a: f}]", {"a": ("b", "c", "f"), "d": ("e",)}),
        (v.fallbacks, "{a: [b]}", {"a": ("b",)}),
        (v.fallbacks, "[{a: [{model: b, messages: []}, c]}, {d: {model: e}}]", {"a": ("b", "c"), "d": ("e",)}),
        (v.names, "[a, {model: b}]", ("a", "b")),
        (v.names, "a", ("a",)),
        (v.counts, "{TimeoutErrorRetries: 3, x: '1'}", {"TimeoutErrorRetries": 3, "x": 1}),
        (v.counts_by_name, "{gpt: {a: 1}}", {"gpt": {"a": 1}}),
        (
            v.aliases,
            "{a: b, c: {model: d, hidden: true}, e: {model: f}}",
            {"a": ("b", False), "c": ("d", True), "e": ("f", False)},
        ),
        (v.overrides, "{'*': {images: false}}", {"*": {"images": False}}),
        (v.organizations, "[o1, o2, null]", ("o1", "o2")),
        (v.organizations, "o1", ("o1",)),
    ],
)
def test_taken(parser: v.Parser, text: str, value: Any) -> None:
    found = parser(node(text), "a")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("parser", "text", "message", "path"),
    [
        (v.text, "[x]", "expected text, got a list", "a"),
        (v.boolean, "2", "expected true or false, got 2", "a"),
        (v.boolean, "maybe", "expected true or false, got text", "a"),
        (v.boolean, "{}", "expected true or false, got a mapping", "a"),
        (v.whole(), "three", "expected a whole number of at least 0, got text", "a"),
        (v.whole(), "true", "expected a whole number of at least 0, got true", "a"),
        (v.whole(), "1.5", "expected a whole number of at least 0, got 1.5", "a"),
        (v.whole(), "-1", "expected a whole number of at least 0, got -1", "a"),
        (v.whole(1), "0", "expected a whole number of at least 1, got 0", "a"),
        (v.number(), "false", "expected a number of at least 0, got false", "a"),
        (v.number(), ".nan", "expected a number of at least 0, got nan", "a"),
        (v.number(), ".inf", "expected a number of at least 0, got inf", "a"),
        (v.number(), "[1]", "expected a number of at least 0, got a list", "a"),
        (v.number(), "30s", "expected a number of at least 0, got text", "a"),
        (v.choice("show", "hide"), "none", "expected show or hide, got text", "a"),
        (v.cache_ttl, "2h", "expected true, false, 5m or 1h, got text", "a"),
        (v.ssl_verify, "[1]", "expected true or false, got a list", "a"),
        (v.texts, "{a: b}", "expected a list, got a mapping", "a"),
        (v.texts, "[[a]]", "expected text, got a list", "a[0]"),
        (
            v.hosts,
            "[a.lan, 'http://a.lan']",
            "expected a host such as a2py.lan or a2py.lan:4000 (no http://), got text",
            "a[1]",
        ),
        (v.hosts, "'*'", "expected a host such as a2py.lan or a2py.lan:4000 (no http://), got text", "a"),
        *(
            (
                v.origins,
                f"['{name}']",
                "expected an origin such as https://app.example or http://localhost:3000 (no path, no *), got text",
                "a[0]",
            )
            for name in (
                "*",
                "null",
                "app.example",
                "https://a.example/x",
                "https://*.a.example",
                "https://a.example:x",
                "https://u@a.example",
            )
        ),
        (v.mapping, "x", "expected a mapping, got text", "a"),
        (v.text_map, "{x: [1]}", "expected text, got a list", "a.x"),
        (v.headers, "{'a: b': c}", "expected a header name of letters, digits and hyphens, got text", "a.a: b"),
        (v.headers, '{a: "b\\r\\nEvil: 1"}', "expected a header value without line breaks, got text", "a.a"),
        (
            v.headers,
            "{Content-Length: '5'}",
            "expected a header of yours: Content-Length is the connection's own, got text",
            "a.Content-Length",
        ),
        (v.fallbacks, "[a]", "expected a mapping, got text", "a[0]"),
        (
            v.fallbacks,
            "[{a: [{x: y}]}]",
            "expected a model name, or a mapping with `model`, got a mapping",
            "a[0].a[0]",
        ),
        (v.counts, "{a: x}", "expected a whole number of at least 0, got text", "a.a"),
        (v.counts_by_name, "{g: {a: x}}", "expected a whole number of at least 0, got text", "a.g.a"),
        (v.aliases, "{a: {model: b, hidden: perhaps}}", "expected true or false, got text", "a.a.hidden"),
        (v.aliases, "[a]", "expected a mapping, got a list", "a"),
        (v.overrides, "{x: 1}", "expected a mapping, got 1", "a.x"),
        (
            v.credentials,
            "[{credential_name: x, credential_values: 1}]",
            "expected a mapping, got 1",
            "a[0].credential_values",
        ),
    ],
)
def test_refused(parser: v.Parser, text: str, message: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parser(node(text), "a")
    assert (caught.value.message, caught.value.path, caught.value.file, caught.value.line) == (
        message,
        path,
        "f.yaml",
        1,
    )


def test_a_value_of_the_environment_is_told_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"expected a whole number of at least 0, got the value of \$LIMIT"):
        v.whole()(node("os.environ/LIMIT", LIMIT="secret"), "a")
    assert (
        v.boolean(node("os.environ/ON", ON="true"), "a") is True
        and v.number()(node("os.environ/N", N=" 2.5 "), "a") == 2.5
    )


def test_unset_variables_inside_are_left_out() -> None:
    assert v.headers(node("{A: os.environ/NO, B: b}"), "a") == {"B": "b"}
    assert v.texts(node("[os.environ/NO, b]"), "a") == ("b",)


def test_credentials_stay_nodes() -> None:
    found = v.credentials(
        node("[{credential_name: x, credential_values: {api_key: k}, credential_info: {}}, {credential_name: y}]"), "a"
    )
    assert list(found) == ["x"] and found["x"].value["api_key"].raw == "k"


def test_kinds_of_nothing() -> None:
    with pytest.raises(ConfigError, match="expected a mapping, got nothing"):
        v.mapping(node_of(None, "f"), "a")
